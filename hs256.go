package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"

	"github.com/golang-jwt/jwt/v5"
)

// hs256 is HS256 of one key. It keeps the hashes that it has made, which cost as
// much as the tokens that go through them.
type hs256 struct {
	*jwt.SigningMethodHMAC
	hashes *sync.Pool // of *keyedHash
}

type keyedHash struct {
	hash.Hash
	text []byte // a hash takes no strings, and a copy here needs no memory
	sum  []byte
}

func newHS256(secret []byte) hs256 {
	return hs256{jwt.SigningMethodHS256, &sync.Pool{New: func() any {
		return &keyedHash{Hash: hmac.New(sha256.New, secret)}
	}}}
}

// Sign signs with the key that m is of, whichever is given.
func (m hs256) Sign(text string, _ any) ([]byte, error) {
	h := m.hashes.Get().(*keyedHash)
	defer m.hashes.Put(h)
	return append([]byte(nil), h.of(text)...), nil
}

// Verify verifies with the key that m is of, whichever is given.
func (m hs256) Verify(text string, signature []byte, _ any) error {
	h := m.hashes.Get().(*keyedHash)
	defer m.hashes.Put(h)
	if !hmac.Equal(h.of(text), signature) {
		return jwt.ErrTokenSignatureInvalid
	}
	return nil
}

// of returns the hash of the text, until the next call.
func (h *keyedHash) of(text string) []byte {
	h.Reset()
	h.text = append(h.text[:0], text...)
	h.Write(h.text)
	h.sum = h.Sum(h.sum[:0])
	return h.sum
}
