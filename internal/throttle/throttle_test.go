package throttle_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/throttle"
	"github.com/sallyport-go/auth/limit"
	"github.com/stretchr/testify/require"
)

const day = 24 * time.Hour

func TestAThrottleThatIsOffAllowsEverything(t *testing.T) {
	t.Parallel()
	bad := rates(-1, 0)
	off := newThrottle(t, throttle.Limits{Off: true, Flood: bad}, namespace, time.Now, slog.Default())
	require.Nil(t, off)
	ctx, client := t.Context(), at("203.0.113.7")
	for range 100 {
		require.NoError(t, off.CountAttempt(ctx, client))
		require.NoError(t, off.CheckSlowAttempt(client, "key"))
		require.NoError(t, off.CountSlowAttempt(ctx, client, "key"))
		require.NoError(t, off.CountFailure(ctx, client))
		require.NoError(t, off.CountForgedCallback(ctx, client))
		off.ForgetSlowAttempts(ctx, client, "key")
		attempt, err := off.BeginGitHub(ctx, client)
		require.NoError(t, err)
		attempt.End(true)
	}
}

func TestNewRejectsRatesThatNoLimiterCanEnforce(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rate limit.Rate
		good bool
	}{
		{limit.Rate{}, false},
		{limit.Rate{Count: 1}, false},
		{limit.Rate{Per: time.Hour}, false},
		{limit.Rate{Count: -1, Per: time.Hour}, false},
		{limit.Rate{Count: 1, Per: -time.Hour}, false},
		{limit.Rate{Count: 1, Per: time.Millisecond - 1}, false},
		{limit.Rate{Count: 1, Per: 30*day + 1}, false},
		{limit.Rate{Count: 1, Per: time.Millisecond}, true},
		{limit.Rate{Count: math.MaxInt, Per: 30 * day}, true},
	} {
		list := []limit.Rate{{Count: 1, Per: time.Hour}, test.rate}
		for _, limits := range []throttle.Limits{{Failures: list}, {SlowAttempts: list}, {Flood: list}} {
			th, err := throttle.New(limits, namespace, time.Now, slog.Default())
			if test.good {
				require.NoError(t, err, test.rate)
				continue
			}
			require.Nil(t, th)
			require.EqualError(t, err,
				"a limit.Rate must have a Count of one or more and a Per from a millisecond to 30 days")
		}
	}
}

func TestDefaultsOfEachLimit(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{})
	ctx, client := t.Context(), at("203.0.113.7")
	require.NoError(t, f.CountAttempt(ctx, client))
	require.Equal(t, rates(60_000, time.Minute), f.limiter.last().rates)
	failures := []limit.Rate{
		{Count: 20, Per: time.Minute}, {Count: 100, Per: time.Hour}, {Count: 500, Per: day},
	}
	require.NoError(t, f.CountFailure(ctx, client))
	require.Equal(t, failures, f.limiter.last().rates)
	require.NoError(t, f.CountForgedCallback(ctx, client))
	require.Equal(t, failures, f.limiter.last().rates)
	_, err := f.BeginGitHub(ctx, client)
	require.NoError(t, err)
	require.Equal(t, failures, f.limiter.last().rates)
	require.NoError(t, f.CountSlowAttempt(ctx, client, "key"))
	require.Equal(t, []limit.Rate{
		{Count: 5, Per: time.Minute}, {Count: 20, Per: time.Hour}, {Count: 50, Per: day},
	}, f.limiter.last().rates)
}

func TestTheDefaultLimiterCountsInMemory(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	th := newThrottle(t, throttle.Limits{}, namespace, func() time.Time { return now }, slog.Default())
	fail := func() error { return th.CountFailure(t.Context(), at("203.0.113.7")) }
	requireAllowed(t, 20, fail)
	now = now.Add(time.Minute)
	requireAllowed(t, 20, fail)
}

func TestAFloodIsCountedByAddressOrElseByPeer(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{Flood: rates(10, time.Minute)})
	attempt := func(client throttle.Client) func() error {
		return func() error { return f.CountAttempt(t.Context(), client) }
	}
	requireAllowed(t, 10, attempt(at("203.0.113.7")))
	requireAllowed(t, 10, attempt(at("203.0.113.8")))
	requireExceeded(t, attempt(at("203.0.113.7"))(), "flood", 6*time.Second)

	// The attack: a client sends a header that makes its address unknown, to get a second limit.
	requireExceeded(t, attempt(behind("203.0.113.7"))(), "flood", 6*time.Second)
	requireAllowed(t, 10, attempt(behind("203.0.113.9")))

	known := at("203.0.113.10")
	known.Peer = behind("203.0.113.7").Peer
	requireAllowed(t, 10, attempt(known))

	f.now = f.now.Add(6 * time.Second)
	requireAllowed(t, 1, attempt(at("203.0.113.7")))
}

func TestAClientWithoutAddressAndPeerIsNoFlood(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{Flood: rates(1, time.Minute)})
	for range 10 {
		require.NoError(t, f.CountAttempt(t.Context(), throttle.Client{}))
	}
	require.Empty(t, f.limiter.takes)
}

// counts has a method for each kind of count.
var counts = map[string]func(*fixture, context.Context, throttle.Client) error{
	"flood":            (*fixture).CountAttempt,
	"sign-in failures": (*fixture).CountFailure,
	"GitHub failures":  (*fixture).CountForgedCallback,
	"GitHub sign-ins": func(f *fixture, ctx context.Context, client throttle.Client) error {
		attempt, err := f.BeginGitHub(ctx, client)
		attempt.End(true)
		return err
	},
	"slow attempts": func(f *fixture, ctx context.Context, client throttle.Client) error {
		return f.CountSlowAttempt(ctx, client, "key")
	},
}

func TestAnIPv6NetworkIsOneClientAndAnIPv4AddressIsItself(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		first, second string
		same          bool
	}{
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"203.0.113.7", "203.0.113.7", true},
		{"203.0.113.7", "::ffff:203.0.113.7", true},
		{"::ffff:203.0.113.7", "::ffff:203.0.113.8", false},
		{"203.0.113.7", "203.0.113.8", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
	} {
		for kind, count := range counts {
			once := rates(1, time.Minute)
			f := newFixture(t, throttle.Limits{Flood: once, Failures: once, SlowAttempts: once})
			require.NoError(t, count(f, t.Context(), at(test.first)))
			err := count(f, t.Context(), at(test.second))
			if test.same {
				requireExceeded(t, err, kind, time.Minute)
			} else {
				require.NoError(t, err, "%s: %v", kind, test)
			}
		}
	}
}

func TestEveryKindHasACountOfItsOwn(t *testing.T) {
	t.Parallel()
	same := rates(3, time.Minute)
	f := newFixture(t, throttle.Limits{Flood: same, Failures: same, SlowAttempts: same})
	for _, count := range counts {
		requireAllowed(t, 3, func() error { return count(f, t.Context(), at("203.0.113.7")) })
	}
}

func TestUnknownAddressesHaveALargerBudgetTogether(t *testing.T) {
	t.Parallel()
	for kind, factor := range map[string]int{
		"sign-in failures": 50, "GitHub failures": 50, "GitHub sign-ins": 50, "slow attempts": 200,
	} {
		twice := rates(2, time.Hour)
		f := newFixture(t, throttle.Limits{Failures: twice, SlowAttempts: twice})
		i := 0
		unknown := func() error { // each call has another peer, or none
			i++
			if i%2 == 0 {
				return counts[kind](f, t.Context(), throttle.Client{})
			}
			return counts[kind](f, t.Context(), behind(fmt.Sprintf("203.0.113.%d", i%250)))
		}
		requireAllowed(t, 2*factor, unknown)
		requireExceeded(t, unknown(), kind, time.Hour/time.Duration(2*factor))
		requireAllowed(t, 2, func() error { return counts[kind](f, t.Context(), at("203.0.113.7")) })
	}
}

func TestTheLargerBudgetDoesNotOverflow(t *testing.T) {
	t.Parallel()
	most := []limit.Rate{{Count: math.MaxInt, Per: time.Hour}, {Count: 1, Per: time.Minute}}
	f := newFixture(t, throttle.Limits{Failures: most, SlowAttempts: most})
	require.NoError(t, f.CountFailure(t.Context(), throttle.Client{}))
	require.Equal(t, []limit.Rate{
		{Count: 2_147_483_600, Per: time.Hour}, {Count: 50, Per: time.Minute},
	}, f.limiter.last().rates)
	require.NoError(t, f.CountSlowAttempt(t.Context(), throttle.Client{}, "key"))
	require.Equal(t, []limit.Rate{
		{Count: 2_147_483_600, Per: time.Hour}, {Count: 200, Per: time.Minute},
	}, f.limiter.last().rates)
	require.NoError(t, f.CountFailure(t.Context(), at("203.0.113.7")))
	require.Equal(t, most, f.limiter.last().rates, "the rates of one client are as they were")
}

func TestSlowAttemptsAreCountedByAddressAndKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{SlowAttempts: rates(5, time.Minute)})
	try := func(address, key string) func() error {
		return func() error { return f.CountSlowAttempt(t.Context(), at(address), key) }
	}
	requireAllowed(t, 5, try("203.0.113.7", "alice"))
	requireAllowed(t, 5, try("203.0.113.7", "bob"))
	requireAllowed(t, 5, try("203.0.113.8", "alice"))
	requireExceeded(t, try("203.0.113.7", "alice")(), "slow attempts", 12*time.Second)
	f.now = f.now.Add(12 * time.Second)
	requireAllowed(t, 1, try("203.0.113.7", "alice"))
}

func TestASlowAttemptThatIsRejectedIsCheckedWithoutTheLimiter(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{SlowAttempts: rates(5, time.Minute)})
	client := at("203.0.113.7")
	for range 5 {
		require.NoError(t, f.CheckSlowAttempt(client, "alice"))
		require.NoError(t, f.CountSlowAttempt(t.Context(), client, "alice"))
	}
	require.NoError(t, f.CheckSlowAttempt(client, "alice"), "the limiter has not rejected one yet")
	err := f.CountSlowAttempt(t.Context(), client, "alice")
	requireExceeded(t, err, "slow attempts", 12*time.Second)

	asked := len(f.limiter.takes)
	f.now = f.now.Add(5 * time.Second)
	requireExceeded(t, f.CheckSlowAttempt(client, "alice"), "slow attempts", 7*time.Second)
	require.NoError(t, f.CheckSlowAttempt(client, "bob"))
	require.NoError(t, f.CheckSlowAttempt(at("203.0.113.8"), "alice"))
	require.NoError(t, f.CheckSlowAttempt(throttle.Client{}, "alice"))
	f.now = f.now.Add(7*time.Second - 1)
	requireExceeded(t, f.CheckSlowAttempt(client, "alice"), "slow attempts", 1)
	f.now = f.now.Add(1)
	require.NoError(t, f.CheckSlowAttempt(client, "alice"))
	require.Len(t, f.limiter.takes, asked)
}

func TestTooManyFailuresRejectSlowAttemptsOnEveryKey(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		client   throttle.Client
		failures int
		wait     time.Duration
	}{
		{at("2001:db8:1:2::7"), 1, time.Minute},
		{behind("203.0.113.7"), 50, time.Minute / 50},
	} {
		f := newFixture(t, throttle.Limits{Failures: rates(1, time.Minute)})
		requireAllowed(t, test.failures, func() error {
			require.NoError(t, f.CheckSlowAttempt(test.client, "alice"))
			return f.CountFailure(t.Context(), test.client)
		})
		for i := range 10 {
			err := f.CheckSlowAttempt(test.client, fmt.Sprint("junk-", i))
			requireExceeded(t, err, "sign-in failures", test.wait)
		}
		require.NoError(t, f.CheckSlowAttempt(at("2001:db8:1:3::7"), "alice"), "another network")
		f.now = f.now.Add(test.wait)
		require.NoError(t, f.CheckSlowAttempt(test.client, "alice"))
	}
}

func TestOtherCountsRejectNoSlowAttempt(t *testing.T) {
	t.Parallel()
	once := rates(1, time.Minute)
	f := newFixture(t, throttle.Limits{Flood: once, Failures: once})
	client := at("203.0.113.7")
	for _, kind := range []string{"flood", "GitHub failures", "GitHub sign-ins"} {
		requireAllowed(t, 1, func() error { return counts[kind](f, t.Context(), client) })
	}
	require.NoError(t, f.CheckSlowAttempt(client, "alice"))
}

func TestAKeyThatHasSignedInHasAllItsAttemptsAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{SlowAttempts: rates(5, time.Hour)})
	client := at("203.0.113.7")
	try := func(key string) func() error {
		return func() error { return f.CountSlowAttempt(t.Context(), client, key) }
	}
	requireAllowed(t, 5, try("bob"))
	for range 3 {
		for range 5 {
			require.NoError(t, try("alice")())
		}
		f.ForgetSlowAttempts(t.Context(), client, "alice")
	}
	require.Len(t, f.limiter.resets, 3)
	requireAllowed(t, 5, try("alice"))
	require.Error(t, try("bob")(), "another key")
	require.Empty(t, f.log.String())
}

// Six attempts are made at the same time. The sixth is rejected before the attempt with the right
// secret has signed in.
func TestAKeyThatHasSignedInIsNoLongerBarred(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{SlowAttempts: rates(5, time.Hour)})
	client := at("203.0.113.7")
	try := func(key string) func() error {
		return func() error {
			return cmp.Or(f.CheckSlowAttempt(client, key), f.CountSlowAttempt(t.Context(), client, key))
		}
	}
	requireAllowed(t, 5, try("alice"))
	requireAllowed(t, 5, try("bob"))
	f.ForgetSlowAttempts(t.Context(), client, "alice")
	requireAllowed(t, 5, try("alice"))
	require.Error(t, try("bob")(), "another key")

	requireAllowed(t, 20, func() error { return f.CountFailure(t.Context(), client) })
	f.ForgetSlowAttempts(t.Context(), client, "alice")
	exceeded := new(throttle.ExceededError)
	require.ErrorAs(t, try("alice")(), &exceeded)
	require.Equal(t, "sign-in failures", exceeded.Kind, "failures are not forgotten")
}

func TestAnExceededErrorSaysWhatAndHowLong(t *testing.T) {
	t.Parallel()
	err := &throttle.ExceededError{Kind: "slow attempts", RetryAfter: 3 * time.Second}
	require.EqualError(t, err, "too many slow attempts: try again in 3s")
}
