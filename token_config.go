package auth

import (
	"errors"
	"fmt"
	"time"

	"github.com/sallyport-go/auth/internal/defaults"
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
	defaultLifetime = 12 * time.Hour
	longestLifetime = 30 * 24 * time.Hour
	maxIssuerLength = 256
	mostSessions    = 1000

	longestRevocationInterval = 5 * time.Second
	longestMaxStaleness       = time.Minute
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
		cfg.RevocationInterval = longestRevocationInterval
	}
	if cfg.MaxStaleness == 0 {
		cfg.MaxStaleness = longestMaxStaleness
	}
	if cfg.MaxSessions == 0 {
		cfg.MaxSessions = mostSessions
	}
	cfg.Now = defaults.Now(cfg.Now)
	if err := checkID("Issuer", issuer, maxIssuerLength); err != nil {
		return cfg, err
	}
	if len(cfg.Audiences) != 1 {
		return cfg, fmt.Errorf("auth: TokenConfig.Audiences has %d elements; it must have exactly one, or be nil for the issuer", len(cfg.Audiences))
	}
	if err := checkID("Audiences[0]", cfg.Audiences[0], maxIssuerLength); err != nil {
		return cfg, err
	}
	switch {
	case cfg.Lifetime < time.Second || cfg.Lifetime > longestLifetime || cfg.Lifetime%time.Second != 0:
		return cfg, errors.New("auth: TokenConfig.Lifetime must be whole seconds, from a second to 30 days")
	case cfg.MaxLifetime < cfg.Lifetime || cfg.MaxLifetime > longestLifetime:
		return cfg, errors.New("auth: TokenConfig.MaxLifetime must be from Lifetime to 30 days")
	case cfg.MaxSessions < 1 || cfg.MaxSessions > mostSessions:
		return cfg, fmt.Errorf("auth: TokenConfig.MaxSessions must be from 1 to %d", mostSessions)
	case cfg.RevocationInterval < 0 || cfg.RevocationInterval > longestRevocationInterval:
		return cfg, errors.New("auth: TokenConfig.RevocationInterval must be at most 5 seconds")
	case cfg.MaxStaleness < cfg.RevocationInterval || cfg.MaxStaleness > longestMaxStaleness:
		return cfg, errors.New("auth: TokenConfig.MaxStaleness must be from RevocationInterval to a minute")
	}
	return cfg, nil
}
