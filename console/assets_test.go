package console_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-go/auth/console"
	"github.com/stretchr/testify/require"
)

func TestEveryAnswerHasAStrictPolicy(t *testing.T) {
	t.Parallel()
	h := newHost(t, console.Config{})
	cookie := h.signIn(t, h.pair)
	for _, path := range append(paths, "/assets/core.js", "/assets/console.css", "/assets/theme.css",
		"/nothing") {
		header := h.get(path, cookie).Header
		require.Len(t, header.Values("Content-Security-Policy"), 1, path)
		require.Equal(t, "DENY", header.Get("X-Frame-Options"), path)
		require.Equal(t, "nosniff", header.Get("X-Content-Type-Options"), path)
		require.Equal(t, "no-referrer", header.Get("Referrer-Policy"), path)
		require.Equal(t, "same-origin", header.Get("Cross-Origin-Opener-Policy"), path)
		policy := map[string]string{}
		for directive := range strings.SplitSeq(header.Get("Content-Security-Policy"), "; ") {
			name, sources, ok := strings.Cut(directive, " ")
			require.True(t, ok, directive)
			require.Contains(t, []string{"'none'", "'self'", "'script'"}, sources, name)
			policy[name] = sources
		}
		for _, name := range []string{"default-src", "form-action", "base-uri", "frame-ancestors",
			"trusted-types"} {
			require.Equal(t, "'none'", policy[name], name)
		}
		require.Equal(t, "'script'", policy["require-trusted-types-for"])
	}
}

func TestPagesAreNotStoredAndFilesAreAskedForAgain(t *testing.T) {
	t.Parallel()
	h := newHost(t, console.Config{})
	for _, path := range paths {
		header := h.get(path, h.signIn(t, h.pair)).Header
		require.Equal(t, "no-store", header.Get("Cache-Control"), path)
		require.Contains(t, header.Values("Vary"), "Cookie", path)
	}
	header := h.get("/assets/core.js").Header
	require.Equal(t, "no-cache", header.Get("Cache-Control"))
	r := httptest.NewRequest(http.MethodGet, "/console/assets/core.js", nil)
	r.Header.Set("If-None-Match", header.Get("ETag"))
	w := httptest.NewRecorder()
	h.mux.ServeHTTP(w, r)
	require.Equal(t, http.StatusNotModified, w.Code)
}

func TestOtherPathsAndMethodsAreRefused(t *testing.T) {
	t.Parallel()
	h := newHost(t, console.Config{})
	for _, path := range []string{"/assets/", "/assets/page.html", "/assets/nothing.js",
		"/templates/page.html", "/index.html", "/keys/", "/users/a/b"} {
		require.Equal(t, http.StatusNotFound, h.get(path).StatusCode, path)
	}
	w := httptest.NewRecorder()
	h.mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/console/keys", nil))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
}

// The policy forbids inline code and resources of other sites, and the browser refuses markup from a
// script. The files must need none of that.
func TestTheFilesNeedNothingThatThePolicyForbids(t *testing.T) {
	t.Parallel()
	scriptElement := regexp.MustCompile(`(?is)<script[^>]*>(.*?)</script>`)
	files, err := filepath.Glob("[at]*/*.*")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		text := string(data)
		switch filepath.Ext(file) {
		case ".html":
			require.NotRegexp(t, `(?i)<style|\sstyle\s*=|\son\w+\s*=|javascript:|https?://`, text, file)
			for _, script := range scriptElement.FindAllStringSubmatch(text, -1) {
				require.Empty(t, script[1], file)
			}
		case ".js":
			require.NotRegexp(t, `innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(|srcdoc`, text, file)
			require.NotRegexp(t, `localStorage|sessionStorage|indexedDB|document\.cookie|console\.`, text, file)
			require.NotRegexp(t, `https?://`, text, file)
		case ".css":
			require.NotRegexp(t, `(?i)url\(|@import`, text, file)
		}
	}
}

func TestEveryFieldOfATemplateHasALabel(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("templates/*.html")
	require.NoError(t, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, field := range regexp.MustCompile(`<(?:input|select) id="([^"]+)"`).FindAllSubmatch(data, -1) {
			require.Contains(t, string(data), `<label for="`+string(field[1])+`">`, file)
		}
	}
}

// A kind of event without a text would be shown by its name, and could not be chosen in the filter.
func TestTheAuditTrailHasATextForEveryKindOfItsEvents(t *testing.T) {
	t.Parallel()
	notStored := []string{"sign_in.accepted", "sign_in.rejected", "sign_in.throttled", "token.rejected",
		"token.delegated", "access.refused", "github.rejected", "github.refreshed", "signing_keys.replaced"}
	source, err := os.ReadFile("../eventkind/eventkind.go")
	require.NoError(t, err)
	script, err := os.ReadFile("assets/eventlist.js")
	require.NoError(t, err)
	kinds := regexp.MustCompile(`= "([a-z_]+\.[a-z_]+)"`).FindAllSubmatch(source, -1)
	require.NotEmpty(t, kinds)
	for _, kind := range kinds {
		name := string(kind[1])
		hasText := strings.Contains(string(script), `["`+name+`", `)
		require.Equal(t, !slices.Contains(notStored, name), hasText, name)
	}
}
