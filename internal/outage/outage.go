// Package outage turns the failures of many requests into a few log lines. While a database does
// not answer, every request fails for the same reason. The log then needs a line when the failures
// begin, a line at intervals with their number, and a line when they end.
package outage

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-go/auth/internal/clock"
)

const (
	// Interval is the minimum time between two lines about failures. A line about their end can
	// follow at any time, so there are at most two lines in each Interval.
	Interval = 30 * time.Second

	// silence is how long after the latest failure an outage ends at the success of any operation. An
	// operation that failed may never be called again, so waiting for its success could take forever.
	silence = 10 * time.Minute

	// maxOperations is the maximum number of failing operations that a Tracker distinguishes. It
	// only bounds memory: a host has fewer routes that fail at the same time.
	maxOperations = 64
)

// Tracker counts failures that have one cause, and decides when to log them. It is safe for
// concurrent use, and starts no goroutine.
type Tracker struct {
	now     func() time.Time // called under mu, so that times are stored in the order of the clock
	failing atomic.Bool      // written under mu; lets Succeed return early without mu
	calls   atomic.Int64     // of Fail

	mu         sync.Mutex
	operations map[string]time.Time // when each failing operation last failed
	since      time.Time            // the first failure of the outage
	failedAt   time.Time            // the latest failure of the outage
	total      int64                // failures of the outage
	unreported int64                // failures that are in no line yet
	announced  bool                 // a line says that the outage began
	lineAt     time.Time            // when the latest line was due
}

// New returns a Tracker that has seen no failure.
func New(now func() time.Time) *Tracker { return &Tracker{now: now} }

// Failing reports whether an outage has begun and not ended yet. It takes no lock.
func (t *Tracker) Failing() bool { return t.failing.Load() }

// Failures returns the number of failures in all outages. It takes no lock.
func (t *Tracker) Failures() int64 { return t.calls.Load() }

// Report contains what a log line says about an outage.
type Report struct {
	Failures int64         // failures that no earlier line has counted; at the end, all of the outage
	Since    time.Time     // the first failure of the outage
	Lasted   time.Duration // from the first failure until now
}

// Fail records that an operation has failed for the given number of requests. The number is 0 if the
// operation did not serve a request. Fail reports whether to write a line about failures now.
func (t *Tracker) Fail(operation string, requests int64) (Report, bool) {
	t.calls.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if !t.failing.Load() {
		t.operations, t.since, t.total, t.unreported = map[string]time.Time{}, now, 0, 0
		t.announced = false
		t.failing.Store(true)
	}
	t.failedAt = now
	t.total += requests
	t.unreported += requests
	if _, known := t.operations[operation]; known || len(t.operations) < maxOperations {
		t.operations[operation] = now
	}
	if !t.mayReport(now) {
		return Report{}, false
	}
	report := t.report(t.unreported, now)
	t.lineAt, t.announced, t.unreported = now, true, 0
	return report, true
}

// Succeed records that an operation has succeeded, and reports whether to write a line about the end
// of an outage now. An outage ends when every operation that failed in the last Interval has
// succeeded. So while only some operations fail, the success of the others does not end the outage.
// An outage also ends if any operation succeeds ten minutes after the latest failure.
func (t *Tracker) Succeed(operation string) (Report, bool) {
	if !t.failing.Load() {
		return Report{}, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.failing.Load() {
		return Report{}, false
	}
	now := t.now()
	if _, failed := t.operations[operation]; !failed && len(t.operations) > 0 &&
		clock.Age(now, t.failedAt) < silence {
		return Report{}, false
	}
	delete(t.operations, operation)
	for other, at := range t.operations {
		if clock.Age(now, at) < Interval {
			return Report{}, false
		}
		delete(t.operations, other)
	}
	if !t.announced && !t.mayReport(now) {
		return Report{}, false // a later success, or a failure, reports what is unreported
	}
	t.failing.Store(false)
	t.lineAt = now
	return t.report(t.total, now), true
}

// mayReport reports whether the latest line is old enough for a line about failures.
func (t *Tracker) mayReport(now time.Time) bool {
	return t.lineAt.IsZero() || clock.Age(now, t.lineAt) >= Interval
}

func (t *Tracker) report(failures int64, now time.Time) Report {
	lasted := clock.Age(now, t.since)
	if lasted == math.MaxInt64 { // the clock was set back, so the duration is not known
		lasted = 0
	}
	return Report{Failures: failures, Since: t.since.UTC(), Lasted: lasted}
}
