package workload

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/oauth"
)

// Workload says which assertions are accepted, and what they open. An assertion must have the Issuer, the
// Audience and all of the Claims.
type Workload struct {
	// Issuer is the issuer of the assertions, such as "https://token.actions.githubusercontent.com". It is
	// compared byte for byte with the claim iss.
	Issuer string

	// Audience is the only audience of an accepted assertion, the claim aud. An assertion for several
	// audiences is rejected, because each of them could use it at the others. Empty means the issuer of the
	// service: see [auth.Config].
	Audience string

	// Claims are the conditions, at least one. Each must be equal to the claim of the assertion.
	Claims Claims

	// UserID is the ID of the service user as which the workload signs in.
	UserID string

	// Scopes limits the session. It is required if the service has scopes (see [auth.TokenConfig.Scopes]),
	// and must be nil if not.
	Scopes *auth.ScopeSet

	// Lifetime is how long a session lasts, in whole seconds. Zero means 15 minutes. A session lasts at most
	// as long as [auth.TokenConfig.Lifetime].
	Lifetime time.Duration

	// Reusable lets a workload use an assertion any number of times, until it expires. It is for platforms
	// that keep an assertion in a file, such as Kubernetes. If Reusable is false, an assertion opens one
	// session only, and must have an ID, the claim jti.
	Reusable bool
}

// Claims are claims of an assertion with their values. A value is a string, a bool, an int, an int64, or
// Claims for the members of an object. An assertion must have the same value of the same type: the string
// "74" is not the number 74. If a value is a []string, the assertion must have one of these strings.
type Claims map[string]any

// Config is the configuration of a [Verifier].
type Config struct {
	// Workloads are the workloads that can sign in. If several accept an assertion, the first one counts.
	Workloads []Workload

	// Issuers are settings of issuers whose keys cannot be read without them. Most issuers need none.
	Issuers []Issuer

	// Now is the clock. nil means time.Now.
	Now func() time.Time

	// Logger receives a line when the keys of an issuer can no longer be read, and when they can be read
	// again. nil means slog.Default().
	Logger *slog.Logger
}

// Verifier verifies the assertions of workloads. Make it with [New]. It is safe for concurrent use.
type Verifier struct {
	issuers map[string]*issuer
	now     func() time.Time
}

// issuer is an issuer of assertions with its workloads.
type issuer struct {
	url       string
	keys      *keySet
	workloads []Workload
}

// Verifier implements [oauth.AssertionVerifier].
var _ oauth.AssertionVerifier = (*Verifier)(nil)

// New returns a Verifier for the service. It returns an error that says what to change if the configuration
// is not valid. New makes no request: the keys of an issuer are read when they are needed.
func New(svc *auth.Service, cfg Config) (*Verifier, error) {
	if svc == nil {
		return nil, errors.New("workload: New needs a Service")
	}
	v := &Verifier{issuers: map[string]*issuer{}, now: cfg.Now}
	if v.now == nil {
		v.now = time.Now
	}
	settings, err := settingsOf(cfg.Issuers)
	if err != nil {
		return nil, err
	}
	if len(cfg.Workloads) == 0 {
		return nil, errors.New("workload: Config.Workloads is empty: list the workloads that can sign in")
	}
	for i, w := range cfg.Workloads {
		w.Audience = cmp.Or(w.Audience, svc.Tokens().Issuer())
		if err := w.check(fmt.Sprintf("workload: Config.Workloads[%d]", i), svc.Tokens()); err != nil {
			return nil, err
		}
		w.Claims = w.Claims.clone()
		of := v.issuers[w.Issuer]
		if of == nil {
			setting := settings[w.Issuer] // zero for most issuers
			setting.URL = w.Issuer
			of = &issuer{url: w.Issuer, keys: newKeySet(setting, v.now, cmp.Or(cfg.Logger, slog.Default()))}
			v.issuers[w.Issuer] = of
		}
		of.workloads = append(of.workloads, w)
	}
	for name := range settings {
		if v.issuers[name] == nil {
			return nil, fmt.Errorf("workload: Config.Issuers has %s, of which there is no workload", name)
		}
	}
	return v, nil
}

// check returns an error that says what to change in the workload, which is the element at of the
// configuration.
func (w Workload) check(at string, tokens *auth.TokenIssuer) error {
	own := tokens.Issuer()
	switch {
	case strings.EqualFold(strings.TrimRight(w.Issuer, "/"), own):
		// A token of the service would then open sessions that outlast its own.
		return fmt.Errorf("%s.Issuer must not be the service itself", at)
	case w.UserID == "":
		return fmt.Errorf("%s.UserID is required: it is the ID of a service user", at)
	case len(w.Claims) == 0:
		return fmt.Errorf("%s.Claims is empty: every program of the issuer could sign in", at)
	case w.Scopes == nil && len(tokens.Scopes().List()) > 0:
		return fmt.Errorf("%s.Scopes is required, because the service has scopes", at)
	case w.Scopes != nil && !w.Scopes.Within(tokens.Scopes()):
		return fmt.Errorf("%s.Scopes must be scopes of TokenConfig.Scopes or of package auth", at)
	case w.Lifetime < 0 || w.Lifetime%time.Second != 0:
		return fmt.Errorf("%s.Lifetime must be whole seconds, and not negative", at)
	}
	if err := w.Scopes.Validate(); err != nil {
		return fmt.Errorf("%s.Scopes: %w", at, err)
	}
	if err := checkURL(w.Issuer); err != nil {
		return fmt.Errorf("%s.Issuer %w", at, err)
	}
	return w.Claims.check(at + ".Claims")
}

const maxURL = 256

// checkURL returns an error that says which rule the URL breaks. The URL of an issuer is https, or http on
// loopback.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || len(text) > maxURL,
		u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return fmt.Errorf("must be an https URL of at most %d bytes", maxURL)
	case u.User != nil || strings.ContainsAny(text, "?#"):
		return errors.New("must be a URL without a user, a query and a fragment")
	}
	return nil
}
