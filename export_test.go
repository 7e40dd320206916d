package auth

import (
	"time"

	"github.com/sallyport-go/auth/internal/signing"
)

// What the tests look at from the inside.

// TokenCache is a cache of tokens alone, with one ring of keys and another.
type TokenCache struct {
	cache *tokenCache
	rings [2]*signing.Ring
}

func NewTokenCache(size int) *TokenCache {
	return &TokenCache{newTokenCache(size), [2]*signing.Ring{new(signing.Ring), new(signing.Ring)}}
}

func (c *TokenCache) Add(token string, ring int, expires, now int64) {
	c.cache.add(token, c.rings[ring], tokenClaims{
		identity: Identity{UserID: token}, times: tokenTimes{issuedAt: 1, expiresAt: expires},
	}, now)
}

// Find returns whose token it is, empty if the cache does not know it.
func (c *TokenCache) Find(token string, ring int) string {
	if v := c.cache.find(token, c.rings[ring]); v != nil {
		return v.identity.UserID
	}
	return ""
}

// Content returns how many tokens are in the cache, and their length together.
func (c *TokenCache) Content() (tokens, bytes int) {
	for i := range c.cache.buckets {
		for j := range c.cache.buckets[i] {
			if v := c.cache.buckets[i][j].Load(); v != nil {
				tokens++
				bytes += len(v.text)
			}
		}
	}
	return tokens, bytes
}

// KnownRevocations returns how many entries the instance has in memory.
func (s *Service) KnownRevocations() int64 { return s.tokens.feed.known.count.Load() }

// Sign signs the token anew.
func (t *TokenIssuer) Sign(token Token) (string, error) {
	signed, err := t.sign(token.Session, token.User)
	return signed.Bearer.Reveal(), err
}

// Revocations is what an instance knows of ended sessions, alone.
type Revocations struct{ known *revocations }

func NewRevocations() *Revocations { return &Revocations{newRevocations()} }

func (r *Revocations) Add(entries []Revocation, now time.Time) { r.known.add(entries, now) }
func (r *Revocations) Count() int64                            { return r.known.count.Load() }

func (r *Revocations) Ended(userID, sessionID string, generation int64) bool {
	return r.known.isRevoked(userID, sessionID, generation)
}
