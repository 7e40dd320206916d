package secrethash_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport-go/auth/internal/secrethash"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/argon2"
)

// The npm package argon2 writes m,p,t, and @phc/argon2 writes t,m,p.
func TestArgon2ParametersOfAnImportMayBeInAnyOrder(t *testing.T) {
	t.Parallel()
	hasher, err := secrethash.New(nil)
	require.NoError(t, err)
	sum := argon2.IDKey([]byte("correct horse"), []byte("01234567"), 2, 8192, 3, 16)
	tail := "$" + salt + "$" + base64.RawStdEncoding.EncodeToString(sum)
	want := "$argon2id$v=19$m=8192,t=2,p=3" + tail
	for _, params := range []string{
		"m=8192,t=2,p=3", "m=8192,p=3,t=2", "t=2,m=8192,p=3", "t=2,p=3,m=8192", "p=3,m=8192,t=2", "p=3,t=2,m=8192",
	} {
		stored, err := secrethash.Imported("$argon2id$v=19$" + params + tail)
		require.NoError(t, err, params)
		require.Equal(t, want, stored, params)
	}
	match, stale := hasher.Slow.Match(want, "u", "k", "correct horse")
	require.True(t, match)
	require.True(t, stale)
}

func TestAnImportedBcryptHashVerifiesOrIsRefused(t *testing.T) {
	t.Parallel()
	hasher, err := secrethash.New(nil)
	require.NoError(t, err)
	const head, tail = "$2a$10$k87L/MF28Q673VKh8/cPi", "SUl7MU/rWuSiIDDFayrKk/1tBsSQu4"
	for text, verifies := range map[string]bool{
		head + "." + tail + "u": true,
		head + "." + tail + "v": false, // the checksum has stray bits
		head + "." + tail + "w": false,
		head + "." + tail + "x": false,
	} {
		stored, err := secrethash.Imported(text)
		require.Equal(t, verifies, err == nil, text)
		if verifies {
			match, _ := hasher.Slow.Match(stored, "u", "k", "a")
			require.True(t, match, text)
			require.Equal(t, text, stored)
		}
	}
	// Package bcrypt ignores stray bits of the salt, so a hash that has them verifies.
	stored, err := secrethash.Imported(head + "/" + tail + "u")
	require.NoError(t, err)
	match, _ := hasher.Slow.Match(stored, "u", "k", "a")
	require.True(t, match)
}

func TestAHashThatCannotBeImportedSaysWhatIsNeeded(t *testing.T) {
	t.Parallel()
	const needsBcrypt, needsArgon2 = "must be a complete bcrypt hash", "must be a complete argon2id hash"
	const needsEither = "must be bcrypt ($2a$, $2b$ or $2y$) or argon2id ($argon2id$)"
	tail := "$" + salt + "$" + hash
	for name, test := range map[string]struct{ text, want string }{
		"nothing":                   {"", needsEither},
		"a secret":                  {"correct horse", needsEither},
		"argon2i":                   {"$argon2i$v=19$m=8192,t=1,p=1" + tail, needsEither},
		"a bound form":              {"$argon2id-bound$v=19$m=8192,t=1,p=1" + tail, needsEither},
		"a fast form":               {"$sha256$v=1$" + digest43, needsEither},
		"an imported SHA-256":       {"$sha256-imported$v=1$" + digest43, needsEither},
		"bcrypt of cost 31":         {"$2b$31$" + bcrypt53, needsBcrypt},
		"bcrypt 2x":                 {"$2x$10$" + bcrypt53, needsBcrypt},
		"bcrypt cut off":            {"$2b$10$" + bcrypt53[:52], needsBcrypt},
		"bcrypt with a line break":  {"$2b$10$" + bcrypt53 + "\n", needsBcrypt},
		"no argon2 version":         {"$argon2id$m=8192,t=1,p=1" + tail, needsArgon2},
		"argon2 version 16":         {"$argon2id$v=16$m=8192,t=1,p=1" + tail, needsArgon2},
		"a parameter twice":         {"$argon2id$v=19$m=8192,t=1,t=1" + tail, needsArgon2},
		"a parameter twice, others": {"$argon2id$v=19$t=1,m=8192,p=1,t=1" + tail, needsArgon2},
		"an unknown parameter":      {"$argon2id$v=19$data=AA,m=8192,t=1,p=1" + tail, needsArgon2},
		"a pepper":                  {"$argon2id$v=19$k=p,m=8192,t=1,p=1" + tail, needsArgon2},
		"an empty parameter":        {"$argon2id$v=19$,m=8192,t=1,p=1" + tail, needsArgon2},
		"no parameters":             {"$argon2id$v=19$" + tail, needsArgon2},
		"a parameter less":          {"$argon2id$v=19$p=1,m=8192" + tail, needsArgon2},
		"t=0, a panic":              {"$argon2id$v=19$t=0,m=8192,p=1" + tail, needsArgon2},
		"too few parts":             {"$argon2id$v=19$m=8192,t=1,p=1$" + salt, needsArgon2},
		"no parts":                  {"$argon2id$", needsArgon2},
		"a padded salt":             {"$argon2id$v=19$m=8192,t=1,p=1$" + salt + "=$" + hash, needsArgon2},
		"256 bytes":                 {"$argon2id$v=19$m=8192,t=1,p=1$" + strings.Repeat("A", 256), needsArgon2},
	} {
		_, err := secrethash.Imported(test.text)
		require.ErrorContains(t, err, test.want, name)
		require.NotContains(t, fmt.Sprint(err), "correct")
	}
}
