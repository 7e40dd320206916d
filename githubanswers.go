package auth

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// rememberedFor is how long an instance goes by what GitHub has said of a user. A client with
	// a right secret or a token could otherwise make this service call GitHub as fast as it can.
	rememberedFor = time.Minute

	// maxRemembered bounds the users about whom something is remembered. About one who is
	// forgotten, GitHub is asked again.
	maxRemembered = 1 << 12
)

// githubAnswers remembers what GitHub has said of users, and asks about each user once at a time.
type githubAnswers struct {
	now      func() time.Time
	lifetime time.Duration // of an answer

	mu    sync.Mutex
	users *simplelru.LRU[string, *githubAnswer]
}

type githubAnswer struct {
	asking chan struct{} // one-slot semaphore; its holder may ask GitHub and owns the rest

	version string // of the token that GitHub was asked with
	until   time.Time
	err     error // nil if GitHub said yes
}

func newGitHubAnswers(now func() time.Time, lifetime time.Duration) (*githubAnswers, error) {
	users, err := simplelru.NewLRU[string, *githubAnswer](maxRemembered, nil)
	return &githubAnswers{now: now, lifetime: lifetime, users: users}, err
}

// of returns the answer about the user, with whose token of this version ask asks GitHub. It waits
// for an answer that another request is asking for. An answer is remembered if isAnswer says that
// its error, which may be nil, is one.
func (a *githubAnswers) of(
	ctx context.Context, userID, version string, ask func() error, isAnswer func(error) bool,
) error {
	known := a.find(userID)
	leave, err := known.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	// The wall clock, because the monotonic clock stands still while the machine is suspended. If
	// the wall clock was set back, what is remembered lasts no longer than it may.
	left := known.until.Sub(a.now().Round(0))
	if known.version == version && 0 < left && left <= a.lifetime {
		return known.err
	}
	err = ask()
	known.until = time.Time{}
	if isAnswer(err) {
		known.version, known.until, known.err = version, a.now().Round(0).Add(a.lifetime), err
	}
	return err
}

// enter waits until no other request asks about the user. The caller calls leave then.
func (a *githubAnswers) enter(ctx context.Context, userID string) (leave func(), err error) {
	return a.find(userID).enter(ctx)
}

func (a *githubAnswer) enter(ctx context.Context) (leave func(), err error) {
	select {
	case a.asking <- struct{}{}:
		return func() { <-a.asking }, nil
	case <-ctx.Done():
		return func() {}, fmt.Errorf("auth: waiting for GitHub's answer: %w", ctx.Err())
	}
}

func (a *githubAnswers) find(userID string) *githubAnswer {
	a.mu.Lock()
	defer a.mu.Unlock()
	known, ok := a.users.Get(userID)
	if !ok {
		known = &githubAnswer{asking: make(chan struct{}, 1)}
		a.users.Add(userID, known)
	}
	return known
}
