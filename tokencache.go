package auth

import (
	"fmt"
	"hash/maphash"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sallyport-go/auth/internal/signing"
)

// tokenCache remembers what has been found out about tokens by verifying their
// signatures, so that it need not be found out again. Whether a token has expired,
// and whether its session is live, is asked each time.
//
// It is a table of buckets with a few places each. A token belongs into one bucket,
// whichever hash says so under a seed of this process; whoever reads takes no lock
// and allocates nothing, and compares the whole token, never only the hash. In a
// full bucket a token that nobody has asked for again goes first, so that many
// tokens that are seen once do not drive out the ones that are seen often.
type tokenCache struct {
	seed    maphash.Seed
	buckets []tokenBucket

	adding sync.Mutex // orders those who add; a signature has cost them more
}

const (
	tokensPerBucket = 8

	// tokenBytes is how long tokens are on the average, at the most: a bucket that
	// has longer ones has fewer of them.
	tokenBytes = 1024

	// hashedBytes is how much of a token's end is hashed. It is of the signature,
	// which nobody chooses without the key.
	hashedBytes = 32
)

type tokenBucket [tokensPerBucket]atomic.Pointer[verifiedToken]

// verifiedToken is a token whose signature was good.
type verifiedToken struct {
	tokenClaims
	text string
	hash uint64
	ring *signing.Ring // whose keys verified it; for any other ring it proves nothing

	// wanted is whether it has been asked for since it came in, or since places
	// last ran out.
	wanted atomic.Bool

	// checked is the version of what is known of revoked sessions at which the token's
	// was none of them; 0 for never.
	checked atomic.Uint64
}

const (
	defaultCacheSize = 1 << 14
	maxCacheSize     = 1 << 24
)

// cacheSize returns the size of a cache as configured.
func cacheSize(configured int) (int, error) {
	switch {
	case configured == 0:
		return defaultCacheSize, nil
	case configured < -1 || configured > maxCacheSize:
		return 0, fmt.Errorf("auth: CacheSize must be from 1 to %d, or -1 for no cache", maxCacheSize)
	}
	return configured, nil
}

// newTokenCache returns a cache of at least that many tokens, nil for none.
func newTokenCache(size int) *tokenCache {
	if size <= 0 {
		return nil
	}
	buckets := (size + tokensPerBucket - 1) / tokensPerBucket
	return &tokenCache{
		seed:    maphash.MakeSeed(),
		buckets: make([]tokenBucket, 1<<bits.Len(uint(buckets-1))), // a power of two
	}
}

func (c *tokenCache) hash(token string) uint64 {
	return maphash.String(c.seed, token[max(0, len(token)-hashedBytes):])
}

func (c *tokenCache) bucket(hash uint64) *tokenBucket {
	return &c.buckets[hash&uint64(len(c.buckets)-1)]
}

// find returns what is known of the token from this ring, or nil.
func (c *tokenCache) find(token string, ring *signing.Ring) *verifiedToken {
	if c == nil {
		return nil
	}
	hash := c.hash(token)
	bucket := c.bucket(hash)
	for i := range bucket {
		v := bucket[i].Load()
		if v != nil && v.hash == hash && v.ring == ring && v.text == token {
			if !v.wanted.Load() { // or all who read would write
				v.wanted.Store(true)
			}
			return v
		}
	}
	return nil
}

// add remembers a token that ring has verified, at the expense of others, and
// returns it.
func (c *tokenCache) add(token string, ring *signing.Ring, claims tokenClaims, now int64) *verifiedToken {
	if c == nil {
		return &verifiedToken{tokenClaims: claims}
	}
	v := &verifiedToken{
		tokenClaims: claims,
		text:        strings.Clone(token), // not the request that it came in
		hash:        c.hash(token),
		ring:        ring,
	}
	bucket := c.bucket(v.hash)

	c.adding.Lock()
	defer c.adding.Unlock()
	place := bucket.place(v, now)
	bucket[place].Store(v)
	bucket.shrink(place)
	return v
}

// place returns where the token is to go: where it is already, where there is
// nothing, or nothing of use, or else what is wanted least.
func (b *tokenBucket) place(v *verifiedToken, now int64) int {
	free, unwanted := -1, -1
	for i := range b {
		switch old := b[i].Load(); {
		case old != nil && old.text == v.text:
			return i
		case old == nil || old.ring != v.ring || old.times.expiresAt <= now:
			free = i
		case !old.wanted.Load():
			unwanted = i
		}
	}
	switch {
	case free >= 0:
		return free
	case unwanted >= 0:
		return unwanted
	}
	for i := range b {
		b[i].Load().wanted.Store(false) // whoever is wanted still will be asked for
	}
	return int(v.hash>>32) % tokensPerBucket
}

// shrink removes tokens, but for the one in the given place, until the others are
// not too long together.
func (b *tokenBucket) shrink(keep int) {
	total := 0
	for i := range tokensPerBucket {
		at := &b[(keep+i)%tokensPerBucket]
		v := at.Load()
		if v == nil {
			continue
		}
		if total += len(v.text); total > tokensPerBucket*tokenBytes {
			total -= len(v.text)
			at.Store(nil)
		}
	}
}

// verifyOnce is verify with a cache of the tokens that the ring has verified: of a cached
// token only the times are checked. Hit reports whether the token was in the cache.
func (v *tokenVerifier) verifyOnce(cache *tokenCache, ring *signing.Ring, token string, now int64) (known *verifiedToken, hit bool, err error) {
	if known := cache.find(token, ring); known != nil {
		return known, true, v.checkTimes(known.times, now)
	}
	claims, err := v.verify(ring, token, now)
	if err != nil {
		return nil, false, err
	}
	return cache.add(token, ring, claims, now), false, nil
}
