package secrethash

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
)

// The errors of [Imported]. Each text continues a sentence that begins with the name of a field.
var (
	errBcrypt = errors.New("must be a complete bcrypt hash: $2a$, $2b$ or $2y$, cost 10 to 13, " +
		"60 characters, no bits set after the checksum")
	errArgon2 = errors.New("must be a complete argon2id hash: v=19, then m from 8192 to 65536, t and p " +
		"from 1 to 4, each once, then a salt of 8 to 64 bytes and a hash of 16 to 64 bytes, both in " +
		"base64 without padding")
	errImported = errors.New("must be bcrypt ($2a$, $2b$ or $2y$) or argon2id ($argon2id$)")
)

// Imported returns the stored form of a bcrypt or argon2id hash that another program made. The
// parameters m, t and p of an argon2id hash may be in any order, because programs differ. The stored
// form has them in the order of this package.
//
// Imported returns an error unless [Scheme.Match] of [Hasher.Slow] can verify the hash. The text of
// the error contains no part of the hash.
func Imported(hash string) (stored string, err error) {
	const argon2 = "$" + string(KindArgon2) + "$"
	parts := strings.Split(hash, "$") // "", the kind, the version, the parameters, the salt, the hash
	if strings.HasPrefix(hash, argon2) && len(parts) == 6 {
		params := strings.Split(parts[3], ",")
		slices.SortFunc(params, func(a, b string) int { return cmp.Compare(argon2Rank(a), argon2Rank(b)) })
		parts[3] = strings.Join(params, ",")
		hash = strings.Join(parts, "$")
	}
	form, err := Parse(hash)
	switch {
	case err == nil && (form.Kind == KindArgon2 || form.Kind == KindBcrypt):
		return hash, nil
	case strings.HasPrefix(hash, argon2):
		return "", errArgon2
	case strings.HasPrefix(hash, "$2"):
		return "", errBcrypt
	}
	return "", errImported
}

// argon2Rank returns the position of a parameter in the stored form.
func argon2Rank(param string) int {
	name, _, _ := strings.Cut(param, "=")
	return strings.Index("mtp", name)
}

// ImportedSHA256 returns the stored form of a secret that another service has generated. The digest
// is the SHA-256 digest of the secret.
func ImportedSHA256(digest [sha256.Size]byte) string {
	return "$" + string(KindImportedSHA256) + "$v=1$" + base64.RawURLEncoding.EncodeToString(digest[:])
}
