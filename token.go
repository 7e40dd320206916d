package auth

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sallyport-go/auth/internal/callback"
	"github.com/sallyport-go/auth/internal/defaults"
	"github.com/sallyport-go/auth/internal/revocation"
	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/token"
)

// TokenIssuer issues and verifies session tokens. It is safe for concurrent use.
//
// A token is a JWT (RFC 7519) that is signed with one of the signing keys. Each token names a
// session in the store, and is accepted only while that session is live.
type TokenIssuer struct {
	sessions SessionStore
	users    *hostUsers // nil if the store keeps users
	scopes   *ScopeSet  // those that exist
	cfg      TokenConfig
	verifier token.Verifier
	now      func() time.Time // the clock for verifying a token

	claimsPrefix token.Prefix

	events   *EventLog
	onVerify func(ctx context.Context, err error, cached bool, took time.Duration)

	ring  atomic.Pointer[signing.Ring]
	cache *token.Cache     // nil if caching is off
	feed  *revocation.Feed // nil with CheckSessionsInStore
}

// NewTokenIssuer returns an issuer of tokens whose sessions are in the store. If the configuration
// is not valid, it returns an error that names the setting to change.
//
// The issuer argument is the iss claim of the tokens: see [Config.Issuer].
//
// The first key signs, and all keys verify. To replace a key, first append the new key on every
// instance. Then move the new key to the front. When no instance signs with the old key any longer,
// replace the old key with the copy that [SigningKey.RetiredAt] returns. Remove this copy when its
// last token has expired. If a key may have leaked, remove it from every instance at once.
// [TokenIssuer.SetKeys] makes each of these changes without a restart.
func NewTokenIssuer(
	store SessionStore, issuer string, keys []SigningKey, cfg TokenConfig,
) (*TokenIssuer, error) {
	return newTokenIssuer(store, nil, issuer, keys, cfg)
}

// NewTokenIssuerWithUsers does the same as [NewTokenIssuer], but for a host that has its own users
// table. The store must keep no users. An example is a store that memstore.NewAccounts returns.
func NewTokenIssuerWithUsers(
	store SessionStore, users UserSource, issuer string, keys []SigningKey, cfg TokenConfig,
) (*TokenIssuer, error) {
	if users == nil {
		return nil, errors.New("auth: NewTokenIssuerWithUsers needs a UserSource")
	}
	return newTokenIssuer(store, users, issuer, keys, cfg)
}

// newTokenIssuer returns an issuer. If the given UserSource is nil, the store keeps the users.
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
	scopes, err := knownScopes("TokenConfig.Scopes", cfg.Scopes)
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
		scopes:   scopes,
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
			Repair: t.repairFeed, Report: func(r revocation.Report) { logFeed(t.events.logger(), r) }}
		t.feed = revocation.NewFeed(source, cfg.RevocationInterval, cfg.MaxStaleness, cfg.Now)
		if ownClock {
			t.now = t.feed.Now
		}
	}
	return t, nil
}

// checkStore checks the store of a component that uses this issuer. If the issuer has a UserSource,
// the store must keep no users. Otherwise, the store must keep users.
func (t *TokenIssuer) checkStore(store any) error {
	switch {
	case t.sessions == nil:
		return errors.New("auth: the TokenIssuer is empty: create it with NewTokenIssuer")
	case t.users != nil && hasUsers(store), t.users == nil && keepsNoUsers(store):
		return errors.New("auth: the components must have the same store: either it keeps users, or the " +
			"issuer has a UserSource")
	}
	return nil
}

// SetKeys replaces the signing keys. It can be called while requests are served. After SetKeys has
// returned nil, a token is accepted only if the key that signed it is in the new set. If SetKeys
// returns an error, the keys stay as they were, and the error says what to change. [NewTokenIssuer]
// says in which order to change keys on several instances. SetKeys emits an
// [EventSigningKeysReplaced], with the IDs of the keys in its Reason. If the keys are the present
// ones, in the same order, it changes nothing and emits no event, so a host may pass its keys at
// intervals.
//
// SetKeys stores nothing. After a restart, the instance uses the keys of its configuration, so put the
// new keys there first.
func (t *TokenIssuer) SetKeys(keys []SigningKey) error {
	ring, err := newRing(keys)
	if err != nil {
		return err
	}
	if ring.Equal(t.ring.Load()) {
		return nil // another ring with the same keys would empty the caches
	}
	t.ring.Store(ring)
	t.events.emit(context.Background(),
		Event{Kind: EventSigningKeysReplaced, Host: "auth.SetKeys", Reason: ring.Summary()})
	return nil
}

// JWKS returns the public keys with which other services can verify the tokens, as a JWK set (RFC
// 7517). The set contains the ES256 and EdDSA keys, including retired ones. It never contains an
// HS256 key, because an HS256 key can also sign. [Service.JWKSHandler] serves the set.
func (t *TokenIssuer) JWKS() []byte {
	return bytes.Clone(t.ring.Load().JWKS())
}

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
// Issue returns ErrUserDisabled if the user is disabled, and ErrServiceUser if Method is MethodGitHub and
// the user is a service user. It returns ErrNotFound if the user or the access key does not exist, or if
// the access key has expired. It returns an *[InsufficientScopeError] if the Scopes are not within those of
// the access key, and an *[InvalidError] if a scope is neither in [TokenConfig.Scopes] nor one of this
// package. If Issue returns an error, it leaves no session behind, unless the store has failed.
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
	if err := t.checkScopes(params.Scopes); err != nil {
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
	return t.issueFor(ctx, session, user)
}

// checkScopes returns an *InvalidError if the set has a scope that does not exist. Without an issuer, so if
// t is nil, the host's scopes are not known, and checkScopes accepts every valid scope. It also accepts
// rotateOnly without scopes in the configuration, because the host may have removed them.
func (t *TokenIssuer) checkScopes(scopes *ScopeSet) error {
	if t == nil || scopes == rotateOnly {
		return scopes.validate()
	}
	return scopes.checkKnown(t.scopes)
}

// checkMustRotate returns an *InvalidError if the key must be rotated and the service has no scopes. Routes
// that require no scope would accept the token of a session that may only rotate the key.
func (t *TokenIssuer) checkMustRotate(key AccessKey) error {
	if key.MustRotate && t != nil && t.scopes == nil {
		return invalidf("must_rotate", "must be left out, because the service has no scopes")
	}
	return nil
}

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
	if err == nil && user.IsService && session.Method == MethodGitHub {
		err = ErrServiceUser
	}
	if err == nil {
		token, err = t.sign(ctx, session, user)
	}
	if err != nil {
		return Token{}, t.discardSession(ctx, session, err)
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

// newChange returns a change that the given authority makes, with the given event.
func (t *TokenIssuer) newChange(ctx context.Context, by Authority, e Event) change {
	return t.events.newChange(ctx, by, e, t.cfg.Now, t.cfg.MaxLifetime)
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
		ExpiresAt:   now.Add(t.cfg.Lifetime),
		UserAgent:   client.UserAgent,
		Address:     client.address(),
		Scopes:      params.Scopes,
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
	claims, err := t.hostClaims(ctx, session, user)
	if err != nil {
		return "", err
	}
	identity := token.Identity{
		UserID: user.ID, Username: user.Username,
		SessionID: session.ID, IssuedAt: session.CreatedAt, ExpiresAt: session.ExpiresAt,
		Claims: claims,
	}
	if session.Scopes != nil {
		identity.Limited, identity.Scope = true, session.Scopes.text
		identity.AccessKeyID = session.AccessKeyID
	}
	text, err := token.Sign(ctx, t.ring.Load().Signer(), typ, t.claimsPrefix, &identity,
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
		return "", fmt.Errorf("auth: TokenConfig.Claims: %w", err)
	case len(text) > token.MaxClaims:
		return "", fmt.Errorf("auth: TokenConfig.Claims returned %d bytes of JSON; at most %d are allowed",
			len(text), token.MaxClaims)
	}
	return string(text), nil
}

// repairFeed revokes all sessions, because the store has lost commits. For the parameter above, see
// [SessionStore.RevokeEverybody].
func (t *TokenIssuer) repairFeed(ctx context.Context, above int64) error {
	c := t.newChange(ctx, ByHost("auth.Repair"),
		Event{Kind: EventCommitsLost, Reason: "the revocation feed is behind what was read from it"})
	err := t.sessions.RevokeEverybody(ctx, c.write, above)
	switch {
	case errors.Is(err, ErrChanged):
		t.events.logger().WarnContext(ctx,
			"auth: the store has lost commits; another instance has revoked all sessions already")
		return nil
	case err != nil:
		return fmt.Errorf("revoking everybody after lost commits: %w", err)
	}
	t.events.logger().ErrorContext(ctx,
		"auth: the store has lost commits, after a restored backup or a fail-over: "+
			"all sessions are revoked, because revocations may have been lost too; "+
			"repeat the other lost changes, such as revoked access keys")
	c.recordEvent(ctx)
	return nil
}
