package throttle_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/outage"
	"github.com/sallyport-go/auth/internal/throttle"
	"github.com/sallyport-go/auth/limit"
	"github.com/stretchr/testify/require"
)

var errAway = errors.New("the server is away")

// several is a list of rates. The one in the middle has the longest period.
var several = []limit.Rate{
	{Count: 1, Per: time.Minute}, {Count: 2, Per: time.Hour}, {Count: 3, Per: time.Second},
}

// The limiter returns a wait of a day once, by mistake. Its next answers are right again.
func TestABarLastsAMinuteAtMost(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{})
	client := at("203.0.113.7")
	f.limiter.answer = func() (time.Duration, error) { return day, nil }
	requireExceeded(t, f.CountSlowAttempt(t.Context(), client, "alice"), "slow attempts", day)
	requireExceeded(t, f.CheckSlowAttempt(client, "alice"), "slow attempts", time.Minute)
	requireExceeded(t, f.CountFailure(t.Context(), client), "sign-in failures", day)
	requireExceeded(t, f.CheckSlowAttempt(client, "bob"), "sign-in failures", time.Minute)
	f.now = f.now.Add(time.Minute)
	require.NoError(t, f.CheckSlowAttempt(client, "alice"))
}

// The attack: attempts with junk names fill the memory of an instance.
func TestBarsAreBoundedAndTheOldestGoesFirst(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{})
	client := at("203.0.113.7")
	f.limiter.answer = func() (time.Duration, error) { return time.Minute, nil }
	for i := range 4097 {
		require.Error(t, f.CountSlowAttempt(t.Context(), client, fmt.Sprint("junk-", i)))
	}
	require.NoError(t, f.CheckSlowAttempt(client, "junk-0"))
	require.Error(t, f.CheckSlowAttempt(client, "junk-1"))
	require.Error(t, f.CheckSlowAttempt(client, "junk-4096"))
}

func TestIfTheLimiterFailsAttemptsAreCountedInMemory(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		answer func() (time.Duration, error)
		log    string
	}{
		{"error", func() (time.Duration, error) { return time.Second, errAway },
			`level=WARN msg="auth: the limiter fails, so this instance counts attempts for itself" error="the server is away"`},
		{"panic", func() (time.Duration, error) { panic("a bug") },
			`counts attempts for itself" error="auth: Limiter.Take panicked: a bug"`},
		{"wait longer than each period", func() (time.Duration, error) { return time.Hour + 1, nil },
			`counts attempts for itself" error="Limiter.Take returned a wait of 1h0m0.000000001s, which is ` +
				`longer than each period of the rates"`},
		{"longest wait", func() (time.Duration, error) { return math.MaxInt64, nil },
			"counts attempts for itself"},
		{"negative wait", func() (time.Duration, error) { return -time.Second, nil }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, throttle.Limits{Flood: several, Failures: several, SlowAttempts: several})
			f.limiter.answer = test.answer
			client := at("203.0.113.7")
			for _, count := range counts {
				f.log.Reset()
				require.NoError(t, count(f, t.Context(), client))
				if test.log != "" {
					exceeded := new(throttle.ExceededError)
					require.ErrorAs(t, count(f, t.Context(), client), &exceeded, "a second one in a minute")
					require.LessOrEqual(t, exceeded.RetryAfter, time.Minute)
				}
				f.now = f.now.Add(outage.Interval) // so that the next failure gets a line, too
				if test.log == "" {
					require.Empty(t, f.log.String())
				}
				require.Contains(t, f.log.String(), test.log)
			}
			f.now = f.now.Add(time.Minute)
			require.NoError(t, f.CheckSlowAttempt(client, "key"), "no bar")
			_, err := f.BeginGitHub(t.Context(), client)
			require.NoError(t, err, "no bar")
		})
	}
}

// The attack: a user makes the limiter fail, for example by a flood of calls, and guesses short codes.
func TestShortCodesCannotBeGuessedWhileTheLimiterFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{})
	f.limiter.answer = func() (time.Duration, error) { return 0, errAway }
	requireAllowed(t, 10, func() error { return f.CountDeviceGuess(t.Context(), "mallory") })
}

func TestASignInResetsTheCountInMemoryWhileTheLimiterFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{})
	f.limiter.answer = func() (time.Duration, error) { return 0, errAway }
	client := at("203.0.113.7")
	attempt := func() error { return f.CountSlowAttempt(t.Context(), client, "alice") }
	requireAllowed(t, 5, attempt)
	f.ForgetSlowAttempts(t.Context(), client, "alice")
	requireAllowed(t, 5, attempt)
}

func TestAWaitOfTheLongestPeriodIsBelieved(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{Failures: several})
	f.limiter.answer = func() (time.Duration, error) { return time.Hour, nil }
	requireExceeded(t, f.CountFailure(t.Context(), at("203.0.113.7")), "sign-in failures", time.Hour)
}

func TestALimiterThatDoesNotResetACountIsLogged(t *testing.T) {
	t.Parallel()
	for text, answer := range map[string]func() (time.Duration, error){
		`error="the server is away"`:                  func() (time.Duration, error) { return 0, errAway },
		`error="auth: Limiter.Reset panicked: a bug"`: func() (time.Duration, error) { panic("a bug") },
	} {
		f := newFixture(t, throttle.Limits{})
		f.limiter.answer = answer
		f.ForgetSlowAttempts(t.Context(), at("203.0.113.7"), "key")
		require.Contains(t, f.log.String(), `auth: the limiter fails, so earlier attempts still count" `+text)
	}
}

// While the limiter does not answer, each attempt calls the limiter. The log must not have a line for
// each attempt.
func TestAnOutageOfTheLimiterGetsFewLines(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{})
	f.limiter.answer = func() (time.Duration, error) { return 0, errAway }
	client := at("203.0.113.7")
	for range 90 {
		require.NoError(t, f.CountAttempt(t.Context(), client))
		require.NoError(t, f.CountAttempt(t.Context(), client))
		f.now = f.now.Add(time.Second)
	}
	require.Equal(t, 3, strings.Count(f.log.String(), "level=WARN"))
	f.limiter.answer = func() (time.Duration, error) { return 0, nil }
	require.NoError(t, f.CountAttempt(t.Context(), client))
	require.Contains(t, f.log.String(), `msg="auth: the limiter answers again" failed_calls=180 lasted=1m30s`)
}

// The attack: a client makes all its guesses at the same time.
func TestConcurrentSlowAttemptsAreNoMoreThanAllowed(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{})
	client := at("203.0.113.7")
	var allowed atomic.Int32
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if f.CheckSlowAttempt(client, "key") == nil &&
				f.CountSlowAttempt(t.Context(), client, "key") == nil {
				allowed.Add(1)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 5, allowed.Load())
}
