package feedpage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sallyport-go/auth/internal/callback"
	"github.com/sallyport-go/auth/internal/clock"
	"github.com/sallyport-go/auth/internal/revocation"
	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/token"
	"golang.org/x/oauth2"
)

const (
	// fetchTime is the deadline of a request for a page.
	fetchTime = 5 * time.Second

	// retryGap is the minimum time between a failed request and the next one.
	retryGap = 500 * time.Millisecond

	// maxSkew is how far the issuer's clock may be ahead.
	maxSkew = 30 * time.Second
)

// FollowerConfig configures a [Follower]. All fields are required.
type FollowerConfig struct {
	URL    *url.URL // of GET /auth/revocations, without a query
	Issuer string
	Client *http.Client // made by [signing.StrictClient]
	Tokens oauth2.TokenSource
	Now    func() time.Time

	// Keys returns the keys of the issuer. NewerKeys is called for a page whose key is not in the ring.
	Keys      func(ctx context.Context) (*signing.Ring, error)
	NewerKeys func(ctx context.Context, ring *signing.Ring) (*signing.Ring, error)
}

// Follower reads the revocation feed of an issuer over HTTP. Read, Head and AsOf are functions of a
// [revocation.Source], so only one goroutine at a time may call them.
type Follower struct {
	cfg    FollowerConfig
	bearer bearer
	asOf   time.Time // by the clock of this service

	failure  error // of the latest request; nil if it succeeded
	failedAt time.Time
}

// NewFollower returns a Follower that has read nothing.
func NewFollower(cfg FollowerConfig) *Follower {
	return &Follower{cfg: cfg, bearer: bearer{source: cfg.Tokens, now: cfg.Now}}
}

// Read returns the entries from the given Position on: see [revocation.Source]. It fetches pages until it
// has limit entries, or all.
func (f *Follower) Read(ctx context.Context, from int64, limit int) ([]revocation.Entry, error) {
	var entries []revocation.Entry
	for {
		page, asOf, err := f.fetch(ctx, from)
		if err != nil {
			return nil, err
		}
		f.asOf = asOf
		next := page.Entries
		if len(entries) > 0 {
			last := entries[len(entries)-1]
			if len(next) == 0 || next[0].Position != last.Position || next[0].ID != last.ID {
				return nil, errors.New("the revocation feed of the issuer has changed while it was read")
			}
			next = next[1:]
		}
		entries = append(entries, next...)
		switch {
		case len(entries) >= limit:
			return entries[:limit], nil
		case page.End == page.Head:
			return entries, nil
		case page.End <= from:
			return nil, errors.New("the issuer's page of revocations has no new entry, but is not the last")
		}
		from = page.End
	}
}

// Head returns the Position of the newest entry: see [revocation.Source].
func (f *Follower) Head(ctx context.Context, atLeast int64) (int64, error) {
	page, _, err := f.fetch(ctx, atLeast)
	return page.Head, err
}

// AsOf returns a time at which the feed had no entry after the last one that Read has returned, unless
// Read has returned limit entries.
//
// The time is by the clock of this service, and never too late. The issuer says how old its copy was when
// it signed the page. Because of the nonce, it signed the page after this service had sent the request.
func (f *Follower) AsOf() time.Time { return f.asOf }

// fetch returns the page from the given Position on, and a time by the clock of this service at which the
// page was up to date. If the latest request failed less than retryGap ago, fetch returns its error, so
// that requests to this service do not become as many requests to an issuer that is down.
func (f *Follower) fetch(ctx context.Context, from int64) (Page, time.Time, error) {
	if f.failure != nil && clock.Age(f.cfg.Now(), f.failedAt) < retryGap {
		return Page{}, time.Time{}, f.failure
	}
	page, asOf, err := f.fetchNow(ctx, from)
	f.failure = nil
	if err != nil {
		err = fmt.Errorf("read the revocations of the issuer at %s: %w", f.cfg.URL.Redacted(), err)
		if !errors.Is(err, context.Canceled) { // a canceled call says nothing about the issuer
			f.failure, f.failedAt = err, f.cfg.Now()
		}
	}
	return page, asOf, err
}

func (f *Follower) fetchNow(ctx context.Context, from int64) (Page, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	ring, err := f.cfg.Keys(ctx)
	if err != nil {
		return Page{}, time.Time{}, err
	}
	bearer, err := f.bearer.get(ctx)
	if err != nil {
		return Page{}, time.Time{}, err
	}
	nonce, sent := rand.Text(), f.cfg.Now()
	text, err := f.request(ctx, from, nonce, bearer)
	if errors.Is(err, errTokenRefused) {
		if bearer, err = f.bearer.renew(ctx, bearer); err != nil {
			return Page{}, time.Time{}, err
		}
		nonce, sent = rand.Text(), f.cfg.Now()
		text, err = f.request(ctx, from, nonce, bearer)
	}
	if err != nil {
		return Page{}, time.Time{}, err
	}
	page, err := f.open(ctx, ring, text, sent)
	if err != nil {
		return Page{}, time.Time{}, err
	}
	if err := f.check(&page, from, nonce); err != nil {
		return Page{}, time.Time{}, err
	}
	return page, sent.Add(-page.SignedAt.Sub(page.AsOf)), nil
}

// open verifies and parses a page, which was asked for at the given time. If its key is not known, open asks
// for newer keys once.
func (f *Follower) open(
	ctx context.Context, ring *signing.Ring, text string, sent time.Time,
) (Page, error) {
	page, err := Open(ring, text, sent)
	if errors.Is(err, token.ErrUnknownKey) {
		if ring, err = f.cfg.NewerKeys(ctx, ring); err != nil {
			return Page{}, err
		}
		page, err = Open(ring, text, sent)
	}
	if errors.Is(err, token.ErrUnknownKey) {
		// Without its type: the access token of a caller is not rejected because of a bad page.
		return Page{}, fmt.Errorf("the page is not signed by the issuer: %v", err)
	}
	return page, err
}

// request sends the request for a page, and returns the text of the page. A panic of the host's HTTP
// client becomes an error, because a panic in the host's goroutine of Run would end the process.
func (f *Follower) request(ctx context.Context, from int64, nonce, bearer string) (_ string, err error) {
	defer callback.Recover("RemoteVerifierConfig.HTTPClient", func(failure error) { err = failure })
	target := *f.cfg.URL
	target.RawQuery = url.Values{"from": {strconv.FormatInt(from, 10)}, "nonce": {nonce}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+bearer)
	request.Header.Set("Accept", MediaType)
	request.Header.Set("Cache-Control", "no-store")
	response, err := f.cfg.Client.Do(request)
	if err != nil {
		if failure, ok := errors.AsType[*url.Error](err); ok {
			err = failure.Err // the URL of the request contains the nonce, so each text would be different
		}
		return "", err
	}
	defer response.Body.Close()
	switch status := response.StatusCode; status {
	case http.StatusOK:
		body, err := io.ReadAll(io.LimitReader(response.Body, MaxLength+1))
		if err == nil && len(body) > MaxLength {
			err = fmt.Errorf("the page is longer than %d bytes", MaxLength)
		}
		return string(body), err
	case http.StatusNotModified:
		return response.Header.Get(Header), nil
	case http.StatusUnauthorized:
		return "", errTokenRefused
	default:
		return "", &statusError{status}
	}
}

// statusError means that the issuer has answered a request for a page with another status.
type statusError struct{ status int }

// Error returns the status, and what to do about it.
func (e *statusError) Error() string {
	advice := ""
	switch e.status {
	case http.StatusForbidden:
		advice = ": the user of the access token must be a service user or a super user, and a limited key " +
			"needs the scope auth:revocations"
	case http.StatusNotFound:
		advice = ": check RevocationsURL, and name auth.GroupVerifiers where the issuer mounts its calls"
	case http.StatusServiceUnavailable:
		advice = ": it cannot read its store, or signs with HS256; its log says why"
	}
	return fmt.Sprintf("the issuer answers with status %d%s", e.status, advice)
}

// check returns an error unless the page answers the request, and does not contradict itself.
func (f *Follower) check(page *Page, from int64, nonce string) error {
	switch {
	case page.Issuer != f.cfg.Issuer:
		return errors.New("the page is from another issuer")
	case page.Nonce != nonce || page.From != from:
		return errors.New("the page answers another request")
	case page.AsOf.After(page.SignedAt):
		return errors.New("the page is from before the revocations that it has")
	case page.AsOf.After(f.cfg.Now().Add(maxSkew)):
		return errors.New("the page is from the future: compare the clocks of this service and the issuer")
	}
	last := from - 1
	for i := range page.Entries {
		if page.Entries[i].Position <= last {
			return errors.New("the entries of the page are out of order")
		}
		last = page.Entries[i].Position
	}
	switch {
	case len(page.Entries) > 0 && page.End != last, page.End > page.Head,
		len(page.Entries) == 0 && page.Head > 0 && page.Head >= from:
		return errors.New("entries are missing in the page")
	}
	return nil
}
