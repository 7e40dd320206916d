package outage

import (
	"sync"
	"time"

	"github.com/sallyport-go/auth/internal/clock"
)

const (
	// BudgetLines is the maximum number of lines about one subject in an interval of a [Budget].
	BudgetLines = 10

	// BudgetInterval is the length of an interval of a [Budget].
	BudgetInterval = time.Minute
)

// Budget limits the log lines about events that anyone can cause. In each interval, it allows
// BudgetLines lines for each subject, and counts the further events of the subject. The number of
// subjects must be small, because a Budget keeps a count for each. The zero value is ready to use. A
// Budget is safe for concurrent use.
type Budget[S comparable] struct {
	mu      sync.Mutex
	since   time.Time   // when the interval began
	events  map[S]int64 // events of each subject in this interval
	omitted map[S]int64 // events of earlier intervals that got no line and that no result has counted
}

// Spend counts an event of the subject, and reports whether to write a line about it. The result
// last reports whether this is the last line about the subject in this interval. Spend calls now
// while it holds its lock, so that intervals begin in the order of the clock.
func (b *Budget[S]) Spend(now func() time.Time, subject S) (ok, last bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next(now())
	if b.events == nil {
		b.events = map[S]int64{}
	}
	b.events[subject]++
	n := b.events[subject]
	return n <= BudgetLines, n == BudgetLines
}

// Omitted returns how many events of each subject got no line in the intervals that have ended. It
// counts each event once, and returns nil if there is nothing to report.
func (b *Budget[S]) Omitted(now func() time.Time) map[S]int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next(now())
	omitted := b.omitted
	b.omitted = nil
	return omitted
}

// next begins another interval if the present one has ended.
func (b *Budget[S]) next(now time.Time) {
	if clock.Age(now, b.since) < BudgetInterval {
		return
	}
	b.since = now
	for subject, n := range b.events {
		if n > BudgetLines {
			if b.omitted == nil {
				b.omitted = map[S]int64{}
			}
			b.omitted[subject] += n - BudgetLines
		}
	}
	clear(b.events)
}
