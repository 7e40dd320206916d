package secrethash

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// defaultArgon2 is the cost of new hashes. OWASP's Password Storage Cheat Sheet recommends at least
// this cost.
var defaultArgon2 = Argon2{Memory: 19 * 1024, Time: 2, Threads: 1}

func (h *Hasher) hashSlow(userID, accessKey, secret string) string {
	a := defaultArgon2
	a.Salt = randomBytes(16)
	return h.slowForm(a.Salt, a.sum(boundDigest(h.current().Key, userID, accessKey, secret), 32))
}

// slowForm returns the stored form of an argon2id hash with the default cost and the current
// pepper.
func (h *Hasher) slowForm(salt, hash []byte) string {
	pepper := ""
	if p := h.current(); p.Key != nil {
		pepper = ",k=" + p.ID
	}
	encode := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$%s$v=%d$m=%d,t=%d,p=%d%s$%s$%s", KindArgon2Bound, argon2.Version,
		defaultArgon2.Memory, defaultArgon2.Time, defaultArgon2.Threads, pepper, encode(salt), encode(hash))
}

// matchSlow is the function Match of [Hasher.Slow]. It always computes one slow hash, even if the
// parameter stored is not a valid form.
func (h *Hasher) matchSlow(stored, userID, accessKey, secret string) (match, stale bool) {
	f, err := Parse(stored)
	key, known := h.pepper(f.Pepper)
	switch {
	case err != nil || !known:
		defaultArgon2.sum([]byte(secret), 32)
		return false, false
	case f.Kind == KindBcrypt:
		cut := []byte(secret[:min(len(secret), maxBcryptSecret)])
		matches := bcrypt.CompareHashAndPassword([]byte(f.bcrypt), cut) == nil
		return matches && len(cut) == len(secret), true
	case f.Kind == KindImportedSHA256:
		// The result of this slow hash is not used. Without the hash, a fast answer would show that
		// the key has a digest of this kind.
		defaultArgon2.sum([]byte(secret), 32)
		digest := sha256.Sum256([]byte(secret))
		return subtle.ConstantTimeCompare(digest[:], f.Digest) == 1, true
	case f.Kind == KindArgon2:
		return f.Argon2.equal([]byte(secret)), true
	case f.Kind == KindArgon2Bound:
		return f.Argon2.equal(boundDigest(key, userID, accessKey, secret)), f.Pepper != h.current().ID
	default:
		defaultArgon2.sum([]byte(secret), 32)
		return false, false
	}
}

func (a Argon2) sum(secret []byte, length int) []byte {
	return argon2.IDKey(secret, a.Salt, a.Time, a.Memory, a.Threads, uint32(length))
}

func (a Argon2) equal(secret []byte) bool {
	return subtle.ConstantTimeCompare(a.sum(secret, len(a.Hash)), a.Hash) == 1
}
