package wiretest

import (
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func TestTheMirroredECDSASignatureIsRejected(t *testing.T) {
	t.Parallel()
	f := newTokens(t, authtest.NewSigners(t)["ES256"], auth.TokenConfig{})
	for range 20 {
		token, err := f.issuer.Issue(t.Context(), auth.IssueParams{UserID: "u1", Method: auth.MethodHost})
		require.NoError(t, err)
		text := token.Bearer.Reveal()
		f.requireAccepted(t, text)
		r, s := ecdsaSignature(t, text)
		s.Sub(elliptic.P256().Params().N, s)
		var mirrored [64]byte
		r.FillBytes(mirrored[:32])
		s.FillBytes(mirrored[32:])
		unsigned := text[:strings.LastIndex(text, ".")]
		public := verifyingKey(f.Signer)
		require.NoError(t, f.Method.Verify(unsigned, mirrored[:], public),
			"golang-jwt accepts the mirrored signature")
		f.requireRejected(t, unsigned+"."+base64.RawURLEncoding.EncodeToString(mirrored[:]))
	}
}

func TestMalformedTokensAreRejected(t *testing.T) {
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
			"a character beyond ASCII":    good + "é",
			"8 MiB":                       good + strings.Repeat("A", 8<<20),
			"a million dots":              strings.Repeat(".", 1_000_000),
			"a header that is not base64": "A." + parts[1] + "." + parts[2],
			"a truncated signature":       parts[0] + "." + parts[1] + "." + parts[2][:len(parts[2])-2],
			"a signature of one byte":     parts[0] + "." + parts[1] + ".AA",
			"just over 4 KiB":             f.Forge(t, f.header(nil), f.claims(t, map[string]any{"pad": strings.Repeat("x", 4096)})),
		} {
			t.Run(name, func(t *testing.T) { f.requireRejected(t, token) })
		}
	})
}

func TestEveryPrefixOfATokenIsRejected_CVE_2026_27840(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *tokens) {
		good := f.token.Bearer.Reveal()
		for i := range len(good) {
			f.requireRejected(t, good[:i])
		}
		f.requireAccepted(t, good)
	})
}

// The last character of a segment has unused bits. A decoder that ignores them accepts up to
// sixteen encodings of the same signature.
func TestOtherEncodingsOfASignatureAreRejected(t *testing.T) {
	t.Parallel()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	eachAlgorithm(t, func(t *testing.T, f *tokens) {
		good := f.token.Bearer.Reveal()
		last := strings.IndexByte(alphabet, good[len(good)-1])
		want, err := base64.RawURLEncoding.DecodeString(good[strings.LastIndex(good, ".")+1:])
		require.NoError(t, err)
		encodings := 0
		for i := range len(alphabet) {
			other := good[:len(good)-1] + alphabet[i:i+1]
			got, err := base64.RawURLEncoding.DecodeString(other[strings.LastIndex(other, ".")+1:])
			require.NoError(t, err)
			if i == last || string(got) != string(want) {
				continue
			}
			encodings++
			f.requireRejected(t, other)
		}
		require.Greater(t, encodings, 2)
	})
}

func TestAMillionDotsCostNoMemory_CVE_2025_30204(t *testing.T) {
	// Not parallel, because it counts the allocations of the whole process.
	f := newTokens(t, authtest.NewSigners(t)["HS256"], auth.TokenConfig{})
	dots := strings.Repeat(".", 1_000_000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		f.requireRejected(t, dots)
	}
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1_000_000),
		"100 such tokens allocate less than the size of one")
}

func TestTokensWithOtherHeadersAreRejected(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *tokens) {
		for name, changes := range map[string]map[string]any{
			"no alg":                     {"alg": nil},
			"alg none":                   {"alg": "none"},
			"alg None":                   {"alg": "None"},
			"alg in lower case":          {"alg": strings.ToLower(f.Method.Alg())},
			"alg empty":                  {"alg": ""},
			"alg a number":               {"alg": 1},
			"alg a list":                 {"alg": []string{f.Method.Alg()}},
			"alg HS512":                  {"alg": "HS512"},
			"no kid":                     {"kid": nil},
			"kid empty":                  {"kid": ""},
			"kid unknown":                {"kid": "other"},
			"kid a path":                 {"kid": "../../dev/null"},
			"kid SQL":                    {"kid": "' OR '1'='1"},
			"kid of 3000 bytes":          {"kid": strings.Repeat("k", 3000)},
			"kid a number":               {"kid": 1},
			"no typ":                     {"typ": nil},
			"typ in lower case":          {"typ": "jwt"},
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
				f.requireRejected(t, f.Forge(t, f.header(changes), f.claims(t, nil)))
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
				f.requireRejected(t, f.Forge(t, header, f.claims(t, nil)))
			})
		}
	})
}

// claimFaults returns changes to valid claims. After each of them, the token must be rejected.
func claimFaults(now int64) map[string]map[string]any {
	far := json.Number("1000000000000000000")
	faults := map[string]map[string]any{
		"iss another":                     {"iss": "https://evil.example"},
		"iss with a slash":                {"iss": issuer + "/"},
		"iss in upper case":               {"iss": strings.ToUpper(issuer)},
		"iss a list":                      {"iss": []string{issuer}},
		"aud another":                     {"aud": "https://other.example"},
		"aud a list (CVE-2020-26160)":     {"aud": []string{issuer}},
		"aud a list of two":               {"aud": []string{"https://other.example", issuer}},
		"aud an empty list":               {"aud": []string{}},
		"aud a list in a list":            {"aud": [][]string{{issuer}}},
		"aud an object":                   {"aud": map[string]any{issuer: true}},
		"aud a list with a number":        {"aud": []any{issuer, 1}},
		"exp now":                         {"exp": now},
		"exp a second ago":                {"exp": now - 1},
		"exp with a fraction":             {"exp": json.Number(fmt.Sprint(now+60) + ".5")},
		"exp with a zero fraction":        {"exp": json.Number(fmt.Sprint(now+60) + ".0")},
		"exp in exponents":                {"exp": json.Number("1e18")},
		"exp in the far future":           {"exp": far},
		"exp beyond int64":                {"exp": json.Number("9223372036854775808")},
		"exp beyond the maximum lifetime": {"exp": now + 12*3600 + 1},
		"exp before iat":                  {"iat": now + 20, "exp": now + 10},
		"exp equal to iat":                {"iat": now + 20, "exp": now + 20},
		"iat zero":                        {"iat": 0},
		"iat negative":                    {"iat": -1},
		"iat in the future":               {"iat": now + 31},
		"iat with a fraction":             {"iat": json.Number(fmt.Sprint(now) + ".5")},
		"iat the least integer":           {"iat": json.Number("-9223372036854775808")},
		"nbf in the future":               {"nbf": now + 1},
		"nbf a string":                    {"nbf": "0"},
		"nbf with a fraction":             {"nbf": json.Number("0.5")},
		"sub empty":                       {"sub": ""},
		"jti empty":                       {"jti": ""},
		"SUB beside sub":                  {"SUB": "u2"},
		"Exp beside exp":                  {"Exp": far},
		"IS_SUPER_USER beside it":         {"IS_SUPER_USER": true},
		"is_super_user with a long s":     {"i\u017f_super_user": true},
		"is_super_user a string":          {"is_super_user": "true"},
		"is_super_user a number":          {"is_super_user": 1},
	}
	for _, name := range []string{
		"iss", "aud", "sub", "jti", "iat", "exp", "gen", "username", "is_super_user",
	} {
		faults["no "+name] = map[string]any{name: nil}
		faults[name+" null"] = map[string]any{name: json.RawMessage("null")}
		faults[name+" an object"] = map[string]any{name: map[string]any{}}
	}
	for _, name := range []string{"iss", "aud", "sub", "jti", "username"} {
		faults[name+" a number"] = map[string]any{name: 1}
		faults[name+" a truth value"] = map[string]any{name: true}
	}
	faults["gen below zero"], faults["gen a fraction"] = map[string]any{"gen": -1}, map[string]any{"gen": 0.5}
	for _, name := range []string{"iat", "exp", "gen"} {
		faults[name+" a string"] = map[string]any{name: fmt.Sprint(now + 10)}
		faults[name+" a truth value"] = map[string]any{name: true}
	}
	return faults
}

func TestTokensWithOtherClaimsAreRejected(t *testing.T) {
	t.Parallel()
	f := newTokens(t, authtest.NewSigners(t)["HS256"], auth.TokenConfig{})
	for name, changes := range claimFaults(f.clock.Now().Unix()) {
		t.Run(name, func(t *testing.T) {
			f.requireRejected(t, f.Forge(t, f.header(nil), f.claims(t, changes)))
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
			f.requireRejected(t, f.Forge(t, f.header(nil), claims))
		})
	}
}

func TestTokenTimesAreCheckedToTheSecond(t *testing.T) {
	t.Parallel()
	f := newTokens(t, authtest.NewSigners(t)["HS256"], auth.TokenConfig{})
	good := f.token.Bearer.Reveal()
	f.requireAccepted(t, f.Forge(t, f.header(nil), f.claims(t, map[string]any{
		"iat": f.clock.Now().Unix() + 30,
	})))
	f.requireAccepted(t, f.Forge(t, f.header(nil), f.claims(t, map[string]any{"nbf": f.clock.Now().Unix()})))

	f.clock.Advance(12*time.Hour - 679*time.Millisecond) // a millisecond before the expiry
	f.requireAccepted(t, good)
	f.clock.Advance(time.Millisecond)
	f.requireRejected(t, good)
}

func TestATokenOfAnotherIssuerIsRejected(t *testing.T) {
	t.Parallel()
	s := authtest.NewSigners(t)["HS256"]
	f := newTokens(t, s, auth.TokenConfig{})
	other := newTokens(t, s, auth.TokenConfig{})
	var err error
	other.issuer, err = auth.NewTokenIssuer(other.store, issuer+"/other", []auth.SigningKey{s.Key},
		auth.TokenConfig{Now: other.clock.Now})
	require.NoError(t, err)
	other.token, err = other.issuer.Issue(t.Context(),
		auth.IssueParams{UserID: "u1", Method: auth.MethodHost})
	require.NoError(t, err)
	other.requireRejected(t, f.token.Bearer.Reveal())
	f.requireRejected(t, other.token.Bearer.Reveal())
	// This issuer has another key with the same key ID.
	third := newTokens(t, authtest.NewSigners(t)["HS256"], auth.TokenConfig{})
	third.requireRejected(t, f.token.Bearer.Reveal())
}

func TestATokenWithTheAlgorithmOfAnotherKeyIsRejected(t *testing.T) {
	t.Parallel()
	signers := authtest.NewSigners(t)
	ring := []auth.SigningKey{signers["EdDSA"].Key, signers["ES256"].Key, signers["HS256"].Key}
	for signing, s := range signers {
		f := newTokens(t, s, auth.TokenConfig{}, ring...)
		for naming, named := range signers {
			if signing == naming {
				continue
			}
			for alg := range signers {
				header := encode(map[string]any{"alg": alg, "kid": named.Key.ID(), "typ": "JWT"}, nil)
				f.requireRejected(t, f.Forge(t, header, f.claims(t, nil)))
			}
		}
	}
}

// Attack: the verifier's public key, which everyone knows, is used as the secret of an HS256
// signature.
func TestHS256UnderAPublicKeyIsRejected(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"ES256", "EdDSA"} {
		f := newTokens(t, authtest.NewSigners(t)[alg], auth.TokenConfig{})
		der, err := x509.MarshalPKIXPublicKey(verifyingKey(f.Signer))
		require.NoError(t, err)
		block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		for _, secret := range [][]byte{block, block[:len(block)-1], der} {
			mallory := authtest.Signer{Key: f.Key, Method: jwt.SigningMethodHS256, Secret: secret}
			for _, claimed := range []string{"HS256", alg} {
				header := f.header(map[string]any{"alg": claimed})
				f.requireRejected(t, mallory.Forge(t, header, f.claims(t, nil)))
			}
		}
	}
}

func TestAnUnsignedTokenIsRejected(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *tokens) {
		unsigned := authtest.Segment(f.header(map[string]any{"alg": "none"})) + "." +
			authtest.Segment(f.claims(t, nil)) + "."
		f.requireRejected(t, unsigned)
		f.requireRejected(t, unsigned+"AA")
	})
}

// An attacker who holds the signing key can forge tokens for any user. With CheckSessionsInStore,
// the token must also name a session of this user that is in the store.
func TestCheckSessionsInStoreRejectsATokenWithoutItsSession(t *testing.T) {
	t.Parallel()
	f := newTokens(t, authtest.NewSigners(t)["HS256"], auth.TokenConfig{CheckSessionsInStore: true})
	register(t, f.store, f.clock, "u2", "mallory")
	f.requireAccepted(t, f.Forge(t, f.header(nil), f.claims(t, nil)))
	for name, changes := range map[string]map[string]any{
		"jti unknown":         {"jti": "nobody's"},
		"sub of another user": {"sub": "u2"},
	} {
		t.Run(name, func(t *testing.T) {
			f.requireRejected(t, f.Forge(t, f.header(nil), f.claims(t, changes)))
		})
	}
}
