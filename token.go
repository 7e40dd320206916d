package auth

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sallyport-go/auth/internal/defaults"
	"github.com/sallyport-go/auth/internal/revocation"
	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/token"
)

// TokenIssuer issues and verifies session tokens. It is safe for concurrent use.
//
// A token is a JWT (RFC 7519) signed with one of the signing keys. It names a session in the
// store and is accepted only while the session is live.
type TokenIssuer struct {
	sessions SessionStore
	users    *hostUsers // nil if the store keeps users
	cfg      TokenConfig
	verifier token.Verifier
	now      func() time.Time // the clock for verifying a token

	claimsPrefix token.Prefix

	events   *EventLog
	onVerify func(ctx context.Context, err error, cached bool, took time.Duration)

	ring  atomic.Pointer[signing.Ring]
	cache *token.Cache     // nil for none
	feed  *revocation.Feed // nil with CheckSessionsInStore
}

// NewTokenIssuer returns an issuer of tokens whose sessions are in the store, or an error that
// says what to change.
//
// The issuer is the iss claim: the URL of this service, such as "https://api.example.com"; at
// most 256 bytes.
//
// The first of the keys signs, all of them verify. To change keys, first append the new one on
// every instance. Then put it in front of the old one, which is now [SigningKey.RetiredAt] the
// time when no instance signs with it any longer. Drop the old one when its last token has
// expired. Drop a key at once if somebody else may have it. [TokenIssuer.SetKeys] does all
// this without a restart.
func NewTokenIssuer(
	store SessionStore, issuer string, keys []SigningKey, cfg TokenConfig,
) (*TokenIssuer, error) {
	return newTokenIssuer(store, nil, issuer, keys, cfg)
}

// NewTokenIssuerWithUsers is [NewTokenIssuer] for a host with a users table of its own, over a
// store that keeps no users, such as that of memstore.NewAccounts.
func NewTokenIssuerWithUsers(
	store SessionStore, users UserSource, issuer string, keys []SigningKey, cfg TokenConfig,
) (*TokenIssuer, error) {
	if users == nil {
		return nil, errors.New("auth: NewTokenIssuerWithUsers needs a UserSource")
	}
	return newTokenIssuer(store, users, issuer, keys, cfg)
}

// newTokenIssuer returns an issuer for the users of the source or, if it is nil, of the store.
func newTokenIssuer(
	store SessionStore, source UserSource, issuer string, keys []SigningKey, cfg TokenConfig,
) (*TokenIssuer, error) {
	if defaults.IsNil(store) {
		return nil, errors.New("auth: NewTokenIssuer needs a store")
	}
	if err := checkUserSource(store, source); err != nil {
		return nil, err
	}
	ownClock := cfg.Now == nil
	cfg, err := cfg.withDefaults(issuer)
	if err != nil {
		return nil, err
	}
	cache, err := token.NewCache(cfg.CacheSize)
	if err != nil {
		return nil, err
	}
	ring, err := newRing(keys)
	if err != nil {
		return nil, err
	}
	var users *hostUsers
	if source != nil {
		users = &hostUsers{source}
	}
	t := &TokenIssuer{
		cache:    cache,
		users:    users,
		sessions: guardedSessions{store},
		cfg:      cfg,
		now:      cfg.Now,
		events:   cfg.Events,
		onVerify: cfg.Events.verifyHook(),

		claimsPrefix: token.NewPrefix(issuer, cfg.Audiences[0]),

		verifier: token.Verifier{
			Type:        token.TypeBearer,
			Issuer:      issuer,
			Audience:    cfg.Audiences[0],
			MaxLifetime: int64(cfg.MaxLifetime / time.Second),
		},
	}
	t.ring.Store(ring)
	if !cfg.CheckSessionsInStore {
		source := revocation.Source{Read: listEntries(t.sessions), Head: t.sessions.RevocationHead,
			Repair: t.repairFeed}
		t.feed = revocation.NewFeed(source, cfg.RevocationInterval, cfg.MaxStaleness, cfg.Now)
		if ownClock {
			t.now = t.feed.Now
		}
	}
	return t, nil
}

// checkStore returns an error if the store of another component cannot be the issuer's: one of the
// two keeps users and the other does not.
func (t *TokenIssuer) checkStore(store any) error {
	switch {
	case t.sessions == nil:
		return errors.New("auth: the TokenIssuer is empty: make it with NewTokenIssuer")
	case t.users != nil && hasUsers(store), t.users == nil && keepsNoUsers(store):
		return errors.New("auth: the components must have the same store: either it keeps users, or the " +
			"issuer has a UserSource")
	}
	return nil
}

// SetKeys replaces the signing keys while requests go on. It returns an error that says what
// to change, and leaves the keys as they were then. When it has returned, no token of a key
// that is not among the new ones is accepted. [NewTokenIssuer] says in which order to change
// keys on many instances.
func (t *TokenIssuer) SetKeys(keys []SigningKey) error {
	ring, err := newRing(keys)
	if err != nil {
		return err
	}
	t.ring.Store(ring)
	return nil
}

// JWKS returns the public keys with which others can verify the tokens, as a JWK set (RFC
// 7517): those of ES256 and EdDSA, retired ones too, and never one of HS256, which could sign.
// [Service.JWKSHandler] serves it.
func (t *TokenIssuer) JWKS() []byte {
	return bytes.Clone(t.ring.Load().JWKS())
}

// IssueParams says for whom a token is, and how that is known. The caller of
// [TokenIssuer.Issue] vouches for it.
type IssueParams struct {
	UserID string
	Method SignInMethod

	// AccessKeyID is the key of MethodAccessKey. Revoking the key revokes the session.
	AccessKeyID string
}

// Token is an issued token with its session, and the user as of the moment when the session
// was opened.
type Token struct {
	// Bearer is the token itself, for the Authorization header.
	Bearer Secret

	Session Session
	User    User
}

// ExpiresIn returns how long the token is valid, from the moment it was issued; whole seconds.
func (t Token) ExpiresIn() time.Duration {
	return t.Session.ExpiresAt.Sub(t.Session.CreatedAt)
}

// Issue creates a session for the client of [WithClientInfo] and returns its token. If the
// user has MaxSessions already, the oldest is revoked. It returns ErrNotFound if the user or
// the key does not exist or has expired, and ErrUserDisabled if the user is disabled. If it
// returns an error, no session is left, also if a UserSource cannot answer. Each call is an
// attempt to sign in for the events and hooks.
func (t *TokenIssuer) Issue(ctx context.Context, params IssueParams) (Token, error) {
	began := time.Now()
	token, err := t.issue(ctx, params)
	t.events.recordSignIn(ctx, began,
		Event{Method: params.Method, UserID: params.UserID, SessionID: token.Session.ID}, err)
	return token, err
}

// issue is Issue without an event.
func (t *TokenIssuer) issue(ctx context.Context, params IssueParams) (Token, error) {
	if (params.Method == MethodAccessKey) != (params.AccessKeyID != "") {
		// Without the key, revoking it would not revoke the session.
		return Token{}, errors.New("auth: IssueParams.AccessKeyID must be set if Method is " +
			"MethodAccessKey, and only then")
	}
	session, user, err := t.sessions.CreateSession(ctx, t.newSession(ctx, params), t.cfg.MaxSessions)
	var invalid *InvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Field == "created_at":
		// no request is at fault
		return Token{}, errors.New("auth: creating a session: the clock is out of range")
	case err != nil:
		return Token{}, fmt.Errorf("auth: creating a session: %w", err)
	}
	return t.issueFor(ctx, session, user)
}

// issueFor returns the token of a session that has just been created for the user whom the
// store returned with it. A UserSource is asked for the user, and only now: a user whom the
// host disables while the session is being created is refused here, and one who is disabled
// later has a session that RevokeUser finds. A session that gets no token is revoked.
func (t *TokenIssuer) issueFor(ctx context.Context, session Session, user User) (Token, error) {
	if t.feed != nil {
		t.feed.CatchUp(ctx, session.Generation)
	}
	token, err := Token{}, error(nil)
	switch {
	case t.users != nil:
		user, err = t.users.activeUser(ctx, session.UserID)
	case !user.IsActive: // the store does not keep users after all
		err = ErrUserDisabled
	}
	if err == nil {
		token, err = t.sign(session, user)
	}
	if err != nil {
		return Token{}, t.discardSession(ctx, session, err)
	}
	return token, nil
}

// discardTimeout bounds the revocation of a session that gets no token.
const discardTimeout = 5 * time.Second

// discardSession revokes a session that gets no token for the given reason. It returns the
// reason unless the store fails, which leaves a session that should not exist.
func (t *TokenIssuer) discardSession(ctx context.Context, session Session, reason error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardTimeout) // the request may be over
	defer cancel()
	if err := t.sessions.RevokeToken(ctx, claimsOf(session)); err != nil {
		return fmt.Errorf("auth: revoking a session that gets no token: %w", err)
	}
	return reason
}

// claimsOf returns what a token says of the session.
func claimsOf(session Session) SessionClaims {
	return SessionClaims{
		UserID: session.UserID, SessionID: session.ID, Generation: session.Generation, ExpiresAt: session.ExpiresAt,
	}
}

// admit returns an error unless a host may give the authority. If the host keeps the users, it asks
// the UserSource about a super user, because no store can.
func (t *TokenIssuer) admit(ctx context.Context, by Authority) error {
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

// newChange prepares a change of the issuer's store.
func (t *TokenIssuer) newChange(ctx context.Context, by Authority, e Event) change {
	return t.events.newChange(ctx, by, e, t.cfg.Now, t.cfg.MaxLifetime)
}

// newSession returns the record of a session that begins now. Tokens count in whole seconds,
// and so do their sessions.
func (t *TokenIssuer) newSession(ctx context.Context, params IssueParams) Session {
	now := t.cfg.Now().UTC().Truncate(time.Second)
	client := clientOf(ctx)
	return Session{
		ID:          rand.Text(),
		UserID:      params.UserID,
		Method:      params.Method,
		AccessKeyID: params.AccessKeyID,
		CreatedAt:   now,
		ExpiresAt:   now.Add(t.cfg.Lifetime),
		UserAgent:   client.UserAgent,
		Address:     client.address(),
	}
}

// sign returns the token of a session that is in the store.
func (t *TokenIssuer) sign(session Session, user User) (Token, error) {
	session.ExpiresAt = session.ExpiresAt.Truncate(time.Second)
	if !session.ExpiresAt.After(session.CreatedAt) {
		return Token{}, fmt.Errorf("auth: the key expires within the second: %w", ErrNotFound)
	}
	text, err := t.signAs(token.TypeBearer, session, user)
	if err != nil {
		return Token{}, err
	}
	return Token{Bearer: NewSecret(text), Session: session, User: user}, nil
}

// signAs returns the text of a token of this type.
func (t *TokenIssuer) signAs(typ string, session Session, user User) (string, error) {
	who := token.Identity{
		UserID: user.ID, Username: user.Username,
		SessionID: session.ID, IssuedAt: session.CreatedAt, ExpiresAt: session.ExpiresAt,
	}
	text, err := token.Sign(t.ring.Load().Signer(), typ, t.claimsPrefix, &who, session.Generation,
		user.IsSuperUser)
	if err != nil {
		return "", fmt.Errorf("auth: signing a token: %w", err)
	}
	return text, nil
}

// Verify returns the identity that the token proves. It returns ErrTokenRejected for every
// token that is not valid now, and any other error if the store could not answer: then nothing
// is known of the token.
//
// A session that is revoked by this issuer, or by a component that shares it, is rejected here
// from then on. A session that is revoked on another instance, or by a call of the store
// itself, is rejected within RevocationInterval, or within MaxStaleness if the store does not
// answer meanwhile.
func (t *TokenIssuer) Verify(ctx context.Context, token string) (Identity, error) {
	identity, err := t.verify(ctx, token)
	if err != nil {
		t.events.recordTokenRejection(ctx, err)
		return Identity{}, err
	}
	return *identity, nil
}

// verify is Verify without an event, and with a result that callers share and must not change.
func (t *TokenIssuer) verify(ctx context.Context, token string) (*Identity, error) {
	if t.onVerify != nil {
		return t.measureVerify(ctx, token)
	}
	identity, _, err := t.verifyToken(ctx, token)
	return identity, err
}

// measureVerify is verify for a host that measures it.
func (t *TokenIssuer) measureVerify(ctx context.Context, token string) (*Identity, error) {
	began := time.Now()
	identity, cached, err := t.verifyToken(ctx, token)
	t.onVerify(ctx, err, cached, time.Since(began))
	return identity, err
}

// verifyToken is verify, and reports whether the token was in the cache.
func (t *TokenIssuer) verifyToken(
	ctx context.Context, token string,
) (identity *Identity, cached bool, err error) {
	now := t.now()
	v, cached, err := t.verifier.Verify(t.cache, t.ring.Load(), token, now.Unix())
	if err != nil {
		return nil, cached, err
	}
	if err := t.requireLive(ctx, &v.Claims, &v.Checked, now); err != nil {
		return nil, cached, rejectionOf(v.Identity.UserID, v.Identity.SessionID, err)
	}
	return (*Identity)(&v.Identity), cached, nil
}

// requireLive returns an error unless the session of the claims is live. Checked remembers for
// these claims at which version of the known revocations that was so.
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

// repairFeed revokes everybody after the store has lost commits: see [SessionStore.RevokeEverybody].
func (t *TokenIssuer) repairFeed(ctx context.Context, above int64) error {
	c := t.newChange(ctx, ByHost("auth.Repair"),
		Event{Kind: EventCommitsLost, Reason: "the revocation feed is behind what was read from it"})
	if err := t.sessions.RevokeEverybody(ctx, c.write, above); err != nil {
		return fmt.Errorf("revoking everybody after lost commits: %w", err)
	}
	t.events.logger().ErrorContext(ctx,
		"auth: the store has lost commits, after a restored backup or a fail-over: "+
			"all sessions are revoked, because revocations may have been lost too")
	c.recordEvent(ctx)
	return nil
}
