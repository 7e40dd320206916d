package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var sessionPromises = []promise[auth.AccountStore]{
	{"a session that no key opened is stored", hostSessionStored},
	{"a session never outlives its key", sessionEndsWithKey},
	{"a session is found only by its ID", sessionFoundByIDOnly},
	{"an expired session is found until it is pruned", expiredSessionFound},
	{"two sessions can be created in one microsecond", sessionsAtOneMoment},
	{"a session that may not be opened is refused", sessionRefused},
	{"a key works until its last microsecond", keyWorksToTheLast},
	{"a session is revoked once and no longer exists", sessionEnded},
	{"revoking a session leaves the others unchanged", endingSparesOthers},
	{"an unknown session cannot be revoked", endUnknownSession},
}

var sessionPromisesOfUsers = []promise[auth.Store]{
	{"a new session is stored as it was returned", sessionStored},
	{"creating a session sets when the user last signed in", lastLoginSet},
	{"an unknown user cannot open a session", sessionOfNobody},
	{"a disabled user cannot open a session", disabledRefused},
}

func sessionStored(t *testing.T, store auth.Store) {
	user, key := register(t, store, newUser())
	want := newSession(key)
	user.LastLogin = want.CreatedAt

	session, owner, err := store.CreateSession(t.Context(), want, 0)
	require.NoError(t, err)
	requireSameSession(t, want, session)
	require.Equal(t, user, owner)
	requireSession(t, store, want)
	requireUser(t, store, user)
	requireKey(t, store, usedAt(key, want.CreatedAt))
}

func hostSessionStored(t *testing.T, store auth.AccountStore) {
	user, key := register(t, store, newUser())
	want := newHostSession(user)
	session, _, err := store.CreateSession(t.Context(), want, 0)
	require.NoError(t, err)
	requireSameSession(t, want, session)
	requireSession(t, store, want)
	requireKey(t, store, key)
}

func lastLoginSet(t *testing.T, store auth.Store) {
	user, key := register(t, store, newUser())
	// The last sign-in has an earlier time, as if the clock of its instance were behind. The store
	// must keep the time of the last call, which is not the latest time.
	for _, at := range []time.Time{now, now.Add(time.Hour), now.Add(-time.Hour)} {
		session := newSession(key)
		session.CreatedAt, session.ExpiresAt = at, at.Add(time.Hour)
		user.LastLogin = at

		_, owner, err := store.CreateSession(t.Context(), session, 0)
		require.NoError(t, err)
		require.Equal(t, user, owner)
		requireUser(t, store, user)
		require.NoError(t, store.RevokeSession(t.Context(), byHost(now), session.ID))
		requireUser(t, store, user)
	}
}

func sessionEndsWithKey(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	ends := newHostSession(user).ExpiresAt
	for name, test := range map[string]struct{ keyExpires, want time.Time }{
		"the key never expires":       {time.Time{}, ends},
		"the key expires later":       {ends.Add(time.Microsecond), ends},
		"the key expires at the same": {ends, ends},
		"the key expires earlier":     {ends.Add(-time.Microsecond), ends.Add(-time.Microsecond)},
		"the key expires at once":     {now.Add(time.Microsecond), now.Add(time.Microsecond)},
	} {
		t.Run(name, func(t *testing.T) {
			want := newSession(addKey(t, store, user, test.keyExpires))
			got, _, err := store.CreateSession(t.Context(), want, 0)
			require.NoError(t, err)
			want.ExpiresAt = test.want
			requireSameSession(t, want, got)
			requireSession(t, store, want)
		})
	}
}

func sessionFoundByIDOnly(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for _, id := range []string{unique("none"), a.user.ID, a.key.ID} {
		requireNoSession(t, store, id)
	}
}

func expiredSessionFound(t *testing.T, store auth.AccountStore) {
	user, key := register(t, store, newUser())
	for _, session := range []auth.Session{newSession(key), newHostSession(user)} {
		session.ExpiresAt = session.CreatedAt.Add(-time.Hour)
		requireSession(t, store, openSession(t, store, session))
	}
}

// refusedAt is the CreatedAt of sessions that the store refuses. It is not the time of the user's
// last sign-in, so a test can see whether a refused session has changed LastLogin.
var refusedAt = now.Add(time.Minute)

var refusals = []struct {
	name    string
	want    error
	session func(t *testing.T, store auth.AccountStore, own, other account) auth.Session
}{
	{"of an unknown user with another user's key", auth.ErrNotFound,
		func(_ *testing.T, _ auth.AccountStore, _, other account) auth.Session {
			session := newSession(other.key)
			session.UserID = unique("nobody")
			return session
		}},
	{"with another user's key", auth.ErrNotFound,
		func(_ *testing.T, _ auth.AccountStore, own, other account) auth.Session {
			session := newSession(other.key)
			session.UserID = own.user.ID
			return session
		}},
	{"with an unknown key", auth.ErrNotFound,
		func(_ *testing.T, _ auth.AccountStore, own, _ account) auth.Session {
			return newSession(newKey(own.user))
		}},
	{"with a revoked key", auth.ErrNotFound,
		func(t *testing.T, store auth.AccountStore, own, _ account) auth.Session {
			key := addKey(t, store, own.user, time.Time{})
			require.NoError(t, store.RevokeKey(t.Context(), byHost(now), key.ID))
			return newSession(key)
		}},
	{"with a key that expired before", auth.ErrNotFound,
		func(t *testing.T, store auth.AccountStore, own, _ account) auth.Session {
			return newSession(addKey(t, store, own.user, refusedAt.Add(-time.Microsecond)))
		}},
	{"with a key that expires at the time", auth.ErrNotFound,
		func(t *testing.T, store auth.AccountStore, own, _ account) auth.Session {
			return newSession(addKey(t, store, own.user, refusedAt))
		}},
	{"with the id of the user's own session", auth.ErrExists,
		func(_ *testing.T, _ auth.AccountStore, own, _ account) auth.Session {
			session := newHostSession(own.user)
			session.ID = own.session.ID
			return session
		}},
	{"with the id of another user's session", auth.ErrExists,
		func(_ *testing.T, _ auth.AccountStore, own, other account) auth.Session {
			session := newSession(own.key)
			session.ID = other.session.ID
			return session
		}},
}

// sessionsAtOneMoment creates sessions that all have the same CreatedAt. The second session
// therefore does not change the user's LastLogin. If an update changes no value, a store must not
// conclude that the user does not exist.
func sessionsAtOneMoment(t *testing.T, store auth.AccountStore) {
	user, key := register(t, store, newUser())
	for _, session := range []auth.Session{newSession(key), newSession(key), newHostSession(user)} {
		requireSession(t, store, openSession(t, store, session))
	}
	user.LastLogin = now
	requireUser(t, store, user)
}

func sessionOfNobody(t *testing.T, store auth.Store) {
	session := newHostSession(newUser())
	_, _, err := store.CreateSession(t.Context(), session, 0)
	require.ErrorIs(t, err, auth.ErrNotFound)
	requireNoSession(t, store, session.ID)
	requireNoUser(t, store, session.UserID)
}

func sessionRefused(t *testing.T, store auth.AccountStore) {
	for _, test := range refusals {
		t.Run(test.name, func(t *testing.T) {
			own, other := newAccount(t, store), newAccount(t, store)
			session := test.session(t, store, own, other)
			session.CreatedAt = refusedAt

			_, _, err := store.CreateSession(t.Context(), session, 0)
			require.ErrorIs(t, err, test.want)
			own.requireUnchanged(t, store)
			other.requireUnchanged(t, store)
			if session.ID != own.session.ID && session.ID != other.session.ID {
				requireNoSession(t, store, session.ID)
			}
		})
	}
}

func disabledRefused(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	update(t, store, a.user.ID, disable)
	for _, session := range []auth.Session{newSession(a.key), newHostSession(a.user)} {
		session.CreatedAt = refusedAt
		_, _, err := store.CreateSession(t.Context(), session, 0)
		require.ErrorIs(t, err, auth.ErrUserDisabled)
		requireNoSession(t, store, session.ID)
		requireUser(t, store, changed(a.user, disable))
	}
}

func keyWorksToTheLast(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	key := addKey(t, store, user, now.Add(time.Microsecond))
	requireSession(t, store, openSession(t, store, newSession(key)))
}

func sessionEnded(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	require.NoError(t, store.RevokeSession(t.Context(), byHost(now), a.session.ID))
	requireNoSession(t, store, a.session.ID)
	require.ErrorIs(t, store.RevokeSession(t.Context(), byHost(now), a.session.ID), auth.ErrNotFound)
	requireUser(t, store, a.user)
	requireKey(t, store, a.key)
}

func endingSparesOthers(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	other := openSession(t, store, newSession(a.key))
	require.NoError(t, store.RevokeSession(t.Context(), byHost(now), other.ID))
	a.requireUnchanged(t, store)
}

func endUnknownSession(t *testing.T, store auth.AccountStore) {
	require.ErrorIs(t, store.RevokeSession(t.Context(), byHost(now), unique("none")), auth.ErrNotFound)
}
