package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var feedPromises = []promise[auth.AccountStore]{
	{"a revoked session is named in the feed", endedSessionNamed},
	{"the sessions of a revoked key are named, and no others", revokedKeyNamesSessions},
	{"all sessions of a user are revoked with one entry", endAllIsOneEntry},
	{"a session created after the revocation of all is not revoked", laterSessionOutlivesEndAll},
	{"revoking a session that does not exist adds nothing", nothingNamedNothingAdded},
	{"of several concurrent revocations of a session, one adds an entry", racingEndsAddOnce},
	{"sessions created while all are revoked are revoked by the feed if they no longer exist", feedAgreesWithEndAll},
	{"a session that GitHub opened has a generation too", githubGenerations},
	{"times of entries come back in UTC, cut to the microsecond", entryTimes},
	{"a page of the feed belongs to the caller", feedPageIsCallers},
}

var feedPromisesOfUsers = []promise[auth.Store]{
	{"disabling, resetting and deleting a user revoke the sessions with one entry", userEndsAreOneEntry},
	{"a change that leaves a user active adds nothing", userChangesAddNothing},
}

// readFeed returns all entries of the store's feed.
func readFeed(t *testing.T, store auth.AccountStore) []auth.Revocation {
	t.Helper()
	var feed []auth.Revocation
	for from := int64(0); ; {
		page, err := store.ListRevocations(t.Context(), from, 100)
		require.NoError(t, err)
		feed = append(feed, page...)
		if len(page) < 100 {
			return feed
		}
		from = page[99].Position + 1
	}
}

// entriesOf returns the entries of the feed that are about the user.
func entriesOf(t *testing.T, store auth.AccountStore, user auth.User) []auth.Revocation {
	t.Helper()
	return slices.DeleteFunc(readFeed(t, store), func(e auth.Revocation) bool {
		return e.UserID != user.ID
	})
}

// isDead reports whether an entry of the feed revokes the session.
func isDead(feed []auth.Revocation, s auth.Session) bool {
	return slices.ContainsFunc(feed, func(e auth.Revocation) bool {
		ofUser := e.UserID == s.UserID || e.UserID == ""
		return ofUser && (e.SessionID == s.ID || e.SessionID == "" && s.Generation < e.Generation)
	})
}

// requireNamed fails the test unless the entry revokes exactly this session, and expires no earlier than a
// token that was issued right before the revocation can.
func requireNamed(t *testing.T, s auth.Session, e auth.Revocation) {
	t.Helper()
	requireNamedUntil(t, s, laterOf(s.ExpiresAt, now.Add(tokenLifetime)), e)
}

// requireNamedUntil is requireNamed for an entry that expires at the given time.
func requireNamedUntil(t *testing.T, s auth.Session, expires time.Time, e auth.Revocation) {
	t.Helper()
	require.Positive(t, e.Position)
	require.NotEmpty(t, e.ID)
	require.Greater(t, e.Position, s.Generation)
	require.Equal(t, auth.Revocation{
		Position: e.Position, ID: e.ID,
		UserID: s.UserID, SessionID: s.ID, Generation: s.Generation, ExpiresAt: expires,
	}, e)
}

// requireEndOfAll fails the test unless the entry revokes all sessions that the user had before the
// entry. The entry must expire at the given time, which is the latest expiry of these sessions.
func requireEndOfAll(t *testing.T, user auth.User, expires time.Time, e auth.Revocation) {
	t.Helper()
	require.NotEmpty(t, e.ID)
	require.Equal(t, auth.Revocation{
		Position: e.Position, ID: e.ID, UserID: user.ID, Generation: e.Position, ExpiresAt: expires,
	}, e)
}

func endedSessionNamed(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	first := openSession(t, store, newHostSession(a.user))
	for _, session := range []auth.Session{first, a.session} {
		require.NoError(t, store.RevokeSession(t.Context(), byHost(now), session.ID))
	}
	entries := entriesOf(t, store, a.user)
	require.Len(t, entries, 2)
	requireNamed(t, first, entries[0])
	requireNamed(t, a.session, entries[1])
	require.NotEqual(t, entries[0].ID, entries[1].ID)
	require.Greater(t, entries[1].Position, entries[0].Position)
}

func revokedKeyNamesSessions(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	stays := signIn(t, store, a.user)
	second := openSession(t, store, newSession(a.key))
	require.NoError(t, store.RevokeKey(t.Context(), byHost(now), a.key.ID))
	entries := entriesOf(t, store, a.user)
	require.Len(t, entries, 2)
	for _, session := range []auth.Session{a.session, second} {
		i := slices.IndexFunc(entries, func(e auth.Revocation) bool {
			return e.SessionID == session.ID
		})
		require.GreaterOrEqual(t, i, 0)
		requireNamed(t, session, entries[i])
	}
	require.False(t, isDead(entries, stays.session))
}

// endTimes are the expiry times of the sessions that openSeveral opens. The latest is in the
// middle.
var endTimes = []time.Time{now.Add(time.Hour), now.Add(3*time.Hour + time.Microsecond),
	now.Add(2 * time.Hour)}

// openSeveral opens sessions that expire at endTimes.
func openSeveral(t *testing.T, store auth.AccountStore, a account) []auth.Session {
	t.Helper()
	sessions := []auth.Session{a.session}
	for _, expires := range endTimes {
		session := newSession(a.key)
		session.ExpiresAt = expires
		sessions = append(sessions, openSession(t, store, session))
	}
	return sessions
}

func endAllIsOneEntry(t *testing.T, store auth.AccountStore) {
	a, other := newAccount(t, store), newAccount(t, store)
	sessions := openSeveral(t, store, a)
	endAll(t, store, a.user, now)
	entries := entriesOf(t, store, a.user)
	require.Len(t, entries, 1)
	requireEndOfAll(t, a.user, endTimes[1], entries[0])
	for _, session := range sessions {
		require.True(t, isDead(entries, session))
	}
	require.False(t, isDead(readFeed(t, store), other.session))
}

func laterSessionOutlivesEndAll(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for range 3 {
		endAll(t, store, a.user, now)
		later := openSession(t, store, newSession(a.key)) // created in the same microsecond
		feed := readFeed(t, store)
		require.True(t, isDead(feed, a.session))
		require.False(t, isDead(feed, later))
		found, err := store.FindSession(t.Context(), later.ID)
		require.NoError(t, err)
		require.Equal(t, later, found, "the generation must be stored")
		a.session = later
	}
}

func nothingNamedNothingAdded(t *testing.T, store auth.AccountStore) {
	user, key := register(t, store, newUser())
	expiring := addKey(t, store, user, now.Add(time.Hour))
	session := newSession(expiring)
	openSession(t, store, session)
	require.NoError(t, store.RevokeSession(t.Context(), byHost(now), session.ID))
	require.Len(t, entriesOf(t, store, user), 1)

	require.ErrorIs(t, store.RevokeSession(t.Context(), byHost(now), session.ID), auth.ErrNotFound)
	require.NoError(t, store.RevokeKey(t.Context(), byHost(now), key.ID))
	require.ErrorIs(t, store.RevokeKey(t.Context(), byHost(now), key.ID), auth.ErrNotFound)
	require.Len(t, entriesOf(t, store, user), 1)
}

func racingEndsAddOnce(t *testing.T, store auth.AccountStore) {
	for range rounds(t) {
		a := newAccount(t, store)
		race(contenders, func(int) error {
			return store.RevokeSession(t.Context(), byHost(now), a.session.ID)
		})
		require.Len(t, entriesOf(t, store, a.user), 1)
	}
}

// feedAgreesWithEndAll creates sessions while another call revokes all sessions of the user. A
// store with users must not keep a new session that the feed revokes. A store without users is
// allowed to keep the session, because it need not lock a user when it creates a session.
func feedAgreesWithEndAll(t *testing.T, store auth.AccountStore) {
	for range rounds(t) {
		a := newAccount(t, store)
		sessions := make([]auth.Session, contenders)
		errs := race(contenders, func(i int) (err error) {
			if i == contenders/2 {
				_, err = store.RevokeUserSessions(t.Context(), byHost(now), a.user.ID)
				return err
			}
			sessions[i], _, err = store.CreateSession(t.Context(), newSession(a.key), 0)
			return err
		})
		require.NoError(t, errors.Join(errs...))
		feed := entriesOf(t, store, a.user)
		require.True(t, isDead(feed, a.session))
		for i, session := range sessions {
			if i == contenders/2 {
				continue
			}
			there := hasSession(t, store, session.ID)
			require.True(t, there || isDead(feed, session),
				"the feed does not revoke a session that no longer exists")
			require.False(t, usersOf(store) != nil && there && isDead(feed, session),
				"the feed revokes a session that still exists")
		}
	}
}

func userEndsAreOneEntry(t *testing.T, store auth.Store) {
	for _, test := range userEnds {
		t.Run(test.name, func(t *testing.T) {
			a := newAccount(t, store)
			sessions := openSeveral(t, store, a)
			require.NoError(t, test.end(t.Context(), store, a))
			entries := entriesOf(t, store, a.user)
			require.Len(t, entries, 1)
			requireEndOfAll(t, a.user, endTimes[1], entries[0])
			for _, session := range sessions {
				require.True(t, isDead(entries, session))
			}
		})
	}
}

func userChangesAddNothing(t *testing.T, store auth.Store) {
	a := newAccountOf(t, store, newSuperUser())
	keeper, _ := register(t, store, newSuperUser())
	for _, change := range []auth.UserChange{promote, demote, enable, {}} {
		update(t, store, a.user.ID, change)
	}
	require.Empty(t, entriesOf(t, store, a.user))
	requireSession(t, store, a.session)
	require.Empty(t, entriesOf(t, store, keeper))
}

// githubGenerations adds entries to the feed, and then signs a new user in with GitHub. After that,
// it repeats the following several times: it revokes all sessions of this user and signs the user
// in again.
func githubGenerations(t *testing.T, store auth.AccountStore) {
	ender := newAccount(t, store)
	endAll(t, store, ender.user, now)
	a := newLinked(t, store)
	require.GreaterOrEqual(t, a.session.Generation, entriesOf(t, store, ender.user)[0].Position)
	for range 3 {
		endAll(t, store, a.user, now)
		signIn := a.nextSignIn()
		later, _, err := store.SignInGitHub(t.Context(), byHost(now), signIn)
		require.NoError(t, err)
		feed := entriesOf(t, store, a.user)
		require.True(t, isDead(feed, a.session))
		require.False(t, isDead(feed, later))
		found, err := store.FindSession(t.Context(), later.ID)
		require.NoError(t, err)
		require.Equal(t, later, found, "the generation must be stored")
		a.session, a.token = later, *signIn.Token
	}
}

func entryTimes(t *testing.T, store auth.AccountStore) {
	for name, test := range keptTimes {
		t.Run(name, func(t *testing.T) {
			user, _ := register(t, store, newUser())
			session := newHostSession(user)
			session.ExpiresAt = test.in
			openSession(t, store, session)
			require.NoError(t, store.RevokeSession(t.Context(), briefly(), session.ID))
			require.Equal(t, laterOf(test.want, now), entriesOf(t, store, user)[0].ExpiresAt)
			session.ID = unique("session")
			openSession(t, store, session)
			endAll(t, store, user, now)
			entries := entriesOf(t, store, user)
			require.Len(t, entries, 2)
			require.Zero(t, entries[0].ExpiresAt, "replaced by the entry for the user")
			require.Equal(t, laterOf(test.want, now.Add(tokenLifetime)), entries[1].ExpiresAt)
		})
	}
}

// feedPageIsCallers overwrites a page that the store has returned. This must not change the store.
func feedPageIsCallers(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	session := newHostSession(user)
	openSession(t, store, session)
	require.NoError(t, store.RevokeSession(t.Context(), byHost(now), session.ID))
	entries := entriesOf(t, store, user)
	require.Len(t, entries, 1)
	page, err := store.ListRevocations(t.Context(), entries[0].Position, 1)
	require.NoError(t, err)
	require.Equal(t, entries, page)
	page[0].SessionID = ""
	require.Equal(t, entries, entriesOf(t, store, user))
}
