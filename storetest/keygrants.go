package storetest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// ownKeyPromises are about the keys of service users with audiences.
var ownKeyPromises = []promise[auth.Store]{
	{"a limited session of a service user changes the keys of the service user", ownKeysOfService},
	{"a session without SuperUser does not learn of the keys of a service user", keysOfServiceHidden},
}

// grantsOf returns the grants with verbs that are methods of the store.
func grantsOf(store auth.AccountStore) []grant {
	var all []grant
	for _, g := range slices.Concat(grants, serviceGrants, keyGrants, renameGrants) {
		if usersOf(store) != nil || !g.users {
			all = append(all, g)
		}
	}
	return all
}

// keyGrants are grants about the keys of service users: see grants.
var keyGrants = []grant{
	lacking("", "AddKey for a service user with audiences", ofService(addingKey(within))).ofUsers(),
	lacking("", "AddKey with the empty set for a service user with audiences",
		ofService(addingKey(auth.NewScopes()))).ofUsers(),
	lacking("", "RotateKey of a service user with audiences", ofService(rotatingKey(within))).ofUsers(),
	lacking("", "SetKeyScopes of a service user with audiences",
		ofService(settingScopes(limit, within))).ofUsers(),
	lacking("", "SetKeyScopes to the empty set, of a service user with audiences",
		ofService(settingScopes(within, auth.NewScopes()))).ofUsers(),
	lacking("", "ResetUser of a service user with audiences",
		resetting(newService, auth.UserChange{}, within)).ofUsers(),
	lacking("", "ResetUser that enables a service user with audiences",
		resetting(noEmail(newDisabledService), enable, auth.NewScopes())).ofUsers(),
	allowed("RevokeKey of a service user with audiences", ofService(revokingKey(within))).ofUsers(),

	allowed("AddKey for a service user", ofBareService(addingKey(within))).ofUsers(),
	allowed("RotateKey of a service user", ofBareService(rotatingKey(within))).ofUsers(),
	allowed("SetKeyScopes of a service user", ofBareService(settingScopes(limit, within))).ofUsers(),
	allowed("ResetUser of a service user", resetting(withoutAudiences, auth.UserChange{}, within)).ofUsers(),
}

func newDisabledService() auth.User { return changed(newService(), disable) }

// ofNew returns a function that does the same as prepare, but for another user.
func ofNew(
	newUser func() auth.User, prepare func(*testing.T, auth.AccountStore, account) attempt,
) func(*testing.T, auth.AccountStore, account) attempt {
	return func(t *testing.T, store auth.AccountStore, _ account) attempt {
		return prepare(t, store, newAccountOf(t, store, newUser()))
	}
}

func ofService(
	prepare func(*testing.T, auth.AccountStore, account) attempt,
) func(*testing.T, auth.AccountStore, account) attempt {
	return ofNew(newService, prepare)
}

func ofBareService(
	prepare func(*testing.T, auth.AccountStore, account) attempt,
) func(*testing.T, auth.AccountStore, account) attempt {
	return ofNew(withoutAudiences, prepare)
}

// keyAttempts are the calls that give or change a key of an account. A session whose scopes are the variable
// limit may make them if the account is that of its own user.
var keyAttempts = map[string]func(*testing.T, auth.AccountStore, account) attempt{
	"AddKey":       addingKey(within),
	"RotateKey":    rotatingKey(within),
	"SetKeyScopes": settingScopes(limit, within),
	"RevokeKey":    revokingKey(within),
}

func ownKeysOfService(t *testing.T, store auth.Store) {
	for name, prepare := range keyAttempts {
		service := newAccountOf(t, store, newService())
		try, limited := prepare(t, store, service), openScoped(t, store, service, limit)
		require.NoError(t, try.call(t.Context(), bySession(limited, now)), name)
	}
}

func keysOfServiceHidden(t *testing.T, store auth.Store) {
	for name, prepare := range keyAttempts {
		a, service := newAccount(t, store), newAccountOf(t, store, newService())
		try := prepare(t, store, service)
		for _, session := range []auth.Session{a.session, openScoped(t, store, a, limit)} {
			before := takeSnapshot(t, store, service, try)
			require.ErrorIs(t, try.call(t.Context(), bySession(session, now)), auth.ErrNotFound, name)
			require.Equal(t, before, takeSnapshot(t, store, service, try), name)
		}
	}
}
