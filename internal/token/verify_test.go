package token_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/token"
	"github.com/stretchr/testify/require"
)

func TestAGoodTokenIsAccepted(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *fixture) {
		for _, typ := range []string{token.TypeBearer, token.TypeCookie} {
			f.Type = typ
			f.requireAccepted(t, f.sign(t))
			// The unchanged header and claims are accepted. So the tokens below are rejected only
			// because of their changes.
			f.requireAccepted(t, f.forge(t, f.header(nil), f.claims(nil)))
			f.requireAccepted(t, f.forge(t, " "+f.header(map[string]any{"future": 1}),
				f.claims(map[string]any{"future": []int{1}})))
		}
	})
}

func TestTheReasonsHaveTextsForTheOperator(t *testing.T) {
	t.Parallel()
	for reason, want := range map[error]string{
		token.ErrRejected:   "auth: token rejected",
		token.ErrMalformed:  "auth: token rejected: malformed",
		token.ErrUnknownKey: "auth: token rejected: no such key",
		token.ErrHeader:     "auth: token rejected: header",
		token.ErrSignature:  "auth: token rejected: signature",
		token.ErrClaims:     "auth: token rejected: claims",
		token.ErrIssuer:     "auth: token rejected: from another issuer",
		token.ErrAudience:   "auth: token rejected: for another audience",
		token.ErrLifetime:   "auth: token rejected: lifetime",
		token.ErrExpired:    "auth: token rejected: expired",
		token.ErrRetired:    "auth: token rejected: issued after its key was retired",
		token.ErrTooOld:     "auth: token rejected: issued too long ago",
	} {
		require.EqualError(t, reason, want)
		require.ErrorIs(t, reason, token.ErrRejected)
	}
}

// Attack: the kid of a token whose signature is not verified goes into a log, to forge a line or to
// fill the disk.
func TestTheReasonNamesTheUnknownKeyOnlyIfItHasTheFormOfAKeyID(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newKeys(t)["EdDSA"])
	const noID = "auth: token rejected: no such key: kid is not a key ID"
	for kid, want := range map[string]string{
		"of-2026.11_b":             `auth: token rejected: no such key: kid "of-2026.11_b"`,
		strings.Repeat("k", 64):    `auth: token rejected: no such key: kid "` + strings.Repeat("k", 64) + `"`,
		strings.Repeat("k", 65):    noID,
		"":                         noID,
		"a b":                      noID,
		"a\"":                      noID,
		"a\nlevel=INFO msg=forged": noID,
		"\x1b[2J":                  noID,
		"\u202egnp.exe":            noID,
		"schl\u00fcssel":           noID,
	} {
		_, err := f.verify(f.forge(t, f.header(map[string]any{"kid": kid}), f.claims(nil)))
		require.EqualError(t, err, want)
	}
}

func TestTokensOfAnotherShapeAreRejected(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *fixture) {
		good := f.sign(t)
		parts := strings.Split(good, ".")
		for name, text := range map[string]string{
			"empty":                         "",
			"two dots":                      "..",
			"one segment":                   parts[0],
			"two segments":                  parts[0] + "." + parts[1],
			"four segments":                 good + "." + parts[2],
			"a trailing dot":                good + ".",
			"a leading dot":                 "." + good,
			"an empty header":               "." + parts[1] + "." + parts[2],
			"empty claims":                  parts[0] + ".." + parts[2],
			"an empty signature":            parts[0] + "." + parts[1] + ".",
			"a trailing line break":         good + "\n",
			"a line break in the header":    parts[0][:5] + "\n" + parts[0][5:] + "." + parts[1] + "." + parts[2],
			"a line break in the claims":    parts[0] + ".\n" + parts[1] + "." + parts[2],
			"a CR in the signature":         parts[0] + "." + parts[1] + "." + parts[2][:9] + "\r" + parts[2][9:],
			"a space":                       " " + good,
			"padding":                       good + "=",
			"padded claims":                 parts[0] + "." + parts[1] + "=." + parts[2],
			"another alphabet":              parts[0] + "." + parts[1] + ".+" + parts[2][1:],
			"NUL":                           good + "\x00",
			"a letter that is not ASCII":    good + "é",
			"a header that is not base64":   "A." + parts[1] + "." + parts[2],
			"a signature that is no base64": parts[0] + "." + parts[1] + ".A",
			"8 MiB":                         good + strings.Repeat("A", 8<<20),
		} {
			f.requireRejected(t, text, token.ErrMalformed, name)
		}
		for i := range len(good) {
			f.requireRejected(t, good[:i], token.ErrRejected)
		}
	})
}

func TestATokenIsAtMost4096BytesLong(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newKeys(t)["EdDSA"])
	fits := map[int]bool{}
	for _, pad := range []string{"", "x", "xx", "xxx"} {
		header := f.header(map[string]any{"pad": pad})
		for n := 2700; n < 2900; n++ {
			text := f.forge(t, header, f.claims(map[string]any{"pad": strings.Repeat("x", n)}))
			if len(text) < token.MaxLength-3 || len(text) > token.MaxLength+3 {
				continue
			}
			_, err := f.verify(text)
			fits[len(text)] = err == nil
			if err != nil {
				require.ErrorIs(t, err, token.ErrMalformed)
			}
		}
	}
	require.True(t, fits[4096])
	require.Contains(t, fits, 4097)
	require.False(t, fits[4097])
}

// The last character of a segment can have bits that are not used.
func TestOtherSpellingsOfASegmentAreRejected(t *testing.T) {
	t.Parallel()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for alg, key := range newKeys(t) {
		f := newFixture(t, key)
		spellings := map[int]int{}
		for _, pad := range []string{"", "x", "xx"} {
			text := f.forge(t, f.header(map[string]any{"pad": pad}), f.claims(map[string]any{"pad": pad}))
			f.requireAccepted(t, text)
			for i, part := range strings.Split(text, ".") {
				for _, last := range alphabet {
					parts := strings.Split(text, ".")
					parts[i] = part[:len(part)-1] + string(last)
					if parts[i] == part || decode(t, parts[i]) != decode(t, part) {
						continue
					}
					spellings[i]++
					if i < 2 { // the key signs the other spelling, so only the spelling is wrong
						signature, err := key.Sign(t.Context(), parts[0]+"."+parts[1])
						require.NoError(t, err)
						parts[2] = base64.RawURLEncoding.EncodeToString(signature)
					}
					f.requireRejected(t, strings.Join(parts, "."), token.ErrMalformed, "%s, segment %d",
						alg, i)
				}
			}
		}
		require.Len(t, spellings, 3)
	}
}

func TestAChangedTokenIsRejected(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *fixture) {
		good := f.sign(t)
		parts := strings.Split(good, ".")
		other := strings.Split(f.forge(t, f.header(nil), f.claims(map[string]any{"sub": "u2"})), ".")
		signature := decode(t, parts[2])
		for name, text := range map[string]string{
			"other claims":           parts[0] + "." + other[1] + "." + parts[2],
			"the signature of other": parts[0] + "." + parts[1] + "." + other[2],
			"another header":         segment(" "+f.header(nil)) + "." + parts[1] + "." + parts[2],
			"a signature cut short":  parts[0] + "." + parts[1] + "." + segment(signature[:len(signature)-1]),
			"a signature of nothing": parts[0] + "." + parts[1] + ".AA",
			"a longer signature":     parts[0] + "." + parts[1] + "." + segment(strings.Repeat("x", 200)),
		} {
			f.requireRejected(t, text, token.ErrSignature, name)
		}
		stranger := newFixture(t, newKeys(t)[f.key.Algorithm()])
		f.requireRejected(t, stranger.sign(t), token.ErrSignature, "the same key ID, another key")
		f.requireAccepted(t, good)
	})
}

func TestHeadersThatAreNotOursAreRejected(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *fixture) {
		for name, changes := range map[string]map[string]any{
			"no alg":               {"alg": nil},
			"alg none":             {"alg": "none"},
			"alg in other letters": {"alg": strings.ToLower(f.key.Algorithm())},
			"alg of another key":   {"alg": "RS256"},
			"alg a list":           {"alg": []string{f.key.Algorithm()}},
			"no typ":               {"typ": nil},
			"typ in other letters": {"typ": "jwt"},
			"typ a number":         {"typ": 1},
			"KID beside kid":       {"KID": f.key.ID()},
			"Alg in place of alg":  {"alg": nil, "Alg": f.key.Algorithm()},
			"crit":                 {"crit": []string{"exp"}},
			"crit, empty":          {"crit": []string{}},
			"crit null":            {"crit": json.RawMessage("null")},
			"b64":                  {"b64": true},
			"zip":                  {"zip": "DEF"},
			"enc":                  {"enc": "A128GCM"},
			"jku":                  {"jku": "https://evil.example/jwks.json"},
			"jwk":                  {"jwk": map[string]any{"kty": "oct"}},
			"x5u":                  {"x5u": "https://evil.example/cert.pem"},
			"x5c":                  {"x5c": []string{"AA=="}},
			"x5t":                  {"x5t": "AA"},
			"x5t#S256":             {"x5t#S256": "AA"},
		} {
			f.requireRejected(t, f.forge(t, f.header(changes), f.claims(nil)), token.ErrHeader, name)
		}
		for name, changes := range map[string]map[string]any{
			"no kid":            {"kid": nil},
			"kid empty":         {"kid": ""},
			"kid of nobody":     {"kid": "another"},
			"kid a number":      {"kid": 1},
			"kid null":          {"kid": json.RawMessage("null")},
			"kid with a NUL":    {"kid": "hs\u0001"},
			"kid with a suffix": {"kid": f.key.ID() + "/../x"},
		} {
			f.requireRejected(t, f.forge(t, f.header(changes), f.claims(nil)), token.ErrUnknownKey, name)
		}
		good := f.header(nil)
		for name, header := range map[string]string{
			"not JSON":      "alg",
			"null":          "null",
			"an array":      "[]",
			"trailing data": good + "{}",
			"alg twice":     `{"alg":"none",` + good[1:],
			"kid twice":     good[:len(good)-1] + `,"kid":"x"}`,
			"invalid UTF-8": good[:len(good)-1] + ",\"x\":\"\xff\"}",
		} {
			f.requireRejected(t, f.forge(t, header, f.claims(nil)), token.ErrHeader, name)
		}
	})
}

func TestTheTypeOfATokenIsHeld(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *fixture) {
		bearer := f.sign(t)
		f.Type = token.TypeCookie
		cookie := f.sign(t)
		f.requireAccepted(t, cookie)
		f.requireRejected(t, bearer, token.ErrHeader)
		f.Type = token.TypeBearer
		f.requireAccepted(t, bearer)
		f.requireRejected(t, cookie, token.ErrHeader)
	})
}

func TestTheAlgorithmBelongsToTheKey(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	ring := newRing(t, keys["EdDSA"], keys["ES256"], keys["HS256"])
	for signer, key := range keys {
		f := newFixture(t, key)
		f.ring = ring
		f.requireAccepted(t, f.sign(t))
		for _, named := range keys {
			for alg := range keys {
				header := f.header(map[string]any{"alg": alg, "kid": named.ID()})
				switch {
				case alg != named.Algorithm():
					f.requireRejected(t, f.forge(t, header, f.claims(nil)), token.ErrHeader)
				case named != key:
					f.requireRejected(t, f.forge(t, header, f.claims(nil)), token.ErrSignature, signer)
				}
			}
		}
	}
}

func TestOnlyTheKeysOfTheRingVerify(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	for _, key := range keys {
		f := newFixture(t, key)
		text := f.sign(t)
		f.ring = new(signing.Ring)
		f.requireRejected(t, text, token.ErrUnknownKey)
		for _, other := range keys {
			if other != key {
				f.ring = newRing(t, other)
				f.requireRejected(t, text, token.ErrUnknownKey)
				f.ring = newRing(t, other, key)
				f.requireAccepted(t, text)
			}
		}
	}
}

func TestARetiredKeyVerifiesNoLaterToken(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	for _, alg := range []string{"HS256", "EdDSA"} {
		f := newFixture(t, keys[alg])
		f.ring = newRing(t, keys["ES256"], f.key.RetiredAt(time.Unix(now-10, 999)))
		for issued, want := range map[int64]error{now - 11: nil, now - 10: nil, now - 9: token.ErrRetired,
			now: token.ErrRetired} {
			text := f.forge(t, f.header(nil), f.claims(map[string]any{"iat": issued}))
			_, err := f.verify(text)
			require.ErrorIs(t, err, want, "%s, %d", alg, issued-now)
		}
	}
}

func TestAMillionDotsCostNoMemory_CVE_2025_30204(t *testing.T) {
	f := newFixture(t, newKeys(t)["HS256"])
	dots := strings.Repeat(".", 1_000_000)
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = f.verify(dots) }))
	dots = dots[:token.MaxLength]
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = f.verify(dots) }))
}
