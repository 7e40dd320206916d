package storetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// callTimeout is the maximum duration of a call that does not wait for another call. This duration
// is long, because even a correct store is slow on a busy machine.
const callTimeout = time.Minute

// gate is a clock for a write. The first reading of the clock blocks until the gate is opened. A
// store reads the clock of a write only after it has taken the locks of the write. So a write that
// is blocked by a gate holds its locks.
type gate struct {
	at      time.Time
	first   sync.Once
	entered chan struct{}
	opened  chan struct{}
}

func newGate(at time.Time) *gate {
	return &gate{at: at, entered: make(chan struct{}), opened: make(chan struct{})}
}

// now returns the time of the gate. The first call waits until the gate is opened.
func (g *gate) now() time.Time {
	g.first.Do(func() {
		close(g.entered)
		<-g.opened
	})
	return g.at
}

// hold returns the write with this gate as its clock.
func (g *gate) hold(w auth.Write) auth.Write {
	w.Now = g.now
	return w
}

// open lets the blocked call continue.
func (g *gate) open() { close(g.opened) }

// running is a call that runs in its own goroutine.
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

// returnsWithin reports whether the call returns within the duration d.
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

// startHeld starts the call, and returns when the gate blocks the call.
func startHeld(t *testing.T, g *gate, what string, call func() error) *running {
	t.Helper()
	r := start(call)
	timer := time.NewTimer(callTimeout)
	defer timer.Stop()
	select {
	case <-g.entered:
	case <-r.done:
		require.NoError(t, r.err, what)
		require.Fail(t, "the store does not read the clock of the write", what)
	case <-timer.C:
		require.Fail(t, "the store neither reads the clock of the write nor returns", what)
	}
	return r
}

// graceOf returns how long a test observes whether one call waits for another. This time is a
// multiple of the duration of a write in this store. If the time is too short, a test can miss a
// defect, but no test fails for a correct store.
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

// held contains the results of two calls. A gate blocks the first call while the second one starts.
type held struct {
	firstErr, secondErr error
	overtook            bool // whether the second call returned while the first one was blocked
}

// callBehind makes the first call, blocks this call with a gate, and makes the second call. The
// gate opens as soon as the second call has returned or the duration grace has passed.
func callBehind(
	t *testing.T, ctx context.Context, grace time.Duration, at time.Time,
	first func(ctx context.Context,
		hold func(auth.Write) auth.Write) error, second func(ctx context.Context) error,
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
