// Package accesskey generates access keys and their secrets, and recognizes them by their form:
//
//	ak_live_ + 20 characters + 6 characters of checksum
//	as_live_ + the same 20 characters + 43 characters (256 random bits) + 6 characters of checksum
//
// The characters are from 0-9, A-Z and a-z. The checksum is the CRC-32 of everything before it. The
// package checks only the form of keys and secrets. The store knows whether a key exists, and
// package secrethash checks whether a secret is right.
package accesskey

import (
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"regexp"
	"strings"

	"github.com/sallyport-go/auth/internal/canonical"
	"github.com/sallyport-go/auth/internal/text"
)

const (
	defaultKeyPrefix    = "ak_live"
	defaultSecretPrefix = "as_live"

	maxPrefix      = 32
	idLength       = 20 // 119 random bits, so no two keys get the same ID
	secretLength   = 43 // 256 random bits
	checksumLength = 6  // enough for the 32 bits of a CRC-32

	base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// Format is the form of the access keys and secrets of one service. Make it with [NewFormat].
type Format struct {
	keyPrefix, secretPrefix string // each with its final underscore
}

// NewFormat returns the format with these prefixes, and appends an underscore to each. An empty
// prefix means "ak_live" for keys and "as_live" for secrets. NewFormat returns an error if a prefix
// is not valid, or if the two prefixes are equal without regard to letter case.
func NewFormat(keyPrefix, secretPrefix string) (Format, error) {
	if keyPrefix == "" {
		keyPrefix = defaultKeyPrefix
	}
	if secretPrefix == "" {
		secretPrefix = defaultSecretPrefix
	}
	if !isPrefix(keyPrefix) || !isPrefix(secretPrefix) {
		return Format{}, errors.New(
			`auth: AccessKeyPrefix and AccessSecretPrefix must be at most 32 letters, digits and inner "_"`)
	}
	if text.FoldASCII(keyPrefix) == text.FoldASCII(secretPrefix) {
		return Format{}, errors.New("auth: AccessKeyPrefix and AccessSecretPrefix must differ")
	}
	return Format{keyPrefix: keyPrefix + "_", secretPrefix: secretPrefix + "_"}, nil
}

func isPrefix(prefix string) bool {
	return len(prefix) <= maxPrefix && !strings.HasPrefix(prefix, "_") && !strings.HasSuffix(prefix, "_") &&
		isAlphanumeric(strings.ReplaceAll(prefix, "_", ""))
}

// Generate returns a new access key and its secret.
func (f Format) Generate() (key, secret string) {
	key = withChecksum(f.keyPrefix + randomBase62(idLength))
	return key, f.NewSecret(key)
}

// NewSecret returns a new secret for the key, which must satisfy [Format.IsKey].
func (f Format) NewSecret(key string) string {
	return withChecksum(f.secretPrefix + f.keyID(key) + randomBase62(secretLength))
}

// KeyOf returns the access key that the secret belongs to. The secret must satisfy
// [Format.IsSecret].
func (f Format) KeyOf(secret string) string {
	return withChecksum(f.keyPrefix + f.secretID(secret))
}

// IsKey reports whether s has the form of an access key in this format, with the right checksum.
// IsKey does not check whether the key exists.
func (f Format) IsKey(s string) bool {
	return hasForm(s, f.keyPrefix, idLength)
}

// IsSecret reports whether s has the form of an access secret in this format, with the right
// checksum.
func (f Format) IsSecret(s string) bool {
	return hasForm(s, f.secretPrefix, idLength+secretLength)
}

// IsPair reports whether the secret belongs to the key. A key and its secret contain the same ID,
// which is the 20 characters after the prefix. IsPair also checks the form of both.
func (f Format) IsPair(key, secret string) bool {
	return f.IsKey(key) && f.IsSecret(secret) && f.keyID(key) == f.secretID(secret)
}

// Resembles reports whether s begins like a key or a secret in this format, in any letter case,
// after any white space and with any checksum. An imported key must not begin in this way, because
// it could be mistaken for a generated key.
func (f Format) Resembles(s string) bool {
	s = text.FoldASCII(strings.TrimSpace(s))
	return strings.HasPrefix(s, text.FoldASCII(f.keyPrefix)) ||
		strings.HasPrefix(s, text.FoldASCII(f.secretPrefix))
}

// SecretPattern returns a regular expression that finds secrets of this format anywhere in a text.
// The expression has the same meaning in RE2 and PCRE as in package regexp.
func (f Format) SecretPattern() string {
	return fmt.Sprintf(`\b%s[0-9A-Za-z]{%d}\b`, regexp.QuoteMeta(f.secretPrefix),
		idLength+secretLength+checksumLength)
}

func (f Format) keyID(key string) string       { return key[len(f.keyPrefix):][:idLength] }
func (f Format) secretID(secret string) string { return secret[len(f.secretPrefix):][:idLength] }

// hasForm reports whether s consists of the prefix, base62 characters of the given length, and
// their checksum.
func hasForm(s, prefix string, length int) bool {
	if len(s) != len(prefix)+length+checksumLength || !strings.HasPrefix(s, prefix) {
		return false
	}
	return isAlphanumeric(s[len(prefix):]) && withChecksum(s[:len(s)-checksumLength]) == s
}

func isAlphanumeric(s string) bool {
	for i := range len(s) {
		if !canonical.IsAlphanumeric(s[i]) {
			return false
		}
	}
	return true
}

// withChecksum returns s followed by its CRC-32, as six base62 digits.
func withChecksum(s string) string {
	sum := crc32.ChecksumIEEE([]byte(s))
	var digits [checksumLength]byte
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = base62[sum%62]
		sum /= 62
	}
	return s + string(digits[:])
}

// randomBase62 returns n random characters. The remainder of a random byte, divided by 62, selects
// each character. randomBase62 drops each byte that is 4*62 or greater. With these bytes, some
// characters would be more likely than others.
func randomBase62(n int) string {
	random := make([]byte, 0, n)
	var buffer [64]byte
	for {
		rand.Read(buffer[:]) // never fails: it ends the program instead
		for _, b := range buffer {
			if b >= 4*62 {
				continue
			}
			random = append(random, base62[b%62])
			if len(random) == n {
				return string(random)
			}
		}
	}
}
