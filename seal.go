package auth

import (
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"github.com/sallyport-go/auth/internal/canonical"

	"golang.org/x/crypto/chacha20poly1305"
)

// sealer encrypts, for one purpose, what leaves the process: into a browser's
// cookie or into the store. What it has sealed it alone can open, only for the
// same purpose and context, and only if not a bit has changed.
//
// The sealed form is a version, the id of the key behind its length, a nonce, and
// the ciphertext of XChaCha20-Poly1305, whose nonces are long enough to be random
// for any number of messages.
type sealer struct {
	purpose string
	keys    []sealingKey // the first seals, all open
}

type sealingKey struct {
	id   string
	aead cipher.AEAD
}

const sealedVersion = 1

// errSealed says nothing about why: it may be shown to whoever sent the bytes.
var errSealed = errors.New("auth: sealed bytes cannot be opened")

func newSealer(ring []SymmetricKey, purpose string) (*sealer, error) {
	if len(ring) == 0 {
		return nil, errors.New("auth: SealingKeys must have at least one key")
	}
	s := &sealer{purpose: purpose}
	for i, k := range ring {
		key, err := k.derive("seal " + purpose)
		if err != nil {
			return nil, fmt.Errorf("%w (SealingKeys[%d])", err, i)
		}
		if _, taken := s.key(k.id); taken {
			return nil, fmt.Errorf("auth: two sealing keys have the id %q: give each its own", k.id)
		}
		aead, err := chacha20poly1305.NewX(key)
		if err != nil {
			return nil, fmt.Errorf("auth: making a sealing key: %w", err)
		}
		s.keys = append(s.keys, sealingKey{id: k.id, aead: aead})
	}
	return s, nil
}

func (s *sealer) key(id string) (cipher.AEAD, bool) {
	for _, k := range s.keys {
		if k.id == id {
			return k.aead, true
		}
	}
	return nil, false
}

// seal encrypts the bytes. They open only where the same context is given.
func (s *sealer) seal(plain []byte, context ...string) []byte {
	k := s.keys[0]
	sealed := append([]byte{sealedVersion, byte(len(k.id))}, k.id...)
	header := len(sealed)
	sealed = append(sealed, make([]byte, k.aead.NonceSize())...)
	rand.Read(sealed[header:]) // never fails: it ends the program instead
	return k.aead.Seal(sealed, sealed[header:], plain, s.associated(k.id, context))
}

// open decrypts what seal made. Stale says that another key than the first
// sealed it, and that it ought to be sealed anew if it is kept.
func (s *sealer) open(sealed []byte, context ...string) (plain []byte, stale bool, err error) {
	if len(sealed) < 2 || sealed[0] != sealedVersion {
		return nil, false, errSealed
	}
	end := 2 + int(sealed[1]) // as a byte, the sum would overflow
	if len(sealed) < end {
		return nil, false, errSealed
	}
	id, rest := string(sealed[2:end]), sealed[end:]
	aead, ok := s.key(id)
	if !ok || len(rest) < aead.NonceSize() {
		return nil, false, errSealed
	}
	nonce, ciphertext := rest[:aead.NonceSize()], rest[aead.NonceSize():]
	plain, err = aead.Open(nil, nonce, ciphertext, s.associated(id, context))
	if err != nil {
		return nil, false, errSealed
	}
	return plain, id != s.keys[0].id, nil
}

// associated returns what the sealed bytes are bound to.
func (s *sealer) associated(id string, context []string) []byte {
	return canonical.Frame(append([]string{s.purpose, id}, context...)...)
}
