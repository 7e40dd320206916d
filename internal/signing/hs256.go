package signing

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"

	"github.com/golang-jwt/jwt/v5"
)

// hs256 is HS256 with one key. It keeps hash states for reuse, because making a hash state costs as
// much as hashing a token.
type hs256 struct {
	*jwt.SigningMethodHMAC
	hashes *sync.Pool // of *keyedHash
}

type keyedHash struct {
	hash.Hash
	text []byte // the text as bytes, because a hash takes bytes; reused
	sum  []byte // reused
}

func newHS256(secret []byte) hs256 {
	return hs256{jwt.SigningMethodHS256, &sync.Pool{New: func() any {
		return &keyedHash{Hash: hmac.New(sha256.New, secret)}
	}}}
}

// Sign signs with the secret of m. It ignores the key, which golang-jwt's interface demands.
func (m hs256) Sign(text string, _ any) ([]byte, error) {
	h := m.hashes.Get().(*keyedHash)
	defer m.hashes.Put(h)
	return append([]byte(nil), h.of(text)...), nil
}

// Verify verifies with the secret of m. It ignores the key, as Sign does.
func (m hs256) Verify(text string, signature []byte, _ any) error {
	h := m.hashes.Get().(*keyedHash)
	defer m.hashes.Put(h)
	if !hmac.Equal(h.of(text), signature) {
		return jwt.ErrTokenSignatureInvalid
	}
	return nil
}

// of returns the hash of the text. The next call overwrites it.
func (h *keyedHash) of(text string) []byte {
	h.Reset()
	h.text = append(h.text[:0], text...)
	h.Write(h.text)
	h.sum = h.Sum(h.sum[:0])
	return h.sum
}
