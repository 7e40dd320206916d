package auth

import (
	"context"
	"errors"
	"time"
)

// Hooks are told of what a host measures. One that is nil costs nothing. They are
// called within requests and by many at once, so that they must return at once. Module
// otelauth, beside this one, makes them for OpenTelemetry.
type Hooks struct {
	// SignIn is told of each attempt to sign in, what came of it, and how long it
	// took: of a sign-in with GitHub, the callback.
	SignIn func(ctx context.Context, method SignInMethod, outcome Outcome, took time.Duration)

	// Verify is told of each bearer token: OutcomeHit or OutcomeAccepted if it was
	// good, OutcomeRejected, OutcomeFailed or OutcomeCanceled if not.
	Verify func(ctx context.Context, outcome Outcome, took time.Duration)
}

// Outcome is what came of something that is measured.
type Outcome string

// The outcomes.
const (
	OutcomeAccepted  Outcome = "accepted"
	OutcomeHit       Outcome = "hit" // accepted, for the token was in the cache
	OutcomeRejected  Outcome = "rejected"
	OutcomeThrottled Outcome = "throttled"
	OutcomeFailed    Outcome = "failed"   // the store, or GitHub, did not answer
	OutcomeCanceled  Outcome = "canceled" // nobody waited for it: the context was canceled
)

// outcomeOf returns the outcome that an error is.
func outcomeOf(err error) Outcome {
	var throttled *ThrottledError
	switch status, _ := ErrorStatus(err); {
	case err == nil:
		return OutcomeAccepted
	case errors.As(err, &throttled):
		return OutcomeThrottled
	case status >= 500 && errors.Is(err, context.Canceled):
		return OutcomeCanceled
	case status >= 500:
		return OutcomeFailed
	}
	return OutcomeRejected
}

// observeVerify is verify, whose outcome and time the host is told.
func (t *TokenIssuer) observeVerify(ctx context.Context, token string) (*Identity, error) {
	began := time.Now()
	identity, hit, err := t.verifyToken(ctx, token)
	outcome := outcomeOf(err)
	if err == nil && hit {
		outcome = OutcomeHit
	}
	t.onVerify(ctx, outcome, time.Since(began))
	return identity, err
}

// FeedAge returns how old what this instance knows of ended sessions is, and whether
// that is good enough to accept tokens: for a gauge and an alert. With CheckSessionsInStore it
// is 0 and true.
func (s *Service) FeedAge() (age time.Duration, accepts bool) {
	feed := s.tokens.feed
	if feed == nil {
		return 0, true
	}
	age = feed.age(s.now())
	return age, age < feed.maxStaleness
}
