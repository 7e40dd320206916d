// Package secrethash makes and checks the hashes that a store keeps in place of access secrets.
//
// A generated secret has 256 random bits and gets a fast hash. A slow hash would not protect the
// secret better, and would let an attacker keep the processors busy. NIST SP 800-63B asks for a
// slow hash only for secrets with less than 112 bits. A secret that a person chose, or that was
// imported with a slow hash, has an argon2id or bcrypt hash. A [Queue] limits how many of these
// slow hashes run at once.
//
// Hashes that this package makes also cover the user ID and the access key. So if a row of the
// database is copied to another user, nobody can sign in with the copy.
//
// The package reads no store. If an access key does not exist, the caller compares the secret with
// a decoy, which is a stored form that no secret matches. So the answer takes the same time whether
// or not the key exists.
package secrethash

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/sallyport-go/auth/internal/canonical"
)

// Pepper is a secret key for hashes. A pepper is kept outside the store. The zero Pepper means
// hashes without a pepper.
type Pepper struct {
	ID  string // 1 to [MaxPepperID] characters, see [canonical.IsKeyID]
	Key []byte // used only as a pepper
}

// Hasher makes and checks stored forms. It is safe for concurrent use. Make it with [New].
type Hasher struct {
	Fast Scheme // for generated secrets
	Slow Scheme // for chosen and imported secrets

	peppers []Pepper // new hashes use the first one
}

// Scheme is a way to hash secrets. A [Hasher] has a fast and a slow one.
type Scheme struct {
	// Hash returns the stored form of the secret. The form is valid for this user and access key
	// only.
	Hash func(userID, accessKey, secret string) string

	// Match reports whether the secret matches the stored form. The result stale reports whether
	// the caller should replace the stored form by a new one. Match always computes a hash, even if
	// it gets text that is not a stored form.
	Match func(stored, userID, accessKey, secret string) (match, stale bool)

	// Decoy is a stored form that no secret matches. If an access key does not exist, the caller
	// passes the decoy to Match, so that the answer takes as long as for an existing key.
	Decoy string
}

// New returns a hasher with these peppers. New hashes use the first pepper. Existing hashes are
// checked with the pepper that they name. An empty list means the zero Pepper alone. New returns an
// error if two peppers have the same ID.
func New(peppers []Pepper) (*Hasher, error) {
	if len(peppers) == 0 {
		peppers = []Pepper{{}}
	}
	h := new(Hasher)
	for i, p := range peppers {
		if _, taken := h.pepper(p.ID); taken {
			return nil, fmt.Errorf("auth: Peppers[%d] has the id %q of an earlier pepper: give each its own",
				i, p.ID)
		}
		h.peppers = append(h.peppers, p)
	}
	h.Fast = Scheme{h.hashFast, h.matchFast, h.hashFast(rand.Text(), rand.Text(), rand.Text())}
	h.Slow = Scheme{h.hashSlow, h.matchSlow, h.slowForm(randomBytes(16), randomBytes(32))}
	return h, nil
}

// Unpeppered reports whether the hasher accepts hashes without a pepper.
func (h *Hasher) Unpeppered() bool {
	_, ok := h.pepper("")
	return ok
}

func (h *Hasher) pepper(id string) (key []byte, ok bool) {
	i := slices.IndexFunc(h.peppers, func(p Pepper) bool { return p.ID == id })
	if i < 0 {
		return nil, false
	}
	return h.peppers[i].Key, true
}

// MissingPepper reports whether the hasher does not have the pepper of the stored form, so that no
// secret can match the form. It returns the ID of the missing pepper, or "" if the form was made
// without a pepper. For text that is not a stored form, missing is false.
func (h *Hasher) MissingPepper(stored string) (id string, missing bool) {
	f, err := Parse(stored)
	if err != nil {
		return "", false
	}
	_, known := h.pepper(f.Pepper)
	return f.Pepper, !known
}

// current returns the pepper for new hashes, which may be the zero Pepper.
func (h *Hasher) current() Pepper { return h.peppers[0] }

func (h *Hasher) hashFast(userID, accessKey, secret string) string {
	p := h.current()
	digest := base64.RawURLEncoding.EncodeToString(boundDigest(p.Key, userID, accessKey, secret))
	if p.Key == nil {
		return "$" + string(KindSHA256) + "$v=1$" + digest
	}
	return "$" + string(KindHMAC) + "$v=1$k=" + p.ID + "$" + digest
}

// matchFast is the function Match of [Hasher.Fast]. It always computes one digest, even if the
// parameter stored is not a valid form.
func (h *Hasher) matchFast(stored, userID, accessKey, secret string) (match, stale bool) {
	f, err := Parse(stored)
	key, known := h.pepper(f.Pepper)
	if !known {
		key = h.current().Key
	}
	digest := boundDigest(key, userID, accessKey, secret)
	match = err == nil && known && (f.Kind == KindSHA256 || f.Kind == KindHMAC) &&
		subtle.ConstantTimeCompare(digest, f.Digest) == 1
	return match, f.Pepper != h.current().ID
}

// boundDigest returns a digest of the user ID, the access key and the secret. It is an HMAC-SHA-256
// with the pepper as its key, or a SHA-256 if pepper is nil.
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

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: it ends the program instead
	return b
}
