package signing_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/signing"
	"github.com/stretchr/testify/require"
)

// jwks returns a JWK set with these members.
func jwks(t testing.TB, members ...any) []byte {
	t.Helper()
	if members == nil {
		members = []any{}
	}
	text, err := json.Marshal(map[string]any{"keys": members})
	require.NoError(t, err)
	return text
}

// publicJWKs returns the public JWKs that an issuer publishes, for the two keys that are not
// symmetric.
func (m material) publicJWKs() map[string]map[string]any {
	return map[string]map[string]any{
		"ES256": {"kty": "EC", "crv": "P-256", "x": m.x, "y": m.y, "kid": "es", "alg": "ES256", "use": "sig"},
		"EdDSA": {"kty": "OKP", "crv": "Ed25519", "x": m.edX, "kid": "ed", "alg": "EdDSA", "use": "sig"},
	}
}

// with returns the JWK with some members changed. A nil value removes a member.
func with(member map[string]any, changes map[string]any) map[string]any {
	changed := maps.Clone(member)
	maps.Copy(changed, changes)
	maps.DeleteFunc(changed, func(_ string, v any) bool { return v == nil })
	return changed
}

func TestAPublishedSetHasTheKeysOfItsRing(t *testing.T) {
	t.Parallel()
	keys := newMaterial(t).keys(t)
	at := time.Unix(1_700_000_000, 0)
	ring, err := signing.NewRing([]*signing.Key{keys["HS256"], keys["ES256"], keys["EdDSA"].RetiredAt(at)})
	require.NoError(t, err)
	public, err := signing.ParseJWKS(ring.JWKS())
	require.NoError(t, err)
	require.Nil(t, public.Signer())
	require.Nil(t, public.ByID("hs"))
	for _, alg := range []string{"ES256", "EdDSA"} {
		key := public.ByID(keys[alg].ID())
		require.Equal(t, alg, key.Algorithm())
		require.Equal(t, keys[alg].ID(), key.ID())
		require.Same(t, key, public.ByHeader(keys[alg].Header(signing.TypeJWT)))
		requireSame(t, keys[alg], key)
	}
	require.True(t, public.ByID("ed").RetiredBefore(at.Unix()+1))
	require.False(t, public.ByID("ed").RetiredBefore(at.Unix()))
	require.False(t, public.ByID("es").RetiredBefore(at.Unix()+1))
}

func TestWhatAPublicKeyMustSay(t *testing.T) {
	t.Parallel()
	m, other := newMaterial(t), newMaterial(t)
	for alg, good := range m.publicJWKs() {
		for name, test := range map[string]struct {
			changes map[string]any
			used    bool
		}{
			"as it is published":       {nil, true},
			"without alg and use":      {map[string]any{"alg": nil, "use": nil}, true},
			"with members of others":   {map[string]any{"x5t": "AQ", "ext": true}, true},
			"an id of 64 characters":   {map[string]any{"kid": strings.Repeat("k", 64)}, true},
			"retired":                  {map[string]any{"sallyport_retired_at": 1}, true},
			"a retirement of null":     {map[string]any{"sallyport_retired_at": json.RawMessage("null")}, true},
			"for encryption":           {map[string]any{"use": "enc"}, false},
			"of another alg":           {map[string]any{"alg": "HS256"}, false},
			"without an id":            {map[string]any{"kid": nil}, false},
			"with an empty id":         {map[string]any{"kid": ""}, false},
			"an id of 65 characters":   {map[string]any{"kid": strings.Repeat("k", 65)}, false},
			"an id with quotes":        {map[string]any{"kid": `"`}, false},
			"an id that is a number":   {map[string]any{"kid": 1}, false},
			"another curve":            {map[string]any{"crv": "X25519"}, false},
			"no curve":                 {map[string]any{"crv": nil}, false},
			"another kty":              {map[string]any{"kty": "RSA"}, false},
			"no kty":                   {map[string]any{"kty": nil}, false},
			"a symmetric kty":          {map[string]any{"kty": "oct", "k": m.k}, false},
			"no x":                     {map[string]any{"x": nil}, false},
			"a short x":                {map[string]any{"x": "AQ"}, false},
			"a long x":                 {map[string]any{"x": raw(random(33))}, false},
			"an empty x":               {map[string]any{"x": ""}, false},
			"a number for an x":        {map[string]any{"x": 1}, false},
			"a padded x":               {map[string]any{"x": other.x + "="}, false},
			"an x with a line break":   {map[string]any{"x": other.x[:20] + "\n" + other.x[20:]}, false},
			"an x in another alphabet": {map[string]any{"x": "+/" + other.x[2:]}, false},
			"a retirement of text":     {map[string]any{"sallyport_retired_at": "1"}, false},
			"a fraction of a second":   {map[string]any{"sallyport_retired_at": 1.5}, false},
			"a retirement out of time": {map[string]any{"sallyport_retired_at": 1e30}, false},
		} {
			member := with(good, test.changes)
			ring, err := signing.ParseJWKS(jwks(t, member))
			if !test.used {
				require.EqualError(t, err, "the JWK set has no key of ES256 or EdDSA for signatures",
					"%s, %s", alg, name)
				continue
			}
			require.NoError(t, err, "%s, %s", alg, name)
			requireSame(t, m.keys(t)[alg], ring.ByID(member["kid"].(string)))
		}
	}
	for name, changes := range map[string]map[string]any{
		"no y":                  {"y": nil},
		"a short y":             {"y": "AQ"},
		"a point off the curve": {"y": other.y},
	} {
		_, err := signing.ParseJWKS(jwks(t, with(m.publicJWKs()["ES256"], changes)))
		require.Error(t, err, name)
	}
}

// Without this rule, the same key could be published in several spellings.
func TestEachCoordinateHasItsOwnLength(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	x, err := base64.RawURLEncoding.DecodeString(m.x)
	require.NoError(t, err)
	y, err := base64.RawURLEncoding.DecodeString(m.y)
	require.NoError(t, err)
	point := append(x, y...)
	for _, length := range []int{31, 33} { // of x; x and y together are as long as they must be
		changes := map[string]any{"x": raw(point[:length]), "y": raw(point[length:])}
		_, err := signing.ParseJWKS(jwks(t, with(m.publicJWKs()["ES256"], changes)))
		require.Error(t, err, length)
	}
}

// 32 bytes are encoded as 43 characters. The last character has two bits that are not used, so
// several characters stand for the same bytes.
func TestCoordinatesHaveOneSpelling(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	decode := func(text string) string {
		b, err := base64.RawURLEncoding.DecodeString(text)
		require.NoError(t, err)
		return string(b)
	}
	spellings := 0
	for _, last := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
		other := m.edX[:len(m.edX)-1] + string(last)
		if other == m.edX || decode(other) != decode(m.edX) {
			continue
		}
		spellings++
		_, err := signing.ParseJWKS(jwks(t, with(m.publicJWKs()["EdDSA"], map[string]any{"x": other})))
		require.Error(t, err)
	}
	require.Equal(t, 3, spellings)
}

func TestKeysOfASetThatAreNotUsedHideNoOther(t *testing.T) {
	t.Parallel()
	m, other := newMaterial(t), newMaterial(t)
	good, twin := m.publicJWKs(), other.publicJWKs()["ES256"]
	ring, err := signing.ParseJWKS(jwks(t, map[string]string{"kty": "RSA", "kid": "ed"}, 1, nil,
		"x", good["EdDSA"], good["ES256"], twin))
	require.NoError(t, err)
	requireSame(t, m.keys(t)["EdDSA"], ring.ByID("ed"))
	require.Nil(t, ring.ByID("es"), "nothing tells which of the two is meant")

	_, err = signing.ParseJWKS(jwks(t, good["EdDSA"], good["EdDSA"], good["EdDSA"]))
	require.ErrorContains(t, err, "no key of ES256 or EdDSA")
}

func TestTextsThatAreNoJWKSet(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "{}", "null", "[]", "<html>", `{"keys":null}`, `{"keys":{}}`, `{"keys":"x"}`, `{"keys":[]`, `{"keys":[]}x`,
	} {
		_, err := signing.ParseJWKS([]byte(text))
		require.EqualError(t, err, "not a JWK set", text)
	}
	_, err := signing.ParseJWKS([]byte(`{"keys":[]}`))
	require.EqualError(t, err, "the JWK set has no key of ES256 or EdDSA for signatures")
}

func TestAJWKSetIsBounded(t *testing.T) {
	t.Parallel()
	good := newMaterial(t).publicJWKs()["EdDSA"]
	var members []any
	for i := range 64 {
		members = append(members, with(good, map[string]any{"kid": fmt.Sprint(i)}))
	}
	ring, err := signing.ParseJWKS(jwks(t, members...))
	require.NoError(t, err)
	require.NotNil(t, ring.ByID("63"))
	_, err = signing.ParseJWKS(jwks(t, append(members, good)...))
	require.EqualError(t, err, "more than 64 keys")

	text := jwks(t, good)
	padded := append(text, strings.Repeat(" ", 256<<10-len(text))...)
	_, err = signing.ParseJWKS(padded)
	require.NoError(t, err)
	_, err = signing.ParseJWKS(append(padded, ' '))
	require.EqualError(t, err, "more than 262144 bytes")
}

func FuzzParseJWKS(f *testing.F) {
	m := newMaterial(f)
	keys := m.keys(f)
	for _, member := range m.publicJWKs() {
		f.Add(string(jwks(f, member)))
		f.Add(string(jwks(f, member, member)))
		f.Add(string(jwks(f, with(member, map[string]any{"sallyport_retired_at": 1}))))
	}
	f.Add(`{"keys":[{"kty":"oct","kid":"hs","k":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}]}`)
	f.Add(`{"keys":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		ring, err := signing.ParseJWKS([]byte(text))
		if err != nil {
			require.Nil(t, ring)
			return
		}
		require.Nil(t, ring.Signer())
		for alg, key := range keys {
			found := ring.ByID(key.ID())
			if found == nil {
				continue
			}
			require.Contains(t, []string{"ES256", "EdDSA"}, found.Algorithm())
			_, err := found.Sign("text")
			require.Error(t, err, alg)
		}
	})
}
