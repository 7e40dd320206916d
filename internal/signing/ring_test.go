package signing_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/signing"
	"github.com/stretchr/testify/require"
)

func TestARingFindsEachOfItsKeys(t *testing.T) {
	t.Parallel()
	keys := newMaterial(t).keys(t)
	slice := []*signing.Key{keys["ES256"], keys["HS256"], keys["EdDSA"]}
	ring, err := signing.NewRing(slice)
	require.NoError(t, err)
	require.Same(t, keys["ES256"], ring.Signer(), "the first signs")
	for _, key := range keys {
		require.Same(t, key, ring.ByID(key.ID()))
		require.Same(t, key, ring.ByHeader(key.Header(signing.TypeJWT)))
		require.Nil(t, ring.ByHeader(key.Header("session+jwt")), "a header of another type must be parsed")
	}
	require.Nil(t, ring.ByID("another"))
	require.Nil(t, ring.ByID(""))
	require.Nil(t, ring.ByHeader(""))

	slice[0], slice[1] = nil, nil
	require.Same(t, keys["ES256"], ring.Signer(), "the ring is a copy of the slice")
	require.Same(t, keys["HS256"], ring.ByID("hs"))
}

func TestTheZeroRingHasNoKeys(t *testing.T) {
	t.Parallel()
	var ring signing.Ring
	require.Nil(t, ring.Signer())
	require.Nil(t, ring.ByID("es"))
	require.Nil(t, ring.ByHeader("x"))
}

func TestKeysThatCannotBeARing(t *testing.T) {
	t.Parallel()
	keys, others := newMaterial(t).keys(t), newMaterial(t).keys(t)
	hs, es := keys["HS256"], keys["ES256"]
	for name, test := range map[string]struct {
		keys []*signing.Key
		want string
	}{
		"none":           {nil, "auth: SigningKeys must have at least one key"},
		"an empty first": {[]*signing.Key{nil, hs}, "auth: SigningKeys[0] is empty: make it with NewHS256Key, NewES256Key, NewEdDSAKey or NewSignerKey"},
		"an empty last":  {[]*signing.Key{hs, nil}, "auth: SigningKeys[1] is empty: make it with NewHS256Key, NewES256Key, NewEdDSAKey or NewSignerKey"},
		"one twice":      {[]*signing.Key{hs, es, hs}, `auth: SigningKeys[2] has the id "hs" of an earlier key: give each its own`},
		"one id twice":   {[]*signing.Key{hs, others["HS256"]}, `auth: SigningKeys[1] has the id "hs" of an earlier key: give each its own`},
		"a retired first": {
			[]*signing.Key{hs.RetiredAt(time.Now().Add(time.Hour)), es},
			`auth: SigningKeys[0], "hs", signs, and is retired: put the one that replaces it in front`,
		},
	} {
		ring, err := signing.NewRing(test.keys)
		require.EqualError(t, err, test.want, name)
		require.Nil(t, ring)
	}
	_, err := signing.NewRing([]*signing.Key{es, hs.RetiredAt(time.Now())})
	require.NoError(t, err)
}

func TestTheJWKSHasThePublicKeysAndNoOther(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	keys := m.keys(t)
	retired := time.Unix(1_700_000_000, 0)
	ring, err := signing.NewRing([]*signing.Key{keys["HS256"], keys["ES256"],
		keys["EdDSA"].RetiredAt(retired)})
	require.NoError(t, err)
	require.JSONEq(t, `{"keys":[
		{"kty":"EC","crv":"P-256","x":"`+m.x+`","y":"`+m.y+`","kid":"es","alg":"ES256","use":"sig"},
		{"kty":"OKP","crv":"Ed25519","x":"`+m.edX+`","kid":"ed","alg":"EdDSA","use":"sig","sallyport_retired_at":1700000000}
	]}`, string(ring.JWKS()))
	for _, secret := range []string{m.k, m.d, m.edSeed} {
		require.NotContains(t, string(ring.JWKS()), secret)
	}

	symmetric, err := signing.NewRing([]*signing.Key{keys["HS256"]})
	require.NoError(t, err)
	require.Equal(t, `{"keys":[]}`, string(symmetric.JWKS()))
}

// The handler of the JWKS serves the line for each request, so a copy would be made for each.
func TestTheLineOfAJWKSIsNotCopied(t *testing.T) {
	t.Parallel()
	ring, err := signing.NewRing([]*signing.Key{newMaterial(t).keys(t)["ES256"]})
	require.NoError(t, err)
	require.Equal(t, string(ring.JWKS())+"\n", string(ring.JWKSLine()))
	require.Same(t, &ring.JWKS()[0], &ring.JWKSLine()[0])
}

func TestTheETagChangesWithTheJWKS(t *testing.T) {
	t.Parallel()
	keys := newMaterial(t).keys(t)
	tag := func(keys ...*signing.Key) string {
		ring, err := signing.NewRing(keys)
		require.NoError(t, err)
		return ring.ETag()
	}
	first := tag(keys["ES256"])
	require.Regexp(t, `^"[0-9a-f]{32}"$`, first)
	require.Equal(t, first, tag(keys["ES256"]))
	require.Equal(t, first, tag(keys["ES256"], keys["HS256"]))
	require.NotEqual(t, first, tag(keys["EdDSA"]))
	require.NotEqual(t, tag(keys["ES256"], keys["EdDSA"]),
		tag(keys["ES256"], keys["EdDSA"].RetiredAt(time.Now())))
}

func TestTheSummaryOfARingListsItsFirstKeys(t *testing.T) {
	t.Parallel()
	keys := newMaterial(t).keys(t)
	ring, err := signing.NewRing([]*signing.Key{keys["ES256"], keys["HS256"]})
	require.NoError(t, err)
	require.Equal(t, `"es" signs; "hs" verifies`, ring.Summary())
	ring, err = signing.ParseJWKS(ring.JWKS())
	require.NoError(t, err)
	require.Equal(t, `"es" verifies`, ring.Summary())

	many := []*signing.Key{keys["ES256"]}
	for i := range 99 {
		key, err := signing.NewHS256Key(fmt.Sprintf("%064d", i), random(32))
		require.NoError(t, err)
		many = append(many, key)
	}
	ring, err = signing.NewRing(many)
	require.NoError(t, err)
	require.Contains(t, ring.Summary(), "; and 94 more")
	require.Less(t, len(ring.Summary()), 512, "the maximum length of the Reason of an event")
}

// Two keys can have the same ID, and secrets or key pairs that differ.
func TestRingsAreEqualIfTheirKeysAndTheirOrderAre(t *testing.T) {
	t.Parallel()
	material := newMaterial(t)
	keys, copies, others := material.keys(t), material.keys(t), newMaterial(t).keys(t)
	hs, es, ed := keys["HS256"], keys["ES256"], keys["EdDSA"]
	at := time.Unix(1_700_000_000, 0)
	ring := func(keys ...*signing.Key) *signing.Ring {
		ring, err := signing.NewRing(keys)
		require.NoError(t, err)
		return ring
	}
	base := ring(hs, es, ed.RetiredAt(at))
	require.True(t, base.Equal(ring(copies["HS256"], copies["ES256"], copies["EdDSA"].RetiredAt(at))))
	for name, other := range map[string]*signing.Ring{
		"another order":    ring(es, hs, ed.RetiredAt(at)),
		"one key less":     ring(hs, es),
		"another secret":   ring(others["HS256"], es, ed.RetiredAt(at)),
		"another key pair": ring(hs, others["ES256"], ed.RetiredAt(at)),
		"another time":     ring(hs, es, ed.RetiredAt(at.Add(time.Second))),
		"not retired":      ring(hs, es, ed),
	} {
		require.False(t, base.Equal(other), name)
		require.False(t, other.Equal(base), name)
	}
	public, err := signing.ParseJWKS(ring(es, ed).JWKS())
	require.NoError(t, err)
	require.False(t, public.Equal(ring(es, ed)), "public keys cannot sign")
}
