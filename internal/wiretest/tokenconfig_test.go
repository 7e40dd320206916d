package wiretest

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/limits"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

func TestTheLongestPossibleTokenIsAccepted(t *testing.T) {
	t.Parallel()
	for name, s := range authtest.NewSigners(t) {
		f := &tokens{Signer: s, clock: authtest.NewClock(), store: memstore.New()}
		long := "https://b.example.com/" + strings.Repeat("&", 256-len("https://b.example.com/"))
		longIssuer := "https://api.example.com/" + strings.Repeat("&", 256-len("https://api.example.com/"))
		var err error
		f.issuer, err = auth.NewTokenIssuer(f.store, longIssuer, []auth.SigningKey{s.Key},
			auth.TokenConfig{Audiences: []string{long}, Now: f.clock.Now})
		require.NoError(t, err)
		// In JSON, a quote takes two bytes, which is the maximum for an allowed character.
		id := strings.Repeat(`"`, auth.MaxIDLength)
		register(t, f.store, f.clock, id, strings.Repeat(`"`, limits.Username))
		for _, audience := range []string{"", long} {
			token, err := f.issuer.Issue(t.Context(),
				auth.IssueParams{UserID: id, Method: auth.MethodHost, Audience: audience})
			require.NoError(t, err)
			identity, err := f.issuer.VerifyFor(t.Context(), cmp.Or(audience, longIssuer),
				token.Bearer.Reveal())
			require.NoError(t, err)
			require.Equal(t, id, identity.UserID, name)
		}
	}
}

func TestInvalidTokenConfigsAreRejected(t *testing.T) {
	t.Parallel()
	key := authtest.NewSigners(t)["HS256"].Key
	type arguments struct {
		issuer string
		keys   []auth.SigningKey
		auth.TokenConfig
	}
	good := arguments{issuer: issuer, keys: []auth.SigningKey{key}}
	for name, change := range map[string]func(*arguments){
		"no issuer":                    func(c *arguments) { c.issuer = "" },
		"a long issuer":                func(c *arguments) { c.issuer = "https://" + strings.Repeat("x", 249) },
		"an issuer with NUL":           func(c *arguments) { c.issuer = "https://x\x00" },
		"no keys":                      func(c *arguments) { c.keys = nil },
		"a zero key":                   func(c *arguments) { c.keys = []auth.SigningKey{{}} },
		"a zero key last":              func(c *arguments) { c.keys = append(c.keys, auth.SigningKey{}) },
		"a duplicate key ID":           func(c *arguments) { c.keys = []auth.SigningKey{key, key} },
		"a negative lifetime":          func(c *arguments) { c.Lifetime = -1 },
		"a lifetime with a fraction":   func(c *arguments) { c.Lifetime = 1500 * time.Millisecond },
		"a lifetime of a year":         func(c *arguments) { c.Lifetime = 365 * 24 * time.Hour },
		"a maximum below the lifetime": func(c *arguments) { c.MaxLifetime = time.Hour },
		"a maximum of a year":          func(c *arguments) { c.MaxLifetime = 365 * 24 * time.Hour },
		"a negative maximum":           func(c *arguments) { c.MaxLifetime = -time.Hour },
		"an audience with NUL":         func(c *arguments) { c.Audiences = []string{"\x00"} },
		"a long audience":              func(c *arguments) { c.Audiences = []string{strings.Repeat("x", 257)} },
		"an empty audience":            func(c *arguments) { c.Audiences = []string{"a", ""} },
		"an audience with a quote":     func(c *arguments) { c.Audiences = []string{`a"b`} },
		"an audience with a backslash": func(c *arguments) { c.Audiences = []string{`a\b`} },
		"an audience not in ASCII":     func(c *arguments) { c.Audiences = []string{"é"} },
		"an audience twice":            func(c *arguments) { c.Audiences = []string{"a", "b", "a"} },
		"the issuer as an audience":    func(c *arguments) { c.Audiences = []string{"a", issuer} },
		"65 audiences":                 func(c *arguments) { c.Audiences = numbered(65) },
		"an issuer not in UTF-8":       func(c *arguments) { c.issuer = "https://\xff" },
		"an audience with a space":     func(c *arguments) { c.Audiences = []string{issuer + " "} },
		"a space in an audience":       func(c *arguments) { c.Audiences = []string{"a b"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := good
			change(&cfg)
			_, err := auth.NewTokenIssuer(memstore.New(), cfg.issuer, cfg.keys, cfg.TokenConfig)
			require.Error(t, err)
		})
	}
	for _, audiences := range [][]string{nil, {}, {"a"}, {"a", "A", "a/"}, numbered(64)} {
		_, err := auth.NewTokenIssuer(memstore.New(), issuer, good.keys,
			auth.TokenConfig{Audiences: audiences})
		require.NoError(t, err)
	}
	_, err := auth.NewTokenIssuer(nil, issuer, good.keys, auth.TokenConfig{})
	require.Error(t, err)
	_, err = auth.NewTokenIssuer((*memstore.Store)(nil), issuer, good.keys, auth.TokenConfig{})
	require.Error(t, err, "a nil pointer in an interface")
}

// numbered returns n different audiences.
func numbered(n int) []string {
	audiences := make([]string, n)
	for i := range audiences {
		audiences[i] = fmt.Sprint("https://b.example.com/", i)
	}
	return audiences
}

// If a token can become longer than a verifier accepts, the configuration is refused. Otherwise, the
// sign-ins of the users with long names would fail.
func TestAConfigurationWhoseTokensCouldBeTooLongIsRefused(t *testing.T) {
	t.Parallel()
	key := authtest.NewSigners(t)["ES256"].Key
	claims := func(context.Context, auth.Session, auth.User) (map[string]any, error) { return nil, nil }
	var scopes []string
	for i := range 14 { // with a space between two of them, 909 bytes
		scopes = append(scopes, fmt.Sprintf("%02d", i)+strings.Repeat("x", 62))
	}
	long := strings.Repeat("a", 256)
	for name, c := range map[string]struct {
		cfg  auth.TokenConfig
		fits bool
	}{
		"a long audience":             {auth.TokenConfig{Audiences: []string{long}}, true},
		"and scopes":                  {auth.TokenConfig{Audiences: []string{long}, Scopes: scopes[:13]}, true},
		"and claims":                  {auth.TokenConfig{Audiences: []string{long}, Scopes: scopes[:13], Claims: claims}, false},
		"claims and scopes":           {auth.TokenConfig{Scopes: scopes[:13], Claims: claims}, true},
		"claims and a long audience":  {auth.TokenConfig{Audiences: []string{"b", long}, Claims: claims}, true},
		"claims and another audience": {auth.TokenConfig{Audiences: []string{"b", long}, Claims: claims, Scopes: scopes[:8]}, false},
	} {
		_, err := auth.NewTokenIssuer(memstore.New(), issuer, []auth.SigningKey{key}, c.cfg)
		if c.fits {
			require.NoError(t, err, name)
		} else {
			require.ErrorContains(t, err, "at most 4096 are allowed: shorten the issuer", name)
		}
	}
}

func TestAKeyOnAnotherCurveIsRejected(t *testing.T) {
	t.Parallel()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	_, err = auth.NewES256Key("", p384)
	require.Error(t, err)
}

func TestATokenIsAtMost4KiBLong(t *testing.T) {
	t.Parallel()
	f := newTokens(t, authtest.NewSigners(t)["HS256"], auth.TokenConfig{})
	base := len(f.Forge(t, f.header(nil), f.claims(t, map[string]any{"pad": ""})))
	lengths := map[int]bool{}
	for pad := (4096-base)*3/4 - 4; pad < (4096-base)*3/4+4; pad++ {
		token := f.Forge(t, f.header(nil), f.claims(t, map[string]any{"pad": strings.Repeat("x", pad)}))
		lengths[len(token)] = true
		if len(token) <= 4096 {
			f.requireAccepted(t, token)
		} else {
			f.requireRejected(t, token)
		}
	}
	require.True(t, lengths[4096] || lengths[4095], lengths)
	require.True(t, lengths[4097] || lengths[4098], lengths)
}

func TestAMissingSettingIsNamed(t *testing.T) {
	t.Parallel()
	key := authtest.NewSigners(t)["ES256"].Key
	remote := auth.RemoteVerifierConfig{JWKSURL: issuer + "/jwks", Issuer: issuer, Audience: "b"}
	const noIssuer = "is required: it is the URL of the service that issues the tokens, such as " +
		"https://api.example.com"
	for want, build := range map[string]func() error{
		"auth: the issuer of a TokenIssuer " + noIssuer: func() error {
			return errorOf(auth.NewTokenIssuer(memstore.New(), "", []auth.SigningKey{key},
				auth.TokenConfig{}))
		},
		"auth: TokenConfig.Audiences[0] is required": func() error {
			return errorOf(auth.NewTokenIssuer(memstore.New(), issuer, []auth.SigningKey{key},
				auth.TokenConfig{Audiences: []string{""}}))
		},
		"auth: SigningKeys must have at least one key": func() error {
			return errorOf(auth.NewTokenIssuer(memstore.New(), issuer, nil, auth.TokenConfig{}))
		},
		"auth: RemoteVerifierConfig.Audience is required": func() error {
			remote.Audience = ""
			return errorOf(auth.NewRemoteVerifier(remote))
		},
	} {
		require.EqualError(t, build(), want)
	}
	remote.Issuer = ""
	require.EqualError(t, errorOf(auth.NewRemoteVerifier(remote)),
		"auth: RemoteVerifierConfig.Issuer "+noIssuer)
	_, err := auth.New(memstore.New(), auth.Config{SigningKeys: []auth.SigningKey{key}})
	require.EqualError(t, err, "auth: Config.Issuer "+noIssuer)
}

// Another service compares the issuer with the iss claim byte for byte. So each service refuses an
// issuer that another service could write in another way.
func TestAnIssuerThatAnotherServiceCouldWriteDifferentlyIsRefused(t *testing.T) {
	t.Parallel()
	key := authtest.NewSigners(t)["ES256"].Key
	for _, bad := range []string{
		"myapp", issuer + "/", "https://API.example.com", issuer + ":443", issuer + "?",
	} {
		for setting, build := range map[string]func() error{
			"Config.Issuer": func() error {
				cfg := auth.Config{Issuer: bad, SigningKeys: []auth.SigningKey{key}}
				return errorOf(auth.New(memstore.New(), cfg))
			},
			"the issuer of a TokenIssuer": func() error {
				return errorOf(auth.NewTokenIssuer(memstore.New(), bad, []auth.SigningKey{key},
					auth.TokenConfig{}))
			},
			"RemoteVerifierConfig.Issuer": func() error {
				return errorOf(auth.NewRemoteVerifier(auth.RemoteVerifierConfig{
					JWKSURL: issuer + "/jwks", Issuer: bad, Audience: audience}))
			},
		} {
			require.ErrorContains(t, build(), "auth: "+setting+" must be ", bad)
			require.ErrorContains(t, build(), "URL such as https://api.example.com", bad)
		}
	}
	_, err := auth.NewRemoteVerifier(auth.RemoteVerifierConfig{
		JWKSURL: issuer + "/jwks", Issuer: issuer, Audience: issuer})
	require.ErrorContains(t, err, "auth: RemoteVerifierConfig.Audience must not be the Issuer")
	require.ErrorContains(t, err, "Config.Tokens.Audiences")
}
