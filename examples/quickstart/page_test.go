package main

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestThePageIsServedUnderAStrictPolicy(t *testing.T) {
	t.Parallel()
	p := start(t, "-db", inMemory)
	for path, contentType := range map[string]string{
		"/":         "text/html; charset=utf-8",
		"/page.js":  "text/javascript; charset=utf-8",
		"/users.js": "text/javascript; charset=utf-8",
		"/page.css": "text/css; charset=utf-8",
		"/icon.svg": "image/svg+xml",
	} {
		response, err := http.Get(p.url + path)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode, path)
		require.NotEmpty(t, body)
		require.Equal(t, contentType, response.Header.Get("Content-Type"))
		require.Equal(t, "nosniff", response.Header.Get("X-Content-Type-Options"))
		require.Equal(t, "no-referrer", response.Header.Get("Referrer-Policy"))
		require.Equal(t, []string{pagePolicy}, response.Header.Values("Content-Security-Policy"))
	}
	for _, path := range []string{"/index.html", "/page/", "/page/index.html", "/page.js/",
		"/favicon.ico"} {
		require.Equal(t, http.StatusNotFound, statusFor(t, p, path, "localhost"), path)
	}
}

func TestThePolicyAllowsNothingUnsafe(t *testing.T) {
	t.Parallel()
	policy := map[string]string{}
	for directive := range strings.SplitSeq(pagePolicy, "; ") {
		name, sources, ok := strings.Cut(directive, " ")
		require.True(t, ok, directive)
		require.NotContains(t, policy, name)
		policy[name] = sources
	}
	for name, sources := range policy {
		require.Contains(t, []string{"'none'", "'self'", "'script'"}, sources, name)
	}
	for _, name := range []string{"default-src", "form-action", "base-uri", "frame-ancestors"} {
		require.Equal(t, "'none'", policy[name], name)
	}
}

// The policy forbids inline code. It also forbids resources of other sites, because the other site
// would learn of the visit. The page must use neither inline code nor such resources.
func TestThePageNeedsNothingThatThePolicyForbids(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		text, err := pageFiles.ReadFile("page/" + name)
		require.NoError(t, err)
		return string(text)
	}
	html, script := read("index.html"), ""
	for _, name := range pageScripts {
		script += read(name)
	}
	require.NotRegexp(t, `(?i)<style|\sstyle\s*=`, html)
	require.NotRegexp(t, `(?i)\son\w+\s*=`, html, "event handlers")
	require.NotRegexp(t, `(?i)javascript:|//`, html, "addresses elsewhere")
	scripts := regexp.MustCompile(`(?is)<script[^>]*>(.*?)</script>`).FindAllStringSubmatch(html, -1)
	require.Len(t, scripts, 1)
	require.Empty(t, scripts[0][1])
	require.NotRegexp(t,
		`innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(|\.style\b`, script)
	require.NotRegexp(t, `localStorage|sessionStorage|indexedDB|document\.cookie|console\.`, script)
	require.NotRegexp(t, `(?i)url\(|@import`, read("page.css"))
}

func TestEveryFieldOfThePageHasALabel(t *testing.T) {
	t.Parallel()
	html, err := pageFiles.ReadFile("page/index.html")
	require.NoError(t, err)
	fields := regexp.MustCompile(`<(?:input|select) id="([^"]+)"`).FindAllSubmatch(html, -1)
	require.Len(t, fields, strings.Count(string(html), "<input")+strings.Count(string(html), "<select"))
	for _, field := range fields {
		require.Contains(t, string(html), `<label for="`+string(field[1])+`">`)
	}
}
