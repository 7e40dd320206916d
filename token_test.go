package auth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// tokens is an issuer with one live session, and what forges tokens for it.
type tokens struct {
	signer
	issuer *auth.TokenIssuer
	clock  *clock
	store  auth.Store
	token  auth.Token
}

func newTokens(t testing.TB, s signer, cfg auth.TokenConfig) *tokens {
	t.Helper()
	f := &tokens{signer: s, clock: newClock(), store: memstore.New()}
	cfg.Issuer, cfg.Now = issuer, f.clock.Now
	if cfg.SigningKeys == nil {
		cfg.SigningKeys = []auth.SigningKey{s.key}
	}
	var err error
	f.issuer, err = auth.NewTokenIssuer(f.store, cfg)
	require.NoError(t, err)
	register(t, f.store, f.clock, "u1", "alice")
	f.token, err = f.issuer.Issue(t.Context(), auth.SignIn{UserID: "u1", Method: auth.MethodHost})
	require.NoError(t, err)
	return f
}

// register puts a user into the store, with a key that nobody has the secret of.
func register(t testing.TB, store auth.Store, c *clock, id, username string) {
	t.Helper()
	require.NoError(t, store.Register(t.Context(),
		auth.User{ID: id, Username: username, IsActive: true, CreatedAt: c.Now()},
		auth.AccessKey{ID: "key of " + id, UserID: id, Hash: "$none", CreatedAt: c.Now()}))
}

// header returns the header of the fixture's tokens, with changes.
func (f *tokens) header(changes map[string]any) string {
	header := map[string]any{"alg": f.method.Alg(), "kid": f.key.ID(), "typ": "JWT"}
	return encode(header, changes)
}

// claims returns the claims of the live token, with changes; a nil value removes
// the claim.
func (f *tokens) claims(t testing.TB, changes map[string]any) string {
	t.Helper()
	parts := strings.Split(f.token.Bearer.Reveal(), ".")
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber()
	var claims map[string]any
	require.NoError(t, decoder.Decode(&claims))
	return encode(claims, changes)
}

func encode(object, changes map[string]any) string {
	maps.Copy(object, changes)
	maps.DeleteFunc(object, func(_ string, v any) bool { return v == nil })
	text, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func (f *tokens) requireAccepted(t testing.TB, token string) auth.Identity {
	t.Helper()
	identity, err := f.issuer.Verify(t.Context(), token)
	require.NoError(t, err)
	return identity
}

func (f *tokens) requireRejected(t testing.TB, token string) {
	t.Helper()
	identity, err := f.issuer.Verify(t.Context(), token)
	require.ErrorIs(t, err, auth.ErrTokenRejected)
	require.Zero(t, identity)
}

// eachAlgorithm runs a test for each kind of key.
func eachAlgorithm(t *testing.T, test func(t *testing.T, f *tokens)) {
	for name, s := range newSigners(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newTokens(t, s, auth.TokenConfig{}))
		})
	}
}

func TestAnIssuedTokenHasTheDocumentedClaims(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *tokens) {
		claims := jwt.MapClaims{}
		parser := jwt.NewParser(jwt.WithoutClaimsValidation(), jwt.WithValidMethods([]string{f.key.Algorithm()}))
		parsed, err := parser.ParseWithClaims(f.token.Bearer.Reveal(), claims, func(*jwt.Token) (any, error) { return f.publicKey(), nil })
		require.NoError(t, err, "another library must be able to verify it")
		require.Equal(t, map[string]any{"alg": f.key.Algorithm(), "kid": f.key.ID(), "typ": "JWT"}, parsed.Header)
		issued := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Unix()
		require.Equal(t, jwt.MapClaims{
			"iss": issuer, "aud": issuer, "sub": "u1", "jti": f.token.Session.ID,
			"iat": float64(issued), "exp": float64(issued + 43200),
			"username": "alice", "is_super_user": false,
		}, claims)
	})
}

// publicKey is what golang-jwt verifies with.
func (s signer) publicKey() any {
	if private, ok := s.secret.(crypto.Signer); ok {
		return private.Public()
	}
	return s.secret
}

func TestVerifyReturnsTheIdentity(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *tokens) {
		issued := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		require.Equal(t, auth.Identity{
			UserID: "u1", Username: "alice", SessionID: f.token.Session.ID,
			IssuedAt: issued, ExpiresAt: issued.Add(12 * time.Hour),
		}, f.requireAccepted(t, f.token.Bearer.Reveal()))
		require.Equal(t, 12*time.Hour, f.token.ExpiresIn())
		require.Equal(t, "alice", f.token.User.Username)
	})
}

// TestTheForgerCanMakeAGoodToken shows that the tests below are refused for what
// they change and for nothing else.
func TestTheForgerCanMakeAGoodToken(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *tokens) {
		if f.key.Algorithm() == "ES256" {
			f.requireAccepted(t, f.lowS(t, f.header(nil), f.claims(t, nil)))
			return
		}
		f.requireAccepted(t, f.forge(t, f.header(nil), f.claims(t, nil)))
		f.requireAccepted(t, f.forge(t, f.header(map[string]any{"future": 1}), f.claims(t, map[string]any{"future": []int{1}})))
	})
}

// lowS forges until the signature has the smaller s, which one in two has.
func (f *tokens) lowS(t testing.TB, header, claims string) string {
	for {
		token := f.forge(t, header, claims)
		if isLowS(t, token) {
			return token
		}
	}
}

func isLowS(t testing.TB, token string) bool {
	_, s := ecdsaSignature(t, token)
	return s.Cmp(new(big.Int).Rsh(elliptic.P256().Params().N, 1)) <= 0
}

func ecdsaSignature(t testing.TB, token string) (r, s *big.Int) {
	t.Helper()
	signature, err := base64.RawURLEncoding.DecodeString(token[strings.LastIndex(token, ".")+1:])
	require.NoError(t, err)
	require.Len(t, signature, 64)
	return new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
}

func TestTheMirroredECDSASignatureIsRefused(t *testing.T) {
	t.Parallel()
	f := newTokens(t, newSigners(t)["ES256"], auth.TokenConfig{})
	for range 20 {
		token, err := f.issuer.Issue(t.Context(), auth.SignIn{UserID: "u1", Method: auth.MethodHost})
		require.NoError(t, err)
		text := token.Bearer.Reveal()
		f.requireAccepted(t, text)
		r, s := ecdsaSignature(t, text)
		s.Sub(elliptic.P256().Params().N, s)
		var mirrored [64]byte
		r.FillBytes(mirrored[:32])
		s.FillBytes(mirrored[32:])
		unsigned := text[:strings.LastIndex(text, ".")]
		public := f.publicKey()
		require.NoError(t, f.method.Verify(unsigned, mirrored[:], public), "it is a good signature to others")
		f.requireRejected(t, unsigned+"."+base64.RawURLEncoding.EncodeToString(mirrored[:]))
	}
}

func TestTokensOfAnotherShapeAreRefused(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *tokens) {
		good := f.token.Bearer.Reveal()
		parts := strings.Split(good, ".")
		for name, token := range map[string]string{
			"empty":                       "",
			"a dot":                       ".",
			"two dots":                    "..",
			"one segment":                 parts[0],
			"two segments":                parts[0] + "." + parts[1],
			"four segments":               good + "." + parts[2],
			"a trailing dot":              good + ".",
			"a leading dot":               "." + good,
			"an empty header":             "." + parts[1] + "." + parts[2],
			"empty claims":                parts[0] + ".." + parts[2],
			"an empty signature":          parts[0] + "." + parts[1] + ".",
			"a trailing line break":       good + "\n",
			"a trailing CR":               good + "\r",
			"a trailing space":            good + " ",
			"a leading space":             " " + good,
			"a line break inside":         parts[0] + ".\n" + parts[1] + "." + parts[2],
			"a CR in the signature":       parts[0] + "." + parts[1] + "." + parts[2][:9] + "\r" + parts[2][9:],
			"padding":                     good + "=",
			"padded claims":               parts[0] + "." + parts[1] + "=." + parts[2],
			"the standard alphabet":       parts[0] + "." + parts[1] + "." + strings.NewReplacer("-", "+", "_", "/").Replace(parts[2]) + "+",
			"NUL":                         good + "\x00",
			"a letter that is not ASCII":  good + "é",
			"8 MiB":                       good + strings.Repeat("A", 8<<20),
			"a million dots":              strings.Repeat(".", 1_000_000),
			"a header that is not base64": "A." + parts[1] + "." + parts[2],
			"a signature cut short":       parts[0] + "." + parts[1] + "." + parts[2][:len(parts[2])-2],
			"a signature of nothing":      parts[0] + "." + parts[1] + ".AA",
			"just over 4 KiB":             f.forge(t, f.header(nil), f.claims(t, map[string]any{"pad": strings.Repeat("x", 4096)})),
		} {
			t.Run(name, func(t *testing.T) { f.requireRejected(t, token) })
		}
	})
}

func TestEveryPrefixOfATokenIsRefused_CVE_2026_27840(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *tokens) {
		good := f.token.Bearer.Reveal()
		for i := range len(good) {
			f.requireRejected(t, good[:i])
		}
		f.requireAccepted(t, good)
	})
}

// The last character of a segment has bits that mean nothing; with them a lax
// decoder knows up to sixteen spellings of one signature.
func TestOtherSpellingsOfASignatureAreRefused(t *testing.T) {
	t.Parallel()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	eachAlgorithm(t, func(t *testing.T, f *tokens) {
		good := f.token.Bearer.Reveal()
		last := strings.IndexByte(alphabet, good[len(good)-1])
		want, err := base64.RawURLEncoding.DecodeString(good[strings.LastIndex(good, ".")+1:])
		require.NoError(t, err)
		spellings := 0
		for i := range len(alphabet) {
			other := good[:len(good)-1] + alphabet[i:i+1]
			got, err := base64.RawURLEncoding.DecodeString(other[strings.LastIndex(other, ".")+1:])
			require.NoError(t, err)
			if i == last || string(got) != string(want) {
				continue
			}
			spellings++
			f.requireRejected(t, other)
		}
		require.Greater(t, spellings, 2)
	})
}

func TestAMillionDotsCostNoMemory_CVE_2025_30204(t *testing.T) {
	// Not parallel: it looks at what the whole process allocates.
	f := newTokens(t, newSigners(t)["HS256"], auth.TokenConfig{})
	dots := strings.Repeat(".", 1_000_000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		f.requireRejected(t, dots)
	}
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1_000_000), "100 such tokens: less than one of them")
}

func TestHeadersThatAreNotOursAreRefused(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *tokens) {
		for name, changes := range map[string]map[string]any{
			"no alg":                     {"alg": nil},
			"alg none":                   {"alg": "none"},
			"alg None":                   {"alg": "None"},
			"alg in other letters":       {"alg": strings.ToLower(f.key.Algorithm())},
			"alg empty":                  {"alg": ""},
			"alg a number":               {"alg": 1},
			"alg a list":                 {"alg": []string{f.key.Algorithm()}},
			"alg HS512":                  {"alg": "HS512"},
			"no kid":                     {"kid": nil},
			"kid empty":                  {"kid": ""},
			"kid unknown":                {"kid": "other"},
			"kid a path":                 {"kid": "../../dev/null"},
			"kid SQL":                    {"kid": "' OR '1'='1"},
			"kid of 3000 bytes":          {"kid": strings.Repeat("k", 3000)},
			"kid a number":               {"kid": 1},
			"no typ":                     {"typ": nil},
			"typ in other letters":       {"typ": "jwt"},
			"typ of another kind":        {"typ": "at+jwt"},
			"typ of a proof":             {"typ": "dpop+jwt"},
			"crit known":                 {"crit": []string{"exp"}},
			"crit unknown":               {"crit": []string{"http://example.com/x"}, "http://example.com/x": true},
			"crit empty":                 {"crit": []string{}},
			"b64 false":                  {"b64": false},
			"zip":                        {"zip": "DEF"},
			"enc":                        {"enc": "A256GCM"},
			"a key by URL (jku)":         {"jku": "https://evil.example/keys"},
			"a key in the header (jwk)":  {"jwk": map[string]any{"kty": "oct", "k": "AAAA"}},
			"a certificate by URL (x5u)": {"x5u": "https://evil.example/cert"},
			"a certificate (x5c)":        {"x5c": []string{"AAAA"}},
			"a certificate hash (x5t)":   {"x5t": "AAAA"},
			"x5t#S256":                   {"x5t#S256": "AAAA"},
			"ALG beside alg":             {"ALG": "none"},
			"Kid beside kid":             {"Kid": "other"},
			"CRIT":                       {"CRIT": []string{"exp"}},
		} {
			t.Run(name, func(t *testing.T) {
				f.requireRejected(t, f.forge(t, f.header(changes), f.claims(t, nil)))
			})
		}
		for name, header := range map[string]string{
			"not JSON":      `alg`,
			"null":          `null`,
			"an array":      `[]`,
			"two objects":   f.header(nil) + `{}`,
			"a space in it": " ",
			"alg twice":     `{"alg":"none",` + f.header(nil)[1:],
			"kid twice":     `{"kid":"other",` + f.header(nil)[1:],
		} {
			t.Run(name, func(t *testing.T) {
				f.requireRejected(t, f.forge(t, header, f.claims(t, nil)))
			})
		}
	})
}

// claimFaults are changes to good claims after which they must be refused.
func claimFaults(now int64) map[string]map[string]any {
	far := json.Number("1000000000000000000")
	faults := map[string]map[string]any{
		"iss another":                   {"iss": "https://evil.example"},
		"iss with a slash":              {"iss": issuer + "/"},
		"iss in other letters":          {"iss": strings.ToUpper(issuer)},
		"iss a list":                    {"iss": []string{issuer}},
		"aud another":                   {"aud": "https://other.example"},
		"aud a list (CVE-2020-26160)":   {"aud": []string{issuer}},
		"aud a list of two":             {"aud": []string{"https://other.example", issuer}},
		"aud an empty list":             {"aud": []string{}},
		"aud a list in a list":          {"aud": [][]string{{issuer}}},
		"aud an object":                 {"aud": map[string]any{issuer: true}},
		"aud a list with a number":      {"aud": []any{issuer, 1}},
		"exp now":                       {"exp": now},
		"exp a second ago":              {"exp": now - 1},
		"exp with a fraction":           {"exp": json.Number(fmt.Sprint(now+60) + ".5")},
		"exp with a zero fraction":      {"exp": json.Number(fmt.Sprint(now+60) + ".0")},
		"exp in exponents":              {"exp": json.Number("1e18")},
		"exp in a year nobody sees":     {"exp": far},
		"exp beyond int64":              {"exp": json.Number("9223372036854775808")},
		"exp beyond what a life may be": {"exp": now + 12*3600 + 1},
		"exp before iat":                {"iat": now + 20, "exp": now + 10},
		"exp equal to iat":              {"iat": now + 20, "exp": now + 20},
		"iat zero":                      {"iat": 0},
		"iat negative":                  {"iat": -1},
		"iat in the future":             {"iat": now + 31},
		"iat with a fraction":           {"iat": json.Number(fmt.Sprint(now) + ".5")},
		"iat the least integer":         {"iat": json.Number("-9223372036854775808")},
		"nbf in the future":             {"nbf": now + 1},
		"nbf a string":                  {"nbf": "0"},
		"nbf with a fraction":           {"nbf": json.Number("0.5")},
		"sub empty":                     {"sub": ""},
		"jti empty":                     {"jti": ""},
		"jti unknown":                   {"jti": "nobody's"},
		"sub of another user":           {"sub": "u2"},
		"SUB beside sub":                {"SUB": "u2"},
		"Exp beside exp":                {"Exp": far},
		"IS_SUPER_USER beside it":       {"IS_SUPER_USER": true},
		"is_super_user with a long s":   {"i\u017f_super_user": true},
		"is_super_user a string":        {"is_super_user": "true"},
		"is_super_user a number":        {"is_super_user": 1},
	}
	for _, name := range []string{"iss", "aud", "sub", "jti", "iat", "exp", "username", "is_super_user"} {
		faults["no "+name] = map[string]any{name: nil}
		faults[name+" null"] = map[string]any{name: json.RawMessage("null")}
		faults[name+" an object"] = map[string]any{name: map[string]any{}}
	}
	for _, name := range []string{"iss", "aud", "sub", "jti", "username"} {
		faults[name+" a number"] = map[string]any{name: 1}
		faults[name+" a truth value"] = map[string]any{name: true}
	}
	for _, name := range []string{"iat", "exp"} {
		faults[name+" a string"] = map[string]any{name: fmt.Sprint(now + 10)}
		faults[name+" a truth value"] = map[string]any{name: true}
	}
	return faults
}

func TestClaimsThatAreNotOursAreRefused(t *testing.T) {
	t.Parallel()
	f := newTokens(t, newSigners(t)["HS256"], auth.TokenConfig{})
	register(t, f.store, f.clock, "u2", "mallory")
	for name, changes := range claimFaults(f.clock.Now().Unix()) {
		t.Run(name, func(t *testing.T) {
			f.requireRejected(t, f.forge(t, f.header(nil), f.claims(t, changes)))
		})
	}
	good := f.claims(t, nil)
	for name, claims := range map[string]string{
		"not JSON":               `sub`,
		"null":                   `null`,
		"an array":               `[]`,
		"a string":               `"sub"`,
		"trailing data":          good + `{}`,
		"a trailing letter":      good + `x`,
		"sub twice":              `{"sub":"u2",` + good[1:],
		"sub twice, last wins":   good[:len(good)-1] + `,"sub":"u2"}`,
		"sub twice, by escapes":  good[:len(good)-1] + `,"\u0073ub":"u2"}`,
		"an unknown claim twice": good[:len(good)-1] + `,"x":1,"x":2}`,
		"invalid UTF-8":          good[:len(good)-1] + ",\"x\":\"\xff\"}",
		"NUL":                    good[:len(good)-1] + `,"x":"\u0000"}`,
		"half a surrogate pair":  good[:len(good)-1] + `,"x":"\ud800"}`,
	} {
		t.Run(name, func(t *testing.T) {
			f.requireRejected(t, f.forge(t, f.header(nil), claims))
		})
	}
}

func TestTheClockIsHeldToTheSecond(t *testing.T) {
	t.Parallel()
	f := newTokens(t, newSigners(t)["HS256"], auth.TokenConfig{})
	good := f.token.Bearer.Reveal()
	f.requireAccepted(t, f.forge(t, f.header(nil), f.claims(t, map[string]any{"iat": f.clock.Now().Unix() + 30})))
	f.requireAccepted(t, f.forge(t, f.header(nil), f.claims(t, map[string]any{"nbf": f.clock.Now().Unix()})))

	f.clock.Advance(12*time.Hour - 679*time.Millisecond) // one millisecond before
	f.requireAccepted(t, good)
	f.clock.Advance(time.Millisecond)
	f.requireRejected(t, good)
}

func TestATokenOfOneIssuerIsNothingToAnother(t *testing.T) {
	t.Parallel()
	s := newSigners(t)["HS256"]
	f := newTokens(t, s, auth.TokenConfig{})
	other := newTokens(t, s, auth.TokenConfig{Audience: "https://other.example"})
	other.requireRejected(t, f.token.Bearer.Reveal())
	f.requireRejected(t, other.token.Bearer.Reveal())
	third := newTokens(t, newSigners(t)["HS256"], auth.TokenConfig{}) // the same key id, another key
	third.requireRejected(t, f.token.Bearer.Reveal())
}

func TestTheAlgorithmBelongsToTheKey(t *testing.T) {
	t.Parallel()
	signers := newSigners(t)
	ring := []auth.SigningKey{signers["EdDSA"].key, signers["ES256"].key, signers["HS256"].key}
	for signing, s := range signers {
		f := newTokens(t, s, auth.TokenConfig{SigningKeys: ring})
		for naming, named := range signers {
			if signing == naming {
				continue
			}
			for alg := range signers {
				header := encode(map[string]any{"alg": alg, "kid": named.key.ID(), "typ": "JWT"}, nil)
				f.requireRejected(t, f.forge(t, header, f.claims(t, nil)))
			}
		}
	}
}

// The oldest trick: the verifier's public key, which anybody has, as the secret
// of an HMAC.
func TestHS256UnderAPublicKeyIsRefused(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"ES256", "EdDSA"} {
		f := newTokens(t, newSigners(t)[alg], auth.TokenConfig{})
		der, err := x509.MarshalPKIXPublicKey(f.publicKey())
		require.NoError(t, err)
		block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		for _, secret := range [][]byte{block, block[:len(block)-1], der} {
			mallory := signer{f.key, jwt.SigningMethodHS256, secret}
			for _, claimed := range []string{"HS256", alg} {
				header := f.header(map[string]any{"alg": claimed})
				f.requireRejected(t, mallory.forge(t, header, f.claims(t, nil)))
			}
		}
	}
}

func TestAnUnsignedTokenIsRefused(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *tokens) {
		unsigned := segment(f.header(map[string]any{"alg": "none"})) + "." + segment(f.claims(t, nil)) + "."
		f.requireRejected(t, unsigned)
		f.requireRejected(t, unsigned+"AA")
	})
}

func TestTokensOfEveryKeyOfTheRingVerify(t *testing.T) {
	t.Parallel()
	signers := newSigners(t)
	old := newTokens(t, signers["HS256"], auth.TokenConfig{})
	rotated, err := auth.NewTokenIssuer(old.store, auth.TokenConfig{
		Issuer: issuer, Now: old.clock.Now, SigningKeys: []auth.SigningKey{signers["ES256"].key, signers["HS256"].key},
	})
	require.NoError(t, err)
	_, err = rotated.Verify(t.Context(), old.token.Bearer.Reveal())
	require.NoError(t, err)

	token, err := rotated.Issue(t.Context(), auth.SignIn{UserID: "u1", Method: auth.MethodHost})
	require.NoError(t, err)
	old.requireRejected(t, token.Bearer.Reveal())

	after, err := auth.NewTokenIssuer(old.store, auth.TokenConfig{
		Issuer: issuer, Now: old.clock.Now, SigningKeys: []auth.SigningKey{signers["ES256"].key},
	})
	require.NoError(t, err)
	_, err = after.Verify(t.Context(), old.token.Bearer.Reveal())
	require.ErrorIs(t, err, auth.ErrTokenRejected, "a dropped key verifies nothing")
}

func TestRevokingASessionEndsItsToken(t *testing.T) {
	t.Parallel()
	f := newTokens(t, newSigners(t)["HS256"], auth.TokenConfig{})
	require.NoError(t, f.issuer.Revoke(t.Context(), f.token.Session.ID))
	f.requireRejected(t, f.token.Bearer.Reveal())
	require.ErrorIs(t, f.issuer.Revoke(t.Context(), f.token.Session.ID), auth.ErrNotFound)
}

func TestATokenEndsWithItsKey(t *testing.T) {
	t.Parallel()
	f := newTokens(t, newSigners(t)["HS256"], auth.TokenConfig{})
	addKey := func(id string, life time.Duration) {
		require.NoError(t, f.store.AddKey(t.Context(), auth.AccessKey{
			ID: id, UserID: "u1", Hash: "$none", CreatedAt: f.clock.Now(), ExpiresAt: f.clock.Now().Add(life),
		}))
	}
	addKey("short", 90*time.Second) // from x.678 to y.678: the token counts 90 whole seconds
	token, err := f.issuer.Issue(t.Context(), auth.SignIn{UserID: "u1", Method: auth.MethodAccessKey, AccessKeyID: "short"})
	require.NoError(t, err)
	require.Equal(t, 90*time.Second, token.ExpiresIn())
	f.requireAccepted(t, token.Bearer.Reveal())
	f.clock.Advance(90 * time.Second)
	f.requireRejected(t, token.Bearer.Reveal())

	addKey("within the second", 100*time.Millisecond)
	_, err = f.issuer.Issue(t.Context(), auth.SignIn{UserID: "u1", Method: auth.MethodAccessKey, AccessKeyID: "within the second"})
	require.ErrorIs(t, err, auth.ErrNotFound)
	removed, err := f.store.PruneSessions(t.Context(), f.clock.Now().Add(time.Second), 100)
	require.NoError(t, err)
	require.Equal(t, 1, removed, "the one of before; none is left of this")
}

func TestTheLongestTokenFits(t *testing.T) {
	t.Parallel()
	for name, s := range newSigners(t) {
		f := &tokens{signer: s, clock: newClock(), store: memstore.New()}
		// The quote takes two bytes in JSON, more than any other that is allowed.
		long := strings.Repeat(`"`, 256)
		var err error
		f.issuer, err = auth.NewTokenIssuer(f.store, auth.TokenConfig{
			Issuer: long, Audience: long, SigningKeys: []auth.SigningKey{s.key}, Now: f.clock.Now})
		require.NoError(t, err)
		id := strings.Repeat(`"`, auth.MaxIDLength)
		register(t, f.store, f.clock, id, strings.Repeat(`"`, auth.MaxUsernameLength))
		token, err := f.issuer.Issue(t.Context(), auth.SignIn{UserID: id, Method: auth.MethodHost})
		require.NoError(t, err)
		require.Equal(t, id, f.requireAccepted(t, token.Bearer.Reveal()).UserID, name)
	}
}

func TestTokenConfigIsChecked(t *testing.T) {
	t.Parallel()
	key := newSigners(t)["HS256"].key
	good := auth.TokenConfig{Issuer: issuer, SigningKeys: []auth.SigningKey{key}}
	for name, change := range map[string]func(*auth.TokenConfig){
		"no issuer":             func(c *auth.TokenConfig) { c.Issuer = "" },
		"a long issuer":         func(c *auth.TokenConfig) { c.Issuer = strings.Repeat("x", 257) },
		"an issuer with NUL":    func(c *auth.TokenConfig) { c.Issuer = "x\x00" },
		"no keys":               func(c *auth.TokenConfig) { c.SigningKeys = nil },
		"a zero key":            func(c *auth.TokenConfig) { c.SigningKeys = []auth.SigningKey{{}} },
		"a zero key behind":     func(c *auth.TokenConfig) { c.SigningKeys = append(c.SigningKeys, auth.SigningKey{}) },
		"one key id twice":      func(c *auth.TokenConfig) { c.SigningKeys = []auth.SigningKey{key, key} },
		"a negative lifetime":   func(c *auth.TokenConfig) { c.Lifetime = -1 },
		"a broken second":       func(c *auth.TokenConfig) { c.Lifetime = 1500 * time.Millisecond },
		"a lifetime of a year":  func(c *auth.TokenConfig) { c.Lifetime = 365 * 24 * time.Hour },
		"a maximum below it":    func(c *auth.TokenConfig) { c.MaxLifetime = time.Hour },
		"a maximum of a year":   func(c *auth.TokenConfig) { c.MaxLifetime = 365 * 24 * time.Hour },
		"a negative maximum":    func(c *auth.TokenConfig) { c.MaxLifetime = -time.Hour },
		"an audience with NUL":  func(c *auth.TokenConfig) { c.Audience = "\x00" },
		"a long audience":       func(c *auth.TokenConfig) { c.Audience = strings.Repeat("x", 257) },
		"an issuer not in UTF8": func(c *auth.TokenConfig) { c.Issuer = "\xff" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := good
			change(&cfg)
			_, err := auth.NewTokenIssuer(memstore.New(), cfg)
			require.Error(t, err)
		})
	}
	_, err := auth.NewTokenIssuer(memstore.New(), good)
	require.NoError(t, err)
	_, err = auth.NewTokenIssuer(nil, good)
	require.Error(t, err)
	_, err = auth.NewTokenIssuer((*memstore.Store)(nil), good)
	require.Error(t, err, "a nil pointer in an interface")
}

func TestAWiderKeyIsNotATokenKey(t *testing.T) {
	t.Parallel()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	_, err = auth.NewES256Key("", p384)
	require.Error(t, err)
}

// Every refused token gets the same answer on the wire (CVE-2024-51744: there,
// expired and forged could be told apart and were told wrongly).
func TestRefusedTokensAllGetOneAnswer_CVE_2024_51744(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	expired := f.signIn(f.user)
	f.clock.Advance(13 * time.Hour)
	revoked := f.signIn(f.user)
	require.Equal(t, http.StatusOK, f.sendAs(revoked, http.MethodPost, "/auth/logout", "").status)
	good := f.signIn(f.user)
	disabled := f.signIn(f.admin) // the one below
	made, err := f.svc.Register(t.Context(), auth.NewUser{Username: "second", IsSuperUser: true})
	require.NoError(t, err)
	f.setActive(f.admin, false)
	orphan := f.signIn(made.User)
	require.NoError(t, f.svc.Credentials().Revoke(t.Context(), made.Pair.AccessKey))

	parts := strings.Split(good, ".")
	want := f.sendAs("rubbish", http.MethodGet, "/auth/user", "")
	require.Equal(t, http.StatusUnauthorized, want.status)
	require.Equal(t, `Bearer error="invalid_token"`, want.header.Get("WWW-Authenticate"))
	for name, got := range map[string]response{
		"expired":       f.sendAs(expired, http.MethodGet, "/auth/user", ""),
		"revoked":       f.sendAs(revoked, http.MethodGet, "/auth/user", ""),
		"disabled user": f.sendAs(disabled, http.MethodGet, "/auth/user", ""),
		"forged":        f.sendAs(parts[0]+"."+parts[1]+"."+segment(strings.Repeat("x", 32)), http.MethodGet, "/auth/user", ""),
		"cut":           f.sendAs(good[:len(good)-1], http.MethodGet, "/auth/user", ""),
		"huge":          f.sendAs(good+strings.Repeat("A", 5000), http.MethodGet, "/auth/user", ""),
		"two headers":   f.send(http.MethodGet, "/auth/user", "", "Authorization", "Bearer "+good, "Authorization", "Bearer "+good),
	} {
		require.Equal(t, want, got, name)
	}
	require.Equal(t, http.StatusOK, f.sendAs(orphan, http.MethodGet, "/auth/user", "").status,
		"a session that the host opened does not depend on a key")
	require.Equal(t, http.StatusOK, f.sendAs(good, http.MethodGet, "/auth/user", "").status)
}

func TestATokenIsAtMost4KiBLong(t *testing.T) {
	t.Parallel()
	f := newTokens(t, newSigners(t)["HS256"], auth.TokenConfig{})
	base := len(f.forge(t, f.header(nil), f.claims(t, map[string]any{"pad": ""})))
	lengths := map[int]bool{}
	for pad := (4096-base)*3/4 - 4; pad < (4096-base)*3/4+4; pad++ {
		token := f.forge(t, f.header(nil), f.claims(t, map[string]any{"pad": strings.Repeat("x", pad)}))
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

func TestASessionThatTheStoreSaysHasEndedIsAnEnd(t *testing.T) {
	t.Parallel()
	f := newTokens(t, newSigners(t)["HS256"], auth.TokenConfig{})
	shortened, err := auth.NewTokenIssuer(shortSessions{f.store, f.clock}, auth.TokenConfig{
		Issuer: issuer, Now: f.clock.Now, SigningKeys: []auth.SigningKey{f.key}})
	require.NoError(t, err)
	_, err = shortened.Verify(t.Context(), f.token.Bearer.Reveal())
	require.ErrorIs(t, err, auth.ErrTokenRejected)
}

// shortSessions is a store in which every session ends now.
type shortSessions struct {
	auth.Store
	clock *clock
}

func (s shortSessions) FindSession(ctx context.Context, id string) (auth.Session, error) {
	session, err := s.Store.FindSession(ctx, id)
	session.ExpiresAt = s.clock.Now()
	return session, err
}

func TestAClockThatIsFarOffIsNobodysFault(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.clock.Advance(-60 * 365 * 24 * time.Hour) // a machine that has booted without one
	require.Equal(t, http.StatusServiceUnavailable, f.login(f.userPair).status)
}
