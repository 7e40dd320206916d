// Package sharedcall lets concurrent requests share calls of a function, such as a read of the store. Each
// result is as recent as if every request had called the function itself.
package sharedcall

import (
	"context"
	"errors"
	"sync"
)

// Group shares calls. At most one call for each key runs at a time. The zero value is ready to use. A Group
// is safe for concurrent use.
type Group[V any] struct {
	mu   sync.Mutex
	keys map[string]*line[V] // of the keys that have callers
}

// line contains the callers of Do for one key.
type line[V any] struct {
	callers int
	next    *call[V]      // the call that has not begun; nil if nobody waits for one
	turn    chan struct{} // one-slot semaphore; its holder may begin a call
}

type call[V any] struct {
	done   chan struct{} // closed when the call has ended
	result V
	err    error
}

var errPanicked = errors.New("a call that several requests shared panicked")

// Do returns the result of a call of f that began after Do was called. While another call for the key runs,
// Do waits. One call then serves all callers of Do that are waiting when it begins, so a caller waits for at
// most two calls. If ctx is done while Do waits, Do returns the error of ctx.
//
// One of the callers runs f with its own context. So f must not depend on the cancellation of that context.
func (g *Group[V]) Do(ctx context.Context, key string, f func() (V, error)) (V, error) {
	line, mine := g.enter(key)
	defer g.leave(key, line)
	select {
	case <-mine.done:
		return mine.result, mine.err
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	case line.turn <- struct{}{}:
	}
	defer func() { <-line.turn }()
	select {
	case <-mine.done: // both were ready
	default:
		g.run(line, mine, f)
	}
	return mine.result, mine.err
}

// enter returns the line of the key, and the call in it that has not begun.
func (g *Group[V]) enter(key string) (*line[V], *call[V]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting := g.keys[key]
	if waiting == nil {
		if g.keys == nil {
			g.keys = map[string]*line[V]{}
		}
		waiting = &line[V]{turn: make(chan struct{}, 1)}
		g.keys[key] = waiting
	}
	waiting.callers++
	if waiting.next == nil {
		waiting.next = &call[V]{done: make(chan struct{})}
	}
	return waiting, waiting.next
}

func (g *Group[V]) leave(key string, waiting *line[V]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if waiting.callers--; waiting.callers == 0 {
		delete(g.keys, key)
	}
}

// run makes the call that has not begun. Requests that come from now on wait for the next call. The caller
// must hold the semaphore of the line.
func (g *Group[V]) run(line *line[V], mine *call[V], f func() (V, error)) {
	g.mu.Lock()
	line.next = nil
	g.mu.Unlock()
	mine.err = errPanicked
	defer close(mine.done)
	mine.result, mine.err = f()
}
