package wiretest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// Schemes and hosts have no letter case (RFC 3986, section 3.1 and 3.2.2). People copy URLs with
// capitals out of other programs.
func TestTheLetterCaseOfSchemesAndHostsDoesNotMatter(t *testing.T) {
	t.Parallel()
	capitals := func(url string) string {
		scheme, rest, _ := strings.Cut(strings.Replace(url, "127.0.0.1", "LocalHost", 1), "://")
		return strings.ToUpper(scheme) + "://" + rest
	}
	const page = "https://pages.localhost"
	g := newGitHub(t, withBrowserSessions, githubOptions{configure: func(g *githubFixture, cfg *auth.Config) {
		g.server.URL = strings.Replace(g.server.URL, "127.0.0.1", "localhost", 1)
		cfg.PublicURL = capitals(g.server.URL)
		cfg.GitHub.CallbackURL = capitals(cfg.GitHub.CallbackURL)
		cfg.GitHub.BaseURL, cfg.GitHub.APIURL = capitals(g.fake.URL()), capitals(cfg.GitHub.APIURL)
		cfg.GitHub.AllowedOrigins = []string{capitals(page)}
	}})
	b := g.browser()
	require.Equal(t, g.server.URL+"/a?tab=1", b.signInByCookie("/a?tab=1"), "as browsers write the origin")
	require.Equal(t, "octocat", b.get("/auth/user").json(t)["username"])
	authURL := b.authURL(signInCall, fetchedFrom("same-site", "cors", "empty", "Origin", page)...)
	require.Equal(t, g.github.CallbackURL, queryOf(t, authURL).Get("redirect_uri"),
		"GitHub compares it with the registered URL")
	require.NotContains(t, b.get(b.callbackURL(b.authURL(connectCall))).header.Get("Location"), "error")
	require.Equal(t, http.StatusOK, b.do(http.MethodPost, disconnectCall, "Origin", g.server.URL).status)

	link, err := g.link(octocat)
	require.NoError(t, err)
	b.signInByCookie("")
	client, err := g.svc.GitHub().Client(t.Context(), link.UserID)
	require.NoError(t, err)
	response, err := client.Get(strings.ToLower(g.github.APIURL) + "/user")
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode, "the client adds the token")
}

// Plain http is plain http in capitals too: a cookie with Secure would be lost.
func TestPlainHTTPInCapitalsIsPlainHTTP(t *testing.T) {
	t.Parallel()
	cfg := withGitHub(t, "HTTP://Intranet.Example")
	_, err := auth.New(newFixture(t).store, cfg)
	require.ErrorContains(t, err, "CallbackURL must be https")

	g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.GitHub.CallbackURL = "HTTP://Intranet.Example" + callbackCall
		cfg.GitHub.InsecureCookies, cfg.BrowserSessions = true, &auth.BrowserSessions{}
	}})
	answer := g.send(http.MethodGet, signInCall, "")
	require.NotContains(t, answer.header.Get("Set-Cookie"), "Secure")
	require.Regexp(t, `^auth_github_[0-3]=`, answer.header.Get("Set-Cookie"))
	require.Equal(t, http.StatusForbidden, g.sendAs(g.signIn(g.user), http.MethodGet, connectCall, "").status)
}

// If the origin of CallbackURL were not in the form of browsers, no request would come from a page of
// the service, so cookies would change nothing, and the log would call each flow misplaced.
func TestCallbackURLMustHaveAnOriginThatBrowsersSend(t *testing.T) {
	t.Parallel()
	for _, origin := range []string{
		"https://api.example.com:", "https://api.example.com:0443", "https://api.example.com:70000",
		"https://b\u00fccher.example", "http://localhost:", "http://[0:0::1]:8080",
	} {
		_, err := auth.New(newFixture(t).store, withGitHub(t, origin))
		require.ErrorContains(t, err, "GitHubConfig.CallbackURL must have its host and port in the form",
			origin)
	}
}
