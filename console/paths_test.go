package console_test

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/console"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

func TestThePagesWorkUnderUnusualPaths(t *testing.T) {
	t.Parallel()
	svc, err := auth.New(memstore.New(), newConfig(t))
	require.NoError(t, err)
	link := regexp.MustCompile(`(?:src|href)="([^"]*)"`)
	for _, path := range []string{"", "/", "/a/", "/a/b/c", "/a b", "/ü", `/a"b`, "/a'b", "/a<b>", "/a;b",
		"/a+b", "/a&b", "/a:b", "/a@b,c=d", "/a|b", "/a^b", "/a`b", "/.a", "/a.", "/...", "/$*", "/(a)[b]", "/assets",
		"/users", "/users/x"} {
		pages, err := console.Handler(svc, console.Config{Path: path})
		require.NoError(t, err, path)
		base := &url.URL{Scheme: "https", Host: "example.com", Path: strings.TrimSuffix(path, "/") + "/"}
		get := func(address string) *httptest.ResponseRecorder {
			r, err := http.NewRequest(http.MethodGet, address, nil)
			require.NoError(t, err, path)
			w := httptest.NewRecorder()
			pages.ServeHTTP(w, r)
			require.Equal(t, http.StatusOK, w.Code, "%q: %s", path, address)
			return w
		}
		for _, found := range link.FindAllStringSubmatch(get(base.String()).Body.String(), -1) {
			asset, err := base.Parse(html.UnescapeString(found[1]))
			require.NoError(t, err, path)
			get(asset.String())
		}
	}
}

// A link can have a path to which the service does not return. The person must be able to sign in at it.
func TestSigningInAtAHostilePathLeadsToTheAccount(t *testing.T) {
	t.Parallel()
	h := newGitHubHost(t)
	start := regexp.MustCompile(`href="(/api/v1/auth/github/start[^"]*)"`)
	for _, id := range []string{"x", "%5c", "%2F%2Fevil.example", "%2e%2e", "%00", "a%2eb", "%C3%BC",
		"%22%3E", "%5c%5cevil.example", strings.Repeat("x", 3000)} {
		found := start.FindStringSubmatch(body(t, h.get("/users/"+id)))
		require.NotNil(t, found, id)
		r := httptest.NewRequest(http.MethodGet, "https://example.com"+html.UnescapeString(found[1]), nil)
		w := httptest.NewRecorder()
		h.mux.ServeHTTP(w, r)
		require.Equal(t, http.StatusFound, w.Code, "%s: %s", id, w.Body)
	}
}
