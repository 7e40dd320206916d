package secrethash

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// For each hash that runs, up to waitersPerSlot hashes wait. A hash waits for at most longestWait.
// An imported hash takes from about 30 ms to most of a second.
const (
	waitersPerSlot = 32
	longestWait    = 3 * time.Second
	clientsShare   = 4 // one client gets at most a fourth of the places
)

// Queue lets a bounded number of slow hashes run at once, and a bounded number wait. A place is the
// right to run or to wait, and one client gets only a part of the places. A Queue is safe for
// concurrent use. Make it with [NewQueue].
type Queue struct {
	running chan struct{} // one element for each hash that runs

	mu      sync.Mutex
	inside  int                // hashes that run or wait
	clients map[netip.Addr]int // the same, by client
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

// Enter waits until the client may run a slow hash, and returns the function to call after the
// hash. All clients without an address count as one client, because together they could take every
// place. Enter returns a [BusyError] if too many hashes wait already or the wait gets too long, and
// ctx's error if ctx is done.
func (q *Queue) Enter(ctx context.Context, client netip.Addr) (leave func(), err error) {
	if !q.admit(client) {
		return nil, &BusyError{RetryAfter: time.Second}
	}
	timer := time.NewTimer(longestWait)
	defer timer.Stop()
	select {
	case q.running <- struct{}{}:
		return func() { <-q.running; q.leave(client) }, nil
	case <-timer.C:
		err = &BusyError{RetryAfter: longestWait}
	case <-ctx.Done():
		err = fmt.Errorf("auth: waiting for a slow hash: %w", ctx.Err())
	}
	q.leave(client)
	return nil, err
}

// admit takes a place for the client, or reports that there is none.
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
