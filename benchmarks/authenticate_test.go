package benchmarks

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

func newKeys(t testing.TB) Keys {
	t.Helper()
	k := Keys{HS256: make([]byte, 32)}
	rand.Read(k.HS256)
	var err error
	k.ES256, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	_, k.EdDSA, err = ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return k
}

// goodClaims returns valid claims for a token of this library.
func goodClaims() jwt.MapClaims {
	now := time.Now().Unix()
	return jwt.MapClaims{
		"iss": Issuer, "aud": Audience, "sub": rand.Text(), "jti": rand.Text(), "iat": now, "exp": now + 43200,
		"username": "ada", "is_super_user": false, "gen": 0,
	}
}

// sign returns a token with valid claims, except for the claims in change. If kid is empty, the
// token has no key ID. This library requires a key ID, and kataras rejects tokens that have one.
func sign(t testing.TB, alg string, key any, kid string, change jwt.MapClaims) string {
	t.Helper()
	c := goodClaims()
	for name, value := range change {
		c[name] = value
	}
	unsigned := jwt.NewWithClaims(jwt.GetSigningMethod(alg), c)
	if kid != "" {
		unsigned.Header["kid"] = kid
	}
	for {
		token, err := unsigned.SignedString(key)
		require.NoError(t, err)
		if alg != "ES256" || hasLowS(t, token) {
			return token
		}
	}
}

// hasLowS reports whether the value S of the ES256 signature is in the lower half of its range.
// From any ES256 signature, anyone can compute a second valid signature with the negated S. This
// library accepts only the signature with the low S. golang-jwt creates both with equal
// probability.
func hasLowS(t testing.TB, token string) bool {
	t.Helper()
	return decoded(t, token[strings.LastIndex(token, ".")+1:])[32] < 0x7f
}

const keyID = "k"

// signingKey returns the key of the algorithm as this library needs it.
func signingKey(t testing.TB, k Keys, alg string) auth.SigningKey {
	t.Helper()
	var key auth.SigningKey
	var err error
	switch alg {
	case "HS256":
		key, err = auth.NewHS256Key(keyID, k.HS256)
	case "ES256":
		key, err = auth.NewES256Key(keyID, k.ES256)
	default:
		key, err = auth.NewEdDSAKey(keyID, k.EdDSA)
	}
	require.NoError(t, err)
	return key
}

// ours returns the middleware of this library, its service, and a token that the service has
// issued.
func ours(t testing.TB, k Keys, alg string) (Middleware, *auth.Service, string) {
	t.Helper()
	svc, err := auth.New(memstore.New(), auth.Config{
		Issuer: Issuer, SigningKeys: []auth.SigningKey{signingKey(t, k, alg)},
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	made, err := svc.Register(context.Background(), auth.ByHost("setup"),
		auth.UserParams{Username: "ada"})
	require.NoError(t, err)
	token, err := svc.SignIn(context.Background(), made.User.ID, auth.LoginOptions{})
	require.NoError(t, err)
	return svc.Authenticate, svc, token.Bearer.Reveal()
}

func request(token string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

var nothing = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

func status(m Middleware, token string) int {
	w := httptest.NewRecorder()
	m(nothing).ServeHTTP(w, request(token))
	return w.Code
}

// badTokens returns tokens that every middleware must reject. If a middleware accepted one of them,
// the comparison would not be fair.
func badTokens(t testing.TB, k Keys, alg, kid string) map[string]string {
	t.Helper()
	other, key, now := newKeys(t), k.private(alg), time.Now().Unix()
	good := sign(t, alg, key, kid, nil)
	parts := strings.Split(good, ".")
	forged := base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(decoded(t, parts[1]),
		`"ada"`, `"eve"`, 1)))
	stranger := map[string]string{"HS256": "ES256", "ES256": "EdDSA", "EdDSA": "HS256"}[alg]
	return map[string]string{
		"expired":           sign(t, alg, key, kid, jwt.MapClaims{"exp": now - 60, "iat": now - 3600}),
		"not yet":           sign(t, alg, key, kid, jwt.MapClaims{"nbf": now + 3600}),
		"another issuer":    sign(t, alg, key, kid, jwt.MapClaims{"iss": "https://other.example.com"}),
		"no issuer":         sign(t, alg, key, kid, jwt.MapClaims{"iss": nil}),
		"another audience":  sign(t, alg, key, kid, jwt.MapClaims{"aud": "https://other.example.com"}),
		"no audience":       sign(t, alg, key, kid, jwt.MapClaims{"aud": nil}),
		"another key":       sign(t, alg, other.private(alg), kid, nil),
		"another algorithm": sign(t, stranger, other.private(stranger), kid, nil),
		"no signature":      sign(t, "none", jwt.UnsafeAllowNoneSignatureType, kid, nil),
		"signature cut off": parts[0] + "." + parts[1] + ".",
		"other claims":      parts[0] + "." + forged + "." + parts[2],
		"rubbish":           "rubbish",
		"nothing":           "",
	}
}

func decoded(t testing.TB, segment string) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(segment)
	require.NoError(t, err)
	return string(text)
}

func TestAllMiddlewaresRejectTheSameTokens(t *testing.T) {
	k := newKeys(t)
	for _, alg := range algorithms {
		mine, svc, own := ours(t, k, alg)
		require.Equal(t, http.StatusOK, status(mine, own))
		require.Equal(t, http.StatusOK, status(mine, sign(t, alg, k.private(alg), keyID, nil)), alg)
		for what, token := range badTokens(t, k, alg, keyID) {
			require.Equal(t, http.StatusUnauthorized, status(mine, token), "%s, %s", alg, what)
		}
		identity, err := svc.Identify(request(own))
		require.NoError(t, err)
		require.NoError(t, svc.Tokens().Revoke(t.Context(), auth.ByHost("setup"), identity.SessionID))
		require.Equal(t, http.StatusUnauthorized, status(mine, own),
			"this library must refuse a revoked token, which the others cannot detect")

		bad := badTokens(t, k, alg, "")
		for name, peer := range peers {
			m, err := peer(k, alg)
			require.NoError(t, err, name)
			if m == nil {
				continue
			}
			good := sign(t, alg, k.private(alg), "", nil)
			require.Equal(t, http.StatusOK, status(m, good), "%s, %s", name, alg)
			require.Equal(t, http.StatusOK, status(m, good), "%s, %s, seen before", name, alg)
			for what, token := range bad {
				require.NotEqual(t, http.StatusOK, status(m, token), "%s, %s, %s", name, alg, what)
			}
		}
	}
}

// discard is a ResponseWriter that discards the response, at minimal cost.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

// The two allocations are the context with the caller, and the request that carries this context. A
// handler that calls Identify, without the middleware, needs no context and saves both.
func TestCachedTokenCostsTwoAllocations(t *testing.T) {
	k := newKeys(t)
	for _, alg := range algorithms {
		mine, svc, own := ours(t, k, alg)
		handler, r, w := mine(nothing), request(own), discard{http.Header{}}
		require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { handler.ServeHTTP(w, r) }), 2.0, alg)
		require.Zero(t, testing.AllocsPerRun(1000, func() {
			if _, err := svc.Identify(r); err != nil {
				t.Error(err)
			}
		}), alg)
	}
}

// BenchmarkAuthenticated measures a request with a token that was verified before.
func BenchmarkAuthenticated(b *testing.B) {
	k := newKeys(b)
	// The minimal middleware verifies nothing and only sets a context. It runs first, because a
	// process is slower while its heap is new.
	b.Run("context alone", func(b *testing.B) {
		serve(b, byHand(func(string) (any, error) { return nil, nil }), "")
	})
	for _, alg := range algorithms {
		mine, svc, own := ours(b, k, alg)
		b.Run(alg+"/ours", func(b *testing.B) { serve(b, mine, own) })
		b.Run(alg+"/ours without a context", func(b *testing.B) {
			r := request(own)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := svc.Identify(r); err != nil {
					b.Fatal(err)
				}
			}
		})
		for _, name := range slices.Sorted(maps.Keys(peers)) {
			m, err := peers[name](k, alg)
			require.NoError(b, err)
			if m != nil {
				b.Run(alg+"/"+name, func(b *testing.B) {
					serve(b, m, sign(b, alg, k.private(alg), "", nil))
				})
			}
		}
	}
}

func serve(b *testing.B, m Middleware, token string) {
	handler, r, w := m(nothing), request(token), discard{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		handler.ServeHTTP(w, r)
	}
}
