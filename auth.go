package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"
)

// Config is what a [Service] is made of. Issuer and SigningKeys are required;
// every other zero field is the safe choice.
type Config struct {
	// Issuer is the URL of this service, such as "https://api.example.com". It
	// is the issuer of tokens and, unless Audience is set, their audience: a
	// token with another of either is refused.
	Issuer   string
	Audience string

	// SigningKeys sign and verify tokens. The first signs, all verify. How to
	// change them, and when, is said at TokenConfig.SigningKeys.
	SigningKeys []SigningKey

	// TokenLifetime is how long a sign-in lasts: 12 hours unless set, in whole
	// seconds, from a second to 30 days. MaxTokenLifetime is how long a token may
	// claim to last, the greater of it and 12 hours unless set: leave it at the
	// old lifetime for as long as tokens with that may be about.
	TokenLifetime    time.Duration
	MaxTokenLifetime time.Duration

	// TokenCacheSize is how many verified tokens are remembered: see
	// TokenConfig.CacheSize.
	TokenCacheSize int

	// RevocationInterval, MaxStaleness and CheckSessionsInStore say how soon a session that
	// ends on another instance is refused here: within 5 seconds, or a minute while
	// the store does not answer, unless set. See TokenConfig.
	RevocationInterval   time.Duration
	MaxStaleness         time.Duration
	CheckSessionsInStore bool

	// MaxSessions is how many sessions one user may have at a time, from 1 to 1000,
	// which it is unless set. When there is one more, the oldest ends.
	MaxSessions int

	// ReauthAfter, if set, has every call that gives out an access secret or
	// connects a GitHub account refuse a session that was opened longer ago, with
	// ErrSessionTooOld: whoever has stolen a token cannot make a way in of it that
	// lasts. Signing in again is then part of those.
	ReauthAfter time.Duration

	// TrustedProxies are the networks from which X-Forwarded-For is believed: see
	// [WithClientInfo]. Set it to an empty slice where clients connect to the service
	// itself. While it is nil, the address of a request with that header is not known:
	// it would be that of some proxy, and all clients' the same.
	TrustedProxies []netip.Prefix

	// Throttling bounds what can be tried. Its counts are of this instance alone
	// unless it has another Limiter.
	Throttling Throttling

	// Credentials says how access keys look and how their secrets are kept. Its
	// Now and Logger are those below unless set.
	Credentials CredentialConfig

	// SealingKeys encrypt GitHub tokens in the store and what cookies carry. They
	// are needed with GitHub, the same on all instances: the first seals, all
	// open.
	SealingKeys []SymmetricKey

	// GitHub lets users sign in with GitHub and connect their accounts. Its Now
	// and Logger are those below unless set. Without it, its calls answer 503.
	GitHub *GitHubConfig

	// Users is the host's own table of users, in place of the store's. The store
	// must have been made for it, as with memstore.NewWithoutUsers. The calls and
	// methods that make and change users are absent then, and GitHub's SuperUsers
	// and MembershipMaxAge cannot be set. Call [Service.RevokeUser] when you have
	// disabled somebody.
	Users Users

	// BrowserSessions lets browsers that sign in with GitHub stay signed in by
	// cookie. Without it, GitHub's callback answers with a token.
	BrowserSessions *BrowserSessions

	// WriteError answers a request with an error, in place of the function
	// [WriteError], which it may call for what it leaves alone.
	WriteError func(w http.ResponseWriter, r *http.Request, err error)

	// Timeout is how long one of our own calls may take in all, its body and the
	// store included, and how long RequireSuperUser and, with CheckSessionsInStore,
	// Authenticate wait for the store before a host's handler: 10 seconds unless set.
	Timeout time.Duration

	// OnEvent is told of everything that happens: who signed in, what was refused
	// and why, who has changed what. Unless it is set, Logger is. [Service.Run] calls
	// it, with one event after the other, so that it may take its time or panic: no
	// request waits for it. Up to 4096 events wait, and no more than half of them say
	// that something was refused; what is more is lost, and the log says how much.
	OnEvent func(Event)

	// Hooks are told of what the host measures.
	Hooks Hooks

	// Now is the clock, time.Now unless set.
	Now func() time.Time

	// Logger gets what an operator must know, slog.Default() unless set.
	Logger *slog.Logger
}

// Service is sign-in as a whole: the components, wired over one store, with the
// handlers and the middleware. It is safe for concurrent use.
type Service struct {
	store       Store
	credentials *CredentialVerifier
	tokens      *TokenIssuer
	github      *GitHubConnector // nil if it is not configured
	browser     *browserSessions // nil likewise
	writeError  func(w http.ResponseWriter, r *http.Request, err error)
	proxies     *trustedProxies
	throttle    *throttle // nil if it is off
	events      *eventLog
	recent      time.Duration // 0 for any age
	timeout     time.Duration
	now         func() time.Time
	log         *slog.Logger
}

// New returns a service over the store, or an error that says what to change in
// the configuration. It does not touch the store and starts nothing.
func New(store Store, cfg Config) (*Service, error) {
	if isNil(store) {
		return nil, errors.New("auth: New needs a store")
	}
	if cfg.Timeout < 0 || cfg.ReauthAfter < 0 {
		return nil, errors.New("auth: Timeout and ReauthAfter must not be negative")
	}
	proxies, err := newTrustedProxies(cfg.TrustedProxies, orDefault(cfg.Logger))
	if err != nil {
		return nil, err
	}
	if cfg.Credentials.Now == nil {
		cfg.Credentials.Now = cfg.Now
	}
	if cfg.Credentials.Logger == nil {
		cfg.Credentials.Logger = cfg.Logger
	}
	tokens, err := NewTokenIssuer(store, TokenConfig{
		Issuer:               cfg.Issuer,
		Audience:             cfg.Audience,
		SigningKeys:          cfg.SigningKeys,
		Lifetime:             cfg.TokenLifetime,
		MaxLifetime:          cfg.MaxTokenLifetime,
		CacheSize:            cfg.TokenCacheSize,
		RevocationInterval:   cfg.RevocationInterval,
		MaxStaleness:         cfg.MaxStaleness,
		CheckSessionsInStore: cfg.CheckSessionsInStore,
		MaxSessions:          cfg.MaxSessions,
		Users:                cfg.Users,
		Now:                  cfg.Now,
	})
	if err != nil {
		return nil, err
	}
	store = tokens.feed.watch(store)
	credentials, err := NewCredentialVerifier(store, cfg.Credentials)
	if err != nil {
		return nil, err
	}
	github, browser, err := newGitHub(store, tokens, cfg)
	if err != nil {
		return nil, err
	}
	throttle, err := newThrottle(cfg.Throttling, orNow(cfg.Now), orDefault(cfg.Logger))
	if err != nil {
		return nil, err
	}
	s := &Service{
		store:       store,
		credentials: credentials,
		tokens:      tokens,
		github:      github,
		browser:     browser,
		writeError:  cfg.WriteError,
		proxies:     proxies,
		throttle:    throttle,
		events:      newEventLog(orNow(cfg.Now), orDefault(cfg.Logger), cfg.OnEvent),
		recent:      cfg.ReauthAfter,
		timeout:     cfg.Timeout,
		now:         orNow(cfg.Now),
		log:         orDefault(cfg.Logger),
	}
	credentials.events, tokens.events = s.events, s.events
	s.events.onSignIn, tokens.onVerify = cfg.Hooks.SignIn, cfg.Hooks.Verify
	if github != nil {
		github.events = s.events
	}
	if s.writeError == nil {
		s.writeError = WriteError
	}
	if s.timeout == 0 {
		s.timeout = 10 * time.Second
	}
	return s, nil
}

// newGitHub returns what the configuration has of GitHub, which may be nothing.
func newGitHub(store Store, tokens *TokenIssuer, cfg Config) (*GitHubConnector, *browserSessions, error) {
	var github *GitHubConnector
	if cfg.GitHub != nil {
		githubCfg := *cfg.GitHub
		if githubCfg.Now == nil {
			githubCfg.Now = cfg.Now
		}
		if githubCfg.Logger == nil {
			githubCfg.Logger = cfg.Logger
		}
		if githubCfg.InsecureUnboundState && cfg.BrowserSessions != nil {
			return nil, nil, errors.New("auth: GitHub's InsecureUnboundState cannot be set with BrowserSessions: " +
				"anybody's link would sign a browser in as somebody else")
		}
		var err error
		github, err = NewGitHubConnector(store, tokens, cfg.SealingKeys, githubCfg)
		if err != nil {
			return nil, nil, err
		}
	}
	if cfg.BrowserSessions == nil {
		return github, nil, nil
	}
	browser, err := newBrowserSessions(*cfg.BrowserSessions, cfg.SealingKeys, github)
	return github, browser, err
}

// GitHub returns the service's connector, nil if GitHub is not configured.
func (s *Service) GitHub() *GitHubConnector { return s.github }

// Credentials returns the service's access keys.
func (s *Service) Credentials() *CredentialVerifier { return s.credentials }

// Tokens returns the service's tokens.
func (s *Service) Tokens() *TokenIssuer { return s.tokens }

// Login exchanges an access key and its secret for a token: what POST
// /auth/users/login does, for hosts that speak something other than HTTP. It
// returns ErrInvalidCredentials for whatever does not sign anybody in, a
// *ThrottledError, or what says that the store could not answer. Give ctx the client's
// address with [WithClientInfo]: without it, attempts on imported keys are counted by the key
// alone, and nothing else is.
func (s *Service) Login(ctx context.Context, pair KeyPair) (Token, error) {
	began := time.Now()
	token, err := s.login(ctx, pair)
	e := Event{Method: MethodAccessKey}
	if err == nil || s.credentials.format.isKey(pair.AccessKey) { // what is only claimed may be anything
		e.AccessKey = s.credentials.nameOf(pair.AccessKey)
	}
	s.events.signIn(ctx, began, e, token, err)
	return token, err
}

func (s *Service) login(ctx context.Context, pair KeyPair) (Token, error) {
	credential, err := s.checkPair(ctx, pair)
	if err != nil {
		return Token{}, err
	}
	if err := s.recheckMembership(ctx, credential.User); err != nil {
		return Token{}, err
	}
	token, err := s.tokens.Issue(ctx, IssueParams{
		UserID:      credential.User.ID,
		Method:      MethodAccessKey,
		AccessKeyID: credential.Key.ID,
	})
	// Between the two calls the user was disabled, or the key revoked; or the
	// users are the host's own, and only the second call asked for this one.
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrUserDisabled) {
		return Token{}, ErrInvalidCredentials
	}
	return token, err
}

// checkPair is [CredentialVerifier.Verify], within the limits of Config.Throttling. The
// session notes that the key is used.
func (s *Service) checkPair(ctx context.Context, pair KeyPair) (Credential, error) {
	address := clientOf(ctx).Address
	if err := s.throttle.enter(ctx, address); err != nil {
		return Credential{}, err
	}
	form := s.credentials.formOf(pair)
	slow := form == importedPair
	if slow {
		if err := s.throttle.enterSlow(ctx, address, pair.AccessKey); err != nil {
			return Credential{}, err
		}
	}
	credential, err := s.credentials.check(ctx, pair, form)
	switch {
	case errors.Is(err, ErrInvalidCredentials):
		return Credential{}, s.throttle.failedSignIn(ctx, address, err)
	case err == nil && slow:
		s.throttle.leaveSlow(ctx, address, pair.AccessKey)
	}
	return credential, err
}

// SignIn gives the user a token without asking for anything: for the tests of a
// host, and for hosts that know by other means who is there. It returns
// ErrNotFound if there is no such user and ErrUserDisabled for a disabled one.
func (s *Service) SignIn(ctx context.Context, userID string) (Token, error) {
	began := time.Now()
	token, err := s.tokens.Issue(ctx, IssueParams{UserID: userID, Method: MethodHost})
	s.events.signIn(ctx, began, Event{UserID: userID, Method: MethodHost}, token, err)
	return token, err
}

// Ping reports whether the store can answer within Config.Timeout: for a health
// check.
func (s *Service) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := s.store.Ping(ctx); err != nil {
		return fmt.Errorf("auth: the store does not answer: %w", err)
	}
	return nil
}
