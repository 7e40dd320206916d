package wiretest

import (
	"net/http"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
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
	for _, header := range [][]string{{"Cookie", cookie}, {"Authorization", "Bearer " + token}} {
		p := send(g.svc.Authenticate(files), "GET", "/report", "", header...)
		require.Equal(t, http.StatusOK, p.status, p.body)
		require.NotEmpty(t, p.header.Get("Last-Modified"))
		require.Equal(t, "private, no-cache", p.header.Get("Cache-Control"), header[0])
		require.Equal(t, "Cookie", p.header.Get("Vary"), header[0])
	}

	own := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "private, max-age=60")
	})
	p := send(g.svc.Authenticate(own), "GET", "/report", "", "Cookie", cookie)
	require.Equal(t, "private, max-age=60", p.header.Get("Cache-Control"))
	p = send(g.svc.Authenticate(own), "GET", "/report", "")
	require.Equal(t, http.StatusUnauthorized, p.status)
	require.Equal(t, "no-store", p.header.Get("Cache-Control"))
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
