package throttle_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/throttle"
	"github.com/sallyport-go/auth/limit"
	"github.com/stretchr/testify/require"
)

// begin begins a sign-in with GitHub, which must be allowed.
func (f *fixture) begin(t testing.TB) *throttle.GitHubAttempt {
	t.Helper()
	attempt, err := f.BeginGitHub(t.Context(), at("203.0.113.7"))
	require.NoError(t, err)
	require.NotNil(t, attempt)
	return attempt
}

// requireRejected fails the test unless a sign-in with GitHub is rejected with this wait.
func (f *fixture) requireRejected(t testing.TB, wait time.Duration) {
	t.Helper()
	attempt, err := f.BeginGitHub(t.Context(), at("203.0.113.7"))
	requireExceeded(t, err, "GitHub sign-ins", wait)
	require.Nil(t, attempt)
}

func TestFailedGitHubSignInsUseUpTheLimit(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{Failures: rates(3, time.Minute)})
	for range 3 {
		f.begin(t).End(true)
	}
	f.requireRejected(t, 20*time.Second)
	_, err := f.BeginGitHub(t.Context(), at("203.0.113.8"))
	require.NoError(t, err, "another address")
	f.now = f.now.Add(20 * time.Second)
	f.begin(t).End(true)
	f.requireRejected(t, 20*time.Second)
}

func TestGitHubSignInsThatDoNotFailUseUpNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{Failures: rates(3, time.Hour)})
	for range 100 {
		f.begin(t).End(false)
	}
	require.Len(t, f.limiter.takes, 1)
	for range 3 {
		f.begin(t).End(true)
	}
	f.requireRejected(t, 20*time.Minute)
}

func TestASpareAttemptIsUsedOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{Failures: rates(3, time.Hour)})
	open := []*throttle.GitHubAttempt{f.begin(t), f.begin(t), f.begin(t)}
	open[0].End(false)
	open[1].End(false)
	open[2].End(true)
	f.begin(t).End(true)
	f.begin(t).End(true)
	f.requireRejected(t, 20*time.Minute)
}

// The attack: a client collects spare attempts with sign-ins that do not fail, and uses them a day
// later for sign-ins that fail.
func TestASpareAttemptLastsAMinute(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		after  time.Duration
		counts int
	}{{time.Minute - 1, 1}, {time.Minute, 2}} {
		f := newFixture(t, throttle.Limits{Failures: rates(3, time.Hour)})
		f.begin(t).End(false)
		f.now = f.now.Add(test.after)
		f.begin(t).End(true)
		require.Len(t, f.limiter.takes, test.counts, test.after)
	}
}

func TestASpareAttemptThatHasExpiredDoesNotComeBackWithANewOne(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{Failures: rates(10, time.Hour)})
	old := []*throttle.GitHubAttempt{f.begin(t), f.begin(t), f.begin(t)}
	old[0].End(false)
	old[1].End(false)
	f.now = f.now.Add(time.Minute)
	old[2].End(false)
	asked := len(f.limiter.takes)
	f.begin(t).End(true)
	require.Len(t, f.limiter.takes, asked)
	f.begin(t).End(true)
	require.Len(t, f.limiter.takes, asked+1)
}

// The attack: a client collects spare attempts with many sign-ins at once, and uses them for as
// many sign-ins that fail.
func TestSpareAttemptsAreNoMoreThanTheSmallestRate(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{Failures: []limit.Rate{
		{Count: 100, Per: time.Hour}, {Count: 2, Per: time.Millisecond}, {Count: 50, Per: time.Minute},
	}})
	var open []*throttle.GitHubAttempt
	for range 10 {
		open = append(open, f.begin(t))
		f.now = f.now.Add(time.Millisecond)
	}
	for _, attempt := range open {
		attempt.End(false)
	}
	asked := len(f.limiter.takes)
	for range 2 {
		f.begin(t).End(true)
	}
	require.Len(t, f.limiter.takes, asked)
	f.begin(t).End(true)
	require.Len(t, f.limiter.takes, asked+1)
}

// Many people who share one address sign in at the same time.
func TestTwiceAsManyGitHubSignInsGoBeyondTheLimitWhileCountedOnesLast(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{Failures: rates(2, time.Minute)})
	counted := []*throttle.GitHubAttempt{f.begin(t), f.begin(t)}
	extra := []*throttle.GitHubAttempt{f.begin(t), f.begin(t), f.begin(t), f.begin(t)}
	f.requireRejected(t, 30*time.Second)

	extra[0].End(false)
	extra[0] = f.begin(t) // allowed, because one extra sign-in has ended
	f.requireRejected(t, 30*time.Second)

	counted[0].End(true)
	extra[0].End(false)
	extra[1].End(false)
	f.requireRejected(t, 30*time.Second) // one counted and two extra sign-ins have not ended
	extra[2].End(false)
	extra[2] = f.begin(t)
	counted[1].End(true)
	extra[2].End(false)
	extra[3].End(false)
	f.requireRejected(t, 30*time.Second) // all have ended
}

func TestAGitHubSignInBeyondTheLimitLeavesNoSpareAttempt(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{Failures: rates(1, time.Minute)})
	counted, extra := f.begin(t), f.begin(t)
	extra.End(false)
	counted.End(true)
	f.requireRejected(t, time.Minute)
}

// The attack: a client makes guesses beyond the limit while it holds counted sign-ins open.
func TestTheFirstFailureBeyondTheLimitBarsTheClient(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{Failures: rates(2, time.Minute)})
	held := []*throttle.GitHubAttempt{f.begin(t), f.begin(t)}
	f.begin(t).End(true)
	asked := len(f.limiter.takes)
	f.requireRejected(t, 30*time.Second)
	held[0].End(false)
	f.requireRejected(t, 30*time.Second) // rejected although there is a spare attempt
	require.Len(t, f.limiter.takes, asked)
	f.now = f.now.Add(30*time.Second - 1)
	f.requireRejected(t, 1)
	f.now = f.now.Add(1)
	f.begin(t)
}

func TestABarOfGitHubSignInsLastsAMinuteAtMost(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{Failures: rates(1, time.Hour)})
	held := f.begin(t)
	f.begin(t).End(true)
	f.requireRejected(t, time.Minute)
	held.End(true)
	f.now = f.now.Add(time.Minute)
	f.requireRejected(t, 59*time.Minute) // the limiter is asked again
}

// The attack: sign-ins from many addresses fill the memory of an instance.
func TestGitHubSignInsThatHaveEndedAreForgotten(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{Failures: rates(1, time.Minute)})
	counted, extra := f.begin(t), f.begin(t)
	other, err := f.BeginGitHub(t.Context(), at("203.0.113.8"))
	require.NoError(t, err)
	require.Equal(t, 2, f.PendingGitHub())
	other.End(true)
	counted.End(false)
	require.Equal(t, 1, f.PendingGitHub())
	extra.End(true)
	require.Zero(t, f.PendingGitHub())
}

func TestFailuresOfCountedGitHubSignInsBarNobody(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{Failures: rates(3, time.Hour)})
	f.begin(t)
	f.begin(t).End(true)
	f.begin(t).End(true)
	extra := f.begin(t)
	extra.End(false)
	f.begin(t)
}

func TestConcurrentGitHubSignInsAreAtMostThreeTimesTheLimit(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{})
	var allowed atomic.Int32
	attempts := make(chan *throttle.GitHubAttempt, 200)
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			if attempt, err := f.BeginGitHub(t.Context(), at("203.0.113.7")); err == nil {
				allowed.Add(1)
				attempts <- attempt
			}
		})
	}
	all.Wait()
	close(attempts)
	require.LessOrEqual(t, allowed.Load(), int32(60))
	require.GreaterOrEqual(t, allowed.Load(), int32(20))
	for attempt := range attempts {
		all.Go(func() { attempt.End(false) })
	}
	all.Wait()
	for range 20 { // 20 sign-ins did not fail, so there are 20 spare attempts
		f.begin(t).End(true)
	}
	f.requireRejected(t, 3*time.Second)
}
