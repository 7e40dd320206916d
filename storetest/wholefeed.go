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
	"github.com/sallyport-go/auth/storekit"
)

var wholeFeedPromises = []promise[auth.AccountStore]{
	{"a new store has an empty feed", emptyFeed},
	{"positions count from one without gaps", positionsCount},
	{"the feed is listed page by page, from anywhere", feedPages},
	{"no entry appears before a position that was already read", noLateEntries},
	{"pruning the feed removes expired entries, but never the newest ones", feedPruned},
	{"pruning expired keys and sessions adds nothing to the feed", expiredAddNothing},
	{"a refused call adds nothing to the feed", refusedAddNothing},
	{"the feed names a bounded number of sessions of one user", feedFolds},
	{"folded and pruned entries no longer count as named", foldsCounted},
	{"a user who signs in repeatedly within a limit stays signed in, however often the feed folds", foldsWithinLimit},
}

var wholeFeedPromisesOfUsers = []promise[auth.Store]{
	{"no session is created already revoked by the feed", noneCreatedDead},
}

func emptyFeed(t *testing.T, store auth.AccountStore) {
	require.Empty(t, readFeed(t, store))
	require.Zero(t, newAccount(t, store).session.Generation)
	n, err := store.PruneRevocations(t.Context(), now.Add(1000*time.Hour), math.MaxInt)
	require.NoError(t, err)
	require.Zero(t, n)
}

func positionsCount(t *testing.T, store auth.AccountStore) {
	ids := map[string]bool{}
	for i := range int64(5) {
		a := newAccount(t, store)
		require.Equal(t, i, a.session.Generation)
		if i%2 == 0 {
			require.NoError(t, store.RevokeSession(t.Context(), byHost(now), a.session.ID))
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

// endSeveral revokes n sessions, each of a different user, and returns the feed.
func endSeveral(t *testing.T, store auth.AccountStore, n int) []auth.Revocation {
	t.Helper()
	for range n {
		require.NoError(t, store.RevokeSession(t.Context(), byHost(now),
			newAccount(t, store).session.ID))
	}
	return readFeed(t, store)
}

func feedPages(t *testing.T, store auth.AccountStore) {
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

// noLateEntries reads the feed while many callers add entries. The test fails if the reader misses
// an entry. A reader can miss an entry if the order of the Positions differs from the order in
// which the transactions commit.
func noLateEntries(t *testing.T, store auth.AccountStore) {
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
			for over, from := false, int64(len(before)+1); ; {
				page, err := store.ListRevocations(t.Context(), from, 3)
				seen = append(seen, page...)
				if err != nil || over && len(page) == 0 {
					return err
				}
				if len(page) > 0 {
					from = page[len(page)-1].Position + 1
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

// endEach revokes the session of each account, in one of three ways.
func endEach(ctx context.Context, store auth.AccountStore, accounts []account) (err error) {
	for i, a := range accounts {
		switch i % 3 {
		case 0:
			err = store.RevokeSession(ctx, byHost(now), a.session.ID)
		case 1:
			err = store.RevokeKey(ctx, byHost(now), a.key.ID)
		default:
			_, err = store.RevokeUserSessions(ctx, byHost(now), a.user.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// openMany opens n sessions with the key. Each session expires one hour after the previous session.
func openMany(t *testing.T, store auth.AccountStore, key auth.AccessKey, n int) []auth.Session {
	t.Helper()
	sessions := make([]auth.Session, n)
	for i := range sessions {
		session := newSession(key)
		session.ExpiresAt = now.Add(time.Duration(i+1) * time.Hour)
		sessions[i] = openSession(t, store, session)
	}
	return sessions
}

// endAtOnce opens the given number of sessions for each of several new users, and then revokes
// these sessions. To save time, endAtOnce does this for all users at the same time.
func endAtOnce(t *testing.T, store auth.AccountStore, each int) {
	t.Helper()
	keys := make([]auth.AccessKey, contenders)
	for i := range keys {
		_, keys[i] = register(t, store, newUser())
	}
	errs := race(contenders, func(i int) error {
		for range each {
			if _, _, err := store.CreateSession(t.Context(), newSession(keys[i]), 0); err != nil {
				return err
			}
		}
		return store.RevokeKey(t.Context(), byHost(now), keys[i].ID)
	})
	require.NoError(t, errors.Join(errs...))
}

func feedPruned(t *testing.T, store auth.AccountStore) {
	_, key := register(t, store, newUser())
	first := openMany(t, store, key, 6)
	for _, i := range []int{5, 1, 0, 3, 4, 2} { // so that the first entry of the feed expires last
		require.NoError(t, store.RevokeSession(t.Context(), briefly(), first[i].ID))
	}
	endAtOnce(t, store, storekit.KeptRevocations/contenders)
	feed := readFeed(t, store)
	old, newest := feed[:len(first)], feed[len(first):]
	require.Len(t, newest, storekit.KeptRevocations)

	all := now.Add(1_000_000 * time.Hour)
	for _, test := range []struct {
		expired time.Time
		limit   int
		pruned  int
		left    []int64 // positions of the old entries
	}{
		{now, 10, 0, []int64{1, 2, 3, 4, 5, 6}},
		{all, 0, 0, []int64{1, 2, 3, 4, 5, 6}},
		{all, -1, 0, []int64{1, 2, 3, 4, 5, 6}},
		{first[0].ExpiresAt.Add(-time.Nanosecond), 10, 0, []int64{1, 2, 3, 4, 5, 6}},
		{first[0].ExpiresAt, 10, 1, []int64{1, 2, 4, 5, 6}},
		{first[0].ExpiresAt, 10, 0, []int64{1, 2, 4, 5, 6}},
		{first[2].ExpiresAt.Add(999).In(time.FixedZone("east", 3600)), math.MaxInt, 2,
			[]int64{1, 4, 5}},
		{first[3].ExpiresAt, 1, 1, []int64{1, 5}},
	} {
		n, err := store.PruneRevocations(t.Context(), test.expired, test.limit)
		require.NoError(t, err)
		require.Equal(t, test.pruned, n, "of %d that had expired at %v", test.limit, test.expired)
		left := slices.DeleteFunc(slices.Clone(old), func(e auth.Revocation) bool {
			return !slices.Contains(test.left, e.Position)
		})
		require.Equal(t, append(left, newest...), readFeed(t, store))
	}
	require.Equal(t, 2, racingFeedPrunes(t, store, all))
	require.Equal(t, newest, readFeed(t, store))
}

// racingFeedPrunes makes several calls of PruneRevocations at the same time, and returns the number
// of all removed entries. A call may skip entries that another call is removing. Therefore,
// racingFeedPrunes makes one more call at the end.
func racingFeedPrunes(t *testing.T, store auth.AccountStore, expired time.Time) int {
	t.Helper()
	pruned := make([]int, contenders)
	errs := race(contenders, func(i int) (err error) {
		pruned[i], err = store.PruneRevocations(t.Context(), expired, math.MaxInt)
		return err
	})
	require.NoError(t, errors.Join(errs...))
	sum, err := store.PruneRevocations(t.Context(), expired, math.MaxInt)
	require.NoError(t, err)
	for _, n := range pruned {
		sum += n
	}
	return sum
}

// expiredAddNothing prunes an expired key with its sessions, and expired sessions that no key
// opened. This must add no entries to the feed, because the tokens of these sessions have expired.
func expiredAddNothing(t *testing.T, store auth.AccountStore) {
	feed := endSeveral(t, store, 2)
	a := newExpiring(t, store)
	opened := []auth.Session{a.session, openSession(t, store, newSession(a.key))}
	expires := a.key.ExpiresAt
	keyKind.requirePruned(t, store, 1, expires, math.MaxInt)
	for range 3 {
		session := newHostSession(a.user)
		session.ExpiresAt = expires
		opened = append(opened, openSession(t, store, session))
	}
	sessionKind.requirePruned(t, store, 3, expires, math.MaxInt)
	for _, session := range opened {
		requireNoSession(t, store, session.ID)
	}
	require.Equal(t, feed, readFeed(t, store))
}

// noneCreatedDead creates sessions while other calls revoke all sessions again and again. The feed
// must not revoke a session that the store still returns. A store can break this rule if it reads
// the Generation of a new session before it locks the user.
func noneCreatedDead(t *testing.T, store auth.Store) {
	const each, atLeast = 20, 20 * time.Millisecond // a store in memory makes many more rounds
	for range rounds(t) {
		a, begun := newAccount(t, store), time.Now()
		errs := race(contenders, func(i int) error {
			for n := 0; n < each || time.Since(begun) < atLeast; n++ {
				if err := endAllOrCreateAlive(t.Context(), store, a, i%2 == 0); err != nil {
					return err
				}
			}
			return nil
		})
		require.NoError(t, errors.Join(errs...))
		// otherwise, many rounds would fill the memory
		_, err := store.PruneRevocations(t.Context(), latest, math.MaxInt)
		require.NoError(t, err)
	}
}

// endAllOrCreateAlive revokes all sessions of the account if the parameter end is true. If not,
// endAllOrCreateAlive creates a session. If the feed revokes the new session but the store still
// returns the session, endAllOrCreateAlive returns an error.
func endAllOrCreateAlive(ctx context.Context, store auth.AccountStore, a account, end bool) error {
	if end {
		_, err := store.RevokeUserSessions(ctx, byHost(now), a.user.ID)
		return err
	}
	session, _, err := store.CreateSession(ctx, newSession(a.key), 0)
	if err != nil {
		return err
	}
	feed, err := store.ListRevocations(ctx, session.Generation+1, math.MaxInt)
	if err != nil || !isDead(feed, session) {
		return err
	}
	_, err = store.FindSession(ctx, session.ID)
	switch {
	case errors.Is(err, auth.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	return errors.New("the feed revokes a session that exists")
}
