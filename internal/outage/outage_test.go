package outage_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/outage"
	"github.com/stretchr/testify/require"
)

func TestAnOutageIsReportedAtItsBeginningAtItsEndAndNowAndThen(t *testing.T) {
	clock := authtest.NewClock()
	tracker, began := outage.New(clock.Now), clock.Now()
	var failures []int64
	for range 90 {
		if report, due := tracker.Fail("login", 1); due {
			failures = append(failures, report.Failures)
			require.Equal(t, began, report.Since)
		}
		clock.Advance(time.Second)
	}
	require.Equal(t, []int64{1, 30, 30}, failures)
	report, due := tracker.Succeed("login")
	require.True(t, due)
	require.Equal(t, outage.Report{Failures: 90, Since: began, Lasted: 90 * time.Second}, report)
	_, due = tracker.Succeed("login")
	require.False(t, due, "the end is reported once")
	clock.Advance(outage.Interval)
	report, due = tracker.Fail("login", 1)
	require.True(t, due, "another outage")
	require.Equal(t, int64(1), report.Failures)
}

func TestTheSuccessOfOthersDoesNotEndAnOutage(t *testing.T) {
	clock := authtest.NewClock()
	tracker := outage.New(clock.Now)
	lines := 0
	for range 600 { // the disk is full: reads succeed, writes fail
		_, failed := tracker.Fail("login", 1)
		_, again := tracker.Succeed("list users")
		require.False(t, again)
		if failed {
			lines++
		}
		clock.Advance(time.Second)
	}
	require.Equal(t, 20, lines)
}

func TestAnOperationThatFailsNowAndThenGetsFewLines(t *testing.T) {
	clock := authtest.NewClock()
	tracker := outage.New(clock.Now)
	lines, reported := 0, int64(0)
	for range 6000 {
		for range 3 {
			if report, due := tracker.Fail("login", 1); due {
				lines++
				reported = max(reported, report.Failures)
			}
			if _, due := tracker.Succeed("login"); due {
				lines++
			}
		}
		clock.Advance(100 * time.Millisecond)
	}
	require.LessOrEqual(t, lines, 2*21, "at most two lines in 30 seconds, for 600 seconds")
	require.Greater(t, reported, int64(800), "a line counts the failures that had no line")
}

func TestFailuresWithoutALineAreReportedByALaterSuccess(t *testing.T) {
	clock := authtest.NewClock()
	tracker := outage.New(clock.Now)
	tracker.Fail("login", 1)
	tracker.Succeed("login")
	for range 5 { // too soon for another line
		clock.Advance(time.Second)
		_, due := tracker.Fail("login", 1)
		require.False(t, due)
	}
	_, due := tracker.Succeed("login")
	require.False(t, due)
	clock.Advance(outage.Interval)
	report, due := tracker.Succeed("list users")
	require.True(t, due)
	require.Equal(t, int64(5), report.Failures)
}

func TestAnIntervalHasAtMostTwoLines(t *testing.T) {
	clock := authtest.NewClock()
	tracker := outage.New(clock.Now)
	tracker.Fail("login", 1)
	clock.Advance(outage.Interval - time.Second)
	_, due := tracker.Succeed("login")
	require.True(t, due)
	clock.Advance(time.Second)
	_, due = tracker.Fail("login", 1)
	require.False(t, due)
}

// The first operation is called once, and no client calls it again.
func TestAnOperationThatNobodyCallsAgainDoesNotProlongAnOutage(t *testing.T) {
	clock := authtest.NewClock()
	tracker := outage.New(clock.Now)
	tracker.Fail("delete", 1)
	clock.Advance(20 * time.Second)
	tracker.Fail("login", 1)
	_, due := tracker.Succeed("login")
	require.False(t, due, "delete failed 20 seconds ago")
	clock.Advance(10 * time.Second)
	tracker.Fail("login", 1)
	_, due = tracker.Succeed("login")
	require.True(t, due)
}

// After a single failure, no client calls the operation again. Without an end, the log would tell of
// an outage for weeks, and each request would take the lock of the tracker.
func TestTenMinutesWithoutAFailureEndAnOutage(t *testing.T) {
	clock := authtest.NewClock()
	tracker := outage.New(clock.Now)
	tracker.Fail("delete", 1)
	clock.Advance(9 * time.Minute)
	tracker.Fail("delete", 1)
	for range 10 {
		_, due := tracker.Succeed("login")
		require.False(t, due)
		require.True(t, tracker.Failing())
		clock.Advance(time.Minute)
	}
	report, due := tracker.Succeed("login")
	require.True(t, due)
	require.Equal(t, int64(2), report.Failures)
	require.False(t, tracker.Failing())
}

// The clock moves with each call, so a time that was read before another request took the lock would
// be earlier than the time that this other request has stored.
func TestConcurrentFailuresNeitherRepeatALineNorEndAnOutage(t *testing.T) {
	began := time.Now()
	for range 10 {
		var ticks, lines, ends atomic.Int64
		tracker := outage.New(func() time.Time { return began.Add(time.Duration(ticks.Add(1))) })
		fail := func(operation string) {
			if _, due := tracker.Fail(operation, 1); due {
				lines.Add(1)
			}
		}
		fail("login")
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 5000 {
					fail("login")
				}
			})
			all.Go(func() {
				for range 5000 {
					fail("list users")
					if _, due := tracker.Succeed("list users"); due {
						ends.Add(1)
					}
				}
			})
		}
		all.Wait()
		require.Equal(t, int64(1), lines.Load())
		require.Zero(t, ends.Load(), "login has not succeeded")
	}
}

func TestAClockThatJumpsNeitherHidesAnOutageNorFloodsTheLog(t *testing.T) {
	clock := authtest.NewClock()
	tracker := outage.New(clock.Now)
	lines := 0
	for _, jump := range []time.Duration{0, -24 * time.Hour, 24 * time.Hour, -time.Hour} {
		clock.Advance(jump)
		for range 100 {
			if report, due := tracker.Fail("login", 1); due {
				lines++
				require.GreaterOrEqual(t, report.Lasted, time.Duration(0))
				require.LessOrEqual(t, report.Lasted, 24*time.Hour)
			}
		}
	}
	require.Equal(t, 4, lines, "one at the beginning, and one at each jump")
	clock.Advance(-time.Hour)
	_, due := tracker.Succeed("login")
	require.True(t, due)
}

func TestManyOperationsTakeBoundedMemoryAndEnd(t *testing.T) {
	clock := authtest.NewClock()
	tracker := outage.New(clock.Now)
	for i := range 10_000 {
		tracker.Fail(fmt.Sprint("route ", i), 1)
	}
	clock.Advance(outage.Interval)
	report, due := tracker.Succeed("route 0")
	require.True(t, due)
	require.Equal(t, int64(10_000), report.Failures)
}

// The failures of the 65th operation count, but nobody waits for its success.
func TestATrackerDistinguishesAtMost64Operations(t *testing.T) {
	tracker := outage.New(authtest.NewClock().Now)
	for i := range 65 {
		tracker.Fail(fmt.Sprint("route ", i), 1)
	}
	for i := range 64 {
		report, due := tracker.Succeed(fmt.Sprint("route ", i))
		require.Equal(t, i == 63, due, i)
		if due {
			require.Equal(t, int64(65), report.Failures)
		}
	}
}

func TestConcurrentRequestsGetOneLine(t *testing.T) {
	clock := authtest.NewClock()
	tracker := outage.New(clock.Now)
	var lines, ends atomic.Int64
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, due := tracker.Fail("login", 1); due {
				lines.Add(1)
			}
		})
	}
	all.Wait()
	for range 50 {
		all.Go(func() {
			if _, due := tracker.Succeed("login"); due {
				ends.Add(1)
			}
		})
	}
	all.Wait()
	require.Equal(t, int64(1), lines.Load())
	require.Equal(t, int64(1), ends.Load())
}
