package auth

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/challenge"
	"github.com/sallyport-go/auth/internal/weburl"
	"golang.org/x/oauth2"
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
	// at most 30 days. Zero means 15 minutes, or no limit but the token's own expiry if RevocationsURL
	// is set. Without RevocationsURL, MaxAge limits how long this service accepts a revoked token.
	MaxAge time.Duration

	// RevocationsURL is where the issuer answers GET /auth/revocations, such as
	// "https://api.example.com/auth/revocations". If it is set, the verifier follows the revocations of
	// the issuer: see [RemoteVerifier]. It must be https, except on loopback, and have no query. The
	// issuer must have [GroupVerifiers] mounted, and must sign with an ES256 or EdDSA key.
	RevocationsURL string

	// InsecureRevocationsURL allows plain http in RevocationsURL for every host. Anyone who can read the
	// traffic between this service and the issuer can then use the access token of TokenSource. Set it
	// only if the network protects this traffic, as an encrypting service mesh does.
	InsecureRevocationsURL bool

	// TokenSource returns the access token with which the verifier calls RevocationsURL. It is required
	// with RevocationsURL, and has no use without it. The token must be for a service user or a super
	// user of the issuer. A limited token needs [ScopeRevocations], and no other scope.
	//
	// The verifier keeps the token, and asks for another one a minute before the token expires and when the
	// issuer has rejected it. If a fifth of the lifetime of the token is less than a minute, the verifier
	// asks that long before the token expires. So the TokenSource should get a new token on each call, for
	// example from POST /auth/users/login, and should not keep tokens itself. The verifier calls
	// TokenSource in a goroutine of its own, and at most one call runs at a time.
	TokenSource oauth2.TokenSource

	// RevocationInterval and MaxStaleness are as in [TokenConfig], for the copy of the revocation feed
	// that this service has: RevocationInterval is from 1 to 5 seconds, and MaxStaleness is from
	// RevocationInterval to one minute. Zero means the maximum. They have no use without RevocationsURL.
	RevocationInterval time.Duration
	MaxStaleness       time.Duration

	// ResourceMetadataURL is as in [Config], for the metadata of this service. The resource of the metadata
	// is the URL of this service, and the Issuer is one of the authorization servers (RFC 9728, section 2).
	ResourceMetadataURL string

	// CacheSize is the number of verified tokens to remember: see [TokenConfig].
	CacheSize int

	// HTTPClient fetches the keys and the revocations, without cookies and without following redirects.
	// nil means a client with http.DefaultTransport.
	HTTPClient *http.Client

	// Events receives an [eventkind.TokenRejected] for each rejected token, and calls Hooks.Verify for
	// each token. nil means that the events go to Logger, as if [EventLogConfig.OnEvent] were nil.
	Events *EventLog

	// Proxies determines the client address in the events: see [Config]. Verify does not use it.
	Proxies Proxies

	// Now is the clock. nil means time.Now.
	Now func() time.Time

	// Logger receives a line when fetches of the keys or of the revocations begin to fail, when they
	// succeed again, and when the set has keys that are not used. It also receives lines about requests
	// that Authenticate answers with 503. nil means slog.Default().
	Logger *slog.Logger
}

const defaultMaxAge = 15 * time.Minute

func (cfg RemoteVerifierConfig) withDefaults() RemoteVerifierConfig {
	switch {
	case cfg.MaxAge == 0 && cfg.RevocationsURL != "":
		cfg.MaxAge = tokenLifetimeLimit
	case cfg.MaxAge == 0:
		cfg.MaxAge = defaultMaxAge
	}
	cfg.RevocationInterval = cmp.Or(cfg.RevocationInterval, revocationIntervalLimit)
	cfg.MaxStaleness = cmp.Or(cfg.MaxStaleness, maxStalenessLimit)
	return cfg
}

func (cfg RemoteVerifierConfig) check() error {
	switch {
	case (cfg.JWKSURL == "") == (cfg.JWKS == nil):
		return errors.New("auth: RemoteVerifierConfig must have either JWKSURL or JWKS")
	case cfg.MaxAge != 0 && cfg.MaxAge < time.Second || cfg.MaxAge > tokenLifetimeLimit:
		return errors.New("auth: RemoteVerifierConfig.MaxAge must be from 1 second to 30 days")
	}
	err := cmp.Or(cfg.checkJWKSURL(), cfg.checkRevocations(),
		checkIssuer("RemoteVerifierConfig.Issuer", cfg.Issuer),
		checkAudienceName("RemoteVerifierConfig.Audience", cfg.Audience),
		checkMetadataURL("RemoteVerifierConfig", cfg.ResourceMetadataURL))
	if err == nil && cfg.Audience == cfg.Issuer {
		return errors.New("auth: RemoteVerifierConfig.Audience must not be the Issuer: tokens for that " +
			"audience are for the issuer alone; set Audience to a name of this service, and add the name " +
			"to Config.Tokens.Audiences of the issuer")
	}
	return err
}

// withMetadata returns the error with the URL that its challenge is to name, if it has a challenge: see
// [Config.ResourceMetadataURL].
func withMetadata(err error, url string) error {
	if url == "" || err == nil {
		return err
	}
	status, _ := ErrorStatus(err)
	if status != http.StatusUnauthorized && !errors.Is(err, ErrInsufficientScope) {
		return err
	}
	return challenge.WithMetadata(err, url)
}

// checkMetadataURL checks the ResourceMetadataURL of the named configuration.
func checkMetadataURL(config, url string) error {
	if url == "" {
		return nil
	}
	if flaw := weburl.MetadataFlaw(url); flaw != "" {
		return fmt.Errorf("auth: %s.ResourceMetadataURL %s", config, flaw)
	}
	return nil
}

func (cfg RemoteVerifierConfig) checkJWKSURL() error {
	if cfg.JWKSURL == "" {
		return nil
	}
	return checkRemoteURL("JWKSURL", "https://api.example.com/.well-known/jwks.json", cfg.JWKSURL,
		cfg.InsecureJWKSURL, "answer in the issuer's place and make valid tokens")
}

// checkRemoteURL checks the URL in the given field. The argument danger says what an attacker could do
// if the URL were http.
func checkRemoteURL(field, example, text string, insecure bool, danger string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil ||
		u.Fragment != "":
		return fmt.Errorf("auth: RemoteVerifierConfig.%s must be a URL such as %s, without a user or a "+
			"fragment", field, example)
	case !weburl.IsSecure(u) && !insecure:
		return fmt.Errorf("auth: RemoteVerifierConfig.%s must be https, or http on loopback: on other "+
			"networks, an attacker could %s; set Insecure%[1]s if the network itself protects the traffic",
			field, danger)
	}
	return nil
}

func (cfg RemoteVerifierConfig) checkRevocations() error {
	if cfg.RevocationsURL == "" {
		if cfg.TokenSource != nil || cfg.RevocationInterval != 0 || cfg.MaxStaleness != 0 {
			return errors.New("auth: RemoteVerifierConfig.TokenSource, RevocationInterval and MaxStaleness " +
				"need RevocationsURL")
		}
		return nil
	}
	err := checkRemoteURL("RevocationsURL", "https://api.example.com/auth/revocations", cfg.RevocationsURL,
		cfg.InsecureRevocationsURL, "read the access token")
	switch cfg := cfg.withDefaults(); {
	case err != nil:
		return err
	case strings.Contains(cfg.RevocationsURL, "?"):
		return errors.New("auth: RemoteVerifierConfig.RevocationsURL must not have a query")
	case cfg.TokenSource == nil:
		return errors.New("auth: RemoteVerifierConfig.RevocationsURL needs a TokenSource")
	case cfg.RevocationInterval < time.Second || cfg.RevocationInterval > revocationIntervalLimit:
		return errors.New("auth: RemoteVerifierConfig.RevocationInterval must be from 1 to 5 seconds")
	case cfg.MaxStaleness < cfg.RevocationInterval || cfg.MaxStaleness > maxStalenessLimit:
		return errors.New("auth: RemoteVerifierConfig.MaxStaleness must be from RevocationInterval " +
			"to a minute")
	}
	return nil
}
