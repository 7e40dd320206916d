package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/challenge"
	"github.com/sallyport-go/auth/internal/clientaddr"
	"github.com/sallyport-go/auth/internal/defaults"
	"github.com/sallyport-go/auth/internal/feedpage"
	"github.com/sallyport-go/auth/internal/outage"
	"github.com/sallyport-go/auth/internal/revocation"
	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/token"
)

// RemoteVerifier verifies tokens in a service that has neither the store nor the signing keys. It
// uses the public keys that the issuer publishes, which are ES256 and EdDSA keys. A RemoteVerifier
// is safe for concurrent use.
//
// A RemoteVerifier does not know the user's permissions. The service must decide by itself what the user
// may do.
//
// If RemoteVerifierConfig.RevocationsURL is not set, a RemoteVerifier cannot see revocations. It accepts a
// token for MaxAge after the token was issued, even if the session has been revoked since.
//
// If RevocationsURL is set, the verifier has a copy of the issuer's revocation feed, and rejects a revoked
// token within RevocationInterval. The age of the copy counts from when the issuer read it from its store.
// Run reads the feed every second. Without Run, the first request in each RevocationInterval reads the
// feed, and other requests wait for this read for at most a second. If the issuer does not answer, or has
// no recent copy itself, the verifier accepts tokens until its copy is as old as MaxStaleness. From then
// on, Verify returns an error that is not ErrTokenRejected. If the store of the issuer was restored from a
// backup, Verify returns such an error until the issuer has revoked all sessions: see
// [Service.RevokeEverybody].
//
// Verify also reads the feed if the session of a token is newer than the copy. If the issuer then says that
// it has no revocation as new as the session, the issuer has lost data, and Verify returns an error that is
// not ErrTokenRejected.
//
// If RemoteVerifierConfig.JWKS is set, the verifier has all keys from the start. No request waits for
// keys, and a token that names an unknown key is rejected. The rest of this comment is about JWKSURL.
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
//   - The keys are older than five minutes, and the last completed fetch, successful or not, began at least
//     five minutes ago.
//
// A request waits for at most one second. At most 100 requests wait at a time. While 100 requests wait,
// every further request that would have to wait gets an error.
//
// If fetches fail, the last fetched keys remain in use for a day. If a token names an unknown key during
// this time, Verify returns an error that is not ErrTokenRejected. If a later fetch shows that the issuer
// has no keys any longer, all tokens are rejected. A set without usable keys shows this at once. A redirect,
// or a 4xx status other than 408, 425 and 429, can come from a firewall. It shows this only if it comes three
// times in a row over at least 15 minutes. Until then, it counts as a fetch that failed.
//
// A token that was issued after its key was retired is rejected: see [SigningKey.RetiredAt].
type RemoteVerifier struct {
	verifier token.Verifier
	keys     *signing.RemoteKeys       // nil with RemoteVerifierConfig.JWKS
	fixed    atomic.Pointer[fixedKeys] // nil with RemoteVerifierConfig.JWKSURL
	cache    *token.Cache
	maxAge   int64            // seconds
	feed     *revocation.Feed // nil without RemoteVerifierConfig.RevocationsURL
	interval time.Duration    // RemoteVerifierConfig.RevocationInterval
	stale    time.Duration    // RemoteVerifierConfig.MaxStaleness
	metadata string           // RemoteVerifierConfig.ResourceMetadataURL
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

// NewRemoteVerifier returns a verifier, or an error that names the setting to change. It does not fetch the
// keys yet.
func NewRemoteVerifier(cfg RemoteVerifierConfig) (*RemoteVerifier, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cache, err := token.NewCache(cfg.CacheSize)
	if err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	cfg.Now, cfg.Logger = defaults.Now(cfg.Now), defaults.Logger(cfg.Logger)
	clients, err := cfg.Proxies.resolver("RemoteVerifierConfig", cfg.Logger)
	if err != nil {
		return nil, err
	}
	if cfg.Events == nil {
		cfg.Events = NewEventLog(EventLogConfig{Now: cfg.Now, Logger: cfg.Logger})
	}
	v := &RemoteVerifier{
		verifier: token.Verifier{Type: token.TypeBearer, Issuer: cfg.Issuer, Audience: cfg.Audience,
			MaxLifetime: int64(tokenLifetimeLimit / time.Second)},
		cache:    cache,
		maxAge:   int64(cfg.MaxAge / time.Second),
		interval: cfg.RevocationInterval,
		stale:    cfg.MaxStaleness,
		metadata: cfg.ResourceMetadataURL,
		now:      cfg.Now,
		clients:  clients,
		log:      cfg.Logger,
		failures: outage.New(cfg.Now),
		events:   cfg.Events,
		onVerify: cfg.Events.verifyHook(),
	}
	if cfg.RevocationsURL != "" {
		v.feed = v.newFeed(&cfg)
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

// newFeed returns a reader of the issuer's revocation feed that has read nothing.
func (v *RemoteVerifier) newFeed(cfg *RemoteVerifierConfig) *revocation.Feed {
	target, _ := url.Parse(cfg.RevocationsURL) // check has parsed it
	issuer := cfg.Issuer
	follower := feedpage.NewFollower(feedpage.FollowerConfig{
		URL: target, Issuer: issuer, Client: signing.StrictClient(cfg.HTTPClient),
		Tokens: cfg.TokenSource, Now: cfg.Now, Keys: v.currentKeys, NewerKeys: v.newerKeys,
	})
	return revocation.NewFeed(revocation.Source{
		Read: follower.Read, Head: follower.Head, AsOf: follower.AsOf,
		Hash: func(userID, sessionID string) (string, string) {
			return feedpage.Hash(issuer, userID, sessionID)
		},
		Report: func(r revocation.Report) { logFeed(v.log, r) },
	}, cfg.RevocationInterval, cfg.MaxStaleness, cfg.Now)
}

func (v *RemoteVerifier) currentKeys(ctx context.Context) (*signing.Ring, error) {
	if v.keys == nil {
		return v.fixed.Load().ring, nil
	}
	return v.keys.Current(ctx, v.now())
}

// newerKeys returns the keys after a page of revocations has named a key that is not in the ring.
func (v *RemoteVerifier) newerKeys(ctx context.Context, ring *signing.Ring) (*signing.Ring, error) {
	if v.keys == nil {
		return v.fixed.Load().ring, nil
	}
	return v.keys.Newer(ctx, ring, v.now())
}

// SetJWKS replaces the keys of a verifier that was made with RemoteVerifierConfig.JWKS, for example
// after the file with the keys has changed. It can be called while requests are served. After SetJWKS
// has returned nil, a token is accepted only if its key is in the new set. If the text has not
// changed, SetJWKS does nothing, so the host may call it at intervals.
//
// SetJWKS returns an error if the text is no JWK set, if no key of the set can be used, or if the set
// contains a private or symmetric key. The keys then stay as they were. SetJWKS also returns an error
// if the verifier was made with JWKSURL. If SetJWKS replaces the keys, it emits an
// [eventkind.SigningKeysReplaced]. SetJWKS may be called by several goroutines; the last set stays.
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
	e := Event{Kind: eventkind.SigningKeysReplaced, Host: "auth.SetJWKS", Reason: ring.Summary()}
	v.events.emit(context.Background(), e)
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
// not valid now. Any other error means that the token could not be checked: the keys or the revocations
// could not be fetched in time, or ctx ended while Verify waited for them. Such an error wraps the error of
// RemoteVerifierConfig.HTTPClient, for example a *net.OpError. The event of a rejection contains the client
// that [WithClientInfo] has put into ctx.
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
	if v.onVerify != nil {
		v.onVerify(ctx, err, cached, time.Since(began))
	}
	return identity, err
}

// verifyToken does the same as verify, but never calls the Verify hook. It also reports whether the
// token was in the cache.
func (v *RemoteVerifier) verifyToken(
	ctx context.Context, text string,
) (identity Identity, cached bool, err error) {
	now := v.now()
	known, cached, err := v.verifySignature(ctx, text, now)
	if err != nil {
		return Identity{}, cached, err
	}
	who := &known.Identity
	if now.Unix()-who.IssuedAt.Unix() > v.maxAge {
		return Identity{}, cached, rejectionOf(who.UserID, who.SessionID, token.ErrTooOld)
	}
	if v.feed != nil {
		err := v.feed.RequireLive(ctx, who.UserID, who.SessionID, known.Generation, &known.Checked, now)
		if err != nil {
			return Identity{}, cached, rejectionOf(who.UserID, who.SessionID, remoteFeedError(err))
		}
	}
	return Identity(*who), cached, nil
}

// verifySignature verifies everything about the token that the keys of the issuer prove.
func (v *RemoteVerifier) verifySignature(
	ctx context.Context, text string, now time.Time,
) (known *token.Verified, cached bool, err error) {
	if v.keys == nil {
		return v.verifier.Verify(v.cache, v.fixed.Load().ring, text, now.Unix())
	}
	ring, err := v.keys.Current(ctx, now)
	if err != nil {
		return nil, false, fmt.Errorf("auth: verifying a token: %w", &issuerError{err})
	}
	known, cached, err = v.verifier.Verify(v.cache, ring, text, now.Unix())
	if !errors.Is(err, token.ErrUnknownKey) {
		return known, cached, err
	}
	if ring, err = v.keys.Newer(ctx, ring, now); err != nil {
		return nil, false, fmt.Errorf("auth: verifying a token: %w", &issuerError{err})
	}
	return v.verifier.Verify(v.cache, ring, text, now.Unix())
}

// remoteFeedError converts an error of the revocation feed into an error of [RemoteVerifier.Verify]. If
// the issuer has lost commits, the token is not rejected: the verifier has no store, so it cannot know
// whether it is the copy of an instance of the issuer that is wrong.
func remoteFeedError(err error) error {
	switch {
	case errors.Is(err, revocation.ErrRevoked):
		return errRevoked
	case errors.Is(err, revocation.ErrCommitsLost):
		return fmt.Errorf("auth: verifying a token: at the issuer, %w", err)
	}
	return &issuerError{err}
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
	return identity, withMetadata(err, v.metadata)
}

// RequireScope returns a handler that lets a caller pass if the caller's token has the scope or has no
// limit: see [Service.RequireScope]. The verifier does not know which scopes exist, so it cannot notice a
// misspelled scope.
func (v *RemoteVerifier) RequireScope(scope string, next http.Handler) http.Handler {
	requireHandler("RemoteVerifier.RequireScope", next)
	inside := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := callerOf(r.Context()).identity.CheckScope(scope); err != nil {
			WriteError(w, r, withMetadata(err, v.metadata))
			return
		}
		next.ServeHTTP(w, r)
	})
	alone := v.authenticate(scope, limiting{inside})
	return limiting{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler := alone
		if caller := callerOf(r.Context()); caller != nil && caller.clients == v.clients {
			handler = inside
		}
		handler.ServeHTTP(w, r)
	})}
}

// Authenticate returns a handler that calls Identify for each request. If Identify returns an
// error, the handler answers with [WriteError]. If the answer is 503, the handler logs the first such
// request, and then the number of such requests, at most every 30 seconds. If Identify returns no error,
// the handler calls next, with the caller in the context for [IdentityFromContext].
//
// Authenticate answers 403 if the token is limited, unless next is a handler of RequireScope: see
// [Service.Authenticate].
func (v *RemoteVerifier) Authenticate(next http.Handler) http.Handler {
	requireHandler("RemoteVerifier.Authenticate", next)
	return v.authenticate("", next)
}

// authenticate is Authenticate for a route that needs the scope: see [Service.RequireScope].
func (v *RemoteVerifier) authenticate(scope string, next http.Handler) http.Handler {
	_, limits := next.(limiting)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		identity, err := v.Identify(r)
		if err != nil {
			if isOutage(r, err) {
				logRequest(v.log, v.failures, identifying, r, clientOfRequest(r, v.clients), err)
			}
			WriteError(w, r, challenge.WithScope(err, scope))
			return
		}
		if v.failures.Failing() { // checked first, because building the text of the operation allocates
			logRecovery(v.log, v.failures, identifying, r)
		}
		if identity.Limited && !limits {
			WriteError(w, r, withMetadata(identity.unscoped(), v.metadata))
			return
		}
		next.ServeHTTP(w, r.WithContext(&callerContext{request: r, clients: v.clients, identity: &identity}))
	})
}

// Run reads the issuer's revocation feed until ctx is done, and returns ctx's error. It reads the feed once
// a second, or twice in each RevocationInterval if that is more often. After 30 seconds without a request
// that has a valid token, it reads the feed about a second before the latest read is a RevocationInterval
// old. The next such request ends this at once. If a read fails, Run tries again at the next time. The log
// says when reads begin to fail, and when they succeed again.
//
// Run needs RemoteVerifierConfig.RevocationsURL, and returns an error at once if it is not set. Only one
// goroutine may call Run. Run starts no goroutine, except those of a call of TokenSource and of a
// fetch of the keys, which each end soon.
//
// Without Run, the requests read the feed: see [RemoteVerifier].
func (v *RemoteVerifier) Run(ctx context.Context) error {
	if v.feed == nil {
		return errors.New("auth: RemoteVerifier.Run needs RemoteVerifierConfig.RevocationsURL")
	}
	_ = v.feed.ReadNow(ctx) // the Feed reports a failure to the log
	return v.feed.Follow(ctx, min(feedInterval, v.interval/2))
}

// FeedAge returns the age of this service's copy of the issuer's revocation feed. It also reports whether
// the verifier still accepts tokens, which it does while the age is below MaxStaleness. The age counts
// from when the issuer read the copy from its store. The host can use FeedAge for monitoring. Before the
// first complete read, the age is math.MaxInt64. Without RemoteVerifierConfig.RevocationsURL, FeedAge
// returns 0 and true.
func (v *RemoteVerifier) FeedAge() (age time.Duration, accepts bool) {
	if v.feed == nil {
		return 0, true
	}
	age = v.feed.Age(v.now())
	return age, age < v.stale
}
