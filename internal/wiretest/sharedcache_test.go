package wiretest

import (
	"net/http"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
)

// A cache may store a file with Last-Modified although the response names no lifetime (RFC 9111,
// section 4.2.2). RFC 9111, section 3.5, protects only requests with an Authorization header.
func TestASharedCacheMustNotStoreWhatACookieOpens(t *testing.T) {
	t.Parallel()
	files := http.FileServerFS(fstest.MapFS{"report": {Data: []byte("secret"), ModTime: time.Unix(1, 0)}})
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	b.signInByCookie("")
	cookie := b.client.Jar.Cookies(mustURL(t, g.server.URL))[0].String()
	token := g.signIn(g.user)
	yes, me := true, send(g.svc.Handler(), "GET", "/auth/user", "", "Cookie", cookie).json(t)
	for _, id := range []string{g.user.ID, me["user_id"].(string)} {
		_, err := g.store.UpdateUser(t.Context(), authtest.HostWrite, id, auth.UserChange{IsSuperUser: &yes})
		require.NoError(t, err)
	}
	for _, handler := range []http.Handler{g.svc.Authenticate(files), g.svc.RequireSuperUser(files),
		g.svc.Authenticate(g.svc.RequireSuperUser(files))} {
		for _, header := range [][]string{{"Cookie", cookie}, {"Authorization", "Bearer " + token}} {
			p := send(handler, "GET", "/report", "", header...)
			require.Equal(t, http.StatusOK, p.status, p.body)
			require.NotEmpty(t, p.header.Get("Last-Modified"))
			require.Equal(t, "private, no-cache", p.header.Get("Cache-Control"), header[0])
			require.Equal(t, []string{"Cookie"}, p.header.Values("Vary"), header[0])
		}
	}

	own := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "private, max-age=60")
	})
	p := send(g.svc.Authenticate(own), "GET", "/report", "", "Cookie", cookie)
	require.Equal(t, "private, max-age=60", p.header.Get("Cache-Control"))
	varying := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept-Language")
		g.svc.Authenticate(files).ServeHTTP(w, r)
	})
	p = send(varying, "GET", "/report", "", "Cookie", cookie)
	require.Equal(t, []string{"Accept-Language", "Cookie"}, p.header.Values("Vary"))
	p = send(g.svc.Authenticate(own), "GET", "/report", "")
	require.Equal(t, http.StatusUnauthorized, p.status)
	require.Equal(t, "no-store", p.header.Get("Cache-Control"))
}

// A browser sends the cookie with a request that a page of another origin causes.
func TestRequireSuperUserAloneRefusesACookieThatAnotherOriginSends(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	b.signInByCookie("")
	cookie := b.client.Jar.Cookies(mustURL(t, g.server.URL))[0].String()
	yes, me := true, send(g.svc.Handler(), "GET", "/auth/user", "", "Cookie", cookie).json(t)
	_, err := g.store.UpdateUser(t.Context(), authtest.HostWrite, me["user_id"].(string),
		auth.UserChange{IsSuperUser: &yes})
	require.NoError(t, err)
	reached := 0
	alone := g.svc.RequireSuperUser(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }))
	for _, header := range [][]string{
		{}, {"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "same-site"},
	} {
		p := send(alone, "POST", "/report", "", append(header, "Cookie", cookie)...)
		require.Equal(t, http.StatusForbidden, p.status, header)
	}
	require.Zero(t, reached)
	p := send(alone, "POST", "/report", "", "Sec-Fetch-Site", "same-origin", "Cookie", cookie)
	require.Equal(t, http.StatusOK, p.status)
	require.Equal(t, 1, reached)
}

func TestWithoutBrowserSessionsTheHostChoosesTheCacheHeaders(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	own := f.svc.Authenticate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	p := send(own, "GET", "/report", "", "Authorization", "Bearer "+f.signIn(f.user))
	require.Equal(t, http.StatusOK, p.status)
	require.Empty(t, p.header.Values("Cache-Control"))
	require.Empty(t, p.header.Values("Vary"))
}
