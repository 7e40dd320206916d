package storetest

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var prunePromises = []promise[auth.AccountStore]{
	{"pruning removes expired records and nothing else", eachKind(pruneExactly)},
	{"pruning removes no more than the limit", eachKind(pruneToLimit)},
	{"pruning an empty store removes nothing", eachKind(pruneEmpty)},
	{"records that several calls prune at once are counted once", eachKind(racingPrunes)},
	{"a key that never expires is never pruned", permanentKeysStay},
	{"pruning a previous hash leaves the key and its sessions unchanged", keyOutlastsPreviousHash},
	{"the previous hash of a key that was rotated again or removed is not pruned early", overlapsEndOnce},
	{"pruning a key removes the sessions it opened, and no others", prunedKeyEndsSessions},
	{"a session created while its key is pruned does not survive it", sessionsRacingPrune},
}

var prunePromisesOfUsers = []promise[auth.Store]{
	{"records that were removed before are not pruned again", endedNotPruned},
}

// kind is a kind of record that can be pruned, with functions to add, find and prune such records.
type kind struct {
	name  string
	add   func(t *testing.T, store auth.AccountStore, owner auth.User, expires time.Time) (id string)
	has   func(t *testing.T, store auth.AccountStore, id string) bool
	prune func(store auth.AccountStore, ctx context.Context, expired time.Time, limit int) (int, error)
}

var (
	keyKind     = kind{"keys", addKeyUntil, hasKey, auth.AccountStore.PruneKeys}
	sessionKind = kind{"sessions", addSessionUntil, hasSession, auth.AccountStore.PruneSessions}
	overlapKind = kind{"previous hashes", addOverlapUntil, hasPreviousHash,
		auth.AccountStore.PrunePreviousHashes}
)

// eachKind turns a test of one kind of record into a test of every kind.
func eachKind(
	test func(t *testing.T, store auth.AccountStore, kind kind),
) func(t *testing.T, store auth.AccountStore) {
	return func(t *testing.T, store auth.AccountStore) {
		for _, kind := range []kind{keyKind, sessionKind, overlapKind} {
			t.Run(kind.name, func(t *testing.T) { test(t, store, kind) })
		}
	}
}

func addKeyUntil(t *testing.T, store auth.AccountStore, owner auth.User, expires time.Time) string {
	t.Helper()
	return addKey(t, store, owner, expires).ID
}

func addOverlapUntil(t *testing.T, store auth.AccountStore, owner auth.User, ends time.Time) string {
	t.Helper()
	key := newKey(owner)
	key.PreviousHash, key.PreviousUntil = unique("hash"), ends
	require.NoError(t, store.AddKey(t.Context(), byHost(now), key))
	return key.ID
}

func hasPreviousHash(t *testing.T, store auth.AccountStore, id string) bool {
	t.Helper()
	key, _, err := store.FindKey(t.Context(), id)
	require.NoError(t, err, "pruning a previous hash leaves the key")
	require.Equal(t, key.PreviousUntil.IsZero(), key.PreviousHash == "")
	return key.PreviousHash != ""
}

func addSessionUntil(t *testing.T, store auth.AccountStore, owner auth.User, expires time.Time) string {
	t.Helper()
	session := newHostSession(owner)
	session.ExpiresAt = expires
	return openSession(t, store, session).ID
}

// requirePruned fails the test unless a call of prune removes exactly the wanted number of records.
func (k kind) requirePruned(
	t *testing.T, store auth.AccountStore, want int, expired time.Time, limit int,
) {
	t.Helper()
	n, err := k.prune(store, t.Context(), expired, limit)
	require.NoError(t, err)
	require.Equalf(t, want, n, "pruned %s", k.name)
}

// expiredNow and unexpiredNow contain expiry times of records. At the time [now], a record with
// an expiry time in expiredNow has expired. A record with an expiry time in unexpiredNow has not.
var (
	expiredNow = []time.Time{
		earliest, now.Add(-time.Hour), now.Add(-time.Microsecond), now,
		now.Add(999), // stored as now
	}
	unexpiredNow = []time.Time{now.Add(time.Microsecond), now.Add(time.Hour),
		now.AddDate(300, 0, 0), latest}
)

func pruneExactly(t *testing.T, store auth.AccountStore, kind kind) {
	user, _ := register(t, store, newUser())
	for _, at := range []time.Time{now, now.Add(999), now.In(time.FixedZone("east", 3600))} {
		var expired, unexpired []string
		for _, expires := range expiredNow {
			expired = append(expired, kind.add(t, store, user, expires))
		}
		for _, expires := range unexpiredNow {
			unexpired = append(unexpired, kind.add(t, store, user, expires))
		}
		kind.requirePruned(t, store, len(expired), at, math.MaxInt)
		for _, id := range expired {
			require.False(t, kind.has(t, store, id))
		}
		for _, id := range unexpired {
			require.True(t, kind.has(t, store, id))
		}
	}
	kind.requirePruned(t, store, 0, now, math.MaxInt)
	if users := usersOf(store); users != nil {
		require.True(t, hasUser(t, users, user.ID))
	}
}

func pruneToLimit(t *testing.T, store auth.AccountStore, kind kind) {
	user, _ := register(t, store, newUser())
	var expired []string
	for range 5 {
		expired = append(expired, kind.add(t, store, user, now))
	}
	unexpired := kind.add(t, store, user, latest)
	left := func() (n int) {
		for _, id := range expired {
			if kind.has(t, store, id) {
				n++
			}
		}
		return n
	}
	for _, step := range []struct{ limit, pruned, left int }{
		{0, 0,
			5}, {-1, 0, 5}, {math.MinInt, 0, 5}, {1, 1, 4}, {2, 2, 2}, {2, 2, 0}, {2, 0, 0}, {0, 0, 0},
	} {
		kind.requirePruned(t, store, step.pruned, now, step.limit)
		require.Equal(t, step.left, left())
	}
	require.True(t, kind.has(t, store, unexpired))
}

func pruneEmpty(t *testing.T, store auth.AccountStore, kind kind) {
	for _, at := range []time.Time{{}, time.UnixMicro(0), earliest, now, latest} {
		for _, limit := range []int{math.MinInt, 0, 1, math.MaxInt} {
			kind.requirePruned(t, store, 0, at, limit)
		}
	}
}

func racingPrunes(t *testing.T, store auth.AccountStore, kind kind) {
	const records, limit = 30, 4
	user, _ := register(t, store, newUser())
	for range records {
		kind.add(t, store, user, now)
	}
	var sum atomic.Int64
	errs := race(contenders, func(int) error {
		for {
			n, err := kind.prune(store, t.Context(), now, limit)
			sum.Add(int64(n))
			if n < limit || err != nil {
				return err
			}
		}
	})
	require.NoError(t, errors.Join(errs...))
	// A call may have pruned too few records, because another call was pruning the same rows.
	left, err := kind.prune(store, t.Context(), now, math.MaxInt)
	require.NoError(t, err)
	require.EqualValues(t, records, sum.Load()+int64(left))
	kind.requirePruned(t, store, 0, now, limit)
}

func permanentKeysStay(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for _, at := range []time.Time{{}, time.UnixMicro(0), time.UnixMicro(-1), earliest, now, latest} {
		keyKind.requirePruned(t, store, 0, at, math.MaxInt)
		a.requireUnchanged(t, store)
	}
}

func keyOutlastsPreviousHash(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	a.key = rotate(t, store, a.key, rotation(unique("hash")), now)
	ends := a.key.PreviousUntil
	overlapKind.requirePruned(t, store, 0, ends.Add(-time.Microsecond), math.MaxInt)
	a.requireUnchanged(t, store)
	overlapKind.requirePruned(t, store, 1, ends, math.MaxInt)
	a.key.PreviousHash, a.key.PreviousUntil = "", time.Time{}
	a.requireUnchanged(t, store)
	rotate(t, store, a.key, rotation(unique("hash")), ends)
}

func overlapsEndOnce(t *testing.T, store auth.AccountStore) {
	again, atOnce, revoked := newAccount(t, store), newAccount(t, store), newAccount(t, store)
	for _, a := range []*account{&again, &atOnce, &revoked} {
		a.key = rotate(t, store, a.key, rotation(unique("hash")), now)
	}
	ends := again.key.PreviousUntil
	again.key = rotate(t, store, again.key, rotation(unique("hash")), ends)
	without := rotation(unique("hash"))
	without.Overlap = 0
	atOnce.key = rotate(t, store, atOnce.key, without, ends)
	require.NoError(t, store.RevokeKey(t.Context(), byHost(now), revoked.key.ID))

	overlapKind.requirePruned(t, store, 0, ends, math.MaxInt)
	again.requireUnchanged(t, store)
	atOnce.requireUnchanged(t, store)
	overlapKind.requirePruned(t, store, 1, again.key.PreviousUntil, math.MaxInt)
}

func prunedKeyEndsSessions(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	key := addKey(t, store, a.user, now.Add(time.Minute))
	opened := []auth.Session{openSession(t, store, newSession(key)),
		openSession(t, store, newSession(key))}
	host := newHostSession(a.user)
	host.ExpiresAt = key.ExpiresAt // when the key is pruned, this session must stay
	host = openSession(t, store, host)

	keyKind.requirePruned(t, store, 1, key.ExpiresAt, math.MaxInt)
	requireNoKey(t, store, key.ID)
	for _, session := range opened {
		requireNoSession(t, store, session.ID)
	}
	requireSession(t, store, host)
	a.requireUnchanged(t, store)
	sessionKind.requirePruned(t, store, 1, key.ExpiresAt, math.MaxInt) // the session that no key opened
}

// endedNotPruned removes records before they expire, and then prunes. A store may use an index for
// pruning. If the index still contained a removed record, the store would count this record as
// pruned.
func endedNotPruned(t *testing.T, store auth.Store) {
	ended, revoked := newExpiring(t, store), newExpiring(t, store)
	disabled, reset := newExpiring(t, store), newExpiring(t, store)
	all, deleted := newExpiring(t, store), newExpiring(t, store)
	require.NoError(t, store.RevokeSession(t.Context(), byHost(now), ended.session.ID))
	require.NoError(t, store.RevokeKey(t.Context(), byHost(now), revoked.key.ID))
	update(t, store, disabled.user.ID, disable)
	_, _, err := store.ResetUser(t.Context(), byHost(now), reset.user.ID, auth.UserChange{},
		newKey(reset.user))
	require.NoError(t, err)

	_, err = store.RevokeUserSessions(t.Context(), byHost(now), all.user.ID)
	require.NoError(t, err)
	deleteUser(t, store, deleted.user.ID)

	sessionKind.requirePruned(t, store, 0, latest, math.MaxInt)
	// the keys of the users ended, disabled and all
	keyKind.requirePruned(t, store, 3, latest, math.MaxInt)
}

// sessionsRacingPrune calls PruneKeys until the key is removed, while other calls create sessions
// with the key. PruneKeys may skip a key that another call uses at the same time.
func sessionsRacingPrune(t *testing.T, store auth.AccountStore) {
	const enough = 100_000 // on a busy machine, the transaction that locks the key may take seconds
	for range rounds(t) {
		a := newExpiring(t, store)
		requireNoneOutlasts(t, store, a, false, []error{auth.ErrNotFound}, func() error {
			for range enough {
				n, err := store.PruneKeys(t.Context(), a.key.ExpiresAt, math.MaxInt)
				if n > 0 || err != nil {
					return err
				}
			}
			return errors.New("the key is never pruned")
		})
		requireNoKey(t, store, a.key.ID)
	}
}
