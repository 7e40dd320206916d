package auth_test

import (
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

const later = 1 << 40 // in Unix time

// someToken is as long as ours are, and like nobody else's.
func someToken() string { return strings.Repeat("x", 300) + rand.Text() + rand.Text() }

func TestTheCacheComparesTheWholeToken(t *testing.T) {
	t.Parallel()
	c := auth.NewTokenCache(8)
	token := someToken()
	c.Add(token, 0, later, 1)
	require.Equal(t, token, c.Find(strings.Clone(token), 0))
	for i := range token { // the hash is of the end alone
		other := []byte(token)
		other[i] ^= 1
		require.Empty(t, c.Find(string(other), 0))
		require.Empty(t, c.Find(token[:i], 0))
	}
	require.Empty(t, c.Find("x"+token, 0))
	require.Empty(t, c.Find("", 0))
}

func TestTheCacheKnowsNothingOfATokenForOtherKeys(t *testing.T) {
	t.Parallel()
	c := auth.NewTokenCache(8)
	token := someToken()
	c.Add(token, 0, later, 1)
	require.Empty(t, c.Find(token, 1))
	c.Add(token, 1, later, 1)
	require.Equal(t, token, c.Find(token, 1))
	require.Empty(t, c.Find(token, 0))
	tokens, _ := c.Content()
	require.Equal(t, 1, tokens, "one place for one token")
}

func TestTheCacheStaysWithinItsSize(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 8, 9, 1000, 1024} {
		c := auth.NewTokenCache(size)
		for i := range 20 * size {
			token := someToken()
			if i%2 == 0 {
				token = strings.Repeat("y", 4096-len(token)) + token
			}
			c.Add(token, 0, later, 1)
			require.Equal(t, token, c.Find(token, 0), "what was added last is there")
		}
		tokens, bytes := c.Content()
		bound := max(8, 2*size) // rounded up
		require.LessOrEqual(t, tokens, bound, size)
		require.LessOrEqual(t, bytes, bound*1024, size)
	}
}

func TestTokensThatAreNoUseMakeRoomFirst(t *testing.T) {
	t.Parallel()
	for name, useless := range map[string]struct {
		ring    int
		expires int64
	}{
		"expired": {0, 5}, "of earlier keys": {1, later},
	} {
		c := auth.NewTokenCache(8) // one bucket
		var kept []string
		for i := range 8 {
			token := someToken()
			if i == 0 {
				c.Add(token, useless.ring, useless.expires, 1)
				require.NotEmpty(t, c.Find(token, useless.ring))
				continue
			}
			c.Add(token, 0, later, 1)
			kept = append(kept, token)
		}
		c.Add(someToken(), 0, later, 5)
		for _, token := range kept {
			require.Equal(t, token, c.Find(token, 0), name)
		}
	}
}

// A client that signs in again and again, or many that come once, must not cost
// everybody else the cache.
func TestTokensSeenOnceDoNotDriveOutThoseSeenOften(t *testing.T) {
	t.Parallel()
	const size, hot, scanned = 4096, 1024, 40960
	c := auth.NewTokenCache(size)
	often := make([]string, hot)
	for i := range often {
		often[i] = someToken()
	}
	hits, asked := 0, 0
	for i := range scanned {
		token := often[i%hot]
		asked++
		if c.Find(token, 0) != "" {
			hits++
		} else {
			c.Add(token, 0, later, 1)
		}
		c.Add(someToken(), 0, later, 1)
	}
	require.Greater(t, float64(hits)/float64(asked), 0.9)
}

func TestAHitAllocatesNothing(t *testing.T) {
	c := auth.NewTokenCache(1024)
	token := someToken()
	c.Add(token, 0, later, 1)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if c.Find(token, 0) == "" {
			panic("a miss")
		}
	}))
}

func TestTheCacheIsSafeForManyAtOnce(t *testing.T) {
	t.Parallel()
	c := auth.NewTokenCache(64)
	shared := make([]string, 256)
	for i := range shared {
		shared[i] = fmt.Sprintf("%s.%d", someToken(), i)
	}
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for n := range 2000 {
				token := shared[(i*7+n)%len(shared)]
				if found := c.Find(token, n%2); found != "" && found != token {
					t.Errorf("the cache took one token for another")
				}
				c.Add(token, n%2, later, 1)
			}
		})
	}
	all.Wait()
	tokens, _ := c.Content()
	require.LessOrEqual(t, tokens, 64)
}
