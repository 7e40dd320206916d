package revocation_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth/internal/revocation"
	"github.com/stretchr/testify/require"
)

// ahead is a session whose generation is above the head of the feed in these tests. So it proves
// that the store has lost commits.
var ahead = session{"u", "ahead", 40}

func TestASessionAheadOfTheFeedHasTheSessionsOfAllUsersRevokedOnce(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.store.add(revocation.Entry{UserID: "v", SessionID: "s"})
	old := session{"u", "s", 1}
	require.NoError(t, in.check(old))
	require.Equal(t, revocation.ErrCommitsLost, in.check(ahead))
	require.Equal(t, []int64{40}, in.store.repairs)
	for range 3 {
		require.Equal(t, revocation.ErrRevoked, in.check(old), "its revocation may be among the lost commits")
		require.Equal(t, revocation.ErrRevoked, in.check(ahead))
		require.NoError(t, in.check(session{"u", "new", in.store.newest()}))
		in.clock.Advance(interval)
	}
	require.Len(t, in.store.repairs, 1)
}

func TestARepairIsAboveEveryPositionThatIsKnown(t *testing.T) {
	t.Parallel()
	now := newInstance(t).now().UnixMicro()
	for name, test := range map[string]struct{ head, generation, want int64 }{
		"a session of long ago": {7, 40, 40},
		"the session":           {7, now + 9, now + 9},
		"the head":              {now + 100, now + 200, now + 200},
		"the head, just not":    {now + 100, now + 101, now + 101},
	} {
		in := newInstance(t)
		in.store.add(revocation.Entry{Position: test.head, Generation: test.head})
		require.Equal(t, revocation.ErrCommitsLost, in.check(session{"u", "ahead", test.generation}), name)
		require.Equal(t, []int64{test.want}, in.store.repairs, name)
	}
}

// The store is restored from a backup while the instance runs. The instance has read entries that
// the store has lost.
func TestAnInstanceAheadOfTheFeedRepairsIt(t *testing.T) {
	t.Parallel()
	for name, later := range map[string]int{"shorter": 0, "as long": 2, "longer": 5} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := newInstance(t)
			revived := session{"u", "s", 1}
			in.store.add(revocation.Entry{UserID: "v", SessionID: "s"},
				revocation.Entry{UserID: "v", SessionID: "t"},
				revocation.Entry{UserID: "u", Generation: 3})
			require.Equal(t, revocation.ErrRevoked, in.check(revived))
			in.store.restore(1)
			for range later {
				in.store.revoke(session{"w", "s", 1})
			}
			in.clock.Advance(interval)
			require.Equal(t, revocation.ErrRevoked, in.check(revived))
			require.Len(t, in.store.repairs, 1)
			require.NoError(t, in.check(session{"u", "new", in.store.newest()}))
		})
	}
}

// After the restore, another instance has added an entry that revokes every session with a
// generation below 2. The lost session has generation 2, because it was created after the lost
// entry at Position 2. So the new entry does not revoke the lost session.
func TestAnEntryAtThePositionOfALostOneDoesNotRepairTheFeed(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.store.revoke(session{"v", "s", 0})
	in.store.revoke(session{"v", "t", 0})
	lost := session{"u", "s", 2}
	require.NoError(t, in.check(lost))
	in.store.restore(1)
	in.store.add(revocation.Entry{Generation: 2})
	in.clock.Advance(interval)
	require.Equal(t, revocation.ErrRevoked, in.check(lost))
	require.Len(t, in.store.repairs, 1)
}

func TestARepairThatFailsLeavesTheFeedUntrusted(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.store.revoke(session{"u", "s", 0})
	require.NoError(t, in.ReadNow(t.Context()))
	in.store.restore(0)
	in.store.repairErr = errAway
	require.ErrorIs(t, in.ReadNow(t.Context()), errAway)
	in.requireUnknown()
	require.Len(t, in.store.repairs, 1)

	in.store.repairErr, in.store.ignoreRepairs = nil, true
	require.EqualError(t, in.ReadNow(t.Context()),
		"the entry that revokes everybody does not appear in the feed")
	require.Len(t, in.store.repairs, 1+2, "the second repair is for a loss that is found after the first")
	in.requireUnknown()

	in.store.ignoreRepairs = false
	require.NoError(t, in.ReadNow(t.Context()))
	in.requireKnown()
}

// The store can be read but not written, so the repair fails. The lost commits may include the
// revocation of any session. Meanwhile, other entries make the feed climb above the generation that
// has proven the loss.
func TestNoSessionIsAcceptedUntilLostCommitsAreRepaired(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	other := session{"u", "s", 0}
	require.NoError(t, in.check(other))
	in.store.repairErr = errAway
	require.Equal(t, revocation.ErrCommitsLost, in.check(ahead))
	for range 2 * ahead.generation {
		in.store.revoke(session{"w", "x", 0})
	}
	for range 3 {
		for _, s := range []session{other, ahead} {
			require.ErrorIs(t, in.check(s), errAway)
		}
		_, err := in.IsRevoked(t.Context(), other.user, other.id, other.generation)
		require.ErrorIs(t, err, errAway)
		in.clock.Advance(interval)
	}
	in.store.repairErr = nil
	for _, s := range []session{other, ahead} {
		require.Equal(t, revocation.ErrRevoked, in.check(s))
	}
	require.NoError(t, in.check(session{"u", "new", in.store.newest()}))
}

// A generation that is more than a day ahead of the current time in microseconds is forged, unless
// the feed itself is that far ahead. It must not make the store assign generations that are too
// great.
func TestAGenerationOfTheFarFutureRepairsNothing(t *testing.T) {
	t.Parallel()
	const farthest = 10_000_000 // entries that the feed can have lost
	limit := newInstance(t).now().Add(24 * time.Hour).UnixMicro()
	for name, test := range map[string]struct {
		head, generation int64
		repairs          int
	}{
		"of a fast clock":                        {0, limit, 1},
		"forged":                                 {0, limit + 1, 0},
		"lost, after a fast clock revoked all":   {2 * limit, 2*limit + farthest, 1},
		"forged, after a fast clock revoked all": {2 * limit, 2*limit + farthest + 1, 0},
	} {
		in := newInstance(t)
		in.store.add(revocation.Entry{Position: max(test.head, 1), Generation: test.head})
		require.NoError(t, in.check(session{"u", "s", test.head}), name)
		for range 3 {
			require.Error(t, in.check(session{"u", "ahead", test.generation}), name)
		}
		require.Len(t, in.store.repairs, test.repairs, name)
	}
}

// Another instance, whose clock was fast, has revoked everybody. The positions of the feed are far
// ahead of the clock from then on. This instance has not read the new entry yet.
func TestASessionAfterAFastClockRevokedAllIsAccepted(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	require.NoError(t, in.check(session{"u", "s", 0}))
	position := in.now().Add(48 * time.Hour).UnixMicro()
	in.store.add(revocation.Entry{Position: position, Generation: position})
	require.NoError(t, in.check(session{"u", "new", position}))
	require.Empty(t, in.store.repairs)
}

// The feed of the restored store has climbed to the entry that this instance read last. While the
// instance repairs the feed, users sign out: their entries commit between the read and the repair.
func TestSignOutsDoNotKeepTheFeedFromBeingRepaired(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	lost := session{"u", "s", 3}
	in.store.add(revocation.Entry{UserID: "v"}, revocation.Entry{UserID: "v"}, revocation.Entry{UserID: "v"})
	require.NoError(t, in.check(lost))
	in.store.restore(1)
	in.store.add(revocation.Entry{UserID: "w"}, revocation.Entry{UserID: "w"})
	in.store.onRepair = func() { in.store.revoke(session{"w", "x", 1}) }
	in.clock.Advance(interval)
	require.Equal(t, revocation.ErrRevoked, in.check(lost))
	require.Len(t, in.store.repairs, 1)
}

// An instance has repaired lost commits. Long afterwards, the entry that revokes everybody and the
// entry at which this instance stopped to read have been pruned. No further commit was lost.
func TestAnOldRepairIsNotRepeatedAfterPruning(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.store.add(revocation.Entry{UserID: "v", SessionID: "s"})
	require.NoError(t, in.ReadNow(t.Context()))
	require.Equal(t, revocation.ErrCommitsLost, in.check(ahead))
	require.Len(t, in.store.repairs, 1)
	repaired := in.store.newest()

	in.clock.Advance(30 * 24 * time.Hour)
	for range 2 * revocation.KeptEntries {
		in.store.revoke(session{"w", "x", repaired})
	}
	in.store.pruneTo(revocation.KeptEntries)
	require.NoError(t, in.check(session{"u", "live", in.store.newest()}))
	require.Len(t, in.store.repairs, 1)
}

// Two instances find the loss at the same time, and the other instance repairs the feed first.
func TestAnInstanceThatRepairsLaterAddsNoSecondEntry(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	require.NoError(t, in.check(session{"u", "s", 0}))
	in.store.onHead = func(context.Context) error {
		in.store.onHead = nil
		in.store.onAnswer = func() { // called after this instance has read the feed
			in.store.onAnswer = nil
			require.NoError(t, in.store.repair(t.Context(), 1_000))
		}
		return nil
	}
	require.Equal(t, revocation.ErrCommitsLost, in.check(ahead))
	require.Equal(t, []int64{1_000, 40}, in.store.repairs)
	require.EqualValues(t, 1_001, in.store.newest(), "the second repair changes nothing")
	require.NoError(t, in.check(session{"u", "new", 1_001}))
	require.Equal(t, revocation.ErrRevoked, in.check(ahead))
}

// Another instance has repaired the feed since this instance read it, so the head no longer proves
// that commits were lost.
func TestASessionOfLostCommitsIsRejectedByTheRepairOfAnotherInstance(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	require.NoError(t, in.check(session{"u", "s", 0}))
	require.NoError(t, in.store.repair(t.Context(), 1_000))
	require.Equal(t, revocation.ErrRevoked, in.check(ahead))
}

// Another instance repairs the feed after this instance has read the entries and before it reads
// the head.
func TestARepairBetweenTheFeedAndTheHeadIsRead(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	require.NoError(t, in.check(session{"u", "s", 0}))
	in.store.onHead = func(context.Context) error {
		in.store.onHead = nil
		return in.store.repair(t.Context(), 1_000)
	}
	require.Equal(t, revocation.ErrRevoked, in.check(ahead))
}

// Another instance has revoked sessions since this instance read the feed.
func TestASessionAheadOfWhatIsKnownCostsOneReadForAll(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	require.NoError(t, in.check(session{"u", "s", 0}))
	in.store.add(revocation.Entry{UserID: "v", SessionID: "s"}, revocation.Entry{UserID: "v", SessionID: "t"})
	checked := new(atomic.Uint64)
	for range 3 {
		require.NoError(t, in.checkAt(t.Context(), session{"u", "s", 2}, checked))
		require.NoError(t, in.check(session{"u", "s", 1}))
	}
	require.NotZero(t, checked.Load())
	require.Zero(t, in.store.heads)
	require.Equal(t, 2, in.store.countReads())
}

func TestASessionThatTheFeedHasReachedCostsNoReadOfTheHead(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.store.add(revocation.Entry{UserID: "v", SessionID: "s"}, revocation.Entry{UserID: "v", SessionID: "t"})
	require.NoError(t, in.check(session{"u", "s", 2}))
	require.Zero(t, in.store.heads)
}

// After a failed read, the head is not read either. After the next read that succeeds, the head is
// read again.
func TestAStoreThatAnswersAgainIsAskedForTheHead(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.store.fail(errAway)
	require.ErrorIs(t, in.ReadNow(t.Context()), errAway)
	in.store.fail(nil)
	require.NoError(t, in.ReadNow(t.Context()))
	require.Equal(t, revocation.ErrCommitsLost, in.check(ahead))
}

func TestAStoreThatDoesNotAnswerProvesNothing(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	require.NoError(t, in.check(session{"u", "s", 0}))
	in.store.headErr = errAway
	checked := new(atomic.Uint64)
	for second := range 3 {
		for range 10 {
			require.NoError(t, in.checkAt(t.Context(), ahead, checked))
		}
		require.Equal(t, second+1, in.store.heads, "the store is not asked for a second")
		require.Zero(t, checked.Load(), "the next request must ask")
		in.clock.Advance(time.Second)
	}
	in.store.headErr = nil
	require.Equal(t, revocation.ErrCommitsLost, in.checkAt(t.Context(), ahead, checked))
}

func TestARequestDoesNotWaitLongForTheProofOfLostCommits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newInstanceWithClock(t, time.Now)
		require.NoError(t, in.check(session{"u", "s", 0}))
		answer := hang(in)
		reading := make(chan error, 1)
		go func() { reading <- in.ReadNow(t.Context()) }()
		synctest.Wait()

		ctx, cancel := context.WithCancel(t.Context())
		waiting := make(chan error, 1)
		go func() { waiting <- in.checkAt(ctx, ahead, new(atomic.Uint64)) }()
		synctest.Wait()
		cancel()
		require.Equal(t, context.Canceled, <-waiting, "a request that goes away proves nothing")

		began := time.Now()
		require.NoError(t, in.check(ahead))
		require.Equal(t, time.Second, time.Since(began))
		close(answer)
		require.NoError(t, <-reading)
	})
}

// The copy is old and the session is newer than the copy, so the request needs the store twice.
func TestARequestWaitsForASecondInTotal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newInstanceWithClock(t, time.Now)
		require.NoError(t, in.check(session{"u", "s", 0}))
		answer := hang(in)
		reading := make(chan error, 1)
		go func() { reading <- in.ReadNow(t.Context()) }()
		time.Sleep(interval)
		began := time.Now()
		require.NoError(t, in.check(ahead))
		require.Equal(t, time.Second, time.Since(began))
		require.NoError(t, in.check(session{"u", "s", 0}))
		close(answer)
		require.NoError(t, <-reading)
	})
}

// The store is slow but answers, so a request that waits for the read of another has little time for its own.
func TestARequestThatHasWaitedForAnotherReadsNoLonger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newInstanceWithClock(t, time.Now)
		require.NoError(t, in.check(session{"u", "s", 0}))
		answer := hang(in)
		reading := make(chan error, 1)
		go func() { reading <- in.ReadNow(t.Context()) }()
		synctest.Wait()
		time.AfterFunc(900*time.Millisecond, func() { answer <- struct{}{} })
		began := time.Now()
		require.NoError(t, in.check(ahead), "the store has not answered its own question")
		require.Equal(t, time.Second, time.Since(began))
		require.NoError(t, <-reading)
		close(answer)
	})
}

func TestManyRequestsAheadOfWhatIsKnownShareOneRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newInstanceWithClock(t, time.Now)
		require.NoError(t, in.check(session{"u", "s", 0}))
		in.store.add(revocation.Entry{UserID: "v", SessionID: "s"})
		answer := make(chan struct{})
		in.store.onRead = func(context.Context) error { <-answer; return nil }
		before := in.store.countReads()
		results := make(chan error, 20)
		for range cap(results) {
			go func() { results <- in.check(session{"u", "s", 1}) }()
		}
		synctest.Wait()
		close(answer)
		for range cap(results) {
			require.NoError(t, <-results)
		}
		require.Equal(t, before+1, in.store.countReads())
		require.Zero(t, in.store.heads)
	})
}

// The attack: a client cancels its requests, so that the instance cannot prove the loss.
func TestAProofOfLostCommitsGoesOnWhenItsRequestIsCanceled(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	require.NoError(t, in.check(session{"u", "s", 0}))
	ctx, cancel := context.WithCancel(t.Context())
	in.store.onHead = func(asking context.Context) error {
		cancel()
		return asking.Err()
	}
	require.Equal(t, revocation.ErrCommitsLost, in.checkAt(ctx, ahead, new(atomic.Uint64)))
	require.Len(t, in.store.repairs, 1)
}
