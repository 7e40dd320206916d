package outage_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/outage"
	"github.com/stretchr/testify/require"
)

func TestABudgetAllowsAFewLinesOfEachSubjectAndCountsTheRest(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	var budget outage.Budget[string]
	spend := func(subject string, events int) (lines, lasts int) {
		for range events {
			ok, last := budget.Spend(clock.Now, subject)
			if ok {
				lines++
			}
			if last {
				lasts++
			}
		}
		return lines, lasts
	}
	for range 3 {
		lines, lasts := spend("flood", 1000)
		require.Equal(t, []int{outage.BudgetLines, 1}, []int{lines, lasts})
		lines, lasts = spend("few", outage.BudgetLines-1)
		require.Equal(t, []int{outage.BudgetLines - 1, 0}, []int{lines, lasts}, "a flood of another subject")
		clock.Advance(outage.BudgetInterval - 1)
		lines, _ = spend("flood", 10)
		require.Zero(t, lines, "the interval has not ended")
		require.Nil(t, budget.Omitted(clock.Now))
		clock.Advance(1)
		require.Equal(t, map[string]int64{"flood": 1010 - outage.BudgetLines}, budget.Omitted(clock.Now))
		require.Nil(t, budget.Omitted(clock.Now), "each event is counted once")
	}
	for range 2 { // the counts of several intervals are added
		spend("flood", outage.BudgetLines+7)
		clock.Advance(outage.BudgetInterval)
	}
	require.Equal(t, map[string]int64{"flood": 14}, budget.Omitted(clock.Now))
}

func TestAClockThatIsSetBackEndsTheIntervalOfABudget(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	var budget outage.Budget[string]
	for range outage.BudgetLines {
		budget.Spend(clock.Now, "x")
	}
	clock.Advance(-24 * time.Hour)
	ok, _ := budget.Spend(clock.Now, "x")
	require.True(t, ok)
}

func TestConcurrentEventsDoNotExceedABudget(t *testing.T) {
	t.Parallel()
	began := time.Now()
	var ticks, lines atomic.Int64
	now := func() time.Time { return began.Add(time.Duration(ticks.Add(1))) }
	var budget outage.Budget[string]
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				if ok, _ := budget.Spend(now, "x"); ok {
					lines.Add(1)
				}
			}
		})
	}
	all.Wait()
	require.EqualValues(t, outage.BudgetLines, lines.Load())
}
