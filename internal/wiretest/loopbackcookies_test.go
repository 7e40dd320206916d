package wiretest

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// onPlainHTTP makes the service listen on plain http, at a loopback host with this name.
func onPlainHTTP(t testing.TB, name string) githubOptions {
	return githubOptions{configure: func(g *githubFixture, cfg *auth.Config) {
		g.server = httptest.NewServer(nil)
		t.Cleanup(g.server.Close)
		g.server.URL = strings.Replace(g.server.URL, "127.0.0.1", name, 1)
		cfg.GitHub.CallbackURL = g.server.URL + callbackCall
		cfg.BrowserSessions = &auth.BrowserSessions{LandingPath: "/account?tab=1"}
	}}
}

// Safari drops Secure cookies of plain http, also on loopback. Go's cookie jar does the same.
func TestOnPlainHTTPLoopbackABrowserThatDropsSecureCookiesSignsIn(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"127.0.0.1", "localhost"} {
		g := newGitHub(t, onPlainHTTP(t, name))
		b := g.browser()
		callback := b.signInBy("/reports")
		require.Equal(t, "octocat", b.get("/auth/user").json(t)["username"])
		require.Equal(t, g.server.URL+"/reports", b.get(callback).header.Get("Location"), "back")
		require.NotContains(t, b.get(b.callbackURL(b.authURL(connectCall))).header.Get("Location"), "error")

		bearer := g.sendAs(g.signIn(g.user), http.MethodGet, connectCall, "")
		require.Equal(t, http.StatusOK, bearer.status, "unlike beyond loopback, see docs/github.md")

		out := b.do(http.MethodPost, "/auth/logout", "Origin", g.server.URL)
		require.Equal(t, http.StatusOK, out.status)
		require.Empty(t, b.callbackCookies(), "every cookie is removed under the name that it has")
		for _, line := range out.header.Values("Set-Cookie") {
			require.NotContains(t, line, "Secure")
			require.NotContains(t, line, "__Host-")
		}
	}
}

// The names and attributes of cookies depend only on CallbackURL. If they depended on the request, a
// client could send a header with which the service sets weak cookies over https.
func TestOnlyTheConfigurationDecidesWhetherCookiesAreSecure(t *testing.T) {
	t.Parallel()
	for origin, secure := range map[string]bool{
		"http://127.0.0.1:8080": false, "http://localhost": false, "http://[::1]:8080": false,
		"HTTP://LocalHost:8080": false, "https://localhost": true, "https://127.0.0.1:8443": true,
		"https://api.example.com": true,
	} {
		g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
			cfg.GitHub.CallbackURL, cfg.BrowserSessions = origin+callbackCall, &auth.BrowserSessions{}
		}})
		for _, target := range []string{"/", "http://127.0.0.1:8080", "https://api.example.com"} {
			r := httptest.NewRequest(http.MethodGet, target, nil)
			r.URL.Path = signInCall
			r.Header.Set("X-Forwarded-Proto", map[bool]string{true: "http", false: "https"}[secure])
			set := serve(g.svc.Handler(), r).header.Get("Set-Cookie")
			require.Equal(t, secure, strings.HasPrefix(set, "__Host-auth_github_"), "%s: %s", origin, set)
			require.Equal(t, secure, strings.Contains(set, "; Secure"), "%s: %s", origin, set)
			require.Contains(t, set, "; HttpOnly")
			require.Contains(t, set, "; SameSite=Lax")
		}
	}
}

// Attack: a program on another port of the same machine sets cookies in the person's browser.
// Browsers send cookies to all ports of a host, so the service gets them. The program can plant only
// cookies that the service has given to the program itself.
func TestAnotherPortOfLoopbackCannotUseCookiesThatItPlants(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, onPlainHTTP(t, "127.0.0.1"))
	plant := func(b *browser, path string, cookies ...*http.Cookie) {
		for _, cookie := range cookies {
			planted := &http.Cookie{Name: cookie.Name, Value: cookie.Value, Path: path}
			b.client.Jar.SetCookies(mustURL(t, "http://127.0.0.1:1"), []*http.Cookie{planted})
		}
	}
	as := func(login string) *browser {
		require.NoError(t, g.fake.SignInAs(login))
		b := g.browser()
		b.signInBy("")
		return b
	}
	cookie := func(b *browser, name string) *http.Cookie {
		for _, cookie := range b.client.Jar.Cookies(mustURL(t, g.server.URL)) {
			if strings.HasPrefix(cookie.Name, name) {
				return cookie
			}
		}
		t.Fatal("no cookie " + name)
		return nil
	}
	attacker := as(hubotLogin)
	attackURL := attacker.authURL(connectCall)
	flow := cookie(attacker, "auth_github_")

	// The victim approves at GitHub, and the flow of the attacker's session comes back.
	for name, victim := range map[string]*browser{"signed in": as(octocatLogin), "signed out": g.browser()} {
		plant(victim, "/", flow)
		p := victim.stay().get(victim.callbackURL(attackURL))
		require.Contains(t, p.header.Get("Location"), "error=expired", name)
	}
	link, err := g.link(octocat)
	require.NoError(t, err)
	signedIn := attacker.get("/auth/user").json(t)
	require.NotEqual(t, signedIn["user_id"], link.UserID, "the victim's account is not the attacker's")

	// The cookie of another flow, and cookies that the attacker has made or changed.
	forged := *flow
	forged.Value = strings.Repeat("A", len(flow.Value))
	changed := *flow
	changed.Value = flow.Value[:len(flow.Value)-4] + "AAAA"
	for name, planted := range map[string]http.Cookie{
		"another flow": *flow, "forged": forged, "changed": changed,
	} {
		victim := g.browser().stay()
		callback := victim.callbackURL(victim.get(startCall).header.Get("Location"))
		planted.Name = cookie(victim, "auth_github_").Name
		plant(victim, "/", &planted)
		require.Contains(t, victim.get(callback).header.Get("Location"), "error=expired", name)
	}

	// A second session cookie beside the victim's does not make the victim work as the attacker.
	victim := as(octocatLogin)
	plant(victim, "/auth", cookie(attacker, "auth_session"))
	require.Equal(t, http.StatusUnauthorized, victim.get("/auth/user").status)
	plant(victim, "/", &http.Cookie{Name: "auth_session", Value: forged.Value})
	require.Equal(t, http.StatusUnauthorized, victim.get("/auth/user").status)
	// Nor does a cookie with the name that https would give it.
	victim = g.browser()
	stolen := cookie(attacker, "auth_session")
	plant(victim, "/", &http.Cookie{Name: "__Host-" + stolen.Name, Value: stolen.Value})
	require.Equal(t, http.StatusUnauthorized, victim.get("/auth/user").status)
}

// The sealed cookie is bound to the origin, so a session of one port is none at another.
func TestASessionCookieOfAnotherPortIsRejected(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, onPlainHTTP(t, "127.0.0.1"))
	b := g.browser()
	b.signInBy("")
	other := g.instance(func(cfg *auth.Config) {
		browserSessions(cfg)
		u, err := url.Parse(cfg.GitHub.CallbackURL)
		require.NoError(t, err)
		u.Host = "127.0.0.1:1"
		cfg.GitHub.CallbackURL = u.String()
	})
	cookies := b.callbackCookies()
	require.Equal(t, http.StatusUnauthorized,
		send(other.Handler(), http.MethodGet, "/auth/user", "", "Cookie", cookies).status)
	require.Equal(t, http.StatusOK, g.send(http.MethodGet, "/auth/user", "", "Cookie", cookies).status)
}
