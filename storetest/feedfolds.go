package storetest

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var feedFoldPromises = []promise{
	{"whoever signs in again and again within a limit stays signed in, however often the feed folds", foldsWithinLimit},
	{"what has expired is pruned without an entry in the feed", prunedSilently},
	{"a session that GitHub opened is as new as the feed", githubGeneration},
}

// foldsOf returns how many entries of the user's stand for others, and how many name a
// session by themselves.
func foldsOf(t *testing.T, store auth.Store, user auth.User) (folds, named int) {
	t.Helper()
	for _, e := range entriesOf(t, store, user) {
		switch {
		case e.SessionID == "":
			folds++
		case !e.ExpiresAt.IsZero():
			named++
		}
	}
	return folds, named
}

// foldsWithinLimit signs in until the feed has folded twice: each sign-in ends one
// session, by its name.
func foldsWithinLimit(t *testing.T, store auth.Store) {
	const limit = 2
	user, key := register(t, store, newUser())
	other := newAccount(t, store)
	var newest [limit]auth.Session
	signIn := func(n int) {
		t.Helper()
		for range n {
			session, _, err := store.CreateSession(t.Context(), newSession(key), limit)
			require.NoError(t, err)
			newest[0], newest[1] = newest[1], session
		}
	}
	requireFolds := func(wantFolds int) (named int) {
		t.Helper()
		folds, named := foldsOf(t, store, user)
		require.Equal(t, wantFolds, folds)
		require.LessOrEqual(t, named, auth.MaxNamedRevocations)
		feed := entriesOf(t, store, user)
		for _, session := range newest {
			require.False(t, isDead(feed, session), "one of the newest is dead by the feed")
			requireSession(t, store, session)
		}
		return named
	}
	signIn(limit + auth.MaxNamedRevocations)
	require.Equal(t, auth.MaxNamedRevocations, requireFolds(0), "as many as may be named")
	signIn(1)
	named := requireFolds(1)
	require.LessOrEqual(t, named, auth.MaxNamedRevocations/2)
	signIn(auth.MaxNamedRevocations - named)
	require.Equal(t, auth.MaxNamedRevocations, requireFolds(1), "what was folded counts no more")
	signIn(1)
	requireFolds(2)
	other.requireUnchanged(t, store)
	require.Empty(t, entriesOf(t, store, other.user))
}

func prunedSilently(t *testing.T, store auth.Store) {
	user, _ := register(t, store, newUser())
	key := addKey(t, store, user, now.Add(time.Minute))
	for range 3 {
		openSession(t, store, newSession(key))
	}
	session := newHostSession(user)
	session.ExpiresAt = now.Add(time.Minute)
	openSession(t, store, session)

	n, err := store.PruneSessions(t.Context(), now.Add(time.Minute), 2)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	n, err = store.PruneKeys(t.Context(), now.Add(time.Minute), math.MaxInt)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, err = store.PruneSessions(t.Context(), now.Add(time.Minute), math.MaxInt)
	require.NoError(t, err)
	require.Empty(t, readFeed(t, store))
}

func githubGeneration(t *testing.T, store auth.Store) {
	require.Len(t, endSeveral(t, store, 3), 3)
	a := newLinked(t, store)
	require.EqualValues(t, 3, a.session.Generation)
	found, err := store.FindSession(t.Context(), a.session.ID)
	require.NoError(t, err)
	require.EqualValues(t, 3, found.Generation)
}
