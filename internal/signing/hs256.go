package signing

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"

	"github.com/golang-jwt/jwt/v5"
)

// hs256 is the HS256 method with one secret. It keeps hash states for reuse, because making a hash
// state costs as much as hashing a token.
type hs256 struct {
	*jwt.SigningMethodHMAC
	hashes *sync.Pool // of *keyedHash
}

type keyedHash struct {
	hash.Hash
	text []byte // a buffer for the text as bytes
	sum  []byte // a buffer for the result
}

func newHS256(secret []byte) hs256 {
	return hs256{jwt.SigningMethodHS256, &sync.Pool{New: func() any {
		return &keyedHash{Hash: hmac.New(sha256.New, secret)}
	}}}
}

// Sign signs with the secret of m. It ignores its last parameter, a key. The interface
// jwt.SigningMethod requires this parameter.
func (m hs256) Sign(text string, _ any) ([]byte, error) {
	h := m.hashes.Get().(*keyedHash)
	defer m.hashes.Put(h)
	return append([]byte(nil), h.of(text)...), nil
}

// Verify verifies with the secret of m. Like Sign, it ignores its last parameter, a key.
func (m hs256) Verify(text string, signature []byte, _ any) error {
	h := m.hashes.Get().(*keyedHash)
	defer m.hashes.Put(h)
	if !hmac.Equal(h.of(text), signature) {
		return jwt.ErrTokenSignatureInvalid
	}
	return nil
}

// of(text) returns the HMAC of the text. The next call of this method overwrites the result.
func (h *keyedHash) of(text string) []byte {
	h.Reset()
	h.text = append(h.text[:0], text...)
	h.Write(h.text)
	h.sum = h.Sum(h.sum[:0])
	return h.sum
}
