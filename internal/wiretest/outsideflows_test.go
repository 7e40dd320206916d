package wiretest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
)

// After a failed refresh its lease lasts for half a minute. A request that polled the store ten
// times a second would cause hundreds of locking transactions.
func TestWaitingForATokenRefreshDoesNotFloodTheStore(t *testing.T) {
	t.Parallel()
	var writes atomic.Int64
	g := newGitHub(t, githubOptions{fake: expiring.fake, configure: func(g *githubFixture, _ *auth.Config) {
		g.fixture.injectFaults(func(method string) error {
			if method == "LeaseGitHubToken" {
				writes.Add(1)
			}
			return nil
		})
	}})
	token := g.signIn(g.user)
	require.Equal(t, http.StatusOK, g.browser().connect(token).status)
	g.clock.Advance(9 * time.Hour)
	g.fake.Inject(githubtest.EndpointAccessToken, githubtest.Status(http.StatusBadGateway))
	g.svc.GitHub().Verify(t.Context(), g.user.ID)
	writes.Store(0)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	const requests = 50
	var all sync.WaitGroup
	for range requests {
		all.Go(func() { g.svc.GitHub().Verify(ctx, g.user.ID) })
	}
	all.Wait()
	require.LessOrEqual(t, writes.Load(), int64(2*requests),
		"write transactions of %d requests in 3 seconds", requests)
}

// The test sends every combination of Fetch Metadata headers and compares the result with the rules
// in docs/github.md for the callers that may begin a flow.
func TestNoCombinationOfFetchMetadataBeginsAFlowForOtherSites(t *testing.T) {
	t.Parallel()
	const app = "https://app.example.com"
	g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.BrowserSessions = &auth.BrowserSessions{}
		cfg.GitHub.AllowedOrigins = []string{app}
	}})
	b := g.browser()
	b.signInByCookie("")
	session := b.client.Jar.Cookies(mustURL(t, g.server.URL))[0]
	h := g.svc.Handler()
	type header struct{ lines []string }
	none := header{}
	one := func(v string) header { return header{[]string{v}} }
	sites := []header{
		none, one(""), one("none"), one("same-origin"), one("same-site"), one("cross-site"),
		one("Same-Origin"), {[]string{"same-origin", "cross-site"}},
	}
	modes := []header{
		none, one("navigate"), one("cors"), one("websocket"), {[]string{"navigate", "navigate"}},
	}
	dests := []header{none, one("document"), one("iframe"), one("empty"), one("object")}
	users := []header{none, one("?1"), one("?0")}
	origins := []header{
		none, one(g.server.URL), one(app), one("https://evil.example"), one("null"),
		{[]string{app, "https://evil.example"}},
	}
	upgrades := []header{none, one("websocket"), one("")}
	purposes := []header{none, one("prefetch"), one("prefetch;prerender")}
	began := map[string]int{}
	for _, site := range sites {
		for _, mode := range modes {
			for _, dest := range dests {
				for _, user := range users {
					for _, origin := range origins {
						for _, upgrade := range upgrades {
							for _, purpose := range purposes {
								for _, method := range []string{"GET", "HEAD"} {
									for _, path := range []string{"start", "login-user", "login"} {
										r := httptest.NewRequest(method, "/api/v1/auth/github/"+path, nil)
										r.Header["Sec-Fetch-Site"], r.Header["Sec-Fetch-Mode"], r.Header["Sec-Fetch-Dest"] = site.lines, mode.lines, dest.lines
										r.Header["Sec-Fetch-User"], r.Header["Origin"], r.Header["Upgrade"], r.Header["Sec-Purpose"] = user.lines, origin.lines, upgrade.lines, purpose.lines
										r.AddCookie(&http.Cookie{Name: session.Name, Value: session.Value})
										w := httptest.NewRecorder()
										h.ServeHTTP(w, r)
										if len(w.Result().Cookies()) == 0 {
											continue
										}
										is := func(h header, v string) bool {
											return len(h.lines) == 1 && h.lines[0] == v
										}
										allowed := method == "GET" && len(purpose.lines) == 0
										switch {
										case len(upgrade.lines) > 0 && len(origin.lines) > 0:
											allowed = allowed && is(origin, g.server.URL)
										case len(site.lines) == 0, is(site, "same-origin"), is(site, "none"):
										case is(site, "same-site") && is(origin, app):
										default:
											allowed = allowed && is(mode, "navigate") && is(dest,
												"document") && is(user, "?1") && len(site.lines) == 1
										}
										if !allowed {
											t.Fatalf("%s %s begins a flow: %v", method, path, r.Header)
										}
										began[path]++
									}
								}
							}
						}
					}
				}
			}
		}
	}
	t.Log(began)
}

// The page asks for a click to go on and contains the return_to of the request.
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

// The answer must not show whether a session or a key exists.
func TestUnknownAndOtherUsersRecordsGetTheSame404(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	other, err := f.svc.SignIn(t.Context(), f.admin.ID)
	require.NoError(t, err)
	alice := f.signIn(f.user)
	for _, pair := range [][2]string{
		{"DELETE /auth/sessions/" + other.Session.ID, "DELETE /auth/sessions/nobodys"},
		{"DELETE /auth/keys/" + f.adminPair.AccessKey, "DELETE /auth/keys/" + f.wrong().AccessKey},
		{"POST /auth/keys/" + f.adminPair.AccessKey + "/rotate", "POST /auth/keys/" + f.wrong().AccessKey + "/rotate"},
	} {
		var answers [2]response
		for i, call := range pair {
			method, target := call[:4], call[5:]
			if call[0] == 'D' {
				method, target = call[:6], call[7:]
			}
			answers[i] = f.sendAs(alice, method, target, "")
		}
		require.Equal(t, answers[0], answers[1])
		require.Equal(t, 404, answers[0].status)
	}
}

// A Cookie header of 200 KB over a real HTTP/2 connection must not make a call fail.
func TestLargeHeadersOverHTTP2DoNotFail(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	server := httptest.NewUnstartedServer(g.svc.Handler())
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	cookies := ""
	for range 2990 {
		cookies += "__Host-auth_github_1=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA; "
	}
	for _, path := range []string{
		startCall, callbackCall + "?state=AAAA&code=x", "/auth/user", "/auth/logout",
	} {
		began := time.Now()
		for range 20 {
			method := "GET"
			if path == "/auth/logout" {
				method = "POST"
			}
			r, _ := http.NewRequest(method, server.URL+path, nil)
			r.Header.Set("Cookie", cookies)
			client := server.Client()
			client.CheckRedirect = func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse
			}
			a, err := client.Do(r)
			require.NoError(t, err)
			a.Body.Close()
			require.Less(t, a.StatusCode, 500)
		}
		t.Log(path, time.Since(began)/20)
	}
}

// Only known callers cause access.refused events, and the session of a deleted user is revoked.
func TestADeletedUsersCookieIsNotAKnownCaller(t *testing.T) {
	t.Parallel()
	var got recorded
	g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.BrowserSessions, cfg.OnEvent = &auth.BrowserSessions{}, got.Add
	}})
	b := g.browser()
	b.signInByCookie("")
	cookie := b.client.Jar.Cookies(mustURL(t, g.server.URL))[0]
	link, err := g.link(octocat)
	require.NoError(t, err)
	require.NoError(t, g.svc.DeleteUser(t.Context(), auth.ByHost("test"), link.UserID))
	got.deliver(t, g.svc)
	answer := g.send("POST", disconnectCall, "", "Cookie", cookie.Name+"="+cookie.Value)
	t.Log(answer.status)
	for _, e := range got.deliver(t, g.svc) {
		require.NotEqual(t, auth.EventAccessRefused, e.Kind, "caused by the deleted user %s", e.ActorID)
	}
}

// A flow completes only in the browser session that began it; a flow of a bearer token completes
// only without a browser session.
func TestConnectFlowsCompleteOnlyInTheirOwnSession(t *testing.T) {
	t.Parallel()
	for _, begin := range []string{"bearer", "cookie"} {
		for _, end := range []string{
			"none", "same", "another session of the same user", "another user", "revoked",
		} {
			g := newGitHub(t, withBrowserSessions)
			b := g.browser()
			b.signInByCookie("")
			link, err := g.link(octocat)
			require.NoError(t, err)
			token, err := g.svc.SignIn(t.Context(), link.UserID)
			require.NoError(t, err)
			var callback string
			if begin == "bearer" {
				callback = b.callbackURL(b.connectURL(token.Bearer.Reveal()))
			} else {
				callback = b.callbackURL(b.authURL(connectCall))
			}
			u := mustURL(t, g.server.URL)
			var state, session *http.Cookie
			for _, c := range b.client.Jar.Cookies(u) {
				if c.Name == "__Host-auth_session" {
					session = c
				} else {
					state = c
				}
			}
			header := []string{"Cookie", state.Name + "=" + state.Value}
			switch end {
			case "same":
				header[1] += "; " + session.Name + "=" + session.Value
			case "another session of the same user", "another user":
				other := g.browser()
				if end == "another user" {
					require.NoError(t, g.fake.SignInAs(hubotLogin))
				}
				other.signInByCookie("")
				require.NoError(t, g.fake.SignInAs(octocatLogin))
				c := other.client.Jar.Cookies(u)[0]
				header[1] += "; " + c.Name + "=" + c.Value
			case "revoked":
				_, err := g.svc.RevokeUser(t.Context(), auth.ByHost("test"), link.UserID)
				require.NoError(t, err)
				header[1] += "; " + session.Name + "=" + session.Value
			}
			cb := mustURL(t, callback)
			answer := g.send("GET", cb.RequestURI(), "", header...)
			ok := answer.header.Get("Location") == g.server.URL+"/account?tab=1"
			want := begin == "cookie" && end == "same" || begin == "bearer" && end == "none"
			require.Equal(t, want, ok, "%s, %s: %s", begin, end, answer.header.Get("Location"))
		}
	}
}
