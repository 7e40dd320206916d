package wiretest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/limit"
)

// Only failed and denied sign-ins with GitHub are counted. Here 30 people behind one address sign
// in at the same time, and none of them fails.
func TestConcurrentGitHubSignInsFromOneAddressAreNotThrottled(t *testing.T) {
	t.Parallel()
	const people = 30
	var office []githubtest.User
	for i := range people {
		office = append(office, githubtest.User{ID: int64(1000 + i), Login: fmt.Sprint("employee-", i)})
	}
	office = append(office, githubtest.User{ID: octocat, Login: octocatLogin})
	g := newGitHub(t, githubOptions{fake: githubtest.Config{Users: office},
		configure: func(_ *githubFixture, cfg *auth.Config) {
			cfg.Proxies = auth.NoProxies()
		}})
	flows := make([]pending, people)
	for i := range flows {
		require.NoError(t, g.fake.SignInAs(office[i].Login))
		flows[i] = g.pending()
	}
	g.fake.Inject(githubtest.EndpointUser, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(500 * time.Millisecond)
			next.ServeHTTP(w, r)
		})
	})
	statuses := map[int]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, flow := range flows {
		all.Go(func() {
			status := g.goBack(flow).status
			mu.Lock()
			defer mu.Unlock()
			statuses[status]++
		})
	}
	all.Wait()
	require.Zero(t, statuses[http.StatusTooManyRequests], "%v", statuses)
}

// Twenty failures a minute are allowed. Attack: twenty concurrent sign-ins a day earlier must not
// give the attacker twenty more attempts.
func TestSuccessfulGitHubSignInsGiveNoExtraAttemptsLater(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, githubOptions{configure: func(g *githubFixture, cfg *auth.Config) {
		cfg.Proxies = auth.NoProxies()
	}})
	flows := make([]pending, 20)
	for i := range flows {
		flows[i] = g.pending()
	}
	var all sync.WaitGroup
	arrived := make(chan struct{}, len(flows))
	release := make(chan struct{})
	g.fake.Inject(githubtest.EndpointAccessToken, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			arrived <- struct{}{}
			<-release
			next.ServeHTTP(w, r)
		})
	})
	for _, flow := range flows {
		all.Go(func() { g.goBack(flow) })
	}
	for range flows {
		<-arrived
	}
	close(release)
	all.Wait()
	g.fake.Heal()
	g.clock.Advance(25 * time.Hour)
	before := g.exchanges()
	for range 60 {
		r := g.send(http.MethodGet, signInCall, "")
		cookie := (&http.Response{Header: r.header}).Cookies()[0]
		state := queryOf(t, r.json(t)["auth_url"].(string)).Get("state")
		g.send(http.MethodGet, callbackCall+"?code=junk&state="+state, "",
			"Cookie", cookie.Name+"="+cookie.Value)
	}
	require.LessOrEqual(t, g.exchanges()-before, 20, "failures in one minute")
}

// panickingTransport is a transport of the host that panics at a path while on is true.
type panickingTransport struct {
	http.RoundTripper
	path string
	on   *atomic.Bool
}

func (p panickingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.on.Load() && strings.HasSuffix(r.URL.Path, p.path) {
		panic("the host's transport")
	}
	return p.RoundTripper.RoundTrip(r)
}

func TestAPanicOfTheHostsTransportDuringARefreshIsAnError(t *testing.T) {
	t.Parallel()
	on := new(atomic.Bool)
	g := newGitHub(t, githubOptions{fake: expiring.fake, configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.GitHub.HTTPClient = &http.Client{
			Transport: panickingTransport{cfg.GitHub.HTTPClient.Transport, "/access_token", on},
		}
	}})
	require.Equal(t, http.StatusOK, g.browser().connect(g.signIn(g.user)).status)
	g.clock.Advance(9 * time.Hour)
	on.Store(true)
	// Outside an HTTP handler, as in a gRPC method or a goroutine, nothing would recover a panic.
	require.NotPanics(t, func() {
		_, err := g.svc.GitHub().Verify(t.Context(), g.user.ID)
		require.Error(t, err)
	})
}

func TestAPanicOfTheHostsTransportDuringAnExchangeIsA503(t *testing.T) {
	t.Parallel()
	on := new(atomic.Bool)
	g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.GitHub.HTTPClient = &http.Client{
			Transport: panickingTransport{cfg.GitHub.HTTPClient.Transport, "/access_token", on},
		}
	}})
	p := g.pending()
	on.Store(true)
	require.NotPanics(t, func() { require.Equal(t, http.StatusServiceUnavailable, g.goBack(p).status) })
}

// Two services with different rates share a limiter. They name their buckets alike, so the rates of
// one must not replace those of the other.
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
	_, err := a.svc.Login(attacker, a.wrong()) // one failure at the other service
	require.ErrorIs(t, err, auth.ErrInvalidCredentials)
	failed := 0
	for range 100 {
		if _, err := b.svc.Login(attacker, b.wrong()); errors.Is(err, auth.ErrInvalidCredentials) {
			failed++
		}
	}
	require.LessOrEqual(t, failed, 5, "failures that were not throttled; log: %.200s", b.log.String())
}

// liesOnce is a limiter that returns the wait lie once and is right afterwards. With the default of
// 500 failures a day, the longest real wait is about three minutes.
type liesOnce struct {
	limit.Limiter
	lie *atomic.Int64
}

func (l liesOnce) Take(ctx context.Context, bucket string, rates []limit.Rate) (time.Duration, error) {
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
		cfg.Throttling.Limiter = liesOnce{limit.NewMemory(0, f.clock.Now), lie}
	})
	pair := auth.KeyPair{AccessKey: "alice@old", AccessSecret: auth.NewSecret("correct horse")}
	require.NoError(t, f.svc.Credentials().Import(t.Context(), authtest.ByHost, auth.ImportedKey{
		UserID: f.user.ID, AccessKey: pair.AccessKey, Hash: phc("correct horse", 8*1024, 1, 1),
	}))
	owner := from(t, "203.0.113.8")
	_, err := f.svc.Login(owner, pair)
	require.NoError(t, err)
	lie.Store(int64(24 * time.Hour))
	_, err = f.svc.Login(owner, f.wrong())
	t.Log(err)
	lie.Store(0)
	f.clock.Advance(time.Hour)
	_, err = f.svc.Login(owner, pair)
	require.NoError(t, err, "the limiter would allow the attempt")
}

// A sign-in that fails because the store fails is a sign_in.rejected event, even if the failing
// call is the check of the session cookie.
func TestAGitHubCallbackThatTheStoreFailsIsAnEvent(t *testing.T) {
	t.Parallel()
	var got recorded
	var away atomic.Bool
	var hooks atomic.Int64
	g := newGitHub(t, githubOptions{configure: func(g *githubFixture, cfg *auth.Config) {
		cfg.BrowserSessions, cfg.OnEvent = &auth.BrowserSessions{}, got.Add
		cfg.Tokens.CheckSessionsInStore = true
		cfg.Hooks.SignIn = func(context.Context, auth.SignInMethod, error, time.Duration) { hooks.Add(1) }
		g.fixture.injectFaults(func(method string) error {
			if away.Load() {
				return authtest.ErrStoreAway
			}
			return nil
		})
	}})
	b := g.browser()
	b.signInByCookie("")
	callback := b.callbackURL(b.authURL(signInCall))
	got.deliver(t, g.svc)
	hooks.Store(0)
	away.Store(true)
	p := b.stay().get(callback)
	require.Contains(t, p.header.Get("Location"), "error=unavailable")
	away.Store(false)
	var kinds []auth.EventKind
	for _, e := range got.deliver(t, g.svc) {
		kinds = append(kinds, e.Kind)
	}
	require.Contains(t, kinds, auth.EventSignInRejected)
	require.EqualValues(t, 1, hooks.Load())
}

// One attempt is one event and one call of the hook.
func TestAThrottledForgedCallbackIsExactlyOneEvent(t *testing.T) {
	t.Parallel()
	var got recorded
	var hooks atomic.Int64
	g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.OnEvent, cfg.Proxies = got.Add, auth.NoProxies()
		cfg.Hooks.SignIn = func(context.Context, auth.SignInMethod, error, time.Duration) { hooks.Add(1) }
	}})
	forge := func() int {
		return g.send(http.MethodGet, callbackCall+"?code=x&state=y", "").status
	}
	for range 20 {
		require.Equal(t, http.StatusBadRequest, forge())
	}
	got.deliver(t, g.svc)
	hooks.Store(0)
	require.Equal(t, http.StatusTooManyRequests, forge())
	events := got.deliver(t, g.svc)
	var kinds []auth.EventKind
	for _, e := range events {
		kinds = append(kinds, e.Kind)
	}
	require.Len(t, events, 1, "%v", kinds)
	require.EqualValues(t, 1, hooks.Load())
}

// Unlink returns ErrLastWayIn if the user could not sign in afterwards. With MembershipMaxAge, the
// keys of a GitHub user stop working without GitHub's token, and an unlinked account does not sign
// in either.
func TestUnlinkingWithMembershipMaxAgeKeepsAWayIn(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	m.clock.Advance(recheckAfter) // the next sign-in with the key checks the membership
	m.requireSignsIn()
	m.clock.Advance(recheckAfter)
	token := m.fixture.signIn(m.user)
	answer := m.sendAs(token, http.MethodDelete, unlinkCall, "")
	key := m.login(m.pair).status
	b := m.browser()
	github := b.get(b.authURL(signInCall)).status
	if answer.status == http.StatusNoContent {
		require.True(t, key == http.StatusOK || github == http.StatusOK,
			"after unlinking, the key answers %d and GitHub %d", key, github)
	} else {
		require.Equal(t, http.StatusConflict, answer.status)
	}
}

// A readable key set replaces the known keys. A set with a duplicate key ID must count as read and
// not as an outage, because otherwise a dropped key would be used for another day.
func TestADroppedKeyIsNotKeptByAKeySetWithDuplicates(t *testing.T) {
	t.Parallel()
	r := newRemote(t, "EdDSA")
	claims := r.claims(t, map[string]any{"exp": r.clock.Now().Add(29 * 24 * time.Hour).Unix()})
	token := r.Forge(t, r.header(nil), claims)
	r.verifier = r.verifierWith(t, func(cfg *auth.RemoteVerifierConfig) { cfg.MaxAge = 30 * 24 * time.Hour })
	r.requireGood(t, token)
	other := authtest.NewSigners(t)["ES256"]
	issuerOf := newTokens(t, other, auth.TokenConfig{})
	one := strings.TrimSuffix(strings.TrimPrefix(string(issuerOf.issuer.JWKS()), `{"keys":[`), `]}`)
	r.answers(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"keys":[%s,%s]}`, one, one) })
	r.clock.Advance(20 * time.Minute)
	r.requireForgotten(t, token, "the published set does not contain the key")
}

// A redirect is an answer and not an outage, even if its Location cannot be parsed.
func TestARedirectWithAnInvalidLocationDropsTheKeys(t *testing.T) {
	t.Parallel()
	r := newRemote(t, "EdDSA")
	claims := r.claims(t, map[string]any{"exp": r.clock.Now().Add(29 * 24 * time.Hour).Unix()})
	token := r.Forge(t, r.header(nil), claims)
	r.verifier = r.verifierWith(t, func(cfg *auth.RemoteVerifierConfig) { cfg.MaxAge = 30 * 24 * time.Hour })
	r.requireGood(t, token)
	r.answers(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Location"] = []string{"https://[::1"}
		w.WriteHeader(http.StatusFound)
	})
	r.clock.Advance(20 * time.Minute)
	r.requireForgotten(t, token, "a redirect means that there are no keys at this URL")
}
