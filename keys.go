package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"time"

	"github.com/sallyport-go/auth/internal/signing"
)

// SigningKey signs and verifies session tokens. Its algorithm belongs to it and is never taken
// from a token (RFC 8725, section 3.1). A ring of keys is a slice: the first signs, all verify.
//
// It prints as "[redacted]".
type SigningKey struct {
	redacted
	get func() *signing.Key // nil in the zero value
}

// newSigningKey returns the key, or the zero SigningKey if err is not nil.
func newSigningKey(key *signing.Key, err error) (SigningKey, error) {
	if err != nil {
		return SigningKey{}, err
	}
	return SigningKey{get: func() *signing.Key { return key }}, nil
}

// NewHS256Key makes a key for HMAC-SHA-256 from the secret, which it copies: at least 32 random
// bytes. Every service that can verify with this key can also sign.
//
// The ID, here and in the functions below, is the token's key ID (kid): 1 to 64 of the characters
// A-Z, a-z, 0-9, "." "_" and "-". If it is empty, it is derived from the key, the same each time.
func NewHS256Key(id string, secret []byte) (SigningKey, error) {
	return newSigningKey(signing.NewHS256Key(id, secret))
}

// NewES256Key makes a key for ECDSA on the curve P-256 with SHA-256, which it
// copies.
func NewES256Key(id string, private *ecdsa.PrivateKey) (SigningKey, error) {
	return newSigningKey(signing.NewES256Key(id, private))
}

// NewEdDSAKey makes a key for Ed25519, which it copies.
func NewEdDSAKey(id string, private ed25519.PrivateKey) (SigningKey, error) {
	return newSigningKey(signing.NewEdDSAKey(id, private))
}

// ParseSigningKeys returns the keys in data, in order. Data is one of
//
//   - PEM blocks, PRIVATE KEY (PKCS #8) or EC PRIVATE KEY (SEC 1), of P-256 for ES256 and of
//     Ed25519 for EdDSA. Their IDs are derived from the keys.
//   - A private JWK, or a set of them (RFC 7517), of P-256, of Ed25519, or symmetric for HS256. A
//     key without a kid gets an ID derived from it.
//
// Everything else is an error that says what is wrong, also beside good keys. The error contains
// nothing of the keys. The keys are copied, so the caller can clear data.
func ParseSigningKeys(data []byte) (keys []SigningKey, err error) {
	parsed, err := signing.ParseKeys(data)
	if err != nil {
		return nil, err
	}
	for _, key := range parsed {
		keys = append(keys, SigningKey{get: func() *signing.Key { return key }})
	}
	return keys, nil
}

// ID returns the key ID, or "" for the zero SigningKey.
func (k SigningKey) ID() string {
	if k.get == nil {
		return ""
	}
	return k.get().ID()
}

// RetiredAt returns the key for verifying tokens that were issued up to the given time, to the
// second, and no later ones: for a key that no longer signs anywhere. An attacker who gets hold of
// it later can make no new token. It cannot be the first of a ring. The time is published with the
// public key, so that a [RemoteVerifier] rejects later tokens, too.
func (k SigningKey) RetiredAt(at time.Time) SigningKey {
	if k.get == nil {
		return k
	}
	retired := k.get().RetiredAt(at)
	return SigningKey{get: func() *signing.Key { return retired }}
}

// newRing returns the ring of the keys.
func newRing(keys []SigningKey) (*signing.Ring, error) {
	ring := make([]*signing.Key, len(keys))
	for i, k := range keys {
		if k.get != nil { // or else nil, which NewRing refuses
			ring[i] = k.get()
		}
	}
	return signing.NewRing(ring)
}
