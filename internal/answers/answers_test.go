package answers_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth/internal/answers"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

var (
	errNo      = errors.New("no")
	errFailure = errors.New("failure")
)

// isAnswer reports whether err is an answer. Every error except errFailure is an answer.
func isAnswer(err error) bool { return !errors.Is(err, errFailure) }

// fixture is a Memory with its clock and a count of the questions to the other service.
type fixture struct {
	*answers.Memory
	t     *testing.T
	now   time.Time
	asked int
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{t: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	f.Memory = answers.New(func() time.Time { return f.now }, time.Minute)
	return f
}

// require calls Ask for the user and the version of the user's credential. If Ask asks the other
// service, the service answers with the argument says. require checks the result of Ask, and how
// often Ask asks the service.
func (f *fixture) require(userID, version string, says, want error, asked int) {
	f.t.Helper()
	before := f.asked
	got := f.Ask(f.t.Context(), userID, version, func() error {
		f.asked++
		return says
	}, isAnswer)
	require.Equal(f.t, want, got)
	require.Equal(f.t, asked, f.asked-before, "questions")
}

func TestAnAnswerIsRememberedForItsLifetime(t *testing.T) {
	t.Parallel()
	for _, first := range []error{nil, errNo} {
		f := newFixture(t)
		second := errors.New("another answer")
		f.require("u", "v", first, first, 1)
		f.require("u", "v", second, first, 0)
		f.now = f.now.Add(time.Minute - 1)
		f.require("u", "v", second, first, 0)
		f.now = f.now.Add(1)
		f.require("u", "v", second, second, 1)
		f.require("u", "v", first, second, 0)
	}
}

func TestAFailureIsNotRemembered(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.require("u", "v", errFailure, errFailure, 1)
	f.require("u", "v", errFailure, errFailure, 1)
	f.require("u", "v", nil, nil, 1)
	f.require("u", "v", errFailure, nil, 0)
}

func TestAFailureAboutANewCredentialForgetsTheOldAnswer(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.require("u", "old", nil, nil, 1)
	f.require("u", "new", errFailure, errFailure, 1)
	f.require("u", "old", errNo, errNo, 1)
}

func TestAnswersAreAboutOneUserAndOneCredential(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.require("u", "v", errNo, errNo, 1)
	f.require("w", "v", nil, nil, 1)
	f.require("u", "v", nil, errNo, 0)
	f.require("u", "v2", nil, nil, 1)
	f.require("u", "v", errNo, errNo, 1)
}

// If the clock was a day ahead when the answer came, the answer must not be kept for a day longer.
func TestAClockThatIsSetBackKeepsNoAnswerLonger(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.require("u", "v", nil, nil, 1)
	f.now = f.now.Add(-time.Second)
	f.require("u", "v", errNo, errNo, 1)
}

// During a suspension, the monotonic clock stops. An answer must not be used for longer because of
// that.
func TestAnAnswerIsNotUsedAfterASuspendLongerThanItsLifetime(t *testing.T) {
	t.Parallel()
	for _, first := range []error{nil, errNo} {
		f := newFixture(t)
		f.now = time.Now() // with a monotonic reading
		second := errors.New("another answer")
		f.require("u", "v", first, first, 1)
		f.now = authtest.Suspended(f.now.Add(time.Second), 58)
		f.require("u", "v", second, first, 0)
		f.now = authtest.Suspended(f.now, 1)
		f.require("u", "v", second, second, 1)
		f.now = authtest.Suspended(f.now.Add(time.Second), 8*3600)
		f.require("u", "v", first, first, 1)
	}
}

func TestWithoutALifetimeNothingIsRemembered(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Memory = answers.New(func() time.Time { return f.now }, 0)
	f.require("u", "v", nil, nil, 1)
	f.require("u", "v", errNo, errNo, 1)
}

// The attack: an attacker with many accounts fills the memory.
func TestTheUserWhoWasAskedAboutLongestAgoIsForgotten(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i := range answers.MaxUsers {
		f.require(fmt.Sprint(i), "v", nil, nil, 1)
	}
	f.require("0", "v", errNo, nil, 0)
	f.require("one more", "v", nil, nil, 1)
	f.require("0", "v", errNo, nil, 0)
	f.require("1", "v", errNo, errNo, 1)
}

func TestOneRequestAtATimeAsksAboutAUser(t *testing.T) {
	t.Parallel()
	m := answers.New(time.Now, time.Minute)
	var asking, asked atomic.Int32
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			err := m.Ask(context.Background(), "u", "v", func() error {
				if asking.Add(1) > 1 {
					t.Error("two ask at once")
				}
				defer asking.Add(-1)
				if asked.Add(1) < 4 {
					return errFailure
				}
				return errNo
			}, isAnswer)
			if err == nil {
				t.Error("a yes from nowhere")
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 4, asked.Load(), "three failures and an answer")
}

func TestARequestWaitsWhileAnotherAsksAboutTheSameUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := answers.New(time.Now, time.Minute)
		leave, err := m.Enter(t.Context(), "u")
		require.NoError(t, err)

		other, err := m.Enter(t.Context(), "w") // for another user, so it does not wait
		require.NoError(t, err)
		other()

		var entered atomic.Int32
		go func() {
			if err := m.Ask(t.Context(), "u", "v", func() error { return nil }, isAnswer); err == nil {
				entered.Add(1)
			}
		}()
		go func() {
			if next, err := m.Enter(t.Context(), "u"); err == nil {
				entered.Add(1)
				next()
			}
		}()
		synctest.Wait()
		require.Zero(t, entered.Load())
		leave()
		synctest.Wait()
		require.EqualValues(t, 2, entered.Load())
	})
}

func TestARequestThatEndsWaitsNoLonger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := answers.New(time.Now, time.Minute)
		leave, err := m.Enter(t.Context(), "u")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()

		leaveToo, err := m.Enter(ctx, "u")
		require.EqualError(t, err, "auth: waiting for an answer: context deadline exceeded")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		leaveToo() // does nothing, because this Enter has failed
		err = m.Ask(ctx, "u", "v", func() error { panic("asked") }, isAnswer)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		leave()
		require.NoError(t, m.Ask(t.Context(), "u", "v", func() error { return nil }, isAnswer))
	})
}

func TestAPanicOfAskLeavesTheUserFree(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	require.Panics(t, func() {
		f.Ask(t.Context(), "u", "v", func() error { panic("a bug of the host") }, isAnswer)
	})
	f.require("u", "v", nil, nil, 1)
}
