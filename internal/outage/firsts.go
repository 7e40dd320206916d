package outage

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-go/auth/internal/clock"
)

const (
	// MaxFirsts is the maximum number of subjects that a [Firsts] reports in an hour.
	MaxFirsts = 100

	firstsInterval = time.Hour
)

// Firsts decides which failures to report if each failure is about one of many subjects, such as
// users. In each hour, it reports a subject once, and at most MaxFirsts subjects. It is safe for
// concurrent use.
type Firsts struct {
	now   func() time.Time
	calls atomic.Int64 // of Fail

	mu       sync.Mutex
	since    time.Time       // when the hour began
	reported map[string]bool // the subjects of this hour, at most MaxFirsts
	full     bool            // a further subject was refused in this hour
}

// NewFirsts returns a Firsts that has reported nothing.
func NewFirsts(now func() time.Time) *Firsts { return &Firsts{now: now} }

// Fail reports whether to report the failure of the subject. The result full is true once in an hour:
// when a subject is not reported because MaxFirsts other subjects were.
func (f *Firsts) Fail(subject string) (first, full bool) {
	f.calls.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now() // under the lock, so that hours begin in the order of the clock
	if f.reported == nil || clock.Age(now, f.since) >= firstsInterval {
		f.since, f.reported, f.full = now, map[string]bool{}, false
	}
	switch {
	case f.reported[subject]:
		return false, false
	case len(f.reported) == MaxFirsts:
		full, f.full = !f.full, true
		return false, full
	}
	f.reported[subject] = true
	return true, false
}

// Failures returns the number of all failures. It takes no lock.
func (f *Firsts) Failures() int64 { return f.calls.Load() }
