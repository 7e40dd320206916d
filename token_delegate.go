package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/token"
)

// Delegation says which delegated token [TokenIssuer.Delegate] returns.
type Delegation struct {
	// For is the ID of the service user that asks for the token and will use it. The user must be active,
	// and its IsService must be true. The host must have authenticated this user: Delegate does not.
	For string

	// Audience is the service that accepts the token. It must be in [TokenConfig.Audiences], and in the
	// Audiences of the service user.
	Audience string

	// Scopes are the scopes of the token. They must be scopes of [TokenConfig.Scopes], within those of the
	// caller. They must not be nil: a delegated token is always limited.
	Scopes *ScopeSet

	// Lifetime is how long the token is valid, in whole seconds. Zero means 15 minutes. The token expires
	// with the caller's token at the latest.
	Lifetime time.Duration
}

const defaultDelegationLifetime = 15 * time.Minute

// DelegatedToken is the result of [TokenIssuer.Delegate].
type DelegatedToken struct {
	Bearer   Secret   // the token itself, for the Authorization header of calls of the other service
	Identity Identity // the identity that the token proves
}

// Delegate returns a token with which the service user [Delegation.For] calls another service on behalf of
// the caller. An example is an agent that reads reports for a person. The token names both: UserID is the
// caller's, and Actor is the service user (RFC 8693, section 4.1). The identity of the caller must come
// from a verified token of this issuer.
//
// The token is for the other service alone. [TokenIssuer.Verify], [Service.Authenticate] and the HTTP calls
// of this package reject it, and Delegate does not delegate it again. It belongs to the session of the
// caller: a verifier that follows the revocation feed rejects it as soon as the session is revoked. Nothing
// is stored. If the service user is disabled later, its delegated tokens stay valid until they expire.
//
// Delegate reads the session and both users from the store, or the users from the [UserSource]. It returns
// ErrDelegated if the caller's own token is delegated or for another service, and ErrTokenRejected if the
// caller's token has expired, or if the session or the user of the caller is not live now. It returns
// ErrNotFound if the service user does not exist, ErrUserDisabled if the service user is not active, an
// *[InsufficientScopeError] if the caller lacks one of the scopes, and an *[InvalidError] if a field of the
// Delegation is not valid. Any other error means that there could be no answer: the store or the signer
// failed, the function TokenConfig.Claims failed, or the store of the issuer has no users.
//
// Delegate emits an [eventkind.TokenDelegated]. It is safe for concurrent use.
func (t *TokenIssuer) Delegate(
	ctx context.Context, caller Identity, d Delegation,
) (DelegatedToken, error) {
	switch {
	case caller.Actor != "" || caller.Audience != t.verifier.Issuer:
		return DelegatedToken{}, ErrDelegated
	case caller.mustRotate():
		return DelegatedToken{}, &InsufficientScopeError{Scope: ScopeRotate}
	}
	if err := t.checkDelegation(d); err != nil {
		return DelegatedToken{}, err
	}
	session, user, err := t.findDelegator(ctx, caller)
	if err != nil {
		return DelegatedToken{}, err
	}
	// The scopes in the store decide, and those of the token too: an Identity can be made by hand.
	for _, limit := range []*ScopeSet{session.Scopes, caller.Scopes()} {
		if err := d.Scopes.CheckWithin(limit); err != nil {
			return DelegatedToken{}, err
		}
	}
	if err := t.checkActor(ctx, d); err != nil {
		return DelegatedToken{}, err
	}
	identity, err := t.delegatedIdentity(ctx, caller, d, session, user)
	if err != nil {
		return DelegatedToken{}, err
	}
	text, err := t.signIdentity(ctx, token.TypeBearer, identity, session, user)
	if err != nil {
		return DelegatedToken{}, err
	}
	t.events.emit(ctx, Event{Kind: eventkind.TokenDelegated, UserID: user.ID, ActorID: d.For,
		SessionID: session.ID, AccessKey: session.AccessKeyID,
		Reason: fmt.Sprintf("for %s, with the scopes %q", d.Audience, d.Scopes)})
	return DelegatedToken{Bearer: NewSecret(text), Identity: Identity(*identity)}, nil
}

// checkDelegation checks what can be known without the store.
func (t *TokenIssuer) checkDelegation(d Delegation) error {
	switch {
	case d.Audience == "":
		return invalidf("audience", "is required")
	case d.Scopes == nil:
		return invalidf("scopes", "are required")
	case t.scopes == nil:
		return invalidf("scopes", "must be scopes that the service knows")
	case d.Lifetime < 0 || d.Lifetime%time.Second != 0:
		return invalidf("lifetime", "must be whole seconds, and not negative")
	}
	if err := cmp.Or(checkID("for", d.For, MaxIDLength), t.checkAudience(d.Audience),
		t.checkScopes(d.Scopes)); err != nil {
		return err
	}
	if slices.ContainsFunc(d.Scopes.List(), func(name string) bool {
		return strings.HasPrefix(name, reservedScopePrefix)
	}) {
		return invalidf("scopes", "must not begin with %q", reservedScopePrefix)
	}
	return nil
}

// findDelegator returns the session of the caller and the caller's user, if both are live now.
func (t *TokenIssuer) findDelegator(ctx context.Context, caller Identity) (Session, User, error) {
	if t.directory == nil {
		return Session{}, User{}, errors.New("auth: Delegate needs a TokenIssuer whose store keeps users, " +
			"or a UserSource")
	}
	session, err := t.findLiveSession(ctx, &caller)
	if err != nil {
		return Session{}, User{}, rejectionOf(caller.UserID, caller.SessionID, err)
	}
	user, err := t.directory.FindUser(ctx, caller.UserID)
	switch {
	case errors.Is(err, ErrNotFound), err == nil && !user.IsActive:
		return Session{}, User{}, rejectionOf(caller.UserID, caller.SessionID, errCallerDisabled)
	case err != nil:
		return Session{}, User{}, fmt.Errorf("auth: reading the record of the caller: %w", err)
	}
	return session, user, nil
}

// checkActor returns an error unless the service user may get the delegated token.
func (t *TokenIssuer) checkActor(ctx context.Context, d Delegation) error {
	actor, err := t.directory.FindUser(ctx, d.For)
	switch {
	case err != nil:
		return fmt.Errorf("auth: reading the record of the service user: %w", err)
	case !actor.IsActive:
		return ErrUserDisabled
	case !actor.IsService:
		return invalidf("for", "must be the ID of a service user")
	case !actor.HasAudience(d.Audience):
		return invalidf("audience", "must be an audience of the service user")
	}
	return nil
}

// delegatedIdentity returns the identity of the delegated token. The token expires with the caller's token
// and with the session at the latest.
func (t *TokenIssuer) delegatedIdentity(
	ctx context.Context, caller Identity, d Delegation, session Session, user User,
) (*token.Identity, error) {
	narrowed := session // TokenConfig.Claims decides by what the token may do, and where
	narrowed.Audience, narrowed.Scopes = d.Audience, d.Scopes
	identity, err := t.identityOf(ctx, narrowed, user)
	if err != nil {
		return nil, err
	}
	lifetime := min(cmp.Or(d.Lifetime, defaultDelegationLifetime), t.cfg.MaxLifetime.Truncate(time.Second))
	identity.IssuedAt = t.cfg.Now().UTC().Truncate(time.Second)
	identity.ExpiresAt = identity.IssuedAt.Add(lifetime)
	for _, end := range []time.Time{caller.ExpiresAt, session.ExpiresAt} {
		if end = end.UTC().Truncate(time.Second); end.Before(identity.ExpiresAt) {
			identity.ExpiresAt = end
		}
	}
	if !identity.ExpiresAt.After(identity.IssuedAt) {
		return nil, rejectionOf(caller.UserID, caller.SessionID, errSessionExpired)
	}
	identity.Audience, identity.Actor = d.Audience, d.For
	identity.Limited, identity.Scope, identity.AccessKeyID = true, d.Scopes.text, session.AccessKeyID
	return identity, nil
}
