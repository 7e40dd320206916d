package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sallyport-go/auth/internal/seal"
	"github.com/sallyport-go/auth/internal/secrethash"
	"github.com/sallyport-go/auth/internal/signing"
)

// Secret is text that must not be shown: an access secret or a token. It prints as "[redacted]"
// with fmt, log/slog and encoding/json, also inside a host's own values. Reveal returns the text.
//
// The zero Secret is empty. Secrets cannot be compared with ==.
type Secret struct {
	redacted
	text *string // which fmt prints as an address; see redacted
}

// NewSecret returns the secret with this text.
func NewSecret(text string) Secret {
	return Secret{text: &text}
}

// Reveal returns the text of the secret, or "" for the zero Secret.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// KeyPair is an access key and its secret, which a client sends to sign in.
//
// A pair made by this package looks like
//
//	ak_live_ + 20 characters + 6 characters of checksum
//	as_live_ + the same 20 + 43 characters, 256 random bits + 6 characters of checksum
//
// with characters from 0-9, A-Z and a-z. The checksum is the CRC-32 of everything before it. So a
// mistyped key is rejected without asking the store, a scanner can tell a leaked secret from other
// text, and a leaked secret says which key to revoke.
type KeyPair struct {
	AccessKey    string // public: it may be logged and shown
	AccessSecret Secret
}

const maxSymmetricKeyID = secrethash.MaxPepperID // the ID goes into every stored hash

// SymmetricKey is a secret key of 32 bytes or more, with an ID that is stored beside everything
// that was made with the key. A ring of keys is a slice: the first makes new hashes and seals, all
// of them check existing ones. To change keys, put a new one in front, and drop the old one when
// nothing made with it is left.
//
// It prints as "[redacted]".
type SymmetricKey struct {
	redacted
	id  string
	get func() []byte // nil in the zero value
}

// NewSymmetricKey makes a key of the secret, which it copies. The secret must be at least 32 bytes
// from a cryptographic random source, such as crypto/rand or `openssl rand 32`. The ID must be 1
// to 32 of the characters A-Z, a-z, 0-9, "." "_" and "-", and never be used for another secret.
func NewSymmetricKey(id string, secret []byte) (SymmetricKey, error) {
	if err := signing.CheckID(id, maxSymmetricKeyID); err != nil {
		return SymmetricKey{}, err
	}
	if err := signing.CheckSecret("symmetric key", secret); err != nil {
		return SymmetricKey{}, err
	}
	secret = bytes.Clone(secret)
	return SymmetricKey{id: id, get: func() []byte { return secret }}, nil
}

// NoPepper stands for hashes without a pepper in [CredentialConfig.Peppers]. It is no key, and
// every other ring refuses it.
func NoPepper() SymmetricKey {
	return SymmetricKey{get: func() []byte { return nil }}
}

func (k SymmetricKey) isNoPepper() bool { return k.id == "" && k.get != nil }

// derivePeppers returns the ring for the hashes of access secrets.
func derivePeppers(ring []SymmetricKey) ([]secrethash.Pepper, error) {
	peppers := make([]secrethash.Pepper, len(ring))
	for i, k := range ring {
		if k.isNoPepper() {
			continue
		}
		key, err := k.derive("access secret pepper")
		if err != nil {
			return nil, fmt.Errorf("%w (Peppers[%d])", err, i)
		}
		peppers[i] = secrethash.Pepper{ID: k.id, Key: key}
	}
	return peppers, nil
}

// newSealer returns the sealer for the purpose with the keys of the ring.
func newSealer(ring []SymmetricKey, purpose string) (*seal.Sealer, error) {
	keys := make([]seal.Key, len(ring))
	for i, k := range ring {
		key, err := k.derive("seal " + purpose)
		if err != nil {
			return nil, fmt.Errorf("%w (SealingKeys[%d])", err, i)
		}
		keys[i] = seal.Key{ID: k.id, Bytes: key}
	}
	return seal.New(keys, purpose)
}

// derive returns the 32-byte key for one purpose. A hash or a seal that was made for one purpose is
// worthless for another, although both come from the same ring. No purpose may be "key id": that is
// how package signing derives the IDs of HS256 keys.
func (k SymmetricKey) derive(purpose string) ([]byte, error) {
	if k.get == nil {
		return nil, errors.New("auth: empty SymmetricKey: make it with NewSymmetricKey")
	}
	secret := k.get()
	if len(secret) < signing.MinSecret { // everybody can derive keys from no secret
		return nil, errors.New("auth: NoPepper is no key: it belongs in CredentialConfig.Peppers only")
	}
	return hkdf.Key(sha256.New, secret, nil, "sallyport "+purpose, 32)
}

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

// redacted, embedded, keeps a value out of logs and responses. It cannot help if the value is in an
// unexported field of the host's: fmt calls no methods there, and it follows pointers to structs,
// slices and maps. So a secret is kept behind a pointer to a string, or in a function, where fmt
// stops. Printers that follow every pointer, as those of test libraries do, find the string but not
// the content of the function.
type redacted struct {
	_ [0]func() // no ==, which would compare addresses
}

const redactedText = "[redacted]"

// Format prints "[redacted]" for every verb.
func (redacted) Format(f fmt.State, _ rune) { io.WriteString(f, redactedText) }

// MarshalText returns "[redacted]".
func (redacted) MarshalText() ([]byte, error) { return []byte(redactedText), nil }
