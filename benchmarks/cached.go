package benchmarks

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"hash"
	"sync"
	"time"
)

// cachedJWT returns a middleware that caches the results of golang-jwt for ten seconds. The cache
// has the design of the token cache in the Kubernetes API server. The key of an entry is an HMAC of
// the token, made with a random key of the process. The entries are spread over 32 maps, each with
// its own lock.
func cachedJWT(k Keys, alg string) (Middleware, error) {
	parse := parseGolangJWT(k, alg)
	c := newTokenCache()
	return byHand(func(token string) (any, error) {
		key := c.key(token)
		if found := c.get(key); found != nil {
			return found, nil
		}
		found, err := parse(token)
		if err == nil {
			c.put(key, found)
		}
		return found, err
	}), nil
}

const cachedFor = 10 * time.Second

type cacheKey [sha256.Size]byte

type tokenCache struct {
	hashes  sync.Pool
	stripes [32]struct {
		sync.RWMutex
		entries map[cacheKey]cacheEntry
	}
}

type cacheEntry struct {
	claims *claims
	until  time.Time
}

func newTokenCache() *tokenCache {
	var secret [32]byte
	rand.Read(secret[:])
	c := &tokenCache{hashes: sync.Pool{New: func() any { return hmac.New(sha256.New, secret[:]) }}}
	for i := range c.stripes {
		c.stripes[i].entries = map[cacheKey]cacheEntry{}
	}
	return c
}

func (c *tokenCache) key(token string) (key cacheKey) {
	h := c.hashes.Get().(hash.Hash)
	defer c.hashes.Put(h)
	h.Reset()
	h.Write([]byte(token))
	h.Sum(key[:0])
	return key
}

func (c *tokenCache) get(key cacheKey) *claims {
	stripe := &c.stripes[key[0]%32]
	stripe.RLock()
	defer stripe.RUnlock()
	entry := stripe.entries[key]
	if entry.claims == nil || !time.Now().Before(entry.until) {
		return nil
	}
	return entry.claims
}

func (c *tokenCache) put(key cacheKey, found *claims) {
	stripe := &c.stripes[key[0]%32]
	stripe.Lock()
	defer stripe.Unlock()
	stripe.entries[key] = cacheEntry{found, time.Now().Add(cachedFor)}
}
