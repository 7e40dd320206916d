package secrethash

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// The limits of a [Queue]. For each slow hash that may run, up to waitersPerSlot more hashes may
// wait. No hash waits longer than longestWait. Computing an imported hash takes from about 30 ms to
// most of a second.
const (
	waitersPerSlot = 32
	longestWait    = 3 * time.Second
	clientsShare   = 4 // one client gets at most a fourth of the places
)

// Queue limits how many slow hashes run at once, and how many wait. A hash that runs or waits takes
// a place. Each client can take only a part of the places. A Queue is safe for concurrent use. Make
// it with [NewQueue].
type Queue struct {
	running chan struct{} // has one element for each hash that runs
	refused atomic.Int64

	mu      sync.Mutex
	inside  int                // number of hashes that run or wait
	clients map[netip.Addr]int // number of hashes of each client that run or wait
}

// BusyError says that a slow hash cannot run now.
type BusyError struct {
	RetryAfter time.Duration // how long to wait; positive
}

// Error returns a message with the time to wait.
func (e *BusyError) Error() string {
	return fmt.Sprintf("auth: too many slow hashes wait: try again in %s", e.RetryAfter)
}

// NewQueue returns a queue that lets the given number of slow hashes run at once.
func NewQueue(slots int) *Queue {
	return &Queue{running: make(chan struct{}, slots), clients: map[netip.Addr]int{}}
}

// Enter waits until the client may run a slow hash. After the hash, the caller must call the
// function leave. All clients without an address count as one client, so that they cannot take
// every place. Enter returns a [*BusyError] if the queue has no place for the client, or if the
// wait gets too long. If ctx is done, Enter returns an error that wraps the error of ctx.
func (q *Queue) Enter(ctx context.Context, client netip.Addr) (leave func(), err error) {
	if !q.admit(client) {
		q.refused.Add(1)
		return nil, &BusyError{RetryAfter: time.Second}
	}
	timer := time.NewTimer(longestWait)
	defer timer.Stop()
	select {
	case q.running <- struct{}{}:
		return func() { <-q.running; q.leave(client) }, nil
	case <-timer.C:
		q.refused.Add(1)
		err = &BusyError{RetryAfter: longestWait}
	case <-ctx.Done():
		err = fmt.Errorf("auth: waiting for a slow hash: %w", ctx.Err())
	}
	q.leave(client)
	return nil, err
}

// Refused returns how many calls of Enter have returned a [*BusyError]. For a nil Queue, it is zero.
func (q *Queue) Refused() int64 {
	if q == nil {
		return 0
	}
	return q.refused.Load()
}

// admit takes a place for the client. It returns false if there is no place for the client.
func (q *Queue) admit(client netip.Addr) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	places := cap(q.running) * (1 + waitersPerSlot)
	if q.inside == places || q.clients[client] == places/clientsShare {
		return false
	}
	q.inside++
	q.clients[client]++
	return true
}

func (q *Queue) leave(client netip.Addr) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.inside--
	if q.clients[client]--; q.clients[client] == 0 {
		delete(q.clients, client)
	}
}
