package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var userPromises = []promise[auth.Store]{
	{"registering a user stores the user and the key", registerStoresBoth},
	{"a user is found only by ID", userFoundByIDOnly},
	{"registering with a key of another user fails", registerWithForeignKey},
	{"every change of every kind of user takes effect", everyChange},
	{"an unknown user cannot be changed", updateUnknownUser},
	{"a disabled user has no session", disablingEndsSessions},
	{"disabling a user leaves other users unchanged", disablingSparesOthers},
	{"disabling a user twice is not an error", disabledTwice},
	{"enabling a user restores no session", revivingBringsBackNoSession},
	{"enabling a user keeps the keys", revivingKeepsKeys},
	{"only disabling revokes sessions", otherChangesKeepSessions},
}

// storePromises are about the store as a whole.
var storePromises = []promise[auth.AccountStore]{
	{"a store that is open answers a ping", pinged},
}

func pinged(t *testing.T, store auth.AccountStore) {
	require.NoError(t, store.Ping(t.Context()))
}

func registerStoresBoth(t *testing.T, store auth.Store) {
	for _, user := range usersOfEveryKind() {
		user.LastLogin = now
		key := newKey(user)
		key.ExpiresAt = now.Add(time.Hour)
		require.NoError(t, store.Register(t.Context(), byHost(now), user, key))

		requireUser(t, store, user)
		requireKeyOf(t, store, key, user)
	}
}

func userFoundByIDOnly(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	for _, id := range []string{unique("nobody"), a.user.Username, a.user.Email, a.key.ID,
		a.session.ID} {
		requireNoUser(t, store, id)
	}
}

func registerWithForeignKey(t *testing.T, store auth.Store) {
	other := newAccount(t, store)
	user, key := newUser(), newKey(other.user)
	requireInvalid(t, store.Register(t.Context(), byHost(now), user, key))
	requireNoUser(t, store, user.ID)
	requireNoKey(t, store, key.ID)
	other.requireUnchanged(t, store)
}

func everyChange(t *testing.T, store auth.Store) {
	register(t, store, newSuperUser()) // so that none of the users below is the last super user
	for _, change := range everyUserChange() {
		for _, user := range usersOfEveryKind() {
			register(t, store, user)
			want := changed(user, change)
			got, err := store.UpdateUser(t.Context(), byHost(now), user.ID, change)
			require.NoError(t, err)
			require.Equal(t, want, got)
			requireUser(t, store, want)
		}
	}
}

func updateUnknownUser(t *testing.T, store auth.Store) {
	for _, change := range everyUserChange() {
		_, err := store.UpdateUser(t.Context(), byHost(now), unique("nobody"), change)
		require.ErrorIs(t, err, auth.ErrNotFound)
	}
}

func disablingEndsSessions(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	second := addKey(t, store, a.user, now.Add(time.Hour))
	sessions := []auth.Session{
		a.session,
		openSession(t, store, newSession(a.key)),
		openSession(t, store, newSession(second)),
		openSession(t, store, newHostSession(a.user)),
	}
	update(t, store, a.user.ID, disable)
	for _, session := range sessions {
		requireNoSession(t, store, session.ID)
	}
	requireKey(t, store, a.key)
	requireKey(t, store, usedAt(second, now))
}

func disablingSparesOthers(t *testing.T, store auth.Store) {
	a, other := newAccount(t, store), newAccount(t, store)
	update(t, store, a.user.ID, disable)
	other.requireUnchanged(t, store)
}

func disabledTwice(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	for range 2 {
		user, err := store.UpdateUser(t.Context(), byHost(now), a.user.ID, disable)
		require.NoError(t, err)
		require.False(t, user.IsActive)
	}
}

func revivingBringsBackNoSession(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	host := openSession(t, store, newHostSession(a.user))
	update(t, store, a.user.ID, disable)
	update(t, store, a.user.ID, enable)
	requireNoSession(t, store, a.session.ID)
	requireNoSession(t, store, host.ID)
	requireUser(t, store, a.user)
}

func revivingKeepsKeys(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	update(t, store, a.user.ID, disable)
	update(t, store, a.user.ID, enable)
	requireKey(t, store, a.key)
	requireSession(t, store, openSession(t, store, newSession(a.key)))
}

func otherChangesKeepSessions(t *testing.T, store auth.Store) {
	register(t, store, newSuperUser()) // so that no user to be demoted is the last super user
	for name, change := range map[string]auth.UserChange{
		"no change": {}, "enable": enable, "promote": promote, "demote": demote,
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t, store)
			update(t, store, a.user.ID, change)
			requireKey(t, store, a.key)
			requireSession(t, store, a.session)
		})
	}
}
