package wiretest

import (
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

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func TestAKeyIDIsDerivedFromTheKey(t *testing.T) {
	t.Parallel()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	key, err := auth.NewEdDSAKey("", private)
	require.NoError(t, err)
	again, err := auth.NewEdDSAKey("", private)
	require.NoError(t, err)
	require.Equal(t, key.ID(), again.ID())
	// RFC 7638, section 3: the required members in lexicographic order.
	jwk := fmt.Sprintf(`{"crv":"Ed25519","kty":"OKP","x":"%s"}`,
		base64.RawURLEncoding.EncodeToString(private.Public().(ed25519.PublicKey)))
	digest := sha256.Sum256([]byte(jwk))
	require.Equal(t, base64.RawURLEncoding.EncodeToString(digest[:16]), key.ID())

	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	es, err := auth.NewES256Key("", ecdsaKey)
	require.NoError(t, err)
	point, err := ecdsaKey.PublicKey.Bytes()
	require.NoError(t, err)
	jwk = fmt.Sprintf(`{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`,
		base64.RawURLEncoding.EncodeToString(point[1:33]), base64.RawURLEncoding.EncodeToString(point[33:]))
	digest = sha256.Sum256([]byte(jwk))
	require.Equal(t, base64.RawURLEncoding.EncodeToString(digest[:16]), es.ID())

	secret := authtest.Random(32)
	hs, err := auth.NewHS256Key("", secret)
	require.NoError(t, err)
	require.Len(t, hs.ID(), 22)
	require.NotContains(t, base64.RawURLEncoding.EncodeToString(secret), hs.ID())
	other, err := auth.NewHS256Key("", authtest.Random(32))
	require.NoError(t, err)
	require.NotEqual(t, hs.ID(), other.ID())
}

func TestInvalidSigningKeysAreRejected(t *testing.T) {
	t.Parallel()
	good, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	require.NoError(t, err)
	mixed := *good
	mixed.PublicKey = other.PublicKey
	zero := *good
	//lint:ignore SA1019 the mistake is the point
	zero.D = new(big.Int)
	for name, key := range map[string]*ecdsa.PrivateKey{
		"nil": nil, "empty": {}, "P-521": p521,
		"a public half of another key": &mixed, "a scalar of zero": &zero,
	} {
		_, err := auth.NewES256Key("id", key)
		require.Error(t, err, name)
	}

	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for name, key := range map[string]ed25519.PrivateKey{
		"nil": nil, "a seed": ed[:32], "a byte too many": append(ed[:64:64], 0),
		"a public half of another key": append(ed[:32:32], stranger[32:]...),
	} {
		_, err := auth.NewEdDSAKey("id", key)
		require.Error(t, err, name)
	}
	_, err = auth.NewEdDSAKey(strings.Repeat("x", 65), ed)
	require.Error(t, err)
	_, err = auth.NewES256Key(`"},"alg":"none`, good)
	require.Error(t, err, "an ID that would change the token header")

	require.Empty(t, auth.SigningKey{}.ID())
}

func TestSigningKeysAreCopied(t *testing.T) {
	t.Parallel()
	secret := authtest.Random(32)
	key, err := auth.NewHS256Key("hs", secret)
	require.NoError(t, err)
	f := newTokens(t, authtest.Signer{Key: key}, auth.TokenConfig{})
	clear(secret)
	token, err := f.issuer.Issue(t.Context(), auth.IssueParams{UserID: "u1", Method: auth.MethodHost})
	require.NoError(t, err)
	f.requireAccepted(t, token.Bearer.Reveal())
	f.requireAccepted(t, f.token.Bearer.Reveal())

	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	es, err := auth.NewES256Key("es", ecdsaKey)
	require.NoError(t, err)
	//lint:ignore SA1019 a host that wipes its own copy does it so
	ecdsaKey.D.SetInt64(0)
	g := newTokens(t, authtest.Signer{Key: es}, auth.TokenConfig{})
	g.requireAccepted(t, g.token.Bearer.Reveal())
}
