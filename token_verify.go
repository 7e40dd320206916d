package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sallyport-go/auth/internal/feedpage"
	"github.com/sallyport-go/auth/internal/scope"
	"github.com/sallyport-go/auth/internal/token"
)

// Verify returns the identity that the token proves. It returns ErrTokenRejected if the token is not valid
// now, or if it is for another audience than the issuer. Any other error means that the token could not be
// checked, because the store did not answer.
//
// If this issuer, or a component that uses it, revokes a session, Verify rejects the session's
// token at once. If another instance, or a direct call of the store, revokes a session, Verify
// rejects the token within RevocationInterval. If the store does not answer, Verify can accept this
// token for up to MaxStaleness.
func (t *TokenIssuer) Verify(ctx context.Context, token string) (Identity, error) {
	return t.VerifyFor(ctx, t.verifier.Audience, token)
}

// VerifyFor does the same as [TokenIssuer.Verify], but for tokens with another aud claim, and also for
// delegated tokens: see [TokenIssuer.Delegate]. It is for another service in the same process. A service in
// a process of its own uses a [RemoteVerifier].
//
// The audience must be the issuer or an element of [TokenConfig.Audiences]. For any other audience, VerifyFor
// returns an *[InvalidError].
func (t *TokenIssuer) VerifyFor(ctx context.Context, audience, token string) (Identity, error) {
	if audience != t.verifier.Audience {
		if err := t.checkAudience(audience); err != nil || audience == "" {
			return Identity{}, cmp.Or(err, invalidf("audience", "is required"))
		}
	}
	identity, err := t.verify(ctx, audience, token)
	if err != nil {
		t.events.recordTokenRejection(ctx, err)
		return Identity{}, err
	}
	return *identity, nil
}

// verify does the same as VerifyFor, without an event, for an audience that exists. Callers share its
// result and must not change it.
func (t *TokenIssuer) verify(ctx context.Context, audience, token string) (*Identity, error) {
	if t.onVerify != nil {
		return t.measureVerify(ctx, audience, token)
	}
	identity, _, err := t.verifyToken(ctx, audience, token)
	return identity, err
}

// measureVerify verifies a token and reports the result and the duration to the Verify hook.
func (t *TokenIssuer) measureVerify(ctx context.Context, audience, token string) (*Identity, error) {
	began := time.Now()
	identity, cached, err := t.verifyToken(ctx, audience, token)
	t.onVerify(ctx, err, cached, time.Since(began))
	return identity, err
}

// verifyToken does the same as verify, but never calls the Verify hook. It also reports whether the
// token was in the cache.
func (t *TokenIssuer) verifyToken(
	ctx context.Context, audience, text string,
) (identity *Identity, cached bool, err error) {
	now := t.now()
	v, cached, err := t.verifier.VerifyFor(t.cache, t.ring.Load(), audience, text, now.Unix())
	if err != nil {
		if errors.Is(err, token.ErrUnknownKey) {
			t.unknownKeys.Add(1)
		}
		return nil, cached, err
	}
	if err := t.requireLive(ctx, &v.Claims, &v.Checked, now); err != nil {
		return nil, cached, rejectionOf(v.Identity.UserID, v.Identity.SessionID, err)
	}
	return (*Identity)(&v.Identity), cached, nil
}

// requireLive returns an error unless the session of the claims is live. It passes the parameter
// checked, which belongs to the token, to [revocation.Feed.RequireLive].
func (t *TokenIssuer) requireLive(
	ctx context.Context, c *token.Claims, checked *atomic.Uint64, now time.Time,
) error {
	if t.feed != nil {
		err := t.feed.RequireLive(ctx, c.Identity.UserID, c.Identity.SessionID, c.Generation, checked, now)
		if err != nil {
			return feedError(err)
		}
		return nil
	}
	session, err := t.sessions.FindSession(ctx, c.Identity.SessionID)
	switch {
	case errors.Is(err, ErrNotFound):
		return errRevoked
	case err != nil:
		return fmt.Errorf("auth: verifying a token: %w", err)
	case session.UserID != c.Identity.UserID || !now.Before(session.ExpiresAt):
		return errRevoked
	}
	return nil
}

// HasScope reports whether the token has the scope or has no limit. It returns false for an Identity without
// a UserID, which is that of no caller.
func (i Identity) HasScope(name string) bool {
	return i.UserID != "" && (!i.Limited || scope.Contains(i.Scope, name))
}

// CheckScope returns an *[InsufficientScopeError] unless [Identity.HasScope] returns true for the scope.
// If the token has only [ScopeRotate], the error names ScopeRotate, so that the client learns what to do.
// [ErrorStatus] maps this error to 403. Its challenge names the scope, but not [Config.ResourceMetadataURL],
// as that of [Service.RequireScope] does.
func (i Identity) CheckScope(name string) error {
	switch {
	case i.HasScope(name):
		return nil
	case i.mustRotate():
		return i.unscoped()
	}
	return &InsufficientScopeError{Scope: name}
}

// unscoped returns the error for a limited token where no scope would help, except [ScopeRotate].
func (i Identity) unscoped() error {
	if i.mustRotate() {
		return &InsufficientScopeError{Scope: ScopeRotate}
	}
	return &InsufficientScopeError{}
}

// mustRotate reports whether an access key that must be rotated opened the session of the token.
func (i Identity) mustRotate() bool { return i.Limited && i.Scope == ScopeRotate }

// Scopes returns the scopes of the token, or nil if the token has no limit. To make a key with at most the
// power of the caller, use the result in [KeyOptions].
func (i Identity) Scopes() *ScopeSet {
	if !i.Limited {
		return nil
	}
	return &ScopeSet{text: i.Scope, made: true}
}

// newPublisher returns the publisher of the revocation feed. With CheckSessionsInStore, it has a reader of
// its own.
func (t *TokenIssuer) newPublisher() *feedpage.Publisher {
	feed := t.feed
	if feed == nil {
		feed = t.newFeed()
	}
	return feedpage.NewPublisher(t.verifier.Issuer, feed, listEntries(t.sessions), t.cfg.Now)
}
