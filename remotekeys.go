package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	keysFreshFor  = 5 * time.Minute  // as the JWKS says of itself
	keysGoodFor   = 24 * time.Hour   // while no others can be fetched
	keysFetchGap  = 10 * time.Second // at least, from one fetch to the next
	keysFetchTime = 5 * time.Second  // at most, for one fetch
	maxJWKS       = 256 << 10        // bytes
	maxRemoteKeys = 64
)

// errNoKeys means that the issuer answers and publishes no usable key. If it did before, its tokens
// are no longer valid: an answer that says no is not an outage.
var errNoKeys = errors.New("no key of ES256 or EdDSA for signatures")

// remoteKeys is the public keys of somebody else. One caller fetches them at a time,
// for all who wait.
type remoteKeys struct {
	url    string
	client *http.Client

	mu       sync.Mutex
	ring     *keyRing  // nil until the first fetch that succeeded
	fetched  time.Time // when that of ring began
	tried    time.Time // when the last fetch began, whatever came of it
	problem  error     // of the last fetch
	fetching chan struct{}
}

func newRemoteKeys(url string, client *http.Client) *remoteKeys {
	if client == nil {
		client = &http.Client{}
	}
	own := *client
	own.Jar = nil
	own.Timeout = 0 // ours is in the context
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &remoteKeys{url: url, client: &own}
}

// current returns keys that are fresh, or if there are none to be had, keys that
// are still good.
func (k *remoteKeys) current(ctx context.Context, now time.Time) (*keyRing, error) {
	k.mu.Lock()
	ring, age := k.ring, now.Sub(k.fetched)
	k.mu.Unlock()
	if ring != nil && age >= 0 && age < keysFreshFor {
		return ring, nil
	}
	return k.fetch(ctx, now, ring == nil)
}

// newer returns keys that were fetched after those of the ring, or the same if it is
// too early to ask again.
func (k *remoteKeys) newer(ctx context.Context, ring *keyRing, now time.Time) (*keyRing, error) {
	k.mu.Lock()
	other := k.ring
	k.mu.Unlock()
	if other != ring {
		return other, nil
	}
	return k.fetch(ctx, now, true)
}

// fetch fetches the keys, or waits for who does, unless the last time is not long
// ago. Who need not wait takes those that there are meanwhile.
func (k *remoteKeys) fetch(ctx context.Context, now time.Time, wait bool) (*keyRing, error) {
	k.mu.Lock()
	if fetching := k.fetching; fetching != nil {
		k.mu.Unlock()
		if wait {
			select {
			case <-fetching:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return k.good(now)
	}
	if since := now.Sub(k.tried); !k.tried.IsZero() && since >= 0 && since < keysFetchGap {
		k.mu.Unlock()
		return k.good(now)
	}
	done := make(chan struct{})
	k.fetching, k.tried = done, now
	k.mu.Unlock()

	k.refresh(ctx, now, done)
	return k.good(now)
}

// refresh downloads the keys, and tells whoever waits when that has ended, also in
// a panic of the host's HTTP client. A caller who goes away must not keep all
// others from the keys, so its context does not count.
func (k *remoteKeys) refresh(ctx context.Context, now time.Time, done chan<- struct{}) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keysFetchTime)
	defer cancel()
	ring, err := (*keyRing)(nil), errors.New("fetch the public keys: panicked")
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.fetching = nil
		if k.ring != nil && errors.Is(err, errNoKeys) { // the issuer has taken out what it had
			ring, err = &keyRing{}, nil
		}
		if k.problem = err; err == nil {
			k.ring, k.fetched = ring, now
		}
		close(done)
	}()
	ring, err = k.download(ctx)
}

// good returns the keys that there are, if they are not too old.
func (k *remoteKeys) good(now time.Time) (*keyRing, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ring != nil && now.Sub(k.fetched) < keysGoodFor {
		return k.ring, nil
	}
	if k.problem == nil {
		return nil, errors.New("the public keys have not been fetched yet")
	}
	return nil, k.problem
}

func (k *remoteKeys) download(ctx context.Context) (*keyRing, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	response, err := k.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("fetch the public keys: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotFound || response.StatusCode == http.StatusGone {
		return nil, fmt.Errorf("fetch the public keys: %s answers with status %d: %w", k.url, response.StatusCode, errNoKeys)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch the public keys: %s answers with status %d", k.url, response.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxJWKS+1))
	if err != nil {
		return nil, fmt.Errorf("fetch the public keys: %w", err)
	}
	ring, err := parseJWKS(text)
	if err != nil {
		return nil, fmt.Errorf("fetch the public keys: %s: %w", k.url, err)
	}
	return ring, nil
}

// parseJWKS returns the keys of the set that can verify a token. What is for
// something else, or of a kind that is not known, is passed over, as RFC 7517,
// section 5, says; a set that has nothing else, or an id twice, is an error.
func parseJWKS(text []byte) (*keyRing, error) {
	if len(text) > maxJWKS {
		return nil, fmt.Errorf("more than %d bytes", maxJWKS)
	}
	var set struct{ Keys *[]json.RawMessage } // which a JWK set must have
	if err := json.Unmarshal(text, &set); err != nil || set.Keys == nil {
		return nil, errors.New("not a JWK set")
	}
	if len(*set.Keys) > maxRemoteKeys {
		return nil, fmt.Errorf("more than %d keys", maxRemoteKeys)
	}
	ring := &keyRing{}
	for _, member := range *set.Keys {
		key := publicKey(member)
		if key == nil {
			continue
		}
		if !ring.add(key) {
			return nil, fmt.Errorf("two keys with the id %q", key.id)
		}
	}
	if len(ring.byID) == 0 {
		return nil, fmt.Errorf("the JWK set has %w", errNoKeys)
	}
	return ring, nil
}

// publicKey returns the key of a JWK, nil if it is none that verifies tokens.
func publicKey(text []byte) *signingKey {
	var k jwk
	if json.Unmarshal(text, &k) != nil || checkKeyID(k.ID, maxSigningKeyID) != nil || k.Use != "" && k.Use != "sig" {
		return nil
	}
	key := &signingKey{id: k.ID}
	switch {
	case k.KeyType == "EC" && k.Curve == "P-256":
		public, err := k.ecdsaPublic()
		if err != nil {
			return nil
		}
		key.method, key.public = lowS{jwt.SigningMethodES256}, public
	case k.KeyType == "OKP" && k.Curve == "Ed25519":
		public, err := k.ed25519Public()
		if err != nil {
			return nil
		}
		key.method, key.public = jwt.SigningMethodEdDSA, public
	default:
		return nil
	}
	if k.Algorithm != "" && k.Algorithm != key.method.Alg() {
		return nil
	}
	key.header = tokenHeader(key.method, key.id, tokenType)
	return key
}
