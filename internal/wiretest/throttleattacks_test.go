package wiretest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/limit"
	"github.com/stretchr/testify/require"
)

// twoInstances returns a fixture and two services that share its store and a limiter. The user has
// an imported key with a cheap hash. pair is the key with its secret, and guess is the key with a
// wrong secret.
func twoInstances(t *testing.T, change ...func(*fixture, *auth.Config)) (
	f *fixture, services []*auth.Service, pair, guess auth.KeyPair,
) {
	t.Helper()
	var shared auth.Config
	f = newFixture(t, append(change, func(f *fixture, cfg *auth.Config) {
		cfg.Credentials.AllowImported, cfg.Proxies = true, auth.NoProxies()
		cfg.Throttling.Limiter = limit.NewMemory(0, f.clock.Now)
		cfg.SigningKeys = []auth.SigningKey{f.signer.Key}
		shared = *cfg
	})...)
	second, err := auth.New(f.store, shared)
	require.NoError(t, err)
	pair = auth.KeyPair{AccessKey: "alice@old", AccessSecret: auth.NewSecret("correct horse")}
	require.NoError(t, f.svc.Credentials().Import(t.Context(), authtest.ByHost, auth.ImportedKey{
		UserID: f.user.ID, AccessKey: pair.AccessKey, Hash: phc("correct horse", 8*1024, 1, 1),
	}))
	return f, []*auth.Service{f.svc, second}, pair, auth.KeyPair{
		AccessKey: pair.AccessKey, AccessSecret: auth.NewSecret("battery staple"),
	}
}

func TestImportedKeysNeedADecisionAboutProxies(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	cfg := auth.Config{
		Issuer: issuer, SigningKeys: []auth.SigningKey{f.signer.Key},
		Credentials: auth.CredentialConfig{AllowImported: true},
	}
	_, err := auth.New(f.store, cfg)
	require.ErrorContains(t, err, "Config.Proxies must be set with Credentials.AllowImported")
	require.ErrorContains(t, err, "NoProxies, or TrustProxies")
	cfg.Throttling.Off = true
	_, err = auth.New(f.store, cfg)
	require.Error(t, err, "the queue of slow hashes is shared by address even without throttling")
	cfg.Proxies = auth.TrustProxies(netip.MustParsePrefix("192.0.2.1/32"))
	_, err = auth.New(f.store, cfg)
	require.NoError(t, err)
}

// Config.Proxies is not set. Attack: with an X-Forwarded-For header, the attacker makes the client
// address unknown.
func TestAFloodFromAnUnknownAddressIsCountedByThePeerAddress(t *testing.T) {
	t.Parallel()
	reads := 0
	f := newFixture(t, countReads(&reads), func(_ *fixture, cfg *auth.Config) {
		cfg.Throttling.Flood = []limit.Rate{{Count: 100, Per: time.Minute}}
	})
	post := func(peer, header string) int {
		r := httptest.NewRequest(http.MethodPost, "/auth/users/login",
			strings.NewReader(loginBody(f.userPair)))
		r.RemoteAddr = peer
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Forwarded-For", header)
		return serve(f.svc.Handler(), r).status
	}
	accepted := 0
	for i := range 500 {
		if post("198.51.100.7:1234", fmt.Sprintf("203.0.113.%d", i%250)) == http.StatusOK {
			accepted++
		}
	}
	require.Equal(t, 100, accepted)
	require.Equal(t, 100, reads, "the others are throttled before the store is read")
	require.Equal(t, http.StatusOK, post("198.51.100.8:1234", "x"), "another peer address is not throttled")
	_, err := f.svc.Login(from(t, "198.51.100.7"), f.userPair, auth.LoginOptions{})
	// Requests without the header count for the same limit of the peer address.
	requireThrottled(t, err, time.Millisecond, time.Minute)
}

// All clients whose address is unknown share a limit. Attack: one of these clients sends a wrong
// secret every five seconds. This must not block the other clients.
func TestAFewWrongSecretsDoNotBlockOtherUnknownAddresses(t *testing.T) {
	t.Parallel()
	f, services, pair, guess := twoInstances(t)
	for range 300 {
		for range 2 { // two wrong secrets every ten seconds
			_, err := services[0].Login(t.Context(), guess, auth.LoginOptions{})
			require.ErrorIs(t, err, auth.ErrInvalidCredentials)
		}
		f.clock.Advance(10 * time.Second)
	}
	_, err := services[1].Login(t.Context(), pair, auth.LoginOptions{})
	require.NoError(t, err)
	_, err = services[1].Login(from(t, "203.0.113.8"), pair, auth.LoginOptions{})
	require.NoError(t, err)
}

func TestGuessesAtAnImportedKeyFromUnknownAddressesShareALimit(t *testing.T) {
	t.Parallel()
	f, services, pair, guess := twoInstances(t, func(_ *fixture, cfg *auth.Config) {
		cfg.Throttling.SlowAttempts = []limit.Rate{{Count: 1, Per: time.Hour}}
	})
	compared := 0
	for i := range 400 {
		_, err := services[i%2].Login(t.Context(), guess, auth.LoginOptions{})
		if errors.Is(err, auth.ErrInvalidCredentials) {
			compared++
		}
	}
	require.Equal(t, 200, compared)
	_, err := services[0].Login(t.Context(), pair, auth.LoginOptions{})
	requireThrottled(t, err, time.Second, time.Hour)
	_, err = services[0].Login(from(t, "203.0.113.8"), pair, auth.LoginOptions{})
	require.NoError(t, err, "a client with a known address is not throttled")
	f.clock.Advance(time.Hour)
	_, err = services[0].Login(t.Context(), pair, auth.LoginOptions{})
	require.NoError(t, err)
}

func TestUnknownAddressesGetOnlyAShareOfTheSlowHashQueue(t *testing.T) {
	t.Parallel()
	const share = 8 // of the 33 places in the queue
	entered, release := make(chan struct{}, 100), make(chan struct{})
	c := newCredentials(t, auth.CredentialConfig{})
	c.store = authtest.FaultyStore(c.store, func(string) error {
		entered <- struct{}{}
		<-release
		return nil
	})
	c.configure(t, auth.CredentialConfig{AllowImported: true, MaxSlowHashes: 1})
	results := make(chan error, 200)
	verify := func(ctx context.Context) {
		_, _, err := c.Verify(ctx, auth.KeyPair{
			AccessKey: "nobody", AccessSecret: auth.NewSecret("correct horse"),
		})
		results <- err
	}
	ctx, cancel := context.WithCancel(t.Context())
	go verify(t.Context())
	<-entered
	for range share - 1 + 100 {
		go verify(ctx)
	}
	for range 100 {
		var throttled *auth.ThrottledError
		require.ErrorAs(t, <-results, &throttled)
	}
	go verify(from(t, "203.0.113.8"))
	cancel() // the waiting requests end; the client with the known address is next
	for range share - 1 {
		require.ErrorIs(t, <-results, context.Canceled)
	}
	close(release)
	for range 2 {
		require.ErrorIs(t, <-results, auth.ErrInvalidCredentials)
	}
}

// Attack: sign-ins with many unknown access keys fill a limiter of limited size, so that it forgets
// the counts of other keys and clients.
func TestUnknownNamesEvictNoCountsFromTheLimiter(t *testing.T) {
	t.Parallel()
	f, _, pair, guess := twoInstances(t)
	limiter := limit.NewMemory(32, f.clock.Now)
	svc, err := auth.New(f.store, auth.Config{
		Issuer: issuer, SigningKeys: []auth.SigningKey{f.signer.Key}, Now: f.clock.Now,
		Credentials: auth.CredentialConfig{AllowImported: true}, Proxies: auth.NoProxies(),
		Throttling: auth.Throttling{Limiter: limiter},
	})
	require.NoError(t, err)
	for range 5 { // another client reaches its limit
		_, err := svc.Login(from(t, "203.0.113.8"), guess, auth.LoginOptions{})
		require.ErrorIs(t, err, auth.ErrInvalidCredentials)
	}
	compared := 0
	for i := range 1000 {
		junk := auth.KeyPair{AccessKey: fmt.Sprintf("junk-%d@old", i), AccessSecret: guess.AccessSecret}
		_, err := svc.Login(from(t, "203.0.113.7"), junk, auth.LoginOptions{})
		if errors.Is(err, auth.ErrInvalidCredentials) {
			compared++
		}
	}
	require.Equal(t, 20, compared)
	for i := range 200 { // the attack continues from many networks
		_, err := svc.Login(from(t, fmt.Sprintf("2001:db8:1:%x::1", i)), f.wrong(), auth.LoginOptions{})
		require.Error(t, err)
	}
	for range 100 {
		_, err = svc.Login(from(t, "203.0.113.7"), pair, auth.LoginOptions{})
		requireThrottled(t, err, time.Second, 3*time.Second)
	}
	_, err = svc.Login(from(t, "203.0.113.8"), pair, auth.LoginOptions{})
	requireThrottled(t, err, time.Second, 12*time.Second)
	_, err = svc.Login(from(t, "203.0.113.9"), pair, auth.LoginOptions{})
	require.NoError(t, err)
}

func TestAStoreOutageConsumesNoAttemptsOnAnImportedKey(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	f, services, pair, guess := twoInstances(t, withFaults(func(method string) error {
		if away.Load() && method == "FindKey" {
			return authtest.ErrStoreAway
		}
		return nil
	}))
	ctx := from(t, "203.0.113.7")
	away.Store(true)
	for i := range 200 {
		_, err := services[i%2].Login(ctx, pair, auth.LoginOptions{})
		require.ErrorIs(t, err, authtest.ErrStoreAway)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	for i := range 200 {
		_, err := services[i%2].Login(canceled, pair, auth.LoginOptions{})
		require.Error(t, err)
		require.NotErrorIs(t, err, auth.ErrInvalidCredentials)
	}
	away.Store(false)
	for i := range 4 {
		_, err := services[i%2].Login(ctx, guess, auth.LoginOptions{})
		require.ErrorIs(t, err, auth.ErrInvalidCredentials)
	}
	_, err := services[0].Login(ctx, pair, auth.LoginOptions{})
	require.NoError(t, err, "the fifth attempt is correct")
	for i := range 5 {
		_, err := services[i%2].Login(ctx, guess, auth.LoginOptions{})
		require.ErrorIs(t, err, auth.ErrInvalidCredentials)
	}
	_, err = services[1].Login(ctx, pair, auth.LoginOptions{})
	requireThrottled(t, err, time.Second, 12*time.Second)
	f.requireLogin(f.userPair, http.StatusOK)
}

func TestConcurrentGuessesOnTwoInstancesShareOneLimit(t *testing.T) {
	t.Parallel()
	_, services, pair, guess := twoInstances(t)
	ctx := from(t, "203.0.113.7")
	for round := range 2 {
		var compared atomic.Int32
		var all sync.WaitGroup
		for i := range 64 {
			all.Go(func() {
				_, err := services[i%2].Login(ctx, guess, auth.LoginOptions{})
				if errors.Is(err, auth.ErrInvalidCredentials) {
					compared.Add(1)
				}
			})
		}
		all.Wait()
		require.EqualValues(t, []int{5, 0}[round], compared.Load())
	}
	_, err := services[0].Login(from(t, "203.0.113.8"), pair, auth.LoginOptions{})
	require.NoError(t, err)
}

// Two services share a limiter and give the same names to its buckets, but have different rates.
// The rates of one service must not apply to the other.
func TestServicesThatShareALimiterKeepTheirOwnLimits(t *testing.T) {
	t.Parallel()
	shared := limit.NewMemory(0, authtest.NewClock().Now)
	withRates := func(rates ...limit.Rate) *fixture {
		return newFixture(t, func(_ *fixture, cfg *auth.Config) {
			cfg.Proxies, cfg.Throttling = auth.NoProxies(), auth.Throttling{Limiter: shared, Failures: rates}
		})
	}
	a := withRates(limit.Rate{Count: 1000, Per: time.Minute})
	b := withRates(limit.Rate{Count: 5, Per: time.Minute}, limit.Rate{Count: 20, Per: time.Hour})
	attacker := from(t, "203.0.113.7")
	_, err := a.svc.Login(attacker, a.wrong(), auth.LoginOptions{}) // one failure at the other service
	require.ErrorIs(t, err, auth.ErrInvalidCredentials)
	failed := 0
	for range 100 {
		_, err := b.svc.Login(attacker, b.wrong(), auth.LoginOptions{})
		if errors.Is(err, auth.ErrInvalidCredentials) {
			failed++
		}
	}
	require.LessOrEqual(t, failed, 5, "failures that were not throttled; log: %.200s", b.log.String())
}

// wrongOnceLimiter is a limiter that returns a wrong wait for one call, and correct waits after
// that. The field lie contains the wrong wait. By default, 500 failures a day are allowed, so a
// correct wait is at most about three minutes.
type wrongOnceLimiter struct {
	limit.Limiter
	lie *atomic.Int64
}

func (l wrongOnceLimiter) Take(
	ctx context.Context, bucket string, rates []limit.Rate,
) (time.Duration, error) {
	if len(rates) == 3 { // not the rates of Flood
		if wait := l.lie.Swap(0); wait != 0 {
			return time.Duration(wait), nil
		}
	}
	return l.Limiter.Take(ctx, bucket, rates)
}

func TestOneImplausibleWaitDoesNotBlockImportedKeys(t *testing.T) {
	t.Parallel()
	lie := new(atomic.Int64)
	f := newFixture(t, func(f *fixture, cfg *auth.Config) {
		cfg.Proxies, cfg.Credentials.AllowImported = auth.NoProxies(), true
		cfg.Throttling.Limiter = wrongOnceLimiter{limit.NewMemory(0, f.clock.Now), lie}
	})
	pair := auth.KeyPair{AccessKey: "alice@old", AccessSecret: auth.NewSecret("correct horse")}
	require.NoError(t, f.svc.Credentials().Import(t.Context(), authtest.ByHost, auth.ImportedKey{
		UserID: f.user.ID, AccessKey: pair.AccessKey, Hash: phc("correct horse", 8*1024, 1, 1),
	}))
	owner := from(t, "203.0.113.8")
	_, err := f.svc.Login(owner, pair, auth.LoginOptions{})
	require.NoError(t, err)
	lie.Store(int64(24 * time.Hour))
	_, err = f.svc.Login(owner, f.wrong(), auth.LoginOptions{})
	t.Log(err)
	lie.Store(0)
	f.clock.Advance(time.Hour)
	_, err = f.svc.Login(owner, pair, auth.LoginOptions{})
	require.NoError(t, err, "the limiter would allow the attempt")
}
