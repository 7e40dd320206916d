package wiretest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// movedTo is where the host of newMovedRoutes serves the calls, instead of "/".
const movedTo = "/members/area/"

// newMovedRoutes returns a service with cookie sessions whose host serves each call at a path of its own. A
// page of the host at /page accepts the session cookie.
func newMovedRoutes(t *testing.T) *githubFixture {
	g := newGitHub(t, githubOptions{configure: func(g *githubFixture, cfg *auth.Config) {
		cfg.GitHub.CallbackURL = g.server.URL + movedTo + callbackCall[1:]
		cfg.PublicURL, cfg.BrowserSessions = g.server.URL, &auth.BrowserSessions{LandingPath: "/page"}
	}})
	mux := http.NewServeMux()
	for _, route := range g.svc.Routes(allGroups...) {
		mux.Handle(strings.Replace(route.Pattern, " /", " "+movedTo, 1), g.svc.Route(route.Pattern).Handler)
	}
	mux.Handle("GET /page", g.svc.Authenticate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	g.server.Config.Handler = mux
	return g
}

// moved returns the path at which the host serves the call with the path.
func moved(path string) string { return movedTo + path[1:] }

// loginMoved signs the browser in with an access key at the moved call.
func (b *browser) loginMoved(pair auth.KeyPair, header ...string) int {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost,
		b.g.server.URL+moved(browserLoginCall), strings.NewReader(loginBody(pair)))
	require.NoError(b.t, err)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := b.client.Do(r)
	require.NoError(b.t, err)
	require.NoError(b.t, response.Body.Close())
	return response.StatusCode
}

// The cookie is valid on the whole origin, wherever the call is that sets it.
func TestACookieOfAMovedCallWorksOnTheWholeOrigin(t *testing.T) {
	t.Parallel()
	g := newMovedRoutes(t)
	for name, signIn := range map[string]func(*browser){
		"with a key": func(b *browser) {
			require.Equal(t, http.StatusNoContent, b.loginMoved(g.userPair, "Sec-Fetch-Site", "same-origin"))
		},
		"with GitHub": func(b *browser) {
			p := b.stay().get(moved(startCall) + "?return_to=/page")
			require.Equal(t, http.StatusFound, p.status, p.body)
			callback := b.callbackURL(p.header.Get("Location"))
			require.True(t, strings.HasPrefix(callback, g.server.URL+movedTo), callback)
			for range 2 { // a reload finds the cookie of the completed flow, whose path is the callback's
				p = b.get(callback)
				require.Equal(t, http.StatusSeeOther, p.status, p.body)
				require.Equal(t, g.server.URL+"/page", p.header.Get("Location"))
			}
		},
	} {
		b := g.browser()
		signIn(b)
		cookies := b.client.Jar.Cookies(mustURL(t, g.server.URL))
		require.Len(t, cookies, 1, name)
		require.Equal(t, "__Host-auth_session", cookies[0].Name, name)
		require.Equal(t, http.StatusOK, b.get("/page").status, name)
		require.Equal(t, http.StatusOK, b.get(moved("/auth/user")).status, name)
		require.Equal(t, http.StatusNotFound, b.get("/auth/user").status, name)

		// The logout clears the cookie, although its path is below that of the call.
		require.Equal(t, http.StatusOK,
			b.do(http.MethodPost, moved("/auth/logout"), "Sec-Fetch-Site", "same-origin").status, name)
		require.Empty(t, b.client.Jar.Cookies(mustURL(t, g.server.URL)), name)
		b.client.Jar.SetCookies(mustURL(t, g.server.URL), cookies)
		require.Equal(t, http.StatusUnauthorized, b.get("/page").status, name)
	}
}

// The attack: a page of another origin sends a form to a call, which the host serves at another path.
func TestMovedCallsRefuseRequestsOfOtherOriginsWithTheCookie(t *testing.T) {
	t.Parallel()
	g := newMovedRoutes(t)
	b := g.browser().stay()
	require.Equal(t, http.StatusNoContent, b.loginMoved(g.adminPair, "Sec-Fetch-Site", "same-origin"))
	foreign := map[string][]string{
		"another site":             {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
		"a sibling origin":         {"Sec-Fetch-Site", "same-site", "Origin", "https://blog.example.com"},
		"an old browser":           {"Origin", "https://evil.example"},
		"an old browser, no TLS":   {"Origin", strings.Replace(g.server.URL, "https", "http", 1)},
		"a page without an origin": {"Origin", "null"},
	}
	changes := 0
	for _, route := range g.svc.Routes(allGroups...) {
		if route.Method == http.MethodGet || route.Path == "/auth/users/login" { // the latter takes no cookie
			continue
		}
		changes++
		path := moved(strings.NewReplacer("{id}", g.user.ID, "{access_key}", g.userPair.AccessKey).
			Replace(route.Path))
		for name, header := range foreign {
			require.Equal(t, http.StatusForbidden, b.do(route.Method, path, header...).status,
				"%s from %s", route.Pattern, name)
		}
	}
	require.Greater(t, changes, 10)
	for name, header := range foreign {
		require.Equal(t, http.StatusForbidden, g.browser().loginMoved(g.userPair, header...), name)
	}
	for _, path := range []string{startCall, connectCall, signInCall} { // GETs that begin a flow
		p := b.get(moved(path), foreign["another site"]...)
		require.Equal(t, http.StatusForbidden, p.status, path)
	}
	require.Equal(t, http.StatusOK, b.get("/page").status, "the session still exists")
	require.Equal(t, http.StatusCreated,
		b.do(http.MethodPost, moved("/auth/keys"), "Sec-Fetch-Site", "same-origin").status, "the own page")
}
