package signing_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"testing"

	"github.com/sallyport-go/auth/internal/signing"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain fails the run if a goroutine is left when all tests have ended.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// material has a private key or secret of each kind, and the same keys in the forms that files
// contain.
type material struct {
	ec      *ecdsa.PrivateKey
	ed      ed25519.PrivateKey
	secret  []byte
	x, y, d string // of ec
	edX     string
	edSeed  string
	k       string
}

func newMaterial(t testing.TB) material {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	point, err := ec.PublicKey.Bytes()
	require.NoError(t, err)
	scalar, err := ec.Bytes()
	require.NoError(t, err)
	m := material{ec: ec, ed: ed, secret: random(32)}
	m.x, m.y, m.d = raw(point[1:33]), raw(point[33:]), raw(scalar)
	m.edX, m.edSeed, m.k = raw(ed.Public().(ed25519.PublicKey)), raw(ed.Seed()), raw(m.secret)
	return m
}

// keys returns a key for each algorithm, by the name of the algorithm. Their IDs are "hs", "es" and
// "ed".
func (m material) keys(t testing.TB) map[string]*signing.Key {
	t.Helper()
	hs, err := signing.NewHS256Key("hs", m.secret)
	require.NoError(t, err)
	es, err := signing.NewES256Key("es", m.ec)
	require.NoError(t, err)
	ed, err := signing.NewEdDSAKey("ed", m.ed)
	require.NoError(t, err)
	return map[string]*signing.Key{"HS256": hs, "ES256": es, "EdDSA": ed}
}

func raw(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// requireSame fails the test unless verifier verifies the signatures of signer.
func requireSame(t testing.TB, signer, verifier *signing.Key) {
	t.Helper()
	signature, err := signer.Sign(t.Context(), "text")
	require.NoError(t, err)
	require.True(t, verifier.Verify("text", signature))
	require.False(t, verifier.Verify("text of another", signature))
	signature[7] ^= 1
	require.False(t, verifier.Verify("text", signature))
}
