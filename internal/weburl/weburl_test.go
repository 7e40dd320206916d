package weburl_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/sallyport-go/auth/internal/weburl"
	"github.com/stretchr/testify/require"
)

func TestHTTPSAndLoopbackAreSecure(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"https://example.com":          true,
		"http://localhost":             true,
		"http://localhost:8080/x":      true,
		"HTTP://LocalHost:8080":        true,
		"HTTPS://EXAMPLE.COM":          true,
		"http://127.0.0.1:8080":        true,
		"http://127.255.255.254":       true,
		"http://[::1]:8080":            true,
		"http://[::ffff:127.0.0.1]":    true,
		"http://example.com":           false,
		"http://localhost.example.com": false,
		"http://evil-localhost":        false,
		"http://localho\u017ft":        false, // a letter that Unicode folds to an s
		"http://127.0.0.1.example.com": false,
		"http://localhost@example.com": false,
		"http://0.0.0.0":               false,
		"http://192.168.1.1":           false,
		"http://[fe80::1]":             false,
		"http://":                      false,
		"ftp://localhost":              false,
		"javascript://localhost":       false,
		"//localhost":                  false,
		"":                             false,
	} {
		u, err := url.Parse(text)
		require.NoError(t, err)
		require.Equal(t, want, weburl.IsSecure(u), text)
		require.Equal(t, want, weburl.HasSecureOrigin(text), text)
	}
}

func TestAnIssuerIsAURLInItsUsualSpelling(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"https://api.example.com":             "",
		"https://api.example.com:8443":        "",
		"https://example.com/auth":            "",
		"https://example.com/Auth/tenant-1":   "",
		"http://localhost:8080":               "",
		"http://[::1]:8080":                   "",
		"http://auth.default.svc":             "",
		"https://xn--bcher-kva.example":       "",
		"":                                    "is required",
		"myapp":                               "http or https URL",
		"api.example.com":                     "http or https URL",
		"api.example.com:443":                 "http or https URL",
		"//api.example.com":                   "http or https URL",
		"/api":                                "http or https URL",
		"urn:example:issuer":                  "http or https URL",
		"ftp://api.example.com":               "http or https URL",
		"https:api.example.com":               "http or https URL",
		"https://":                            "http or https URL",
		"https://:8443":                       "http or https URL",
		" https://api.example.com":            "http or https URL",
		"https://api.example.com\n":           "http or https URL",
		"https://api.example.com\x00":         "http or https URL",
		"https://api.example.com:x":           "http or https URL",
		"https://user:secret@example.com":     "without a user",
		"https://@example.com":                "without a user",
		"https://api.example.com?":            "without a query",
		"https://api.example.com?secret=1":    "without a query",
		"https://api.example.com#":            "without a query and a fragment",
		"https://api.example.com/#x":          "without a query and a fragment",
		"https://api.example.com/":            "without a trailing slash",
		"https://api.example.com/auth/":       "without a trailing slash",
		"HTTPS://api.example.com":             "in lower case",
		"https://API.example.com":             "in lower case",
		"https://api.example.com:443":         "without a default port",
		"http://api.example.com:80":           "without a default port",
		"https://api.example.com:":            "without a default port",
		"https://api.example.com/a/../b":      "path segments",
		"https://api.example.com/a//b":        "path segments",
		"https://api.example.com/.":           "path segments",
		"https://b\u00fccher.example":         "in ASCII",
		"https://api.example.com/b\u00fccher": "in ASCII",
		"https://api.example.com/a b":         "in ASCII",
		"https://api.example.com\u202e":       "in ASCII",
		"https://api.example.com\xff":         "in ASCII",
	} {
		flaw := weburl.IssuerFlaw(text)
		if want == "" {
			require.Empty(t, flaw, "%q", text)
			continue
		}
		require.Contains(t, flaw, want, "%q", text)
		require.Contains(t, flaw, "https://api.example.com", "an example")
		require.False(t, strings.Contains(flaw, "secret"), "%q", text)
	}
}

func TestOriginsHaveTheFormThatBrowsersSend(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{ // the origin, and the URL with its host in lower case
		"HTTPS://API.Example.com:443/CB?x=Y#Z": {"https://api.example.com", "https://api.example.com:443/CB?x=Y#Z"},
		"http://LOCALHOST:8080":                {"http://localhost:8080", "http://localhost:8080"},
		"http://X?A":                           {"http://x", "http://x?A"},
		"http://[::1]:80/a":                    {"http://[::1]", "http://[::1]:80/a"},
		"/CB":                                  {"", "/CB"},
		"http://%zz":                           {"", "http://%zz"},
		"":                                     {"", ""},
	} {
		require.Equal(t, want, [2]string{weburl.Origin(text), weburl.FoldHost(text)}, text)
	}
}

// Origins are compared byte for byte with what browsers send. Another form equals nothing.
func TestOnlyTheFormThatBrowsersSendIsAnOrigin(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"https://api.example.com": true, "https://api.example.com:8443": true, "http://localhost:1": true,
		"http://127.0.0.1:65535": true, "http://[::1]": true, "http://[::1]:8080": true,
		"https://xn--bcher-kva.example": true, "https://a_b.example": true,

		"": false, "null": false, "api.example.com": false, "ftp://api.example.com": false,
		"https://api.example.com/": false, "https://API.example.com": false,
		"https://api.example.com:443": false, "http://api.example.com:80": false,
		"https://api.example.com:": false, "https://": false, "https://:8443": false,
		"https://api.example.com:08443": false, "https://api.example.com:65536": false,
		"https://b\u00fccher.example": false, "https://*.example.com": false, "https://a%20b": false,
		"http://[::1]:": false, "http://[0:0::1]": false, "http://[::1%25lo]": false, "http://[::1": false,
		"https://user@api.example.com": false,
	} {
		require.Equal(t, want, weburl.IsOrigin(text), "%q", text)
	}
}

func TestAPathHasTheFormThatBrowsersSend(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"https://api.example.com/CB?x=Y#Z": "/CB", "http://[::1]:80/a b/\u00e9": "/a%20b/%C3%A9",
		"http://x": "/", "http://x?a": "/", "http://%zz": "/", "": "/",
	} {
		require.Equal(t, want, weburl.Path(text), text)
	}
}
