package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sallyport-go/auth/internal/throttle"
	"github.com/sallyport-go/auth/limit"
)

// Throttling bounds what clients can try. A correct generated secret is never rejected because of
// what other clients have sent, except for a Flood from the same address: the secret is verified
// first, and only failures are counted. Once there are too many, further failures are answered with
// a *[ThrottledError]. Clients are counted by address ([WithClientInfo]), an IPv6 address by its
// first 64 bits. All clients whose addresses are not known share one budget, which is 50 times that
// of one client; a flood of theirs is counted by the address of the connection.
//
// The zero value is a good choice.
type Throttling struct {
	// Limiter counts. nil means in memory, for this instance alone. Services that share a Limiter
	// must have different issuers, or they count together.
	Limiter limit.Limiter

	// Failures are how many sign-ins from one address may fail. nil means 20 in a minute, 100
	// in an hour and 500 in a day. Sign-ins with GitHub have a count of their own. While there
	// are too many, imported keys from the address are rejected without a slow hash, and its
	// GitHub sign-ins without a call to GitHub, also correct ones: an attacker must have the
	// same address to keep a user out.
	Failures []limit.Rate

	// SlowAttempts are how many times one imported key may be tried from one address until it
	// has signed in. nil means 5 in a minute, 20 in an hour and 50 in a day. Further attempts
	// are rejected likewise. An attempt counts when a slow hash is computed for it, so one that
	// the store or the queue of slow hashes fails does not. All attempts on the key from
	// addresses that are not known count together, and 200 times as many may be made.
	SlowAttempts []limit.Rate

	// Flood is how many times one address may try at all, before the store is asked. nil means
	// 60,000 in a minute. It is the only limit that rejects correct generated secrets.
	Flood []limit.Rate

	// Off counts nothing: for hosts with limits of their own, and for benchmarks.
	Off bool
}

// newThrottle returns the throttle of the service with this issuer, or nil if it is off. The limits
// of services with different issuers are counted apart.
func (t Throttling) newThrottle(
	issuer string, now func() time.Time, log *slog.Logger,
) (*throttle.Throttle, error) {
	limits, err := throttle.New(throttle.Limits(t), issuer, now, log)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	return limits, nil
}

// counted returns the client as the throttle counts it.
func (c ClientInfo) counted() throttle.Client {
	return throttle.Client{Address: c.Address, Peer: c.peer}
}

// asThrottled returns err, or a [ThrottledError] in its place if a limit is exceeded.
func asThrottled(err error) error {
	exceeded, ok := errors.AsType[*throttle.ExceededError](err)
	if !ok {
		return err
	}
	throttled := &ThrottledError{RetryAfter: exceeded.RetryAfter}
	return fmt.Errorf("auth: too many %s: %w", exceeded.Kind, throttled)
}
