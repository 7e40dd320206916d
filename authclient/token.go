package authclient

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/clock"
)

const (
	// MaxWait is the maximum time that a call waits until the [Client] may sign in again.
	MaxWait = 30 * time.Second

	// signInTimeout limits a sign-in and a logout. All calls without a token wait for the sign-in, so they
	// must not depend on a caller whose context never ends.
	signInTimeout = 30 * time.Second

	// defaultPause is the time after a failed sign-in without Retry-After in which the Client does not sign
	// in again.
	defaultPause = time.Second

	// maxRefusedPause limits the pauses after refused sign-ins, each of which is twice as long as the one
	// before. Otherwise, a program with a wrong secret would use up the failed sign-ins that the service
	// allows to the address of all its programs.
	maxRefusedPause = time.Minute

	// maxPause is the longest pause that a Retry-After can cause.
	maxPause = 10 * time.Minute

	// youngToken is the age of a token below which a 401 does not make the Client sign in again. If the
	// service rejects new tokens, more sign-ins do not help, and could exceed its limits.
	youngToken = 5 * time.Second
)

// heldToken is a token that the service has issued. It does not change.
type heldToken struct {
	text       string
	issued     time.Time
	renewAfter time.Duration // the age at which the token is renewed
	lifetime   time.Duration // the age at which the token expires
}

// age returns the age of the token. It also grows while the machine is suspended: see [clock.Age]. If the
// clock was set back to before the token was issued, the age is the greatest Duration.
func (t *heldToken) age(now time.Time) time.Duration { return clock.Age(now, t.issued) }

// isValid reports whether the token has not expired.
func (t *heldToken) isValid(now time.Time) bool { return t.age(now) < t.lifetime }

// isYoung reports whether the token was issued less than youngToken ago. After the clock was set back, it
// returns false.
func (t *heldToken) isYoung(now time.Time) bool { return t.age(now) < youngToken }

// pause is a time after a failed sign-in in which the Client does not sign in. It does not change.
type pause struct {
	from      time.Time
	length    time.Duration
	refused   time.Duration // the length of a pause after a refused sign-in; otherwise 0
	abandoned bool          // the caller of the sign-in gave up
	err       error         // of the sign-in
}

// token returns a token that has not expired. It signs in if necessary.
func (c *Client) token(ctx context.Context) (*heldToken, error) {
	t := c.current.Load()
	now := c.now() // after Load: a token from the future would count as expired
	if t == nil || !t.isValid(now) {
		return c.replace(ctx, t)
	}
	if t.age(now) < t.renewAfter {
		return t, nil
	}
	began := time.Now()
	renewed, err := c.renew(ctx, t)
	switch {
	case err == nil:
		return renewed, nil
	case t.isValid(c.now()):
		return t, nil
	case canTryAgain(ctx, began, err):
		return c.replace(ctx, t)
	}
	return nil, err
}

// renew signs in, so that calls do not wait when t expires. One call does so, and for the others, renew
// returns t.
func (c *Client) renew(ctx context.Context, t *heldToken) (*heldToken, error) {
	select {
	case c.signingIn <- struct{}{}:
	default:
		return t, nil
	}
	defer c.release()
	if c.paused() != nil {
		return t, nil
	}
	return c.signInUnlessDone(ctx, t)
}

// replace returns a token other than the given one, which has expired or was rejected. It signs in unless
// another call has done so. If the service refuses the sign-in and says in Retry-After when to try again,
// replace does so, if ctx allows, and for at most MaxWait altogether.
func (c *Client) replace(ctx context.Context, old *heldToken) (*heldToken, error) {
	for began := time.Now(); ; {
		t, err := c.tryReplace(ctx, old)
		if !canTryAgain(ctx, began, err) {
			return t, err
		}
	}
}

// canTryAgain reports whether a call that began at the given time can sign in again when the service says.
// The service must have named a time in Retry-After, and neither ctx nor MaxWait may end before it.
func canTryAgain(ctx context.Context, began time.Time, err error) bool {
	var answer *Error
	if !errors.As(err, &answer) || answer.RetryAfter <= 0 || ctx.Err() != nil {
		return false
	}
	deadline, ok := ctx.Deadline()
	return time.Since(began)+answer.RetryAfter <= MaxWait && (!ok || time.Until(deadline) > answer.RetryAfter)
}

// tryReplace waits for the end of a pause, and signs in once. If a sign-in of another call fails while this
// call waits, tryReplace returns that failure. Otherwise, the calls that wait during an outage would fail one
// after another.
func (c *Client) tryReplace(ctx context.Context, old *heldToken) (*heldToken, error) {
	before := c.pause.Load()
	if p := c.paused(); p != nil {
		if err := c.wait(ctx, p); err != nil { // not in the semaphore: other calls may have less time
			return nil, err
		}
	}
	if err := c.acquire(ctx); err != nil {
		return nil, err
	}
	defer c.release()
	if t := c.replacement(old); t != nil {
		return t, nil
	}
	if p := c.paused(); p != nil && p != before {
		if !p.abandoned {
			return nil, p.err
		}
		if err := c.wait(ctx, p); err != nil { // a caller that gave up does not make others give up
			return nil, err
		}
	}
	return c.signInUnlessDone(ctx, old)
}

// acquire takes the semaphore c.signingIn.
func (c *Client) acquire(ctx context.Context) error {
	select {
	case <-ctx.Done(): // first: a select takes any case that is ready
	default:
		select {
		case c.signingIn <- struct{}{}:
			return nil
		case <-ctx.Done():
		}
	}
	return fmt.Errorf("authclient: waiting for a sign-in: %w", ctx.Err())
}

func (c *Client) release() { <-c.signingIn }

// paused returns the present pause, or nil if there is none. If the clock was set back, the pause is over.
func (c *Client) paused() *pause {
	p := c.pause.Load()
	if p != nil && p.left(c.now()) > 0 {
		return p
	}
	return nil
}

// left returns how long the pause still lasts. It is negative if the pause is over.
func (p *pause) left(now time.Time) time.Duration { return p.length - clock.Age(now, p.from) }

// wait waits until the pause is over. If this takes longer than MaxWait, or longer than ctx allows, wait
// returns the failure at once, unless the failure is only that another caller gave up.
func (c *Client) wait(ctx context.Context, p *pause) error {
	left := p.left(c.now())
	deadline, ok := ctx.Deadline()
	if !p.abandoned && (left > MaxWait || ok && time.Until(deadline) < left) {
		return p.err
	}
	if err := clock.Sleep(ctx, left); err != nil {
		return fmt.Errorf("authclient: waiting for a sign-in: %w", err)
	}
	return nil
}

// replacement returns the present token if another call has replaced the old token, or nil.
func (c *Client) replacement(old *heldToken) *heldToken {
	if t := c.current.Load(); t != old && t != nil && t.isValid(c.now()) {
		return t
	}
	return nil
}

// signInUnlessDone signs in, unless another call has replaced the old token already. The caller must hold
// the semaphore c.signingIn.
func (c *Client) signInUnlessDone(ctx context.Context, old *heldToken) (*heldToken, error) {
	if t := c.replacement(old); t != nil {
		return t, nil
	}
	bounded, cancel := context.WithTimeout(ctx, signInTimeout)
	defer cancel()
	t, err := c.signIn(bounded)
	if err != nil {
		c.noteFailure(ctx, err)
		return nil, err
	}
	c.pause.Store(nil)
	c.current.Store(t)
	return t, nil
}

// noteFailure begins a pause after a failed sign-in. If the caller has given up, the next call may sign in at
// once. If two callers in a row have given up, there is a pause: each abandoned sign-in can leave a session
// behind, and the service revokes the oldest sessions of a user who has too many.
func (c *Client) noteFailure(ctx context.Context, err error) {
	next := &pause{from: c.now(), abandoned: ctx.Err() != nil, err: err}
	last := c.pause.Load()
	next.length = defaultPause
	var answer *Error
	switch {
	case next.abandoned && (last == nil || !last.abandoned):
		next.length = 0
	case !errors.As(err, &answer):
	case answer.RetryAfter > 0:
		next.length = min(answer.RetryAfter, maxPause)
	case answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden:
		if last != nil {
			next.length = min(max(2*last.refused, defaultPause), maxRefusedPause)
		}
		next.refused = next.length
	}
	c.pause.Store(next)
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
		TokenType string `json:"token_type"`
		ExpiresIn int64  `json:"expires_in"`
	}
	// Without an http.Client, because a redirect could send the secret to another host.
	if _, err := c.send(c.transport, request, &answer); err != nil {
		return nil, fmt.Errorf("authclient: signing in: %w", err)
	}
	switch {
	case !isToken(answer.Token) || answer.ExpiresIn <= 0:
		return nil, errors.New("authclient: signing in: the answer has no valid token or no lifetime")
	case !strings.EqualFold(answer.TokenType, "Bearer"): // RFC 6749, section 7.1
		return nil, errors.New("authclient: signing in: the token is not a bearer token")
	}
	life := time.Duration(min(answer.ExpiresIn, maxLifetime)) * time.Second
	return &heldToken{
		text:       answer.Token,
		issued:     began,
		renewAfter: life*8/10 + rand.N(life/10+1),
		lifetime:   life,
	}, nil
}

// maxLifetime is the longest lifetime of a token, in seconds. No service issues a longer one.
const maxLifetime = 30 * 24 * 60 * 60

// isToken reports whether the text can be sent as a bearer token (RFC 6750, section 2.1). A token with a line
// break, for example, would fail in each request until the token expires.
func isToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}
