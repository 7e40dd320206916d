package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// Config is what a [Service] is made of. Issuer and SigningKeys are required;
// every other zero field is the safe choice.
type Config struct {
	// Issuer is the URL of this service, such as "https://api.example.com". It
	// is the issuer of tokens and, unless Audience is set, their audience.
	Issuer   string
	Audience string

	// SigningKeys sign and verify tokens. The first signs, all verify.
	SigningKeys []SigningKey

	// TokenLifetime is how long a sign-in lasts: 12 hours unless set.
	TokenLifetime time.Duration

	// Credentials says how access keys look and how their secrets are kept. Its
	// Now and Logger are those below unless set.
	Credentials CredentialConfig

	// WriteError answers a request with an error, in place of the function
	// [WriteError], which it may call for what it leaves alone.
	WriteError func(w http.ResponseWriter, r *http.Request, err error)

	// Timeout is how long a request waits for the store: 10 seconds unless set.
	Timeout time.Duration

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
	writeError  func(w http.ResponseWriter, r *http.Request, err error)
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
	if cfg.Timeout < 0 {
		return nil, errors.New("auth: Timeout must not be negative")
	}
	if cfg.Credentials.Now == nil {
		cfg.Credentials.Now = cfg.Now
	}
	if cfg.Credentials.Logger == nil {
		cfg.Credentials.Logger = cfg.Logger
	}
	credentials, err := NewCredentialVerifier(store, cfg.Credentials)
	if err != nil {
		return nil, err
	}
	tokens, err := NewTokenIssuer(store, TokenConfig{
		Issuer:      cfg.Issuer,
		Audience:    cfg.Audience,
		SigningKeys: cfg.SigningKeys,
		Lifetime:    cfg.TokenLifetime,
		Now:         cfg.Now,
	})
	if err != nil {
		return nil, err
	}
	s := &Service{
		store:       store,
		credentials: credentials,
		tokens:      tokens,
		writeError:  cfg.WriteError,
		timeout:     cfg.Timeout,
		now:         orNow(cfg.Now),
		log:         orDefault(cfg.Logger),
	}
	if s.writeError == nil {
		s.writeError = WriteError
	}
	if s.timeout == 0 {
		s.timeout = 10 * time.Second
	}
	return s, nil
}

// Credentials returns the service's access keys.
func (s *Service) Credentials() *CredentialVerifier { return s.credentials }

// Tokens returns the service's tokens.
func (s *Service) Tokens() *TokenIssuer { return s.tokens }

// Login exchanges an access key and its secret for a token: what POST
// /auth/users/login does, for hosts that speak something other than HTTP. It
// returns the errors of [CredentialVerifier.Verify].
func (s *Service) Login(ctx context.Context, pair KeyPair) (Token, error) {
	credential, err := s.credentials.Verify(ctx, pair)
	if err != nil {
		return Token{}, err
	}
	token, err := s.tokens.Issue(ctx, SignIn{
		UserID:      credential.User.ID,
		Method:      MethodAccessKey,
		AccessKeyID: credential.Key.ID,
	})
	// Between the two calls the user was disabled, or the key revoked.
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrUserDisabled) {
		return Token{}, ErrInvalidCredentials
	}
	return token, err
}

// SignIn gives the user a token without asking for anything: for the tests of a
// host, and for hosts that know by other means who is there. It returns
// ErrNotFound if there is no such user and ErrUserDisabled for a disabled one.
func (s *Service) SignIn(ctx context.Context, userID string) (Token, error) {
	return s.tokens.Issue(ctx, SignIn{UserID: userID, Method: MethodHost})
}

// Ping reports whether the store can answer: for a health check.
func (s *Service) Ping(ctx context.Context) error {
	if err := s.store.Ping(ctx); err != nil {
		return fmt.Errorf("auth: the store does not answer: %w", err)
	}
	return nil
}
