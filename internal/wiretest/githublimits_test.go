package wiretest

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/limit"
	"github.com/stretchr/testify/require"
)

// badCallback begins a flow and returns a callback URL for it. The code in this URL was not issued
// by GitHub.
func (b *browser) badCallback() string {
	b.t.Helper()
	state := queryOf(b.t, b.authURL(signInCall)).Get("state")
	return callbackCall + "?code=junk&state=" + url.QueryEscape(state)
}

func (g *githubFixture) exchanges() int { return g.fake.Count(githubtest.EndpointAccessToken) }

func TestFailedCallbacksAreThrottledBeforeGitHubIsAsked(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	b := g.browser()
	statuses := map[int]int{}
	for range 300 {
		statuses[b.get(b.badCallback()).status]++
	}
	require.Equal(t, map[int]int{http.StatusBadRequest: 20, http.StatusTooManyRequests: 280}, statuses)
	require.Equal(t, 20, g.exchanges())
}

// A throttled callback does not use up the state, so the browser can request the same URL again.
// After one success, the URL no longer works.
func TestAThrottledCallbackCanBeRetriedOnce(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	b := g.browser()
	for range 20 {
		require.Equal(t, http.StatusBadRequest, b.get(b.badCallback()).status)
	}
	good := b.callbackURL(b.authURL(signInCall))
	p := b.get(good)
	require.Equal(t, http.StatusTooManyRequests, p.status)
	require.Empty(t, p.header["Set-Cookie"], "no cookie is cleared")
	require.Equal(t, "3", p.header.Get("Retry-After"))
	g.clock.Advance(3 * time.Second)

	// The test sends the cookie itself, because the first response deletes the cookie in the
	// browser.
	u, err := url.Parse(g.server.URL)
	require.NoError(t, err)
	cookies := b.client.Jar.Cookies(u)
	require.Equal(t, http.StatusOK, b.get(good).status)
	g.clock.Advance(time.Minute)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	jar.SetCookies(u, cookies)
	b.client.Jar = jar
	exchanges := g.exchanges()
	require.Equal(t, http.StatusBadRequest, b.get(good).status)
	require.Equal(t, exchanges, g.exchanges())
}

// Two instances share a limiter and receive many callbacks at the same time.
func TestConcurrentFailedCallbacksOnTwoInstancesShareOneLimit(t *testing.T) {
	t.Parallel()
	var shared auth.Config
	g := newGitHub(t, githubOptions{configure: func(g *githubFixture, cfg *auth.Config) {
		cfg.Throttling.Limiter = limit.NewMemory(0, g.clock.Now)
		cfg.SigningKeys = []auth.SigningKey{g.signer.Key}
		shared = *cfg
	}})
	second, err := auth.New(g.store, shared)
	require.NoError(t, err)
	services := []*auth.Service{g.svc, second}
	var begun []*http.Request
	for i := range 80 {
		w := httptest.NewRecorder()
		services[i%2].Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, signInCall, nil))
		state := queryOf(t, response{body: w.Body.String()}.json(t)["auth_url"].(string)).Get("state")
		r := httptest.NewRequest(http.MethodGet, callbackCall+"?code=junk&state="+url.QueryEscape(state), nil)
		for _, cookie := range w.Result().Cookies() {
			r.AddCookie(cookie)
		}
		begun = append(begun, r)
	}
	var throttled atomic.Int32
	var all sync.WaitGroup
	for i, r := range begun {
		all.Go(func() {
			if serve(services[i%2].Handler(), r).status == http.StatusTooManyRequests {
				throttled.Add(1)
			}
		})
	}
	all.Wait()
	// Only failed callbacks count. So callbacks that arrive at the same time can exceed the limit
	// of twenty before they fail.
	require.GreaterOrEqual(t, throttled.Load(), int32(20))
	require.LessOrEqual(t, g.exchanges(), 60)
}

func TestCallbacksWithAnErrorCountAsFailures(t *testing.T) {
	t.Parallel()
	for code, status := range map[string]int{"access_denied": 403, "server_error": 503, "mine": 503} {
		requireErrorsAreThrottled(t, code, status)
	}
}

func requireErrorsAreThrottled(t *testing.T, code string, status int) {
	t.Helper()
	var consumed atomic.Int32
	g := newGitHub(t, githubOptions{configure: func(g *githubFixture, _ *auth.Config) {
		g.injectFaults(func(method string) error {
			if method == "ConsumeState" {
				consumed.Add(1)
			}
			return nil
		})
	}})
	b := g.browser()
	statuses := map[int]int{}
	for range 100 {
		state := queryOf(t, b.authURL(signInCall)).Get("state")
		statuses[b.get(callbackCall+"?error="+code+"&state="+url.QueryEscape(state)).status]++
	}
	require.Equal(t, map[int]int{status: 20, http.StatusTooManyRequests: 80}, statuses)
	require.EqualValues(t, 20, consumed.Load(), "throttled callbacks do not consume a state")
}

func TestSuccessfulGitHubSignInsAreNotThrottled(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	b := g.browser()
	for range 60 {
		b.signIn()
	}
	for range 19 {
		require.Equal(t, http.StatusBadRequest, b.get(b.badCallback()).status)
	}
	b.signIn()
	b.signIn()
	require.Equal(t, http.StatusBadRequest, b.get(b.badCallback()).status,
		"the successful sign-ins used no attempt, so one is left")
	require.Equal(t, http.StatusTooManyRequests, b.get(b.badCallback()).status)
}

func TestAGitHubOutageConsumesNoAttempts(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	b := g.browser()
	g.fake.Inject(githubtest.EndpointAccessToken, githubtest.Status(http.StatusServiceUnavailable))
	for range 100 {
		require.Equal(t, http.StatusServiceUnavailable, b.get(b.badCallback()).status)
	}
	g.fake.Heal()
	b.signIn()
}

func TestFailedCallbacksFromUnknownAddressesShareALimit(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.Throttling.Failures = []limit.Rate{{Count: 1, Per: time.Minute}}
	}})
	b := g.browser()
	for i := range 100 {
		b.get(b.badCallback(), "X-Forwarded-For", fmt.Sprintf("203.0.113.%d", i))
	}
	require.Equal(t, 50, g.exchanges())
	// Clients with a known address are not throttled.
	b.signIn()
}

// Only failed and denied sign-ins with GitHub count. Here, 30 people with the same address sign in
// at the same time, and none of them fails.
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
			status := g.sendCallback(flow).status
			mu.Lock()
			defer mu.Unlock()
			statuses[status]++
		})
	}
	all.Wait()
	require.Zero(t, statuses[http.StatusTooManyRequests], "%v", statuses)
}

// Twenty failures a minute are allowed. Attack: twenty sign-ins succeed at the same time. A day
// later, this must not allow more than twenty failures.
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
		all.Go(func() { g.sendCallback(flow) })
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
