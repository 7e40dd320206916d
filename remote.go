package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/sallyport-go/auth/internal/defaults"
	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/token"
)

// RemoteVerifierConfig says whose tokens a [RemoteVerifier] accepts. JWKSURL, Issuer and Audience
// are required.
type RemoteVerifierConfig struct {
	// JWKSURL is where the issuer publishes its public keys, such as
	// "https://api.example.com/.well-known/jwks.json". It must be https, because a server that
	// answers in its place can make tokens.
	JWKSURL string

	// Issuer and Audience are those of the tokens: the issuer's Config.Issuer, and its
	// Config.Tokens.Audiences, which must name this service instead of the default. A token
	// for another audience is rejected.
	Issuer   string
	Audience string

	// MaxAge is how long ago a token may have been issued; at most 30 days. Zero means 15
	// minutes. It bounds how long a revoked token is accepted here, where a revocation cannot
	// be seen.
	MaxAge time.Duration

	// CacheSize is how many verified tokens are remembered: see [TokenConfig].
	CacheSize int

	// HTTPClient fetches the keys, without cookies and without following redirects. nil means
	// a client with http.DefaultTransport.
	HTTPClient *http.Client

	// Now is the clock. nil means time.Now.
	Now func() time.Time
}

const defaultMaxAge = 15 * time.Minute

// RemoteVerifier verifies tokens in a service that has neither the store nor the signing keys, with
// the public keys that the issuer publishes: those of ES256 and EdDSA. It is safe for concurrent
// use.
//
// It cannot see revocations: a token is accepted for MaxAge after it was issued, whatever has
// happened to its session. And it does not know what the user may do; the service decides that by
// the user's ID.
//
// The keys are fetched when the first token arrives, and again when they are two and a half minutes
// old or a token names an unknown key, but at most once in ten seconds. A goroutine does that, one
// at a time, which ends after five seconds at the latest if the HTTPClient heeds its context. A
// request whose key is known waits for it only if the keys are older than five minutes and no
// request has come since to fetch others, for a second at most. Requests without keys, or whose key
// is unknown, wait for a second at most too, and at most 100 of them; the others get an error.
//
// While the keys cannot be fetched, the last ones are used for a day, and a token that names an
// unknown key gets an error that is not ErrTokenRejected. A set without usable keys, a redirect and
// a 4xx other than 408, 425 and 429 are an answer: then all tokens are rejected.
//
// A token that was issued after its key was retired is rejected: see [SigningKey.RetiredAt].
type RemoteVerifier struct {
	verifier token.Verifier
	keys     *signing.RemoteKeys
	cache    *token.Cache
	maxAge   int64 // seconds
	now      func() time.Time
}

// NewRemoteVerifier returns a verifier, or an error that says what to change in the configuration.
// It fetches nothing yet.
func NewRemoteVerifier(cfg RemoteVerifierConfig) (*RemoteVerifier, error) {
	if err := checkJWKSURL(cfg.JWKSURL); err != nil {
		return nil, err
	}
	for _, text := range []string{cfg.Issuer, cfg.Audience} {
		if err := checkID("Issuer and Audience", text, maxIssuerLength); err != nil {
			return nil, err
		}
	}
	cache, err := token.NewCache(cfg.CacheSize)
	if err != nil {
		return nil, err
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = defaultMaxAge
	}
	if cfg.MaxAge < time.Second || cfg.MaxAge > tokenLifetimeLimit {
		return nil, errors.New("auth: MaxAge must be from a second to 30 days")
	}
	return &RemoteVerifier{
		verifier: token.Verifier{
			Type: token.TypeBearer, Issuer: cfg.Issuer, Audience: cfg.Audience, MaxLifetime: int64(tokenLifetimeLimit / time.Second),
		},
		keys:   signing.NewRemoteKeys(cfg.JWKSURL, cfg.HTTPClient),
		cache:  cache,
		maxAge: int64(cfg.MaxAge / time.Second),
		now:    defaults.Now(cfg.Now),
	}, nil
}

func checkJWKSURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("auth: JWKSURL must be an https URL without a user or a fragment")
	}
	return nil
}

// Verify returns the identity that the token proves. It returns ErrTokenRejected for every token
// that is not valid now, and any other error if the keys that it needs cannot be fetched in time, or
// ctx ends while it waits for them: then nothing is known of the token.
func (v *RemoteVerifier) Verify(ctx context.Context, token string) (Identity, error) {
	identity, err := v.verify(ctx, token)
	if err != nil && !errors.Is(err, ErrTokenRejected) {
		return Identity{}, fmt.Errorf("auth: verifying a token: %w", err)
	}
	return identity, err
}

// verify is Verify without the context of an error of the key set.
func (v *RemoteVerifier) verify(ctx context.Context, text string) (Identity, error) {
	now := v.now()
	ring, err := v.keys.Current(ctx, now)
	if err != nil {
		return Identity{}, err
	}
	identity, err := v.verifyWith(ring, text, now.Unix())
	if !errors.Is(err, token.ErrUnknownKey) {
		return identity, err
	}
	if ring, err = v.keys.Newer(ctx, ring, now); err != nil {
		return Identity{}, err
	}
	return v.verifyWith(ring, text, now.Unix())
}

// verifyWith verifies the token with the keys of the ring.
func (v *RemoteVerifier) verifyWith(ring *signing.Ring, text string, now int64) (Identity, error) {
	known, _, err := v.verifier.Verify(v.cache, ring, text, now)
	switch {
	case err != nil:
		return Identity{}, err
	case now-known.Identity.IssuedAt.Unix() > v.maxAge:
		return Identity{}, token.ErrTooOld
	}
	return Identity(known.Identity), nil
}

// Identify returns the identity of the caller who makes the request, as [Service.Identify] does for
// bearer tokens.
func (v *RemoteVerifier) Identify(r *http.Request) (Identity, error) {
	token, err := BearerToken(r)
	if err != nil {
		return Identity{}, err
	}
	return v.Verify(r.Context(), token)
}

// Authenticate passes on requests that Identify accepts, with the caller in their context for
// [IdentityFromContext], and answers the others with [WriteError].
func (v *RemoteVerifier) Authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		identity, err := v.Identify(r)
		if err != nil {
			WriteError(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(&callerContext{request: r, identity: &identity}))
	})
}
