package revocation_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/revocation"
	"github.com/stretchr/testify/require"
)

var errAway = errors.New("the store is away")

func TestOnlySessionsThatTheFeedRevokesAreRejected(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		entry   revocation.Entry
		session session
		want    error
	}{
		"the session":              {revocation.Entry{UserID: "u", SessionID: "s"}, session{"u", "s", 0}, revocation.ErrRevoked},
		"another session":          {revocation.Entry{UserID: "u", SessionID: "other"}, session{"u", "s", 0}, nil},
		"all of the user":          {revocation.Entry{UserID: "u", Generation: 1}, session{"u", "s", 0}, revocation.ErrRevoked},
		"all of the user, before":  {revocation.Entry{UserID: "u", Generation: 1}, session{"u", "s", 1}, nil},
		"all of another user":      {revocation.Entry{UserID: "v", Generation: 1}, session{"u", "s", 0}, nil},
		"everybody":                {revocation.Entry{Generation: 1}, session{"u", "s", 0}, revocation.ErrRevoked},
		"everybody, before":        {revocation.Entry{Generation: 1}, session{"u", "s", 1}, nil},
		"replaced by a newer one":  {revocation.Entry{UserID: "u", SessionID: "s", ExpiresAt: time.Unix(0, 0)}, session{"u", "s", 0}, nil},
		"the session of all users": {revocation.Entry{SessionID: "s", Generation: 1}, session{"u", "s", 0}, revocation.ErrRevoked},
	} {
		in := newInstance(t)
		in.store.add(test.entry)
		require.Equal(t, test.want, in.check(test.session), name)
		require.Equal(t, test.want != nil,
			in.knows(test.session), name)
	}
}

func TestTheFeedIsReadOnceInEachInterval(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.requireUnknown()
	s := session{"u", "s", 0}
	for range 10 {
		require.NoError(t, in.check(s))
	}
	require.Equal(t, 1, in.store.countReads())

	in.store.revoke(s)
	in.clock.Advance(interval - 1)
	require.Equal(t, interval-1, in.Age(in.now()))
	require.NoError(t, in.check(s), "another instance has revoked it within the interval")
	in.clock.Advance(1)
	for range 10 {
		require.Equal(t, revocation.ErrRevoked, in.check(s))
	}
	require.Equal(t, 2, in.store.countReads())
}

// If a look-up has found a session live, the result is used until the set changes.
func TestALiveSessionIsLookedUpAgainOnlyAfterAnotherRevocation(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	live, revoked := session{"u", "s", 0}, session{"u", "revoked", 0}
	in.store.revoke(revoked)
	checked := new(atomic.Uint64)
	require.Equal(t, revocation.ErrRevoked, in.checkAt(t.Context(), revoked, checked))
	require.Zero(t, checked.Load(), "a session that is rejected is not remembered as live")
	require.NoError(t, in.checkAt(t.Context(), live, checked))
	version := checked.Load()
	require.NotZero(t, version)
	require.NoError(t, in.checkAt(t.Context(), revoked, checked),
		"the caller's word is taken for the session")

	in.clock.Advance(interval)
	require.NoError(t, in.checkAt(t.Context(), live, checked))
	require.Equal(t, version, checked.Load(), "nothing was added to the feed")
	in.store.revoke(live)
	in.clock.Advance(interval)
	require.Equal(t, revocation.ErrRevoked, in.checkAt(t.Context(), live, checked))
}

func TestWhileTheStoreIsAwaySessionsAreAcceptedUntilMaxStaleness(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	live, revoked := session{"u", "s", 0}, session{"u", "revoked", 0}
	in.store.revoke(revoked)
	require.NoError(t, in.check(live))
	in.store.fail(errAway)
	in.clock.Advance(interval)
	for in.Age(in.now()) < maxStaleness {
		require.NoError(t, in.check(live))
		require.Equal(t, revocation.ErrRevoked, in.check(revoked))
		in.clock.Advance(time.Second)
	}
	for range 3 {
		err := in.check(live)
		require.ErrorIs(t, err, errAway)
		require.EqualError(t, err,
			"auth: verifying a token: the feed of revocations cannot be read: the store is away")
		require.ErrorIs(t, in.check(revoked), errAway, "what is known is too old for any answer")
	}
	in.store.fail(nil)
	require.NoError(t, in.check(live))
	require.Equal(t, revocation.ErrRevoked, in.check(revoked))
}

func TestAStoreThatHasFailedIsNotAskedForASecondUnlessNothingIsKnown(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	s := session{"u", "s", 0}
	in.store.fail(errAway)
	for range 3 {
		require.ErrorIs(t, in.check(s), errAway)
	}
	require.Equal(t, 3, in.store.countReads())
	in.store.fail(nil)
	require.NoError(t, in.check(s))

	in.store.fail(errAway)
	in.clock.Advance(interval)
	for second := range 3 {
		for range 10 {
			require.NoError(t, in.check(s))
		}
		require.Equal(t, 4+second+1, in.store.countReads())
		in.clock.Advance(time.Second - 1)
		require.NoError(t, in.check(s))
		require.Equal(t, 4+second+1, in.store.countReads())
		in.clock.Advance(1)
	}
}

// When the request begins, the latest read is not too old. When the request stops waiting for the
// store, the same read is too old.
func TestWhatBecomesTooOldWhileARequestWaitsIsNotTrusted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newInstanceWithClock(t, time.Now)
		s := session{"u", "s", 0}
		require.NoError(t, in.check(s))
		hang(in)
		time.Sleep(maxStaleness - time.Second/2)
		require.ErrorIs(t, in.check(s), context.DeadlineExceeded)
	})
}

// hang makes the store delay its answers until the caller closes the returned channel.
func hang(in *instance) (answer chan struct{}) {
	answer = make(chan struct{})
	in.store.onRead = func(ctx context.Context) error {
		select {
		case <-answer:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return answer
}

func TestOneReadServesAllWaitingRequestsAlsoIfItsOwnIsCanceled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newInstanceWithClock(t, time.Now)
		answer := hang(in)
		s := session{"u", "s", 0}
		ctx, cancel := context.WithCancel(t.Context())
		results := make(chan error, 20)
		go func() { results <- in.checkAt(ctx, s, new(atomic.Uint64)) }()
		synctest.Wait()
		cancel()
		for range cap(results) - 1 {
			go func() { results <- in.check(s) }()
		}
		synctest.Wait()
		require.Empty(t, results)
		close(answer)
		for range cap(results) {
			require.NoError(t, <-results)
		}
		require.Equal(t, 1, in.store.countReads())
	})
}

func TestARequestThatWaitsForTheFeedLeavesWhenItIsCanceled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newInstanceWithClock(t, time.Now)
		answer := hang(in)
		s := session{"u", "s", 0}
		reading, waiting := make(chan error, 1), make(chan error, 1)
		go func() { reading <- in.check(s) }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		go func() { waiting <- in.checkAt(ctx, s, new(atomic.Uint64)) }()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-waiting, context.Canceled)
		close(answer)
		require.NoError(t, <-reading)
	})
}

// In each second, the first request waits for a second. The other requests do not wait.
func TestAStoreThatHangsHoldsNoRequestForMoreThanASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newInstanceWithClock(t, time.Now)
		s := session{"u", "s", 0}
		require.NoError(t, in.check(s))
		hang(in)
		time.Sleep(interval)
		for _, want := range []time.Duration{time.Second, 0, 0} {
			began := time.Now()
			require.NoError(t, in.check(s))
			require.Equal(t, want, time.Since(began))
		}

		time.Sleep(time.Second)
		reading := make(chan error, 1)
		go func() { reading <- in.check(s) }()
		synctest.Wait()
		began := time.Now()
		require.NoError(t, in.check(s), "another request tries it")
		require.Zero(t, time.Since(began))
		require.NoError(t, <-reading)

		time.Sleep(maxStaleness)
		for range 3 {
			began := time.Now()
			require.ErrorIs(t, in.check(s), context.DeadlineExceeded)
			require.Equal(t, time.Second, time.Since(began))
		}
	})
}

func TestAStoreThatPanicsDoesNotKeepOthersFromReading(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	s := session{"u", "s", 0}
	in.store.onRead = func(context.Context) error { panic("broken") }
	require.Panics(t, func() { in.check(s) })
	in.store.onRead = nil
	require.NoError(t, in.check(s))

	in.store.onRead = func(context.Context) error { panic("broken") }
	in.clock.Advance(interval)
	require.Panics(t, func() { in.check(s) })
	require.NoError(t, in.check(s),
		"the panic counts as a failed read, so the store is not asked for a second")
}

// During a look-up, this instance revokes the session, but cannot read the new entry. So the feed
// becomes untrusted. The look-up may have missed the revocation.
func TestALookUpDuringWhichTheFeedBecomesUntrustedIsRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newInstanceWithClock(t, time.Now)
		require.NoError(t, in.check(session{"u", "s", 0}))
		in.store.add(revocation.Entry{UserID: "v", SessionID: "another"})
		revoked := session{"u", "s", 1}
		in.store.onAnswer = func() {
			in.store.onAnswer = nil
			in.store.revoke(revoked)
			in.ReadAfterWrite(t.Context()) // cannot read the feed, because this request is reading it
		}
		checked := new(atomic.Uint64)
		require.Error(t, in.checkAt(t.Context(), revoked, checked), "the request has waited for a second")
		require.Zero(t, checked.Load())
		require.Equal(t, revocation.ErrRevoked, in.checkAt(t.Context(), revoked, checked))
		require.Zero(t, checked.Load())
	})
}

// While a session is looked up, another goroutine reads an entry that revokes the session.
func TestALookUpDuringWhichTheSessionIsRevokedIsRepeated(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	s := session{"u", "s", 0}
	require.NoError(t, in.check(s))
	checked, result := new(atomic.Uint64), make(chan error)
	release := in.HoldLookUps("u")
	go func() { result <- in.checkAt(t.Context(), s, checked) }()
	time.Sleep(50 * time.Millisecond) // so that the look-up begins before the entry is added
	in.store.add(revocation.Entry{Generation: 1})
	require.NoError(t, in.ReadNow(t.Context()))
	release()
	require.Equal(t, revocation.ErrRevoked, <-result)
	require.Zero(t, checked.Load())
}

// The machine is suspended for hours after the feed was read.
func TestTheFeedIsReadAfterASuspend(t *testing.T) {
	t.Parallel()
	now := time.Now()
	in := newInstanceWithClock(t, func() time.Time { return now })
	s := session{"u", "s", 0}
	require.NoError(t, in.check(s))
	require.NoError(t, in.check(s))
	require.Equal(t, 1, in.store.countReads())

	now = authtest.Suspended(now.Add(time.Second), 3*3600)
	require.Greater(t, in.Age(now), 3*time.Hour)
	in.store.fail(errAway)
	require.ErrorIs(t, in.check(s), errAway, "what was known hours ago is too old")
	in.store.fail(nil)
	require.NoError(t, in.check(s))
	require.Equal(t, 3, in.store.countReads())
}

func TestAClockThatIsSetBackMakesTheFeedTooOld(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	s := session{"u", "s", 0}
	require.NoError(t, in.check(s))
	in.clock.Advance(-time.Second)
	in.requireUnknown()
	in.store.fail(errAway)
	require.ErrorIs(t, in.check(s), errAway)
}

// The machine is suspended for three hours after the feed was read. During that time, only the wall
// clock advances.
func TestNowNoticesASuspendAfter10Milliseconds(t *testing.T) {
	t.Parallel()
	const asleep = 3 * time.Hour
	var readAt time.Time
	in := newInstanceWithClock(t, func() time.Time { return readAt })
	require.WithinDuration(t, time.Now(), in.Now(), time.Minute, "nothing is known yet")

	// now reads the feed. By the monotonic clock, the read then is as old as the given duration.
	// now returns the result of Now, and whether all this took less than 10 milliseconds.
	now := func(ago time.Duration) (now time.Time, quick bool) {
		began := time.Now()
		readAt = authtest.Suspended(began.Add(-ago), -int64(asleep/time.Second))
		require.NoError(t, in.ReadNow(t.Context()))
		now = in.Now()
		return now, time.Since(began) < 10*time.Millisecond
	}
	got, quick := now(0)
	for !quick {
		got, quick = now(0)
	}
	require.WithinDuration(t, time.Now().Add(-asleep), got.Round(0), time.Minute,
		"only the monotonic clock was read")

	got, _ = now(10 * time.Millisecond)
	require.WithinDuration(t, time.Now(), got.Round(0), time.Minute, "the wall clock was read")
	require.Greater(t, in.Age(got), asleep-time.Minute, "so the feed is read again")
	for quick = false; !quick; {
		began := time.Now()
		in.Now()
		got, quick = in.Now(), time.Since(began) < 10*time.Millisecond
	}
	require.WithinDuration(t, time.Now().Add(-asleep), got.Round(0), time.Minute,
		"the wall clock was read just before")

	got, _ = now(interval)
	require.WithinDuration(t, time.Now(), got.Round(0), time.Minute)
	require.WithinDuration(t, time.Now(), in.Now().Round(0), time.Minute, "what is known is not fresh")
}

// Anyone can send probes. They must not read a store that fails again and again.
func TestProbesThatWaitForAReadThatFailsDoNotReadAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newInstanceWithClock(t, time.Now)
		in.store.onRead = func(context.Context) error {
			time.Sleep(500 * time.Millisecond)
			return errAway
		}
		probed := make(chan error)
		for range 20 {
			go func() { probed <- in.CheckUsable(t.Context()) }()
		}
		for range 20 {
			require.ErrorIs(t, <-probed, errAway)
		}
		require.Len(t, in.store.reads, 1)
		time.Sleep(time.Second)
		require.Error(t, in.CheckUsable(t.Context()))
		require.Len(t, in.store.reads, 2)
	})
}
