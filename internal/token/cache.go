package token

import (
	"fmt"
	"hash/maphash"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sallyport-go/auth/internal/signing"
)

// Cache remembers tokens whose signatures were verified, so that the next request with the same
// token verifies no signature. It does not remember that a token is valid: the times of a token and
// its session are checked each time. A nil Cache remembers nothing.
//
// The cache is a table of buckets with a few places each. The hash of a token, computed with a
// random seed of this process, selects the bucket of the token. A reader takes no lock, allocates
// nothing, and compares the whole token, never only the hash. A full bucket first drops a token
// that was not asked for again. So many tokens that are seen once do not drive out the tokens that
// are seen often.
type Cache struct {
	seed    maphash.Seed
	buckets []bucket

	adding sync.Mutex // orders the writers; verifying the signature took longer than this lock
}

const (
	tokensPerBucket = 8

	// tokenBytes is the greatest mean length of the tokens in a bucket. A bucket with longer tokens
	// contains fewer tokens.
	tokenBytes = 1024

	// hashedBytes is the number of bytes at the end of a token that are hashed. These bytes belong
	// to the signature, which nobody can choose without the key.
	hashedBytes = 32
)

type bucket [tokensPerBucket]atomic.Pointer[Verified]

// Verified is a token whose signature was good.
type Verified struct {
	Claims
	text string
	hash uint64
	ring *signing.Ring // the keys that verified the token; with other keys it proves nothing

	// wanted is whether the token was asked for since it was added. It becomes false again when
	// another token is added to a bucket in which every token is wanted.
	wanted atomic.Bool

	// Checked is for the caller. It is the version of the caller's set of revoked sessions at which
	// the token's session was last found not to be in the set. 0 means that the session was never
	// looked up.
	Checked atomic.Uint64
}

const (
	defaultSize = 1 << 14
	maxSize     = 1 << 24
)

// NewCache returns a cache for at least size tokens. Zero means 16384. -1 means none, and the
// result is nil.
func NewCache(size int) (*Cache, error) {
	switch {
	case size == 0:
		size = defaultSize
	case size == -1:
		return nil, nil
	case size < -1 || size > maxSize:
		return nil, fmt.Errorf("auth: CacheSize must be from 1 to %d, or -1 for no cache", maxSize)
	}
	buckets := (size + tokensPerBucket - 1) / tokensPerBucket
	return &Cache{
		seed:    maphash.MakeSeed(),
		buckets: make([]bucket, 1<<bits.Len(uint(buckets-1))), // a power of two
	}, nil
}

func (c *Cache) hash(token string) uint64 {
	return maphash.String(c.seed, token[max(0, len(token)-hashedBytes):])
}

func (c *Cache) bucket(hash uint64) *bucket {
	return &c.buckets[hash&uint64(len(c.buckets)-1)]
}

// Find returns the token if this ring has verified it, or nil. It does not check the times.
func (c *Cache) Find(token string, ring *signing.Ring) *Verified {
	if c == nil {
		return nil
	}
	hash := c.hash(token)
	bucket := c.bucket(hash)
	for i := range bucket {
		v := bucket[i].Load()
		if v != nil && v.hash == hash && v.ring == ring && v.text == token {
			if !v.wanted.Load() { // an unneeded store would make processors contend for the cache line
				v.wanted.Store(true)
			}
			return v
		}
	}
	return nil
}

// add returns the token, which ring has verified, and remembers it. It may drop another token.
func (c *Cache) add(token string, ring *signing.Ring, claims Claims, now int64) *Verified {
	if c == nil {
		return &Verified{Claims: claims}
	}
	v := &Verified{
		Claims: claims,
		text:   strings.Clone(token), // token is part of a header, which must not stay in memory
		hash:   c.hash(token),
		ring:   ring,
	}
	bucket := c.bucket(v.hash)

	c.adding.Lock()
	defer c.adding.Unlock()
	place := bucket.place(v, now)
	bucket[place].Store(v)
	bucket.shrink(place)
	return v
}

// place returns the place in the bucket for the token. It is the first of these places that exists:
//
//   - the place that the token already has
//   - a place that is empty, or whose token has expired or was verified by an older ring
//   - the place of a token that nobody has asked for since it was added
func (b *bucket) place(v *Verified, now int64) int {
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
		b[i].Load().wanted.Store(false) // Find sets wanted again for tokens in use
	}
	return int(v.hash >> 32 % tokensPerBucket) // unsigned, because int may have 32 bits
}

// shrink removes tokens until the rest is not too long. It does not remove the token in the given
// place.
func (b *bucket) shrink(keep int) {
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
