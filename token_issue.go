package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport-go/auth/internal/callback"
	"github.com/sallyport-go/auth/internal/token"
)

// IssueParams contains the user for whom [TokenIssuer.Issue] issues a token, and the way in which
// this user signed in. Issue verifies neither.
type IssueParams struct {
	UserID string
	Method SignInMethod

	// AccessKeyID is the ID of the access key with which the user signed in. It must be empty
	// unless Method is MethodAccessKey. Revoking the key revokes the session.
	AccessKeyID string

	// Scopes limits the session: see [ScopeSet]. nil means the scopes of the access key, or no limit if
	// there is no access key.
	Scopes *ScopeSet

	// Audience is the service that accepts the token, an element of [TokenConfig.Audiences]. Empty means
	// the issuer itself. Its session cannot be used at the issuer.
	Audience string

	lifetime time.Duration // zero means TokenConfig.Lifetime
}

// LoginOptions are options of [Service.Login] and [Service.SignIn]. The fields are those of [IssueParams].
// The zero value opens an ordinary session.
type LoginOptions struct {
	Scopes   *ScopeSet // nil means the scopes of the access key, or no limit if there is none
	Audience string    // empty means the issuer itself
}

// Token is an issued token, its session, and the user as of the time when the session was opened.
type Token struct {
	// Bearer is the token itself, for the Authorization header.
	Bearer Secret

	Session Session
	User    User
}

// ExpiresIn returns the lifetime of the token, counted from the time when the token was issued. It
// is a whole number of seconds.
func (t Token) ExpiresIn() time.Duration {
	return t.Session.ExpiresAt.Sub(t.Session.CreatedAt)
}

// Issue creates a session and returns its token. If [WithClientInfo] has put a client into ctx, the
// session records that client. If the user already has MaxSessions sessions, Issue revokes the
// oldest. For the EventLog and the SignIn hook, each call of Issue is an attempt to sign in.
//
// Issue returns ErrUserDisabled if the user is disabled, and ErrServiceUser if Method is MethodGitHub or
// MethodDevice and the user is a service user. It returns ErrAssertionRejected if Method is MethodWorkload
// and the user is not a service user. It returns ErrNotFound if the user or the access key does not exist, or
// if the access key has expired. It returns an *[InsufficientScopeError] if the Scopes are not within those
// of the access key, and an *[InvalidError] if a scope is neither in [TokenConfig.Scopes] nor one of this
// package, or if the Audience is not in [TokenConfig.Audiences]. If Issue returns an error, it leaves no
// session behind, unless the store has failed.
func (t *TokenIssuer) Issue(ctx context.Context, params IssueParams) (Token, error) {
	began := time.Now()
	token, err := t.issue(ctx, params)
	t.events.recordSignIn(ctx, began,
		Event{Method: params.Method, UserID: params.UserID, SessionID: token.Session.ID}, err)
	return token, err
}

// issue does the same as Issue, but records no event.
func (t *TokenIssuer) issue(ctx context.Context, params IssueParams) (Token, error) {
	if (params.Method == MethodAccessKey) != (params.AccessKeyID != "") {
		// Without AccessKeyID, revoking the key would not revoke the session.
		return Token{}, errors.New("auth: IssueParams.AccessKeyID must be set if Method is " +
			"MethodAccessKey, and only then")
	}
	if err := cmp.Or(t.checkScopes(params.Scopes), t.checkAudience(params.Audience)); err != nil {
		return Token{}, err
	}
	session, user, err := t.sessions.CreateSession(ctx, t.newSession(ctx, params), t.cfg.MaxSessions)
	var invalid *InvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Field == "created_at":
		// Not an *InvalidError, because no field of the request is wrong.
		return Token{}, errors.New("auth: creating a session: the clock is out of range")
	case err != nil:
		return Token{}, fmt.Errorf("auth: creating a session: %w", err)
	}
	if session.Audience != params.Audience ||
		params.Scopes != nil && !session.Scopes.Equal(params.Scopes) {
		return Token{}, t.discardSession(ctx, session, errors.New("auth: the store has not kept the "+
			"Audience or the Scopes of a session"))
	}
	return t.issueFor(ctx, session, user)
}

// errNotService means that a user who is not a service user has no session with MethodWorkload.
var errNotService = fmt.Errorf("%w: the user is not a service user", ErrAssertionRejected)

// issueFor returns the token of a session that the store has just created. The user argument is the
// user that the store returned with the session. If issueFor fails, it revokes the session.
//
// If there is a UserSource, issueFor reads the user from it only after the session was created. The
// host may disable the user at the same moment. Because of this order, either issueFor refuses the
// user, or the host's call of RevokeUser finds the session.
func (t *TokenIssuer) issueFor(ctx context.Context, session Session, user User) (Token, error) {
	if t.feed != nil {
		t.feed.CatchUp(ctx, session.Generation)
	}
	token, err := Token{}, error(nil)
	switch {
	case t.users != nil:
		user, err = t.users.activeUser(ctx, session.UserID)
	case !user.IsActive: // the store keeps no users, and there is no UserSource
		err = ErrUserDisabled
	}
	switch {
	case err != nil:
	case user.IsService && (session.Method == MethodGitHub || session.Method == MethodDevice):
		err = ErrServiceUser
	case !user.IsService && session.Method == MethodWorkload:
		err = errNotService
	}
	if err == nil {
		token, err = t.sign(ctx, session, user)
	}
	if err != nil {
		return Token{}, t.discardSession(ctx, session, err)
	}
	if session.Method != MethodWorkload { // each job of a CI service can run on another machine
		t.clients.recordSignIn(ctx, session)
	}
	return token, nil
}

// discardTimeout limits how long discardSession waits for the store.
const discardTimeout = 5 * time.Second

// discardSession revokes a session that gets no token, and returns the given reason. If the store
// fails, the session may still exist, and discardSession returns the error of the store instead.
func (t *TokenIssuer) discardSession(ctx context.Context, session Session, reason error) error {
	// Without cancellation, because the request may be over.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardTimeout)
	defer cancel()
	if err := t.sessions.RevokeToken(ctx, claimsOf(session)); err != nil {
		return fmt.Errorf("auth: revoking a session that gets no token: %w", err)
	}
	return reason
}

// claimsOf returns the claims of a token of the session.
func claimsOf(session Session) SessionClaims {
	return SessionClaims{
		UserID: session.UserID, SessionID: session.ID,
		Generation: session.Generation, ExpiresAt: session.ExpiresAt,
	}
}

// newSession returns the record of a session that begins now. The times of the session are whole
// seconds, because a token contains only whole seconds.
func (t *TokenIssuer) newSession(ctx context.Context, params IssueParams) Session {
	now := t.cfg.Now().UTC().Truncate(time.Second)
	client := clientOf(ctx)
	return Session{
		ID:          rand.Text(),
		UserID:      params.UserID,
		Method:      params.Method,
		AccessKeyID: params.AccessKeyID,
		CreatedAt:   now,
		ExpiresAt:   now.Add(cmp.Or(params.lifetime, t.cfg.Lifetime)),
		UserAgent:   client.UserAgent,
		Address:     client.address(),
		Scopes:      params.Scopes,
		Audience:    params.Audience,
	}
}

// sign returns the token of a session that is in the store.
func (t *TokenIssuer) sign(ctx context.Context, session Session, user User) (Token, error) {
	session.ExpiresAt = session.ExpiresAt.Truncate(time.Second)
	if !session.ExpiresAt.After(session.CreatedAt) {
		return Token{}, fmt.Errorf("auth: the key expires within the second: %w", ErrNotFound)
	}
	text, err := t.signAs(ctx, token.TypeBearer, session, user)
	if err != nil {
		return Token{}, err
	}
	return Token{Bearer: NewSecret(text), Session: session, User: user}, nil
}

// signAs returns the text of a token of the given type.
func (t *TokenIssuer) signAs(ctx context.Context, typ string, session Session, user User) (string, error) {
	identity, err := t.identityOf(ctx, session, user)
	if err != nil {
		return "", err
	}
	return t.signIdentity(ctx, typ, identity, session, user)
}

// identityOf returns the identity of a token of the session.
func (t *TokenIssuer) identityOf(ctx context.Context, session Session, user User) (*token.Identity, error) {
	claims, err := t.hostClaims(ctx, session, user)
	if err != nil {
		return nil, err
	}
	identity := &token.Identity{
		UserID: user.ID, Username: user.Username,
		SessionID: session.ID, IssuedAt: session.CreatedAt, ExpiresAt: session.ExpiresAt,
		Claims: claims, Audience: cmp.Or(session.Audience, t.verifier.Issuer),
	}
	if session.Scopes != nil {
		identity.Limited, identity.Scope = true, session.Scopes.text
		identity.AccessKeyID = session.AccessKeyID
	}
	return identity, nil
}

// signIdentity returns the text of a token of the given type, which proves the identity.
func (t *TokenIssuer) signIdentity(
	ctx context.Context, typ string, identity *token.Identity, session Session, user User,
) (string, error) {
	text, err := token.Sign(ctx, t.ring.Load().Signer(), typ, t.prefixes[identity.Audience], identity,
		session.Generation, user.IsSuperUser)
	if err != nil {
		return "", fmt.Errorf("auth: signing a token: %w", err)
	}
	return text, nil
}

// hostClaims returns the claims of [TokenConfig.Claims] as a JSON object, or "" if there are none.
func (t *TokenIssuer) hostClaims(
	ctx context.Context, session Session, user User,
) (claims string, err error) {
	if t.cfg.Claims == nil {
		return "", nil
	}
	defer callback.Recover("TokenConfig.Claims", func(failure error) { claims, err = "", failure })
	object, err := t.cfg.Claims(ctx, session, user)
	if err != nil {
		// Without its type: an ErrNotFound of the host is no reason to reject the user.
		return "", fmt.Errorf("auth: TokenConfig.Claims: %v", err)
	}
	if len(object) == 0 {
		return "", nil
	}
	text, err := json.Marshal(object)
	switch {
	case err != nil:
		// Without its type, too: the method MarshalJSON of a value can return any error.
		return "", fmt.Errorf("auth: TokenConfig.Claims: %v", err)
	case len(text) > token.MaxClaims:
		return "", fmt.Errorf("auth: TokenConfig.Claims returned %d bytes of JSON; at most %d are allowed",
			len(text), token.MaxClaims)
	}
	return string(text), nil
}
