package wiretest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// The messages of the log about a flow that begins at another origin than that of the callback.
const (
	misplaced  = "auth: a GitHub flow began at another origin than that of GitHubConfig.CallbackURL"
	lostCookie = "auth: a callback from GitHub came without the cookie of its flow"
)

// ask sends a request for the path and query to the service, with this Host header.
func (g *githubFixture) ask(host, target string, header ...string) response {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Host = host
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return serve(g.svc.Handler(), r)
}

func (g *githubFixture) port() string { return mustURL(g.t, g.server.URL).Port() }

// The person has opened https://localhost, and the callback is at https://127.0.0.1.
func TestStartOnAnotherNameOfTheMachineSignsIn(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	begin := "https://localhost:" + g.port() + startCall +
		"?return_to=" + url.QueryEscape("/reports?x=1&y=2#top")
	click := func(site string) []string {
		return fetchedFrom(site, "navigate", "document", "Sec-Fetch-User", "?1")
	}
	moved := b.stay().get(begin, click("same-origin")...)
	require.Equal(t, http.StatusTemporaryRedirect, moved.status)
	require.Empty(t, moved.header.Values("Set-Cookie"))
	require.Equal(t, "no-store", moved.header.Get("Cache-Control"))
	next := moved.header.Get("Location")
	require.Equal(t, g.server.URL+startCall, strings.Split(next, "?")[0])
	require.Equal(t, "/reports?x=1&y=2#top", queryOf(t, next).Get("return_to"))

	// After the redirect, browsers say that the request comes from another site.
	p := b.get(next, click("cross-site")...)
	require.Equal(t, http.StatusFound, p.status)
	p = b.get(b.callbackURL(p.header.Get("Location")))
	require.Equal(t, g.server.URL+"/reports?x=1&y=2#top", p.header.Get("Location"))
	require.NotContains(t, g.log.String(), misplaced, "the redirect has mended it")
}

// Attack: a client sends any Host header and any path. The service redirects only to the configured
// origin, and never twice.
func TestStartIsRedirectedOnlyOnceAndOnlyToTheConfiguredOrigin(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	port := g.port()
	for _, name := range []string{"localhost", "LOCALHOST", "[::1]", "127.8.9.1"} {
		host := name + ":" + port
		answer := g.ask(host, startCall)
		require.Equal(t, http.StatusTemporaryRedirect, answer.status, host)
		location := answer.header.Get("Location")
		require.True(t, strings.HasPrefix(location, g.server.URL+startCall+"?"), location)

		// A proxy replaces the Host header of every request: the second request is served.
		again := g.ask(host, strings.TrimPrefix(location, g.server.URL))
		require.Equal(t, http.StatusFound, again.status, host)
		require.True(t, strings.HasPrefix(again.header.Get("Location"), g.fake.URL()), host)
	}
	for name, c := range map[string]struct {
		host   string
		header []string
		status int
	}{
		"the callback's origin":       {"127.0.0.1:" + port, nil, http.StatusFound},
		"another port":                {"localhost:1", nil, http.StatusFound},
		"no port":                     {"localhost", nil, http.StatusFound},
		"another host":                {"evil.example:" + port, nil, http.StatusFound},
		"a name like localhost":       {"localhost.evil.example:" + port, nil, http.StatusFound},
		"a user":                      {"localhost@evil.example:" + port, nil, http.StatusFound},
		"all addresses":               {"0.0.0.0:" + port, nil, http.StatusFound},
		"a host that is no host":      {"%%\r\n\x00", nil, http.StatusFound},
		"no host":                     {"", nil, http.StatusFound},
		"a proxy, by Referer":         {"localhost:" + port, []string{"Referer", g.server.URL + "/page"}, http.StatusFound},
		"a proxy, by Origin":          {"localhost:" + port, []string{"Origin", g.server.URL}, http.StatusFound},
		"a page of this other origin": {"localhost:" + port, []string{"Referer", "https://localhost:" + port + "/"}, http.StatusTemporaryRedirect},
		"a script of another site":    {"localhost:" + port, fetchedFrom("cross-site", "navigate", "document"), http.StatusTemporaryRedirect},
		"a frame of another site":     {"localhost:" + port, fetchedFrom("cross-site", "navigate", "iframe"), http.StatusForbidden},
		"a prefetch":                  {"localhost:" + port, []string{"Sec-Purpose", "prefetch"}, http.StatusForbidden},
	} {
		answer := g.ask(c.host, startCall, c.header...)
		require.Equal(t, c.status, answer.status, name)
		require.NotContains(t, answer.header.Get("Location"), "evil", name)
	}

	// A host mounts the calls below a prefix. The redirect has the whole path.
	below := http.StripPrefix("/app", g.svc.Handler())
	for target, want := range map[string]string{
		"/app" + startCall:                    g.server.URL + "/app" + startCall + "?moved=1",
		"/app" + startCall + "?a=b&a=c&d=%2F": g.server.URL + "/app" + startCall + "?a=b&a=c&d=%2F&moved=1",
	} {
		r := httptest.NewRequest(http.MethodGet, target, nil)
		r.Host = "localhost:" + port
		require.Equal(t, want, serve(below, r).header.Get("Location"))
	}
	for _, uri := range []string{"", "@evil.example", ".evil.example/", "https://evil.example/start", ":80"} {
		r := httptest.NewRequest(http.MethodGet, startCall, nil)
		r.Host, r.RequestURI = "localhost:"+port, uri
		require.Equal(t, http.StatusFound, serve(g.svc.Handler(), r).status, uri)
	}
	r := httptest.NewRequest(http.MethodGet, startCall, nil)
	r.Host, r.RequestURI = "localhost:"+port, "//evil.example"+startCall
	location := serve(g.svc.Handler(), r).header.Get("Location")
	require.Equal(t, mustURL(t, g.server.URL).Host, mustURL(t, location).Host)
}

// A host may let pages at another name of the machine fetch the calls. A page at the origin of the Host
// header shows that the browser is there, so its cookie is lost without a redirect.
func TestStartIsRedirectedFromAnAllowedOriginThatIsTheServiceItself(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, githubOptions{configure: func(g *githubFixture, cfg *auth.Config) {
		withBrowserSessions.configure(g, cfg)
		cfg.GitHub.AllowedOrigins = []string{"https://localhost:" + g.port(), "https://app.localhost"}
	}})
	host := "localhost:" + g.port()
	for page, status := range map[string]int{
		"https://" + host: http.StatusTemporaryRedirect, "https://app.localhost": http.StatusFound,
	} {
		require.Equal(t, status, g.ask(host, startCall, "Referer", page+"/").status, page)
	}
	require.Equal(t, http.StatusOK, g.ask(host, signInCall, "Origin", "https://"+host).status)
	require.Contains(t, g.log.String(), misplaced)
}

// A public service is behind a proxy, which may replace the Host header. No Host header causes a
// redirect.
func TestStartOfAPublicServiceIsNeverRedirected(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.GitHub.CallbackURL = "https://api.example.com" + callbackCall
		cfg.BrowserSessions = &auth.BrowserSessions{}
	}})
	for _, host := range []string{"api.example.com", "localhost", "127.0.0.1:8080", "www.example.com"} {
		require.Equal(t, http.StatusFound, g.ask(host, startCall).status, host)
	}
}

func TestAFlowThatBeginsAtAnotherOriginIsLoggedOnceAnHour(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.GitHub.CallbackURL = "https://api.example.com" + callbackCall
		cfg.GitHub.AllowedOrigins = []string{"https://app.example.com"}
	}})
	lines := func() int { return strings.Count(g.log.String(), misplaced) }
	for name, c := range map[string][]string{
		"the callback's origin":     {"api.example.com"},
		"with its port":             {"API.example.com:443"},
		"a proxy, by Referer":       {"backend:8080", "Referer", "https://api.example.com/page"},
		"a proxy, by Origin":        {"backend:8080", "Origin", "https://app.example.com"},
		"no Host header (HTTP/1.0)": {""},
	} {
		require.Equal(t, http.StatusOK, g.ask(c[0], signInCall, c[1:]...).status, name)
		require.Zero(t, lines(), "%s: %s", name, g.log)
	}

	token := "Bearer " + g.signIn(g.user)
	for range 3 {
		g.ask("www.example.com", signInCall)
		g.ask("www.example.com", connectCall, "Authorization", token)
		g.ask("www.example.com", startCall)
	}
	require.Equal(t, 1, lines())
	require.Contains(t, g.log.String(), "level=WARN")
	require.Contains(t, g.log.String(),
		"began_at=https://www.example.com callback_at=https://api.example.com")
	g.clock.Advance(time.Hour - time.Second)
	g.ask("www.example.com", signInCall)
	require.Equal(t, 1, lines())
	g.clock.Advance(time.Second)
	g.ask("www.example.com", signInCall)
	require.Equal(t, 2, lines())
	g.clock.Advance(-24 * time.Hour)
	g.ask("www.example.com", signInCall)
	require.Equal(t, 3, lines(), "a clock that was set back does not silence the warning")
}

// Attack: a stranger sends made-up Host headers, so that the log does not name the origin at which the
// people of the service begin their flows.
func TestMadeUpHostsDoNotHideTheOriginOfAFlow(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	line := func(host string) string { return misplaced + ".*began_at=https://" + host + " " }
	for n := range 50 {
		g.ask(fmt.Sprintf("h%d.evil.example", n), signInCall)
		g.ask("evil.example", signInCall)
	}
	b := g.browser()
	b.get(callbackCall + "?code=x&state=made-up")
	began := g.ask("www.example.com", signInCall)
	require.Regexp(t, line("www.example.com"), g.log.String())
	require.Equal(t, 52, strings.Count(g.log.String(), misplaced))

	for range 2 {
		b.get(b.callbackURL(began.json(t)["auth_url"].(string)))
	}
	require.Equal(t, 1, strings.Count(g.log.String(), "last_began_at=https://www.example.com"))

	g.log.Reset()
	for n := range 1000 {
		g.ask(fmt.Sprintf("f%d.evil.example", n), signInCall)
	}
	require.Equal(t, 48, strings.Count(g.log.String(), misplaced), "a hundred an hour")
	require.Equal(t, 1, strings.Count(g.log.String(), "at too many other origins to name each"))
}

func TestACallbackWithoutItsCookieIsLoggedWithBothOrigins(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	lines := func() int { return strings.Count(g.log.String(), lostCookie) }
	b := g.browser().stay()
	b.get(b.callbackURL(b.get(startCall).header.Get("Location")))
	b.get(callbackCall)
	b.get(callbackCall + "?code=x")
	require.Zero(t, lines(), "a flow with its cookie, and callbacks without a state")

	began := g.ask("localhost:"+g.port(), signInCall)
	callback := b.callbackURL(began.json(t)["auth_url"].(string))
	for range 3 {
		require.Contains(t, b.get(callback).header.Get("Location"), "error=expired")
	}
	require.Equal(t, 1, lines())
	require.Contains(t, g.log.String(),
		"callback_at="+g.server.URL+" last_began_at=https://localhost:"+g.port())
	g.clock.Advance(time.Hour)
	b.get(callback)
	require.Equal(t, 2, lines())
}

// Attack: the Host header contains a line break to forge a log line, or is long enough to fill the log.
func TestAHostHeaderInTheLogIsCleanAndShort(t *testing.T) {
	t.Parallel()
	for _, host := range []string{
		"x\n2026 ERROR forged", "x\u202egnp", "x\x00\x1b[31m", "\xff\xfe", strings.Repeat("x", 5000),
	} {
		g := newGitHub(t)
		g.ask(host, signInCall)
		log := g.log.String()
		i := strings.Index(log, misplaced)
		require.GreaterOrEqual(t, i, 0, "%q", host)
		line, _, _ := strings.Cut(log[i:], "\n")
		require.Contains(t, line, "callback_at="+g.server.URL, "%q: the whole message is one line", host)
		require.Less(t, len(line), 500, "%q", host)
		for _, bad := range []string{"\x00", "\x1b", "\u202e", `\x00`, `\u202e`, `\n`, "\xff"} {
			require.NotContains(t, line, bad, "%q", host)
		}
	}
}
