package storetest

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var endAllPromises = []promise[auth.AccountStore]{
	{"all sessions of a user are revoked, and those that had not expired are counted", endAllCountsLive},
	{"revoking all sessions leaves keys and links unchanged", endAllLeavesWaysIn},
	{"revoking all sessions leaves other users unchanged", endAllSparesOthers},
	{"a user without sessions has none to revoke", endAllOfNone},
	{"sessions created while all are revoked are revoked or stay, and are counted once", sessionsRacingEndAll},
	{"sessions that several calls revoke at once are counted once", racingEndAll},
}

var endAllPromisesOfUsers = []promise[auth.Store]{
	{"an unknown user has no sessions to revoke", endAllOfUnknownUser},
	{"a disabled user has no sessions to revoke", endAllOfDisabledUser},
}

func endAll(t *testing.T, store auth.AccountStore, user auth.User, at time.Time) int {
	t.Helper()
	n, err := store.RevokeUserSessions(t.Context(), byHost(at), user.ID)
	require.NoError(t, err)
	return n
}

func endAllCountsLive(t *testing.T, store auth.AccountStore) {
	user, key := register(t, store, newUser())
	for _, at := range []time.Time{now, now.Add(999), now.In(time.FixedZone("east", 3600))} {
		var sessions []auth.Session
		for i, expires := range append(unexpiredNow[:len(unexpiredNow):len(unexpiredNow)],
			expiredNow...) {
			session := newSession(key)
			if i%2 == 1 {
				session = newHostSession(user)
			}
			session.ExpiresAt = expires
			sessions = append(sessions, openSession(t, store, session))
		}
		require.Equal(t, len(unexpiredNow), endAll(t, store, user, at))
		for _, session := range sessions {
			requireNoSession(t, store, session.ID)
			require.ErrorIs(t, store.RevokeSession(t.Context(), byHost(now), session.ID),
				auth.ErrNotFound)
		}
		require.Zero(t, endAll(t, store, user, at))
	}
}

func endAllLeavesWaysIn(t *testing.T, store auth.AccountStore) {
	a := newLinked(t, store)
	key := addKey(t, store, a.user, time.Time{})
	openSession(t, store, newSession(key))
	require.Equal(t, 2, endAll(t, store, a.user, now))

	requireUser(t, store, a.user)
	requireKey(t, store, usedAt(key, now))
	requireConnection(t, store, a.connection())
	requireSession(t, store, openSession(t, store, newSession(key)))
	session, _, err := store.SignInGitHub(t.Context(), byHost(now), a.nextSignIn())
	require.NoError(t, err)
	requireSession(t, store, session)
}

func endAllSparesOthers(t *testing.T, store auth.AccountStore) {
	a, keyed, other := newAccount(t, store), newAccount(t, store), newLinked(t, store)
	require.Equal(t, 1, endAll(t, store, a.user, now))
	keyed.requireUnchanged(t, store)
	other.requireUnchanged(t, store)
}

func endAllOfNone(t *testing.T, store auth.AccountStore) {
	user, key := register(t, store, newUser())
	require.Zero(t, endAll(t, store, user, now))
	openSession(t, store, newSession(key))
	require.Equal(t, 1, endAll(t, store, user, now))
	require.Zero(t, endAll(t, store, user, now))
}

func endAllOfUnknownUser(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	for _, id := range []string{unique("nobody"), a.user.Username, a.key.ID, a.session.ID} {
		n, err := store.RevokeUserSessions(t.Context(), byHost(now), id)
		require.ErrorIs(t, err, auth.ErrNotFound)
		require.Zero(t, n)
	}
	a.requireUnchanged(t, store)
}

func endAllOfDisabledUser(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	update(t, store, a.user.ID, disable)
	require.Zero(t, endAll(t, store, a.user, now))
	requireUser(t, store, changed(a.user, disable))
}

// sessionsRacingEndAll creates sessions while RevokeUserSessions revokes all sessions of the user.
// A session that was created before RevokeUserSessions began must no longer exist. Any other
// session may still exist. RevokeUserSessions must have counted each session that no longer exists.
func sessionsRacingEndAll(t *testing.T, store auth.AccountStore) {
	for range rounds(t) {
		a := newAccount(t, store)
		sessions := make([]auth.Session, contenders)
		before := make([]bool, contenders) // created before the revocation began
		var ending atomic.Bool
		ended := 0
		errs := race(contenders, func(i int) (err error) {
			if i == contenders/2 {
				ending.Store(true)
				ended, err = store.RevokeUserSessions(t.Context(), byHost(now), a.user.ID)
				return err
			}
			sessions[i] = newSession(a.key)
			_, _, err = store.CreateSession(t.Context(), sessions[i], 0)
			before[i] = !ending.Load()
			return err
		})
		require.NoError(t, errors.Join(errs...))
		requireNoSession(t, store, a.session.ID)
		stay := 0
		for i, session := range sessions {
			if hasSession(t, store, session.ID) {
				require.False(t, before[i],
					"a session from before must not survive the revocation of all")
				stay++
			}
		}
		require.Equal(t, contenders, ended+stay) // a.session and the created sessions
		require.Equal(t, stay, endAll(t, store, a.user, now))
	}
}

func racingEndAll(t *testing.T, store auth.AccountStore) {
	for range rounds(t) {
		a := newAccount(t, store)
		for range 4 {
			openSession(t, store, newHostSession(a.user))
		}
		ended := make([]int, contenders)
		errs := race(contenders, func(i int) (err error) {
			ended[i], err = store.RevokeUserSessions(t.Context(), byHost(now), a.user.ID)
			return err
		})
		require.NoError(t, errors.Join(errs...))
		sum := 0
		for _, n := range ended {
			sum += n
		}
		require.Equal(t, 5, sum)
	}
}
