package token_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/token"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain fails the run if a goroutine is left when all tests have ended.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

const (
	issuer   = "https://api.example.com"
	audience = "https://b.example.com"
	now      = int64(1_767_323_045)
	lifetime = int64(12 * 3600)
)

// newKeys returns a key for each algorithm, by the name of the algorithm. Their IDs are "hs", "es"
// and "ed".
func newKeys(t testing.TB) map[string]*signing.Key {
	t.Helper()
	secret := make([]byte, 32)
	rand.Read(secret)
	hs, err := signing.NewHS256Key("hs", secret)
	require.NoError(t, err)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	es, err := signing.NewES256Key("es", private)
	require.NoError(t, err)
	_, seed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	ed, err := signing.NewEdDSAKey("ed", seed)
	require.NoError(t, err)
	return map[string]*signing.Key{"HS256": hs, "ES256": es, "EdDSA": ed}
}

func newRing(t testing.TB, keys ...*signing.Key) *signing.Ring {
	t.Helper()
	ring, err := signing.NewRing(keys)
	require.NoError(t, err)
	return ring
}

// fixture is a Verifier, and the key whose tokens it accepts.
type fixture struct {
	token.Verifier
	key  *signing.Key
	ring *signing.Ring
}

func newFixture(t testing.TB, key *signing.Key) *fixture {
	t.Helper()
	return &fixture{
		Verifier: token.Verifier{Type: token.TypeBearer, Issuer: issuer, Audience: audience, MaxLifetime: lifetime},
		key:      key,
		ring:     newRing(t, key),
	}
}

// eachAlgorithm runs the test with a key of each algorithm.
func eachAlgorithm(t *testing.T, test func(t *testing.T, f *fixture)) {
	for alg, key := range newKeys(t) {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			test(t, newFixture(t, key))
		})
	}
}

// alice returns the identity of the tokens in these tests.
func alice() token.Identity {
	return token.Identity{
		UserID: "u1", Username: "alice", SessionID: "s1",
		IssuedAt: time.Unix(now, 0).UTC(), ExpiresAt: time.Unix(now+3600, 0).UTC(), Audience: audience,
	}
}

// sign returns a valid token of the verifier's type.
func (f *fixture) sign(t testing.TB) string {
	t.Helper()
	who := alice()
	text, err := token.Sign(t.Context(), f.key, f.Type, token.NewPrefix(f.Issuer, f.Audience), &who, 7, false)
	require.NoError(t, err)
	return text
}

// forge returns a signed token with any header and claims, given as JSON text.
func (f *fixture) forge(t testing.TB, header, claims string) string {
	t.Helper()
	text := segment(header) + "." + segment(claims)
	signature, err := f.key.Sign(t.Context(), text)
	require.NoError(t, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// header returns the header of a valid token, with some members changed. A nil value removes a
// member.
func (f *fixture) header(changes map[string]any) string {
	return encode(map[string]any{"alg": f.key.Algorithm(), "kid": f.key.ID(), "typ": f.Type}, changes)
}

// claims returns the claims of a valid token, with some members changed. A nil value removes a
// member.
func (f *fixture) claims(changes map[string]any) string {
	return encode(map[string]any{
		"iss": f.Issuer, "aud": f.Audience, "sub": "u1", "jti": "s1", "iat": now, "exp": now + 3600, "gen": 7,
		"username": "alice", "is_super_user": false,
	}, changes)
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

func segment(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func decode(t testing.TB, segment string) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(segment)
	require.NoError(t, err)
	return string(text)
}

// verify verifies the token without a cache.
func (f *fixture) verify(text string) (*token.Verified, error) {
	known, _, err := f.Verify(nil, f.ring, text, now)
	return known, err
}

func (f *fixture) requireAccepted(t testing.TB, text string) {
	t.Helper()
	known, err := f.verify(text)
	require.NoError(t, err)
	require.Equal(t, alice(), known.Identity)
	require.EqualValues(t, 7, known.Generation)
}

// requireRejected fails the test unless the token is rejected for this reason.
func (f *fixture) requireRejected(t testing.TB, text string, reason error, why ...any) {
	t.Helper()
	_, err := f.verify(text)
	require.ErrorIs(t, err, reason, why...)
	require.ErrorIs(t, err, token.ErrRejected, why...)
}
