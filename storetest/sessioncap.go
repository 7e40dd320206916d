package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var sessionCapPromises = []promise[auth.AccountStore]{
	{"a user's sessions are listed, the newest first", sessionsListed},
	{"a session that has expired is not listed", expiredNotListed},
	{"a user without sessions has none listed", noSessionsListed},
	{"a session above the limit revokes the oldest one", oldestEnds},
	{"a lower limit revokes as many sessions as needed", lowerLimit},
	{"expired sessions do not count toward the limit", expiredTakeNoRoom},
	{"without a limit, no session is revoked", noLimit},
	{"a refused session revokes none", refusedEndsNone},
	{"a limit of one leaves only the new session", limitOfOne},
	{"sessions revoked by the limit are in the feed, before the new one", cappedInFeed},
	{"signing in with GitHub respects the limit", githubKeepsLimit},
}

var sessionCapPromisesOfUsers = []promise[auth.Store]{
	{"sessions created at once respect the limit", racingSessionsForRoom},
}

func requireSessions(t *testing.T, store auth.AccountStore, userID string, want ...auth.Session) {
	t.Helper()
	sessions, err := store.ListSessions(t.Context(), userID, now)
	require.NoError(t, err)
	require.Equal(t, want, sessions)
}

// openOld opens a session of the user for each of the given ages, which are in minutes.
func openOld(t *testing.T, store auth.AccountStore, user auth.User, ages ...int) []auth.Session {
	t.Helper()
	sessions := make([]auth.Session, len(ages))
	for i, age := range ages {
		session := newHostSession(user)
		session.CreatedAt = now.Add(time.Duration(-age) * time.Minute)
		sessions[i] = openSession(t, store, session)
	}
	return sessions
}

func openLimited(t *testing.T, store auth.AccountStore, session auth.Session, limit int) auth.Session {
	t.Helper()
	session, _, err := store.CreateSession(t.Context(), session, limit)
	require.NoError(t, err)
	requireSession(t, store, session)
	return session
}

func sessionsListed(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	other := newAccount(t, store)
	old := openOld(t, store, a.user, 5, 1, 3)
	described := newSession(a.key)
	described.CreatedAt, described.UserAgent, described.Address =
		now.Add(time.Second), "curl/8.14.1", "2001:db8::1"
	described = openSession(t, store, described)
	requireSessions(t, store, a.user.ID, described, a.session, old[1], old[2], old[0])
	requireSessions(t, store, other.user.ID, other.session)

	require.NoError(t, store.RevokeSession(t.Context(), byHost(now), old[1].ID))
	requireSessions(t, store, a.user.ID, described, a.session, old[2], old[0])
}

func expiredNotListed(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for _, at := range []time.Time{a.session.ExpiresAt, a.session.ExpiresAt.Add(time.Hour)} {
		sessions, err := store.ListSessions(t.Context(), a.user.ID, at)
		require.NoError(t, err)
		require.Empty(t, sessions)
	}
	requireSessions(t, store, a.user.ID, a.session)
}

func noSessionsListed(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for _, id := range []string{unique("nobody"), a.session.ID, "", a.user.ID + "\x00"} {
		sessions, err := store.ListSessions(t.Context(), id, now)
		require.NoError(t, err)
		require.Empty(t, sessions)
	}
}

func oldestEnds(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	other := newAccount(t, store)
	old := openOld(t, store, user, 1, 3, 2)
	fourth := openLimited(t, store, newHostSession(user), 3)
	requireNoSession(t, store, old[1].ID)
	requireSessions(t, store, user.ID, fourth, old[0], old[2])
	other.requireUnchanged(t, store)

	next := newHostSession(user)
	next.CreatedAt = now.Add(time.Second)
	next = openLimited(t, store, next, 3)
	requireSessions(t, store, user.ID, next, fourth, old[0])
}

func lowerLimit(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	old := openOld(t, store, user, 1, 2, 3, 4, 5)
	added := openLimited(t, store, newHostSession(user), 3)
	requireSessions(t, store, user.ID, added, old[0], old[1])
	for _, ended := range old[2:] {
		requireNoSession(t, store, ended.ID)
	}
}

func expiredTakeNoRoom(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	expired := newHostSession(user)
	expired.CreatedAt, expired.ExpiresAt = now.Add(-time.Hour), now
	expired = openSession(t, store, expired)
	old := openOld(t, store, user, 2)
	added := openLimited(t, store, newHostSession(user), 2)
	requireSessions(t, store, user.ID, added, old[0])
	requireSession(t, store, expired)
}

func noLimit(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	old := openOld(t, store, user, 1, 2)
	for _, limit := range []int{0, -1, 4} {
		openLimited(t, store, newHostSession(user), limit)
		requireSession(t, store, old[1])
		user, _ = register(t, store, newUser())
		old = openOld(t, store, user, 1, 2, 3)
	}
}

func refusedEndsNone(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	taken, late := newSession(a.key), newSession(a.key)
	taken.ID = a.session.ID
	late.AccessKeyID = unique("none")
	for _, session := range []auth.Session{taken, late} {
		session.CreatedAt = refusedAt
		_, _, err := store.CreateSession(t.Context(), session, 1)
		requireOneOf(t, err, auth.ErrExists, auth.ErrNotFound)
		a.requireUnchanged(t, store)
	}
}

func limitOfOne(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	for range 5 { // all five have the same CreatedAt
		session := openLimited(t, store, newHostSession(user), 1)
		requireSessions(t, store, user.ID, session)
	}
}

func cappedInFeed(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	old := openOld(t, store, user, 3, 2, 1)
	added := openLimited(t, store, newHostSession(user), 2)
	var ended []string
	for _, e := range entriesOf(t, store, user) {
		ended = append(ended, e.SessionID)
		require.LessOrEqual(t, e.Position, added.Generation,
			"the new session must be newer than the entry")
	}
	slices.Sort(ended)
	want := []string{old[0].ID, old[1].ID}
	slices.Sort(want)
	require.Equal(t, want, ended)
}

func githubKeepsLimit(t *testing.T, store auth.AccountStore) {
	a := newLinked(t, store)
	require.NoError(t, store.RevokeSession(t.Context(), byHost(now), a.session.ID))
	old := openOld(t, store, a.user, 2, 1)
	signIn := a.nextSignIn()
	signIn.SessionLimit = 2
	session, _, err := store.SignInGitHub(t.Context(), byHost(now), signIn)
	require.NoError(t, err)
	sessions, err := store.ListSessions(t.Context(), a.user.ID, now)
	require.NoError(t, err)
	require.Equal(t, []auth.Session{session, old[1]}, sessions)
}

func racingSessionsForRoom(t *testing.T, store auth.Store) {
	const limit = 3
	for range rounds(t) {
		user, key := register(t, store, newUser())
		require.NoError(t, errors.Join(race(contenders, func(int) error {
			_, _, err := store.CreateSession(t.Context(), newSession(key), limit)
			return err
		})...))
		sessions, err := store.ListSessions(t.Context(), user.ID, now)
		require.NoError(t, err)
		require.Len(t, sessions, min(limit, contenders))
	}
}
