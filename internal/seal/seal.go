// Package seal encrypts and authenticates bytes that leave the process, in a browser's cookie or in
// the store. Each [Sealer] has a purpose, and each call has a context, such as the ID of a user.
// Sealed bytes can be opened only with the same keys, purpose and context, and only if no bit was
// changed.
//
// Sealed bytes do not expire, and an attacker can replace them by other sealed bytes of the same
// context. Therefore content that must not be replayed must contain a time or a version.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"github.com/sallyport-go/auth/internal/canonical"
	"golang.org/x/crypto/chacha20poly1305"
)

// Key is a sealing key.
type Key struct {
	ID    string // 1 to 255 bytes; part of the sealed bytes, and not encrypted
	Bytes []byte // 32 bytes, used for nothing but sealing
}

// Sealer seals and opens bytes for one purpose. It is safe for concurrent use. Make it with [New].
//
// The sealed form is a version, the length of the key's ID, the ID, a salt, a nonce, and the
// ciphertext of AES-256-GCM. HKDF-Expand derives a key for the message from the sealing key and the
// salt. With one key for all messages, GCM allows only 2^32 random nonces. Anyone can make a service
// seal a state cookie, so a flood of requests could exceed this limit within months. The salt and the
// nonce together have 192 random bits, so they do not repeat, however many messages are sealed. HKDF,
// and AES-GCM with a nonce that the module chooses, are approved services of the Go Cryptographic
// Module. So Seal uses only approved algorithms.
//
// Open also accepts the older form, whose version is 1. The older form has a nonce of 24 bytes and the
// ciphertext of XChaCha20-Poly1305. GODEBUG=fips140=only forbids this cipher, so in that mode, Open
// returns ErrSealed for the older form.
type Sealer struct {
	purpose string
	keys    []sealingKey // the first key seals, and every key opens
}

type sealingKey struct {
	id    string
	bytes []byte
	older cipher.AEAD // opens the older form; nil if only approved algorithms may run
}

const (
	version      = 2
	olderVersion = 1
	keySize      = 32
	saltSize     = 12
)

// cipher returns the cipher for the message with this salt.
func (k sealingKey) cipher(salt []byte) cipher.AEAD {
	key, err := hkdf.Expand(sha256.New, k.bytes, "sallyport sealed message"+string(salt), keySize)
	if err != nil {
		panic(err) // never happens: the key is shorter than HKDF's limit
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // never happens: the key has a valid size
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // never happens: the block is from package aes
	}
	return aead
}

// ErrSealed means that sealed bytes cannot be opened. It does not say why, so it may be shown to
// the sender of the bytes.
var ErrSealed = errors.New("auth: sealed bytes cannot be opened")

// New returns a sealer for the purpose. The first key seals, and every key opens. New returns an
// error if there is no key, if two keys have the same ID, or if a key is not 32 bytes long.
func New(keys []Key, purpose string) (*Sealer, error) {
	if len(keys) == 0 {
		return nil, errors.New("auth: SealingKeys must have at least one key")
	}
	s := &Sealer{purpose: purpose}
	for i, k := range keys {
		if _, taken := s.key(k.ID); taken {
			return nil, fmt.Errorf("auth: SealingKeys[%d] has the id %q of an earlier key: give each its own",
				i, k.ID)
		}
		if len(k.Bytes) != keySize {
			return nil, fmt.Errorf("auth: SealingKeys[%d] is %d bytes; %d are needed", i, len(k.Bytes),
				keySize)
		}
		key := sealingKey{id: k.ID, bytes: slices.Clone(k.Bytes)}
		if !fips140.Enforced() {
			var err error
			if key.older, err = chacha20poly1305.NewX(k.Bytes); err != nil {
				return nil, fmt.Errorf("auth: making a sealing key: %w", err)
			}
		}
		s.keys = append(s.keys, key)
	}
	return s, nil
}

func (s *Sealer) key(id string) (sealingKey, bool) {
	for _, k := range s.keys {
		if k.id == id {
			return k, true
		}
	}
	return sealingKey{}, false
}

// Seal encrypts the bytes. The result can be opened only with the same context.
func (s *Sealer) Seal(plain []byte, context ...string) []byte {
	k := s.keys[0]
	sealed := make([]byte, 0, 2+len(k.id)+saltSize+len(plain)+28) // 28: the nonce and the tag
	sealed = append(sealed, version, byte(len(k.id)))
	sealed = append(sealed, k.id...)
	header := len(sealed)
	sealed = sealed[:header+saltSize]
	salt := sealed[header:]
	rand.Read(salt) // never fails: it ends the program instead
	return k.cipher(salt).Seal(sealed, nil, plain, s.associated(k.id, context))
}

// Open decrypts the result of Seal. The result stale reports whether a key other than the first
// sealed the bytes, or whether they have the older form. If stale is true, a caller that keeps the
// sealed bytes should replace them by a new result of Seal. The only error is [ErrSealed].
func (s *Sealer) Open(sealed []byte, context ...string) (plain []byte, stale bool, err error) {
	id, rest, ok := parse(sealed)
	if !ok {
		return nil, false, ErrSealed
	}
	k, ok := s.key(id)
	if !ok {
		return nil, false, ErrSealed
	}
	associated, older := s.associated(id, context), sealed[0] == olderVersion
	switch {
	case older && k.older != nil && len(rest) >= k.older.NonceSize():
		nonce, ciphertext := rest[:k.older.NonceSize()], rest[k.older.NonceSize():]
		plain, err = k.older.Open(nil, nonce, ciphertext, associated)
	case !older && len(rest) >= saltSize:
		plain, err = k.cipher(rest[:saltSize]).Open(nil, nil, rest[saltSize:], associated)
	default:
		err = ErrSealed
	}
	if err != nil {
		return nil, false, ErrSealed
	}
	return plain, older || id != s.keys[0].id, nil
}

// SealedBy returns the ID of the key that sealed the bytes. The ID is not authenticated. If the bytes
// are not of a sealed form, SealedBy returns "".
func SealedBy(sealed []byte) string {
	id, _, _ := parse(sealed)
	return id
}

// KeyID returns the ID of the key that sealed the bytes, and whether the sealer has this key. The ID
// is not authenticated. If the bytes are not of a sealed form, the ID is empty.
func (s *Sealer) KeyID(sealed []byte) (id string, known bool) {
	if id, _, known = parse(sealed); !known {
		return "", false
	}
	_, known = s.key(id)
	return id, known
}

// parse splits sealed bytes into the ID of the key and the rest, which begins with the salt or the
// nonce.
func parse(sealed []byte) (id string, rest []byte, ok bool) {
	if len(sealed) < 2 || sealed[0] != version && sealed[0] != olderVersion {
		return "", nil, false
	}
	end := 2 + int(sealed[1]) // an int, because the sum may be too great for a byte
	if len(sealed) < end {
		return "", nil, false
	}
	return string(sealed[2:end]), sealed[end:], true
}

// associated returns the additional data of the encryption, to which the sealed bytes are bound.
func (s *Sealer) associated(id string, context []string) []byte {
	return canonical.Frame(append([]string{s.purpose, id}, context...)...)
}

// SealText does the same as [Sealer.Seal], but returns base64url text, for a cookie or a URL.
func (s *Sealer) SealText(plain []byte, context ...string) string {
	return base64.RawURLEncoding.EncodeToString(s.Seal(plain, context...))
}

// OpenText decrypts the result of SealText. It accepts only the spelling that SealText returns. The
// only error is [ErrSealed].
func (s *Sealer) OpenText(text string, context ...string) ([]byte, error) {
	sealed, err := canonical.DecodeBase64URL(text)
	if err != nil {
		return nil, ErrSealed
	}
	plain, _, err := s.Open(sealed, context...)
	return plain, err
}
