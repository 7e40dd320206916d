package wiretest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/limit"
	"github.com/stretchr/testify/require"
)

// from returns a context with this client address.
func from(t testing.TB, address string) context.Context {
	return auth.WithClientInfo(t.Context(), auth.ClientInfo{Address: netip.MustParseAddr(address)})
}

// wrong returns a well-formed key pair that does not exist in the store.
func (f *fixture) wrong() auth.KeyPair { return f.svc.Credentials().GeneratePair() }

// requireThrottled fails the test unless err is a ThrottledError whose wait is in this range.
func requireThrottled(t testing.TB, err error, atLeast, atMost time.Duration) {
	t.Helper()
	var throttled *auth.ThrottledError
	require.ErrorAs(t, err, &throttled)
	require.NotErrorIs(t, err, auth.ErrInvalidCredentials)
	require.GreaterOrEqual(t, throttled.RetryAfter, atLeast)
	require.LessOrEqual(t, throttled.RetryAfter, atMost)
}

func TestFailuresFromOneAddressAreThrottledWithGrowingWaits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := from(t, "203.0.113.7")
	fail := func(n int) {
		t.Helper()
		for range n {
			_, err := f.svc.Login(ctx, f.wrong(), auth.LoginOptions{})
			require.ErrorIs(t, err, auth.ErrInvalidCredentials)
		}
	}
	fail(20)
	_, err := f.svc.Login(ctx, f.wrong(), auth.LoginOptions{})
	requireThrottled(t, err, 2*time.Second, 3*time.Second)
	require.ErrorContains(t, err, "auth: too many sign-in failures: auth: throttled: try again in ")
	f.clock.Advance(3 * time.Second)
	fail(1)
	_, err = f.svc.Login(ctx, f.wrong(), auth.LoginOptions{})
	requireThrottled(t, err, time.Second, 3*time.Second)

	for range 79 {
		f.clock.Advance(3 * time.Second)
		fail(1)
	}
	for { // until the limit per hour is reached
		f.clock.Advance(3 * time.Second)
		_, err = f.svc.Login(ctx, f.wrong(), auth.LoginOptions{})
		if !errors.Is(err, auth.ErrInvalidCredentials) {
			break
		}
	}
	requireThrottled(t, err, 10*time.Second, 36*time.Second)

	other := from(t, "203.0.113.8")
	_, err = f.svc.Login(other, f.wrong(), auth.LoginOptions{})
	require.ErrorIs(t, err, auth.ErrInvalidCredentials, "another address is not throttled")
	f.clock.Advance(24 * time.Hour)
	fail(20)
}

func TestAGeneratedSecretIsNeverThrottledByFailuresOfOthers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	wrongSecret := f.userPair
	wrongSecret.AccessSecret = authtest.WrongSecret(f.userPair.AccessKey)
	for i := range 3000 {
		ctx := from(t, fmt.Sprintf("203.0.113.%d", i%3))
		_, err := f.svc.Login(ctx, wrongSecret, auth.LoginOptions{})
		require.Error(t, err)
		if i%100 == 0 {
			_, err = f.svc.Login(ctx, f.userPair, auth.LoginOptions{})
			require.NoError(t, err)
		}
	}
}

func TestFailuresAreCountedByIPv6NetworkAndIPv4Address(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		first, second string
		same          bool
	}{
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"203.0.113.7", "203.0.113.7", true},
		{"203.0.113.7", "::ffff:203.0.113.7", true},
		{"203.0.113.7", "203.0.113.8", false},
	} {
		f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
			cfg.Throttling.Failures = []limit.Rate{{Count: 1, Per: time.Hour}}
			cfg.Proxies = auth.TrustProxies(netip.MustParsePrefix("192.0.2.1/32"))
		})
		send := func(address string) int {
			return f.send("POST", "/auth/users/login", loginBody(f.wrong()),
				"X-Forwarded-For", address).status
		}
		require.Equal(t, http.StatusUnauthorized, send(test.first))
		want := http.StatusUnauthorized
		if test.same {
			want = http.StatusTooManyRequests
		}
		require.Equal(t, want, send(test.second), test)
	}
}

func TestAThrottledSignInAnswers429WithTheTimeToWait(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var r response
	for range 21 {
		r = f.send("POST", "/auth/users/login", loginBody(f.wrong()))
	}
	require.Equal(t, http.StatusTooManyRequests, r.status)
	require.JSONEq(t, `{"detail": "Too many attempts: try again later"}`, r.body)
	require.Equal(t, "3", r.header.Get("Retry-After"))
	f.requireLogin(f.userPair, http.StatusOK)
}

func TestIPv4MappedAddressesCountAsIPv4(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.Throttling.Failures = []limit.Rate{{Count: 1, Per: time.Hour}}
	})
	for _, address := range []string{"::ffff:203.0.113.7", "::ffff:203.0.113.8"} {
		_, err := f.svc.Login(from(t, address), f.wrong(), auth.LoginOptions{})
		require.ErrorIs(t, err, auth.ErrInvalidCredentials)
	}
	_, err := f.svc.Login(from(t, "203.0.113.8"), f.wrong(), auth.LoginOptions{})
	requireThrottled(t, err, time.Minute, time.Hour)
}

// Config.Proxies is not set, and the service is behind a proxy. All clients then have the same peer
// address.
func TestFailuresBehindAnUnknownProxyShareALimitAndAreLoggedOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	send := func(pair auth.KeyPair, i int) int {
		return f.send("POST", "/auth/users/login", loginBody(pair),
			"X-Forwarded-For", fmt.Sprintf("203.0.113.%d", i%250)).status
	}
	for i := range 1000 { // 50 times the limit for one client
		require.Equal(t, http.StatusUnauthorized, send(f.wrong(), i))
	}
	for i := range 100 {
		require.Equal(t, http.StatusTooManyRequests, send(f.wrong(), i))
		require.Equal(t, http.StatusOK, send(f.userPair, i),
			"failures never throttle a correct generated secret")
	}
	require.Equal(t, 1, strings.Count(f.log.String(), "X-Forwarded-For arrives"))
	require.Equal(t, http.StatusUnauthorized, f.login(f.wrong()).status,
		"a client with a known address has its own limit")

	known := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.Proxies = auth.NoProxies() })
	var r response
	for i := range 21 {
		r = known.send("POST", "/auth/users/login", loginBody(known.wrong()),
			"X-Forwarded-For", fmt.Sprintf("203.0.113.%d", i))
	}
	require.Equal(t, http.StatusTooManyRequests, r.status,
		"with NoProxies failures count by the peer address")
	require.Equal(t, 1, strings.Count(known.log.String(),
		"from an address that Config.Proxies does not trust"))
}

// countReads makes the fixture count the calls of FindKey in reads.
func countReads(reads *int) func(*fixture, *auth.Config) {
	return withFaults(func(method string) error {
		if method == "FindKey" {
			*reads++
		}
		return nil
	})
}

// newWithImportedKey returns a fixture whose user has an imported key. pair is the key with its
// secret, and guess is the key with a wrong secret. reads counts the calls of FindKey.
func newWithImportedKey(t *testing.T) (f *fixture, pair, guess auth.KeyPair, reads *int) {
	reads = new(int)
	f = newFixture(t, countReads(reads), func(_ *fixture, cfg *auth.Config) {
		cfg.Credentials.AllowImported, cfg.Proxies = true, auth.NoProxies()
	})
	pair = auth.KeyPair{AccessKey: "alice@old", AccessSecret: auth.NewSecret("correct horse")}
	require.NoError(t, f.svc.Credentials().Import(t.Context(), authtest.ByHost, auth.ImportedKey{
		UserID: f.user.ID, AccessKey: pair.AccessKey, Secret: pair.AccessSecret,
	}))
	guess = auth.KeyPair{AccessKey: pair.AccessKey, AccessSecret: auth.NewSecret("battery staple")}
	return f, pair, guess, reads
}

func TestAttemptsOnAnImportedKeyAreLimitedByAddress(t *testing.T) {
	t.Parallel()
	f, pair, guess, reads := newWithImportedKey(t)
	attacker, owner := from(t, "203.0.113.7"), from(t, "203.0.113.8")
	for range 4 {
		_, err := f.svc.Login(attacker, guess, auth.LoginOptions{})
		require.ErrorIs(t, err, auth.ErrInvalidCredentials)
	}
	_, err := f.svc.Login(attacker, pair, auth.LoginOptions{})
	require.NoError(t, err, "the fifth attempt is correct")
	for range 5 {
		_, err := f.svc.Login(attacker, guess, auth.LoginOptions{})
		require.ErrorIs(t, err, auth.ErrInvalidCredentials, "the success has reset the count")
	}
	seen := *reads
	for range 10 {
		_, err = f.svc.Login(attacker, pair, auth.LoginOptions{})
		requireThrottled(t, err, time.Second, 12*time.Second)
	}
	require.Equal(t, seen+1, *reads,
		"the limiter throttles once; later attempts are rejected before the store is read")
	for range 10 {
		_, err = f.svc.Login(owner, pair, auth.LoginOptions{})
		require.NoError(t, err, "another address is not throttled")
	}
	other := auth.KeyPair{AccessKey: "bob@old", AccessSecret: guess.AccessSecret}
	_, err = f.svc.Login(attacker, other, auth.LoginOptions{})
	require.ErrorIs(t, err, auth.ErrInvalidCredentials, "another key is not throttled")
}

func TestAThrottledAddressCausesNoSlowHashes(t *testing.T) {
	t.Parallel()
	f, pair, guess, reads := newWithImportedKey(t)
	attacker, owner := from(t, "2001:db8:1:2::7"), from(t, "2001:db8:1:3::7")
	for range 20 { // each failure counts, for any access key
		_, err := f.svc.Login(attacker, f.wrong(), auth.LoginOptions{})
		require.ErrorIs(t, err, auth.ErrInvalidCredentials)
	}
	_, err := f.svc.Login(attacker, pair, auth.LoginOptions{})
	require.NoError(t, err, "the limit is not exceeded yet")
	_, err = f.svc.Login(attacker, f.wrong(), auth.LoginOptions{})
	requireThrottled(t, err, 2*time.Second, 3*time.Second)

	seen := *reads
	for i := range 100 {
		guess.AccessKey = fmt.Sprintf("name-%d@old", i) // each key has a limit of its own
		_, err = f.svc.Login(from(t, fmt.Sprintf("2001:db8:1:2::%d", i)), guess, auth.LoginOptions{})
		requireThrottled(t, err, 2*time.Second, 3*time.Second)
	}
	_, err = f.svc.Login(attacker, pair, auth.LoginOptions{})
	requireThrottled(t, err, 2*time.Second, 3*time.Second)
	require.Equal(t, seen, *reads, "throttled before the store is read")
	_, err = f.svc.Login(owner, pair, auth.LoginOptions{})
	require.NoError(t, err, "another address is not throttled")
	_, err = f.svc.Login(attacker, f.userPair, auth.LoginOptions{})
	require.NoError(t, err, "a generated secret is not throttled")

	f.clock.Advance(3 * time.Second)
	_, err = f.svc.Login(attacker, pair, auth.LoginOptions{})
	require.NoError(t, err)
}

func TestAFloodIsStoppedBeforeTheStoreIsRead(t *testing.T) {
	t.Parallel()
	reads := 0
	f := newFixture(t, countReads(&reads), func(_ *fixture, cfg *auth.Config) {
		cfg.Throttling.Flood = []limit.Rate{{Count: 100, Per: time.Minute}}
	})
	for range 1000 {
		f.login(f.userPair)
	}
	require.Equal(t, 100, reads)
	require.Equal(t, http.StatusTooManyRequests, f.login(f.userPair).status)
	f.clock.Advance(time.Second)
	require.Equal(t, http.StatusOK, f.login(f.userPair).status)
}

func TestFailedGitHubCallbacksAreThrottledAndConsumeNoState(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	b := g.browser()
	pending := b.callbackURL(b.authURL(signInCall))
	forger := g.browser()
	var last page
	for range 21 {
		last = forger.get(callbackCall + "?code=x&state=forged")
	}
	require.Equal(t, http.StatusTooManyRequests, last.status)
	require.NotEmpty(t, last.header.Get("Retry-After"))
	require.Empty(t, last.header["Set-Cookie"])
	require.Equal(t, http.StatusOK, b.get(pending).status, "the callback of another flow succeeds")
}

// failingLimiter is a limiter whose calls fail, as if its server did not answer.
type failingLimiter struct{}

func (failingLimiter) Take(context.Context, string, []limit.Rate) (time.Duration, error) {
	return time.Hour, authtest.ErrStoreAway
}

func (failingLimiter) Reset(context.Context, string) error { return authtest.ErrStoreAway }

func TestAFailingLimiterKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.Throttling.Limiter = failingLimiter{}
		cfg.Credentials.AllowImported, cfg.Proxies = true, auth.NoProxies()
	})
	for _, name := range []string{"alice@old", "bob@old"} {
		require.NoError(t, f.svc.Credentials().Import(t.Context(), authtest.ByHost, auth.ImportedKey{
			UserID: f.user.ID, AccessKey: name, Secret: auth.NewSecret("correct horse"),
		}))
	}
	require.Equal(t, http.StatusUnauthorized, f.login(f.wrong()).status)
	f.requireLogin(f.userPair, http.StatusOK)
	imported := auth.KeyPair{AccessKey: "alice@old", AccessSecret: auth.NewSecret("correct horse")}
	f.requireLogin(imported, http.StatusOK)
	require.Contains(t, f.log.String(), "the limiter fails")
	wrong := auth.KeyPair{AccessKey: "bob@old", AccessSecret: auth.NewSecret("wrong")}
	for range 5 {
		f.requireLogin(wrong, http.StatusUnauthorized)
	}
	f.requireLogin(wrong, http.StatusTooManyRequests)
}

func TestThrottlingOffCountsNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.Throttling.Off = true })
	for range 100 {
		f.requireLogin(f.wrong(), http.StatusUnauthorized)
	}
}

func TestInvalidRatesAreRejected(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, rate := range []limit.Rate{
		{}, {Count: 1}, {Per: time.Hour}, {Count: -1, Per: time.Hour},
		{Count: 1, Per: time.Microsecond}, {Count: 1, Per: 31 * 24 * time.Hour},
	} {
		for _, throttling := range []auth.Throttling{
			{Failures: []limit.Rate{rate}}, {SlowAttempts: []limit.Rate{rate}},
			{Flood: []limit.Rate{rate}},
		} {
			_, err := auth.New(f.store, auth.Config{
				Issuer: issuer, SigningKeys: []auth.SigningKey{f.signer.Key},
				Throttling: throttling,
			})
			require.ErrorContains(t, err, "auth: a limit.Rate must have")
		}
	}
}

// longWaitLimiter is a limiter that returns too long waits. A limiter does this if its server's
// clock was set back.
type longWaitLimiter struct{ wait time.Duration }

func (l longWaitLimiter) Take(context.Context, string, []limit.Rate) (time.Duration, error) {
	return l.wait, nil
}

func (longWaitLimiter) Reset(context.Context, string) error { return nil }

func TestAWaitLongerThanTheRatesPeriodIsIgnored(t *testing.T) {
	t.Parallel()
	for wait, want := range map[time.Duration]int{
		time.Minute:              http.StatusTooManyRequests, // the period of Flood
		time.Minute + 1:          http.StatusOK,
		86_341 * time.Second:     http.StatusOK,
		time.Duration(1<<63 - 1): http.StatusOK,
	} {
		f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
			cfg.Proxies, cfg.Throttling.Limiter = auth.NoProxies(), longWaitLimiter{wait}
		})
		require.Equal(t, want, f.login(f.userPair).status, wait)
		require.Equal(t, want == http.StatusOK,
			strings.Contains(f.log.String(), "longer than each period of the rates"), wait)
	}
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.Proxies, cfg.Throttling.Limiter = auth.NoProxies(), longWaitLimiter{time.Hour}
		cfg.Throttling.Flood = []limit.Rate{
			{Count: 1, Per: time.Minute}, {Count: 2, Per: time.Hour}, {Count: 3, Per: time.Second},
		}
	})
	require.Equal(t, http.StatusTooManyRequests, f.login(f.userPair).status,
		"the longest period of several counts")
}
