package storetest

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var wholeFeedPromises = []promise{
	{"a new store has an empty feed", emptyFeed},
	{"positions count from one without a gap", positionsCount},
	{"the feed is listed page by page, from anywhere", feedPages},
	{"no entry turns up behind what has been read", noLateEntries},
	{"pruning the feed removes what has expired, but never the newest", feedPruned},
	{"of one user the feed names a bounded number of sessions", feedFolds},
}

func emptyFeed(t *testing.T, store auth.Store) {
	require.Empty(t, readFeed(t, store))
	require.Zero(t, newAccount(t, store).session.Generation)
	n, err := store.PruneRevocations(t.Context(), now.Add(1000*time.Hour), math.MaxInt)
	require.NoError(t, err)
	require.Zero(t, n)
}

func positionsCount(t *testing.T, store auth.Store) {
	ids := map[string]bool{}
	for i := range int64(5) {
		a := newAccount(t, store)
		require.Equal(t, i, a.session.Generation)
		if i%2 == 0 {
			require.NoError(t, store.EndSession(t.Context(), a.session.ID))
		} else {
			endAll(t, store, a.user, now)
		}
		feed := readFeed(t, store)
		require.Len(t, feed, int(i+1))
		require.Equal(t, i+1, feed[i].Position)
		ids[feed[i].ID] = true
	}
	require.Len(t, ids, 5)
}

// endSeveral ends as many sessions, of a user each, and returns the feed.
func endSeveral(t *testing.T, store auth.Store, n int) []auth.Revocation {
	t.Helper()
	for range n {
		require.NoError(t, store.EndSession(t.Context(), newAccount(t, store).session.ID))
	}
	return readFeed(t, store)
}

func feedPages(t *testing.T, store auth.Store) {
	feed := endSeveral(t, store, 5)
	for _, test := range []struct {
		from  int64
		limit int
		want  []auth.Revocation
	}{
		{0, 10, feed}, {1, 5, feed}, {-7, 5, feed}, {math.MinInt64, math.MaxInt, feed},
		{2, 2, feed[1:3]}, {5, 1, feed[4:]}, {5, 10, feed[4:]}, {3, math.MaxInt, feed[2:]},
		{6, 10, nil}, {math.MaxInt64, 10, nil}, {1, 0, nil}, {1, -1, nil},
	} {
		page, err := store.ListRevocations(t.Context(), test.from, test.limit)
		require.NoError(t, err)
		require.Len(t, page, len(test.want), "%d from %d", test.limit, test.from)
		for i := range page {
			require.Equal(t, test.want[i], page[i])
		}
	}
}

// noLateEntries reads the feed while many add to it. A store that numbers its
// entries before it knows in which order they will be seen lets the reader pass by
// one.
func noLateEntries(t *testing.T, store auth.Store) {
	for range rounds(t) {
		before := readFeed(t, store)
		const each = 5
		sessions := make([][]account, contenders)
		for i := range sessions {
			for range each {
				sessions[i] = append(sessions[i], newAccount(t, store))
			}
		}
		var ended atomic.Int64
		var seen []auth.Revocation
		errs := race(contenders+1, func(i int) error {
			if i < contenders {
				defer ended.Add(1)
				return endEach(t.Context(), store, sessions[i])
			}
			for over := false; ; {
				page, err := store.ListRevocations(t.Context(), int64(len(before)+len(seen)+1), 3)
				seen = append(seen, page...)
				if err != nil || over && len(page) == 0 {
					return err
				}
				over = ended.Load() == contenders
			}
		})
		require.NoError(t, errors.Join(errs...))
		require.Len(t, seen, contenders*each)
		require.Equal(t, append(before, seen...), readFeed(t, store))
		for i, e := range seen {
			require.Equal(t, int64(len(before)+i+1), e.Position)
		}
	}
}

// endEach ends the session of each, in one way or another.
func endEach(ctx context.Context, store auth.Store, accounts []account) (err error) {
	for i, a := range accounts {
		switch i % 3 {
		case 0:
			err = store.EndSession(ctx, a.session.ID)
		case 1:
			err = store.RevokeKey(ctx, a.key.ID)
		default:
			_, err = store.EndUserSessions(ctx, a.user.ID, now)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// openMany opens as many sessions of the key, that expire an hour apart.
func openMany(t *testing.T, store auth.Store, key auth.AccessKey, n int) []auth.Session {
	t.Helper()
	sessions := make([]auth.Session, n)
	for i := range sessions {
		session := newSession(key)
		session.ExpiresAt = now.Add(time.Duration(i+1) * time.Hour)
		sessions[i] = openSession(t, store, session)
	}
	return sessions
}

func feedPruned(t *testing.T, store auth.Store) {
	const old = 6
	_, key := register(t, store, newUser())
	first := openMany(t, store, key, old)
	for _, session := range slices.Backward(first) { // so that the oldest entry expires last
		require.NoError(t, store.EndSession(t.Context(), session.ID))
	}
	newest, other := register(t, store, newUser())
	openMany(t, store, other, auth.KeptRevocations)
	require.NoError(t, store.RevokeKey(t.Context(), other.ID))

	prune := func(expired time.Time, limit int) int {
		n, err := store.PruneRevocations(t.Context(), expired, limit)
		require.NoError(t, err)
		return n
	}
	all := now.Add(1_000_000 * time.Hour)
	require.Zero(t, prune(now, 10))
	require.Zero(t, prune(all, 0))
	require.Zero(t, prune(all, -1))
	require.Zero(t, prune(now.Add(time.Hour-time.Microsecond), 10))
	require.Equal(t, 1, prune(now.Add(time.Hour), 10))
	require.Equal(t, int64(1), readFeed(t, store)[0].Position, "which has not expired")
	require.Equal(t, int64(old-1), readFeed(t, store)[old-2].Position)
	require.Equal(t, int64(old+1), readFeed(t, store)[old-1].Position, "the one between has")
	require.Equal(t, 2, prune(all, 2))

	pruned := make([]int, contenders)
	errs := race(contenders, func(i int) (err error) {
		pruned[i], err = store.PruneRevocations(t.Context(), all, math.MaxInt)
		return err
	})
	require.NoError(t, errors.Join(errs...))
	sum := prune(all, math.MaxInt)
	for _, n := range pruned {
		sum += n
	}
	require.Equal(t, old-3, sum)
	require.Len(t, entriesOf(t, store, newest), auth.KeptRevocations)
	require.Len(t, readFeed(t, store), auth.KeptRevocations)
}

// feedFolds signs a user in and out until the feed would name too many sessions.
func feedFolds(t *testing.T, store auth.Store) {
	a, other := newAccount(t, store), newAccount(t, store)
	early := openSession(t, store, newSession(a.key)) // and left as it is
	first := openMany(t, store, a.key, 2)
	require.NoError(t, store.EndSession(t.Context(), first[0].ID)) // so that generations differ
	ended := []auth.Session{first[0]}
	var middle auth.Session
	for i := range auth.MaxNamedRevocations {
		session := openSession(t, store, newSession(a.key))
		if i == auth.MaxNamedRevocations-2 {
			middle = openSession(t, store, newSession(a.key))
		}
		require.NoError(t, store.EndSession(t.Context(), session.ID))
		ended = append(ended, session)
	}

	feed := entriesOf(t, store, a.user)
	named, expires := 0, time.Time{}
	for _, e := range feed {
		if e.SessionID != "" && !e.ExpiresAt.IsZero() {
			named++
		}
		if e.SessionID == "" {
			expires = e.ExpiresAt
		}
	}
	require.LessOrEqual(t, named, auth.MaxNamedRevocations/2+1)
	require.Equal(t, first[1].ExpiresAt, expires, "until the last would have expired of those that it stands for")
	for _, session := range ended {
		require.True(t, isDead(feed, session))
	}
	for _, session := range []auth.Session{a.session, early, first[1]} {
		require.True(t, isDead(feed, session), "sessions as old as those end with them")
		requireNoSession(t, store, session.ID)
	}
	require.False(t, isDead(feed, middle))
	requireSession(t, store, middle)
	other.requireUnchanged(t, store)
	require.False(t, isDead(readFeed(t, store), other.session))
}
