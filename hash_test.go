package auth_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func TestKeysForDifferentPurposesAreDifferent(t *testing.T) {
	t.Parallel()
	key := authtest.SymmetricKey(t, "k1")
	require.NotEqual(t, auth.Derive(key, "one"), auth.Derive(key, "another"))
	require.Equal(t, auth.Derive(key, "one"), auth.Derive(key, "one"))
	require.NotEqual(t, auth.Derive(key, "one"), auth.Derive(authtest.SymmetricKey(t, "k1"), "one"))
}

func TestTheFramesOfABoundHashCannotBeShifted(t *testing.T) {
	t.Parallel()
	h, err := auth.NewHasher(nil)
	require.NoError(t, err)
	require.NotEqual(t, h.Fast("u1", "2", "3"), h.Fast("u", "12", "3"))
	require.NotEqual(t, h.Fast("u", "12", "3"), h.Fast("u", "1", "23"))
	require.Equal(t, h.Fast("u", "1", "23"), h.Fast("u", "1", "23"))
}

// FuzzStoredHash gives the decoder of stored hashes any text. It must not
// panic, and must accept nothing that is out of bounds to compute.
func FuzzStoredHash(f *testing.F) {
	hasher, err := auth.NewHasher([]auth.SymmetricKey{authtest.SymmetricKey(f, "p1"), auth.NoPepper()})
	require.NoError(f, err)
	f.Add(hasher.Fast("u", "k", "s"))
	f.Add("$sha256$v=1$" + strings.Repeat("A", 43))
	f.Add("$argon2id$v=19$m=8192,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZg")
	f.Add("$argon2id-bound$v=19$m=8192,t=1,p=1,k=p1$MDEyMzQ1Njc$MDEyMzQ1Njc4OWFiY2RlZg")
	f.Add("$argon2id$v=19$m=4294967295,t=0,p=255$$")
	f.Add("$2b$10$" + strings.Repeat("a", 53))
	f.Add("$2b$31$" + strings.Repeat("a", 53))
	f.Add("$2")
	f.Add("")
	f.Fuzz(func(t *testing.T, stored string) {
		start := time.Now()
		match, _ := hasher.MatchFast(stored, "user", "key", "another secret")
		require.False(t, match)
		require.Less(t, time.Since(start), 5*time.Second, "the fast path computes no slow hash")
		switch form := auth.ParseHash(stored); form {
		case "", "sha256", "hmac-sha256":
		case "bcrypt":
			require.Len(t, stored, 60)
			require.Contains(t, []string{"10", "11", "12", "13"}, stored[4:6])
		default:
			memory, passes, threads, salt, hash := auth.SlowCost(stored)
			require.True(t, memory >= 8192 && memory <= 65536 && passes >= 1 && passes <= 4 && threads >= 1 && threads <= 4, stored)
			require.True(t, salt >= 8 && salt <= 64 && hash >= 16 && hash <= 64, stored)
		}
	})
}
