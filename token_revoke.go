package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/scope"
	"github.com/sallyport-go/auth/internal/token"
)

// findCallerSession returns the caller's session from the store, or an error if the store has no
// such session, or the session has expired or is for another audience.
func (t *TokenIssuer) findCallerSession(ctx context.Context, caller *Identity) (Session, error) {
	session, err := t.sessions.FindSession(ctx, caller.SessionID)
	switch {
	case errors.Is(err, ErrNotFound):
		return session, errRevoked
	case err != nil:
		return session, fmt.Errorf("auth: reading the caller's session: %w", err)
	case session.UserID != caller.UserID || !t.cfg.Now().Before(session.ExpiresAt):
		return session, errRevoked
	case session.Audience != "":
		return session, errOtherAudience
	}
	return session, nil
}

// findLiveSession returns the caller's session, or an error unless the session is live according to the
// store.
func (t *TokenIssuer) findLiveSession(ctx context.Context, caller *Identity) (Session, error) {
	session, err := t.findCallerSession(ctx, caller)
	if err != nil || t.feed == nil {
		return session, err
	}
	// An entry of the feed may revoke a session whose record still exists.
	revoked, err := t.feed.IsRevoked(ctx, caller.UserID, caller.SessionID, session.Generation)
	switch {
	case err != nil:
		return session, fmt.Errorf("auth: reading the revocation feed: %w", err)
	case revoked:
		return session, errRevoked
	}
	return session, nil
}

// checkAuthority checks an authority that a host passes to an exported method. If the host keeps
// the users, the store does not know who is a super user. In that case, checkAuthority asks the
// UserSource about an authority with SuperUser.
func (t *TokenIssuer) checkAuthority(ctx context.Context, by Authority) error {
	if err := by.checkHost(); err != nil || !by.SuperUser || t == nil || t.users == nil {
		return err
	}
	user, err := t.users.activeUser(ctx, by.UserID)
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrUserDisabled):
		return errCallerDisabled
	case err == nil && !user.IsSuperUser:
		return ErrSuperUserRequired
	}
	return err
}

// checkHostOwner returns an *InsufficientScopeError if a limited session must not give or change a key of
// the user in the host's table: see [scope.GivesDelegation]. The store does not know the Audiences of such a
// user. If the store keeps the users, the store checks this, and checkHostOwner returns nil. The host's table
// cannot be read in the transaction of the change. The Scopes of a session never change, so they can be read
// before the transaction.
func (t *TokenIssuer) checkHostOwner(ctx context.Context, by Authority, ownerID string) error {
	if t == nil || t.users == nil || by.SessionID == "" || by.CheckOwner(ownerID) != nil {
		return nil // the store checks the authority, and refuses it without saying whether there is a key
	}
	owner, err := t.users.FindUser(ctx, ownerID)
	if errors.Is(err, ErrNotFound) || err == nil && owner.Audiences == "" {
		return nil
	}
	var session Session
	if err == nil {
		session, err = t.sessions.FindSession(ctx, by.SessionID)
	}
	switch {
	case errors.Is(err, ErrNotFound):
		return nil // the store refuses the authority
	case err != nil:
		return fmt.Errorf("auth: reading the records of a service user's key: %w", err)
	}
	if scope.GivesDelegation(owner.Audiences, owner.ID, by.UserID) {
		return (*ScopeSet)(nil).CheckWithin(session.Scopes)
	}
	return nil
}

// Revoke revokes the session, so that its token is rejected from then on. An authority with a SessionID but
// without SuperUser can revoke only sessions of its own user. Revoke returns ErrNotFound if there is no
// such session, or if the authority cannot revoke that session. It also returns the errors of an
// [Authority]. To revoke the session of a token, use RevokeToken.
func (t *TokenIssuer) Revoke(ctx context.Context, by Authority, sessionID string) error {
	if err := t.checkAuthority(ctx, by); err != nil {
		return err
	}
	return t.revoke(ctx, by, sessionID, "")
}

// revoke does the same as Revoke, but does not check the authority. The userID argument is the ID
// of the session's user, or empty if the user is not known.
func (t *TokenIssuer) revoke(ctx context.Context, by Authority, sessionID, userID string) error {
	c := t.newChange(ctx, by, Event{Kind: eventkind.SessionRevoked, UserID: userID, SessionID: sessionID})
	err := t.sessions.RevokeSession(ctx, c.write, sessionID)
	if err == nil || errors.Is(err, ErrNotFound) { // another instance may just have revoked the session
		t.learnRevocations(ctx)
	}
	if err != nil {
		return fmt.Errorf("auth: revoking a session: %w", err)
	}
	c.recordEvent(ctx)
	return nil
}

// RevokeToken revokes the session of a token that this issuer has signed and that has not expired.
// Use it to sign a user out. RevokeToken needs no [Authority], because everybody who has the token
// is allowed to revoke its session.
//
// RevokeToken also succeeds if the session was revoked before, or if the store has no record of the
// session. After RevokeToken has returned nil, this instance rejects the token. RevokeToken returns
// ErrTokenRejected if the token is not valid. It accepts a token for another audience of
// [TokenConfig.Audiences]. For a delegated token, it returns ErrDelegated, because the session is that of a
// user, and a service user must not sign the user out.
func (t *TokenIssuer) RevokeToken(ctx context.Context, token string) error {
	v, _, err := t.verifier.VerifyAny(t.cache, t.ring.Load(), token, t.now().Unix())
	switch {
	case err != nil:
		return err
	case v.Identity.Actor != "":
		return ErrDelegated
	}
	return t.revokeClaims(ctx, &v.Claims, v.Identity.ExpiresAt)
}

// revokeClaims revokes the session that a verified token names. The last argument is when the last token
// of the session expires.
func (t *TokenIssuer) revokeClaims(ctx context.Context, c *token.Claims, last time.Time) error {
	err := t.sessions.RevokeToken(ctx, SessionClaims{
		UserID: c.Identity.UserID, SessionID: c.Identity.SessionID,
		Generation: c.Generation, ExpiresAt: last,
	})
	if err != nil {
		return fmt.Errorf("auth: revoking the session of a token: %w", err)
	}
	t.learnRevocations(ctx)
	e := Event{Kind: eventkind.SessionRevoked, UserID: c.Identity.UserID, SessionID: c.Identity.SessionID}
	if callerOf(ctx) == nil { // if there is a caller, emit sets the caller as the actor
		e.ActorID = c.Identity.UserID
	}
	t.events.emit(ctx, e)
	return nil
}

// RevokeUser revokes all sessions of the user, so that their tokens are rejected from then on. It returns
// how many of the sessions were live. If the store keeps users and there is no such user, it returns
// ErrNotFound. It also returns the errors of an [Authority]. An authority with the SessionID of another
// user's session must have SuperUser set.
//
// The user can sign in again, unless the user is disabled. A host with a [UserSource] calls
// RevokeUser after it has disabled, demoted or deleted a user. After RevokeUser has returned, the
// store refuses every change under the [Authority] of a revoked session.
func (t *TokenIssuer) RevokeUser(ctx context.Context, by Authority, userID string) (int, error) {
	if err := t.checkAuthority(ctx, by); err != nil {
		return 0, err
	}
	c := t.newChange(ctx, by, Event{Kind: eventkind.UserSessionsRevoked, UserID: userID})
	live, err := t.sessions.RevokeUserSessions(ctx, c.write, userID)
	if err != nil {
		return 0, fmt.Errorf("auth: revoking the sessions of a user: %w", err)
	}
	t.learnRevocations(ctx)
	c.recordEvent(ctx)
	return live, nil
}

// RevokeOthers revokes all sessions of the authority's user, except the session of the authority, and
// returns how many of them were live. Use it to sign a user out everywhere else. It also withdraws the
// approvals of devices that have not got their tokens yet. RevokeOthers needs the authority of a session:
// it returns an *[InvalidError] if the authority has a Host. It also returns the errors of an [Authority].
//
// A user can have revoked so many sessions that the store replaces entries of the revocation feed. The
// session of the authority can then be revoked too, if it is older than most of them.
func (t *TokenIssuer) RevokeOthers(ctx context.Context, by Authority) (int, error) {
	if err := t.checkAuthority(ctx, by); err != nil {
		return 0, err
	}
	c := t.newChange(ctx, by, Event{Kind: eventkind.UserSessionsRevoked, UserID: by.UserID,
		Reason: "all sessions except this one"})
	live, err := t.sessions.RevokeOtherSessions(ctx, c.write)
	if err != nil {
		return 0, fmt.Errorf("auth: revoking the other sessions of a user: %w", err)
	}
	t.learnRevocations(ctx)
	c.recordEvent(ctx)
	return live, nil
}

// learnRevocations makes this instance reject the tokens of the sessions that a call of the store
// has just revoked. Each component calls learnRevocations after every call of the store that may
// revoke sessions. For a nil issuer, it does nothing.
func (t *TokenIssuer) learnRevocations(ctx context.Context) {
	if t != nil && t.feed != nil {
		t.feed.ReadAfterWrite(ctx)
	}
}
