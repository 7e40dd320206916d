package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"github.com/sallyport-go/auth/internal/canonical"
)

// hasher makes and checks the forms that are bound to user and key.
type hasher struct {
	peppers []pepper // the first is for new hashes

	// The forms that keys which are not there are compared with. No secret
	// matches them.
	fastDecoy, slowDecoy string
}

// pepper is an element of the ring; the one without id and key is no pepper.
type pepper struct {
	id  string
	key []byte
}

// NoPepper stands for hashes without a pepper in [CredentialConfig.Peppers]. It is no key, and
// every other ring refuses it.
func NoPepper() SymmetricKey {
	return SymmetricKey{get: func() []byte { return nil }}
}

func (k SymmetricKey) isNoPepper() bool { return k.id == "" && k.get != nil }

func (h *hasher) pepper(id string) (key []byte, ok bool) {
	for _, p := range h.peppers {
		if p.id == id {
			return p.key, true
		}
	}
	return nil, false
}

// current returns the pepper for new hashes, which may be none.
func (h *hasher) current() pepper { return h.peppers[0] }

// fast returns the stored form of a generated secret.
func (h *hasher) fast(userID, accessKey, secret string) string {
	p := h.current()
	digest := base64.RawURLEncoding.EncodeToString(boundDigest(p.key, userID, accessKey, secret))
	if p.key == nil {
		return "$" + formSHA256 + "$v=1$" + digest
	}
	return "$" + formHMAC + "$v=1$k=" + p.id + "$" + digest
}

// matchFast reports whether the secret is the one of the stored form, and
// whether the form ought to be made anew. It does the same work whatever stored
// is: one digest.
func (h *hasher) matchFast(stored, userID, accessKey, secret string) (match, stale bool) {
	s, err := parseHash(stored)
	key, known := h.pepper(s.pepper)
	if !known {
		key = h.current().key
	}
	digest := boundDigest(key, userID, accessKey, secret)
	match = err == nil && known && (s.form == formSHA256 || s.form == formHMAC) &&
		subtle.ConstantTimeCompare(digest, s.digest) == 1
	return match, s.pepper != h.current().id
}

// boundDigest is HMAC-SHA-256 under the pepper, or SHA-256 where there is none,
// of the purpose, the user, the key and the secret.
func boundDigest(pepper []byte, userID, accessKey, secret string) []byte {
	text := canonical.Frame("sallyport access secret v1", userID, accessKey, secret)
	if pepper == nil {
		digest := sha256.Sum256(text)
		return digest[:]
	}
	h := hmac.New(sha256.New, pepper)
	h.Write(text)
	return h.Sum(nil)
}
