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

// Cache remembers tokens whose signatures were verified, so that the next request with one of them
// verifies no signature. It does not remember that a token is valid: the times of a token and its
// session are checked each time. A nil Cache remembers nothing.
//
// The cache is a table of buckets with a few places each. The hash of a token, under a seed of this
// process, says into which bucket it goes. A reader takes no lock, allocates nothing, and compares
// the whole token, never only the hash. In a full bucket, a token that was not asked for again goes
// first, so that many tokens seen once do not drive out the tokens that are seen often.
type Cache struct {
	seed    maphash.Seed
	buckets []bucket

	adding sync.Mutex // orders the writers, for whom verifying the signature took longer
}

const (
	tokensPerBucket = 8

	// tokenBytes is the greatest mean length of the tokens in a bucket. A bucket with longer tokens
	// has fewer of them.
	tokenBytes = 1024

	// hashedBytes is how much of a token's end is hashed. It is part of the signature, which nobody
	// chooses without the key.
	hashedBytes = 32
)

type bucket [tokensPerBucket]atomic.Pointer[Verified]

// Verified is a token whose signature was good.
type Verified struct {
	Claims
	text string
	hash uint64
	ring *signing.Ring // the keys that verified the token; for another ring it proves nothing

	// wanted is whether the token was asked for since it was added, or since its bucket last had no
	// place left.
	wanted atomic.Bool

	// Checked is for the caller: the version of its knowledge of revoked sessions at which the
	// token's session was not among them. 0 means that they were never compared.
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
			if !v.wanted.Load() { // if each reader stored it, processors would contend for it
				v.wanted.Store(true)
			}
			return v
		}
	}
	return nil
}

// add returns the token, which ring has verified, and remembers it. Another token may have to go.
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

// place returns where the token goes. It takes the first of these places that exists: the place
// that the token already has; an empty place, or that of a token that has expired or was verified
// by an older ring; the place of a token that nobody has asked for since it was added.
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
		b[i].Load().wanted.Store(false) // Find sets it again for tokens in use
	}
	return int(v.hash >> 32 % tokensPerBucket) // unsigned, because int may have 32 bits
}

// shrink removes tokens, but not the one in the given place, until the rest is not too long.
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
