package auth

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport-go/auth/internal/answers"
	"github.com/sallyport-go/auth/internal/browser"
	"github.com/sallyport-go/auth/internal/token"
)

// BrowserSessions configures session cookies. The middleware accepts the cookie if a request has no
// bearer token. Signing out removes the cookie.
//
// A person gets the cookie from POST /auth/browser/login, with an access key, or from a sign-in
// with GitHub. The sign-in with GitHub then ends with a redirect to a page of the host. If the sign-in
// succeeded, the response sets the cookie. If the sign-in failed, the page's URL has a query parameter
// named error.
//
// A cookie is valid for Tokens.Lifetime. While a person uses the session, the service renews the cookie,
// until the session is as old as MaxLifetime. [Service.Authenticate], the other middleware and the
// documented calls renew a cookie that is in the last quarter of Tokens.Lifetime. [Service.Identify] and
// [Service.IdentifyContext] renew no cookie.
//
// A renewed cookie belongs to the same session, with the same scopes and the same time of sign-in. So a
// revocation of the session also revokes all its cookies, and Config.ReauthAfter counts from the sign-in.
type BrowserSessions struct {
	// LandingPath is the path of the host's page to which the browser is redirected. Default "/".
	LandingPath string

	// MaxLifetime is how long after the sign-in a session cookie can be valid, from Tokens.Lifetime to
	// 30 days. If MaxLifetime is equal to Tokens.Lifetime, no cookie is renewed. Zero means 7 days, or
	// Tokens.Lifetime if that is longer.
	//
	// If you lower MaxLifetime, older sessions end at once. A cookie also ends at once if the rest of its
	// life exceeds Tokens.MaxLifetime.
	MaxLifetime time.Duration
}

const defaultBrowserLifetime = 7 * 24 * time.Hour

// withDefaults checks the configuration and sets the defaults.
func (cfg BrowserSessions) withDefaults(tokens TokenConfig) (BrowserSessions, error) {
	cfg.LandingPath = cmp.Or(cfg.LandingPath, "/")
	if err := checkReturnTo(cfg.LandingPath); err != nil {
		return cfg, errors.New("auth: BrowserSessions.LandingPath must be a path such as /account")
	}
	if cfg.MaxLifetime == 0 {
		cfg.MaxLifetime = max(defaultBrowserLifetime, tokens.Lifetime)
	}
	if cfg.MaxLifetime < tokens.Lifetime || cfg.MaxLifetime > tokenLifetimeLimit ||
		cfg.MaxLifetime%time.Second != 0 {
		return cfg, fmt.Errorf("auth: BrowserSessions.MaxLifetime must be whole seconds, from "+
			"Tokens.Lifetime (%s) to 30 days", tokens.Lifetime)
	}
	return cfg, nil
}

// renewals decides when a session cookie is renewed.
type renewals struct {
	lifetime   time.Duration   // of a cookie
	maxSession time.Duration   // from the sign-in to the end of the last cookie
	recent     *answers.Memory // the sessions whose renewal this instance has tried, by ID
}

// renewalPause is how long an instance waits before it tries again to renew the cookie of a session. A
// browser can send many requests before it has the new cookie, and a program can ignore the new cookie.
const renewalPause = time.Minute

// newRenewals returns nil if no cookie is renewed.
func newRenewals(cfg BrowserSessions, lifetime time.Duration, now func() time.Time) *renewals {
	if cfg.MaxLifetime <= lifetime {
		return nil
	}
	return &renewals{lifetime, cfg.MaxLifetime, answers.New(now, renewalPause)}
}

// until returns the time to which the session of the caller is extended now. It returns false if the
// cookie is not in the last quarter of its life, or if the session is as old as it can be. It also returns
// false if the session can only rotate an access key.
func (r *renewals) until(caller *Identity, now time.Time) (time.Time, bool) {
	if r == nil || caller.ExpiresAt.Sub(now) > r.lifetime/4 || caller.mustRotate() {
		return time.Time{}, false
	}
	until := now.Add(r.lifetime)
	if last := caller.IssuedAt.Add(r.maxSession); until.After(last) {
		until = last
	}
	until = until.UTC().Truncate(time.Second)
	return until, until.After(caller.ExpiresAt)
}

// newBrowserSessions returns the value that makes and reads session cookies, for a configuration with
// defaults. Each cookie contains a token of the issuer.
func newBrowserSessions(
	cfg BrowserSessions, sealing []SymmetricKey, origin string, tokens *TokenIssuer,
) (*browser.Sessions, error) {
	sealer, err := newSealer(sealing, "browser session cookie")
	if err != nil {
		return nil, err
	}
	cache, err := token.NewCache(tokens.cfg.CacheSize)
	if err != nil {
		return nil, err
	}
	verifier := tokens.verifier
	// The iat claim of a renewed cookie stays the time of the sign-in, so its exp claim is later than
	// that of a bearer token.
	verifier.MaxLifetime = max(verifier.MaxLifetime, int64(cfg.MaxLifetime/time.Second))
	return browser.NewSessions(newCookies(sealer, origin), verifier, cache, origin, cfg.LandingPath), nil
}
