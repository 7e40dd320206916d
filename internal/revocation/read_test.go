package revocation_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth/internal/revocation"
	"github.com/stretchr/testify/require"
)

func TestALongFeedIsReadPageByPage(t *testing.T) {
	t.Parallel()
	for name, length := range map[string]int{
		"less than a page": 1999, "a page": 2000, "a page and one": 2001, "a page but for the last entry again": 3999, "pages": 7000,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := newInstance(t)
			for i := range length {
				in.store.add(revocation.Entry{UserID: fmt.Sprint("user ", i),
					SessionID: "s", Generation: int64(i)})
			}
			require.NoError(t, in.ReadNow(t.Context()))
			for i := range length {
				require.True(t, in.knows(session{fmt.Sprint("user ", i), "s", int64(i)}))
			}
		})
	}
}

func TestAReadThatFailedHalfwayIsContinuedFromThere(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	for i := range 5000 {
		in.store.add(revocation.Entry{UserID: fmt.Sprint("user ", i), SessionID: "s", Generation: int64(i)})
	}
	in.store.onRead = func(context.Context) error {
		if len(in.store.reads) == 3 {
			return errAway
		}
		return nil
	}
	first, last := session{"user 0", "s", 0}, session{"user 4999", "s", 4999}
	require.ErrorIs(t, in.check(first), errAway, "the feed was not read to its end")
	require.Equal(t, revocation.ErrRevoked, in.check(last))
	require.Equal(t, []int64{0, 2000, 3999, 3999}, in.store.reads)
}

func TestAHoleInTheFeedIsAFailedRead(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.store.revoke(session{"u", "first", 0})
	require.NoError(t, in.check(session{"u", "s", 0}))
	for position := range int64(3) {
		in.store.add(revocation.Entry{Position: position + 2,
			UserID: "u", SessionID: fmt.Sprint(position + 2)})
	}
	whole := in.store.entries
	in.store.entries = slices.Concat(whole[:2], whole[3:])
	hole := new(revocation.HoleError)
	require.ErrorAs(t, in.ReadNow(t.Context()), &hole)
	require.Equal(t, revocation.HoleError{After: 2, Before: 4}, *hole)
	in.clock.Advance(maxStaleness)
	require.ErrorAs(t, in.check(session{"u", "s", 0}), &hole)

	in.store.entries = whole
	require.Equal(t, revocation.ErrRevoked, in.check(session{"u", "3", 0}))
}

// A full page alone does not prove that the missing entries were pruned. Later entries prove it.
func TestAFullPageWithPrunedEntriesIsRead(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	for i := range 4000 {
		in.store.add(revocation.Entry{UserID: fmt.Sprint("user ", i), SessionID: "s"})
	}
	in.store.entries = slices.Delete(in.store.entries, 1500, 1600)
	in.store.onRead = func(context.Context) error {
		if len(in.store.reads) == 2 {
			return errAway
		}
		return nil
	}
	require.ErrorIs(t, in.ReadNow(t.Context()), errAway, "nothing shows yet that the entries were pruned")
	require.NoError(t, in.ReadNow(t.Context()))
	const proof = 1600 + revocation.KeptEntries
	require.Equal(t, []int64{0, proof, 0, proof, 2100}, in.store.reads)
	require.True(t, in.knows(session{"user 3999", "s", 0}))
}

// The last entry that this instance has read has expired, and another instance has pruned it.
func TestAfterItsLastEntryWasPrunedTheFeedIsReadFromTheBeginning(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.store.add(revocation.Entry{UserID: "pruned", SessionID: "s"},
		revocation.Entry{UserID: "last", SessionID: "s"})
	require.NoError(t, in.ReadNow(t.Context()))
	for i := range revocation.KeptEntries {
		in.store.add(revocation.Entry{UserID: fmt.Sprint("user ", i), SessionID: "s"})
	}
	in.store.entries = in.store.entries[2:]
	require.NoError(t, in.ReadNow(t.Context()))
	require.Equal(t, []int64{0, 2, 0}, in.store.reads)
	require.Empty(t, in.store.repairs, "no commit was lost")
	require.True(t, in.knows(session{"pruned", "s", 0}), "no session has the ID of another")
	require.True(t, in.knows(session{"user 0", "s", 0}))
	require.False(t, in.knows(session{"u", "s", 0}))
}

func TestAFeedThatCannotBeReadFromTheBeginningIsNotTrusted(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.store.add(revocation.Entry{UserID: "u", Generation: 1}, revocation.Entry{UserID: "v", SessionID: "s"})
	require.NoError(t, in.ReadNow(t.Context()))
	in.store.restore(1)
	in.store.add(revocation.Entry{UserID: "w", SessionID: "s"})
	in.store.onRead = func(context.Context) error {
		if len(in.store.reads) == 3 {
			return errAway
		}
		return nil
	}
	in.requireKnown()
	require.ErrorIs(t, in.ReadNow(t.Context()), errAway)
	in.requireUnknown()
	require.False(t, in.knows(session{"u", "s", 0}), "of another history, generations mean nothing")
	require.True(t, in.knows(session{"v", "s", 0}), "no session has the ID of another")
}

func TestAnInstanceRejectsTheSessionsThatItHasRevokedAtOnce(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	s := session{"u", "s", 0}
	require.NoError(t, in.check(s))
	in.store.revoke(s)
	require.NoError(t, in.check(s), "the feed is fresh")
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the request that revoked the session has ended
	in.ReadAfterWrite(ctx)
	in.requireKnown()
	require.Equal(t, revocation.ErrRevoked, in.check(s))
}

func TestARevocationThatCannotBeReadBackMakesTheFeedUntrustedUntilItIs(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	s, other := session{"u", "s", 0}, session{"v", "s", 0}
	require.NoError(t, in.check(s))
	in.store.revoke(s)
	in.store.fail(errAway)
	in.ReadAfterWrite(t.Context())
	in.requireUnknown()
	require.ErrorIs(t, in.check(s), errAway)
	require.ErrorIs(t, in.check(other), errAway, "the instance does not know whose session was revoked")
	in.store.fail(nil)
	require.NoError(t, in.check(other))
	require.Equal(t, revocation.ErrRevoked, in.check(s))
}

// A read that began before the revocation may have asked the store before the revocation was
// committed.
func TestAReadThatBeganBeforeARevocationDoesNotMakeUpForIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newInstanceWithClock(t, time.Now)
		answer := hang(in)
		reading := make(chan error, 1)
		go func() { reading <- in.ReadNow(t.Context()) }()
		synctest.Wait()
		began := time.Now()
		in.ReadAfterWrite(t.Context())
		require.Equal(t, time.Second, time.Since(began), "it gives up waiting")
		close(answer)
		require.NoError(t, <-reading)
		in.requireUnknown()
		require.NoError(t, in.ReadNow(t.Context()))
		in.requireKnown()
	})
}

// Many revocations wait while a read runs. The first one then reads, and the others use its read.
func TestOneReadServesAllRevocationsThatWereWrittenBeforeItBegan(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newInstanceWithClock(t, time.Now)
		answer := hang(in)
		done := make(chan struct{})
		go func() { in.ReadNow(t.Context()); done <- struct{}{} }()
		synctest.Wait()
		for range 10 {
			go func() { in.ReadAfterWrite(t.Context()); done <- struct{}{} }()
		}
		synctest.Wait()
		close(answer)
		for range 11 {
			<-done
		}
		require.Equal(t, 2, in.store.countReads())
		in.requireKnown()
	})
}

// The revocation waits for a second, because others read the feed all the time. Some of these reads
// began after the revocation and have reached the end of the feed.
func TestAReadByOthersCountsForARevocationThatCouldNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newInstanceWithClock(t, time.Now)
		took := []time.Duration{900 * time.Millisecond, 50 * time.Millisecond, time.Second}
		in.store.onRead = func(context.Context) error {
			time.Sleep(took[len(in.store.reads)-1])
			return nil
		}
		for range took {
			go in.ReadNow(t.Context())
			synctest.Wait()
		}
		in.ReadAfterWrite(t.Context())
		in.requireKnown()
		time.Sleep(time.Minute)
	})
}

func TestWhatIsKnownIsAsOldAsTheReadItCameFrom(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.store.onRead = func(context.Context) error {
		in.clock.Advance(3 * time.Second)
		return nil
	}
	require.NoError(t, in.ReadNow(t.Context()))
	require.Equal(t, 3*time.Second, in.Age(in.now()), "entries that were added meanwhile may be missing")
}

func TestANewSessionIsAReasonToReadTheFeedIfItShowsUnknownEntries(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.CatchUp(t.Context(), 7)
	require.Zero(t, in.store.countReads(), "the feed is not trusted, so the next check reads it anyway")
	in.store.revoke(session{"u", "first", 0})
	require.NoError(t, in.ReadNow(t.Context()))
	in.CatchUp(t.Context(), 1)
	require.Equal(t, 1, in.store.countReads())

	replaced := session{"u", "s", 1}
	in.store.revoke(replaced)
	in.CatchUp(t.Context(), 2)
	require.Equal(t, 2, in.store.countReads())
	require.Equal(t, revocation.ErrRevoked, in.check(replaced))

	in.store.fail(errAway)
	in.CatchUp(t.Context(), 3)
	in.requireUnknown()
}

// The head of the feed was read, but the entries up to the head could not be read.
func TestANewSessionIsAReasonToReadTheFeedEvenIfItsHeadIsKnown(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.store.revoke(session{"u", "first", 0})
	require.NoError(t, in.ReadNow(t.Context()))
	replaced := session{"u", "s", 1}
	in.store.onHead = func(context.Context) error {
		in.store.revoke(replaced)
		in.store.onRead = func(context.Context) error { return errAway }
		return nil
	}
	require.NoError(t, in.check(session{"u", "elsewhere", 2}), "the store proves nothing")
	in.store.onRead = nil
	in.CatchUp(t.Context(), 2)
	require.Equal(t, revocation.ErrRevoked, in.check(replaced))
}

func TestAReadAheadOfNeedTakesAtMost10Seconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newInstanceWithClock(t, time.Now)
		answer := hang(in)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		waiting := make(chan error, 1)
		began := time.Now()
		go func() {
			time.Sleep(time.Second)
			waiting <- in.ReadNow(ctx)
		}()
		require.ErrorIs(t, in.ReadNow(t.Context()), context.DeadlineExceeded)
		require.Equal(t, 10*time.Second, time.Since(began))
		require.ErrorIs(t, <-waiting, context.DeadlineExceeded)
		require.Equal(t, 1, in.store.countReads(), "the other gave up before it could read")
		in.requireUnknown()
		close(answer)
		require.NoError(t, in.ReadNow(t.Context()))
		in.requireKnown()
	})
}
