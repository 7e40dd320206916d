//go:build linux

package sqlstore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

const (
	revocationInterval = time.Second // an instance's copy of the revocation feed is at most as old

	// rejectedWithin is how long after a revocation another instance may accept the token while the
	// database answers. An instance of the test reads the feed twice a second. The rest of the time is
	// for a busy machine: a request waits at most a second for a slow read.
	rejectedWithin = 5 * time.Second

	// callTimeout limits each call. A call that began before the end of an outage can fail until then.
	callTimeout = 10 * time.Second

	// recentSessions is from how many of its latest sessions a client chooses. It opens as many in about
	// the time in which another instance learns of a revocation.
	recentSessions = 100
)

// traffic is the calls of several clients to several instances, and what the calls acknowledged. The
// last instance only verifies tokens.
type traffic struct {
	instances []*instance
	writers   int // the number of the other instances
	clients   []*failoverClient
	stopped   chan struct{}
	ended     sync.WaitGroup

	// calls is locked for reading during each step of a client. So its writer knows that no call runs.
	calls sync.RWMutex

	mu         sync.Mutex
	violations []string
	failures   []failure // since the latest check
	accepted   []acceptance
	total      totals
}

// failure is a call that got 503.
type failure struct {
	by           *instance
	began, ended time.Time
}

// acceptance is a request in which another instance than the one that revoked the session accepted
// its token.
type acceptance struct {
	by             *instance
	revoked, began time.Time
}

// failoverClient makes one call after another. It makes each write on a random instance. All of its
// users, keys and sessions are its own, so no other client changes them.
type failoverClient struct {
	*traffic
	users, keys []string
	sessions    []*clientSession
	acked       []atomic.Int64 // successful writes, by the number of the instance
	failed      []atomic.Int64
}

// clientSession is a session that a sign-in acknowledged.
type clientSession struct {
	id, userID, token string
	state             sessionState
	by                int // the instance that revoked the session
	revoked           time.Time
}

type sessionState int

const (
	live    sessionState = iota
	unknown              // a call to revoke the session has failed
	revoked
)

// start starts the clients.
func (x *traffic) start(t *testing.T, clients int) {
	x.stopped = make(chan struct{})
	for range clients {
		c := &failoverClient{traffic: x, acked: make([]atomic.Int64, len(x.instances)),
			failed: make([]atomic.Int64, len(x.instances))}
		x.clients = append(x.clients, c)
		x.ended.Go(func() {
			for {
				select {
				case <-x.stopped:
					return
				default:
					c.step()
				}
			}
		})
	}
	t.Cleanup(x.halt)
}

// halt stops the clients, unless they were stopped before.
func (x *traffic) halt() {
	select {
	case <-x.stopped:
	default:
		close(x.stopped)
	}
	x.ended.Wait()
}

// stop stops the clients, and requires that no instance has ended.
func (x *traffic) stop(t *testing.T) {
	t.Helper()
	x.halt()
	for _, in := range x.instances {
		select {
		case err := <-in.ended:
			require.Fail(t, "Run has ended", "%s: %v", in.name, err)
		default:
		}
	}
	x.requireNoViolation(t)
}

// violate notes that the service has broken a promise.
func (x *traffic) violate(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.violations) < 20 {
		x.violations = append(x.violations, fmt.Sprintf(format, args...))
	}
}

func (x *traffic) violated() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.violations) > 0
}

func (x *traffic) requireNoViolation(t *testing.T) {
	t.Helper()
	x.mu.Lock()
	defer x.mu.Unlock()
	require.Empty(t, x.violations)
}

// waitForWrites waits until each client has made successful writes on each instance that it writes to.
func (x *traffic) waitForWrites(t *testing.T) {
	t.Helper()
	x.waitForMore(t, 10, func(c *failoverClient, in int) int64 { return c.acked[in].Load() })
}

// waitForFailures waits until each client has got a 503 from each instance that it writes to.
func (x *traffic) waitForFailures(t *testing.T) {
	t.Helper()
	x.waitForMore(t, 1, func(c *failoverClient, in int) int64 { return c.failed[in].Load() })
}

// waitForMore waits until a count of each client on each of these instances has grown by the number.
func (x *traffic) waitForMore(t *testing.T, by int64, count func(c *failoverClient, in int) int64) {
	t.Helper()
	enough := map[*failoverClient][]int64{}
	for _, c := range x.clients {
		for in := range x.writers {
			enough[c] = append(enough[c], count(c, in)+by)
		}
	}
	for c, counts := range enough {
		for in := range counts {
			require.Eventually(t, func() bool { return x.violated() || count(c, in) >= counts[in] },
				time.Minute, time.Millisecond)
		}
	}
	x.requireNoViolation(t)
}

// step uses tokens of earlier steps, and registers a user, issues an access key, opens three sessions
// and revokes two of them. If a call gets 503, the step ends.
func (c *failoverClient) step() {
	c.calls.RLock()
	defer c.calls.RUnlock()
	for range min(3, len(c.sessions)) {
		c.useEverywhere(c.sessions[len(c.sessions)-1-mathrand.IntN(min(len(c.sessions), recentSessions))])
	}
	var made auth.Registration
	var second auth.KeyPair
	if !c.write("register", func(ctx context.Context, in *instance) (err error) {
		made, err = in.svc.Register(ctx, byHost.By, auth.UserParams{Username: rand.Text()})
		return err
	}) {
		return
	}
	c.users, c.keys = append(c.users, made.User.ID), append(c.keys, made.Pair.AccessKey)
	if !c.write("issue a key", func(ctx context.Context, in *instance) (err error) {
		second, err = in.svc.Credentials().Issue(ctx, byHost.By, made.User.ID, auth.KeyOptions{})
		return err
	}) {
		return
	}
	c.keys = append(c.keys, second.AccessKey)
	first := c.signIn(made.Pair)
	other := c.signIn(second)
	if first == nil || other == nil {
		return
	}
	c.useEverywhere(first)
	c.useEverywhere(other)
	if !c.revoke("log out", c.logOut(first), first) ||
		!c.revoke("revoke the user", c.revokeUser(made.User.ID), other) {
		return
	}
	if last := c.signIn(second); last != nil {
		c.useEverywhere(last)
	}
}

// write calls the function do with a random instance that serves writes. It returns false if the call
// got 503.
func (c *failoverClient) write(what string, do func(context.Context, *instance) error) bool {
	_, ok := c.writeOn(mathrand.IntN(c.writers), what, do)
	return ok
}

// writeOn does the same as write with one instance. It also returns when the call ended.
func (c *failoverClient) writeOn(
	number int, what string, do func(context.Context, *instance) error,
) (time.Time, bool) {
	in := c.instances[number]
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	began := time.Now()
	err := do(ctx, in)
	ended := time.Now()
	if err == nil {
		c.acked[number].Add(1)
		return ended, true
	}
	if status, _ := auth.ErrorStatus(err); status != http.StatusServiceUnavailable {
		c.violate("%s on %s: %v", what, in.name, err)
	}
	c.noteFailure(number, began, ended)
	return ended, false
}

func (c *failoverClient) noteFailure(number int, began, ended time.Time) {
	c.failed[number].Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures = append(c.failures, failure{c.instances[number], began, ended})
}

// signIn opens a session, or returns nil if the call got 503.
func (c *failoverClient) signIn(pair auth.KeyPair) *clientSession {
	var token auth.Token
	if !c.write("sign in", func(ctx context.Context, in *instance) (err error) {
		token, err = in.svc.Login(ctx, pair, auth.LoginOptions{})
		return err
	}) {
		return nil
	}
	s := &clientSession{id: token.Session.ID, userID: token.User.ID, token: token.Bearer.Reveal()}
	c.sessions = append(c.sessions, s)
	c.count(func(n *totals) { n.signIns++ })
	return s
}

// revoke makes a call that revokes the session, and then uses the token everywhere. It returns false
// if the call got 503. Until the call has succeeded, the session may be live or revoked.
func (c *failoverClient) revoke(
	what string, call func(context.Context, *instance) error, s *clientSession,
) (ok bool) {
	s.state, s.by = unknown, mathrand.IntN(c.writers)
	if s.revoked, ok = c.writeOn(s.by, what, call); !ok {
		return false
	}
	s.state = revoked
	c.count(func(n *totals) { n.revocations++ })
	c.useEverywhere(s)
	return true
}

func (c *failoverClient) logOut(s *clientSession) func(context.Context, *instance) error {
	return func(ctx context.Context, in *instance) error {
		switch status := in.request(ctx, http.MethodPost, "/auth/logout", s.token); status {
		case http.StatusOK:
			return nil
		case http.StatusServiceUnavailable:
			return errors.New("the store is away")
		default:
			c.violate("log out on %s: %d for a live token", in.name, status)
			return errors.New("refused")
		}
	}
}

func (c *failoverClient) revokeUser(id string) func(context.Context, *instance) error {
	return func(ctx context.Context, in *instance) error {
		_, err := in.svc.Tokens().RevokeUser(ctx, byHost.By, id)
		return err
	}
}

// request makes a request with the token, and returns the status of the response.
func (in *instance) request(ctx context.Context, method, path, token string) int {
	r := httptest.NewRequest(method, path, nil).WithContext(ctx)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	in.handler.ServeHTTP(w, r)
	return w.Code
}

// useEverywhere makes a request with the token of the session to each instance.
func (c *failoverClient) useEverywhere(s *clientSession) {
	for number := range c.instances {
		c.use(number, s)
	}
}

// use makes a request with the token of the session to one instance.
func (c *failoverClient) use(number int, s *clientSession) {
	in := c.instances[number]
	began := time.Now()
	age, _ := in.svc.FeedAge()
	status := in.request(context.Background(), http.MethodGet, "/host", s.token)
	switch {
	case status == http.StatusServiceUnavailable:
		c.noteFailure(number, began, time.Now())
	case status == http.StatusNoContent && s.state == revoked && number == s.by:
		c.violate("%s accepts a token that it revoked %v ago", in.name, began.Sub(s.revoked))
	case status == http.StatusNoContent && s.state == revoked && began.Add(-age).After(s.revoked):
		c.violate("%s accepts a token that was revoked %v ago, although it has read the feed %v ago",
			in.name, began.Sub(s.revoked), age)
	case status == http.StatusNoContent && s.state == revoked:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.accepted = append(c.accepted, acceptance{in, s.revoked, began})
	case status == http.StatusNoContent, status == http.StatusUnauthorized && s.state != live:
		c.count(func(n *totals) { n.answers++ })
	default:
		c.violate("%s answers %d to the token of a session in state %d", in.name, status, s.state)
	}
}

func (c *failoverClient) count(add func(*totals)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	add(&c.total)
}
