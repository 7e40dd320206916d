package storetest

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// Each of the everybodyPromises needs its own store.
var everybodyPromises = []promise[auth.AccountStore]{
	{"the head of the feed is the position of its newest entry", headMoves},
	{"the sessions of all users are revoked with one entry", everybodyEnded},
	{"a newer entry for all users replaces only the older one for all users", everybodyReplaces},
	{"an entry for all users does not expire before the one it replaces", everybodyEntryLives},
	{"sessions revoked with those of all users are not counted as live later", everybodyCountsOnce},
	{"sessions revoked with those of all users do not count toward the limit", everybodyLeavesRoom},
	{"after lost commits, positions and generations continue above the known ones", aboveTheSeen},
	{"pruning counts entries and not the positions that an entry for all users skips", skippedStay},
	{"of several concurrent repairs of the feed, one adds an entry", racingRepairs},
	{"a session created while all are revoked is revoked by the feed or comes later", createdWithEverybody},
}

func requireHead(t *testing.T, store auth.AccountStore, want int64) {
	t.Helper()
	head, err := store.RevocationHead(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, head)
}

func endEverybody(t *testing.T, store auth.AccountStore, above int64) {
	t.Helper()
	require.NoError(t, store.RevokeEverybody(t.Context(), byHost(now), above))
}

func headMoves(t *testing.T, store auth.AccountStore) {
	requireHead(t, store, 0)
	for i := range int64(4) {
		a := newAccount(t, store)
		require.Equal(t, i, a.session.Generation)
		revokeToken(t, store, claimsOf(a.session))
		requireHead(t, store, i+1)
	}
	_, err := store.PruneRevocations(t.Context(), latest, math.MaxInt)
	require.NoError(t, err)
	requireHead(t, store, 4)
}

// requireEntryForEverybody fails the test unless the entry has this position and revokes the
// sessions of all users.
func requireEntryForEverybody(t *testing.T, position int64, e auth.Revocation) {
	t.Helper()
	require.NotEmpty(t, e.ID)
	require.Equal(t, auth.Revocation{
		Position: position, ID: e.ID, Generation: position, ExpiresAt: e.ExpiresAt,
	}, e)
	require.False(t, e.ExpiresAt.Before(now.Add(tokenLifetime)), "the entry must not expire before any token")
}

func everybodyEnded(t *testing.T, store auth.AccountStore) {
	a, b := newAccount(t, store), newLinked(t, store)
	lost := newSession(a.key)
	endEverybody(t, store, 0)
	feed := readFeed(t, store)
	require.Len(t, feed, 1)
	requireEntryForEverybody(t, now.UnixMicro()+1, feed[0])
	for _, session := range []auth.Session{a.session, b.session, lost} {
		require.True(t, isDead(feed, session))
		require.ErrorIs(t, store.AddKey(t.Context(), bySession(session, now),
			newKey(auth.User{ID: session.UserID})), auth.ErrTokenRejected)
	}
	later := openSession(t, store, newSession(a.key))
	require.False(t, isDead(feed, later))
	require.NoError(t, store.AddKey(t.Context(), bySession(later, now), newKey(a.user)))
	requireKey(t, store, a.key)
	requireConnection(t, store, b.connection())
	requireUser(t, store, a.user)
}

func everybodyReplaces(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	revokeToken(t, store, claimsOf(a.session))
	endAll(t, store, newAccount(t, store).user, now)
	endEverybody(t, store, 0)
	before := readFeed(t, store)
	require.Len(t, before, 3)
	endEverybody(t, store, 0)
	feed := readFeed(t, store)
	require.Len(t, feed, 4)
	require.Equal(t, before[:2], feed[:2])
	require.Zero(t, feed[2].ExpiresAt)
	requireEntryForEverybody(t, before[2].Position+storekit.SkippedPositions+1, feed[3])
}

// everybodyEntryLives tests that an entry for all users expires no earlier than the entry that it
// replaces. Otherwise, a token from a time with a longer MaxTokenLifetime would be accepted again.
func everybodyEntryLives(t *testing.T, store auth.AccountStore) {
	var last time.Time
	revoke := func(lifetime time.Duration) {
		w := byHost(now)
		w.MaxTokenLifetime = lifetime
		require.NoError(t, store.RevokeEverybody(t.Context(), w, 0))
		feed := readFeed(t, store)
		require.Equal(t, last, feed[len(feed)-1].ExpiresAt)
	}
	last = now.Add(tokenLifetime)
	revoke(tokenLifetime)
	revoke(tokenLifetime / 2)
	revoke(0)
	last = now.Add(2 * tokenLifetime)
	revoke(2 * tokenLifetime)
	revoke(tokenLifetime)

	user, _ := register(t, store, newUser())
	session := newHostSession(user)
	session.ExpiresAt = now.Add(3 * tokenLifetime)
	last = openSession(t, store, session).ExpiresAt
	revoke(tokenLifetime)
	_, err := store.PruneSessions(t.Context(), last, math.MaxInt)
	require.NoError(t, err)
	revoke(tokenLifetime)
}

func everybodyCountsOnce(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	openSession(t, store, newHostSession(a.user))
	endEverybody(t, store, 0)
	require.Zero(t, endAll(t, store, a.user, now))

	openSession(t, store, newSession(a.key))
	endEverybody(t, store, 0)
	own := openSession(t, store, newSession(a.key))
	openSession(t, store, newHostSession(a.user))
	live, err := store.RevokeUserSessions(t.Context(), bySession(own, now), a.user.ID)
	require.NoError(t, err)
	require.Equal(t, 2, live)
}

// everybodyLeavesRoom tests that CreateSession and SignInGitHub do not count the sessions that
// RevokeEverybody revoked, even if the clock of another instance gave them a later CreatedAt.
func everybodyLeavesRoom(t *testing.T, store auth.AccountStore) {
	a := newLinked(t, store)
	openOld(t, store, a.user, -1, -2, 3)
	endEverybody(t, store, 0)
	first := openLimited(t, store, newHostSession(a.user), 2)
	signIn := a.nextSignIn()
	signIn.Session.CreatedAt, signIn.SessionLimit = now.Add(time.Second), 2
	second, _, err := store.SignInGitHub(t.Context(), byHost(now), signIn)
	require.NoError(t, err)
	requireSessions(t, store, a.user.ID, second, first)
	require.Empty(t, entriesOf(t, store, a.user), "no session had to make room")

	third := newHostSession(a.user)
	third.CreatedAt = now.Add(2 * time.Second)
	third = openLimited(t, store, third, 2)
	requireSessions(t, store, a.user.ID, third, second)
}

func aboveTheSeen(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	revokeToken(t, store, claimsOf(a.session))
	requireHead(t, store, 1)

	seen := now.UnixMicro() // the store has never assigned a greater position
	endEverybody(t, store, 41)
	requireHead(t, store, seen+1)
	feed := readFeed(t, store)
	require.Len(t, feed, 2)
	requireEntryForEverybody(t, seen+1, feed[1])
	for _, above := range []int64{1, 41, seen} { // another call has repaired the feed
		for _, later := range []time.Duration{0, time.Hour} {
			err := store.RevokeEverybody(t.Context(), byHost(now.Add(later)), above)
			require.ErrorIs(t, err, auth.ErrChanged)
			require.Equal(t, feed, readFeed(t, store))
		}
	}
	endEverybody(t, store, seen+100) // as if a token claimed this Generation
	seen += 100 + storekit.SkippedPositions
	requireHead(t, store, seen+1)
	lost := newSession(a.key) // as if the commit of this session was lost
	lost.Generation = seen
	feed = readFeed(t, store)
	require.True(t, isDead(feed, lost))

	later := openSession(t, store, newSession(a.key))
	require.Equal(t, seen+1, later.Generation)
	require.NoError(t, store.AddKey(t.Context(), bySession(later, now), newKey(a.user)))
	revokeToken(t, store, claimsOf(later))
	feed = readFeed(t, store)
	require.Equal(t, seen+2, feed[len(feed)-1].Position)

	page, err := store.ListRevocations(t.Context(), 2, 1)
	require.NoError(t, err)
	require.Equal(t, feed[1:2], page, "the reader must continue after the skipped positions")
}

// skippedStay tests that pruning keeps the newest KeptRevocations entries, even if there are large
// gaps between their positions. RevokeEverybody leaves such a gap before its entry. A store that
// subtracts KeptRevocations from the newest position would therefore keep fewer entries.
func skippedStay(t *testing.T, store auth.AccountStore) {
	for range 2 {
		revokeToken(t, store, claimsOf(newAccount(t, store).session))
	}
	endEverybody(t, store, 0)
	endEverybody(t, store, 0) // the older entry for all users now has a zero ExpiresAt
	feed := readFeed(t, store)
	require.Len(t, feed, 4)
	n, err := store.PruneRevocations(t.Context(), latest, math.MaxInt)
	require.NoError(t, err)
	require.Zero(t, n)
	require.Equal(t, feed, readFeed(t, store))
}

// racingRepairs also revokes tokens meanwhile. It finds a store that takes any new entry for the one
// that repairs the feed.
func racingRepairs(t *testing.T, store auth.AccountStore) {
	lost := int64(1)
	for i := range rounds(t) {
		tokens := make([]auth.Session, contenders)
		for n := range tokens {
			tokens[n] = newAccount(t, store).session
		}
		errs := race(2*contenders, func(n int) error {
			if n%2 == 0 {
				return store.RevokeToken(t.Context(), claimsOf(tokens[n/2]))
			}
			at := now.Add(time.Duration(i*contenders+n) * time.Second)
			return store.RevokeEverybody(t.Context(), byHost(at), lost)
		})
		repaired := 0
		for n, err := range errs {
			if n%2 == 0 || !errors.Is(err, auth.ErrChanged) {
				require.NoError(t, err)
				repaired += n % 2
			}
		}
		require.Equal(t, 1, repaired)
		feed := slices.DeleteFunc(readFeed(t, store), func(e auth.Revocation) bool { return e.UserID != "" })
		require.Len(t, feed, i+1)
		lost = feed[i].Generation
		for _, session := range tokens {
			require.True(t, isDead(feed, session))
		}
	}
}

func createdWithEverybody(t *testing.T, store auth.AccountStore) {
	for range rounds(t) {
		_, key := register(t, store, newUser())
		sessions := make([]auth.Session, contenders)
		errs := race(contenders, func(i int) (err error) {
			if i != contenders/2 {
				sessions[i], _, err = store.CreateSession(t.Context(), newSession(key), 0)
				return err
			}
			return store.RevokeEverybody(t.Context(), byHost(now), 0)
		})
		require.NoError(t, errors.Join(errs...))
		feed := readFeed(t, store)
		for i, session := range sessions {
			if i == contenders/2 {
				continue
			}
			err := store.AddKey(t.Context(), bySession(session, now.Add(time.Second)),
				newKey(auth.User{ID: key.UserID}))
			if isDead(feed, session) {
				require.ErrorIs(t, err, auth.ErrTokenRejected)
			} else {
				require.NoError(t, err)
			}
		}
	}
}
