package wiretest

import (
	"net/http"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func TestSigningOutRevokesTheBrowserSessionAndDropsPendingFlows(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	b.signInByCookie("")
	kept := b.client.Jar.Cookies(mustURL(t, g.server.URL))
	b.authURL(signInCall)
	require.Len(t, b.client.Jar.Cookies(mustURL(t, g.server.URL)), 2)
	require.Equal(t, http.StatusOK,
		b.do(http.MethodPost, "/auth/logout", "Sec-Fetch-Site", "same-origin").status)
	require.Empty(t, b.client.Jar.Cookies(mustURL(t, g.server.URL)))
	b.client.Jar.SetCookies(mustURL(t, g.server.URL), kept)
	require.Equal(t, http.StatusUnauthorized, b.get("/auth/user").status,
		"a copy of the cookie is rejected too")
}

func TestSigningInAgainRevokesTheSessionOfTheReplacedCookie(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b, other := g.browser(), g.browser()
	b.signInByCookie("")
	other.signInByCookie("")
	first := b.client.Jar.Cookies(mustURL(t, g.server.URL))
	b.signInByCookie("")
	require.Equal(t, http.StatusOK, b.get("/auth/user").status, "the new session is valid")
	require.Equal(t, http.StatusOK, other.get("/auth/user").status,
		"the session of the other browser is valid")
	b.client.Jar.SetCookies(mustURL(t, g.server.URL), first)
	require.Equal(t, http.StatusUnauthorized, b.get("/auth/user").status, "the replaced session is revoked")
}

func TestLogoutByTokenRevokesTheCookiesSessionOnlyFromTheServicesOwnPages(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	for name, test := range map[string]struct {
		header []string
		status int
	}{
		"own page":     {[]string{"Sec-Fetch-Site", "same-origin"}, http.StatusUnauthorized},
		"another site": {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, http.StatusOK},
		"a subdomain":  {[]string{"Sec-Fetch-Site", "same-site", "Origin", "https://blog.example.com"}, http.StatusOK},
		"no origin":    {nil, http.StatusOK},
	} {
		b := g.browser()
		b.signInByCookie("")
		cookies := b.client.Jar.Cookies(mustURL(t, g.server.URL))
		header := append(test.header, "Authorization", "Bearer "+g.signIn(g.user))
		require.Equal(t, http.StatusOK, b.do(http.MethodPost, "/auth/logout", header...).status, name)
		require.Equal(t, test.status == http.StatusOK,
			len(b.client.Jar.Cookies(mustURL(t, g.server.URL))) == 1,
			"%s: the cookie is kept exactly if its session is", name)
		b.client.Jar.SetCookies(mustURL(t, g.server.URL), cookies)
		require.Equal(t, test.status, b.get("/auth/user").status, name)
	}
}

// faultyBrowserSessions enables browser sessions. RevokeToken of the store returns the error that
// the function fault returns.
func faultyBrowserSessions(fault func() error) githubOptions {
	return githubOptions{configure: func(g *githubFixture, cfg *auth.Config) {
		cfg.BrowserSessions = &auth.BrowserSessions{}
		g.fixture.injectFaults(func(method string) error {
			if method == "RevokeToken" {
				return fault()
			}
			return nil
		})
	}}
}

// A logout with a token and a cookie revokes the session of the cookie first and the token last. So
// a logout that fails halfway can be repeated with the same token.
func TestAFailedLogoutCanBeRetried(t *testing.T) {
	t.Parallel()
	for failing := range 2 {
		revocations := -1
		g := newGitHub(t, faultyBrowserSessions(func() error {
			if revocations++; revocations == failing {
				return authtest.ErrStoreAway
			}
			return nil
		}))
		b := g.browser()
		b.signInByCookie("")
		cookies := b.client.Jar.Cookies(mustURL(t, g.server.URL))
		token := g.signIn(g.user)
		revocations = -1
		for _, want := range []int{http.StatusServiceUnavailable, http.StatusOK} {
			answer := b.do(http.MethodPost, "/auth/logout", "Sec-Fetch-Site", "same-origin",
				"Authorization", "Bearer "+token)
			require.Equal(t, want, answer.status)
		}
		b.client.Jar.SetCookies(mustURL(t, g.server.URL), cookies)
		require.Equal(t, http.StatusUnauthorized, b.get("/auth/user").status)
		require.Equal(t, http.StatusUnauthorized, g.sendAs(token, http.MethodGet, "/auth/user", "").status)
	}
}

func TestSigningInSucceedsIfTheOldCookiesSessionCannotBeRevoked(t *testing.T) {
	t.Parallel()
	fault := error(nil)
	g := newGitHub(t, faultyBrowserSessions(func() error { return fault }))
	b := g.browser()
	b.signInByCookie("")
	for _, fault = range []error{authtest.ErrStoreAway, auth.ErrNotFound} {
		b.signInByCookie("")
		require.Equal(t, http.StatusOK, b.get("/auth/user").status)
	}
	require.Contains(t, g.log.String(), "the session of a replaced cookie was not revoked")
	fault = nil
	g.log.Reset()
	b.signInByCookie("")
	require.Regexp(t, "session.revoked .*event.actor_id=", g.log.String())
}

func TestLogoutByTokenSucceedsIfTheCookiesSessionWasPruned(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	b.signInByCookie("")
	_, err := g.store.PruneSessions(t.Context(), g.clock.Now().Add(24*time.Hour), 10)
	require.NoError(t, err)
	token := g.signIn(g.user)
	answer := b.do(http.MethodPost, "/auth/logout", "Sec-Fetch-Site", "same-origin",
		"Authorization", "Bearer "+token)
	require.Equal(t, http.StatusOK, answer.status)
	require.Equal(t, http.StatusUnauthorized, g.sendAs(token, http.MethodGet, "/auth/user", "").status)
	require.Equal(t, http.StatusUnauthorized, b.get("/auth/user").status)
}
