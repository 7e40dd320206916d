package revocation_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/revocation"
)

// repairedElsewhere returns an instance that has not read the feed since another instance repaired
// it. The entry of the repair is at the returned position and expires after 12 hours.
func repairedElsewhere(t *testing.T) (in *instance, position int64) {
	in = newInstance(t)
	in.store.add(revocation.Entry{UserID: "v"}, revocation.Entry{UserID: "v"}, revocation.Entry{UserID: "v"})
	require.NoError(t, in.ReadNow(t.Context()))
	in.store.restore(1)
	in.store.add(revocation.Entry{UserID: "w"}, revocation.Entry{UserID: "w"})
	position = in.now().UnixMicro()
	in.store.add(revocation.Entry{Position: position, Generation: position,
		ExpiresAt: in.now().Add(12 * time.Hour)})
	return in, position
}

func TestAnInstanceThatWasAwayLongerThanARepairLivesServesAgain(t *testing.T) {
	t.Parallel()
	in, position := repairedElsewhere(t)
	in.clock.Advance(15 * time.Hour)
	for range 3 {
		in.clock.Advance(time.Minute)
		require.NoError(t, in.check(session{"u", "new", position}))
		require.Equal(t, revocation.ErrRevoked, in.check(session{"u", "old", position - 1}))
	}
}

// The clock is 15 hours ahead for one read. For this read, the entry of the repair has expired.
func TestAClockThatIsWrongForOneReadSkipsNoRepair(t *testing.T) {
	t.Parallel()
	in, position := repairedElsewhere(t)
	in.clock.Advance(15 * time.Hour)
	require.NoError(t, in.ReadNow(t.Context()))
	in.clock.Advance(-15 * time.Hour)
	for range 3 {
		in.clock.Advance(time.Minute)
		require.NoError(t, in.check(session{"u", "new", position}))
		require.Equal(t, revocation.ErrRevoked, in.check(session{"u", "old", position - 1}))
	}
}

func TestARefusalOfAForgedGenerationIsRememberedForTheInterval(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	require.NoError(t, in.check(session{"u", "s", 0}))
	limit := in.now().Add(24 * time.Hour).UnixMicro()
	for n := range int64(100) {
		require.Equal(t, revocation.ErrCommitsLost, in.check(session{"u", "x", limit + 10_000_000 + n}))
	}
	require.Equal(t, 1, in.store.heads)
	in.clock.Advance(interval)
	require.Equal(t, revocation.ErrCommitsLost, in.check(session{"u", "x", limit + 10_000_000}))
	require.Equal(t, 2, in.store.heads)
}

// The store is slow, so the requests of a flood wait for each other.
func TestAForgedGenerationIsNotAcceptedInAFlood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newInstanceWithClock(t, time.Now)
		require.NoError(t, in.check(session{"u", "s", 0}))
		forged := session{"u", "x", time.Now().Add(48 * time.Hour).UnixMicro()}
		slow := func(ctx context.Context) error {
			select {
			case <-time.After(5 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		in.store.onRead, in.store.onHead = slow, slow
		var accepted atomic.Int64
		var all sync.WaitGroup
		for range 300 {
			all.Go(func() {
				if in.check(forged) == nil {
					accepted.Add(1)
				}
			})
		}
		all.Wait()
		require.Zero(t, accepted.Load())
	})
}

// The primary fails between two reads of this instance: it has named its head, but has not shown the
// newest entries. The replica that takes over has lost them.
func TestTheHeadOfALostPrimaryDoesNotStay(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.store.add(revocation.Entry{UserID: "v"}, revocation.Entry{UserID: "v"}, revocation.Entry{UserID: "v"})
	require.NoError(t, in.check(session{"u", "s", 3}))
	lost := session{"u", "lost", 8}
	in.store.onHead = func(context.Context) error {
		in.store.onHead = nil
		for range 7 {
			in.store.revoke(session{"v", "t", 0})
		}
		in.store.onRead = func(context.Context) error { in.store.onRead = nil; return errAway }
		return nil
	}
	require.NoError(t, in.check(lost), "the store did not answer, so nothing is proven")
	in.store.restore(3)
	in.clock.Advance(interval)
	require.Equal(t, revocation.ErrCommitsLost, in.check(lost))
	require.Len(t, in.store.repairs, 1)
}

// A store can return context.Canceled for a reason of its own, for example because its pool is
// closed. Requests must not ask such a store more often than one that fails in another way.
func TestAStoreThatReportsACancellationIsNotAskedByEveryRequest(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	require.NoError(t, in.check(session{"u", "s", 0}))
	in.clock.Advance(interval)
	in.store.fail(fmt.Errorf("pool: %w", context.Canceled))
	before := in.store.countReads()
	for range 50 {
		require.NoError(t, in.check(session{"u", "s", 0}))
	}
	require.Equal(t, 1, in.store.countReads()-before)
}
