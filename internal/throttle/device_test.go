package throttle_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/throttle"
)

// The attack: a user guesses user codes, with any number of sessions.
func TestGuessesOfUserCodesAreLimited(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{})
	guess := func(user string) func() error {
		return func() error { return f.CountDeviceGuess(t.Context(), user) }
	}
	requireAllowed(t, 10, guess("mallory"))
	requireAllowed(t, 10, guess("ada"))
	allowed := 0
	for range 120 {
		f.now = f.now.Add(30 * time.Second)
		if guess("mallory")() == nil {
			allowed++
		}
	}
	require.LessOrEqual(t, allowed, 90, "50 at once and 50 an hour, less the first 10")
}

// The attack: many users guess at the same time.
func TestGuessesOfAllUsersTogetherAreLimited(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{})
	user := 0
	requireAllowed(t, 10_000, func() error {
		user++
		return f.CountDeviceGuess(t.Context(), strconv.Itoa(user))
	})
}

// The attack: one address fills the store with codes.
func TestDevicesOfOneAddressAreLimited(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{})
	for _, address := range []string{"203.0.113.7", "203.0.113.8"} {
		requireAllowed(t, 30, func() error { return f.CountDeviceStart(t.Context(), at(address)) })
	}
	requireAllowed(t, 30*50, func() error { return f.CountDeviceStart(t.Context(), throttle.Client{}) })
}

// The attack: a device polls in a loop, or with many codes that do not exist, to fill the buckets of others.
func TestPollsThatAreTooFrequentAreRefusedWithoutTheLimiter(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{})
	require.NoError(t, f.CheckDevicePoll("one"))
	f.BarDevicePolls("one")
	requireExceeded(t, f.CheckDevicePoll("one"), "polls of a device", 5*time.Second)
	require.NoError(t, f.CheckDevicePoll("two"))
	f.now = f.now.Add(5 * time.Second)
	require.NoError(t, f.CheckDevicePoll("one"))
	require.Empty(t, f.limiter.takes)
}

// A bar lasts at most a minute. A longer one means that the clock has gone back since, and the code of the
// device would expire before the end of the bar.
func TestAClockThatGoesBackEndsABar(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{})
	f.BarDevicePolls("one")
	f.now = f.now.Add(-time.Minute + 5*time.Second)
	requireExceeded(t, f.CheckDevicePoll("one"), "polls of a device", time.Minute)
	f.now = f.now.Add(-8 * time.Minute)
	require.NoError(t, f.CheckDevicePoll("one"))
}

func TestWithoutLimitsNothingAboutDevicesIsCounted(t *testing.T) {
	t.Parallel()
	var off *throttle.Throttle
	require.NoError(t, off.CountDeviceStart(t.Context(), at("203.0.113.7")))
	require.NoError(t, off.CountDeviceGuess(t.Context(), "ada"))
	off.BarDevicePolls("hash")
	require.NoError(t, off.CheckDevicePoll("hash"))
}
