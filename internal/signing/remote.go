package signing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/sallyport-go/auth/internal/callback"
	"github.com/sallyport-go/auth/internal/clock"
)

const (
	renewAfter = freshFor / 2     // age of the keys at which a request begins a fetch without waiting
	freshFor   = 5 * time.Minute  // age until which keys verify without a fetch, as JWKS responses say
	goodFor    = 24 * time.Hour   // age until which keys verify while fetches fail
	fetchGap   = 10 * time.Second // least time between the beginnings of two fetches
	fetchTime  = 5 * time.Second  // deadline of a fetch
	patience   = time.Second      // requests stop waiting for a fetch when it has run this long
	maxWaiters = 100              // requests that wait for a fetch at a time
)

var (
	errPending = errors.New("the public keys have not been fetched yet")
	errCrowded = errors.New("too many requests wait for the public keys")
)

// RemoteKeys holds the public keys of a remote issuer and fetches them when they are needed. It is
// safe for concurrent use.
//
// One goroutine at a time fetches for all requests, so that a server that hangs delays none of them
// for long. The goroutine ends with the fetch. While fetches fail, the last fetched keys are good
// for a day. If the issuer answers that it has no keys, or refuses to return them, the fetch has
// not failed: see [RemoteKeys.Current].
type RemoteKeys struct {
	url    string
	client *http.Client

	mu       sync.Mutex
	ring     *Ring     // nil until a fetch has succeeded
	fetched  time.Time // when the fetch of ring began
	answered time.Time // when the last completed fetch began, failed or not
	tried    time.Time // when the last fetch began
	problem  error     // of the last completed fetch
	fetching *fetch    // nil if none is under way
}

// fetch is a fetch that is under way.
type fetch struct {
	done    chan struct{} // closed when the fetch has ended
	late    chan struct{} // closed when its patience is over
	waiters int
}

// NewRemoteKeys returns the keys of the JWK set at the URL. It does not fetch the set yet. A nil
// client means one with http.DefaultTransport. Cookies and the timeout of the client are not used,
// and redirects are not followed.
func NewRemoteKeys(url string, client *http.Client) *RemoteKeys {
	if client == nil {
		client = &http.Client{}
	}
	own := *client
	own.Jar = nil
	own.Timeout = 0 // the context of a fetch has the deadline
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	own.Transport = withoutLocation{cmp.Or(client.Transport, http.DefaultTransport)}
	return &RemoteKeys{url: url, client: &own}
}

// withoutLocation drops the Location of a response. An http.Client fails if it cannot parse the
// Location, even if CheckRedirect follows no redirect. But a redirect must count as an answer of
// the issuer.
type withoutLocation struct{ base http.RoundTripper }

func (t withoutLocation) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.base.RoundTrip(r)
	if err == nil {
		response.Header.Del("Location")
	}
	return response, err
}

// Current returns the last fetched keys, and begins a fetch before they are too old. It waits for
// the fetch only if there are no keys, or if the keys are no longer fresh and no fetch has been
// completed since then. It waits then because the issuer may have removed a key meanwhile.
//
// The result is an empty ring if the issuer has published keys before and now answers that it has
// none: with a set without usable keys, a redirect, or a 4xx other than 408, 425 and 429.
func (k *RemoteKeys) Current(ctx context.Context, now time.Time) (*Ring, error) {
	k.mu.Lock()
	ring, old := k.good(now)
	if ring != nil && old < renewAfter {
		k.mu.Unlock()
		return ring, nil
	}
	f := k.begin(now)
	wait := ring == nil || old >= freshFor && clock.Age(now, k.answered) >= freshFor
	k.mu.Unlock()
	var err error
	if wait {
		// If too many other requests wait, perhaps those of an attacker, this request must not
		// trust keys that are no longer fresh.
		if err = k.await(ctx, f); errors.Is(err, errCrowded) {
			return nil, err
		}
	}

	k.mu.Lock()
	defer k.mu.Unlock()
	if ring, _ := k.good(now); ring != nil {
		return ring, nil
	}
	return nil, cmp.Or(err, k.problem, errPending)
}

// Newer returns keys for a token that names a key which ring does not have. The result is a ring
// that was fetched after ring, or ring itself if it is too early to fetch again. Newer returns an
// error if the last fetch failed or the current fetch takes too long, because the issuer may then
// have the key.
func (k *RemoteKeys) Newer(ctx context.Context, ring *Ring, now time.Time) (*Ring, error) {
	k.mu.Lock()
	if other := k.ring; other != ring {
		k.mu.Unlock()
		return other, nil
	}
	f := k.begin(now)
	k.mu.Unlock()
	if err := k.await(ctx, f); err != nil {
		return nil, err
	}

	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ring, k.problem
}

// notBefore returns then if now is less than a second before then. In every other case it returns
// now. A request that has read the clock can be overtaken by another request, so now can be a
// little too early.
func notBefore(now, then time.Time) time.Time {
	if ahead := then.Sub(now); 0 < ahead && ahead < time.Second {
		return then
	}
	return now
}

// good returns the keys and their age, or nil if there are no keys or they are too old. The caller
// of good or begin must hold the lock.
func (k *RemoteKeys) good(now time.Time) (*Ring, time.Duration) {
	if k.ring == nil {
		return nil, 0
	}
	if old := clock.Age(notBefore(now, k.fetched), k.fetched); old < goodFor {
		return k.ring, old
	}
	return nil, 0
}

// begin returns the fetch that is under way. If there is none, begin starts a fetch, but if the
// last fetch began less than fetchGap ago, begin returns nil.
func (k *RemoteKeys) begin(now time.Time) *fetch {
	if k.fetching == nil && (k.tried.IsZero() || clock.Age(notBefore(now, k.tried), k.tried) >= fetchGap) {
		k.fetching, k.tried = &fetch{done: make(chan struct{}), late: make(chan struct{})}, now
		go k.run(k.fetching, now)
	}
	return k.fetching
}

// await returns nil when the fetch has ended. It returns nil at once for a nil fetch. It returns
// errPending if the fetch takes longer than requests may wait, and errCrowded if too many requests
// wait already.
func (k *RemoteKeys) await(ctx context.Context, f *fetch) error {
	if f == nil {
		return nil
	}
	k.mu.Lock()
	if f.waiters == maxWaiters {
		k.mu.Unlock()
		return errCrowded
	}
	f.waiters++
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		f.waiters--
	}()
	select {
	case <-f.done:
		return nil
	case <-f.late:
		return errPending
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run downloads the keys and ends the fetch. It does not use the context of a request, because a
// caller that goes away must not keep other requests from the keys. A panic of the host's HTTP
// client becomes an error, because a panic in this goroutine would end the process.
func (k *RemoteKeys) run(f *fetch, now time.Time) {
	late := time.AfterFunc(patience, func() { close(f.late) })
	defer late.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), fetchTime)
	defer cancel()
	ring, err := (*Ring)(nil), errors.New("fetch the public keys: the HTTP client called runtime.Goexit")
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.ring != nil && errors.Is(err, errNoKeys) { // the issuer has withdrawn its keys
			ring, err = &Ring{}, nil
		}
		k.fetching, k.answered, k.problem = nil, now, err
		if err == nil {
			k.ring, k.fetched = ring, now
		}
		close(f.done)
	}()
	defer callback.Recover("RemoteVerifierConfig.HTTPClient", func(failure error) { err = failure })
	ring, err = k.download(ctx)
}

func (k *RemoteKeys) download(ctx context.Context) (*Ring, error) {
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
		return nil, fmt.Errorf("fetch the public keys: %s answers with status %d: %w", k.url,
			response.StatusCode, errNoKeys)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch the public keys: %s answers with status %d", k.url, response.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxJWKS+1))
	if err != nil {
		return nil, fmt.Errorf("fetch the public keys: %w", err)
	}
	ring, err := ParseJWKS(text)
	if err != nil {
		return nil, fmt.Errorf("fetch the public keys: %s: %w", k.url, err)
	}
	return ring, nil
}

// isRefusal reports whether a status means that this address has no keys for this verifier, and not
// that the server cannot answer now. A redirect is a refusal because it is not followed.
func isRefusal(status int) bool {
	switch status {
	case http.StatusNotModified, // the request was not conditional
		http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return 300 <= status && status < 500
}
