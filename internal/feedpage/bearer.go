package feedpage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport-go/auth/internal/callback"
	"github.com/sallyport-go/auth/internal/clock"
	"github.com/sallyport-go/auth/internal/text"
	"golang.org/x/oauth2"
)

const (
	// expiryMargin is how long before its expiry an access token is replaced. Until then, it is used even if
	// the TokenSource fails or hangs. If a fifth of the lifetime of the token is shorter, this is the margin.
	expiryMargin = time.Minute

	// renewalGap is the minimum time between two access tokens that are fetched because the issuer has
	// rejected the one before. Each can be a new session, and an issuer can reject every token. It is also
	// the time until the next try if the TokenSource fails, or returns a token that has expired already.
	renewalGap = 10 * time.Second

	// leastUse is how long an access token is used at least, unless the issuer rejects it. Otherwise, each
	// read would fetch another token if the tokens of the issuer expire at once.
	leastUse = time.Second
)

// bearer has the access token for the issuer. Only one goroutine at a time may call its methods.
type bearer struct {
	source oauth2.TokenSource
	now    func() time.Time

	token   *oauth2.Token     // nil if there is none
	renewAt time.Time         // when to fetch another token
	pending chan fetchedToken // of a call of source that has not ended; nil if there is none
	renewed time.Time         // when renew last dropped a token
}

type fetchedToken struct {
	token *oauth2.Token
	err   error
}

// get returns the access token. It fetches one if there is none, or if it expires soon.
//
// A TokenSource has no context. So get calls it in a goroutine, and stops waiting for it when ctx is
// done. A later call of get then waits for the same goroutine, so there is at most one. If the access token
// has not expired yet, get does not wait for the next one. A later call of get takes it.
func (b *bearer) get(ctx context.Context) (string, error) {
	now := b.now()
	if b.token != nil && (b.token.Expiry.IsZero() || now.Before(b.renewAt)) {
		return b.token.AccessToken, nil
	}
	if b.pending == nil {
		b.pending = make(chan fetchedToken, 1)
		go fetchToken(b.source, b.pending)
	}
	if b.token != nil && now.Before(b.token.Expiry) {
		select {
		case fetched := <-b.pending:
			if b.take(fetched) != nil {
				b.renewAt = now.Add(min(renewalGap, b.token.Expiry.Sub(now)))
			}
		default:
		}
		return b.token.AccessToken, nil
	}
	select {
	case fetched := <-b.pending:
		if err := b.take(fetched); err != nil {
			return "", fmt.Errorf("get an access token: %w", err)
		}
		return b.token.AccessToken, nil
	case <-ctx.Done():
		return "", fmt.Errorf("get an access token: %w", ctx.Err())
	}
}

// take ends the pending call of the source, and uses its token from now on.
func (b *bearer) take(fetched fetchedToken) error {
	b.pending = nil
	if fetched.err != nil {
		return fetched.err
	}
	b.token = fetched.token
	now, expiry := b.now(), b.token.Expiry
	if left := expiry.Sub(now); left > 0 {
		b.renewAt = now.Add(max(leastUse, left-min(expiryMargin, left/5)))
	} else { // by the clock of this service, which can be wrong: the issuer may accept the token
		b.renewAt = now.Add(renewalGap)
	}
	return nil
}

// fetchToken calls the source. The error does not wrap the error of the source, so that a caller does not
// take it for an error of this module.
func fetchToken(source oauth2.TokenSource, done chan<- fetchedToken) {
	fetched := fetchedToken{err: errors.New("the TokenSource called runtime.Goexit")}
	defer func() { done <- fetched }()
	defer callback.Recover("RemoteVerifierConfig.TokenSource", func(err error) { fetched.err = err })
	token, err := source.Token()
	switch {
	case err != nil:
		fetched.err = fmt.Errorf("%v", text.ShortError(err, text.MaxErrorText))
	case token == nil || token.AccessToken == "":
		fetched.err = errors.New("the TokenSource returned no token")
	default:
		fetched.token, fetched.err = token, nil
	}
}

// errTokenRefused means that the issuer has rejected the access token.
var errTokenRefused = errors.New("the issuer rejects the access token with status 401")

// renew drops the access token, which the issuer has rejected, and fetches another. It returns
// errTokenRefused if it is too early for that, or if the source returns the same token again.
func (b *bearer) renew(ctx context.Context, rejected string) (string, error) {
	now := b.now()
	if !b.renewed.IsZero() && clock.Age(now, b.renewed) < renewalGap {
		return "", errTokenRefused
	}
	b.token, b.renewed = nil, now
	fresh, err := b.get(ctx)
	if err == nil && fresh == rejected {
		return "", fmt.Errorf("%w, and the TokenSource returned it again", errTokenRefused)
	}
	return fresh, err
}
