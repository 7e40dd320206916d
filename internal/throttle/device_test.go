package throttle_test

import (
	"net/netip"
	"strconv"
	"strings"
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

// The attack: very many users guess at the same time.
func TestGuessesOfAllUsersTogetherAreLimited(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{})
	user := 0
	guess := func() error {
		user++
		return f.CountDeviceGuess(t.Context(), strconv.Itoa(user))
	}
	requireAllowed(t, 25_000, guess)
	f.now = f.now.Add(time.Hour)
	requireAllowed(t, 25_000, guess)
	require.Equal(t, int64(2), f.SharedRefusals())
}

// The attack: 1,000 users guess all the time, so that nobody else can approve a device.
func TestUsersWhoGuessAllTheTimeDoNotStopTheOthers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{})
	guess := func(user string) func() error {
		return func() error { return f.CountDeviceGuess(t.Context(), user) }
	}
	attack := func() (allowed int) {
		for user := range 1_010 {
			for range 10 {
				if guess("mallory "+strconv.Itoa(user))() == nil {
					allowed++
				}
			}
		}
		return allowed
	}
	require.Equal(t, 1_010*5+5_000, attack())
	requireAllowed(t, 5, guess("ada"))
	f.now = f.now.Add(time.Minute)
	require.Equal(t, 500, attack(), "a tenth of the budget comes back in a minute")
	requireAllowed(t, 5, guess("grace"))
	require.Equal(t, int64(50+1+10_100-500+1), f.SharedRefusals())
	require.Contains(t, f.log.String(), `limit="user codes"`)
	require.Equal(t, 2, strings.Count(f.log.String(), "\n"), "at most a line in 30 seconds")
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

// The attack: many addresses fill the store with codes.
func TestDevicesOfAllAddressesTogetherAreLimited(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{})
	n := 0
	start := func() error {
		n++
		address := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
		return f.CountDeviceStart(t.Context(), throttle.Client{Address: address})
	}
	requireAllowed(t, 25_000, start)
	require.Equal(t, int64(1), f.SharedRefusals())
	require.Contains(t, f.log.String(), `limit="device codes"`)
	require.NoError(t, f.CountDeviceGuess(t.Context(), "ada"), "user codes have budgets of their own")
	f.now = f.now.Add(time.Hour)
	requireAllowed(t, 25_000, start)
}

// The attack: a network with 65,536 client addresses uses up the codes of all.
func TestOneNetworkDoesNotStopTheDevicesOfOthers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{})
	n := 0
	start := func() error {
		address := netip.MustParsePrefix("2001:db8:7::/48").Addr().As16()
		address[6], address[7] = byte(n>>8), byte(n)
		n++
		return f.CountDeviceStart(t.Context(), throttle.Client{Address: netip.AddrFrom16(address)})
	}
	requireAllowed(t, 150, start)
	for range 30_000 {
		_ = start()
	}
	for _, other := range []string{"203.0.113.7", "203.0.113.8", "2001:db8:8::1", "::ffff:203.0.113.9"} {
		requireAllowed(t, 30, func() error { return f.CountDeviceStart(t.Context(), at(other)) })
	}
	require.Zero(t, f.SharedRefusals(), "the network has not emptied a budget")
}

// The attack: one client address uses up what its network may ask for.
func TestOneAddressDoesNotStopTheDevicesOfItsNetwork(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{})
	for range 1_000 {
		_ = f.CountDeviceStart(t.Context(), at("2001:db8:7::1"))
	}
	requireAllowed(t, 30, func() error { return f.CountDeviceStart(t.Context(), at("2001:db8:7:1::1")) })
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
	require.Zero(t, off.SharedRefusals())
}
