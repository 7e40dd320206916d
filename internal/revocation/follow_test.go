package revocation_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/revocation"
)

// follow starts Follow in a bubble and returns when an idle instance has been idle for a while. It ends
// Follow at the end of the test.
func follow(t *testing.T, in *instance, every time.Duration) {
	require.NoError(t, in.ReadNow(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- in.Follow(ctx, every) }()
	t.Cleanup(func() {
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
	})
	time.Sleep(time.Minute)
	synctest.Wait()
}

func TestAnIdleInstanceStaysUsableIfEverySecondReadFails(t *testing.T) {
	t.Parallel()
	for _, every := range []time.Duration{interval / 3, interval / 5, interval * 19 / 100, interval / 9} {
		t.Run(fmt.Sprint(every), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				in := newInstanceWithClock(t, time.Now)
				var failures atomic.Int64
				in.store.onRead = func(context.Context) error {
					age := in.Age(time.Now())
					if age >= interval && age < time.Hour { // the age is not known before the first read
						t.Errorf("the copy is %s old, so a request would have to wait", age)
					}
					if age >= interval-every {
						return nil // the second attempt
					}
					failures.Add(1)
					return errAway
				}
				follow(t, in, every)
				failures.Store(0)
				before := in.store.countReads()
				time.Sleep(10*interval - time.Millisecond)
				synctest.Wait()
				require.GreaterOrEqual(t, failures.Load(), int64(10))
				require.LessOrEqual(t, in.store.countReads()-before, 2*10+2, "the instance is idle")
			})
		})
	}
}

// The copy of an idle instance can be almost as old as the interval. So the instance must not wait for its
// next read if requests come again.
func TestTheFirstRequestWakesAnIdleInstance(t *testing.T) {
	t.Parallel()
	const every = interval / 5
	for after := range 40 { // the first request comes at different times of the pause
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				in := newInstanceWithClock(t, time.Now)
				follow(t, in, every)
				time.Sleep(time.Duration(after) * interval / 20)
				leaving := session{"user", "session", 0}
				require.NoError(t, in.check(leaving))
				in.store.revoke(leaving)
				time.Sleep(every + time.Millisecond)
				require.True(t, in.knows(leaving))
				before := in.store.countReads()
				for range 30 { // busy again
					time.Sleep(every)
					_ = in.check(leaving)
				}
				require.InDelta(t, 30, in.store.countReads()-before, 1)
			})
		})
	}
}

// An instance that gets a request now and then is not idle: a revocation elsewhere reaches it in a second.
func TestFollowReadsLessOftenOnlyAfterHalfAMinuteWithoutRequests(t *testing.T) {
	t.Parallel()
	const every = interval / 5
	for pause, want := range map[time.Duration]int{
		10 * time.Second: 120, 29 * time.Second: 120,
		time.Hour: 32 + 23, // after half a minute, a read in 3.75 seconds
	} {
		t.Run(pause.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				in := newInstanceWithClock(t, time.Now)
				follow(t, in, every)
				request := func() {
					time.Sleep(time.Nanosecond) // Follow has begun to wait
					require.NoError(t, in.check(session{"user", "s", 0}))
				}
				request()
				time.Sleep(every)
				request()
				before, began := in.store.countReads(), time.Now()
				for time.Since(began) < 2*time.Minute {
					time.Sleep(min(pause, 2*time.Minute-time.Since(began)))
					request()
				}
				require.Equal(t, want, in.store.countReads()-before)
			})
		})
	}
}

func TestFollowReadsAtOnceAfterTheClockHasJumpedBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var offset atomic.Int64
		in := newInstanceWithClock(t, func() time.Time {
			return time.Now().Add(time.Duration(offset.Load())).Round(0)
		})
		follow(t, in, interval/5)
		offset.Store(-int64(time.Hour))
		time.Sleep(interval)
		in.requireKnown()
	})
}

// The copy of a feed that must not be trusted has the greatest age, whatever the interval is.
func TestAnIdleInstanceReadsAnUntrustedFeedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &store{onRead: func(context.Context) error { return errAway }}
		feed := revocation.NewFeed(store.source(), time.Millisecond, maxStaleness, time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- feed.Follow(ctx, time.Millisecond) }()
		time.Sleep(31 * time.Second)
		before := store.countReads()
		time.Sleep(time.Second)
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		require.InDelta(t, 1000, store.countReads()-before, 1)
	})
}

func TestRequestsWhoseFeedNobodyFollowsDoNotBlock(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	for i := range 10 {
		require.NoError(t, in.check(session{"user", fmt.Sprint(i), 0}))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, in.Follow(ctx, time.Hour), context.Canceled)
	require.NoError(t, in.check(session{"user", "s", 0}))
}
