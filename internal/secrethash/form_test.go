package secrethash_test

import (
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/sallyport-go/auth/internal/secrethash"
	"github.com/stretchr/testify/require"
)

const (
	digest43 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" // 32 zero bytes
	salt     = "MDEyMzQ1Njc"                                 // 8 bytes
	hash     = "MDEyMzQ1Njc4OWFiY2RlZg"                      // 16 bytes
	bcrypt53 = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWX./2"
)

func TestEveryFormIsTakenApart(t *testing.T) {
	t.Parallel()
	longID := strings.Repeat("x", 32)
	argon2 := secrethash.Argon2{Memory: 8192, Time: 1, Threads: 1, Salt: []byte("01234567"),
		Hash: []byte("0123456789abcdef")}
	most := secrethash.Argon2{Memory: 65536, Time: 4, Threads: 4, Salt: make([]byte, 64),
		Hash: make([]byte, 64)}
	zeros := strings.Repeat("A", 86)
	for stored, want := range map[string]secrethash.Form{
		"$sha256$v=1$" + digest43:                                      {Kind: secrethash.KindSHA256, Digest: make([]byte, 32)},
		"$sha256-imported$v=1$" + digest43:                             {Kind: secrethash.KindImportedSHA256, Digest: make([]byte, 32)},
		"$hmac-sha256$v=1$k=p1$" + digest43:                            {Kind: secrethash.KindHMAC, Pepper: "p1", Digest: make([]byte, 32)},
		"$hmac-sha256$v=1$k=" + longID + "$" + digest43:                {Kind: secrethash.KindHMAC, Pepper: longID, Digest: make([]byte, 32)},
		"$argon2id$v=19$m=8192,t=1,p=1$" + salt + "$" + hash:           {Kind: secrethash.KindArgon2, Argon2: argon2},
		"$argon2id-bound$v=19$m=8192,t=1,p=1$" + salt + "$" + hash:     {Kind: secrethash.KindArgon2Bound, Argon2: argon2},
		"$argon2id-bound$v=19$m=8192,t=1,p=1,k=a$" + salt + "$" + hash: {Kind: secrethash.KindArgon2Bound, Pepper: "a", Argon2: argon2},
		"$argon2id$v=19$m=65536,t=4,p=4$" + zeros + "$" + zeros:        {Kind: secrethash.KindArgon2, Argon2: most},
	} {
		form, err := secrethash.Parse(stored)
		require.NoError(t, err, stored)
		require.Equal(t, want, form, stored)
	}
	for _, prefix := range []string{"$2a$10$", "$2b$11$", "$2y$13$"} {
		form, err := secrethash.Parse(prefix + bcrypt53)
		require.NoError(t, err, prefix)
		require.Equal(t, secrethash.KindBcrypt, form.Kind)
	}
	require.Equal(t, "$sha256-imported$v=1$"+digest43, secrethash.ImportedSHA256([sha256.Size]byte{}))
}

// A form must have only one spelling. Otherwise, a store could contain two texts for the same hash.
// A form that costs too much to compute could stop the service.
func TestAFormThatIsMisspelledOrOutOfBoundsIsRefused(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("A", 87)
	for name, stored := range map[string]string{
		"nothing":                     "",
		"a secret":                    "correct horse",
		"no dollar":                   "sha256$v=1$" + digest43,
		"an unknown kind":             "$md5$v=1$" + digest43,
		"a kind in capitals":          "$SHA256$v=1$" + digest43,
		"256 bytes":                   "$sha256$v=1$" + strings.Repeat("A", 244),
		"another version":             "$sha256$v=2$" + digest43,
		"no version":                  "$sha256$" + digest43,
		"no digest":                   "$sha256$v=1",
		"only a kind":                 "$sha256",
		"an imported one, no digest":  "$sha256-imported$v=1",
		"an imported one of v=2":      "$sha256-imported$v=2$" + digest43,
		"an HMAC of a kind only":      "$hmac-sha256",
		"an HMAC of a version only":   "$hmac-sha256$v=1",
		"an HMAC without its digest":  "$hmac-sha256$v=1$k=p1",
		"argon2id of a kind only":     "$argon2id",
		"argon2id of a version only":  "$argon2id$v=19",
		"argon2id of parameters only": "$argon2id$v=19$m=8192,t=1,p=1",
		"a bound one without a hash":  "$argon2id-bound$v=19$m=8192,t=1,p=1$" + salt,
		"a bound one of version 16":   "$argon2id-bound$v=16$m=8192,t=1,p=1$" + salt + "$" + hash,
		"argon2id with a part more":   "$argon2id$v=19$m=8192,t=1,p=1$" + salt + "$" + hash + "$" + hash,
		"a part more":                 "$sha256$v=1$" + digest43 + "$",
		"a digest of 31 bytes":        "$sha256$v=1$" + digest43[:42],
		"a padded digest":             "$sha256$v=1$" + digest43 + "=",
		"a digest with stray bits":    "$sha256$v=1$" + digest43[:42] + "B",
		"a digest with a line break":  "$sha256$v=1$" + digest43[:42] + "\nA",
		"a digest in hexadecimal":     "$sha256$v=1$" + strings.Repeat("0", 64),
		"HMAC without a pepper":       "$hmac-sha256$v=1$" + digest43,
		"HMAC of no pepper":           "$hmac-sha256$v=1$k=$" + digest43,
		"HMAC without its k":          "$hmac-sha256$v=1$p1$" + digest43,
		"HMAC of another version":     "$hmac-sha256$v=2$k=p1$" + digest43,
		"HMAC of a pepper of 33":      "$hmac-sha256$v=1$k=" + strings.Repeat("x", 33) + "$" + digest43,
		"HMAC of a pepper to quote":   "$hmac-sha256$v=1$k=a,b$" + digest43,
		"HMAC of 31 bytes":            "$hmac-sha256$v=1$k=p1$" + digest43[:42],
		"argon2i":                     "$argon2i$v=19$m=8192,t=1,p=1$" + salt + "$" + hash,
		"argon2id of version 16":      "$argon2id$v=16$m=8192,t=1,p=1$" + salt + "$" + hash,
		"argon2id without a version":  "$argon2id$m=8192,t=1,p=1$" + salt + "$" + hash,
		"argon2id without its hash":   "$argon2id$v=19$m=8192,t=1,p=1$" + salt,
		"argon2id below 8 MiB":        "$argon2id$v=19$m=8191,t=1,p=1$" + salt + "$" + hash,
		"argon2id above 64 MiB":       "$argon2id$v=19$m=65537,t=1,p=1$" + salt + "$" + hash,
		"argon2id of 2^32 KiB":        "$argon2id$v=19$m=4294967296,t=1,p=1$" + salt + "$" + hash,
		"argon2id of t=0, a panic":    "$argon2id$v=19$m=8192,t=0,p=1$" + salt + "$" + hash,
		"argon2id of t=5":             "$argon2id$v=19$m=8192,t=5,p=1$" + salt + "$" + hash,
		"argon2id of p=0, a panic":    "$argon2id$v=19$m=8192,t=1,p=0$" + salt + "$" + hash,
		"argon2id of p=5":             "$argon2id$v=19$m=8192,t=1,p=5$" + salt + "$" + hash,
		"a number with a zero":        "$argon2id$v=19$m=08192,t=1,p=1$" + salt + "$" + hash,
		"a number with a sign":        "$argon2id$v=19$m=+8192,t=1,p=1$" + salt + "$" + hash,
		"no number":                   "$argon2id$v=19$m=,t=1,p=1$" + salt + "$" + hash,
		"parameters in another order": "$argon2id$v=19$t=1,m=8192,p=1$" + salt + "$" + hash,
		"a parameter less":            "$argon2id$v=19$m=8192,t=1$" + salt + "$" + hash,
		"a parameter more":            "$argon2id-bound$v=19$m=8192,t=1,p=1,k=a,x=1$" + salt + "$" + hash,
		"a pepper in an imported one": "$argon2id$v=19$m=8192,t=1,p=1,k=a$" + salt + "$" + hash,
		"a bound one of no pepper":    "$argon2id-bound$v=19$m=8192,t=1,p=1,k=$" + salt + "$" + hash,
		"a bound one without k":       "$argon2id-bound$v=19$m=8192,t=1,p=1,x=1$" + salt + "$" + hash,
		"a salt of 7 bytes":           "$argon2id$v=19$m=8192,t=1,p=1$MDEyMzQ1Ng$" + hash,
		"a salt of 65 bytes":          "$argon2id$v=19$m=8192,t=1,p=1$" + long + "$" + hash,
		"a salt of base64url":         "$argon2id$v=19$m=8192,t=1,p=1$____________$" + hash,
		"a hash of 15 bytes":          "$argon2id$v=19$m=8192,t=1,p=1$" + salt + "$MDEyMzQ1Njc4OWFiY2Rl",
		"a hash of 65 bytes":          "$argon2id$v=19$m=8192,t=1,p=1$" + salt + "$" + long,
		"bcrypt of cost 9":            "$2b$09$" + bcrypt53,
		"bcrypt of cost 14":           "$2b$14$" + bcrypt53,
		"bcrypt of cost 31, a day":    "$2b$31$" + bcrypt53,
		"bcrypt of no cost":           "$2b$xx$" + bcrypt53,
		"bcrypt 2x":                   "$2x$10$" + bcrypt53,
		"bcrypt without a letter":     "$2$10$" + bcrypt53 + "a",
		"bcrypt of 59 bytes":          "$2b$10$" + bcrypt53[1:],
		"bcrypt of 61 bytes":          "$2b$10$" + bcrypt53 + "a",
		"bcrypt with a stray bit":     "$2b$10$" + bcrypt53[:52] + "3",
		"bcrypt with stray bits":      "$2b$10$" + bcrypt53[:52] + "1",
		"bcrypt with a plus":          "$2b$10$" + bcrypt53[1:] + "+",
		"bcrypt without its dollars":  "$2b.10$" + bcrypt53,
		"bcrypt without its third":    "$2b$10." + bcrypt53,
	} {
		_, err := secrethash.Parse(stored)
		require.ErrorIs(t, err, secrethash.ErrForm, name)
	}
}
