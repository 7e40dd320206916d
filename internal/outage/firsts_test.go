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

func TestEachSubjectIsReportedOnceAnHourAndABoundedNumberOfThem(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	firsts := outage.NewFirsts(clock.Now)
	for range 3 {
		var reported, full int
		for n := range 3 * outage.MaxFirsts {
			for range 2 {
				first, nowFull := firsts.Fail(fmt.Sprint(n))
				require.False(t, first && nowFull)
				if first {
					reported++
					require.Less(t, n, outage.MaxFirsts)
				}
				if nowFull {
					full++
				}
			}
		}
		require.Equal(t, outage.MaxFirsts, reported)
		require.Equal(t, 1, full)
		clock.Advance(time.Hour - 1)
		first, full2 := firsts.Fail("0")
		require.False(t, first || full2)
		clock.Advance(1)
	}
	firsts = outage.NewFirsts(clock.Now)
	for _, step := range []struct {
		advance time.Duration
		want    bool
	}{{0, true}, {time.Hour - 1, false}, {1, true}, {-time.Minute, true}, {0, false}} {
		clock.Advance(step.advance) // a clock that was set back must not keep a report for longer
		first, _ := firsts.Fail("user")
		require.Equal(t, step.want, first, step.advance)
	}
}

func TestConcurrentFailuresOfASubjectAreReportedOnce(t *testing.T) {
	t.Parallel()
	firsts := outage.NewFirsts(authtest.NewClock().Now)
	var reported atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for n := range 50 {
				if first, _ := firsts.Fail(fmt.Sprint(n)); first {
					reported.Add(1)
				}
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 50, reported.Load())
}
