// Package writable finds out for readiness checks whether a store accepts writes. Anyone can cause
// any number of readiness checks, and each check of the store costs the database a transaction. So a
// [Monitor] checks the store at most every ten seconds, and remembers the result.
package writable

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sallyport-go/auth/internal/clock"
	"github.com/sallyport-go/auth/internal/outage"
)

const (
	// Interval is the minimum time between the beginnings of two checks.
	Interval = 10 * time.Second

	// Timeout limits the duration of a check. A store that does not answer in this time accepts no
	// writes.
	Timeout = 5 * time.Second

	// Wait is how long the call of State that begins a check waits for its result. It is short, because
	// a load balancer waits about a second for the answer of a readiness check.
	Wait = 500 * time.Millisecond
)

// Monitor remembers whether a store accepts writes. It is safe for concurrent use.
type Monitor struct {
	check    func(context.Context) error
	now      func() time.Time
	log      *slog.Logger
	failures *outage.Tracker

	mu       sync.Mutex
	running  bool      // a check runs
	begunAt  time.Time // the latest check
	writable bool      // the result of the latest check that has ended
	endedAt  time.Time // zero if no check has ended
}

// New returns a Monitor that calls the function check to check the store. The function must not
// panic. It should return soon after its context is done. While it has not returned, the Monitor does
// not call it again. If the function is nil, New returns nil. If the function returns
// errors.ErrUnsupported itself, it is not known whether the store accepts writes.
func New(check func(context.Context) error, now func() time.Time, log *slog.Logger) *Monitor {
	if check == nil {
		return nil
	}
	return &Monitor{check: check, now: now, log: log, failures: outage.New(now)}
}

// State reports whether the store accepts writes, or returns nil if this is not known. If the latest
// check began at least Interval ago, State begins another check in a goroutine.
//
// State waits at most for the duration Wait, because a store that hangs must not delay the readiness
// check. Only the call that begins a check waits. If this check takes longer, a later call returns its
// result. State returns nil if the Monitor is nil.
func (m *Monitor) State(ctx context.Context) *bool {
	if m == nil {
		return nil
	}
	if ended := m.begin(ctx); ended != nil {
		patience := time.NewTimer(Wait)
		defer patience.Stop()
		select {
		case <-ended:
		case <-patience.C:
		case <-ctx.Done():
		}
	}
	writable, known := m.latest()
	if !known {
		return nil
	}
	return &writable
}

// begin begins a check if one is due, and returns a channel that is closed when this check has ended. If
// no check is due, begin returns nil.
func (m *Monitor) begin(ctx context.Context) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if m.running || clock.Age(now, m.begunAt) < Interval {
		return nil
	}
	m.running, m.begunAt = true, now
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.run(context.WithoutCancel(ctx)) // the result is also for other clients
	}()
	return ended
}

func (m *Monitor) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	err := errors.New("the goroutine of the check has ended")
	defer func() { // deferred, because a driver can call runtime.Goexit
		m.mu.Lock()
		m.running, m.writable, m.endedAt = false, err == nil, m.now()
		// The errors of some system calls match ErrUnsupported, too. They mean that a write has failed.
		unsupported := err == errors.ErrUnsupported
		if unsupported {
			m.endedAt = time.Time{}
		}
		m.mu.Unlock()
		switch {
		case unsupported:
			return
		case err != nil:
			m.logFailure(err)
			return
		}
		if r, due := m.failures.Succeed(""); due {
			m.log.Info("auth: the store accepts writes again", "lasted", r.Lasted)
		}
	}()
	err = m.check(ctx)
}

// latest returns the latest result. If this result is too old, it is not known whether the store
// accepts writes.
func (m *Monitor) latest() (writable, known bool) {
	m.mu.Lock()
	now := m.now()
	overdue := m.running && clock.Age(now, m.begunAt) >= Timeout
	writable = m.writable && !overdue
	known = overdue || !m.endedAt.IsZero() && clock.Age(now, m.endedAt) < Interval+Timeout
	m.mu.Unlock()
	if overdue { // the store may never answer, and run would then log nothing
		m.logFailure(fmt.Errorf("the store has not answered for %v", Timeout))
	}
	return writable, known
}

func (m *Monitor) logFailure(err error) {
	if r, due := m.failures.Fail("", 1); due {
		m.log.Error("auth: the store does not accept writes now: sign-ins and revocations fail",
			"since", r.Since, "error", err)
	}
}
