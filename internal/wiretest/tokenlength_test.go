package wiretest

import (
	"sort"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// scopesOf returns scopes that have this length together, with one space between two scopes.
func scopesOf(length int) []string {
	scopes := []string{}
	for i := 0; length > 0; i++ {
		n := min(length, 60)
		if left := length - n - 1; left >= 0 && left < 2 {
			n -= 2
		}
		scopes = append(scopes, strings.Repeat("s", n-1)+string(rune('a'+i)))
		length -= n + 1
	}
	return scopes
}

// border returns the greatest length up to maximum that accepts says yes to, and the error after it.
func border(maximum int, accepts func(length int) error) (int, error) {
	first := sort.Search(maximum+1, func(n int) bool { return accepts(n) != nil })
	return first - 1, accepts(first)
}

func issuerOf(length int) string {
	const start = "https://api.example.com/"
	return start + strings.Repeat("x", length-len(start))
}

// All scopes of a configuration must fit into a token with the longest issuer, names and IDs, and with
// BrowserSessions into a cookie. The error says so before the first sign-in, and what to shorten.
func TestScopesThatCannotFitIntoACookieAreRefused(t *testing.T) {
	t.Parallel()
	key := authtest.NewSigners(t)["EdDSA"].Key
	create := func(issuer string, cookies bool) func(int) error {
		return func(length int) error {
			cfg := auth.Config{
				Issuer: issuer, SigningKeys: []auth.SigningKey{key}, PublicURL: "https://api.example.com",
				SealingKeys: []auth.SymmetricKey{authtest.SymmetricKey(t, "seal-1")},
				GitHub: &auth.GitHubConfig{ClientID: "id", ClientSecret: auth.NewSecret("secret"),
					CallbackURL: "https://api.example.com/callback"},
				Tokens: auth.TokenConfig{Scopes: scopesOf(length)},
			}
			if cookies {
				cfg.BrowserSessions = &auth.BrowserSessions{}
			}
			return errorOf(auth.New(memstore.New(), cfg))
		}
	}
	for _, c := range []struct{ issuer, want int }{{30, 353}, {100, 213}} {
		longest, err := border(900, create(issuerOf(c.issuer), true))
		require.Equal(t, c.want, longest, c.issuer)
		require.ErrorContains(t, err, "at most 2048 fit into a cookie: shorten Config.Issuer")
		require.ErrorContains(t, err, "TokenConfig.Scopes")
		longest, err = border(900, create(issuerOf(c.issuer), false))
		require.Equal(t, 900, longest, "without cookies")
		require.ErrorContains(t, err, "at most 900 are allowed")
	}
	require.NoError(t, create(issuerOf(256), false)(900))
}
