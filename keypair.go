package auth

import (
	"crypto/rand"
	"errors"
	"github.com/sallyport-go/auth/internal/canonical"
	"github.com/sallyport-go/auth/internal/text"
	"hash/crc32"
	"strings"
)

// KeyPair is an access key and its secret, which a client sends to sign in.
//
// A pair made by this package looks like
//
//	ak_live_ + 20 characters + 6 characters of checksum
//	as_live_ + the same 20 + 43 characters, 256 random bits + 6 characters of checksum
//
// with characters from 0-9, A-Z and a-z. The checksum is the CRC-32 of everything before it. So a
// mistyped key is rejected without asking the store, a scanner can tell a leaked secret from other
// text, and a leaked secret says which key to revoke.
type KeyPair struct {
	AccessKey    string // public: it may be logged and shown
	AccessSecret Secret
}

const (
	defaultAccessKeyPrefix    = "ak_live"
	defaultAccessSecretPrefix = "as_live"

	keyIDLength    = 20 // 119 bits: no two are ever the same
	secretLength   = 43 // 256 bits
	checksumLength = 6  // enough for 32 bits

	base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// pairFormat writes and recognizes the pairs of this package.
type pairFormat struct {
	keyPrefix, secretPrefix string // each with its final underscore
}

func newPairFormat(keyPrefix, secretPrefix string) (pairFormat, error) {
	if keyPrefix == "" {
		keyPrefix = defaultAccessKeyPrefix
	}
	if secretPrefix == "" {
		secretPrefix = defaultAccessSecretPrefix
	}
	for _, prefix := range []string{keyPrefix, secretPrefix} {
		if len(prefix) > 32 || strings.HasPrefix(prefix, "_") || strings.HasSuffix(prefix, "_") ||
			strings.ContainsFunc(prefix, func(r rune) bool { return r != '_' && (r > 'z' || !canonical.IsAlphanumeric(byte(r))) }) {
			return pairFormat{}, errors.New(`auth: AccessKeyPrefix and AccessSecretPrefix must be at most 32 letters, digits and inner "_"`)
		}
	}
	if text.FoldASCII(keyPrefix) == text.FoldASCII(secretPrefix) {
		return pairFormat{}, errors.New("auth: AccessKeyPrefix and AccessSecretPrefix must differ")
	}
	return pairFormat{keyPrefix: keyPrefix + "_", secretPrefix: secretPrefix + "_"}, nil
}

// generate makes a new pair.
func (f pairFormat) generate() KeyPair {
	key := withChecksum(f.keyPrefix + randomBase62(keyIDLength))
	return KeyPair{AccessKey: key, AccessSecret: f.secretOf(key)}
}

// secretOf makes a new secret of a key.
func (f pairFormat) secretOf(key string) Secret {
	id := key[len(f.keyPrefix):][:keyIDLength]
	return NewSecret(withChecksum(f.secretPrefix + id + randomBase62(secretLength)))
}

// keyOf returns the access key that a secret is of.
func (f pairFormat) keyOf(secret string) string {
	return withChecksum(f.keyPrefix + secret[len(f.secretPrefix):][:keyIDLength])
}

// isKey reports whether text is an access key of this package with a good
// checksum, made by this service or not.
func (f pairFormat) isKey(text string) bool {
	return hasForm(text, f.keyPrefix, keyIDLength)
}

// isSecret is isKey for access secrets.
func (f pairFormat) isSecret(text string) bool {
	return hasForm(text, f.secretPrefix, keyIDLength+secretLength)
}

// resembles reports whether s could be taken for a key or secret of this
// package, with a good checksum or not. Nothing imported may.
func (f pairFormat) resembles(s string) bool {
	s = text.FoldASCII(s)
	return strings.HasPrefix(s, text.FoldASCII(f.keyPrefix)) || strings.HasPrefix(s, text.FoldASCII(f.secretPrefix))
}

// belongTogether reports whether the secret is one of this key's: both have the
// same id in their text.
func (f pairFormat) belongTogether(key, secret string) bool {
	return f.isKey(key) && f.isSecret(secret) &&
		key[len(f.keyPrefix):][:keyIDLength] == secret[len(f.secretPrefix):][:keyIDLength]
}

func hasForm(text, prefix string, length int) bool {
	if len(text) != len(prefix)+length+checksumLength || !strings.HasPrefix(text, prefix) {
		return false
	}
	for _, c := range []byte(text[len(prefix):]) {
		if !canonical.IsAlphanumeric(c) {
			return false
		}
	}
	body := text[:len(text)-checksumLength]
	return withChecksum(body) == text
}

// withChecksum appends the CRC-32 of text, as six digits to the base of 62.
func withChecksum(text string) string {
	sum := crc32.ChecksumIEEE([]byte(text))
	var digits [checksumLength]byte
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = base62[sum%62]
		sum /= 62
	}
	return text + string(digits[:])
}

// randomBase62 returns n random characters, each as likely as any other: bytes
// above the largest multiple of 62 are thrown away.
func randomBase62(n int) string {
	text := make([]byte, 0, n)
	var buffer [64]byte
	for {
		rand.Read(buffer[:]) // never fails: it ends the program instead
		for _, b := range buffer {
			if b >= 4*62 {
				continue
			}
			text = append(text, base62[b%62])
			if len(text) == n {
				return string(text)
			}
		}
	}
}
