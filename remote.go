package auth

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/sallyport-go/auth/internal/clientaddr"
	"github.com/sallyport-go/auth/internal/defaults"
	"github.com/sallyport-go/auth/internal/outage"
	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/token"
	"github.com/sallyport-go/auth/internal/weburl"
)

// RemoteVerifierConfig configures a [RemoteVerifier]. Issuer, Audience and either JWKSURL or JWKS are
// required.
type RemoteVerifierConfig struct {
	// JWKSURL is where the issuer publishes its public keys, such as
	// "https://api.example.com/.well-known/jwks.json". It must be https, except on loopback. Without
	// https, another server could answer in the issuer's place and make valid tokens.
	JWKSURL string

	// InsecureJWKSURL allows plain http in JWKSURL for every host. Anyone who can change the traffic
	// between this service and the issuer can then publish keys of their own, and sign in here as any
	// user. Set it only if the network protects this traffic, as an encrypting service mesh does.
	InsecureJWKSURL bool

	// JWKS is the text of the issuer's JWK set, such as the content of a mounted file. Set either JWKS
	// or JWKSURL. With JWKS, the verifier calls no server. [RemoteVerifier.SetJWKS] replaces the set.
	JWKS []byte

	// Issuer and Audience are the iss and aud claims that a token must have. Issuer is the
	// Config.Issuer of the issuing service. Audience names this service, and is an element of the
	// issuing service's Config.Tokens.Audiences. It must not be the Issuer, because a token for the
	// issuer is for the issuer alone. Several services that may use each other's tokens can have one
	// Audience.
	Issuer   string
	Audience string

	// MaxAge is the maximum age of a token, counted from the time when the token was issued. It is
	// at most 30 days. Zero means 15 minutes. MaxAge limits how long this service accepts a revoked
	// token, because a RemoteVerifier cannot see revocations.
	MaxAge time.Duration

	// CacheSize is the number of verified tokens to remember: see [TokenConfig].
	CacheSize int

	// HTTPClient fetches the keys, without cookies and without following redirects. nil means a
	// client with http.DefaultTransport.
	HTTPClient *http.Client

	// Events receives an [EventTokenRejected] for each rejected token, and calls Hooks.Verify for
	// each token. nil means that the events go to Logger, as if [EventLogConfig.OnEvent] were nil.
	Events *EventLog

	// Proxies determines the client address in the events: see [Config]. Verify does not use it.
	Proxies Proxies

	// Now is the clock. nil means time.Now.
	Now func() time.Time

	// Logger receives a line when fetches of the keys begin to fail, when they succeed again, and
	// when the set has keys that are not used. It also receives lines about requests that
	// Authenticate answers with 503. nil means slog.Default().
	Logger *slog.Logger
}

const defaultMaxAge = 15 * time.Minute

// RemoteVerifier verifies tokens in a service that has neither the store nor the signing keys. It
// uses the public keys that the issuer publishes, which are ES256 and EdDSA keys. A RemoteVerifier
// is safe for concurrent use.
//
// A RemoteVerifier cannot see revocations. It accepts a token for MaxAge after the token was
// issued, even if the session has been revoked since. It does not know the user's permissions
// either. The service must decide by itself what the user may do.
//
// If RemoteVerifierConfig.JWKS is set, the verifier has all keys from the start. No request waits, and
// a token that names an unknown key is rejected. The rest of this comment is about JWKSURL.
//
// The verifier fetches the keys when the first token arrives. It fetches them again when a token
// names an unknown key, or when a token arrives and the keys are two and a half minutes old. At
// most one fetch begins in ten seconds. Each fetch has its own goroutine, which ends after five
// seconds at the latest if the HTTPClient respects its context and the Logger does not block.
//
// A request waits for a fetch in these cases:
//
//   - The verifier has no keys, or only keys that are older than a day.
//   - The token of the request names an unknown key.
//   - The keys are older than five minutes, and the last completed fetch, successful or not, began
//     at least five minutes ago.
//
// A request waits for at most one second. At most 100 requests wait at a time. While 100 requests
// wait, every further request that would have to wait gets an error.
//
// If fetches fail, the last fetched keys remain in use for a day. If a token names an unknown key
// during this time, Verify returns an error that is not ErrTokenRejected. If a later fetch shows
// that the issuer has no keys any longer, all tokens are rejected. Three responses show this: a set
// without usable keys, a redirect, and a 4xx status other than 408, 425 and 429.
//
// A token that was issued after its key was retired is rejected: see [SigningKey.RetiredAt].
type RemoteVerifier struct {
	verifier token.Verifier
	keys     *signing.RemoteKeys       // nil with RemoteVerifierConfig.JWKS
	fixed    atomic.Pointer[fixedKeys] // nil with RemoteVerifierConfig.JWKSURL
	cache    *token.Cache
	maxAge   int64 // seconds
	now      func() time.Time
	clients  *clientaddr.Resolver
	log      *slog.Logger
	failures *outage.Tracker // of requests
	events   *EventLog
	onVerify func(ctx context.Context, err error, cached bool, took time.Duration) // nil for no hook
}

// fixedKeys are the keys of a JWK set that the host has passed.
type fixedKeys struct {
	ring *signing.Ring
	jwks []byte
}

// NewRemoteVerifier returns a verifier. If the configuration is not valid, it returns an error that
// names the setting to change. It does not fetch the keys yet.
func NewRemoteVerifier(cfg RemoteVerifierConfig) (*RemoteVerifier, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cache, err := token.NewCache(cfg.CacheSize)
	if err != nil {
		return nil, err
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = defaultMaxAge
	}
	cfg.Now, cfg.Logger = defaults.Now(cfg.Now), defaults.Logger(cfg.Logger)
	clients, err := cfg.Proxies.resolver("RemoteVerifierConfig", cfg.Logger)
	if err != nil {
		return nil, err
	}
	if cfg.Events == nil {
		cfg.Events = NewEventLog(EventLogConfig{Now: cfg.Now, Logger: cfg.Logger})
	}
	v := &RemoteVerifier{
		verifier: token.Verifier{
			Type:        token.TypeBearer,
			Issuer:      cfg.Issuer,
			Audience:    cfg.Audience,
			MaxLifetime: int64(tokenLifetimeLimit / time.Second),
		},
		cache:    cache,
		maxAge:   int64(cfg.MaxAge / time.Second),
		now:      cfg.Now,
		clients:  clients,
		log:      cfg.Logger,
		failures: outage.New(cfg.Now),
		events:   cfg.Events,
		onVerify: cfg.Events.verifyHook(),
	}
	if cfg.JWKS == nil {
		v.keys = signing.NewRemoteKeys(cfg.JWKSURL, cfg.HTTPClient, cfg.Logger)
		return v, nil
	}
	if _, err := v.useJWKS("RemoteVerifierConfig.JWKS", cfg.JWKS); err != nil {
		return nil, err
	}
	return v, nil
}

func (cfg RemoteVerifierConfig) check() error {
	switch {
	case (cfg.JWKSURL == "") == (cfg.JWKS == nil):
		return errors.New("auth: RemoteVerifierConfig must have either JWKSURL or JWKS")
	case cfg.MaxAge != 0 && cfg.MaxAge < time.Second || cfg.MaxAge > tokenLifetimeLimit:
		return errors.New("auth: RemoteVerifierConfig.MaxAge must be from 1 second to 30 days")
	}
	err := cmp.Or(cfg.checkJWKSURL(), checkIssuer("RemoteVerifierConfig.Issuer", cfg.Issuer),
		checkAudienceName("RemoteVerifierConfig.Audience", cfg.Audience))
	if err == nil && cfg.Audience == cfg.Issuer {
		return errors.New("auth: RemoteVerifierConfig.Audience must not be the Issuer: tokens for that " +
			"audience are for the issuer alone; set Audience to a name of this service, and add the name " +
			"to Config.Tokens.Audiences of the issuer")
	}
	return err
}

func (cfg RemoteVerifierConfig) checkJWKSURL() error {
	if cfg.JWKSURL == "" {
		return nil
	}
	u, err := url.Parse(cfg.JWKSURL)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil ||
		u.Fragment != "":
		return errors.New("auth: RemoteVerifierConfig.JWKSURL must be a URL such as " +
			"https://api.example.com/.well-known/jwks.json, without a user or a fragment")
	case !weburl.IsSecure(u) && !cfg.InsecureJWKSURL:
		return errors.New("auth: RemoteVerifierConfig.JWKSURL must be https, or http on loopback: on other " +
			"networks, an attacker could answer in the issuer's place and make valid tokens; set " +
			"InsecureJWKSURL if the network itself protects the traffic")
	}
	return nil
}

// SetJWKS replaces the keys of a verifier that was made with RemoteVerifierConfig.JWKS, for example
// after the file with the keys has changed. It can be called while requests are served. After SetJWKS
// has returned nil, a token is accepted only if its key is in the new set. If the text has not
// changed, SetJWKS does nothing, so the host may call it at intervals.
//
// SetJWKS returns an error if the text is no JWK set, if no key of the set can be used, or if the set
// contains a private or symmetric key. The keys then stay as they were. SetJWKS also returns an error
// if the verifier was made with JWKSURL. If SetJWKS replaces the keys, it emits an
// [EventSigningKeysReplaced]. SetJWKS may be called by several goroutines; the last set stays.
func (v *RemoteVerifier) SetJWKS(jwks []byte) error {
	if v.keys != nil {
		return errors.New("auth: SetJWKS needs a RemoteVerifier with RemoteVerifierConfig.JWKS, not JWKSURL")
	}
	if known := v.fixed.Load(); bytes.Equal(known.jwks, jwks) {
		return nil // another ring with the same keys would empty the cache
	}
	ring, err := v.useJWKS("SetJWKS", jwks)
	if err != nil {
		return err
	}
	v.events.emit(context.Background(),
		Event{Kind: EventSigningKeysReplaced, Host: "auth.SetJWKS", Reason: ring.Summary()})
	return nil
}

// useJWKS parses a JWK set, makes the verifier use its keys, and returns the keys. The source argument
// says where the set comes from, for the text of an error.
func (v *RemoteVerifier) useJWKS(source string, jwks []byte) (*signing.Ring, error) {
	ring, err := signing.ParseJWKS(jwks)
	if err != nil {
		return nil, fmt.Errorf("auth: %s: %w", source, err)
	}
	if ignored := ring.Ignored(); ignored != "" {
		v.log.Warn("auth: the JWK set has keys that are not used", "keys", ignored)
	}
	v.fixed.Store(&fixedKeys{ring, bytes.Clone(jwks)})
	return ring, nil
}

// Verify returns the identity that the token proves. It returns ErrTokenRejected if the token is
// not valid now. Any other error means that the token could not be checked: the keys could not be
// fetched in time, or ctx ended while Verify waited for them. The event of a rejection contains the
// client that [WithClientInfo] has put into ctx.
func (v *RemoteVerifier) Verify(ctx context.Context, token string) (Identity, error) {
	identity, err := v.verify(ctx, token)
	if err != nil {
		v.events.recordTokenRejection(ctx, err)
	}
	return identity, err
}

// verify does the same as Verify, without an event.
func (v *RemoteVerifier) verify(ctx context.Context, token string) (Identity, error) {
	var began time.Time
	if v.onVerify != nil {
		began = time.Now()
	}
	identity, cached, err := v.verifyToken(ctx, token)
	if err != nil && !errors.Is(err, ErrTokenRejected) {
		err = fmt.Errorf("auth: verifying a token: %w", err)
	}
	if v.onVerify != nil {
		v.onVerify(ctx, err, cached, time.Since(began))
	}
	return identity, err
}

// verifyToken does the same as verify, but never calls the Verify hook, and adds no prefix to an
// error from fetching the keys. It also reports whether the token was in the cache.
func (v *RemoteVerifier) verifyToken(
	ctx context.Context, text string,
) (identity Identity, cached bool, err error) {
	now := v.now()
	if v.keys == nil {
		return v.verifyWith(v.fixed.Load().ring, text, now.Unix())
	}
	ring, err := v.keys.Current(ctx, now)
	if err != nil {
		return Identity{}, false, err
	}
	identity, cached, err = v.verifyWith(ring, text, now.Unix())
	if !errors.Is(err, token.ErrUnknownKey) {
		return identity, cached, err
	}
	if ring, err = v.keys.Newer(ctx, ring, now); err != nil {
		return Identity{}, false, err
	}
	return v.verifyWith(ring, text, now.Unix())
}

// verifyWith verifies the token with the keys of the ring, and checks the age of the token.
func (v *RemoteVerifier) verifyWith(
	ring *signing.Ring, text string, now int64,
) (identity Identity, cached bool, err error) {
	known, cached, err := v.verifier.Verify(v.cache, ring, text, now)
	if err != nil {
		return Identity{}, cached, err
	}
	identity = Identity(known.Identity)
	if now-identity.IssuedAt.Unix() > v.maxAge {
		return Identity{}, cached, rejectionOf(identity.UserID, identity.SessionID, token.ErrTooOld)
	}
	return identity, cached, nil
}

// Identify returns the identity that the bearer token of the request proves. It ignores cookies. It
// returns the errors of [BearerToken] and [RemoteVerifier.Verify].
func (v *RemoteVerifier) Identify(r *http.Request) (Identity, error) {
	token, err := BearerToken(r)
	var identity Identity
	if err == nil {
		identity, err = v.verify(r.Context(), token)
	}
	if err != nil {
		v.events.recordTokenRejection(WithClientInfo(r.Context(), clientOfRequest(r, v.clients)), err)
	}
	return identity, err
}

// RequireScope returns a handler that lets a caller pass if the caller's token has the scope or has no
// limit: see [Service.RequireScope]. Put it inside [RemoteVerifier.Authenticate] of the same verifier.
// Everywhere else, the handler answers 401. The verifier does not know which scopes exist, so it cannot
// notice a misspelled scope.
func (v *RemoteVerifier) RequireScope(scope string, next http.Handler) http.Handler {
	requireHandler("RemoteVerifier.RequireScope", next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := error(ErrTokenMissing)
		if caller := callerOf(r.Context()); caller != nil && caller.clients == v.clients {
			err = caller.identity.CheckScope(scope)
		}
		if err != nil {
			WriteError(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Authenticate returns a handler that calls Identify for each request. If Identify returns an
// error, the handler answers with [WriteError]. If the answer is 503, the handler logs the first such
// request, and then the number of such requests, at most every 30 seconds. If Identify returns no error,
// the handler passes the request to the handler in the parameter next. That handler gets the caller's
// identity from [IdentityFromContext].
func (v *RemoteVerifier) Authenticate(next http.Handler) http.Handler {
	requireHandler("RemoteVerifier.Authenticate", next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		identity, err := v.Identify(r)
		if err != nil {
			if isOutage(r, err) {
				logRequest(v.log, v.failures, identifying, r, clientOfRequest(r, v.clients), err)
			}
			WriteError(w, r, err)
			return
		}
		if v.failures.Failing() { // checked first, because building the text of the operation allocates
			logRecovery(v.log, v.failures, identifying, r)
		}
		next.ServeHTTP(w, r.WithContext(&callerContext{request: r, clients: v.clients, identity: &identity}))
	})
}
