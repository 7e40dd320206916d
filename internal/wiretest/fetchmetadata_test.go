package wiretest

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/stretchr/testify/require"
)

const allowedOrigin = "https://pages.example.com"

var withAllowedOrigins = githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
	cfg.BrowserSessions = &auth.BrowserSessions{}
	cfg.GitHub.AllowedOrigins = []string{"https://other.example.com", allowedOrigin}
}}

// fetchedFrom returns the Fetch Metadata headers that a browser sends, followed by the headers in
// more.
func fetchedFrom(site, mode, dest string, more ...string) []string {
	return append([]string{"Sec-Fetch-Site", site, "Sec-Fetch-Mode", mode, "Sec-Fetch-Dest", dest}, more...)
}

// writes reports whether the response sets a cookie or contains a result that came from GitHub.
func (r response) writes() bool {
	return r.header.Get("Set-Cookie") != "" || strings.Contains(r.body, `"valid"`)
}

func TestGETsThatWriteAreServedOnlyToOwnPagesAndClicks(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withAllowedOrigins)
	b := g.browser()
	b.signInByCookie("")
	cookie := b.client.Jar.Cookies(mustURL(t, g.server.URL))[0].String()
	// If a browser navigates to startCall without a click of the user, the response is a page that
	// asks for a click.
	const rejected, asked, served = "rejected", "asked", "served"
	for name, test := range map[string]struct {
		header []string
		want   string
	}{
		"no browser":                         {nil, served},
		"an old browser, another origin":     {[]string{"Origin", "https://evil.example"}, served},
		"a program on Node.js":               {[]string{"Sec-Fetch-Mode", "cors"}, served},
		"own fetch":                          {fetchedFrom("same-origin", "cors", "empty"), served},
		"own link":                           {fetchedFrom("same-origin", "navigate", "document", "Sec-Fetch-User", "?1"), served},
		"a script of an own page":            {fetchedFrom("same-origin", "navigate", "document"), served},
		"a typed address":                    {fetchedFrom("none", "navigate", "document", "Sec-Fetch-User", "?1"), served},
		"a typed address in Safari":          {fetchedFrom("none", "navigate", "document"), served},
		"a link on another site":             {fetchedFrom("cross-site", "navigate", "document", "Sec-Fetch-User", "?1"), served},
		"a link on a subdomain":              {fetchedFrom("same-site", "navigate", "document", "Sec-Fetch-User", "?1"), served},
		"a popup, or Safari":                 {fetchedFrom("cross-site", "navigate", "document"), asked},
		"a subdomain's popup, or Safari":     {fetchedFrom("same-site", "navigate", "document"), asked},
		"a popup with a false claim":         {fetchedFrom("cross-site", "navigate", "document", "Sec-Fetch-User", "?0"), asked},
		"a frame of a subdomain":             {fetchedFrom("same-site", "navigate", "iframe"), rejected},
		"a frame after a click":              {fetchedFrom("cross-site", "navigate", "iframe", "Sec-Fetch-User", "?1"), rejected},
		"an object":                          {fetchedFrom("cross-site", "navigate", "object"), rejected},
		"a subdomain's fetch":                {fetchedFrom("same-site", "no-cors", "empty"), rejected},
		"a subdomain's CORS fetch":           {fetchedFrom("same-site", "cors", "empty", "Origin", "https://evil.example.com"), rejected},
		"an image":                           {fetchedFrom("cross-site", "no-cors", "image"), rejected},
		"a fetch that claims a click":        {fetchedFrom("cross-site", "no-cors", "empty", "Sec-Fetch-User", "?1"), rejected},
		"a WebSocket":                        {[]string{"Upgrade", "websocket", "Origin", "https://evil.example"}, rejected},
		"a WebSocket with a false claim":     {fetchedFrom("same-origin", "websocket", "empty", "Upgrade", "websocket", "Origin", "https://evil.example"), rejected},
		"an unknown site value":              {fetchedFrom("near", "cors", "empty"), rejected},
		"two sites":                          {fetchedFrom("same-origin", "cors", "empty", "Sec-Fetch-Site", "cross-site"), rejected},
		"two destinations":                   {fetchedFrom("cross-site", "navigate", "document", "Sec-Fetch-Dest", "iframe", "Sec-Fetch-User", "?1"), rejected},
		"own prefetch":                       {fetchedFrom("same-origin", "no-cors", "empty", "Sec-Purpose", "prefetch"), rejected},
		"own prerendering":                   {fetchedFrom("same-origin", "navigate", "document", "Sec-Purpose", "prefetch;prerender"), rejected},
		"a prefetch of another site":         {fetchedFrom("cross-site", "navigate", "document", "Sec-Purpose", "prefetch"), rejected},
		"a typed address that is prefetched": {fetchedFrom("none", "navigate", "document", "Sec-Purpose", "prefetch;prerender"), rejected},
	} {
		for _, call := range []string{startCall, signInCall, connectCall, verifyCall} {
			answer := g.send(http.MethodGet, call, "", append(test.header, "Cookie", cookie)...)
			what := name + ": " + call + ": " + answer.body
			switch {
			case test.want == served:
				require.Contains(t, []int{http.StatusOK, http.StatusFound}, answer.status, what)
				require.True(t, answer.writes(), what)
			case test.want == asked && call == startCall:
				require.Equal(t, http.StatusOK, answer.status, what)
				require.Contains(t, answer.body, `<a href="?return_to=">`, what)
				require.False(t, answer.writes(), what)
			default:
				require.Equal(t, http.StatusForbidden, answer.status, what)
				require.JSONEq(t,
					`{"detail": "Request refused: it must come from a page of this site"}`, answer.body, what)
				require.False(t, answer.writes(), what)
			}
		}
	}
}

func TestAllowedOriginsMayFetchTheCallsThatBeginAFlow(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withAllowedOrigins)
	token := g.signIn(g.user)
	for name, test := range map[string]struct {
		header []string
		status int
	}{
		"the allowed origin":       {fetchedFrom("same-site", "cors", "empty", "Origin", allowedOrigin), http.StatusOK},
		"a cross-site request":     {fetchedFrom("cross-site", "cors", "empty", "Origin", allowedOrigin), http.StatusForbidden},
		"another port":             {fetchedFrom("same-site", "cors", "empty", "Origin", allowedOrigin+":8443"), http.StatusForbidden},
		"another scheme":           {fetchedFrom("same-site", "cors", "empty", "Origin", "http://pages.example.com"), http.StatusForbidden},
		"another case":             {fetchedFrom("same-site", "cors", "empty", "Origin", "https://Pages.example.com"), http.StatusForbidden},
		"a subdomain of it":        {fetchedFrom("same-site", "cors", "empty", "Origin", "https://a.pages.example.com"), http.StatusForbidden},
		"two origins":              {fetchedFrom("same-site", "cors", "empty", "Origin", allowedOrigin, "Origin", allowedOrigin), http.StatusForbidden},
		"no origin":                {fetchedFrom("same-site", "no-cors", "empty"), http.StatusForbidden},
		"a frame":                  {fetchedFrom("same-site", "navigate", "iframe"), http.StatusForbidden},
		"a WebSocket":              {[]string{"Upgrade", "websocket", "Origin", allowedOrigin}, http.StatusForbidden},
		"a prefetch":               {fetchedFrom("same-site", "cors", "empty", "Origin", allowedOrigin, "Sec-Purpose", "prefetch"), http.StatusForbidden},
		"an opaque origin":         {fetchedFrom("same-site", "cors", "empty", "Origin", "null"), http.StatusForbidden},
		"the other allowed origin": {fetchedFrom("same-site", "cors", "empty", "Origin", "https://other.example.com"), http.StatusOK},
	} {
		for _, call := range []string{signInCall, connectCall} {
			answer := g.send(http.MethodGet, call, "",
				append(test.header, "Authorization", "Bearer "+token)...)
			require.Equal(t, test.status, answer.status, "%s: %s", name, call)
			require.Equal(t, test.status == http.StatusOK, answer.writes(), "%s: %s", name, call)
		}
	}
}

// A page of an allowed origin must not learn about the GitHub connection of the user whose cookie
// the browser adds.
func TestAllowedOriginsCannotVerifyTheGitHubTokenWithTheCookie(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withAllowedOrigins)
	b := g.browser()
	b.signInByCookie("")
	header := fetchedFrom("same-site", "cors", "empty", "Origin", allowedOrigin)
	require.Equal(t, http.StatusForbidden, b.get(verifyCall, header...).status)
}

func TestAllowedOriginsMustBeInCanonicalForm(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	connect := func(origin string) error {
		cfg := g.github
		cfg.AllowedOrigins = []string{origin}
		return errorOf(auth.NewGitHubConnector(g.store, g.svc.Tokens(), g.sealing, cfg))
	}
	for _, origin := range []string{
		allowedOrigin, "https://pages.example.com:8443", "http://localhost:3000", "http://[::1]:3000",
		"https://xn--bcher-kva.example", "https://Pages.example.com", "HTTPS://pages.example.com",
	} {
		require.NoError(t, connect(origin), "%q", origin)
	}
	for _, origin := range []string{
		"", "*", "null", "pages.example.com", "https://", "//pages.example.com",
		allowedOrigin + "/", allowedOrigin + ":443", allowedOrigin + "?", allowedOrigin + "#",
		allowedOrigin + " ",
		"https://*.example.com", "https://a@pages.example.com", "http://pages.example.com",
		"ftp://pages.example.com", "https://bücher.example", "https://a%2eexample.com",
	} {
		require.ErrorContains(t, connect(origin), "AllowedOrigins", "%q", origin)
	}
	cfg := g.github
	cfg.AllowedOrigins, cfg.InsecureCookies = []string{"http://pages.example.com"}, true
	_, err := auth.NewGitHubConnector(g.store, g.svc.Tokens(), g.sealing, cfg)
	require.NoError(t, err, "InsecureCookies allows plain http")
}

func TestAnyPageMayVerifyTheGitHubTokenWithABearerToken(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	token := g.signIn(g.user)
	g.browser().connect(token)
	header := fetchedFrom("cross-site", "cors", "empty", "Origin", "https://evil.example",
		"Authorization", "Bearer "+token)
	require.Equal(t, true, g.send(http.MethodGet, verifyCall, "", header...).json(t)["valid"],
		"another page cannot add the token by itself")
	require.Equal(t, http.StatusForbidden,
		g.send(http.MethodGet, verifyCall, "", append(header, "Sec-Purpose", "prefetch")...).status)
}

func TestAnyPageMayReadTheConnectionStatus(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	b.signInByCookie("")
	for _, call := range []string{statusCall, "/api/v1/auth/github/token?verify=false"} {
		require.Equal(t, http.StatusOK, b.get(call, fetchedFrom("cross-site", "no-cors", "empty")...).status)
	}
}

func TestHEADRequestsWriteNothing(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	token := g.signIn(g.user)
	g.browser().connect(token)
	for _, call := range []string{startCall, signInCall, connectCall} {
		answer := g.sendAs(token, http.MethodHead, call, "")
		require.Equal(t, http.StatusNoContent, answer.status, call)
		require.False(t, answer.writes(), call)
		require.Equal(t, "no-store", answer.header.Get("Cache-Control"))
	}
	require.Equal(t, http.StatusUnauthorized, g.send(http.MethodHead, connectCall, "").status)
	g.fake.InjectN(githubtest.EndpointCheckToken, 1, githubtest.Status(http.StatusNotFound))
	require.Equal(t, http.StatusOK, g.sendAs(token, http.MethodHead, verifyCall, "").status)
	require.Equal(t, http.StatusOK, g.status(token).status, "GitHub was not asked, so the token is kept")
	require.Equal(t, http.StatusNotFound, g.sendAs(token, http.MethodGet, verifyCall, "").status)
}

func TestTheStartPageLinksToTheSameRequest(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	noClick := fetchedFrom("cross-site", "navigate", "document")
	b := g.browser().stay()
	p := b.get(startCall+"?return_to="+url.QueryEscape(`/a?b="><script>&c=d#e`), noClick...)
	require.Equal(t, http.StatusOK, p.status)
	require.Contains(t, p.body, `<a href="?return_to=%2Fa%3Fb%3D%22%3E%3Cscript%3E%26c%3Dd%23e">`)
	require.Contains(t, p.header.Values("Content-Security-Policy"),
		"default-src 'none'; frame-ancestors 'none'",
		"a click on the page must be possible only in the top window")
	require.Equal(t, "no-store", p.header.Get("Cache-Control"))
	require.Equal(t, "no-referrer", p.header.Get("Referrer-Policy"))
	require.Empty(t, b.client.Jar.Cookies(mustURL(t, g.server.URL)))
	p = b.get(startCall+"?return_to=%2Fa%3Fb%3D%22%3E%3Cscript%3E%26c%3Dd%23e",
		fetchedFrom("same-origin", "navigate", "document")...)
	require.Equal(t, http.StatusFound, p.status)
	require.Equal(t, http.StatusUnprocessableEntity,
		b.get(startCall+"?return_to=//evil.example", noClick...).status)
}

// The redirect from GitHub may follow a click on GitHub's page, or no click at all. So the callback
// must not require a click.
func TestTheCallbackNeedsNoUserActivation(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser().stay()
	callback := b.callbackURL(b.authURL(signInCall))
	p := b.get(callback, fetchedFrom("cross-site", "navigate", "document")...)
	require.Equal(t, http.StatusSeeOther, p.status)
	require.NotContains(t, p.header.Get("Location"), "error")
}

// Java's HTTP client offers HTTP/2 with an Upgrade header. The service must not treat such a
// request as the WebSocket handshake of a browser.
func TestAProgramThatOffersHTTP2CanBeginAFlow(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	for _, call := range []string{startCall, signInCall, connectCall} {
		answer := g.send(http.MethodGet, call, "",
			"Authorization", "Bearer "+g.signIn(g.user),
			"Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c")
		require.True(t, answer.writes(), call)
	}
}

// Attack: pages of a subdomain and of another site make the browser send every GET request that
// changes something. They repeat each request many times.
func TestOtherSitesCannotRevokeSessionsOrOverwriteFlows(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	b.signInByCookie("")
	flow := b.callbackURL(b.authURL(signInCall))
	before := b.client.Jar.Cookies(mustURL(t, g.server.URL))
	for range 8 {
		for _, header := range [][]string{
			fetchedFrom("same-site", "navigate", "iframe"),
			fetchedFrom("cross-site", "navigate", "document"),
			fetchedFrom("same-site", "no-cors", "empty"),
			{"Upgrade", "websocket", "Origin", "https://evil.example.com"},
		} {
			for _, call := range []string{startCall, signInCall, connectCall} {
				b.get(call, header...)
			}
		}
	}
	after := b.client.Jar.Cookies(mustURL(t, g.server.URL))
	require.True(t, slices.EqualFunc(before, after, func(a, b *http.Cookie) bool {
		return a.String() == b.String()
	}))
	require.NotContains(t, b.stay().get(flow).header.Get("Location"), "error",
		"the user's own flow completes")
}

// A host may have its own handlers, which call BeginSignIn and BeginConnect. The two functions must
// reject requests of other sites too.
func TestBeginSignInAndBeginConnectRejectRequestsOfOtherSites(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withAllowedOrigins)
	begin := func(method string, header ...string) error {
		r := httptest.NewRequest(method, "/", nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Add(header[i], header[i+1])
		}
		_, _, signIn := g.svc.GitHub().BeginSignIn(r, "")
		_, _, connect := g.svc.GitHub().BeginConnect(r, auth.Authority{UserID: "u", SessionID: "s"}, "")
		require.Equal(t, signIn, connect)
		return signIn
	}
	require.NoError(t, begin(http.MethodGet))
	require.NoError(t, begin(http.MethodPost, fetchedFrom("same-origin", "cors", "empty")...))
	require.NoError(t, begin(http.MethodGet,
		fetchedFrom("same-site", "cors", "empty", "Origin", allowedOrigin)...))
	require.ErrorIs(t, begin(http.MethodGet, fetchedFrom("same-site", "navigate", "iframe")...),
		auth.ErrCrossOrigin)
	require.ErrorIs(t, begin(http.MethodGet, "Sec-Purpose", "prefetch"), auth.ErrCrossOrigin)
	require.ErrorIs(t, begin(http.MethodHead), auth.ErrCrossOrigin)
}

// The test sends every combination of Fetch Metadata headers. It compares the responses with the
// rules in docs/github.md, which say who may begin a flow.
func TestNoCombinationOfFetchMetadataBeginsAFlowForOtherSites(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withAllowedOrigins)
	b := g.browser()
	b.signInByCookie("")
	session := b.client.Jar.Cookies(mustURL(t, g.server.URL))[0]
	handler := g.svc.Handler()
	headers := []struct {
		name   string
		values [][]string
	}{
		{"Sec-Fetch-Site", [][]string{
			nil, {""}, {"none"}, {"same-origin"}, {"same-site"}, {"cross-site"}, {"Same-Origin"},
			{"same-origin", "cross-site"},
		}},
		{"Sec-Fetch-Mode", [][]string{nil, {"navigate"}, {"cors"}, {"websocket"}, {"navigate", "navigate"}}},
		{"Sec-Fetch-Dest", [][]string{nil, {"document"}, {"iframe"}, {"empty"}, {"object"}}},
		{"Sec-Fetch-User", [][]string{nil, {"?1"}, {"?0"}}},
		{"Origin", [][]string{
			nil, {g.server.URL}, {allowedOrigin}, {"https://evil.example"}, {"null"},
			{allowedOrigin, "https://evil.example"},
		}},
		{"Upgrade", [][]string{nil, {"websocket"}, {""}}},
		{"Sec-Purpose", [][]string{nil, {"prefetch"}, {"prefetch;prerender"}}},
	}
	began := map[string]int{}
	var sendAll func(header http.Header, left int)
	sendAll = func(header http.Header, left int) {
		if left > 0 {
			for _, values := range headers[left-1].values {
				header[headers[left-1].name] = values
				sendAll(header, left-1)
			}
			return
		}
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			for _, call := range []string{startCall, signInCall, connectCall} {
				r := httptest.NewRequest(method, call, nil)
				r.Header = header.Clone()
				r.AddCookie(&http.Cookie{Name: session.Name, Value: session.Value})
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				if len(w.Result().Cookies()) == 0 {
					continue
				}
				if !mayBeginFlow(r, g.server.URL) {
					t.Fatalf("%s %s begins a flow: %v", method, call, r.Header)
				}
				began[call]++
			}
		}
	}
	sendAll(http.Header{}, len(headers))
	t.Log(began)
}

// mayBeginFlow reports whether the rules in docs/github.md allow the request to begin a flow. own
// is the origin of the service.
func mayBeginFlow(r *http.Request, own string) bool {
	is := func(name, value string) bool {
		lines := r.Header[name]
		return len(lines) == 1 && lines[0] == value
	}
	sites, origins := r.Header["Sec-Fetch-Site"], r.Header["Origin"]
	switch {
	case r.Method != http.MethodGet, len(r.Header["Sec-Purpose"]) > 0:
		return false
	case len(r.Header["Upgrade"]) > 0 && len(origins) > 0:
		return is("Origin", own)
	case len(sites) == 0, is("Sec-Fetch-Site", "same-origin"), is("Sec-Fetch-Site", "none"):
		return true
	case is("Sec-Fetch-Site", "same-site") && is("Origin", allowedOrigin):
		return true
	}
	return len(sites) == 1 && is("Sec-Fetch-Mode", "navigate") && is("Sec-Fetch-Dest", "document") &&
		is("Sec-Fetch-User", "?1")
}

// The page that asks for a click contains the parameter return_to of the request.
func TestTheStartPageReflectsNoMarkup(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	ask := func(returnTo string) response {
		return g.send("GET", startCall+"?return_to="+returnTo, "", "Sec-Fetch-Site", "cross-site",
			"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document")
	}
	answer := ask("/a%3Fx%3D%22%3E%3Cscript%3E")
	require.Equal(t, 200, answer.status)
	require.NotContains(t, answer.body, "<script")
	require.Contains(t, answer.header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
	require.Empty(t, answer.header["Set-Cookie"])
	for _, bad := range []string{
		"//evil.example", "https:%2f%2fevil.example", "/%5cevil.example", "/%09/evil.example",
		"javascript:alert(1)", "/..%2f/evil.example",
	} {
		require.Equal(t, 422, ask(bad).status, bad)
	}
}
