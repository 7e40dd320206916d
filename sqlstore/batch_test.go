package sqlstore_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// batchStore is the part of a store that a batch needs. Each Store and each Accounts has it.
type batchStore interface {
	auth.SessionStore
	Waiting() int
}

// hook is a function for [spy.watch].
type hook = func(context.Context, string) error

// held is a statement that does not run before the test opens it.
type held struct{ reached, opened chan struct{} }

func newHeld() held { return held{make(chan struct{}), make(chan struct{})} }

// first returns a hook that holds the first statement with the given beginning.
func (h held) first(beginning string) hook {
	var once sync.Once
	return func(_ context.Context, statement string) error {
		if strings.HasPrefix(statement, beginning) {
			once.Do(func() {
				close(h.reached)
				<-h.opened
			})
		}
		return nil
	}
}

// once returns a hook that calls do at the first statement that contains the words.
func once(words string, do func() error) hook {
	var done atomic.Bool
	return func(_ context.Context, statement string) error {
		if strings.Contains(" "+statement+" ", " "+words+" ") && done.CompareAndSwap(false, true) {
			return do()
		}
		return nil
	}
}

// call is a call of the store that runs in its own goroutine.
type call struct{ err chan error }

func begin(do func() error) call {
	c := call{make(chan error, 1)}
	go func() { c.err <- do() }()
	return c
}

// wait returns the error of the call. The test fails if the call does not return.
func (c call) wait(t testing.TB) error {
	t.Helper()
	select {
	case err := <-c.err:
		return err
	case <-time.After(time.Minute):
		require.FailNow(t, "the call does not return")
		return nil
	}
}

func waitAll(t testing.TB, calls []call) (errs []error) {
	t.Helper()
	for _, c := range calls {
		errs = append(errs, c.wait(t))
	}
	return errs
}

// beginBatch begins the calls, which then wait until release is called. So they run in one batch, if
// they are not too many. The spy calls the hook with the statements of the batch. The hook may be nil.
//
// The calls wait because the function busy is a call of the same verb, whose COMMIT is held.
func beginBatch(
	t testing.TB, s *spy, store batchStore, busy func() error, before hook, calls ...func() error,
) (begun []call, release func()) {
	t.Helper()
	h := newHeld()
	s.watch(h.first("COMMIT"))
	leader := begin(busy)
	<-h.reached
	for i, do := range calls {
		begun = append(begun, begin(do))
		waitFor(t, store, i+1) // the order of the calls is certain
	}
	s.watch(before)
	return begun, func() {
		close(h.opened)
		require.NoError(t, leader.wait(t))
	}
}

func waitFor(t testing.TB, store batchStore, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return store.Waiting() == n }, time.Minute, 100*time.Microsecond)
}

// runBatch runs the calls in one batch, and returns their errors.
func runBatch(
	t testing.TB, s *spy, store batchStore, busy func() error, before hook, calls ...func() error,
) []error {
	t.Helper()
	begun, release := beginBatch(t, s, store, busy, before, calls...)
	release()
	return waitAll(t, begun)
}

// runReads is like runBatch, for lookups of keys. Two batches of lookups can run at the same time, so
// it holds two calls of busy. It returns the errors of all calls.
func runReads(t testing.TB, s *spy, store batchStore, busy func() error, calls ...func() error) []error {
	t.Helper()
	var begun []call
	var opened []chan struct{}
	for range 2 {
		h := newHeld()
		s.watch(h.first("SELECT"))
		begun, opened = append(begun, begin(busy)), append(opened, h.opened)
		<-h.reached
	}
	for i, do := range calls {
		begun = append(begun, begin(do))
		waitFor(t, store, i+1)
	}
	s.watch(nil)
	for _, c := range opened {
		close(c)
	}
	return waitAll(t, begun)
}

var background = context.Background()

func signIn(store auth.SessionStore, session auth.Session, limit int) func() error {
	return func() error { _, _, err := store.CreateSession(background, session, limit); return err }
}

func signInUnder(ctx context.Context, store auth.SessionStore, session auth.Session) func() error {
	return func() error { _, _, err := store.CreateSession(ctx, session, 0); return err }
}

func claimsOf(s auth.Session) auth.SessionClaims {
	return auth.SessionClaims{UserID: s.UserID, SessionID: s.ID, Generation: s.Generation,
		ExpiresAt: s.ExpiresAt}
}

func signOut(store auth.SessionStore, claims auth.SessionClaims) func() error {
	return func() error { return store.RevokeToken(background, claims) }
}

// busySignIn is a sign-in of "eve", for beginBatch.
func (s *stage) busySignIn() func() error {
	return signIn(s.store, newSession("s-busy", "eve", "k-eve"), 0)
}

// busySignOut adds a session of "eve", and returns its revocation for beginBatch.
func (s *stage) busySignOut(t testing.TB) func() error {
	return signOut(s.store, claimsOf(s.open(t, newSession("s-busy", "eve", "k-eve"))))
}

func (s *stage) open(t testing.TB, session auth.Session) auth.Session {
	t.Helper()
	stored, _, err := s.store.CreateSession(background, session, 0)
	require.NoError(t, err)
	return stored
}

func (s *stage) session(t testing.TB, id string) auth.Session {
	t.Helper()
	session, err := s.store.FindSession(background, id)
	require.NoError(t, err, id)
	return session
}

func (s *stage) requireGone(t testing.TB, ids ...string) {
	t.Helper()
	for _, id := range ids {
		_, err := s.store.FindSession(background, id)
		require.ErrorIs(t, err, auth.ErrNotFound, id)
	}
}

// named returns the sessions that entries in force revoke one by one.
func (s *stage) named(t testing.TB) (ids []string) {
	t.Helper()
	feed, err := s.store.ListRevocations(background, 1, 1000)
	require.NoError(t, err)
	for _, e := range feed {
		if e.SessionID != "" && !e.ExpiresAt.IsZero() {
			ids = append(ids, e.SessionID)
		}
	}
	return ids
}

// exec changes a table directly. The name of the table follows "$".
func (s *stage) exec(t testing.TB, statement string) {
	t.Helper()
	_, err := s.db.Exec(strings.ReplaceAll(statement, "$", s.prefix))
	require.NoError(t, err)
}

func (s *stage) register(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		require.NoError(t, s.store.Register(background, byHost, newUser(name), newKey("k-"+name, name)))
	}
}
