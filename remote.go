package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// RemoteVerifierConfig says whose tokens a [RemoteVerifier] accepts. JWKSURL,
// Issuer and Audience are required.
type RemoteVerifierConfig struct {
	// JWKSURL is where the issuer has its public keys, such as
	// "https://api.example.com/.well-known/jwks.json". It must be https: whoever can
	// answer in its place can make tokens.
	JWKSURL string

	// Issuer and Audience are those of the tokens: the issuer's Config.Issuer, and
	// its Config.Tokens.Audiences, which must name this service and not be left at the
	// issuer. A token for another audience is refused.
	Issuer   string
	Audience string

	// MaxAge is how long ago a token may have been issued: 15 minutes unless set, at
	// most 30 days. It bounds for how long a token that has been revoked is accepted
	// here, where that cannot be seen.
	MaxAge time.Duration

	// CacheSize is how many verified tokens are remembered: see
	// TokenConfig.CacheSize.
	CacheSize int

	// HTTPClient fetches the keys: one of our own unless set. It is used without
	// cookies, and follows no redirect.
	HTTPClient *http.Client

	// Now is the clock, time.Now unless set.
	Now func() time.Time
}

const defaultMaxAge = 15 * time.Minute

// RemoteVerifier verifies tokens in a service that has neither the store nor the
// signing keys, by the public keys that the issuer publishes: those of ES256 and
// EdDSA. It is safe for concurrent use.
//
// What it cannot see is revocation: a token is good here for MaxAge after it was
// issued, whatever has happened to its session since. And it says nothing of what
// the user may do; that is for the service to decide, by the user's ID.
//
// The keys are fetched when the first token comes, again when they are five
// minutes old or a token names a key that is not among them, but not more often
// than every ten seconds. When they cannot be fetched, those of the last time are
// good for a day.
type RemoteVerifier struct {
	verifier tokenVerifier
	keys     *remoteKeys
	cache    *tokenCache
	maxAge   int64 // seconds
	now      func() time.Time
}

// NewRemoteVerifier returns a verifier, or an error that says what to change in the
// configuration. It fetches nothing yet.
func NewRemoteVerifier(cfg RemoteVerifierConfig) (*RemoteVerifier, error) {
	if err := checkJWKSURL(cfg.JWKSURL); err != nil {
		return nil, err
	}
	for _, text := range []string{cfg.Issuer, cfg.Audience} {
		if err := checkID("Issuer and Audience", text, maxIssuerLength); err != nil {
			return nil, err
		}
	}
	size, err := cacheSize(cfg.CacheSize)
	if err != nil {
		return nil, err
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = defaultMaxAge
	}
	if cfg.MaxAge < time.Second || cfg.MaxAge > longestLifetime {
		return nil, errors.New("auth: MaxAge must be from a second to 30 days")
	}
	return &RemoteVerifier{
		verifier: tokenVerifier{
			issuer: cfg.Issuer, audience: cfg.Audience, maxLifetime: int64(longestLifetime / time.Second),
		},
		keys:   newRemoteKeys(cfg.JWKSURL, cfg.HTTPClient),
		cache:  newTokenCache(size),
		maxAge: int64(cfg.MaxAge / time.Second),
		now:    orNow(cfg.Now),
	}, nil
}

func checkJWKSURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("auth: JWKSURL must be an https URL without a user or a fragment")
	}
	return nil
}

// Verify returns whose token this is. It returns ErrTokenRejected for every token
// that is not good now, and any other error if the keys cannot be had, or ctx ends
// while they are waited for: then nothing is known of the token.
func (v *RemoteVerifier) Verify(ctx context.Context, token string) (Identity, error) {
	now := v.now()
	ring, err := v.keys.current(ctx, now)
	if err != nil {
		return Identity{}, fmt.Errorf("auth: verifying a token: %w", err)
	}
	claims, err := v.verify(ring, token, now.Unix())
	if errors.Is(err, errUnknownKey) {
		ring, err = v.keys.newer(ctx, ring, now)
		if err != nil {
			return Identity{}, fmt.Errorf("auth: verifying a token: %w", err)
		}
		claims, err = v.verify(ring, token, now.Unix())
	}
	switch {
	case err != nil:
		return Identity{}, err
	case now.Unix()-claims.times.issuedAt > v.maxAge:
		return Identity{}, errTooOld
	}
	return claims.identity, nil
}

func (v *RemoteVerifier) verify(ring *keyRing, token string, now int64) (*verifiedToken, error) {
	known, _, err := v.verifier.verifyOnce(v.cache, ring, token, now)
	return known, err
}

// Identify returns who makes the request, as [Service.Identify] does, but for
// cookies.
func (v *RemoteVerifier) Identify(r *http.Request) (Identity, error) {
	token, err := bearerToken(r.Header)
	if err != nil {
		return Identity{}, err
	}
	return v.Verify(r.Context(), token)
}

// Authenticate lets requests through that Identify knows, with the caller in their
// context for [IdentityFromContext], and answers the others with [WriteError].
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
