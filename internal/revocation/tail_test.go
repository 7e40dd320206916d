package revocation_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/revocation"
	"github.com/stretchr/testify/require"
)

const tailAge = time.Second

func (in *instance) tail(atLeast int64) (revocation.Tail, error) {
	return in.Tail(in.t.Context(), tailAge, atLeast)
}

// requireTail returns the tail, and fails the test unless it ends at the head and has no hole.
func (in *instance) requireTail(atLeast, head int64) revocation.Tail {
	in.t.Helper()
	tail, err := in.tail(atLeast)
	require.NoError(in.t, err)
	require.Equal(in.t, head, tail.Head)
	for i, entry := range tail.Entries {
		require.Equal(in.t, head-int64(len(tail.Entries)-1-i), entry.Position)
	}
	return tail
}

func TestTheTailHasTheEntriesSinceTheFirstCall(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	require.Empty(t, in.requireTail(0, 0).Entries)
	for range 5 {
		in.store.revoke(session{"u", "s", 0})
	}
	require.Empty(t, in.requireTail(0, 0).Entries, "the latest read is recent")
	in.clock.Advance(tailAge)
	require.Len(t, in.requireTail(0, 5).Entries, 5, "all, because the feed was empty at first")

	late := newInstance(t)
	late.store = in.store
	late.Feed = revocation.NewFeed(in.store.source(), interval, maxStaleness, late.now)
	require.NoError(t, late.ReadNow(t.Context()))
	require.Len(t, late.requireTail(0, 5).Entries, 1, "the last entry that was read before")
	in.store.revoke(session{"u", "s", 0})
	require.Len(t, late.requireTail(6, 6).Entries, 2)
	require.Equal(t, late.clock.Now(), late.requireTail(6, 6).AsOf)
}

func TestTheTailIsBounded(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.requireTail(0, 0)
	for round := range 30 {
		for range 300 {
			in.store.revoke(session{"u", "s", 0})
		}
		head := int64(300 * (round + 1))
		tail := in.requireTail(head, head)
		require.LessOrEqual(t, len(tail.Entries), 2*revocation.KeptEntries)
		require.GreaterOrEqual(t, int64(len(tail.Entries)), min(head, revocation.KeptEntries))
	}
	first := in.requireTail(0, 9000)
	in.store.revoke(session{"u", "s", 0})
	in.requireTail(9001, 9001)
	require.EqualValues(t, 9000, first.Entries[len(first.Entries)-1].Position, "a tail does not change")
}

// A caller that knows a later entry than this instance makes the instance read the feed. If that fails,
// the answer must not say that the feed has no such entry.
func TestATailThatEndsTooEarlyIsRead(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.requireTail(0, 0)
	in.store.revoke(session{"u", "s", 0})
	in.requireTail(1, 1)
	reads := in.store.countReads()
	in.requireTail(2, 1)
	require.Equal(t, reads+1, in.store.countReads())
	in.store.fail(errAway)
	_, err := in.tail(2)
	require.ErrorIs(t, err, errAway)
	in.requireTail(1, 1)
	in.clock.Advance(maxStaleness - time.Second)
	in.requireTail(1, 1)
	_, err = in.tail(2)
	require.ErrorIs(t, err, errAway)
	in.clock.Advance(time.Second)
	_, err = in.tail(1)
	require.ErrorIs(t, err, errAway)
	in.store.fail(nil)
	in.clock.Advance(time.Second)
	in.requireTail(1, 1)
}

func TestTheTailIsForgottenWithTheHistory(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.requireTail(0, 0)
	for range 5 {
		in.store.revoke(session{"u", "s", 0})
	}
	in.requireTail(5, 5)
	in.store.restore(3)
	in.store.repairErr = errAway
	in.clock.Advance(tailAge)
	_, err := in.tail(0)
	require.Error(t, err, "the lost commits are not repaired")
	in.store.repairErr = nil
	in.clock.Advance(tailAge)
	tail, err := in.tail(0)
	require.NoError(t, err)
	require.Len(t, tail.Entries, 4)
	require.Empty(t, tail.Entries[3].UserID)
}

// The first call of Tail can come at the end of a read that has kept no entries.
func TestNoTailIsPublishedWithoutItsEntries(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	var in *instance
	answered, later := false, 0
	in = newInstanceWithClock(t, func() time.Time {
		if answered {
			if later++; later == 2 { // the first time is for the set of revoked sessions
				in.KeepTail()
			}
		}
		return clock.Now()
	})
	for range 5 {
		in.store.revoke(session{"u", "s", 0})
	}
	in.store.onAnswer = func() { answered = true }
	require.NoError(t, in.ReadNow(t.Context()))
	require.GreaterOrEqual(t, later, 2)
	require.Len(t, in.requireTail(0, 5).Entries, 1)
}

// The store can take long to answer. Its answer is then as old as the question.
func TestTheTailIsAsOldAsTheQuestion(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	asked := in.clock.Now()
	in.store.onAnswer = func() { in.clock.Advance(300 * time.Millisecond) }
	require.Equal(t, asked, in.requireTail(0, 0).AsOf)
}

// A store that hangs is read once at a time, and the callers of a usable tail get it after a second.
func TestManyCallersOfTheTailShareARead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newInstanceWithClock(t, time.Now)
		in.requireTail(0, 0)
		time.Sleep(2 * time.Second)
		in.store.onRead = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		reads := in.store.countReads()
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() {
				began := time.Now()
				in.requireTail(0, 0)
				require.LessOrEqual(t, time.Since(began), time.Second)
			})
		}
		callers.Wait()
		require.Equal(t, reads+1, in.store.countReads())
	})
}

// Readers of a tail see no change while the feed grows. The race detector checks it.
func TestTheTailIsReadWhileItGrows(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.requireTail(0, 0)
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				tail, err := in.tail(0)
				require.NoError(t, err)
				for i, entry := range tail.Entries {
					require.Equal(t, tail.Head-int64(len(tail.Entries)-1-i), entry.Position)
				}
			}
		})
	}
	for i := range int64(500) {
		in.store.revoke(session{"u", fmt.Sprint(i), 0})
		if i%7 == 0 {
			in.requireTail(i+1, i+1)
		}
	}
	close(stop)
	readers.Wait()
}

// A read that began before a revocation of this instance reaches the end of the feed, but publishes nothing.
// An old tail must not be taken for the result of that read: its head would say that the store has lost the
// entries that the caller knows of.
func TestAnOldTailIsNotTheAnswerToALaterCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newInstanceWithClock(t, time.Now)
		in.store.revoke(session{"u", "s", 0})
		in.requireTail(0, 1)
		in.store.onAnswer = func() {
			in.store.onAnswer = nil
			in.store.revoke(session{"u", "t", 0})
			in.store.revoke(session{"u", "v", 0})
			in.ReadAfterWrite(t.Context()) // cannot read the feed, because the call of Tail is reading it
		}
		_, err := in.tail(3)
		require.Error(t, err)
		require.Len(t, in.requireTail(3, 3).Entries, 3)
	})
}
