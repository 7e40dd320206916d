package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/answers"
	"github.com/sallyport-go/auth/internal/browser"
	"github.com/sallyport-go/auth/internal/defaults"
	"github.com/sallyport-go/auth/internal/githubapi"
	"github.com/sallyport-go/auth/internal/oauthstate"
	"github.com/sallyport-go/auth/internal/seal"
	"github.com/sallyport-go/auth/internal/text"
	"github.com/sallyport-go/auth/internal/token"
	"github.com/sallyport-go/auth/internal/weburl"
)

// GitHubConfig says how users sign in with GitHub and connect their accounts. ClientID,
// ClientSecret and CallbackURL are required: those of an OAuth app that is registered at GitHub.
type GitHubConfig struct {
	ClientID     string
	ClientSecret Secret

	// CallbackURL is where GitHub sends the browser back to, as registered. It must be https,
	// except on loopback or with InsecureCookies. The host's pages have the same origin.
	CallbackURL string

	// BaseURL is where users see GitHub: https://HOST for GitHub Enterprise Server,
	// https://SUB.ghe.com for GitHub with data residency. The default is
	// "https://github.com".
	BaseURL string

	// APIURL is where the REST API is. The default follows from BaseURL:
	// "https://api.github.com", https://HOST/api/v3 or https://api.SUB.ghe.com.
	APIURL string

	// Host is the name under which accounts are remembered. The default is BaseURL's host.
	// Accounts of two hosts are never the same, whatever their numbers.
	Host string

	// SignInScopes are requested for a sign-in, ConnectScopes for connecting an account. nil
	// means "read:user" and "user:email" for the one, "repo" and "user:email" for the other.
	SignInScopes  []string
	ConnectScopes []string

	// SuperUsers are the numbers of the accounts whose users become super users when they next
	// sign in. Each account has one such grant in its life: demoting, resetting or deleting its
	// user spends the grant, too. It cannot be set with [NewWithUsers].
	SuperUsers []int64

	// AllowedUsers, AllowedOrganizations and AllowedTeams are the numbers of the accounts,
	// organizations and teams that may sign in and connect: an account that is in one of the
	// three lists may. If all are empty, every account may. Organizations and teams add the
	// scope "read:org".
	AllowedUsers         []int64
	AllowedOrganizations []int64
	AllowedTeams         []int64

	// Admit, if set, decides about the accounts that the lists allow. An account for which it
	// returns false is refused; an error answers 503.
	Admit func(ctx context.Context, profile GitHubProfile) (bool, error)

	// MembershipMaxAge is how long the access keys of a user whom a GitHub sign-in made keep
	// signing in after the lists and Admit last allowed the account. Then [Service.Login] asks
	// GitHub again with the user's token, which takes a call or a few. If there is no token, or
	// it lacks a scope, or the account is refused, the keys sign in again only after the user
	// has signed in with GitHub; if GitHub does not answer, the call answers 503. GitHub's "no" is
	// remembered for a minute. Zero means
	// never to ask: a user who leaves an organization keeps the keys. It cannot be set with
	// [NewWithUsers].
	MembershipMaxAge time.Duration

	// DisableSignUp refuses accounts that are not linked to a user yet: GitHub sign-in makes
	// no users and does not call UserSource.ResolveGitHub.
	DisableSignUp bool

	// AllowedOrigins are the origins of the host's other pages on the same site, such as
	// "https://app.example.com" for a service at https://api.example.com, which may begin flows
	// by fetch. A browser sends the fetch's cookie only with credentials: "include" and CORS
	// headers of the host's own. Pages of the service's own origin need no entry.
	AllowedOrigins []string

	// ConnectedPage is the path of the host's page to which the browser is sent when an
	// account has been connected. If it is empty, and there are no browser sessions, a small
	// page of this package says so.
	ConnectedPage string

	// InsecureUnboundState lets a sign-in that one program began complete in another: a
	// command line prints the URL, a browser opens it and shows the answer. The price is that
	// an attacker who sends somebody such a URL can have them signed in as the attacker.
	// Connecting an account is always bound to the browser.
	InsecureUnboundState bool

	// InsecureCookies allows plain http elsewhere than on loopback. An attacker who can read
	// the traffic can then sign in as anybody. An attacker who has a host of the same domain can
	// plant cookies, so that a person signs in or connects an account as the attacker. With
	// browser sessions a bearer token then connects no account.
	InsecureCookies bool

	// HTTPClient makes the calls to GitHub. Only its Transport is used. nil means
	// http.DefaultTransport.
	HTTPClient *http.Client

	// Timeout is how long one flow may wait for GitHub in all. Zero means 10 seconds.
	Timeout time.Duration

	// Events gets the connector's events and calls its hooks. nil means none. In a [Config]
	// it must be nil, because the Service has an EventLog of its own.
	Events *EventLog

	// Now is the clock. nil means time.Now, and in a [Config] the Service's clock.
	Now func() time.Time

	// Logger gets failures that make no call fail. nil means slog.Default(), and in a
	// [Config] the Service's logger.
	Logger *slog.Logger
}

const (
	defaultGitHubURL = "https://github.com"
	membershipScope  = "read:org"
)

// asksForMembership reports whether GitHub must be asked who belongs where.
func (cfg GitHubConfig) asksForMembership() bool {
	return len(cfg.AllowedOrganizations)+len(cfg.AllowedTeams) > 0
}

// restricted reports whether there are accounts that may not come in.
func (cfg GitHubConfig) restricted() bool {
	return cfg.asksForMembership() || len(cfg.AllowedUsers) > 0 || cfg.Admit != nil
}

func (cfg GitHubConfig) withDefaults() (GitHubConfig, error) {
	if cfg.BaseURL == "" {
		cfg.BaseURL = defaultGitHubURL
	}
	if cfg.SignInScopes == nil {
		cfg.SignInScopes = []string{"read:user", "user:email"}
	}
	if cfg.ConnectScopes == nil {
		cfg.ConnectScopes = []string{"repo", "user:email"}
	}
	if cfg.asksForMembership() {
		cfg.SignInScopes = append(cfg.SignInScopes[:len(cfg.SignInScopes):len(cfg.SignInScopes)],
			membershipScope)
		cfg.ConnectScopes = append(cfg.ConnectScopes[:len(cfg.ConnectScopes):len(cfg.ConnectScopes)],
			membershipScope)
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = &http.Client{}
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	cfg.Now, cfg.Logger = defaults.Now(cfg.Now), defaults.Logger(cfg.Logger)

	base, err1 := checkBaseURL("BaseURL", cfg.BaseURL)
	if err1 == nil && cfg.APIURL == "" {
		cfg.APIURL = githubapi.APIURL(base)
	}
	_, err2 := checkBaseURL("APIURL", cfg.APIURL)
	if err := cmp.Or(err1, err2, cfg.checkCallback(), cfg.checkOrigins()); err != nil {
		return cfg, err
	}
	cfg.BaseURL, cfg.APIURL = strings.TrimSuffix(cfg.BaseURL, "/"), strings.TrimSuffix(cfg.APIURL, "/")
	if cfg.Host == "" {
		cfg.Host = text.FoldASCII(base.Host)
	}
	switch {
	case cfg.ClientID == "" || cfg.ClientSecret.Reveal() == "":
		return cfg, errors.New("auth: GitHub needs ClientID and ClientSecret: those of the OAuth app")
	case cfg.Timeout < 0:
		return cfg, errors.New("auth: GitHub's Timeout must not be negative")
	case cfg.MembershipMaxAge < 0:
		return cfg, errors.New("auth: GitHub's MembershipMaxAge must not be negative")
	case cfg.MembershipMaxAge > 0 && !cfg.restricted():
		return cfg, errors.New("auth: GitHub's MembershipMaxAge needs a list of who is allowed, or Admit")
	case !oauthstate.IsReturnTo(cfg.ConnectedPage):
		return cfg, errors.New("auth: GitHub's ConnectedPage must be a path such as /account")
	}
	return cfg, checkID("Host", cfg.Host, MaxGitHubHostLength)
}

// checkBaseURL accepts an https URL, or http on loopback, of a host and perhaps a
// path.
func checkBaseURL(field, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		u.Opaque != "":
		return nil, fmt.Errorf("auth: GitHub's %s must be a URL of a host, without user, query and fragment",
			field)
	case !weburl.IsSecure(u):
		return nil, fmt.Errorf("auth: GitHub's %s must be https", field)
	}
	return u, nil
}

func (cfg GitHubConfig) checkCallback() error {
	u, err := url.Parse(cfg.CallbackURL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" ||
		u.Scheme != "https" && u.Scheme != "http":
		return errors.New("auth: GitHub's CallbackURL must be a URL such as " +
			"https://api.example.com/api/v1/auth/github/callback")
	case !weburl.IsSecure(u) && !cfg.InsecureCookies:
		return errors.New("auth: GitHub's CallbackURL must be https: a browser keeps no secure cookie " +
			"for plain http")
	}
	return nil
}

// checkOrigins accepts origins as browsers write them, because they are compared byte for byte.
func (cfg GitHubConfig) checkOrigins() error {
	for _, text := range cfg.AllowedOrigins {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || originOf(text) != text ||
			strings.ContainsFunc(u.Host,
				func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '*' || r == '%' }) {
			return fmt.Errorf("auth: GitHub's AllowedOrigins: %q is not an origin as browsers write it, "+
				"such as https://app.example.com", text)
		}
		if !weburl.IsSecure(u) && !cfg.InsecureCookies {
			return fmt.Errorf("auth: GitHub's AllowedOrigins: %q must be https", text)
		}
	}
	return nil
}

// rememberedFor is how long an instance relies on what GitHub has said of a user. A client with a
// right secret or a token could otherwise make this service call GitHub as fast as it can.
const rememberedFor = time.Minute

// maxAttempts is how often a write is tried again that another one overtook. Each
// time somebody has got through, so few are enough.
const maxAttempts = 8

// GitHubConnector signs users in with GitHub, connects GitHub accounts to users, and makes
// calls to GitHub for them. It is safe for concurrent use.
type GitHubConnector struct {
	store   GitHubStore
	users   UserStore // nil unless the store keeps users
	tokens  *TokenIssuer
	cfg     GitHubConfig
	origin  string // the public origin of the host's pages
	api     *githubapi.Client
	cookies oauthstate.Cookies
	unbound *seal.Sealer // of states that no cookie binds; nil unless they are allowed
	sealer  *seal.Sealer // of tokens in the store
	events  *EventLog

	insecureCookies bool // whether browsers get cookies over plain http

	tokenAnswers  *answers.Memory // to Verify
	memberAnswers *answers.Memory // to StillAdmitted
	refreshes     *answers.Memory // one for each user at a time, on this instance
}

// NewGitHubConnector returns a connector, or an error that says what to change in the
// configuration. Sessions that begin with GitHub get their tokens from the issuer, over the
// same store; the users are the issuer's. The sealing keys are shared by all instances; the
// first seals, all open.
func NewGitHubConnector(
	store GitHubStore, tokens *TokenIssuer, sealing []SymmetricKey, cfg GitHubConfig,
) (*GitHubConnector, error) {
	if defaults.IsNil(store) || tokens == nil {
		return nil, errors.New("auth: NewGitHubConnector needs a store and a token issuer")
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := cfg.checkUsers(store, tokens); err != nil {
		return nil, err
	}
	cookieSealer, err := newSealer(sealing, "github state cookie")
	if err != nil {
		return nil, err
	}
	tokenSealer, err := newSealer(sealing, "github token")
	if err != nil {
		return nil, err
	}
	var unbound *seal.Sealer
	if cfg.InsecureUnboundState {
		if unbound, err = newSealer(sealing, "github unbound state"); err != nil {
			return nil, err
		}
	}
	users, _ := store.(UserStore)
	insecure := cfg.InsecureCookies && strings.HasPrefix(cfg.CallbackURL, "http:")
	return &GitHubConnector{
		store:   guardedGitHub{store},
		users:   guardUsers(users),
		tokens:  tokens,
		cfg:     cfg,
		origin:  originOf(cfg.CallbackURL),
		api:     newGitHubAPI(cfg),
		cookies: oauthstate.NewCookies(seal.Cookies{Sealer: cookieSealer, Insecure: insecure}),
		unbound: unbound,
		sealer:  tokenSealer,
		events:  cfg.Events,

		insecureCookies: insecure,

		tokenAnswers:  answers.New(cfg.Now, rememberedFor),
		memberAnswers: answers.New(cfg.Now, min(rememberedFor, cfg.MembershipMaxAge)),
		refreshes:     answers.New(cfg.Now, rememberedFor),
	}, nil
}

// checkUsers returns an error for settings that are impossible over a UserSource: only the host
// says which users are super users, and when GitHub last admitted a user is not recorded.
func (cfg GitHubConfig) checkUsers(store GitHubStore, tokens *TokenIssuer) error {
	hostsUsers := tokens.users != nil
	if err := tokens.checkStore(store); err != nil {
		return err
	}
	switch {
	case hostsUsers && len(cfg.SuperUsers) > 0:
		return errors.New("auth: GitHub's SuperUsers cannot be set with a UserSource: the host's own " +
			"table says who is a super user")
	case hostsUsers && cfg.MembershipMaxAge > 0:
		return errors.New("auth: GitHub's MembershipMaxAge cannot be set with a UserSource: " +
			"disable in the host's own table who has left, and call RevokeUser")
	}
	return nil
}

// newGitHubAPI returns the client of the calls to the GitHub that the configuration names.
func newGitHubAPI(cfg GitHubConfig) *githubapi.Client {
	return githubapi.New(githubapi.App{
		ClientID:     cfg.ClientID,
		ClientSecret: cfg.ClientSecret.Reveal,
		CallbackURL:  cfg.CallbackURL,
		BaseURL:      cfg.BaseURL,
		APIURL:       cfg.APIURL,
	}, cfg.HTTPClient.Transport, cfg.Now)
}

// originOf returns the origin of a URL as browsers write it: scheme and host in lower case,
// without the scheme's own port. It returns "" if the URL cannot be parsed.
func originOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return ""
	}
	host := text.FoldASCII(u.Host)
	if port := map[string]string{"https": ":443", "http": ":80"}[u.Scheme]; port != "" {
		host = strings.TrimSuffix(host, port)
	}
	return u.Scheme + "://" + host
}

// BrowserSessions lets browsers sign in by cookie. The callback of a GitHub sign-in then sets a
// cookie and sends the browser to a page of the host's, with error= in the query if the sign-in
// failed. The middleware accepts the cookie if a request has no bearer token, and signing out
// removes it.
type BrowserSessions struct {
	// LandingPath is the path of the host's page to which the browser is sent. The default
	// is "/".
	LandingPath string
}

// newBrowserSessions returns the cookies of browser sessions, which carry tokens of the issuer.
func newBrowserSessions(
	cfg BrowserSessions, sealing []SymmetricKey, origin string, insecure bool, tokens *TokenIssuer,
) (*browser.Sessions, error) {
	page := cmp.Or(cfg.LandingPath, "/")
	if err := checkReturnTo(page); err != nil {
		return nil, errors.New("auth: BrowserSessions.LandingPath must be a path such as /account")
	}
	if len(tokens.claimsPrefix) > browser.MaxClaims {
		return nil, errors.New("auth: BrowserSessions: the issuer and the audience are too long " +
			"together for a cookie")
	}
	sealer, err := newSealer(sealing, "browser session cookie")
	if err != nil {
		return nil, err
	}
	cache, err := token.NewCache(tokens.cfg.CacheSize)
	if err != nil {
		return nil, err
	}
	cookies := seal.Cookies{Sealer: sealer, Insecure: insecure}
	return browser.NewSessions(cookies, tokens.verifier, cache, origin, page), nil
}
