package wiretest

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// hookRecord records the calls of the hooks, in order.
type hookRecord struct{ authtest.Record[string] }

func (m *hookRecord) hooks() auth.Hooks {
	note := func(what string, err error, took time.Duration) {
		outcome := "accepted"
		status, _ := auth.ErrorStatus(err)
		switch {
		case err == nil:
		case status == http.StatusTooManyRequests:
			outcome = "throttled"
		case status < http.StatusInternalServerError:
			outcome = "rejected"
		case errors.Is(err, context.Canceled):
			outcome = "canceled"
		default:
			outcome = "failed"
		}
		if took <= 0 {
			outcome += " in no time"
		}
		m.Add(what + " " + outcome)
	}
	return auth.Hooks{
		SignIn: func(_ context.Context, method auth.SignInMethod, err error, took time.Duration) {
			note(string(method), err, took)
		},
		Verify: func(_ context.Context, err error, cached bool, took time.Duration) {
			what := "token"
			if cached {
				what = "cached token"
			}
			note(what, err, took)
		},
	}
}

func TestHooksReportTheOutcomeOfEachSignInAndToken(t *testing.T) {
	t.Parallel()
	var m hookRecord
	fault := error(nil)
	g := newGitHub(t, githubOptions{configure: func(g *githubFixture, cfg *auth.Config) {
		cfg.Hooks = m.hooks()
		g.fixture.store = authtest.FaultyStore(g.fixture.store, func(method string) error {
			if method == "FindKey" || method == "ListRevocations" {
				return fault
			}
			return nil
		})
	}})
	token := g.login(g.userPair).json(t)["token"].(string)
	for range 2 {
		g.sendAs(token, "GET", "/auth/user", "")
	}
	g.sendAs(token+"x", "GET", "/auth/user", "")
	require.Equal(t, []string{
		"access_key accepted", "token accepted", "cached token accepted", "token rejected",
	}, m.Take())

	for range 21 {
		g.login(g.wrong())
	}
	outcomes := m.Take()
	require.Equal(t, "access_key rejected", outcomes[0])
	require.Equal(t, "access_key throttled", outcomes[20])

	fault = authtest.ErrStoreAway
	require.Equal(t, http.StatusServiceUnavailable, g.login(g.userPair).status)
	g.clock.Advance(2 * time.Minute)
	require.Equal(t, http.StatusServiceUnavailable, g.sendAs(token, "GET", "/auth/user", "").status)
	require.Equal(t, []string{"access_key failed", "cached token failed"}, m.Take())

	fault = nil
	g.browser().signIn()
	g.browser().get(callbackCall + "?code=x&state=forged")
	g.signIn(g.user)
	require.Equal(t, []string{"github accepted", "github rejected", "host accepted"}, m.Take())
}

func TestFeedAgeReportsTheLastReadOfTheFeed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, accepts := f.svc.FeedAge()
	require.False(t, accepts, "the feed has not been read yet")
	f.sendAs(f.signIn(f.user), "GET", "/auth/user", "")
	f.clock.Advance(3 * time.Second)
	age, accepts := f.svc.FeedAge()
	require.True(t, accepts)
	require.Equal(t, 3*time.Second, age)
	f.clock.Advance(time.Minute)
	_, accepts = f.svc.FeedAge()
	require.False(t, accepts)

	inStore := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.Tokens.CheckSessionsInStore = true })
	_, accepts = inStore.svc.FeedAge()
	require.True(t, accepts)
}

// If a sign-in fails because the store fails, it causes a sign_in.rejected event. This holds even
// if the failing call is the check of the session cookie.
func TestAGitHubCallbackThatTheStoreFailsIsAnEvent(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
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
	got.Deliver(t, g.svc)
	hooks.Store(0)
	away.Store(true)
	p := b.stay().get(callback)
	require.Contains(t, p.header.Get("Location"), "error=unavailable")
	away.Store(false)
	var kinds []eventkind.Kind
	for _, e := range got.Deliver(t, g.svc) {
		kinds = append(kinds, e.Kind)
	}
	require.Contains(t, kinds, eventkind.SignInRejected)
	require.EqualValues(t, 1, hooks.Load())
}

// One attempt causes exactly one event and one call of the hook.
func TestAThrottledForgedCallbackIsExactlyOneEvent(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
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
	got.Deliver(t, g.svc)
	hooks.Store(0)
	require.Equal(t, http.StatusTooManyRequests, forge())
	events := got.Deliver(t, g.svc)
	var kinds []eventkind.Kind
	for _, e := range events {
		kinds = append(kinds, e.Kind)
	}
	require.Len(t, events, 1, "%v", kinds)
	require.EqualValues(t, 1, hooks.Load())
}
