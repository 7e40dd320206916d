package wiretest

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/internal/authtest"
)

var withBrowserSessions = githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
	cfg.BrowserSessions = &auth.BrowserSessions{LandingPath: "/account?tab=1"}
}}

// signInByCookie signs the browser in and returns where it was sent.
func (b *browser) signInByCookie(returnTo string) string {
	b.t.Helper()
	p := b.stay().get("/api/v1/auth/github/start?return_to=" + url.QueryEscape(returnTo))
	require.Equal(b.t, http.StatusFound, p.status, p.body)
	p = b.get(b.callbackURL(p.header.Get("Location")))
	require.Equal(b.t, http.StatusSeeOther, p.status, p.body)
	return p.header.Get("Location")
}

func TestABrowserSignsInByCookie(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	require.Equal(t, g.server.URL+"/account?tab=1", b.signInByCookie(""))
	cookies := b.client.Jar.Cookies(mustURL(t, g.server.URL))
	require.Len(t, cookies, 1)
	require.Equal(t, "__Host-auth_session", cookies[0].Name)
	p := b.get("/auth/user")
	require.Equal(t, http.StatusOK, p.status)
	require.Equal(t, "octocat", p.json(t)["username"])
	require.Equal(t, g.server.URL+"/reports?x=1#top", b.signInByCookie("/reports?x=1#top"))
}

func TestSigningOutRevokesTheBrowserSessionAndDropsPendingFlows(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	b.signInByCookie("")
	kept := b.client.Jar.Cookies(mustURL(t, g.server.URL))
	b.authURL("/api/v1/auth/github/login-user")
	require.Len(t, b.client.Jar.Cookies(mustURL(t, g.server.URL)), 2)
	require.Equal(t, http.StatusOK, b.do(http.MethodPost, "/auth/logout", "Sec-Fetch-Site", "same-origin").status)
	require.Empty(t, b.client.Jar.Cookies(mustURL(t, g.server.URL)))
	b.client.Jar.SetCookies(mustURL(t, g.server.URL), kept)
	require.Equal(t, http.StatusUnauthorized, b.get("/auth/user").status, "a copy of the cookie is worth nothing either")
}

func TestRevokingAUserRevokesTheBrowserSessionButNotTheNextOne(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	for range 2 {
		b.signInByCookie("")
		user := b.get("/auth/user")
		require.Equal(t, http.StatusOK, user.status)
		_, err := g.svc.RevokeUser(t.Context(), authtest.ByHost, user.json(t)["user_id"].(string))
		require.NoError(t, err)
		require.Equal(t, http.StatusUnauthorized, b.get("/auth/user").status)
	}
}

func TestTheSessionCookieAuthorizesChangesOnlyFromTheServicesOwnPages(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	origin := g.server.URL
	for name, test := range map[string]struct {
		header []string
		status int
	}{
		"our page":                      {[]string{"Sec-Fetch-Site", "same-origin"}, http.StatusOK},
		"our page, and its origin":      {[]string{"Sec-Fetch-Site", "same-origin", "Origin", origin}, http.StatusOK},
		"an old browser, our origin":    {[]string{"Origin", origin}, http.StatusOK},
		"neither":                       {nil, http.StatusForbidden},
		"another site":                  {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, http.StatusForbidden},
		"another site claims ours":      {[]string{"Sec-Fetch-Site", "cross-site", "Origin", origin}, http.StatusForbidden},
		"a sibling domain":              {[]string{"Sec-Fetch-Site", "same-site", "Origin", origin}, http.StatusForbidden},
		"a typed address":               {[]string{"Sec-Fetch-Site", "none"}, http.StatusForbidden},
		"an old browser, another":       {[]string{"Origin", "https://evil.example"}, http.StatusForbidden},
		"an old browser, null":          {[]string{"Origin", "null"}, http.StatusForbidden},
		"an old browser, our host only": {[]string{"Origin", strings.Replace(origin, "https", "http", 1)}, http.StatusForbidden},
		"an old browser, another port":  {[]string{"Origin", "https://127.0.0.1:1"}, http.StatusForbidden},
	} {
		b.signInByCookie("")
		p := b.do(http.MethodPost, "/api/v1/auth/github/logout", test.header...)
		require.Equal(t, test.status, p.status, name)
	}
	require.Equal(t, http.StatusOK, b.get("/auth/user", "Sec-Fetch-Site", "cross-site").status, "reading changes nothing")

	b.signInByCookie("")
	cookie := b.client.Jar.Cookies(mustURL(t, g.server.URL))[0].String()
	for name, header := range map[string][]string{
		"two sites":   {"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"},
		"two origins": {"Origin", origin, "Origin", "https://evil.example"},
	} {
		answer := g.send(http.MethodPost, "/api/v1/auth/github/logout", "", append(header, "Cookie", cookie)...)
		require.Equal(t, http.StatusForbidden, answer.status, name)
	}
}

// Chromium sends no Sec-Fetch-Site with the handshake of a WebSocket, and lets a page of any origin
// make one.
func TestOnlyTheServicesOwnPagesOpenAWebSocketWithTheCookie(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	b.signInByCookie("")
	cookie := b.client.Jar.Cookies(mustURL(t, g.server.URL))[0].String()
	open := func(header ...string) int {
		r := httptest.NewRequest(http.MethodGet, g.server.URL+"/live", nil)
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "WebSocket, h2c")
		for i := 0; i < len(header); i += 2 {
			r.Header.Add(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		g.svc.Authenticate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
		return w.Code
	}
	for name, test := range map[string]struct {
		header []string
		status int
	}{
		"our page":                       {[]string{"Origin", g.server.URL}, http.StatusOK},
		"our page in another browser":    {[]string{"Origin", g.server.URL, "Sec-Fetch-Site", "same-origin"}, http.StatusOK},
		"a sibling domain":               {[]string{"Origin", "https://blog.example.com"}, http.StatusForbidden},
		"a sibling claims to be our own": {[]string{"Origin", "https://blog.example.com", "Sec-Fetch-Site", "same-origin"}, http.StatusForbidden},
		"null":                           {[]string{"Origin", "null"}, http.StatusForbidden},
		"no origin":                      {nil, http.StatusForbidden},
		"two origins":                    {[]string{"Origin", g.server.URL, "Origin", "https://blog.example.com"}, http.StatusForbidden},
	} {
		require.Equal(t, test.status, open(append(test.header, "Cookie", cookie)...), name)
	}
	require.Equal(t, http.StatusOK, open("Authorization", "Bearer "+g.signIn(g.user)), "a bearer needs no origin")
}

func TestTheCookieIsIgnoredIfABearerTokenIsSent(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	b.signInByCookie("")
	for _, header := range []string{"Bearer x", "bearer x", "Bearer", "Bearer "} {
		require.Equal(t, http.StatusUnauthorized, b.get("/auth/user", "Authorization", header).status, "%q", header)
	}
	p := b.get("/auth/user", "Authorization", "Bearer "+g.signIn(g.user))
	require.Equal(t, "alice", p.json(t)["username"], "the header says who it is")
	require.Equal(t, http.StatusOK, b.do(http.MethodPost, "/auth/logout", "Authorization", "Bearer "+g.signIn(g.user)).status,
		"a bearer needs no origin")
}

// A proxy in front of the host may ask for credentials of its own.
func TestAnAuthorizationHeaderOfAnotherSchemeDoesNotHideTheCookie(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	b.signInByCookie("")
	for _, header := range []string{"Basic eDp5", "Negotiate x", ""} {
		require.Equal(t, http.StatusOK, b.get("/auth/user", "Authorization", header).status, "%q", header)
		require.Equal(t, http.StatusForbidden, b.do(http.MethodPost, "/api/v1/auth/github/logout", "Authorization", header).status,
			"%q: the cookie still changes things from our own pages only", header)
	}
}

func TestSigningInAgainRevokesTheSessionOfTheReplacedCookie(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b, other := g.browser(), g.browser()
	b.signInByCookie("")
	other.signInByCookie("")
	first := b.client.Jar.Cookies(mustURL(t, g.server.URL))
	b.signInByCookie("")
	require.Equal(t, http.StatusOK, b.get("/auth/user").status, "the new session")
	require.Equal(t, http.StatusOK, other.get("/auth/user").status, "one of another browser")
	b.client.Jar.SetCookies(mustURL(t, g.server.URL), first)
	require.Equal(t, http.StatusUnauthorized, b.get("/auth/user").status, "the replaced session")
}

func TestLogoutByTokenRevokesTheCookiesSessionOnlyFromTheServicesOwnPages(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	for name, test := range map[string]struct {
		header []string
		status int
	}{
		"our page":     {[]string{"Sec-Fetch-Site", "same-origin"}, http.StatusUnauthorized},
		"another site": {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, http.StatusOK},
		"a sibling":    {[]string{"Sec-Fetch-Site", "same-site", "Origin", "https://blog.example.com"}, http.StatusOK},
		"no origin":    {nil, http.StatusOK},
	} {
		b := g.browser()
		b.signInByCookie("")
		cookies := b.client.Jar.Cookies(mustURL(t, g.server.URL))
		header := append(test.header, "Authorization", "Bearer "+g.signIn(g.user))
		require.Equal(t, http.StatusOK, b.do(http.MethodPost, "/auth/logout", header...).status, name)
		require.Equal(t, test.status == http.StatusOK, len(b.client.Jar.Cookies(mustURL(t, g.server.URL))) == 1,
			"%s: a cookie stays with its session", name)
		b.client.Jar.SetCookies(mustURL(t, g.server.URL), cookies)
		require.Equal(t, test.status, b.get("/auth/user").status, name)
	}
}

// faultyBrowserSessions has the browser's sessions on a store of which each RevokeToken fails as
// fault says.
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

// The token that the call needs is revoked last.
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
			answer := b.do(http.MethodPost, "/auth/logout", "Sec-Fetch-Site", "same-origin", "Authorization", "Bearer "+token)
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
	answer := b.do(http.MethodPost, "/auth/logout", "Sec-Fetch-Site", "same-origin", "Authorization", "Bearer "+token)
	require.Equal(t, http.StatusOK, answer.status)
	require.Equal(t, http.StatusUnauthorized, g.sendAs(token, http.MethodGet, "/auth/user", "").status)
	require.Equal(t, http.StatusUnauthorized, b.get("/auth/user").status)
}

// State, cookies and session tokens are made under different keys: none passes
// for another.
func TestStatesCookiesAndTokensAreNotInterchangeable_CVE_2023_48309(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	b.authURL("/api/v1/auth/github/login-user")
	state := b.client.Jar.Cookies(mustURL(t, g.server.URL))[0]
	b.signInByCookie("")
	var session *http.Cookie
	for _, c := range b.client.Jar.Cookies(mustURL(t, g.server.URL)) {
		if c.Name == "__Host-auth_session" {
			session = c
		}
	}
	token := g.signIn(g.user)
	ask := func(cookie string, header ...string) int {
		return g.send(http.MethodGet, "/auth/user", "", append(header, "Cookie", "__Host-auth_session="+cookie)...).status
	}
	require.Equal(t, http.StatusOK, ask(session.Value))
	require.Equal(t, http.StatusUnauthorized, ask(token), "a token is no cookie")
	require.Equal(t, http.StatusUnauthorized, ask(state.Value), "a state is no session")
	require.Equal(t, http.StatusUnauthorized, g.sendAs(session.Value, http.MethodGet, "/auth/user", "").status, "a cookie is no token")
	require.Equal(t, http.StatusUnauthorized, g.send(http.MethodGet, "/auth/user", "", "Cookie", state.Name+"="+session.Value).status)
	for name, cookie := range map[string]string{
		"empty": "", "cut": session.Value[:len(session.Value)-1], "longer": session.Value + "A", "not base64": "%%%", "huge": strings.Repeat("A", 5000),
	} {
		require.Equal(t, http.StatusUnauthorized, ask(cookie), name)
	}
	twice := g.send(http.MethodGet, "/auth/user", "", "Cookie", "__Host-auth_session="+session.Value+"; __Host-auth_session="+session.Value)
	require.Equal(t, http.StatusUnauthorized, twice.status)
	require.Equal(t, http.StatusUnauthorized, g.send(http.MethodGet, "/auth/user", "", "Cookie", "auth_session="+session.Value).status, "another name")
}

func TestABrowserSessionExpires(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	b.signInByCookie("")
	g.clock.Advance(12 * time.Hour)
	require.Equal(t, http.StatusUnauthorized, b.get("/auth/user").status)
}

func TestAFailedBrowserSignInRedirectsWithAnErrorCode(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	page := g.server.URL + "/account?tab=1&error="
	b := g.browser().stay()
	fail := func(callback string) string {
		p := b.get(callback)
		require.Equal(t, http.StatusSeeOther, p.status, p.body)
		require.Equal(t, "no-store", p.header.Get("Cache-Control"))
		return p.header.Get("Location")
	}
	require.Equal(t, page+"expired", fail("/api/v1/auth/github/callback?code=x&state=y"))
	require.Equal(t, page+"expired", fail("/api/v1/auth/github/callback"))
	state := func() string { return queryOf(t, b.authURL("/api/v1/auth/github/login-user")).Get("state") }
	require.Equal(t, page+"denied", fail("/api/v1/auth/github/callback?error=access_denied&state="+state()))

	callback := b.callbackURL(b.authURL("/api/v1/auth/github/login-user"))
	g.fake.InjectN(githubtest.EndpointUser, 1, githubtest.Status(http.StatusBadGateway))
	require.Equal(t, page+"unavailable", fail(callback))

	g.browser().connect(g.signIn(g.user))
	callback = b.callbackURL(b.authURL("/api/v1/auth/github/login", "Authorization", "Bearer "+g.signIn(g.admin)))
	require.Equal(t, page+"conflict", fail(callback))
	g.setActive(g.user, false)
	require.Equal(t, page+"not_allowed", fail(b.callbackURL(b.authURL("/api/v1/auth/github/login-user"))))
}

// Mallory, signed in here, gives the victim's browser her own connect flow: the
// victim's session says that it is not her who comes back.
func TestConnectingInAnotherUsersBrowserSessionIsRejected(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	b.signInByCookie("") // octocat's user
	callback := b.callbackURL(b.authURL("/api/v1/auth/github/login", "Authorization", "Bearer "+g.signIn(g.user)))
	p := b.stay().get(callback)
	require.Contains(t, p.header.Get("Location"), "error=expired")
	require.Equal(t, http.StatusNotFound, g.status(g.signIn(g.user)).status)
}

func TestReturnToRedirectsOnlyWithinTheService(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	for _, path := range []string{
		"https://evil.example", "//evil.example", "///evil.example", `/\evil.example`, `\\evil.example`, "/%5cevil.example", "/%5Cevil.example",
		`/./\evil.example`, "/.//evil.example", "/..//evil.example", "/a/../b", "/./a", "/a/..", "/%2e%2e/", "/%2F/evil.example", "/a//b",
		"evil.example", "javascript:alert(1)", "/\tevil", "/\nevil", "/\r\nSet-Cookie: x=y", "/a b", "/é", "/\x00", "/\u2028", "/@evil\\",
		"http:/evil.example", "?x", "#x", "/" + strings.Repeat("a", 256), " /", "/a\u202e",
	} {
		p := g.browser().stay().get("/api/v1/auth/github/start?return_to=" + url.QueryEscape(path))
		require.Equal(t, http.StatusUnprocessableEntity, p.status, "%q", path)
		require.NotContains(t, p.body, "evil")
	}
	for _, path := range []string{"/", "/a", "/a/b.html", "/a?b=c&d=%20e", "/a#b", "/a.b/c..d", "/@alice", "/a?next=1", "/" + strings.Repeat("a", 255)} {
		require.Equal(t, g.server.URL+path, g.browser().signInByCookie(path), path)
	}
}

func TestInvalidBrowserSessionConfigurationsAreRejected(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	for name, change := range map[string]func(*auth.Config){
		"without GitHub":        func(c *auth.Config) { c.GitHub = nil },
		"with an unbound state": func(c *auth.Config) { github := *c.GitHub; github.InsecureUnboundState = true; c.GitHub = &github },
		"a page elsewhere":      func(c *auth.Config) { c.BrowserSessions = &auth.BrowserSessions{LandingPath: "https://evil.example"} },
	} {
		github := g.github
		cfg := auth.Config{Issuer: issuer, SigningKeys: []auth.SigningKey{g.signer.Key}, SealingKeys: g.sealing,
			GitHub: &github, BrowserSessions: &auth.BrowserSessions{}}
		change(&cfg)
		_, err := auth.New(g.store, cfg)
		require.Error(t, err, name)
	}
}
