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
			reason  string // why the key is not used, or "" if it is used
		}{
			"as it is published":       {nil, ""},
			"without alg and use":      {map[string]any{"alg": nil, "use": nil}, ""},
			"with members of others":   {map[string]any{"x5t": "AQ", "ext": true}, ""},
			"an id of 64 characters":   {map[string]any{"kid": strings.Repeat("k", 64)}, ""},
			"retired":                  {map[string]any{"sallyport_retired_at": 1}, ""},
			"a retirement of null":     {map[string]any{"sallyport_retired_at": json.RawMessage("null")}, ""},
			"a use of null":            {map[string]any{"use": json.RawMessage("null")}, ""},
			"to verify":                {map[string]any{"key_ops": []string{"verify"}}, ""},
			"to verify and more":       {map[string]any{"key_ops": []string{"sign", "verify"}, "use": nil}, ""},
			"to derive keys":           {map[string]any{"key_ops": []string{"deriveKey"}}, `key_ops does not have "verify"`},
			"to encrypt":               {map[string]any{"key_ops": []string{"encrypt"}, "use": nil}, `key_ops does not have "verify"`},
			"to sign alone":            {map[string]any{"key_ops": []string{"sign"}}, `key_ops does not have "verify"`},
			"for nothing":              {map[string]any{"key_ops": []string{}}, `key_ops does not have "verify"`},
			"key_ops of text":          {map[string]any{"key_ops": "verify"}, "key_ops must be an array, not a string"},
			"key_ops of a number":      {map[string]any{"key_ops": []any{"verify", 1}}, "key_ops must contain strings only"},
			"for encryption":           {map[string]any{"use": "enc"}, `use is not "sig"`},
			"of another alg":           {map[string]any{"alg": "HS256"}, "alg is not " + alg},
			"without an id":            {map[string]any{"kid": nil}, "it has no kid"},
			"with an empty id":         {map[string]any{"kid": ""}, "it has no kid"},
			"an id of 65 characters":   {map[string]any{"kid": strings.Repeat("k", 65)}, "kid must be 1 to 64 letters"},
			"an id with quotes":        {map[string]any{"kid": `"`}, "kid must be 1 to 64 letters"},
			"an id that is a number":   {map[string]any{"kid": 1}, "kid must be a string, not a number"},
			"another curve":            {map[string]any{"crv": "X25519"}, "EC and P-256, or OKP and Ed25519"},
			"no curve":                 {map[string]any{"crv": nil}, "EC and P-256, or OKP and Ed25519"},
			"another kty":              {map[string]any{"kty": "RSA"}, "EC and P-256, or OKP and Ed25519"},
			"no kty":                   {map[string]any{"kty": nil}, "EC and P-256, or OKP and Ed25519"},
			"kty in capitals":          {map[string]any{"KTY": "EC"}, "a member is in other letters"},
			"a Kelvin sign for a k":    {map[string]any{"\u212aty": "EC"}, "a member is in other letters"},
			"no x":                     {map[string]any{"x": nil}, "32 bytes"},
			"a short x":                {map[string]any{"x": "AQ"}, "32 bytes"},
			"a long x":                 {map[string]any{"x": raw(random(33))}, "32 bytes"},
			"an empty x":               {map[string]any{"x": ""}, "x must be base64url"},
			"a number for an x":        {map[string]any{"x": 1}, "x must be a string, not a number"},
			"a padded x":               {map[string]any{"x": other.x + "="}, "x must be base64url"},
			"an x with a line break":   {map[string]any{"x": other.x[:20] + "\n" + other.x[20:]}, "x must be base64url"},
			"an x in another alphabet": {map[string]any{"x": "+/" + other.x[2:]}, "x must be base64url"},
			"a retirement of text":     {map[string]any{"sallyport_retired_at": "1"}, "must be a whole number"},
			"a fraction of a second":   {map[string]any{"sallyport_retired_at": 1.5}, "must be a whole number"},
			"a retirement out of time": {map[string]any{"sallyport_retired_at": 1e30}, "must be a whole number"},
		} {
			member := with(good, test.changes)
			ring, err := signing.ParseJWKS(jwks(t, member))
			if test.reason != "" {
				const none = "the JWK set has no key of ES256 or EdDSA for signatures (key 1"
				require.ErrorContains(t, err, none, "%s, %s", alg, name)
				require.ErrorContains(t, err, test.reason, "%s, %s", alg, name)
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
	_, err := signing.ParseJWKS(jwks(t, with(m.publicJWKs()["EdDSA"], map[string]any{"y": m.y})))
	require.ErrorContains(t, err, "y does not belong in a JWK of kty OKP")
	doubled := strings.Replace(string(jwks(t, m.publicJWKs()["EdDSA"])), `"kid":`, `"kid":"other","kid":`, 1)
	_, err = signing.ParseJWKS([]byte(doubled))
	require.ErrorContains(t, err, "(key 1: a member is given twice)")
}

// An issuer that publishes a private key has lost control of it. If the other keys of the set were
// used, nobody would notice.
func TestASetWithASecretKeyIsAnErrorThatSaysSo(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	good := m.publicJWKs()
	for name, member := range map[string]map[string]any{
		"EC":                     with(good["ES256"], map[string]any{"d": m.d}),
		"OKP":                    with(good["EdDSA"], map[string]any{"d": m.edSeed}),
		"symmetric":              {"kty": "oct", "kid": "hs", "k": m.k},
		"a secret in an EC key":  with(good["ES256"], map[string]any{"k": m.k}),
		"RSA":                    {"kty": "RSA", "kid": "rsa", "n": "AQ", "e": "AQAB", "d": "AQ"},
		"of a kind that is none": {"kty": "x", "d": 1},
		"for another use":        with(good["ES256"], map[string]any{"d": m.d, "use": "enc"}),
	} {
		for _, set := range [][]byte{jwks(t, good["EdDSA"], member), jwks(t, member, good["EdDSA"])} {
			ring, err := signing.ParseJWKS(set)
			const says = "the JWK set publishes a secret key, which must be replaced (key "
			require.ErrorContains(t, err, says, name)
			require.Nil(t, ring)
			for _, secret := range []string{m.d, m.edSeed, m.k} {
				require.NotContains(t, err.Error(), secret)
			}
		}
	}
	_, err := signing.ParseJWKS(jwks(t, with(good["ES256"], map[string]any{"d": json.RawMessage("null")})))
	require.NoError(t, err, "null is no secret")
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
	es, ed, twin := m.publicJWKs()["ES256"], m.publicJWKs()["EdDSA"], other.publicJWKs()["ES256"]
	retired := with(es, map[string]any{"sallyport_retired_at": 1})
	for name, test := range map[string]struct {
		members []any
		es      bool // whether the key "es" is used
	}{
		"a key without a kid":       {members: []any{with(es, map[string]any{"kid": nil}), es, ed}, es: true},
		"values that are no keys":   {members: []any{map[string]string{"kty": "RSA", "kid": "es"}, 1, nil, "x", es, ed}, es: true},
		"a repeated key":            {members: []any{es, ed, es}, es: true},
		"a key with more members":   {members: []any{es, ed, with(es, map[string]any{"x5t": "AQ"})}, es: true},
		"a repeated retired key":    {members: []any{retired, retired, ed}, es: true},
		"one of the same kid":       {members: []any{es, ed, twin}},
		"one of the same kid twice": {members: []any{es, es, twin, ed}},
		"one of the same kid last":  {members: []any{twin, ed, es, es}},
		"one of another kind":       {members: []any{es, ed, with(ed, map[string]any{"kid": "es"})}},
		"one retired, one not":      {members: []any{es, ed, retired}},
		"retired at other times":    {members: []any{retired, ed, with(es, map[string]any{"sallyport_retired_at": 2})}},
	} {
		ring, err := signing.ParseJWKS(jwks(t, test.members...))
		require.NoError(t, err, name)
		requireSame(t, m.keys(t)["EdDSA"], ring.ByID("ed"))
		if !test.es {
			require.Nil(t, ring.ByID("es"), "nothing tells which of the two is meant: %s", name)
			require.Nil(t, ring.ByHeader(m.keys(t)["ES256"].Header(signing.TypeJWT)), name)
			continue
		}
		requireSame(t, m.keys(t)["ES256"], ring.ByID("es"))
	}

	_, err := signing.ParseJWKS(jwks(t, es, twin, 1, ed["x"], with(ed, map[string]any{"use": "enc"})))
	require.EqualError(t, err, `the JWK set has no key of ES256 or EdDSA for signatures (key 2, kid "es": another key `+
		`has the same kid; key 3: it is not one JSON object; key 4: it is not one JSON object; and 1 more)`)
}

func TestTextsThatAreNoJWKSet(t *testing.T) {
	t.Parallel()
	good, err := json.Marshal(newMaterial(t).publicJWKs()["EdDSA"])
	require.NoError(t, err)
	set := `{"keys":[` + string(good) + `]`
	for text, reason := range map[string]string{
		"": "it is not one JSON object", "null": "it is not one JSON object", "[]": "it is not one JSON object",
		"<html>": "it is not one JSON object", `{"keys":[]`: "it is not one JSON object",
		`{"keys":[]}x`: "it is not one JSON object", "\ufeff" + set + "}": "it is not one JSON object",
		"{}": "it has no keys", string(good): "it has no keys",
		`{"keys":null}`: "keys must be an array, not null", `{"keys":{}}`: "keys must be an array, not an object",
		`{"keys":"x"}`: "keys must be an array, not a string", set + `,"keys":[]}`: "a member is given twice",
		set + `,"KEYS":[]}`:            "a member is in other letters, such as KTY for kty",
		set + `,"kty":"OKP"}`:          "it has keys beside kty, so it is a set and a key at once",
		set + `,"other":"` + "\xff\"}": "it is not UTF-8 text without NUL",
	} {
		_, err := signing.ParseJWKS([]byte(text))
		require.EqualError(t, err, "not a JWK set: "+reason, text)
	}
	_, err = signing.ParseJWKS([]byte(set + `,"other":{"kty":1},"alg":"x"}`))
	require.NoError(t, err, "other members of a set are ignored (RFC 7517, section 5)")
	_, err = signing.ParseJWKS([]byte(`{"keys":[]}`))
	require.EqualError(t, err, "the JWK set has no key of ES256 or EdDSA for signatures: it is empty, "+
		"like that of an issuer with HS256 keys only")
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
			_, err := found.Sign(t.Context(), "text")
			require.Error(t, err, alg)
		}
	})
}
