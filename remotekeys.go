package auth

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"github.com/sallyport-go/auth/internal/callback"
	"github.com/sallyport-go/auth/internal/clock"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	keysRenewAfter = keysFreshFor / 2 // then a request begins a fetch, and does not wait for it
	keysFreshFor   = 5 * time.Minute  // as the JWKS says of itself
	keysGoodFor    = 24 * time.Hour   // while no others can be fetched
	keysFetchGap   = 10 * time.Second // at least, from one fetch to the next
	keysFetchTime  = 5 * time.Second  // at most, for one fetch
	keysPatience   = time.Second      // after the fetch has begun, nobody waits for it any longer
	maxKeyWaiters  = 100              // requests that wait for the fetch at a time
	maxJWKS        = 256 << 10        // bytes
	maxRemoteKeys  = 64
)

var (
	// errNoKeys means that the issuer answers and publishes no usable key. If it did before, its tokens
	// are no longer valid: an answer that says no is not an outage.
	errNoKeys = errors.New("no key of ES256 or EdDSA for signatures")

	errKeysPending = errors.New("the public keys have not been fetched yet")
	errKeysCrowded = errors.New("too many requests wait for the public keys")
)

// remoteKeys is the public keys of an issuer elsewhere. One goroutine at a time fetches them for all
// requests, because none of them can be made to wait for a server that hangs. It ends with the
// fetch.
type remoteKeys struct {
	url    string
	client *http.Client

	mu       sync.Mutex
	ring     *keyRing  // nil until the first fetch that succeeded
	fetched  time.Time // when the fetch of ring began
	answered time.Time // when the last fetch that has ended began, whatever came of it
	tried    time.Time // when the last fetch began
	problem  error     // of the last fetch that has ended
	fetching *keyFetch // nil if none is under way
}

// keyFetch is a fetch that is under way.
type keyFetch struct {
	done    chan struct{} // closed when it has ended
	late    chan struct{} // closed when nobody waits any longer
	waiters int
}

func newRemoteKeys(url string, client *http.Client) *remoteKeys {
	if client == nil {
		client = &http.Client{}
	}
	own := *client
	own.Jar = nil
	own.Timeout = 0 // ours is in the context
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	own.Transport = withoutLocation{cmp.Or(client.Transport, http.DefaultTransport)}
	return &remoteKeys{url: url, client: &own}
}

// withoutLocation drops the Location of a redirect, because an http.Client fails at one that it cannot
// read, also if it is not to follow it.
type withoutLocation struct{ base http.RoundTripper }

func (t withoutLocation) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.base.RoundTrip(r)
	if err == nil {
		response.Header.Del("Location")
	}
	return response, err
}

// current returns the keys that there are, and sees to it that they are fetched again in time. It
// waits for the fetch only if there are no keys, or if they are no longer fresh and nobody has
// tried to fetch others since: an issuer that has dropped a key since then must be heard.
func (k *remoteKeys) current(ctx context.Context, now time.Time) (*keyRing, error) {
	k.mu.Lock()
	ring, old := k.good(now)
	if ring != nil && old < keysRenewAfter {
		k.mu.Unlock()
		return ring, nil
	}
	fetch := k.begin(now)
	wait := ring == nil || old >= keysFreshFor && clock.Age(now, k.answered) >= keysFreshFor
	k.mu.Unlock()
	var err error
	if wait {
		if err = k.await(ctx, fetch); errors.Is(err, errKeysCrowded) {
			return nil, err // others, perhaps junk, must not make it go by old keys unheard
		}
	}

	k.mu.Lock()
	defer k.mu.Unlock()
	if ring, _ := k.good(now); ring != nil {
		return ring, nil
	}
	return nil, cmp.Or(err, k.problem, errKeysPending)
}

// newer returns keys for a token that names a key which is not in the ring: keys that were fetched
// after those of the ring, or the ring if it is too early to ask again. It returns an error if the
// last fetch failed, or the one under way takes too long: then the issuer may have the key.
func (k *remoteKeys) newer(ctx context.Context, ring *keyRing, now time.Time) (*keyRing, error) {
	k.mu.Lock()
	if other := k.ring; other != ring {
		k.mu.Unlock()
		return other, nil
	}
	fetch := k.begin(now)
	k.mu.Unlock()
	if err := k.await(ctx, fetch); err != nil {
		return nil, err
	}

	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ring, k.problem
}

// notBefore returns now, or then if now is less than a second before: a request that has read the
// clock may be overtaken by another one.
func notBefore(now, then time.Time) time.Time {
	if ahead := then.Sub(now); 0 < ahead && ahead < time.Second {
		return then
	}
	return now
}

// good returns the keys that there are and how old they are, or nil if there are none that are
// still good. The caller holds the lock, here and in begin.
func (k *remoteKeys) good(now time.Time) (*keyRing, time.Duration) {
	if k.ring == nil {
		return nil, 0
	}
	if old := clock.Age(notBefore(now, k.fetched), k.fetched); old < keysGoodFor {
		return k.ring, old
	}
	return nil, 0
}

// begin returns the fetch that is under way, which it starts unless the last one began a short
// time ago. It returns nil if there is none.
func (k *remoteKeys) begin(now time.Time) *keyFetch {
	if k.fetching == nil && (k.tried.IsZero() || clock.Age(notBefore(now, k.tried), k.tried) >= keysFetchGap) {
		k.fetching, k.tried = &keyFetch{done: make(chan struct{}), late: make(chan struct{})}, now
		go k.fetch(k.fetching, now)
	}
	return k.fetching
}

// await returns nil when the fetch has ended. If it takes longer than requests may wait, or too
// many of them wait already, it returns errKeysPending or errKeysCrowded. A nil fetch has ended.
func (k *remoteKeys) await(ctx context.Context, fetch *keyFetch) error {
	if fetch == nil {
		return nil
	}
	k.mu.Lock()
	if fetch.waiters == maxKeyWaiters {
		k.mu.Unlock()
		return errKeysCrowded
	}
	fetch.waiters++
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		fetch.waiters--
	}()
	select {
	case <-fetch.done:
		return nil
	case <-fetch.late:
		return errKeysPending
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fetch downloads the keys. It has a context of its own: a caller that goes away must not keep all
// others from the keys. A panic of the host's HTTP client is a failure, because nothing else
// would keep it from ending the process.
func (k *remoteKeys) fetch(fetch *keyFetch, now time.Time) {
	late := time.AfterFunc(keysPatience, func() { close(fetch.late) })
	defer late.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), keysFetchTime)
	defer cancel()
	ring, err := (*keyRing)(nil), errors.New("fetch the public keys: the HTTP client called runtime.Goexit")
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.ring != nil && errors.Is(err, errNoKeys) { // the issuer has taken out what it had
			ring, err = &keyRing{}, nil
		}
		k.fetching, k.answered, k.problem = nil, now, err
		if err == nil {
			k.ring, k.fetched = ring, now
		}
		close(fetch.done)
	}()
	defer callback.Recover("RemoteVerifierConfig.HTTPClient", func(failure error) { err = failure })
	ring, err = k.download(ctx)
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
	if isRefusal(response.StatusCode) {
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

// isRefusal reports whether a status says that there are no keys at this address for this
// verifier, and not that the server cannot answer now. A redirect is not followed, so it says no.
func isRefusal(status int) bool {
	switch status {
	case http.StatusNotModified, // to a question that nobody asked
		http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return 300 <= status && status < 500
}

// parseJWKS returns the keys of the set that can verify a token. What is for
// something else, or of a kind that is not known, is passed over, as RFC 7517,
// section 5, says, and so are keys that share an id, because nothing tells which of them is meant.
// A set that has nothing else is an error.
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
	var keys []*signingKey
	sharing := map[string]int{} // how many keys have an id
	for _, member := range *set.Keys {
		if key := publicKey(member); key != nil {
			keys = append(keys, key)
			sharing[key.id]++
		}
	}
	ring := &keyRing{}
	for _, key := range keys {
		if sharing[key.id] == 1 {
			ring.add(key)
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
	key := &signingKey{id: k.ID, retired: k.RetiredAt}
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
