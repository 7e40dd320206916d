package auth

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

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

// derive returns the 32-byte key for one purpose. Nothing that was made for one purpose opens or
// verifies for another, though both keys come from the same ring.
func (k SymmetricKey) derive(purpose string) ([]byte, error) {
	if k.get == nil {
		return nil, errors.New("auth: empty SymmetricKey: make it with NewSymmetricKey")
	}
	secret := k.get()
	if len(secret) < signing.MinSecret { // everybody can derive what follows from no secret
		return nil, errors.New("auth: NoPepper is no key: it belongs in CredentialConfig.Peppers only")
	}
	return hkdf.Key(sha256.New, secret, nil, "sallyport "+purpose, 32)
}

const maxSymmetricKeyID = secrethash.MaxPepperID

// redacted, embedded, keeps a value out of logs and responses. It cannot help
// where the value is in an unexported field of the host's: fmt does not call
// methods there, and follows pointers to structs, slices and maps. So a secret is
// kept behind a pointer to a string, or in a function, where fmt stops. What
// follows every pointer, as test libraries do, finds the string, not the function.
type redacted struct {
	_ [0]func() // no ==, which would compare addresses
}

const redactedText = "[redacted]"

// Format prints "[redacted]" for every verb.
func (redacted) Format(f fmt.State, _ rune) { io.WriteString(f, redactedText) }

// MarshalText returns "[redacted]".
func (redacted) MarshalText() ([]byte, error) { return []byte(redactedText), nil }
