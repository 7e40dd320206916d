package oauthstate_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/sallyport-go/auth/internal/oauthstate"
	"github.com/stretchr/testify/require"
)

func TestTheBrowserReturnsToAPathOfTheHostsOnly(t *testing.T) {
	t.Parallel()
	for _, path := range []string{
		"", "/", "/settings", "/settings?tab=github", "/a/b/c/", "/a?b#c", "/a#b?c", "/#", "/a.b", "/.well-known", "/...",
		"/a?x=..", "/a?x=/../", "/a#/./", "/a?next=https:/x", "/%20%41", "/a:b@c", "/[x]",
		"/a?%2f", "/a?next=%2Freports%2F1", "/a?u=https%3A%2F%2Fx", "/a?v=1%2e2", "/a?x=%2E%2E%2F", "/a#%2f",
		"/" + strings.Repeat("x", 255),
	} {
		require.True(t, oauthstate.IsReturnTo(path), "%q", path)
	}
	for _, path := range []string{
		"a", "?a", "#a", ".", "..", "https://evil.example", "javascript:alert(1)", "evil.example",
		"//evil.example", "///evil.example", "/a//b", "/a?//b", "/a?next=https://x",
		`\evil.example`, `/\evil.example`, `\\evil.example`, `/a\b`, `/a?\`,
		"/%5cevil.example", "/%5Cevil.example", "/%2fevil.example", "/%2Fevil.example", "/%2e%2e/", "/%2E/", "/%00",
		"/%2f?%2f", "/%2Fa#b", "/a%2f?b", "/%2e%2e?b", "/a?%5c", "/a?%5C", "/a?%00", "/a%2F#?",
		"/.", "/..", "/./", "/../", "/a/..", "/a/./b", "/./" + `\` + "evil.example", "/..//evil.example", "/a/..?b", "/a/.#b",
		" /a", "/a b", "/a ", "/\t/evil.example", "/a\n", "/a\r\nSet-Cookie: x", "/\x00", "/a\x7f", "/é", "/\u2028", "/a\xff",
		"/" + strings.Repeat("x", 256),
	} {
		require.False(t, oauthstate.IsReturnTo(path), "%q", path)
	}
}

// FuzzReturnTo passes any text to IsReturnTo. If IsReturnTo accepts a path, a browser that resolves
// the path against our origin stays at our origin, whether or not it reads backslashes as slashes.
func FuzzReturnTo(f *testing.F) {
	for _, seed := range []string{"", "/", "/a?b#c", "//evil.example", `/\evil.example`, `/./\evil.example`,
		"/%5cevil.example",
		"https://evil.example", "/..//evil.example", "/a/../..", "javascript:alert(1)", "/\t/evil.example", "/%2f/evil.example",
		"/a?next=%2f%2fevil.example", "/a#%2f%2fevil.example", "/a%3f%2f%2fevil.example"} {
		f.Add(seed)
	}
	origin, err := url.Parse("https://api.example.com")
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, path string) {
		if !oauthstate.IsReturnTo(path) {
			return
		}
		for _, read := range []string{path, strings.ReplaceAll(path, `\`, "/"),
			strings.NewReplacer("%5c", "/", "%5C", "/", "%2f", "/", "%2F", "/").Replace(path)} {
			target, err := origin.Parse(read)
			if err != nil {
				continue // the browser goes nowhere
			}
			require.Equal(t, "api.example.com", target.Host, "%q", path)
			require.Equal(t, "https", target.Scheme)
			require.Nil(t, target.User)
		}
		location := "https://api.example.com" + path
		u, err := url.Parse(location)
		if err == nil {
			require.Equal(t, "api.example.com", u.Host)
		}
	})
}
