package storetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// Each of these changes sets one flag of a user.
var (
	disable = auth.UserChange{IsActive: new(false)}
	enable  = auth.UserChange{IsActive: new(true)}
	promote = auth.UserChange{IsSuperUser: new(true)}
	demote  = auth.UserChange{IsSuperUser: new(false)}
)

// everyUserChange returns all possible changes of a user, including the empty one.
func everyUserChange() []auth.UserChange {
	var changes []auth.UserChange
	flags := []*bool{nil, new(true), new(false)}
	for _, isActive := range flags {
		for _, isSuperUser := range flags {
			changes = append(changes, auth.UserChange{IsActive: isActive, IsSuperUser: isSuperUser})
		}
	}
	return changes
}

// changed returns the user after the change.
func changed(user auth.User, change auth.UserChange) auth.User {
	if change.IsActive != nil {
		user.IsActive = *change.IsActive
	}
	if change.IsSuperUser != nil {
		user.IsSuperUser = *change.IsSuperUser
	}
	return user
}

// update makes the change in the store.
func update(t *testing.T, store auth.Store, id string, change auth.UserChange) {
	t.Helper()
	_, err := store.UpdateUser(t.Context(), byHost(now), id, change)
	require.NoError(t, err)
}
