package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// The stored forms of an access secret, each telling what it is, in the manner
// of the PHC string format:
//
//	$sha256$v=1$<digest>                                      generated, no pepper
//	$hmac-sha256$v=1$k=<pepper>$<digest>                      generated
//	$argon2id-bound$v=19$m=..,t=..,p=..[,k=<pepper>]$<salt>$<hash>    chosen, or imported and seen since
//	$argon2id$v=19$m=..,t=..,p=..$<salt>$<hash>               imported
//	$2a$ $2b$ $2y$ ...                                        imported: bcrypt
//	$sha256-imported$v=1$<digest>                             imported: generated elsewhere
//
// A generated secret is 256 random bits, for which a slow hash would only give
// an attacker a way to burn our processors (NIST SP 800-63B asks for one below
// 112 bits). The first three bind the user and the key, so that a row copied to
// another user opens nothing; what comes from elsewhere could not.

const (
	formSHA256     = "sha256"
	formHMAC       = "hmac-sha256"
	formArgonBound = "argon2id-bound"
	formArgon      = "argon2id"
	formBcrypt     = "bcrypt"

	formImportedSHA256 = "sha256-imported"
)

// storedHash is a stored form, taken apart.
type storedHash struct {
	form   string
	pepper string // the id of the pepper, empty if there is none
	digest []byte // of the fast forms
	argon  argonHash
	bcrypt string
}

// errHash says nothing about the hash: it may be logged.
var errHash = errors.New("auth: stored hash is not of a known form")

// parseHash takes a stored form apart, and refuses one that is misspelt or that
// nobody should be made to compute.
func parseHash(stored string) (storedHash, error) {
	if len(stored) > maxHashLength || !strings.HasPrefix(stored, "$") {
		return storedHash{}, errHash
	}
	if strings.HasPrefix(stored, "$2") {
		return parseBcrypt(stored)
	}
	parts := strings.Split(stored[1:], "$")
	switch {
	case (parts[0] == formSHA256 || parts[0] == formImportedSHA256) && len(parts) == 3 && parts[1] == "v=1":
		digest, err := decodeDigest(parts[2])
		return storedHash{form: parts[0], digest: digest}, err
	case parts[0] == formHMAC && len(parts) == 4 && parts[1] == "v=1" && strings.HasPrefix(parts[2], "k="):
		pepper := parts[2][len("k="):]
		if checkKeyID(pepper, maxSymmetricKeyID) != nil {
			return storedHash{}, errHash
		}
		digest, err := decodeDigest(parts[3])
		return storedHash{form: formHMAC, pepper: pepper, digest: digest}, err
	case (parts[0] == formArgon || parts[0] == formArgonBound) && len(parts) == 5 && parts[1] == "v=19":
		return parseArgon(parts[0], parts[2], parts[3], parts[4])
	default:
		return storedHash{}, errHash
	}
}

func decodeDigest(text string) ([]byte, error) {
	digest, err := decodeBase64(base64.RawURLEncoding, text)
	if err != nil || len(digest) != sha256.Size {
		return nil, errHash
	}
	return digest, nil
}

// hasher makes and checks the forms that are bound to user and key.
type hasher struct {
	peppers []pepper // the first is for new hashes

	// The forms that keys which are not there are compared with. No secret
	// matches them.
	fastDecoy, slowDecoy string
}

// hashScheme is one of the two ways, fast and slow, to keep a secret.
type hashScheme struct {
	make  func(userID, accessKey, secret string) string
	match func(stored, userID, accessKey, secret string) (match, stale bool)

	// decoy stands in for a key that is not there, so that it costs what one
	// that is there does.
	decoy AccessKey
}

// decoyUserID is as long as the IDs that we make, and none of them.
const decoyUserID = "--------------------------"

func (h *hasher) fastScheme() hashScheme {
	return hashScheme{h.fast, h.matchFast, AccessKey{UserID: decoyUserID, Hash: h.fastDecoy}}
}

func (h *hasher) slowScheme() hashScheme {
	return hashScheme{h.slow, h.matchSlow, AccessKey{UserID: decoyUserID, Hash: h.slowDecoy}}
}

// pepper is an element of the ring; the one without id and key is no pepper.
type pepper struct {
	id  string
	key []byte
}

// NoPepper stands, in [CredentialConfig.Peppers], for hashes without a pepper.
func NoPepper() SymmetricKey {
	return SymmetricKey{get: func() []byte { return nil }}
}

func (k SymmetricKey) isNoPepper() bool { return k.id == "" && k.get != nil }

func newHasher(ring []SymmetricKey) (*hasher, error) {
	if len(ring) == 0 {
		ring = []SymmetricKey{NoPepper()}
	}
	h := new(hasher)
	for _, k := range ring {
		var key []byte
		var err error
		if !k.isNoPepper() {
			key, err = k.derive("access secret pepper")
		}
		if err != nil {
			return nil, err
		}
		if _, taken := h.pepper(k.id); taken {
			return nil, fmt.Errorf("auth: two peppers have the id %q: give each its own", k.id)
		}
		h.peppers = append(h.peppers, pepper{id: k.id, key: key})
	}
	h.fastDecoy = h.fast(rand.Text(), rand.Text(), rand.Text())
	h.slowDecoy = h.slowForm(randomBytes(16), randomBytes(32))
	return h, nil
}

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
	text := framed("sallyport access secret v1", userID, accessKey, secret)
	if pepper == nil {
		digest := sha256.Sum256(text)
		return digest[:]
	}
	h := hmac.New(sha256.New, pepper)
	h.Write(text)
	return h.Sum(nil)
}
