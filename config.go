package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sallyport-go/auth/internal/defaults"
	"github.com/sallyport-go/auth/internal/throttle"
	"github.com/sallyport-go/auth/limit"
)

// TokenConfig says what tokens contain and how they are verified. The zero value is a good
// choice.
type TokenConfig struct {
	// Audiences is the aud claim, the services that the tokens are for: exactly one for now.
	// nil means the issuer. A token with another audience, or with a list of them, is
	// rejected.
	Audiences []string

	// Lifetime is how long a token is valid, in whole seconds, from a second to 30 days.
	// Zero means 12 hours. The token of a key that expires sooner expires with it.
	Lifetime time.Duration

	// MaxLifetime is the longest lifetime that a token may claim, whoever signed it; at most
	// 30 days. Zero means the greater of Lifetime and 12 hours. After you have lowered
	// Lifetime, keep MaxLifetime at the old value until the last old token has expired.
	MaxLifetime time.Duration

	// CacheSize is how many verified tokens are remembered, so that the next request with one
	// of them verifies no signature: up to 16777216. Zero means 16384; -1 means none. A token
	// takes about 1 KiB of memory, and all together never take more than CacheSize times
	// 2 KiB. Twice the number of tokens in use at a time is a good size. With BrowserSessions,
	// there is a second cache of this size, for session cookies.
	CacheSize int

	// RevocationInterval is the greatest age of what an instance knows of the revocation
	// feed; at most 5 seconds, which is the default. When it is older, one request reads the
	// feed for all, which wait for a second at most. While the store does not answer, tokens
	// are accepted until what is known is older than MaxStaleness; at most a minute, which is
	// the default.
	RevocationInterval time.Duration
	MaxStaleness       time.Duration

	// CheckSessionsInStore asks the store for the session on every request instead of
	// following the revocation feed. A revoked session is then rejected everywhere at once,
	// each request waits for the store, and no token is accepted while the store does not
	// answer.
	CheckSessionsInStore bool

	// MaxSessions is how many sessions one user can have at a time, from 1 to 1000. Zero
	// means 1000. Signing in once more revokes the oldest.
	MaxSessions int

	// Events gets the issuer's events and calls its hooks. nil means none. In a [Config] it
	// must be nil, because the Service has an EventLog of its own.
	Events *EventLog

	// Now is the clock. nil means time.Now, and in a [Config] the Service's clock.
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

func (cfg TokenConfig) withDefaults(issuer string) (TokenConfig, error) {
	if cfg.Audiences == nil {
		cfg.Audiences = []string{issuer}
	}
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
	cfg.Now = defaults.Now(cfg.Now)
	if err := checkID("Issuer", issuer, maxIssuerLength); err != nil {
		return cfg, err
	}
	if len(cfg.Audiences) != 1 {
		return cfg, fmt.Errorf("auth: TokenConfig.Audiences has %d elements; it must have exactly one, "+
			"or be nil for the issuer", len(cfg.Audiences))
	}
	if err := checkID("Audiences[0]", cfg.Audiences[0], maxIssuerLength); err != nil {
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

// CredentialConfig says how access keys look and how their secrets are kept. The zero value is
// a good choice, to which Peppers may be added.
type CredentialConfig struct {
	// AccessKeyPrefix and AccessSecretPrefix begin the text of every pair, followed by an
	// underscore. The defaults are "ak_live" and "as_live". A service knows only pairs with
	// the prefixes that it is configured with.
	AccessKeyPrefix    string
	AccessSecretPrefix string

	// Peppers are keys that the hashes of secrets need and that the store does not have. With
	// them, an attacker who can write to the store still cannot make a key that signs in. The
	// first is for new hashes, all verify. A hash made with another than the first is made
	// anew when its key next signs in, so an instance that does not know the first yet
	// rejects that key from then on: append a new pepper on every instance before it becomes
	// the first on any.
	//
	// [NoPepper] is an element like the others: at the front while the first pepper is
	// appended, behind it until every key has signed in. While it is in the ring, the peppers
	// do not protect against an attacker who can write to the store. Imported hashes have no
	// pepper. An empty ring is NoPepper alone.
	Peppers []SymmetricKey

	// AllowImported accepts keys whose names or secrets were made elsewhere, and whose slow
	// hashes an unknown client can make this service compute. An unknown name costs an
	// argon2id hash of ours; an imported hash that costs more or less reveals, until its key
	// has signed in once, that the name exists. [New] returns an error unless Config.Proxies is
	// set as well, because slow hashes are throttled by client address.
	AllowImported bool

	// MaxSlowHashes is how many slow hashes, of 8 to 64 MiB each, run at once. Zero means
	// half of GOMAXPROCS, but at least one. Up to 32 times as many wait, for up to 3 seconds;
	// the others get a *ThrottledError.
	MaxSlowHashes int

	// Events gets the verifier's events. nil means none. In a [Config] it must be nil,
	// because the Service has an EventLog of its own.
	Events *EventLog

	// Now is the clock. nil means time.Now, and in a [Config] the Service's clock.
	Now func() time.Time

	// Logger gets failures that make no call fail. nil means slog.Default(), and in a
	// [Config] the Service's logger.
	Logger *slog.Logger
}

// Throttling bounds what clients can try. A correct generated secret is never rejected because of
// what other clients have sent, except for a Flood from the same address: the secret is verified
// first, and only failures are counted. Once there are too many, further failures are answered with
// a *[ThrottledError]. Clients are counted by address ([WithClientInfo]), an IPv6 address by its
// first 64 bits. All clients whose addresses are not known share one budget, which is 50 times that
// of one client; a flood of theirs is counted by the address of the connection.
//
// The zero value is a good choice.
type Throttling struct {
	// Limiter counts. nil means in memory, for this instance alone. Services that share a Limiter
	// must have different issuers, or they count together.
	Limiter limit.Limiter

	// Failures are how many sign-ins from one address may fail. nil means 20 in a minute, 100
	// in an hour and 500 in a day. Sign-ins with GitHub have a count of their own. While there
	// are too many, imported keys from the address are rejected without a slow hash, and its
	// GitHub sign-ins without a call to GitHub, also correct ones: an attacker must have the
	// same address to keep a user out.
	Failures []limit.Rate

	// SlowAttempts are how many times one imported key may be tried from one address until it
	// has signed in. nil means 5 in a minute, 20 in an hour and 50 in a day. Further attempts
	// are rejected likewise. An attempt counts when a slow hash is computed for it, so one that
	// the store or the queue of slow hashes fails does not. All attempts on the key from
	// addresses that are not known count together, and 200 times as many may be made.
	SlowAttempts []limit.Rate

	// Flood is how many times one address may try at all, before the store is asked. nil means
	// 60,000 in a minute. It is the only limit that rejects correct generated secrets.
	Flood []limit.Rate

	// Off counts nothing: for hosts with limits of their own, and for benchmarks.
	Off bool
}

// newThrottle returns the throttle of the service with this issuer, or nil if it is off. The limits
// of services with different issuers are counted apart.
func (t Throttling) newThrottle(
	issuer string, now func() time.Time, log *slog.Logger,
) (*throttle.Throttle, error) {
	limits, err := throttle.New(throttle.Limits(t), issuer, now, log)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	return limits, nil
}

// counted returns the client as the throttle counts it.
func (c ClientInfo) throttleClient() throttle.Client {
	return throttle.Client{Address: c.Address, Peer: c.peer}
}

// asThrottled returns err, or a [ThrottledError] in its place if a limit is exceeded.
func asThrottled(err error) error {
	exceeded, ok := errors.AsType[*throttle.ExceededError](err)
	if !ok {
		return err
	}
	throttled := &ThrottledError{RetryAfter: exceeded.RetryAfter}
	return fmt.Errorf("auth: too many %s: %w", exceeded.Kind, throttled)
}
