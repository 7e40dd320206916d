package token_test

import (
	"crypto/rand"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/internal/token"
	"github.com/stretchr/testify/require"
)

// cached is a Cache, and a fixture that makes tokens for it.
type cached struct {
	*fixture
	cache *token.Cache
	other *signing.Ring // another ring with the same keys
}

func newCached(t testing.TB, size int) *cached {
	t.Helper()
	cache, err := token.NewCache(size)
	require.NoError(t, err)
	f := newFixture(t, newKeys(t)["HS256"])
	return &cached{f, cache, newRing(t, f.key)}
}

// token returns a new valid token that expires at the given second.
func (c *cached) token(t testing.TB, expires int64) string {
	t.Helper()
	who := alice()
	who.SessionID, who.ExpiresAt = rand.Text(), time.Unix(expires, 0)
	text, err := token.Sign(t.Context(), c.key, c.Type, token.NewPrefix(issuer, audience), &who, 0, false)
	require.NoError(t, err)
	return text
}

// padded returns a valid token of almost the maximum length.
func (c *cached) padded(t testing.TB) string {
	t.Helper()
	return c.forge(t, c.header(nil),
		c.claims(map[string]any{"jti": rand.Text(), "username": strings.Repeat("x", 2800)}))
}

// add verifies the token at the given second, which adds the token to the cache.
func (c *cached) add(t testing.TB, text string, ring *signing.Ring, at int64) *token.Verified {
	t.Helper()
	known, hit, err := c.Verify(c.cache, ring, text, at)
	require.NoError(t, err)
	require.False(t, hit)
	return known
}

func (c *cached) has(text string) bool { return c.cache.Find(text, c.ring) != nil }

func TestACachedTokenIsVerifiedOnce(t *testing.T) {
	t.Parallel()
	c := newCached(t, 8)
	text := c.sign(t)
	first := c.add(t, text, c.ring, now)
	first.Checked.Store(5)
	second, hit, err := c.Verify(c.cache, c.ring, strings.Clone(text), now)
	require.NoError(t, err)
	require.True(t, hit)
	require.Same(t, first, second)
	require.EqualValues(t, 5, second.Checked.Load())
	require.Equal(t, alice(), second.Identity)
}

func TestTheTimesOfACachedTokenAreCheckedAgain(t *testing.T) {
	t.Parallel()
	c := newCached(t, 8)
	text := c.sign(t)
	c.add(t, text, c.ring, now)
	for at, want := range map[int64]error{
		now + 3599: nil, now + 3600: token.ErrExpired, now - 30: nil, now - 31: token.ErrLifetime,
	} {
		_, hit, err := c.Verify(c.cache, c.ring, text, at)
		require.True(t, hit)
		require.ErrorIs(t, err, want, "%d", at-now)
	}
}

func TestARejectedTokenIsNotCached(t *testing.T) {
	t.Parallel()
	c := newCached(t, 8)
	expired := c.token(t, now+1)
	for _, text := range []string{expired, c.sign(t) + "A", "x"} {
		for range 2 {
			known, hit, err := c.Verify(c.cache, c.ring, text, now+1)
			require.ErrorIs(t, err, token.ErrRejected)
			require.False(t, hit)
			require.Nil(t, known)
		}
		require.False(t, c.has(text))
	}
}

func TestTheCacheComparesTheWholeToken(t *testing.T) {
	t.Parallel()
	c := newCached(t, 1)
	text := c.sign(t)
	c.add(t, text, c.ring, now)
	require.True(t, c.has(strings.Clone(text)))
	for i := range text { // only the end of a token is hashed
		other := []byte(text)
		other[i] ^= 1
		require.False(t, c.has(string(other)))
		require.False(t, c.has(text[:i]))
		require.False(t, c.has(text[i+1:]))
	}
	require.False(t, c.has("x"+text))
	require.False(t, c.has(""))
}

func TestTheCacheKnowsNothingOfATokenForOtherKeys(t *testing.T) {
	t.Parallel()
	c := newCached(t, 8)
	text := c.sign(t)
	c.add(t, text, c.ring, now)
	require.Nil(t, c.cache.Find(text, c.other))
	c.add(t, text, c.other, now)
	require.NotNil(t, c.cache.Find(text, c.other))
	require.False(t, c.has(text), "one token has one place")
}

func TestANilCacheRemembersNothing(t *testing.T) {
	t.Parallel()
	c := newCached(t, -1)
	require.Nil(t, c.cache)
	text := c.sign(t)
	for range 2 {
		require.Equal(t, alice(), c.add(t, text, c.ring, now).Identity)
	}
	require.False(t, c.has(text))
}

func TestTheSizeOfACacheIsChecked(t *testing.T) {
	t.Parallel()
	for _, size := range []int{-2, 1<<24 + 1} {
		cache, err := token.NewCache(size)
		require.EqualError(t, err, "auth: CacheSize must be from 1 to 16777216, or -1 for no cache")
		require.Nil(t, cache)
	}
	cache, err := token.NewCache(0)
	require.NoError(t, err)
	require.NotNil(t, cache)
	if !testenv.Race { // the race detector would touch all of the memory
		_, err = token.NewCache(1 << 24)
		require.NoError(t, err)
	}
}

func TestTheCacheStaysWithinItsSize(t *testing.T) {
	t.Parallel()
	for size, most := range map[int]int{1: 8, 8: 8, 9: 16, 1000: 1024, 1024: 1024} {
		c := newCached(t, size)
		var all []string
		for i := range 10 * size {
			text := c.token(t, now+60)
			if i%2 == 0 {
				text = c.padded(t)
			}
			c.add(t, text, c.ring, now)
			require.True(t, c.has(text), "the token that was added last is there")
			all = append(all, text)
		}
		tokens, bytes := 0, 0
		for _, text := range all {
			if c.has(text) {
				tokens++
				bytes += len(text)
			}
		}
		require.LessOrEqual(t, tokens, most, size)
		require.LessOrEqual(t, bytes, most*1024, size)
	}
}

func TestACacheHoldsAsManyTokensAsItsSize(t *testing.T) {
	t.Parallel()
	c := newCached(t, 8)
	var all []string
	for range 8 {
		all = append(all, c.token(t, now+60))
		c.add(t, all[len(all)-1], c.ring, now)
	}
	for _, text := range all {
		require.True(t, c.has(text))
	}
}

// The default size is 16384 tokens. So almost all of 8000 random tokens fit.
func TestTheDefaultSizeIsForThousands(t *testing.T) {
	t.Parallel()
	c := newCached(t, 0)
	var all []string
	for range 8000 {
		all = append(all, c.token(t, now+60))
		c.add(t, all[len(all)-1], c.ring, now)
	}
	found := 0
	for _, text := range all {
		if c.has(text) {
			found++
		}
	}
	require.Greater(t, found, 7000)
}

func TestLongTokensMakeRoomForTheNewest(t *testing.T) {
	t.Parallel()
	c := newCached(t, 8) // one bucket, of 8 KiB
	long := []string{c.padded(t), c.padded(t), c.padded(t)}
	require.Greater(t, len(long[0]), 8<<10/3)
	require.LessOrEqual(t, len(long[0]), 8<<10/2)
	for _, text := range long {
		c.add(t, text, c.ring, now)
	}
	require.True(t, c.has(long[2]))
	require.NotEqual(t, c.has(long[0]), c.has(long[1]), "two fit, and three do not")
}

func TestTwoOfTheLongestTokensFitIntoABucket(t *testing.T) {
	t.Parallel()
	c := newCached(t, 8)
	longest := func() string {
		for _, pad := range []string{"", "x", "xx", "xxx"} {
			for n := range 100 {
				text := c.forge(t, c.header(map[string]any{"pad": pad}),
					c.claims(map[string]any{"jti": rand.Text(), "username": strings.Repeat("x", 2750+n)}))
				if len(text) == token.MaxLength {
					return text
				}
			}
		}
		t.Fatal("no token of the greatest length")
		return ""
	}
	first, second := longest(), longest()
	c.add(t, first, c.ring, now)
	c.add(t, second, c.ring, now)
	require.True(t, c.has(first))
	require.True(t, c.has(second))
}

func TestUselessTokensMakeRoomFirst(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		expires int64
		ofOther bool
	}{
		"expired": {now + 5, false}, "of earlier keys": {now + 60, true},
	} {
		c := newCached(t, 8) // one bucket
		ring := c.ring
		if test.ofOther {
			ring = c.other
		}
		useless := c.token(t, test.expires)
		c.add(t, useless, ring, now)
		require.NotNil(t, c.cache.Find(useless, ring), "and it is wanted")
		var kept []string
		for range 7 {
			text := c.token(t, now+60)
			c.add(t, text, c.ring, now)
			kept = append(kept, text)
		}
		newest := c.token(t, now+60)
		c.add(t, newest, c.ring, now+5)
		for _, text := range append(kept, newest) {
			require.True(t, c.has(text), name)
		}
		require.Nil(t, c.cache.Find(useless, ring), name)
	}
}

func TestATokenThatIsValidForASecondIsNotUseless(t *testing.T) {
	t.Parallel()
	c := newCached(t, 8)
	short := c.token(t, now+6)
	c.add(t, short, c.ring, now)
	c.has(short) // makes the token wanted
	for range 7 {
		c.add(t, c.token(t, now+60), c.ring, now)
	}
	c.add(t, c.token(t, now+60), c.ring, now+5)
	require.True(t, c.has(short), "an unwanted token has gone instead")
}

func TestAnUnwantedTokenGoesFirst(t *testing.T) {
	t.Parallel()
	for unwanted := range 8 {
		c := newCached(t, 8)
		var all []string
		for range 8 {
			text := c.token(t, now+60)
			c.add(t, text, c.ring, now)
			all = append(all, text)
		}
		for i, text := range all {
			if i != unwanted {
				c.has(text)
			}
		}
		newest := c.token(t, now+60)
		c.add(t, newest, c.ring, now)
		for i, text := range append(all, newest) {
			require.Equal(t, i != unwanted, c.has(text), "unwanted %d, token %d", unwanted, i)
		}
	}
}

func TestAmongWantedTokensOneGoesAndAllMustProveThemselvesAnew(t *testing.T) {
	t.Parallel()
	for range 50 { // the hash decides which token is dropped
		c := newCached(t, 8)
		var all []string
		for range 8 {
			text := c.token(t, now+60)
			c.add(t, text, c.ring, now)
			require.True(t, c.has(text))
			all = append(all, text)
		}
		newest := c.token(t, now+60)
		c.add(t, newest, c.ring, now)
		next := c.token(t, now+60)
		c.add(t, next, c.ring, now) // replaces a token that is not wanted
		gone := 0
		for _, text := range append(all, newest) {
			if !c.has(text) {
				gone++
			}
		}
		require.Equal(t, 2, gone)
		require.True(t, c.has(next))
	}
}

// A client that signs in again and again, or many clients that come only once, must not push the
// tokens of other clients out of the cache.
func TestTokensSeenOnceDoNotDriveOutThoseSeenOften(t *testing.T) {
	t.Parallel()
	const size, hot, scanned = 1024, 256, 10240
	c := newCached(t, size)
	often := make([]string, hot)
	for i := range often {
		often[i] = c.token(t, now+60)
	}
	hits := 0
	for i := range scanned {
		_, hit, err := c.Verify(c.cache, c.ring, often[i%hot], now)
		require.NoError(t, err)
		if hit {
			hits++
		}
		c.add(t, c.token(t, now+60), c.ring, now)
	}
	require.Greater(t, float64(hits)/scanned, 0.9)
}

func TestAHitAllocatesNothing(t *testing.T) {
	if testenv.Race {
		t.Log("the race detector allocates as well: nothing to count")
		return
	}
	c := newCached(t, 1024)
	text := c.sign(t)
	c.add(t, text, c.ring, now)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if _, hit, err := c.Verify(c.cache, c.ring, text, now); !hit || err != nil {
			panic("a miss")
		}
	}))
}

func TestTheCacheIsSafeForManyAtOnce(t *testing.T) {
	t.Parallel()
	c := newCached(t, 64)
	shared := make([]string, 256)
	for i := range shared {
		shared[i] = c.token(t, now+60)
	}
	owner := map[string]string{}
	for _, text := range shared {
		known, err := c.verify(text)
		require.NoError(t, err)
		owner[text] = known.Identity.SessionID
	}
	rings := []*signing.Ring{c.ring, c.other}
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for n := range 500 {
				text := shared[(i*7+n)%len(shared)]
				known, _, err := c.Verify(c.cache, rings[n%2], text, now)
				if err != nil || known.Identity.SessionID != owner[text] {
					t.Errorf("the cache took one token for another: %v", err)
				}
			}
		})
	}
	all.Wait()
	tokens := 0
	for _, text := range shared {
		for _, ring := range rings {
			if c.cache.Find(text, ring) != nil {
				tokens++
			}
		}
	}
	require.LessOrEqual(t, tokens, 64)
}
