package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

func TestSignInsThatArriveDuringABatchShareTheNext(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		for _, c := range []struct{ calls, commits int }{
			{1, 1}, {2, 1}, {8, 1}, {9, 1}, {64, 1}, {65, 2}, {129, 3},
		} {
			s := newStage(t)
			var calls []func() error
			for i := range c.calls {
				calls = append(calls, signIn(s.store, newSession(fmt.Sprint("n-", i), "ada", "k-ada"), 0))
			}
			require.NoError(t, errors.Join(runBatch(t, s.spy, s.store, s.busySignIn(), nil, calls...)...))
			require.Equal(t, c.commits, s.spy.count("COMMIT"), "%d calls", c.calls)
			for i := range c.calls {
				s.session(t, fmt.Sprint("n-", i))
			}
		}
	})
}

func TestKeysThatAreLookedUpDuringAReadShareTheNext(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		s := newStage(t)
		find := func(id, owner string, want error) func() error {
			return func() error {
				key, user, err := s.store.FindKey(background, id)
				if !errors.Is(err, want) || err == nil && (key.ID != id || user.ID != owner) {
					return fmt.Errorf("%s: %v, %v, %w", id, key, user, err)
				}
				return nil
			}
		}
		var readers []func() error
		for i := range 60 {
			readers = append(readers, []func() error{
				find("k-ada", "ada", nil), find("k-old", "ada", nil),
				find("K-ada", "", auth.ErrNotFound), find("k-eve", "eve", nil),
			}[i%4])
		}
		require.NoError(t, errors.Join(
			runReads(t, s.spy, s.store, find("k-eve", "eve", nil), readers...)...))
		require.LessOrEqual(t, s.spy.count("SELECT"), 2)
	})
}

func TestALeaderWhoseContextEndsCompletesTheBatch(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		for _, statement := range []string{"BEGIN", "START", "SELECT", "INSERT", "WITH", "COMMIT"} {
			s := newStage(t)
			ctx, cancel := context.WithCancel(background)
			defer cancel()
			errs := runBatch(t, s.spy, s.store, s.busySignIn(),
				once(statement, func() error { cancel(); return nil }),
				signInUnder(ctx, s.store, newSession("s-leader", "ada", "k-ada")),
				signIn(s.store, newSession("s-other", "eve", "k-eve"), 0))
			require.NoError(t, errors.Join(errs...), statement)
			s.session(t, "s-leader")
			s.session(t, "s-other")
			require.Equal(t, 1, s.spy.count("COMMIT"))
		}
	})
}

func TestACallThatIsCanceledWhileItWaitsChangesNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		s := newStage(t)
		ctx, cancel := context.WithCancel(background)
		calls, release := beginBatch(t, s.spy, s.store, s.busySignIn(), nil,
			signInUnder(ctx, s.store, newSession("s-first", "ada", "k-ada")),
			signIn(s.store, newSession("s-other", "ada", "k-ada"), 0),
			signInUnder(ctx, s.store, newSession("s-last", "ada", "k-ada")))
		cancel()
		for _, i := range []int{0, 2} {
			err := calls[i].wait(t)
			require.ErrorIs(t, err, context.Canceled)
			require.NotContains(t, err.Error(), "may or may not")
		}
		release()
		require.NoError(t, calls[1].wait(t))
		s.requireGone(t, "s-first", "s-last")
		s.session(t, "s-other")
	})
}

func TestACallThatIsCanceledDuringItsBatchReturnsAtOnce(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		s := newStage(t)
		ctx, cancel := context.WithCancel(background)
		h := newHeld()
		calls, release := beginBatch(t, s.spy, s.store, s.busySignIn(), h.first("COMMIT"),
			signIn(s.store, newSession("s-leader", "ada", "k-ada"), 0),
			signInUnder(ctx, s.store, newSession("s-canceled", "eve", "k-eve")))
		release()
		<-h.reached
		cancel()
		err := calls[1].wait(t)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, "may or may not have taken effect")
		requireNoAnswer(t, err)
		close(h.opened)
		require.NoError(t, calls[0].wait(t))
		s.session(t, "s-canceled")
		require.NoError(t, signIn(s.store, newSession("s-later", "eve", "k-eve"), 0)())
		require.Zero(t, s.store.Waiting())
	})
}

// The leader before has chosen the next one, whose context ends at the same moment.
func TestACanceledLeaderHandsOver(t *testing.T) {
	t.Parallel()
	for i := range 20 * rounds(t) {
		s := &stage{prefix: "auth_"}
		s.store, s.db, s.spy = spiedStore(t)
		ctx, cancel := context.WithCancel(background)
		calls, release := beginBatch(t, s.spy, s.store, s.busySignIn(), nil,
			signInUnder(ctx, s.store, newSession("s-next", "ada", "k-ada")),
			signInUnder(ctx, s.store, newSession("s-second", "ada", "k-ada")),
			signIn(s.store, newSession("s-other", "eve", "k-eve"), 0))
		if i%2 == 0 {
			go cancel()
			release()
		} else {
			go release()
			cancel()
		}
		for _, c := range calls[:2] {
			if err := c.wait(t); err != nil {
				require.ErrorIs(t, err, context.Canceled)
			}
		}
		require.NoError(t, calls[2].wait(t))
		require.NoError(t, s.db.Close())
	}
}

func TestEveryCallOfABatchHearsThatTheOutcomeIsUnknown(t *testing.T) {
	t.Parallel()
	broken := errors.New("no reply")
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		for name, c := range map[string]struct {
			commit error
			stored bool
		}{
			"not committed": {broken, false}, "committed": {afterwards(func() error { return broken }), true},
		} {
			s := newStage(t)
			fail := once("COMMIT", func() error { return c.commit })
			errs := runBatch(t, s.spy, s.store, s.busySignIn(), fail,
				signIn(s.store, newSession("s-1", "ada", "k-ada"), 0),
				signIn(s.store, newSession("s-2", "eve", "k-eve"), 0),
				signIn(s.store, newSession("s-3", "eve", "k-eve"), 0))
			for _, err := range errs {
				requireNoAnswer(t, err)
				require.ErrorContains(t, err, "may or may not have taken effect: no reply", name)
			}
			require.Equal(t, 1, s.spy.count("COMMIT"), "no call is tried again")
			for _, id := range []string{"s-1", "s-2", "s-3"} {
				_, err := s.store.FindSession(background, id)
				require.Equal(t, c.stored, err == nil, name)
			}
			require.NoError(t, signIn(s.store, newSession("s-4", "eve", "k-eve"), 0)())

			busy := s.busySignOutOf(t, "s-busy")
			errs = runBatch(t, s.spy, s.store, busy, once("COMMIT", func() error { return c.commit }),
				signOut(s.store, claimsOf(s.session(t, "s-ada"))),
				signOut(s.store, claimsOf(s.session(t, "s-eve"))))
			for _, err := range errs {
				require.ErrorContains(t, err, "may or may not have taken effect: no reply", name)
			}
			require.Equal(t, 1, s.spy.count("COMMIT"), "no call is tried again")
		}
	})
}

// A driver can end the goroutine of the leader, for example in a test of the host.
func TestTheOutcomeIsUnknownIfTheGoroutineOfTheLeaderEnds(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		s := newStage(t)
		calls, release := beginBatch(t, s.spy, s.store, s.busySignIn(),
			once("COMMIT", func() error { runtime.Goexit(); return nil }),
			signIn(s.store, newSession("s-leader", "ada", "k-ada"), 0),
			signIn(s.store, newSession("s-other", "eve", "k-eve"), 0))
		release()
		require.ErrorContains(t, calls[1].wait(t), "may or may not have taken effect")
		require.Equal(t, 1, s.spy.count("COMMIT"), "no call is tried again")
		require.NoError(t, begin(signIn(s.store, newSession("s-later", "eve", "k-eve"), 0)).wait(t))
	})
}

// Two leaders read at the same time. Neither may answer the call that the other one has chosen as the
// next leader.
func TestManyLookupsAtTheSameTimeEachGetOneAnswer(t *testing.T) {
	t.Parallel()
	store, _, _ := spiedStore(t)
	together(t, 12, func(int) error {
		for range 200 * rounds(t) {
			if key, _, err := store.FindKey(background, "k-ada"); err != nil || key.ID != "k-ada" {
				return fmt.Errorf("%q: %w", key.ID, err)
			}
		}
		return nil
	})
}

// busySignOutOf returns the revocation of the session, for beginBatch.
func (s *stage) busySignOutOf(t testing.TB, id string) func() error {
	return signOut(s.store, claimsOf(s.session(t, id)))
}
