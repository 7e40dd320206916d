package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// TokenConfig says what tokens are made of. Issuer and SigningKeys are required.
type TokenConfig struct {
	// Issuer is the iss claim: the URL of this service, such as
	// "https://api.example.com". At most 256 bytes.
	Issuer string

	// Audience is the aud claim, whom the tokens are for: the Issuer unless set.
	// A token with another audience, or with a list of them, is refused.
	Audience string

	// SigningKeys sign and verify. The first signs, all verify. To change keys,
	// first append the new one on every instance, then put it in front of the old
	// one, which is now [SigningKey.RetiredAt] the time when no instance signs with
	// it any more, and drop that when its last token has expired. A key that
	// somebody else may have is dropped at once. [TokenIssuer.SetKeys] does all this
	// without a restart.
	SigningKeys []SigningKey

	// Lifetime is how long a token is good for: 12 hours unless set, in whole
	// seconds, from a second to 30 days. The token of a key that ends sooner ends
	// with it.
	Lifetime time.Duration

	// MaxLifetime refuses tokens that claim a longer life, whoever signed them:
	// the greater of Lifetime and 12 hours unless set.
	MaxLifetime time.Duration

	// CacheSize is how many tokens are remembered once they have been verified, so
	// that the next request with one of them costs no signature: 16384 unless set,
	// up to 16777216, and -1 for none. Each takes about 1 KiB of memory, and all
	// together never more than CacheSize times 2 KiB. It ought to be twice as many as
	// are in use at a time.
	CacheSize int

	// RevocationInterval is how old what an instance knows of ended sessions may
	// be: 5 seconds unless set, which is also the most. When it is older, the store is
	// asked, by one request for all, which wait for a second at most. While the store
	// does not answer, MaxStaleness is how old it may be before no token is accepted:
	// a minute unless set, which is also the most.
	RevocationInterval time.Duration
	MaxStaleness       time.Duration

	// CheckSessionsInStore has the store asked for the session on every request instead. A
	// session that has ended is then refused everywhere at once, each request waits
	// for the store, and none is accepted that the store does not answer.
	CheckSessionsInStore bool

	// MaxSessions is how many sessions one user may have: see [Config.MaxSessions].
	MaxSessions int

	// Users is the host's own table of users, for a store that keeps none: see
	// [Config.Users].
	Users Users

	// Now is the clock, time.Now unless set.
	Now func() time.Time
}

const (
	defaultLifetime = 12 * time.Hour
	longestLifetime = 30 * 24 * time.Hour
	maxIssuerLength = 256
	mostSessions    = 1000

	longestRevocationInterval = 5 * time.Second
	longestMaxStaleness       = time.Minute

	endTimeout = 5 * time.Second // for ending a session that was opened in vain
)

// TokenIssuer issues and verifies session tokens. It is safe for concurrent use.
//
// A token is a JWT (RFC 7519) signed with one of the SigningKeys. It names a
// session in the store, and is worth nothing without it.
type TokenIssuer struct {
	sessions SessionStore
	users    *hostUsers // nil if the store keeps users
	cfg      TokenConfig
	verifier tokenVerifier
	now      func() time.Time // the time at which a token is verified

	claimsPrefix string // see [encodeClaimsPrefix]

	events   *eventLog // nil but in a Service
	onVerify func(ctx context.Context, outcome Outcome, took time.Duration)

	ring  atomic.Pointer[keyRing]
	cache *tokenCache     // nil for none
	feed  *revocationFeed // nil with CheckSessionsInStore
}

// NewTokenIssuer returns an issuer of tokens whose sessions are in the store, or
// an error that says what to change in the configuration.
func NewTokenIssuer(sessions SessionStore, cfg TokenConfig) (*TokenIssuer, error) {
	if isNil(sessions) {
		return nil, errors.New("auth: NewTokenIssuer needs a store")
	}
	if err := checkUsers(sessions, cfg.Users); err != nil {
		return nil, err
	}
	ownClock := cfg.Now == nil
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	size, err := cacheSize(cfg.CacheSize)
	if err != nil {
		return nil, err
	}
	ring, err := newKeyRing(cfg.SigningKeys)
	if err != nil {
		return nil, err
	}
	var users *hostUsers
	if cfg.Users != nil {
		users = &hostUsers{cfg.Users}
	}
	t := &TokenIssuer{
		cache:    newTokenCache(size),
		users:    users,
		sessions: sessions,
		cfg:      cfg,
		now:      cfg.Now,

		claimsPrefix: encodeClaimsPrefix(cfg.Issuer, cfg.Audience),

		verifier: tokenVerifier{
			issuer:      cfg.Issuer,
			audience:    cfg.Audience,
			maxLifetime: int64(cfg.MaxLifetime / time.Second),
		},
	}
	t.ring.Store(ring)
	if !cfg.CheckSessionsInStore {
		t.feed = newRevocationFeed(sessions, cfg.RevocationInterval, cfg.MaxStaleness, cfg.Now)
		if ownClock {
			t.now = t.feed.clock
		}
	}
	return t, nil
}

func (cfg TokenConfig) withDefaults() (TokenConfig, error) {
	if cfg.Audience == "" {
		cfg.Audience = cfg.Issuer
	}
	if cfg.Lifetime == 0 {
		cfg.Lifetime = defaultLifetime
	}
	if cfg.MaxLifetime == 0 {
		cfg.MaxLifetime = max(cfg.Lifetime, defaultLifetime)
	}
	if cfg.RevocationInterval == 0 {
		cfg.RevocationInterval = longestRevocationInterval
	}
	if cfg.MaxStaleness == 0 {
		cfg.MaxStaleness = longestMaxStaleness
	}
	if cfg.MaxSessions == 0 {
		cfg.MaxSessions = mostSessions
	}
	cfg.Now = orNow(cfg.Now)
	for _, text := range []string{cfg.Issuer, cfg.Audience} {
		if err := checkID("Issuer and Audience", text, maxIssuerLength); err != nil {
			return cfg, err
		}
	}
	switch {
	case cfg.Lifetime < time.Second || cfg.Lifetime > longestLifetime || cfg.Lifetime%time.Second != 0:
		return cfg, errors.New("auth: Lifetime must be whole seconds, from a second to 30 days")
	case cfg.MaxLifetime < cfg.Lifetime || cfg.MaxLifetime > longestLifetime:
		return cfg, errors.New("auth: MaxLifetime must be from Lifetime to 30 days")
	case cfg.MaxSessions < 1 || cfg.MaxSessions > mostSessions:
		return cfg, fmt.Errorf("auth: MaxSessions must be from 1 to %d", mostSessions)
	case cfg.RevocationInterval < 0 || cfg.RevocationInterval > longestRevocationInterval:
		return cfg, errors.New("auth: RevocationInterval must be at most 5 seconds")
	case cfg.MaxStaleness < cfg.RevocationInterval || cfg.MaxStaleness > longestMaxStaleness:
		return cfg, errors.New("auth: MaxStaleness must be from RevocationInterval to a minute")
	}
	return cfg, nil
}

// IssueParams says for whom a token is, and how that is known. Whoever calls
// [TokenIssuer.Issue] vouches for it.
type IssueParams struct {
	UserID string
	Method SignInMethod

	// AccessKeyID is the key of MethodAccessKey. The session ends with it.
	AccessKeyID string
}

// Token is an issued token with the session that it names, and the user as of
// the moment when the session began.
type Token struct {
	// Bearer is the token itself, for the Authorization header.
	Bearer Secret

	Session Session
	User    User
}

// ExpiresIn returns how long the token is good for, from the moment it was
// issued; whole seconds.
func (t Token) ExpiresIn() time.Duration {
	return t.Session.ExpiresAt.Sub(t.Session.CreatedAt)
}

// Issue creates a session for the client of [WithClientInfo] and returns its token. Where
// the user has MaxSessions already, the oldest ends. It returns ErrNotFound if the
// user, or the key, is gone or has expired, and ErrUserDisabled if the user is
// disabled; no session is left then, nor where TokenConfig.Users cannot answer.
func (t *TokenIssuer) Issue(ctx context.Context, params IssueParams) (Token, error) {
	session, user, err := t.sessions.CreateSession(ctx, t.newSession(ctx, params), t.cfg.MaxSessions)
	var invalid *InvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Field == "created_at":
		return Token{}, errors.New("auth: creating a session: the clock is out of range") // nobody's request is at fault
	case err != nil:
		return Token{}, fmt.Errorf("auth: creating a session: %w", err)
	}
	return t.begin(ctx, session, user)
}

// begin returns the token of a session that has just been created. The user is
// whom the store returned with it, or is asked of the host, and only now: whom the
// host disables while the session is being created is refused here, and whoever is
// disabled after this has a session that RevokeUser finds. A session that gets no
// token is ended.
func (t *TokenIssuer) begin(ctx context.Context, session Session, user User) (Token, error) {
	t.feed.learnOf(ctx, session)
	token, err := Token{}, error(nil)
	if t.users != nil {
		user, err = t.users.active(ctx, session.UserID)
	}
	if err == nil {
		token, err = t.token(session, user)
	}
	if err != nil {
		return Token{}, t.endInVain(ctx, session.ID, err)
	}
	return token, nil
}

// endInVain ends a session that gets no token, for the given reason, which it
// returns unless the store fails: then a session is left that ought not to be.
func (t *TokenIssuer) endInVain(ctx context.Context, sessionID string, reason error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout) // the request may be over
	defer cancel()
	if err := t.sessions.RevokeSession(ctx, sessionID); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("auth: ending a session that gets no token: %w", err)
	}
	return reason
}

// newSession returns the record of a session that begins now. Tokens count in
// whole seconds, and so do their sessions.
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

// token returns the token of a session that is in the store.
func (t *TokenIssuer) token(session Session, user User) (Token, error) {
	session.ExpiresAt = session.ExpiresAt.Truncate(time.Second)
	if !session.ExpiresAt.After(session.CreatedAt) {
		return Token{}, fmt.Errorf("auth: the key ends within the second: %w", ErrNotFound)
	}
	text, err := t.sign(session, user)
	if err != nil {
		return Token{}, err
	}
	return Token{Bearer: NewSecret(text), Session: session, User: user}, nil
}

// Verify returns whose token this is. It returns ErrTokenRejected for every
// token that is not good now, and any other error if the store could not
// answer: then nothing is known of the token.
//
// A session that ends by this issuer, or by its [Service], is refused here from
// then on. One that ends on another instance, or by a call of the store itself, is
// refused within RevocationInterval, or within MaxStaleness if the store does not
// answer meanwhile.
func (t *TokenIssuer) Verify(ctx context.Context, token string) (Identity, error) {
	identity, err := t.verify(ctx, token)
	if err != nil {
		return Identity{}, err
	}
	return *identity, nil
}

// verify is Verify, whose result is shared with others.
func (t *TokenIssuer) verify(ctx context.Context, token string) (*Identity, error) {
	if t.onVerify != nil {
		return t.observeVerify(ctx, token)
	}
	identity, _, err := t.verifyToken(ctx, token)
	return identity, err
}

// verifyToken is verify, and reports whether the token was in the cache.
func (t *TokenIssuer) verifyToken(ctx context.Context, token string) (identity *Identity, hit bool, err error) {
	now := t.now()
	v, hit, err := t.verifier.verifyOnce(t.cache, t.ring.Load(), token, now.Unix())
	if err != nil {
		return nil, hit, err
	}
	if err := t.requireLive(ctx, &v.tokenClaims, &v.checked, now); err != nil {
		return nil, hit, refusedTo(v.identity.UserID, v.identity.SessionID, err)
	}
	return &v.identity, hit, nil
}

// requireLive returns an error unless the session is live. Checked is where may be
// remembered what has been found out of it.
func (t *TokenIssuer) requireLive(ctx context.Context, c *tokenClaims, checked *atomic.Uint64, now time.Time) error {
	if t.feed != nil {
		return t.feed.requireLive(ctx, c, checked, now)
	}
	session, err := t.sessions.FindSession(ctx, c.identity.SessionID)
	switch {
	case errors.Is(err, ErrNotFound):
		return errRevoked
	case err != nil:
		return fmt.Errorf("auth: verifying a token: %w", err)
	case session.UserID != c.identity.UserID || !now.Before(session.ExpiresAt):
		return errRevoked
	}
	return nil
}

// Revoke ends the session, and so its token, from now on. It returns ErrNotFound
// if there is no such session.
func (t *TokenIssuer) Revoke(ctx context.Context, sessionID string) error {
	return t.revoke(ctx, sessionID, "")
}

// revoke is Revoke, for a session of the user, where that is known.
func (t *TokenIssuer) revoke(ctx context.Context, sessionID, userID string) error {
	if err := t.sessions.RevokeSession(ctx, sessionID); err != nil {
		return fmt.Errorf("auth: ending a session: %w", err)
	}
	if t.feed != nil {
		t.feed.learn(ctx)
	}
	t.events.emit(ctx, Event{Kind: EventSessionRevoked, UserID: userID, SessionID: sessionID})
	return nil
}
