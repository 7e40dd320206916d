// Package authtest provides helpers for the tests of several packages: a clock that tests advance,
// signers that can forge tokens, and stores that fail.
package authtest

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// Issuer is the issuer of tokens in tests.
const Issuer = "https://api.example.com"

// Clock is a clock that moves only when Advance is called. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock. The fractional seconds of its time have more digits than a store keeps.
func NewClock() *Clock {
	return &Clock{now: time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)}
}

// Now returns the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock forward by d, or back if d is negative.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Record collects items in order, and is safe for concurrent use. For example, a test collects the
// arguments of each call of a callback.
type Record[T any] struct {
	mu   sync.Mutex
	kept []T
}

// Add records an item.
func (r *Record[T]) Add(item T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = append(r.kept, item)
}

// Take returns the items that were added since the last call of Take.
func (r *Record[T]) Take() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.kept
	r.kept = nil
	return kept
}

// Signer is a signing key with which a test can forge tokens. A Signer signs any header and any
// claims, because it calls golang-jwt directly.
type Signer struct {
	Key    auth.SigningKey
	Method jwt.SigningMethod
	Secret any
}

// NewSigners returns a new signer for each signing algorithm. The keys of the map are the names of
// the algorithms.
func NewSigners(t testing.TB) map[string]Signer {
	t.Helper()
	secret := Random(32)
	hs, err := auth.NewHS256Key("hs", secret)
	require.NoError(t, err)
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	es, err := auth.NewES256Key("es", ecdsaKey)
	require.NoError(t, err)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	ed, err := auth.NewEdDSAKey("ed", edKey)
	require.NoError(t, err)
	return map[string]Signer{
		"HS256": {hs, jwt.SigningMethodHS256, secret},
		"ES256": {es, jwt.SigningMethodES256, ecdsaKey},
		"EdDSA": {ed, jwt.SigningMethodEdDSA, edKey},
	}
}

// Forge returns a signed token with this header and these claims, both as JSON.
func (s Signer) Forge(t testing.TB, header, claims string) string {
	t.Helper()
	text := Segment(header) + "." + Segment(claims)
	signature, err := s.Method.Sign(text, s.Secret)
	require.NoError(t, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// Segment returns the text in base64url, as a segment of a token.
func Segment(text string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

// Random returns n random bytes.
func Random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// SymmetricKey returns a new key with the given ID.
func SymmetricKey(t testing.TB, id string) auth.SymmetricKey {
	t.Helper()
	key, err := auth.NewSymmetricKey(id, Random(32))
	require.NoError(t, err)
	return key
}
