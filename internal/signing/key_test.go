package signing_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/sallyport-go/auth/internal/signing"
	"github.com/stretchr/testify/require"
)

func TestAKeyIDIsDerivedFromTheKey(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	for name, test := range map[string]struct {
		jwk  string // RFC 7638, section 3: the required members in lexicographic order
		make func() (*signing.Key, error)
	}{
		"ES256": {
			fmt.Sprintf(`{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, m.x, m.y),
			func() (*signing.Key, error) { return signing.NewES256Key("", m.ec) },
		},
		"EdDSA": {
			fmt.Sprintf(`{"crv":"Ed25519","kty":"OKP","x":"%s"}`, m.edX),
			func() (*signing.Key, error) { return signing.NewEdDSAKey("", m.ed) },
		},
	} {
		digest := sha256.Sum256([]byte(test.jwk))
		for range 2 {
			key, err := test.make()
			require.NoError(t, err)
			require.Equal(t, raw(digest[:16]), key.ID(), name)
		}
	}

	hs, err := signing.NewHS256Key("", m.secret)
	require.NoError(t, err)
	require.Len(t, hs.ID(), 22)
	require.NotContains(t, m.k, hs.ID())
	other, err := signing.NewHS256Key("", random(32))
	require.NoError(t, err)
	require.NotEqual(t, hs.ID(), other.ID())
}

// A token names its key by the ID, so a later version must derive the same ID from the same key.
func TestDerivedKeyIDsNeverChange(t *testing.T) {
	t.Parallel()
	hs, err := signing.NewHS256Key("", []byte("ShQ3bVx0YkW9nR7tLzC2fGdJ5mP8sAqE"))
	require.NoError(t, err)
	require.Equal(t, "QyecGXX3vE6EuhGrFnqb2g", hs.ID())

	// RFC 8037, appendix A
	seed, err := base64.RawURLEncoding.DecodeString("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
	require.NoError(t, err)
	ed, err := signing.NewEdDSAKey("", ed25519.NewKeyFromSeed(seed))
	require.NoError(t, err)
	thumbprint, err := base64.RawURLEncoding.DecodeString("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
	require.NoError(t, err)
	require.Equal(t, raw(thumbprint[:16]), ed.ID())

	// RFC 7517, appendix A.2
	scalar, err := base64.RawURLEncoding.DecodeString("870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE")
	require.NoError(t, err)
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
	require.NoError(t, err)
	es, err := signing.NewES256Key("", private)
	require.NoError(t, err)
	digest := sha256.Sum256([]byte(`{"crv":"P-256","kty":"EC",` +
		`"x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}`))
	require.Equal(t, raw(digest[:16]), es.ID())
}

func TestKeysThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	m, other := newMaterial(t), newMaterial(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	mixed, zero, foreign := *m.ec, *m.ec, *m.ec
	mixed.PublicKey = other.ec.PublicKey
	//lint:ignore SA1019 the mistake is the point
	zero.D = new(big.Int)
	foreign.X, foreign.Y = big.NewInt(1), big.NewInt(1)

	hs := func(id string, secret []byte) error { _, err := signing.NewHS256Key(id, secret); return err }
	es := func(id string, key *ecdsa.PrivateKey) error { _, err := signing.NewES256Key(id, key); return err }
	ed := func(id string, key ed25519.PrivateKey) error { _, err := signing.NewEdDSAKey(id, key); return err }
	const ofLetters = `auth: a key id must be of letters, digits, ".", "_" and "-"`
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"HS256 without a secret":   {hs("id", nil), `auth: HS256 key "id" is 0 bytes; at least 32 are needed`},
		"HS256 of 31 bytes":        {hs("id", m.secret[:31]), `auth: HS256 key "id" is 31 bytes; at least 32 are needed`},
		"HS256 without an id":      {hs("", m.secret[:31]), "auth: HS256 key is 31 bytes; at least 32 are needed"},
		"HS256 of zeros":           {hs("id", make([]byte, 32)), `auth: HS256 key "id" is one repeated byte; it must be random`},
		"HS256 of one byte":        {hs("id", bytes.Repeat([]byte{7}, 64)), `auth: HS256 key "id" is one repeated byte; it must be random`},
		"HS256, no good id":        {hs("a b", m.secret), ofLetters},
		"ES256 without a key":      {es("id", nil), "auth: NewES256Key needs a private key"},
		"ES256, empty":             {es("id", &ecdsa.PrivateKey{}), "auth: an ES256 key must be on the curve P-256"},
		"ES256 on P-384":           {es("id", p384), "auth: an ES256 key must be on the curve P-256"},
		"ES256, public of another": {es("id", &mixed), "auth: the public half of the ES256 key does not belong to it"},
		"ES256, public off curve":  {es("id", &foreign), "auth: not a valid ES256 key: "},
		"ES256, scalar of zero":    {es("id", &zero), "auth: not a valid ES256 key: "},
		"ES256, id with quotes":    {es(`"},"alg":"none`, m.ec), ofLetters},
		"EdDSA without a key":      {ed("id", nil), "auth: EdDSA key is 0 bytes; it must be 64"},
		"EdDSA, a seed":            {ed("id", m.ed[:32]), "auth: EdDSA key is 32 bytes; it must be 64"},
		"EdDSA, a byte more":       {ed("id", append(m.ed[:64:64], 0)), "auth: EdDSA key is 65 bytes; it must be 64"},
		"EdDSA, public of another": {
			ed("id", append(m.ed[:32:32], other.ed[32:]...)), "auth: the public half of the EdDSA key does not belong to it",
		},
		"EdDSA, a long id": {ed(strings.Repeat("x", 65), m.ed), "auth: a key id is 65 characters long; it must be 1 to 64"},
	} {
		require.ErrorContains(t, test.err, test.want, name)
	}
	require.NoError(t, ed(strings.Repeat("x", 64), m.ed))
}

func TestAnIDIsCheckedForItsLengthAndCharacters(t *testing.T) {
	t.Parallel()
	require.NoError(t, signing.CheckID("A-z_0.9", 7))
	for id, length := range map[string]string{"": "0", "12345678": "8"} {
		require.EqualError(t, signing.CheckID(id, 7),
			"auth: a key id is "+length+" characters long; it must be 1 to 7")
	}
	for _, id := range []string{"a b", "a$b", "é", "a\n"} {
		require.EqualError(t, signing.CheckID(id, 7),
			`auth: a key id must be of letters, digits, ".", "_" and "-"`)
	}
}

func TestTheErrorOfABadSecretNamesTheKeyAndTheCommand(t *testing.T) {
	t.Parallel()
	const command = `: make one with "openssl rand -base64 32"`
	for _, test := range []struct {
		id, want string
		secret   []byte
	}{
		{"p1", `auth: symmetric key "p1" is 31 bytes; at least 32 are needed` + command, random(31)},
		{"", "auth: symmetric key is 31 bytes; at least 32 are needed" + command, random(31)},
		{"p1", `auth: symmetric key "p1" is one repeated byte; it must be random` + command, make([]byte, 32)},
		{strings.Repeat("x", 33), "auth: a key id is 33 characters long; it must be 1 to 32", random(32)},
	} {
		_, err := signing.CheckSecret("symmetric key", test.id, 32, test.secret)
		require.EqualError(t, err, test.want)
	}
}

func TestAnEmptyIDIsDerivedFromTheSecret(t *testing.T) {
	t.Parallel()
	secret := random(32)
	key, err := signing.NewHS256Key("", secret)
	require.NoError(t, err)
	id, err := signing.CheckSecret("symmetric key", "", 32, secret)
	require.NoError(t, err)
	require.Equal(t, key.ID(), id)
	other, err := signing.CheckSecret("symmetric key", "", 32, random(32))
	require.NoError(t, err)
	require.NotEqual(t, id, other)
	given, err := signing.CheckSecret("symmetric key", "p1", 32, secret)
	require.NoError(t, err)
	require.Equal(t, "p1", given)
}

func TestKeysAreCopied(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	keys := m.keys(t)
	signatures := map[string][]byte{}
	for alg, key := range keys {
		signature, err := key.Sign(t.Context(), "text")
		require.NoError(t, err)
		signatures[alg] = signature
	}
	clear(m.secret)
	clear(m.ed)
	//lint:ignore SA1019 a host that wipes its own copy does it so
	m.ec.D.SetInt64(0)
	for alg, key := range keys {
		require.True(t, key.Verify("text", signatures[alg]), alg)
		requireSame(t, key, key)
	}
}

// The first signature is made after the caller has cleared its slice with the secret.
func TestAnUnusedHS256KeyIsACopyOfItsSecret(t *testing.T) {
	t.Parallel()
	secret := random(signing.MinSecret)
	kept, err := signing.NewHS256Key("id", bytes.Clone(secret))
	require.NoError(t, err)
	key, err := signing.NewHS256Key("id", secret)
	require.NoError(t, err)
	clear(secret)
	requireSame(t, kept, key)
}

func TestSignaturesAreThoseOfTheAlgorithm(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	keys := m.keys(t)
	public := map[string]any{"HS256": m.secret, "ES256": &m.ec.PublicKey, "EdDSA": m.ed.Public()}
	for alg, key := range keys {
		require.Equal(t, alg, key.Algorithm())
		for i := range 20 {
			text := strings.Repeat("x", 100*i)
			signature, err := key.Sign(t.Context(), text)
			require.NoError(t, err)
			require.NoError(t, jwt.GetSigningMethod(alg).Verify(text, signature, public[alg]),
				"another library accepts it")
			require.True(t, key.Verify(text, signature))
			require.False(t, key.Verify(text+"x", signature))
			require.False(t, key.Verify(text, signature[:len(signature)-1]))
			require.False(t, key.Verify(text, nil))
			for other, stranger := range newMaterial(t).keys(t) {
				require.False(t, stranger.Verify(text, signature), other)
			}
		}
	}
}

// Making a signature must not change an earlier signature.
func TestAnHS256SignatureStaysAsItIs(t *testing.T) {
	t.Parallel()
	key := newMaterial(t).keys(t)["HS256"]
	first, err := key.Sign(t.Context(), "first")
	require.NoError(t, err)
	kept := bytes.Clone(first)
	for range 100 {
		_, err = key.Sign(t.Context(), "second")
		require.NoError(t, err)
	}
	require.Equal(t, kept, first)
}

// From an ECDSA signature (r, s), anyone can compute a second valid signature. Only the signature
// with the smaller s is made and accepted.
func TestOnlyTheLowerECDSASignatureIsGood(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	key := m.keys(t)["ES256"]
	order := elliptic.P256().Params().N
	for range 50 {
		signature, err := key.Sign(t.Context(), "text")
		require.NoError(t, err)
		require.Len(t, signature, 64)
		s := new(big.Int).SetBytes(signature[32:])
		require.LessOrEqual(t, s.Cmp(new(big.Int).Rsh(order, 1)), 0)
		require.True(t, key.Verify("text", signature))

		mirrored := bytes.Clone(signature)
		s.Sub(order, s).FillBytes(mirrored[32:])
		require.NoError(t, jwt.SigningMethodES256.Verify("text", mirrored, m.ec.Public()),
			"it is good to others")
		require.False(t, key.Verify("text", mirrored))
	}
}

func TestTheHeaderSaysWhatTheKeyIs(t *testing.T) {
	t.Parallel()
	for alg, key := range newMaterial(t).keys(t) {
		for _, typ := range []string{signing.TypeJWT, "session+jwt"} {
			text, err := base64.RawURLEncoding.DecodeString(key.Header(typ))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf(`{"alg":"%s","kid":"%s","typ":"%s"}`, alg, key.ID(), typ),
				string(text))
		}
	}
}

func TestAKeyIsRetiredToTheSecond(t *testing.T) {
	t.Parallel()
	key := newMaterial(t).keys(t)["EdDSA"]
	at := time.Unix(1_700_000_000, 999_999_999)
	retired := key.RetiredAt(at)
	require.False(t, retired.RetiredBefore(at.Unix()-1))
	require.False(t, retired.RetiredBefore(at.Unix()))
	require.True(t, retired.RetiredBefore(at.Unix()+1))
	require.False(t, key.RetiredBefore(at.Unix()+1), "the key itself does not change")
	require.False(t, key.RetiredBefore(1<<62))
	require.Equal(t, key.ID(), retired.ID())
	requireSame(t, key, retired)
	requireSame(t, retired, key)
	again := retired.RetiredAt(at.Add(-time.Hour))
	require.True(t, again.RetiredBefore(at.Unix()))
	require.False(t, retired.RetiredBefore(at.Unix()))
}

func TestAKeyOfAPublicSetCannotSign(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	for _, alg := range []string{"ES256", "EdDSA"} {
		key := m.keys(t)[alg]
		ring, err := signing.NewRing([]*signing.Key{key})
		require.NoError(t, err)
		public, err := signing.ParseJWKS(ring.JWKS())
		require.NoError(t, err)
		_, err = public.ByID(key.ID()).Sign(t.Context(), "text")
		require.Error(t, err)
		requireSame(t, key, public.ByID(key.ID()))
	}
}
