package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"time"

	"github.com/sallyport-go/auth/internal/defaults"
	"github.com/sallyport-go/auth/internal/throttle"
	"github.com/sallyport-go/auth/internal/weburl"
	"github.com/sallyport-go/auth/limit"
)

// TokenConfig configures the contents of tokens and their verification. The zero value is a good
// choice.
type TokenConfig struct {
	// Audiences contains the services besides the issuer for which tokens can be issued, such as
	// "https://reports.example.com": see [IssueParams] and [TokenIssuer.Delegate]. The aud claim of such a
	// token is the audience. Only a [RemoteVerifier] with this audience and [TokenIssuer.VerifyFor] accept
	// the token. The aud claim of every other token is the issuer.
	//
	// An audience has 1 to 256 bytes of visible ASCII, without quotation marks and backslashes. It is
	// compared byte for byte. Audiences has at most 64 elements, and none of them is the issuer.
	Audiences []string

	// Scopes contains the host's own scopes, such as "reports:read": see [ScopeSet]. An access key can be
	// limited to these scopes and to the scopes of this package. A scope has 1 to 64 bytes of visible
	// ASCII, without quotation marks and backslashes, and must not begin with "auth:". All scopes together
	// have at most 900 bytes, so that a token with all of them fits into a header. With
	// [Config.BrowserSessions], less is allowed, because a token with all of them must fit into a cookie.
	//
	// nil means that nobody can limit a key: every call with scopes is refused with an *[InvalidError].
	// To allow only the scopes of this package, set an empty slice. A limited token can use only those
	// routes of the host that [Service.RequireScope] protects.
	Scopes []string

	// Claims, if not nil, returns claims of the host for the token of a new session, such as the user's
	// department. The token has them as an object in its claim "ext", and [Identity.Claims] has the object
	// as JSON text, also in a [RemoteVerifier]. The object has at most 1024 bytes as JSON. An empty map
	// means no claims.
	//
	// The claims stay as they are for the lifetime of the token, although the user can change meanwhile. So
	// never decide by them what a user may do. The claims are not secret: a person who has the token can
	// read them.
	//
	// The function is called for each token, after the session was created, and must be safe for concurrent
	// use. If it returns an error or panics, or if the token becomes too long for a cookie (2048 bytes,
	// with [Config.BrowserSessions]), the sign-in fails with 503 and the session is revoked. It is also
	// called for each delegated token. There, an error makes [TokenIssuer.Delegate] fail, and the session
	// stays. When a session cookie is renewed, an error leaves the cookie as it is.
	Claims func(ctx context.Context, session Session, user User) (map[string]any, error)

	// Lifetime is how long a token is valid, in whole seconds, from 1 second to 30 days. Zero means
	// 12 hours. If the access key that opens a session expires sooner, the token expires together
	// with the key.
	Lifetime time.Duration

	// MaxLifetime is the longest lifetime of an accepted token, at most 30 days. A token that
	// claims a longer lifetime is rejected, even if its signature is valid. Zero means the greater
	// of Lifetime and 12 hours. If you lower Lifetime, set MaxLifetime to the old Lifetime until
	// the last token with the old Lifetime has expired.
	MaxLifetime time.Duration

	// CacheSize is the maximum number of verified tokens in the cache, at most 16777216. Zero means
	// 16384; -1 means no cache. The signature of a token in the cache is not verified again. Twice
	// the number of tokens in use at a time is a good size.
	//
	// A token in the cache takes about 1 KiB of memory. The cache never takes more than CacheSize
	// times 2 KiB. If Config.BrowserSessions is set, there is a second cache of this size, for
	// session cookies.
	CacheSize int

	// RevocationInterval is the maximum age of an instance's copy of the revocation feed, which is
	// the store's list of revocations. The default and the maximum are 5 seconds. If the copy is
	// older, one request reads the feed, and the other requests wait for this read. No request
	// waits longer than one second.
	RevocationInterval time.Duration

	// MaxStaleness limits how long an instance accepts tokens while the store does not answer. If
	// the instance's copy of the revocation feed is older than MaxStaleness, the instance accepts
	// no token. The default and the maximum are one minute.
	MaxStaleness time.Duration

	// CheckSessionsInStore makes each request read its session from the store. The instance then
	// does not use the revocation feed, and rejects a revoked session at once. But each request
	// waits for the store, and no token is accepted while the store does not answer.
	CheckSessionsInStore bool

	// MaxSessions is how many sessions one user can have at a time, from 1 to 1000. Zero means
	// 1000. A sign-in that exceeds MaxSessions revokes the user's oldest session.
	MaxSessions int

	// Users is the host's own users table, if the store keeps no users. An example of such a store is the
	// result of memstore.NewAccounts. nil means that the store keeps the users. In a [Config], Users must be
	// nil, because [NewWithUsers] takes the table.
	Users UserSource

	// Events receives the issuer's events and calls the [Hooks] of the EventLog. nil means no events
	// and no hooks. In a [Config], Events must be nil, because the Service has its own EventLog.
	Events *EventLog

	// Now is the clock. nil means time.Now; in a [Config], it means the Service's clock.
	Now func() time.Time
}

const (
	defaultLifetime    = 12 * time.Hour
	tokenLifetimeLimit = 30 * 24 * time.Hour
	maxIssuerLength    = 256
	maxSessionsLimit   = 1000

	revocationIntervalLimit = 5 * time.Second
	maxStalenessLimit       = time.Minute
)

// checkIssuer returns an error unless the issuer is a URL in its usual spelling. Other services
// compare the issuer with the iss claim of tokens byte for byte. If only a slash differed, they would
// reject each token, and the reason would not say so.
func checkIssuer(setting, issuer string) error {
	if flaw := weburl.IssuerFlaw(issuer); flaw != "" {
		return fmt.Errorf("auth: %s %s", setting, flaw)
	}
	if len(issuer) > maxIssuerLength {
		return fmt.Errorf("auth: %s is %d bytes long; at most %d are allowed", setting, len(issuer),
			maxIssuerLength)
	}
	return nil
}

// publicOrigin checks Config.PublicURL, and returns it in the form of a browser's Origin header. If
// PublicURL is empty, publicOrigin returns the origin of GitHub's CallbackURL, or "" without GitHub.
func publicOrigin(publicURL, callbackURL string, insecureCookies bool) (string, error) {
	callback := weburl.Origin(callbackURL)
	if publicURL == "" {
		return callback, nil
	}
	u, err := url.Parse(publicURL)
	switch {
	case err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery ||
		u.Fragment != "" || u.Path != "" && u.Path != "/":
		return "", errors.New("auth: Config.PublicURL must be an origin such as " +
			"https://api.example.com, without path and query")
	case !weburl.IsSecure(u) && !(u.Scheme == "http" && insecureCookies):
		return "", errors.New("auth: Config.PublicURL must be https")
	}
	origin := weburl.Origin(publicURL)
	if !weburl.IsOrigin(origin) {
		return "", errors.New("auth: Config.PublicURL must have its host and port in the form that " +
			"browsers send: in ASCII (xn--…), and without leading zeros or a colon at the end")
	}
	if callback != "" && callback != origin {
		return "", errors.New("auth: Config.PublicURL and GitHub's CallbackURL must have the same origin: " +
			"a browser does not send the cookies of one origin to the other")
	}
	return origin, nil
}

func (cfg TokenConfig) withDefaults(issuer string) (TokenConfig, error) {
	if cfg.Lifetime == 0 {
		cfg.Lifetime = defaultLifetime
	}
	if cfg.MaxLifetime == 0 {
		cfg.MaxLifetime = max(cfg.Lifetime, defaultLifetime)
	}
	if cfg.RevocationInterval == 0 {
		cfg.RevocationInterval = revocationIntervalLimit
	}
	if cfg.MaxStaleness == 0 {
		cfg.MaxStaleness = maxStalenessLimit
	}
	if cfg.MaxSessions == 0 {
		cfg.MaxSessions = maxSessionsLimit
	}
	cfg.Audiences, cfg.Now = slices.Clone(cfg.Audiences), defaults.Now(cfg.Now)
	if err := checkIssuer("the issuer of a TokenIssuer", issuer); err != nil {
		return cfg, err
	}
	if err := checkTokenAudiences(issuer, cfg.Audiences); err != nil {
		return cfg, err
	}
	switch {
	case cfg.Lifetime < time.Second || cfg.Lifetime > tokenLifetimeLimit || cfg.Lifetime%time.Second != 0:
		return cfg, errors.New("auth: TokenConfig.Lifetime must be whole seconds, from a second to 30 days")
	case cfg.MaxLifetime < cfg.Lifetime || cfg.MaxLifetime > tokenLifetimeLimit:
		return cfg, errors.New("auth: TokenConfig.MaxLifetime must be from Lifetime to 30 days")
	case cfg.MaxSessions < 1 || cfg.MaxSessions > maxSessionsLimit:
		return cfg, fmt.Errorf("auth: TokenConfig.MaxSessions must be from 1 to %d", maxSessionsLimit)
	case cfg.RevocationInterval < 0 || cfg.RevocationInterval > revocationIntervalLimit:
		return cfg, errors.New("auth: TokenConfig.RevocationInterval must be at most 5 seconds")
	case cfg.MaxStaleness < cfg.RevocationInterval || cfg.MaxStaleness > maxStalenessLimit:
		return cfg, errors.New("auth: TokenConfig.MaxStaleness must be from RevocationInterval to a minute")
	}
	return cfg, nil
}

// CredentialConfig configures access keys and the hashes of their secrets. The zero value is a good
// choice. For more protection, add Peppers.
type CredentialConfig struct {
	// AccessKeyPrefix is the beginning of every generated access key, and AccessSecretPrefix is the
	// beginning of every generated secret. An underscore follows the prefix. The defaults are
	// "ak_live" and "as_live". A service rejects generated pairs that have other prefixes.
	AccessKeyPrefix    string
	AccessSecretPrefix string

	// Peppers are secret keys for the hashes of access secrets. The store does not contain the
	// peppers. An attacker who can write to the store therefore cannot add an access key that is
	// accepted. New hashes are made with the first pepper. A hash that was made with any of the
	// peppers is accepted.
	//
	// To add a pepper, first append the new pepper to the list on every instance. Only after that,
	// move the new pepper to the front. If the hash of an access key was not made with the first
	// pepper, the next sign-in with the key renews the hash with the first pepper. An instance whose
	// list does not contain this pepper then rejects the access key.
	//
	// [NoPepper] in the list stands for hashes without a pepper. An empty list means NoPepper
	// alone. To begin to use peppers, first add a pepper after NoPepper on every instance, and then
	// move that pepper to the front. Keep NoPepper at the end of the list until every access key
	// has been used to sign in. While NoPepper is in the list, the peppers do not protect against
	// an attacker who can write to the store. An imported hash has no pepper, so it is accepted
	// only while NoPepper is in the list.
	Peppers []SymmetricKey

	// AllowImported makes the service accept access keys that were imported from another system.
	// Unknown clients can then make the service compute slow hashes. The limits for slow hashes
	// depend on the client address, so [New] returns an error unless Config.Proxies is set.
	//
	// The duration of a rejection can reveal that an imported access key exists. If an access key
	// does not exist, the service computes an argon2id hash with the service's own parameters. An
	// imported hash can take more or less time. The first sign-in with the imported key removes this
	// difference, because the sign-in replaces the imported hash by a hash with the service's own
	// parameters.
	//
	// With GODEBUG=fips140=only, NewCredentialVerifier and New return an error if AllowImported is set:
	// see docs/fips.md.
	AllowImported bool

	// MaxSlowHashes is the maximum number of slow hashes that are computed at the same time. Each
	// slow hash takes up to 64 MiB of memory. Zero means half of GOMAXPROCS, but at least one.
	// Further sign-ins wait in a queue for at most 3 seconds. The maximum length of the queue is 32
	// times MaxSlowHashes. One client gets at most a fourth of the places. If there is no place or
	// the wait is too long, the sign-in fails with a *[ThrottledError].
	MaxSlowHashes int

	// Events receives the verifier's events. nil means no events, neither for OnEvent nor in the
	// audit trail. In a [Config] it must be nil, because the Service has its own EventLog.
	Events *EventLog

	// Now is the clock. nil means time.Now; in a [Config], it means the Service's clock.
	Now func() time.Time

	// Logger receives the failures that no call returns as an error. nil means slog.Default(); in a
	// [Config], it means the Service's logger.
	Logger *slog.Logger
}

// Throttling limits the attempts of each client. The zero value is a good choice.
//
// A correct secret that this package generated is rejected only if the client's own address exceeds
// Flood. The service verifies a generated secret before it applies any other limit. If an address
// has too many failures, its further failures return a *[ThrottledError]. Imported keys and
// sign-ins with GitHub have less protection: see Failures and SlowAttempts.
//
// Attempts are counted separately for each client address ([WithClientInfo]). Two IPv6 addresses
// with the same first 64 bits are counted as one address. All clients without a known address are
// counted together: their limit for failures is 50 times that of one address. The limits in Flood
// are an exception. For Flood, a client without a known address is counted by the address of the
// client's connection.
type Throttling struct {
	// Limiter counts the attempts. nil means that each instance counts in its own memory. Two
	// services that share a Limiter must have different issuers, because attempts at services with
	// the same issuer are counted together.
	//
	// If the Limiter returns an error or panics, the instance counts this attempt in its own memory. So a
	// failing Limiter keeps nobody out, and n instances together allow up to n times as many attempts.
	// [Stats] counts the failures, and the log says when they begin and end.
	Limiter limit.Limiter

	// Failures are the limits for failed sign-ins from one address. nil means 20 a minute, 100 an
	// hour and 500 a day. Sign-ins with access keys and sign-ins with GitHub are counted
	// separately.
	//
	// If an address has too many failures with access keys, its further attempts with imported keys
	// are rejected without a slow hash. If it has too many failures with GitHub, its further
	// sign-ins with GitHub are rejected without a call to GitHub. In both cases, correct attempts
	// are rejected, too. An attacker can therefore keep a user out, but only by sending requests
	// from the user's own address.
	Failures []limit.Rate

	// SlowAttempts are the limits for attempts with one imported key from one address. nil means 5
	// a minute, 20 an hour and 50 a day. Further attempts are rejected, even if the secret is
	// correct. A successful sign-in with the key resets the count.
	//
	// An attempt counts only if a slow hash is computed for it. An attempt that fails earlier, in
	// the store or in the queue of slow hashes, does not count. All clients without a known address
	// are counted together: their limit for a key is 200 times that of one address.
	SlowAttempts []limit.Rate

	// Flood are the limits for attempts of any kind from one address. nil means 60,000 a minute.
	// The service checks these limits before it calls the store. Only these limits can reject a
	// correct generated secret.
	Flood []limit.Rate

	// Off turns all limits off, for hosts that have their own limits and for benchmarks.
	Off bool
}

// newThrottle returns the throttle of the service with the given issuer, or nil if Off is set. The
// name of each count depends on the issuer. So services with different issuers can share a Limiter
// and still be counted separately.
func (t Throttling) newThrottle(
	issuer string, now func() time.Time, log *slog.Logger,
) (*throttle.Throttle, error) {
	limits, err := throttle.New(throttle.Limits(t), issuer, now, log)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	return limits, nil
}

// throttleClient returns the addresses by which the throttle counts the client.
func (c ClientInfo) throttleClient() throttle.Client {
	return throttle.Client{Address: c.Address, Peer: c.peer}
}

// asThrottled converts the error of an exceeded limit into a [ThrottledError], and returns any
// other error as it is.
func asThrottled(err error) error {
	exceeded, ok := errors.AsType[*throttle.ExceededError](err)
	if !ok {
		return err
	}
	throttled := &ThrottledError{RetryAfter: exceeded.RetryAfter}
	return fmt.Errorf("auth: too many %s: %w", exceeded.Kind, throttled)
}

// change is a lasting change that a component makes. The component passes the field write to the
// store, and then calls recordEvent.
type change struct {
	write Write
	event Event // for the queue or the log, unless it is delivered from the trail
	log   *EventLog
}

// newChange returns a change that the given authority makes, with the given event. If the EventLog
// is nil, the change has no event.
func (l *EventLog) newChange(
	ctx context.Context, by Authority, e Event, now func() time.Time, maxTokenLifetime time.Duration,
) change {
	by = by.needing(neededScope(by, e.Kind))
	c := change{write: Write{By: by, Now: now, MaxTokenLifetime: maxTokenLifetime}, log: l}
	if l == nil {
		return c
	}
	e.ActorID, e.Host, e.Client = cmp.Or(by.UserID, e.ActorID), by.Host, clientOf(ctx)
	if caller := callerOf(ctx); caller != nil && e.ActorID == "" {
		e.ActorID = caller.identity.UserID
	}
	if e.SessionID == "" {
		e.SessionID = by.SessionID
	}
	// If an ID is too long for any record, the caller must get ErrNotFound. A store returns
	// ErrInvalid for an event with that ID, so the event leaves the ID out.
	for _, id := range []*string{&e.UserID, &e.SessionID} {
		if checkText("id", *id, MaxIDLength) != nil {
			*id = ""
		}
	}
	c.event = e
	if l.trail != nil {
		c.write.Event, c.write.Deliver = e, l.onEvent != nil || l.elsewhere
	}
	return c
}

// recordEvent delivers the event of the change. It is called after the change has committed.
func (c change) recordEvent(ctx context.Context) {
	switch {
	case c.log == nil || c.event.Kind == "":
	case c.log.trail == nil:
		c.log.emit(ctx, c.event)
	default:
		// Before Run, the event is stored, but this instance may never deliver it.
		if c.log.onEvent == nil || !c.log.everRan.Load() {
			c.event.At = c.log.clock().UTC()
			c.log.warnWithoutRun(ctx)
			c.log.writeToLog(ctx, c.event)
		}
		select {
		case c.log.wake <- struct{}{}:
		default: // deliver has a signal already, or there is no OnEvent
		}
	}
}
