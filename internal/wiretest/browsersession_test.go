package wiretest

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

var withBrowserSessions = githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
	cfg.BrowserSessions = &auth.BrowserSessions{LandingPath: "/account?tab=1"}
}}

// signInByCookie signs the browser in with GitHub, so that it gets a session cookie. It returns the
// URL to which the browser was redirected.
func (b *browser) signInByCookie(returnTo string) string {
	b.t.Helper()
	p := b.stay().get(startCall + "?return_to=" + url.QueryEscape(returnTo))
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

func TestRevokingAUserRevokesTheBrowserSessionButNotTheNextOne(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	for range 2 {
		b.signInByCookie("")
		user := b.get("/auth/user")
		require.Equal(t, http.StatusOK, user.status)
		_, err := g.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, user.json(t)["user_id"].(string))
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
		"own page":                         {[]string{"Sec-Fetch-Site", "same-origin"}, http.StatusOK},
		"own page and own Origin":          {[]string{"Sec-Fetch-Site", "same-origin", "Origin", origin}, http.StatusOK},
		"an old browser, own Origin":       {[]string{"Origin", origin}, http.StatusOK},
		"neither header":                   {nil, http.StatusForbidden},
		"another site":                     {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, http.StatusForbidden},
		"another site claims our Origin":   {[]string{"Sec-Fetch-Site", "cross-site", "Origin", origin}, http.StatusForbidden},
		"a subdomain of the same site":     {[]string{"Sec-Fetch-Site", "same-site", "Origin", origin}, http.StatusForbidden},
		"a typed address":                  {[]string{"Sec-Fetch-Site", "none"}, http.StatusForbidden},
		"an old browser, another Origin":   {[]string{"Origin", "https://evil.example"}, http.StatusForbidden},
		"an old browser, Origin null":      {[]string{"Origin", "null"}, http.StatusForbidden},
		"an old browser, own host by http": {[]string{"Origin", strings.Replace(origin, "https", "http", 1)}, http.StatusForbidden},
		"an old browser, another port":     {[]string{"Origin", "https://127.0.0.1:1"}, http.StatusForbidden},
	} {
		b.signInByCookie("")
		p := b.do(http.MethodPost, disconnectCall, test.header...)
		require.Equal(t, test.status, p.status, name)
	}
	require.Equal(t, http.StatusOK, b.get("/auth/user", "Sec-Fetch-Site", "cross-site").status,
		"reading changes nothing")

	b.signInByCookie("")
	cookie := b.client.Jar.Cookies(mustURL(t, g.server.URL))[0].String()
	for name, header := range map[string][]string{
		"two Sec-Fetch-Site headers": {"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"},
		"two Origin headers":         {"Origin", origin, "Origin", "https://evil.example"},
	} {
		answer := g.send(http.MethodPost, disconnectCall, "", append(header, "Cookie", cookie)...)
		require.Equal(t, http.StatusForbidden, answer.status, name)
	}
}

// Chromium lets a page of any origin open a WebSocket, and sends no Sec-Fetch-Site header with the
// handshake. So the library must check the Origin header.
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
		"own page":                       {[]string{"Origin", g.server.URL}, http.StatusOK},
		"own page in another browser":    {[]string{"Origin", g.server.URL, "Sec-Fetch-Site", "same-origin"}, http.StatusOK},
		"a subdomain":                    {[]string{"Origin", "https://blog.example.com"}, http.StatusForbidden},
		"a subdomain claims same-origin": {[]string{"Origin", "https://blog.example.com", "Sec-Fetch-Site", "same-origin"}, http.StatusForbidden},
		"null":                           {[]string{"Origin", "null"}, http.StatusForbidden},
		"no origin":                      {nil, http.StatusForbidden},
		"two origins":                    {[]string{"Origin", g.server.URL, "Origin", "https://blog.example.com"}, http.StatusForbidden},
	} {
		require.Equal(t, test.status, open(append(test.header, "Cookie", cookie)...), name)
	}
	require.Equal(t, http.StatusOK, open("Authorization", "Bearer "+g.signIn(g.user)),
		"a bearer token needs no Origin")
}

func TestTheCookieIsIgnoredIfABearerTokenIsSent(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	b.signInByCookie("")
	for _, header := range []string{"Bearer x", "bearer x", "Bearer", "Bearer "} {
		require.Equal(t, http.StatusUnauthorized,
			b.get("/auth/user", "Authorization", header).status, "%q", header)
	}
	p := b.get("/auth/user", "Authorization", "Bearer "+g.signIn(g.user))
	require.Equal(t, "alice", p.json(t)["username"], "the token identifies the caller")
	require.Equal(t, http.StatusOK,
		b.do(http.MethodPost, "/auth/logout", "Authorization", "Bearer "+g.signIn(g.user)).status,
		"a bearer token needs no Origin")
}

// A proxy in front of the service may require an Authorization header of another scheme. The
// service must then still read the cookie.
func TestAnAuthorizationHeaderOfAnotherSchemeDoesNotHideTheCookie(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	b.signInByCookie("")
	for _, header := range []string{"Basic eDp5", "Negotiate x", ""} {
		require.Equal(t, http.StatusOK, b.get("/auth/user", "Authorization", header).status, "%q", header)
		require.Equal(t, http.StatusForbidden,
			b.do(http.MethodPost, disconnectCall, "Authorization", header).status,
			"%q: a change by cookie still needs an Origin", header)
	}
}

// The state cookie and the session cookie are sealed, and the token is signed, each with a
// different key. The service must not accept one of them in place of another.
func TestStatesCookiesAndTokensAreNotInterchangeable_CVE_2023_48309(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	b.authURL(signInCall)
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
		return g.send(http.MethodGet, "/auth/user", "",
			append(header, "Cookie", "__Host-auth_session="+cookie)...).status
	}
	require.Equal(t, http.StatusOK, ask(session.Value))
	require.Equal(t, http.StatusUnauthorized, ask(token), "a token as session cookie")
	require.Equal(t, http.StatusUnauthorized, ask(state.Value), "a state as session cookie")
	require.Equal(t, http.StatusUnauthorized,
		g.sendAs(session.Value, http.MethodGet, "/auth/user", "").status, "a session cookie as token")
	require.Equal(t, http.StatusUnauthorized,
		g.send(http.MethodGet, "/auth/user", "", "Cookie", state.Name+"="+session.Value).status)
	for name, cookie := range map[string]string{
		"empty": "", "truncated": session.Value[:len(session.Value)-1],
		"longer": session.Value + "A", "not base64": "%%%", "huge": strings.Repeat("A", 5000),
	} {
		require.Equal(t, http.StatusUnauthorized, ask(cookie), name)
	}
	twice := g.send(http.MethodGet, "/auth/user", "",
		"Cookie", "__Host-auth_session="+session.Value+"; __Host-auth_session="+session.Value)
	require.Equal(t, http.StatusUnauthorized, twice.status)
	require.Equal(t, http.StatusUnauthorized,
		g.send(http.MethodGet, "/auth/user", "", "Cookie", "auth_session="+session.Value).status,
		"another cookie name")
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
	require.Equal(t, page+"expired", fail(callbackCall+"?code=x&state=y"))
	require.Equal(t, page+"expired", fail(callbackCall))
	state := func() string { return queryOf(t, b.authURL(signInCall)).Get("state") }
	require.Equal(t, page+"denied", fail(callbackCall+"?error=access_denied&state="+state()))

	callback := b.callbackURL(b.authURL(signInCall))
	g.fake.InjectN(githubtest.EndpointUser, 1, githubtest.Status(http.StatusBadGateway))
	require.Equal(t, page+"unavailable", fail(callback))

	g.browser().connect(g.signIn(g.user))
	callback = b.callbackURL(b.connectURL(g.signIn(g.admin)))
	require.Equal(t, page+"conflict", fail(callback))
	g.setActive(g.user, false)
	require.Equal(t, page+"not_allowed", fail(b.callbackURL(b.authURL(signInCall))))
}

// Mallory is signed in and begins a flow that connects a GitHub account to her user. The victim's
// browser completes the flow. The session cookie shows that the victim is another user.
func TestConnectingInAnotherUsersBrowserSessionIsRejected(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	b.signInByCookie("") // the victim signs in as octocat
	callback := b.callbackURL(b.connectURL(g.signIn(g.user)))
	p := b.stay().get(callback)
	require.Contains(t, p.header.Get("Location"), "error=expired")
	require.Equal(t, http.StatusNotFound, g.status(g.signIn(g.user)).status)
}

func TestReturnToRedirectsOnlyWithinTheService(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	for _, path := range []string{
		"https://evil.example", "//evil.example", "///evil.example", `/\evil.example`,
		`\\evil.example`, "/%5cevil.example", "/%5Cevil.example",
		`/./\evil.example`, "/.//evil.example", "/..//evil.example", "/a/../b", "/./a", "/a/..",
		"/%2e%2e/", "/%2F/evil.example", "/a//b",
		"evil.example", "javascript:alert(1)", "/\tevil", "/\nevil", "/\r\nSet-Cookie: x=y", "/a b",
		"/é", "/\x00", "/\u2028", "/@evil\\",
		"http:/evil.example", "?x", "#x", "/" + strings.Repeat("a", 256), " /", "/a\u202e",
	} {
		p := g.browser().stay().get(startCall + "?return_to=" + url.QueryEscape(path))
		require.Equal(t, http.StatusUnprocessableEntity, p.status, "%q", path)
		require.NotContains(t, p.body, "evil")
	}
	p := g.browser().stay().get("/api/v1/auth/github/start?return_to=" +
		url.QueryEscape("/"+strings.Repeat("&", 255)))
	require.Equal(t, http.StatusUnprocessableEntity, p.status)
	require.JSONEq(t, `{"detail":"Field return_to is too long"}`, p.body, "each & is six bytes in the cookie")
	p = g.browser().stay().get("/api/v1/auth/github/start?return_to=/" + strings.Repeat("a", 256))
	require.Equal(t, http.StatusUnprocessableEntity, p.status)
	require.JSONEq(t, `{"detail":"Field return_to must be at most 256 bytes"}`, p.body)
	for _, path := range []string{
		"/", "/a", "/a/b.html", "/a?b=c&d=%20e", "/a#b", "/a.b/c..d", "/@alice", "/a?next=1",
		"/a?next=%2Freports%2f1&v=1%2E2", "/a#%2Fb",
		"/" + strings.Repeat("a", 255),
	} {
		require.Equal(t, g.server.URL+path, g.browser().signInByCookie(path), path)
	}
}

func TestInvalidBrowserSessionConfigurationsAreRejected(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	for name, change := range map[string]func(*auth.Config){
		"without GitHub":                 func(c *auth.Config) { c.GitHub = nil },
		"with an unbound state":          func(c *auth.Config) { github := *c.GitHub; github.InsecureUnboundState = true; c.GitHub = &github },
		"a landing page of another site": func(c *auth.Config) { c.BrowserSessions = &auth.BrowserSessions{LandingPath: "https://evil.example"} },
	} {
		github := g.github
		cfg := auth.Config{
			Issuer: issuer, SigningKeys: []auth.SigningKey{g.signer.Key}, SealingKeys: g.sealing,
			GitHub: &github, BrowserSessions: &auth.BrowserSessions{},
		}
		change(&cfg)
		_, err := auth.New(g.store, cfg)
		require.Error(t, err, name)
	}
}
