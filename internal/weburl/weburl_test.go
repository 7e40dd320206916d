package weburl_test

import (
	"net/url"
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
	}
}
