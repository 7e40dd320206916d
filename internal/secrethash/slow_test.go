package secrethash_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/sallyport-go/auth/internal/secrethash"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

const (
	password = "correct horse"
	bcrypted = "$2a$10$3CMIevKJNUzdkcQbOwPmcuxKG8yNvJseVj1yl5Yvixw6ptRhH9shC" // of password, cost 10
)

// phc returns an argon2id hash as other programs write it, in the PHC format. Computing the hash
// takes 8 MiB.
func phc(kind, secret string) string {
	salt := []byte("0123456789abcdef")
	hash := argon2.IDKey([]byte(secret), salt, 1, 8192, 1, 32)
	return fmt.Sprintf("$%s$v=19$m=8192,t=1,p=1$%s$%s", kind,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(hash))
}

func TestSlowHashesAreSaltedAndSayTheirCost(t *testing.T) {
	t.Parallel()
	h := newHasher(t)
	first, second := h.Slow.Hash("u1", "key", password), h.Slow.Hash("u1", "key", password)
	require.NotEqual(t, first, second)
	require.True(t, strings.HasPrefix(first, "$argon2id-bound$v=19$m=19456,t=2,p=1$"), first)
	require.True(t, strings.HasPrefix(newHasher(t, pepper1, none).Slow.Hash("u1", "key", password),
		"$argon2id-bound$v=19$m=19456,t=2,p=1,k=p1$"))

	// The input of argon2id is a digest that also covers the user ID and the access key.
	form, err := secrethash.Parse(first)
	require.NoError(t, err)
	require.Len(t, form.Argon2.Salt, 16)
	bound := sha256.Sum256(framed("sallyport access secret v1", "u1", "key", password))
	require.Equal(t, argon2.IDKey(bound[:], form.Argon2.Salt, 2, 19456, 1, 32), form.Argon2.Hash)
}

func TestPeppersOfSlowHashesAreARing(t *testing.T) {
	t.Parallel()
	stored := newHasher(t, pepper1).Slow.Hash("u1", "key", password)
	match, stale := newHasher(t, pepper2, pepper1).Slow.Match(stored, "u1", "key", password)
	require.True(t, match)
	require.True(t, stale, "to be made anew with the first pepper")
	match, _ = newHasher(t, pepper2).Slow.Match(stored, "u1", "key", password)
	require.False(t, match, "an unknown pepper")
}

func TestImportedHashesMatchTheirSecretAndAreStale(t *testing.T) {
	t.Parallel()
	h := newHasher(t, pepper1, none)
	for name, stored := range map[string]string{
		"bcrypt 2a": bcrypted,
		"bcrypt 2b": "$2b" + bcrypted[3:],
		"bcrypt 2y": "$2y" + bcrypted[3:],
		"argon2id":  phc("argon2id", password),
		"SHA-256":   secrethash.ImportedSHA256(sha256.Sum256([]byte(password))),
	} {
		match, stale := h.Slow.Match(stored, "any user", "any key", password)
		require.True(t, match, name)
		require.True(t, stale, name)
		match, _ = h.Slow.Match(stored, "any user", "any key", password+" ")
		require.False(t, match, name)
	}
}

// The hashes of other programs can have other lengths than those of this package.
func TestAnImportedArgon2HashMatchesWhateverItsLength(t *testing.T) {
	t.Parallel()
	h := newHasher(t)
	salt := []byte("0123456789abcdef")
	for _, length := range []uint32{16, 32, 64} {
		sum := argon2.IDKey([]byte(password), salt, 1, 8192, 1, length)
		stored := fmt.Sprintf("$argon2id$v=19$m=8192,t=1,p=1$%s$%s",
			base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(sum))
		match, _ := h.Slow.Match(stored, "u1", "key", password)
		require.True(t, match, length)
		match, _ = h.Slow.Match(stored, "u1", "key", password+" ")
		require.False(t, match, length)
	}
}

// The attack: an attacker who can write to the store adds a hash that needs no pepper.
func TestImportedHashesAreRefusedUnlessNoPepperIsAllowed(t *testing.T) {
	t.Parallel()
	h := newHasher(t, pepper1)
	for name, stored := range map[string]string{
		"bcrypt":         bcrypted,
		"argon2id":       phc("argon2id", password),
		"SHA-256":        secrethash.ImportedSHA256(sha256.Sum256([]byte(password))),
		"without pepper": newHasher(t).Slow.Hash("u1", "key", password),
	} {
		match, stale := h.Slow.Match(stored, "u1", "key", password)
		require.False(t, match, name)
		require.False(t, stale, name)
	}
}

func TestAnArgon2HashOfTheBareSecretIsNotABoundOne(t *testing.T) {
	t.Parallel()
	match, _ := newHasher(t).Slow.Match(phc("argon2id-bound", password), "u1", "key", password)
	require.False(t, match)
}

func TestABcryptSecretBeyond72BytesIsRefusedNotCut(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("x", 72)
	stored, err := bcrypt.GenerateFromPassword([]byte(secret), 10)
	require.NoError(t, err)
	h := newHasher(t)
	match, _ := h.Slow.Match(string(stored), "u1", "key", secret+"y")
	require.False(t, match)
	match, _ = h.Slow.Match(string(stored), "u1", "key", secret)
	require.True(t, match)
}

func TestASlowMatchCostsOneSlowHashWhateverIsStored(t *testing.T) {
	// Not parallel: it counts what the whole process allocates.
	h := newHasher(t)
	for name, stored := range map[string]string{
		"the decoy":           h.Slow.Decoy,
		"nothing":             "",
		"an unreadable row":   "unreadable",
		"bcrypt out of range": "$2a$31$" + strings.Repeat("a", 53),
		"an unknown pepper":   "$argon2id-bound$v=19$m=19456,t=2,p=1,k=p9$" + salt + "$" + hash,
		"a fast form":         h.Fast.Decoy,
		"an imported SHA-256": secrethash.ImportedSHA256(sha256.Sum256([]byte(password))),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		h.Slow.Match(stored, "u1", "key", password)
		runtime.ReadMemStats(&after)
		memory := after.TotalAlloc - before.TotalAlloc
		require.Greater(t, memory, uint64(19<<20), "%s: the memory of argon2id", name)
		require.Less(t, memory, uint64(2*19<<20), "%s: of one hash", name)
	}
}
