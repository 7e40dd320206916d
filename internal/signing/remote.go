package signing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-go/auth/internal/callback"
	"github.com/sallyport-go/auth/internal/clock"
	"github.com/sallyport-go/auth/internal/keyset"
	"github.com/sallyport-go/auth/internal/text"
)

const (
	renewAfter = freshFor / 2     // if the keys are at least this old, a request begins a fetch
	freshFor   = 5 * time.Minute  // if the keys are younger, no request waits; also max-age of JWKS responses
	goodFor    = 24 * time.Hour   // if all fetches fail, keys are used until they are this old
	fetchGap   = 10 * time.Second // minimum time between the beginnings of two fetches
	fetchTime  = 5 * time.Second  // deadline of a fetch
	patience   = time.Second      // how long requests wait, counted from the beginning of the fetch
	maxWaiters = 100              // maximum number of requests that wait for a fetch
)

var (
	errPending = errors.New("the public keys have not been fetched yet")
	errCrowded = errors.New("too many requests wait for the public keys")

	// errRefused means that the issuer refuses to return its JWK set. See [keyset.Refusals].
	errRefused = errors.New("the issuer refuses to return its keys")
)

// RemoteKeys holds the public keys of a remote issuer and fetches them when they are needed. It is
// safe for concurrent use.
//
// At most one fetch runs at a time, in a goroutine of its own, and all requests use its result. A
// request waits for the fetch only for a short time, even if the issuer's server hangs. If fetches
// fail, the last fetched keys are used for up to a day. An issuer can also answer that it has no
// keys, or keep refusing to return them. Such a fetch has not failed: see [RemoteKeys.Current].
type RemoteKeys struct {
	url      string
	client   *http.Client
	report   fetchLog        // used by the running fetch only
	refusals keyset.Refusals // used by the running fetch only

	mu       sync.Mutex
	ring     *Ring     // nil until a fetch has succeeded
	fetched  time.Time // when the fetch that returned ring began
	answered time.Time // when the last completed fetch began, whether or not it failed
	tried    time.Time // when the last fetch began
	problem  error     // the error of the last completed fetch
	fetching *fetch    // nil if no fetch is running
}

// fetch is a download of the keys that has begun and not ended.
type fetch struct {
	done    chan struct{} // closed when the download has ended
	late    chan struct{} // closed when requests must stop waiting; see patience
	waiters int
}

// NewRemoteKeys returns a RemoteKeys for the JWK set at the URL. It does not fetch the set yet. If
// client is nil, or has no Transport, http.DefaultTransport is used. The cookie jar and the timeout
// of the client are not used, and redirects are not followed. The logger receives a line when fetches
// begin to fail, when they succeed again, and when keys of the set are ignored.
func NewRemoteKeys(url string, client *http.Client, log *slog.Logger) *RemoteKeys {
	report := fetchLog{log: log, url: withoutQuery(url)}
	return &RemoteKeys{url: url, client: StrictClient(client), report: report}
}

// StrictClient returns a client for calls of the issuer. It has the Transport of the given client, which
// can be nil, but no cookie jar and no timeout: the context of each request must have a deadline. It
// follows no redirect, so it sends the headers of a request to no other server.
func StrictClient(client *http.Client) *http.Client {
	if client == nil {
		client = &http.Client{}
	}
	own := *client
	own.Jar = nil
	own.Timeout = 0
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	own.Transport = strictTransport{cmp.Or(client.Transport, http.DefaultTransport)}
	return &own
}

// strictTransport removes the Location header from responses. A redirect counts as an answer of the
// issuer, so it is not followed and its Location is not needed. But an http.Client fails if it
// cannot parse the Location, even if it does not follow redirects. strictTransport also shortens
// errors, because net/http quotes a malformed answer in full, up to 10 MB, and each request that
// needs the keys gets a copy of the error's text. The text must not have the access token or the query of
// the URL either, which a transport of the host may quote.
type strictTransport struct{ base http.RoundTripper }

func (t strictTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.base.RoundTrip(r)
	if err != nil {
		bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		return nil, text.ShortError(text.WithoutSecrets(err, bearer, r.URL.RawQuery), text.MaxErrorText)
	}
	response.Header.Del("Location")
	return response, nil
}

// Current returns the last fetched keys. If the keys are older than half of freshFor, Current
// begins a fetch. Current waits for the fetch in two cases:
//
//   - There are no keys.
//   - The keys are older than freshFor, and no fetch that began less than freshFor ago has
//     completed. So the issuer may have removed one of the keys.
//
// If the issuer has published keys before, and now answers that it has none, Current returns an
// empty ring. Such an answer is a JWK set without usable keys or with a secret key. A refusal to return
// the set is such an answer only if the issuer has refused it for 15 minutes, at least three times:
// see [keyset.Refusals]. Until then, Current returns the last fetched keys, and Newer returns an error.
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
		// If too many requests wait already, an attacker may have sent them so that this request
		// uses old keys. Therefore this request fails.
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

// Newer is called for a token whose key is not in ring. Newer returns a ring that was fetched
// later. If it is too early for another fetch, Newer returns ring itself. If the last fetch failed,
// or if the current fetch takes too long, Newer returns an error, because the issuer may have the
// missing key.
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

// good returns the keys and their age. If there are no keys, or if the keys are too old to be used,
// the returned ring is nil. The caller must hold the lock.
func (k *RemoteKeys) good(now time.Time) (*Ring, time.Duration) {
	if k.ring == nil {
		return nil, 0
	}
	if old := clock.AgeOfStored(now, k.fetched); old < goodFor {
		return k.ring, old
	}
	return nil, 0
}

// begin returns the running fetch. If no fetch is running, begin starts one and returns it. But if
// the last fetch began less than fetchGap ago, begin starts none and returns nil. The caller must
// hold the lock.
func (k *RemoteKeys) begin(now time.Time) *fetch {
	if k.fetching == nil && (k.tried.IsZero() || clock.AgeOfStored(now, k.tried) >= fetchGap) {
		k.fetching, k.tried = &fetch{done: make(chan struct{}), late: make(chan struct{})}, now
		go k.run(k.fetching, now)
	}
	return k.fetching
}

// await waits until the fetch f has ended, and then returns nil, even if the fetch has failed. If f
// is nil, await returns nil immediately. The errors are:
//
//   - errPending if the fetch takes longer than requests may wait
//   - errCrowded if too many requests wait already
//   - the error of ctx if ctx is done
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

// run downloads the keys and ends the fetch. It does not use the context of a request: if that
// request were canceled, the other requests would get no keys. A panic of the host's HTTP client
// becomes an error, because a panic in this goroutine would end the process.
func (k *RemoteKeys) run(f *fetch, now time.Time) {
	late := time.AfterFunc(patience, func() { close(f.late) })
	defer late.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), fetchTime)
	defer cancel()
	ring, err := (*Ring)(nil), errors.New("fetch the public keys: the HTTP client called runtime.Goexit")
	defer func() { k.finish(f, now, ring, err) }()
	defer callback.Recover("RemoteVerifierConfig.HTTPClient", func(failure error) { err = failure })
	ring, err = k.download(ctx)
}

// finish writes the result of a fetch to the log, and ends the fetch. It writes first, so that the
// log has the reason before a waiting request is answered.
func (k *RemoteKeys) finish(f *fetch, now time.Time, ring *Ring, err error) {
	refused := errors.Is(err, errRefused)
	switch {
	case refused:
		k.refusals.Add(now)
	case err == nil, hasNoKeys(err):
		k.refusals.Reset()
	}
	withdrawn := hasNoKeys(err) || refused && k.refusals.Final()
	defer func() { // deferred, because the logger may call runtime.Goexit
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.ring != nil && withdrawn { // the last fetched keys must no longer be used
			ring, err = &Ring{}, nil
		}
		k.fetching, k.answered, k.problem = nil, now, err
		if err == nil {
			k.ring, k.fetched = ring, now
		}
		close(f.done)
	}()
	k.mu.Lock()
	used, _ := k.good(now)
	k.mu.Unlock()
	k.report.report(now, ring, err, used, k.refusals)
}

func (k *RemoteKeys) download(ctx context.Context) (*Ring, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	// The verifier keeps the keys itself. If a cache between the verifier and the issuer answered, the
	// verifier would not get the new key that a token names.
	request.Header.Set("Cache-Control", "no-cache")
	response, err := k.client.Do(request)
	if err != nil {
		if failure, ok := errors.AsType[*url.Error](err); ok {
			failure.URL = k.report.url
		}
		return nil, fmt.Errorf("fetch the public keys: %w", err)
	}
	defer response.Body.Close()
	if keyset.IsRefusal(response.StatusCode) {
		return nil, fmt.Errorf("fetch the public keys: %s answers with status %d: %w; check JWKSURL",
			k.report.url, response.StatusCode, errRefused)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch the public keys: %s answers with status %d", k.report.url,
			response.StatusCode)
	}
	jwks, err := io.ReadAll(io.LimitReader(response.Body, maxJWKS+1))
	if err != nil {
		return nil, fmt.Errorf("fetch the public keys: %w", err)
	}
	ring, err := ParseJWKS(jwks)
	if err != nil {
		return nil, fmt.Errorf("fetch the public keys: %s: %w", k.report.url, err)
	}
	return ring, nil
}
