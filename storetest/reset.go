package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var resetPromises = []promise[auth.Store]{
	{"a reset user has one key and no session", resetLeavesOneKey},
	{"resetting a user leaves other users unchanged", resetSparesOthers},
	{"a reset applies every change", resetWithEveryChange},
	{"the key of a reset opens a session", resetKeyOpensSession},
	{"an unknown user cannot be reset", resetUnknownUser},
	{"a reset that fails leaves the old keys and sessions", failedReset},
}

func resetLeavesOneKey(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	keys := []auth.AccessKey{a.key, addKey(t, store, a.user, time.Time{}),
		addKey(t, store, a.user, now.Add(time.Hour))}
	sessions := []auth.Session{
		a.session,
		openSession(t, store, newSession(keys[1])),
		openSession(t, store, newHostSession(a.user)),
	}
	key := newKey(a.user)
	key.ExpiresAt = now.Add(time.Hour)

	user, _, err := store.ResetUser(t.Context(), byHost(now), a.user.ID, auth.UserChange{}, key)
	require.NoError(t, err)
	require.Equal(t, a.user, user)
	requireUser(t, store, a.user)
	requireKey(t, store, key)
	for _, old := range keys {
		requireNoKey(t, store, old.ID)
	}
	for _, old := range sessions {
		requireNoSession(t, store, old.ID)
	}
}

func resetSparesOthers(t *testing.T, store auth.Store) {
	a, other := newAccount(t, store), newAccount(t, store)
	_, _, err := store.ResetUser(t.Context(), byHost(now), a.user.ID, disable, newKey(a.user))
	require.NoError(t, err)
	other.requireUnchanged(t, store)
}

func resetWithEveryChange(t *testing.T, store auth.Store) {
	register(t, store, newSuperUser()) // so that none of the users below is the last super user
	for _, change := range everyUserChange() {
		for _, user := range usersOfEveryKind() {
			_, old := register(t, store, user)
			want, key := changed(user, change), newKey(user)

			got, _, err := store.ResetUser(t.Context(), byHost(now), user.ID, change, key)
			require.NoError(t, err)
			require.Equal(t, want, got)
			requireNoKey(t, store, old.ID)
			requireKeyOf(t, store, key, want)
		}
	}
}

func resetKeyOpensSession(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	key := newKey(a.user)
	_, _, err := store.ResetUser(t.Context(), byHost(now), a.user.ID, auth.UserChange{}, key)
	require.NoError(t, err)

	requireSession(t, store, openSession(t, store, newSession(key)))
	_, _, err = store.CreateSession(t.Context(), newSession(a.key), 0)
	require.ErrorIs(t, err, auth.ErrNotFound)
}

func resetUnknownUser(t *testing.T, store auth.Store) {
	nobody := newUser()
	key := newKey(nobody)
	_, _, err := store.ResetUser(t.Context(), byHost(now), nobody.ID, auth.UserChange{}, key)
	require.ErrorIs(t, err, auth.ErrNotFound)
	requireNoKey(t, store, key.ID)
}

func failedReset(t *testing.T, store auth.Store) {
	tests := []struct {
		name string
		want error
		edit func(key *auth.AccessKey, own, other account)
	}{
		{"the key's id is the user's old key's", auth.ErrExists,
			func(key *auth.AccessKey, own, _ account) { key.ID = own.key.ID }},
		{"the key's id is another user's key's", auth.ErrExists,
			func(key *auth.AccessKey, _, other account) { key.ID = other.key.ID }},
		{"the key belongs to another user", auth.ErrInvalid,
			func(key *auth.AccessKey, _, other account) { key.UserID = other.user.ID }},
		{"the key belongs to an unknown user", auth.ErrInvalid,
			func(key *auth.AccessKey, _, _ account) { key.UserID = unique("nobody") }},
		{"the key is invalid", auth.ErrInvalid,
			func(key *auth.AccessKey, _, _ account) { key.Label = "line\nbreak" }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			own, other := newAccount(t, store), newAccount(t, store)
			key := newKey(own.user)
			test.edit(&key, own, other)

			_, _, err := store.ResetUser(t.Context(), byHost(now), own.user.ID, disable, key)
			require.ErrorIs(t, err, test.want)
			own.requireUnchanged(t, store)
			other.requireUnchanged(t, store)
			if key.ID != own.key.ID && key.ID != other.key.ID {
				requireNoKey(t, store, key.ID)
			}
		})
	}
}
