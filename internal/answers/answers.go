// Package answers remembers for a while what another service, such as GitHub, has answered about a
// user. So a client with valid credentials cannot cause a call to the other service with each
// request. For each user, only one request at a time asks the other service.
//
// Each instance has its own [Memory]. So every instance asks the other service itself.
package answers

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// MaxUsers is the maximum number of users in a [Memory]. With more users, the Memory drops the
// least recently used user. The next request for that user asks the other service again.
const MaxUsers = 1 << 12

// Memory holds the answers of the other service. It is safe for concurrent use.
type Memory struct {
	now      func() time.Time
	lifetime time.Duration // of an answer

	mu    sync.Mutex
	users *simplelru.LRU[string, *answer]
}

type answer struct {
	asking chan struct{} // one-slot semaphore; its holder may ask, and may use the fields below

	version string // of the credential that was sent to the other service
	until   time.Time
	err     error // nil if the answer was yes
}

// New returns an empty Memory that keeps each answer for the lifetime.
func New(now func() time.Time, lifetime time.Duration) *Memory {
	users, _ := simplelru.NewLRU[string, *answer](MaxUsers, nil) // fails only for a size below 1
	return &Memory{now: now, lifetime: lifetime, users: users}
}

// Ask returns the answer of the other service about the user. If the other service says yes, the
// answer is nil. If not, the answer is an error. The parameter version identifies the version of
// the user's credential. If the Memory has an answer for this version that is younger than the
// lifetime, Ask returns the remembered answer.
//
// If the Memory has no such answer, Ask calls the callback named ask and returns its result. The
// result can also be a failure, for example a timeout. So the callback isAnswer must report whether
// the result is an answer of the other service. Ask remembers a result only if it is an answer.
//
// While another request asks about the user, Ask waits. If ctx is done during this wait, Ask
// returns an error that wraps the error of ctx.
func (m *Memory) Ask(
	ctx context.Context, userID, version string, ask func() error, isAnswer func(error) bool,
) error {
	known := m.find(userID)
	leave, err := known.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	// Round(0) strips the monotonic clock reading, because the monotonic clock stops while the
	// machine is suspended. If the wall clock was set back, left may be more than the lifetime. The
	// answer is then not used.
	left := known.until.Sub(m.now().Round(0))
	if known.version == version && 0 < left && left <= m.lifetime {
		return known.err
	}
	err = ask()
	known.until = time.Time{}
	if isAnswer(err) {
		known.version, known.until, known.err = version, m.now().Round(0).Add(m.lifetime), err
	}
	return err
}

// Enter waits until no request asks about the user. After that, requests about the user wait until
// the caller calls leave. If ctx is done while Enter waits, Enter returns an error that wraps the
// error of ctx, and leave does nothing.
func (m *Memory) Enter(ctx context.Context, userID string) (leave func(), err error) {
	return m.find(userID).enter(ctx)
}

func (a *answer) enter(ctx context.Context) (leave func(), err error) {
	select {
	case a.asking <- struct{}{}:
		return func() { <-a.asking }, nil
	case <-ctx.Done():
		return func() {}, fmt.Errorf("auth: waiting for an answer: %w", ctx.Err())
	}
}

func (m *Memory) find(userID string) *answer {
	m.mu.Lock()
	defer m.mu.Unlock()
	known, ok := m.users.Get(userID)
	if !ok {
		known = &answer{asking: make(chan struct{}, 1)}
		m.users.Add(userID, known)
	}
	return known
}
