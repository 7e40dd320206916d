package wiretest

import (
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// GitHub fails for the users whose membership must be checked. The other users sign in by the same
// call, and their sign-ins do not show that GitHub answers again.
func TestASignInThatDoesNotAskGitHubEndsNoOutageOfGitHub(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	m.clock.Advance(recheckAfter)
	m.fake.Inject(githubtest.EndpointUser, githubtest.Status(http.StatusBadGateway))
	for range 3 {
		require.Equal(t, http.StatusServiceUnavailable, m.login(m.pair).status)
		require.Equal(t, http.StatusOK, m.login(m.userPair).status)
	}
	require.Len(t, m.logLines("request failed"), 1)
	require.Contains(t, m.logLines("request failed")[0], "cause=github ")
	require.Empty(t, m.logLines("succeed again"))
	m.fake.Heal()
	m.requireSignsIn()
	require.Len(t, m.logLines("succeed again"), 1)
	require.Contains(t, m.logLines("succeed again")[0], "requests=3")
}

// Anyone can send a prefetch of the callback. The service answers it without the store and GitHub.
func TestAPrefetchOfTheCallbackEndsNoOutage(t *testing.T) {
	t.Parallel()
	for cause, makeFail := range map[string]func(*githubFixture, *atomic.Bool){
		"store": func(_ *githubFixture, away *atomic.Bool) { away.Store(true) },
		"github": func(g *githubFixture, _ *atomic.Bool) {
			g.fake.Inject(githubtest.EndpointAccessToken, githubtest.Status(http.StatusBadGateway))
		},
	} {
		var away atomic.Bool
		g := newGitHub(t, githubOptions{configure: func(g *githubFixture, cfg *auth.Config) {
			withFaults(func(method string) error {
				if away.Load() && method == "ConsumeState" {
					return authtest.ErrStoreAway
				}
				return nil
			})(g.fixture, cfg)
		}})
		b := g.browser()
		callback := b.callbackURL(b.authURL(signInCall))
		makeFail(g, &away)
		require.Equal(t, http.StatusServiceUnavailable, b.get(callback).status)
		require.Contains(t, g.logLines("request failed")[0], "cause="+cause+" ")
		require.Equal(t, http.StatusNoContent,
			g.browser().get(callbackCall, "Sec-Purpose", "prefetch").status)
		require.Equal(t, http.StatusNoContent, g.browser().do(http.MethodHead, callbackCall).status)
		require.Empty(t, g.logLines("succeed again"))
		away.Store(false)
		g.fake.Heal()
		b.signIn()
		require.Len(t, g.logLines("succeed again"), 1)
	}
}

// Anyone who begins a sign-in can send the callback of an error. Its line must not keep the line of a
// real outage from the log for 30 seconds.
func TestACallbackWithAnErrorHidesNoOutage(t *testing.T) {
	t.Parallel()
	for _, options := range []githubOptions{{}, withBrowserSessions} {
		g := newGitHub(t, options)
		b := g.browser().stay()
		state := queryOf(t, b.authURL(signInCall))["state"]
		b.get(callbackCall + "?" + url.Values{"state": state, "error": {"server_error"}}.Encode())
		require.Len(t, g.logLines("request failed"), 1)
		require.Contains(t, g.logLines("request failed")[0], `cause="github callback"`)

		g.fake.Inject(githubtest.EndpointAccessToken, githubtest.Status(http.StatusBadGateway))
		b.get(b.callbackURL(b.authURL(signInCall)))
		require.Len(t, g.logLines("request failed"), 2)
		require.Contains(t, g.logLines("request failed")[1], "cause=github ")
	}
}
