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

// Cache remembers tokens whose signatures were verified. A later request with the same token then
// needs no verification of the signature. The cache does not know whether a token is still valid:
// the times and the session of a token must be checked on every request. A nil Cache remembers
// nothing.
//
// The cache is a table of buckets, and each bucket has places for a few tokens. A hash of the
// token, with a random seed of this process, selects the bucket. Looking up a token takes no lock
// and allocates nothing. The look-up compares the whole token, never only the hash.
//
// If a bucket is full, the cache first drops a token that no request has looked up since it was
// added. So tokens in frequent use stay in the cache, even if many other tokens are used only once.
type Cache struct {
	seed    maphash.Seed
	buckets []bucket

	adding sync.Mutex // serializes writers; held for less time than verifying a signature takes
}

const (
	tokensPerBucket = 8

	// tokenBytes is the maximum average length of the tokens in a bucket. If its tokens are longer,
	// the bucket has room for fewer of them.
	tokenBytes = 1024

	// hashedBytes is how many bytes of a token are hashed: its last 32. These bytes are part of the
	// signature, so only the owner of the signing key can choose them.
	hashedBytes = 32
)

type bucket [tokensPerBucket]atomic.Pointer[Verified]

// Verified is a token whose signature is valid.
type Verified struct {
	Claims
	text string
	hash uint64
	ring *signing.Ring // the keys that verified the token; Find needs the same ring

	// wanted is true if a request has looked up the token since it was added. If all tokens of a
	// full bucket are wanted, adding another token clears wanted in all of them.
	wanted atomic.Bool

	// Checked belongs to the caller. The caller keeps a set of revoked sessions, and the set has a
	// version. Checked is the version of the set when the caller last looked up the token's session
	// and did not find the session. Checked is 0 if there was no such look-up.
	Checked atomic.Uint64
}

const (
	defaultSize = 1 << 14
	maxSize     = 1 << 24
)

// NewCache returns a cache for at least size tokens. Zero means 16384. If size is -1, the result is
// a nil Cache, which remembers nothing.
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

// Find returns the token if the cache has it and the given ring has verified it. If not, Find
// returns nil. Find does not check the times of the token.
func (c *Cache) Find(token string, ring *signing.Ring) *Verified {
	if c == nil {
		return nil
	}
	hash := c.hash(token)
	bucket := c.bucket(hash)
	for i := range bucket {
		v := bucket[i].Load()
		if v != nil && v.hash == hash && v.ring == ring && v.text == token {
			if !v.wanted.Load() { // a needless Store would make processors contend for the cache line
				v.wanted.Store(true)
			}
			return v
		}
	}
	return nil
}

// add adds a token that was verified with a key of the given ring, and returns the added token. To
// make room, add may remove other tokens.
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
//   - the place of a token that is not wanted
//   - a place that the token's hash selects
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
		b[i].Load().wanted.Store(false) // for tokens in use, Find sets wanted again
	}
	return int(v.hash >> 32 % tokensPerBucket) // calculated as uint64, because int may have 32 bits
}

// shrink removes tokens until the total length of the tokens is at most tokensPerBucket*tokenBytes.
// It does not remove the token at the index keep.
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
