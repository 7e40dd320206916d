package authclient

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/sallyport-go/auth/internal/clock"
)

const (
	// MaxWait is the maximum time that a call waits until the [Client] may sign in again.
	MaxWait = 30 * time.Second

	// defaultPause is the time after a failed sign-in without Retry-After in which the Client does not sign
	// in again.
	defaultPause = time.Second

	// maxPause is the longest time that the Client heeds of a Retry-After.
	maxPause = 10 * time.Minute

	// youngToken is the age of a token below which a 401 does not make the Client sign in again. If the
	// service rejects new tokens, more sign-ins do not help, and could exceed its limits.
	youngToken = 5 * time.Second
)

// heldToken is a token that the service has issued. It does not change.
type heldToken struct {
	text    string
	issued  time.Time
	renewAt time.Time
	expires time.Time
}

// pause says until when the Client does not sign in after a failure, and has the failure.
type pause struct {
	until time.Time
	err   error
}

// token returns a token that has not expired. It signs in if necessary.
func (c *Client) token(ctx context.Context) (*heldToken, error) {
	now := c.now()
	if t := c.current.Load(); t != nil && now.Before(t.expires) {
		if now.Before(t.renewAt) || c.paused(now) != nil {
			return t, nil
		}
		select { // one call renews the token, and the others go on with the present one
		case c.signingIn <- struct{}{}:
		default:
			return t, nil
		}
		defer c.release()
		if c.paused(c.now()) != nil {
			return t, nil
		}
		renewed, err := c.signInUnlessDone(ctx, t)
		if err != nil && c.now().Before(t.expires) {
			return t, nil
		}
		return renewed, err
	}
	return c.replace(ctx, c.current.Load())
}

// replace returns a token other than the given one, which has expired or was rejected. It signs in unless
// another call has done so.
func (c *Client) replace(ctx context.Context, old *heldToken) (*heldToken, error) {
	select {
	case c.signingIn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("authclient: waiting for a sign-in: %w", ctx.Err())
	}
	defer c.release()
	if p := c.paused(c.now()); p != nil {
		if err := c.wait(ctx, p); err != nil {
			return nil, err
		}
	}
	return c.signInUnlessDone(ctx, old)
}

func (c *Client) release() { <-c.signingIn }

// paused returns the present pause, or nil if there is none.
func (c *Client) paused(now time.Time) *pause {
	if p := c.pause.Load(); p != nil && now.Before(p.until) {
		return p
	}
	return nil
}

// wait waits until the pause is over. If this takes longer than MaxWait, or longer than ctx allows, wait
// returns the failure at once.
func (c *Client) wait(ctx context.Context, p *pause) error {
	left := p.until.Sub(c.now())
	if deadline, ok := ctx.Deadline(); left > MaxWait || ok && time.Until(deadline) < left {
		return p.err
	}
	if err := clock.Sleep(ctx, left); err != nil {
		return fmt.Errorf("authclient: waiting for a sign-in: %w", err)
	}
	return nil
}

// signInUnlessDone signs in, unless another call has replaced the old token already. The caller must hold
// the semaphore c.signingIn.
func (c *Client) signInUnlessDone(ctx context.Context, old *heldToken) (*heldToken, error) {
	if t := c.current.Load(); t != old && t != nil && c.now().Before(t.expires) {
		return t, nil
	}
	t, err := c.signIn(ctx)
	if err != nil {
		c.noteFailure(ctx, err)
		return nil, err
	}
	c.current.Store(t)
	return t, nil
}

// noteFailure begins a pause after a failed sign-in. If the caller has given up, the next call may sign in at
// once.
func (c *Client) noteFailure(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	length := defaultPause
	var answer *Error
	if errors.As(err, &answer) && answer.RetryAfter > 0 {
		length = min(answer.RetryAfter, maxPause)
	}
	c.pause.Store(&pause{c.now().Add(length), err})
}

// signIn exchanges the access key for a token.
func (c *Client) signIn(ctx context.Context) (*heldToken, error) {
	pair, err := c.source.KeyPair(ctx)
	if err == nil {
		err = requirePair(pair)
	}
	if err != nil {
		return nil, fmt.Errorf("authclient: reading the access key: %w", err)
	}
	body := map[string]string{"access_key": pair.AccessKey, "access_secret": pair.AccessSecret.Reveal()}
	request, err := c.newRequest(ctx, http.MethodPost, "/auth/users/login", body)
	if err != nil {
		return nil, err
	}
	began := c.now()
	var answer struct {
		Token     string `json:"token"`
		ExpiresIn int64  `json:"expires_in"`
	}
	// Without an http.Client, because a redirect could send the secret to another host.
	if _, err := c.send(c.transport, request, &answer); err != nil {
		return nil, fmt.Errorf("authclient: signing in: %w", err)
	}
	if answer.Token == "" || answer.ExpiresIn <= 0 {
		return nil, errors.New("authclient: signing in: the answer has no token or no lifetime")
	}
	life := time.Duration(min(answer.ExpiresIn, maxLifetime)) * time.Second
	return &heldToken{
		text:    answer.Token,
		issued:  began,
		renewAt: began.Add(life*8/10 + rand.N(life/10+1)),
		expires: began.Add(life),
	}, nil
}

// maxLifetime is the longest lifetime of a token, in seconds. No service issues a longer one.
const maxLifetime = 30 * 24 * 60 * 60
