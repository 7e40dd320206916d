package sqlstore_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// crashes are the ways in which a driver can end a call without returning.
var crashes = map[string]func() error{
	"panic":  func() error { panic("oops") },
	"goexit": func() error { runtime.Goexit(); return nil },
}

// bounded is a call that must return before its context ends. Its error says so if it does not.
func bounded(do func(context.Context) error) func() error {
	return func() (err error) {
		ctx, cancel := context.WithTimeout(background, 20*time.Second)
		defer cancel()
		defer func() {
			if ctx.Err() != nil {
				err = fmt.Errorf("the call did not return in time: %w", err)
			} else if p := recover(); p != nil {
				err = nil
			}
		}()
		return do(ctx)
	}
}

// After a panic in a query, database/sql blocks Close of the connection forever. Neither the calls of the
// batch nor later calls may wait for it.
func TestADriverThatPanicsBlocksNoCall(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		for _, words := range []string{"FROM %susers", "FROM %saccess_keys", "INTO %ssessions", "COMMIT"} {
			t.Run(words, func(t *testing.T) {
				t.Parallel()
				s := newStage(t)
				if words != "COMMIT" {
					words = fmt.Sprintf(words, s.prefix)
				}
				in := func(session, user string) func() error {
					return bounded(func(ctx context.Context) error {
						return signInUnder(ctx, s.store, newSession(session, user, "k-"+user))()
					})
				}
				closed := s.spy.closedConns()
				errs := runBatch(t, s.spy, s.store, s.busySignIn(), once(words, crashes["panic"]),
					in("s-1", "ada"), in("s-2", "eve"), in("s-3", "eve"))
				for _, err := range errs {
					if words == "COMMIT" {
						require.ErrorContains(t, err, "may or may not have taken effect: panic: oops")
					} else {
						require.NoError(t, err)
					}
				}
				require.Eventually(t, func() bool { return s.sqlite() || s.spy.closedConns() > closed },
					time.Minute, time.Millisecond, "a connection to a server is discarded")
				require.NoError(t, in("s-4", "ada")())
				require.NoError(t, bounded(func(ctx context.Context) error {
					return s.store.RevokeToken(ctx, claimsOf(s.session(t, "s-4")))
				})())
			})
		}
	})
}

// A call that shares no transaction panics itself, and the next calls succeed.
func TestADriverThatPanicsInASingleCallBlocksNoLaterCall(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		for name, crash := range crashes {
			for _, words := range []string{"BEGIN", "START", "FOR UPDATE", "FROM", "INTO", "COMMIT"} {
				t.Run(name+" "+words, func(t *testing.T) {
					t.Parallel()
					s := newStage(t)
					revoke := bounded(func(ctx context.Context) error {
						return s.store.RevokeSession(ctx, byHost, "s-ada")
					})
					find := bounded(func(ctx context.Context) error {
						_, _, err := s.store.FindKey(ctx, "k-ada")
						return err
					})
					for _, do := range []func() error{revoke, find} {
						s.spy.watch(once(words, crash))
						ended := make(chan struct{})
						go func() {
							defer close(ended)
							_ = do()
						}()
						select {
						case <-ended:
						case <-time.After(time.Minute):
							require.FailNow(t, "the call does not end")
						}
					}
					s.spy.watch(nil)
					require.NoError(t, find())
					require.NoError(t, bounded(func(ctx context.Context) error {
						_, err := s.store.RevokeUserSessions(ctx, byHost, "ada")
						return err
					})())
					_, err := s.store.FindSession(background, "s-ada")
					require.ErrorIs(t, err, auth.ErrNotFound)
				})
			}
		}
	})
}
