package storetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// callTimeout is how long a call may take that nothing holds any more. It is long, because a
// busy machine is no fault of the store.
const callTimeout = time.Minute

// gate is a clock that holds the first call which asks it for the time. A store asks after it
// has locked, so a call that the gate holds has its locks.
type gate struct {
	at      time.Time
	first   sync.Once
	entered chan struct{}
	opened  chan struct{}
}

func newGate(at time.Time) *gate {
	return &gate{at: at, entered: make(chan struct{}), opened: make(chan struct{})}
}

// now is the clock.
func (g *gate) now() time.Time {
	g.first.Do(func() {
		close(g.entered)
		<-g.opened
	})
	return g.at
}

// hold returns the write with the gate as its clock.
func (g *gate) hold(w auth.Write) auth.Write {
	w.Now = g.now
	return w
}

// open lets the call go on.
func (g *gate) open() { close(g.opened) }

// running is a call in a goroutine of its own.
type running struct {
	err  error
	done chan struct{}
}

func start(call func() error) *running {
	r := &running{done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = call()
	}()
	return r
}

// returnsWithin reports whether the call returns in this time.
func (r *running) returnsWithin(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-r.done:
		return true
	case <-timer.C:
		return false
	}
}

// result waits for the call and returns its error.
func (r *running) result(t *testing.T, what string) error {
	t.Helper()
	require.True(t, r.returnsWithin(callTimeout), "%s does not return", what)
	return r.err
}

// startHeld starts the call and returns when the gate holds it.
func startHeld(t *testing.T, g *gate, what string, call func() error) *running {
	t.Helper()
	r := start(call)
	timer := time.NewTimer(callTimeout)
	defer timer.Stop()
	select {
	case <-g.entered:
	case <-r.done:
		require.NoError(t, r.err, what)
		require.Fail(t, "the store does not ask for the time", what)
	case <-timer.C:
		require.Fail(t, "the store neither asks for the time nor returns", what)
	}
	return r
}

// graceOf returns how long to watch a call that should be waiting for another. It is some times
// what a write takes in this store. A shorter time finds less and never fails a good store.
func graceOf(t *testing.T, store auth.AccountStore) time.Duration {
	t.Helper()
	took := time.Hour
	for range 3 {
		began := time.Now()
		newAccount(t, store)
		took = min(took, time.Since(began))
	}
	return min(max(2*took, time.Millisecond), 20*time.Millisecond)
}

// held is a call that waits behind a gate while another call is made.
type held struct {
	firstErr, secondErr error
	overtook            bool // the second call returned while the first was held
}

// callBehind makes the first call, holds it at the gate, makes the second call, and opens the
// gate when the second call has returned or is seen to wait.
func callBehind(
	t *testing.T, ctx context.Context, grace time.Duration, at time.Time,
	first func(ctx context.Context, hold func(auth.Write) auth.Write) error, second func(ctx context.Context) error,
) held {
	t.Helper()
	g := newGate(at)
	opened := sync.OnceFunc(g.open)
	defer opened()
	one := startHeld(t, g, "the first call", func() error { return first(ctx, g.hold) })
	two := start(func() error { return second(ctx) })
	h := held{overtook: two.returnsWithin(grace)}
	opened()
	h.firstErr, h.secondErr = one.result(t, "the first call"), two.result(t, "the second call")
	return h
}
