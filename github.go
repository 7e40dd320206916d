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

// GitHubConfig configures how users sign in with GitHub and connect their accounts. ClientID,
// ClientSecret and CallbackURL are required. They belong to an OAuth app that is registered at
// GitHub.
type GitHubConfig struct {
	ClientID     string
	ClientSecret Secret

	// CallbackURL is the registered URL to which GitHub sends the browser back. It must be https,
	// except on loopback or with InsecureCookies. The host's pages have the same origin.
	CallbackURL string

	// BaseURL is the URL of GitHub's pages: https://HOST for GitHub Enterprise Server,
	// https://SUB.ghe.com for GitHub with data residency. Default "https://github.com".
	BaseURL string

	// APIURL is the URL of GitHub's REST API. The default follows from BaseURL:
	// "https://api.github.com", https://HOST/api/v3 or https://api.SUB.ghe.com.
	APIURL string

	// Host is the name of this GitHub host in the records of accounts. The default is the host in
	// BaseURL. Accounts of two GitHub hosts are always different, even if their account numbers are
	// equal.
	Host string

	// SignInScopes are the scopes to request for a sign-in. nil means "read:user" and "user:email".
	// ConnectScopes are the scopes to request for connecting an account. nil means "repo" and
	// "user:email".
	SignInScopes  []string
	ConnectScopes []string

	// SuperUsers are the numbers of the accounts whose users become super users when they next sign
	// in. The grant works once for each account. Demoting, resetting or deleting the user of an
	// account also uses up the grant of that account. SuperUsers cannot be set with [NewWithUsers].
	SuperUsers []int64

	// AllowedUsers, AllowedOrganizations and AllowedTeams are the numbers of the accounts,
	// organizations and teams that may sign in and connect. An account in any of the three lists is
	// allowed. If all three lists are empty, every account is allowed. If an organization or a team
	// is listed, the scope "read:org" is requested too.
	AllowedUsers         []int64
	AllowedOrganizations []int64
	AllowedTeams         []int64

	// Admit, if set, decides about each account that the lists allow. If it returns false, the
	// account is refused. If it returns an error, the call answers 503.
	Admit func(ctx context.Context, profile GitHubProfile) (bool, error)

	// MembershipMaxAge is for users that a GitHub sign-in created. It is how long the access keys
	// of such a user keep working after the lists and Admit last allowed the user's account. After
	// that time, [Service.Login] asks GitHub again with the user's token, in one or a few calls.
	// Zero means that Login never asks, so a user who leaves an organization keeps working keys.
	// MembershipMaxAge cannot be set with [NewWithUsers].
	//
	// The keys stop working if the lists or Admit refuse the account. They also stop working if
	// there is no token to ask with, or if the token lacks a scope. The keys work again after the
	// user has signed in with GitHub. A refusal is remembered for a minute. If GitHub does not
	// answer, the login call answers 503.
	MembershipMaxAge time.Duration

	// DisableSignUp refuses accounts that are not yet linked to a user: GitHub sign-in then creates
	// no users and does not call UserSource.ResolveGitHub.
	DisableSignUp bool

	// AllowedOrigins are origins of other pages of the host that may begin flows by fetch. They
	// must be on the same site as the service, such as "https://app.example.com" for a service at
	// https://api.example.com. Pages of the service's own origin need no entry. A browser sends and
	// keeps the cookie of such a fetch only if the fetch has credentials: "include" and the host
	// sets CORS headers.
	AllowedOrigins []string

	// ConnectedPage is the path of the host's page to which the browser is sent after an account
	// has been connected. If ConnectedPage is empty and there are no browser sessions, a small page
	// of this package confirms the connection.
	ConnectedPage string

	// InsecureUnboundState lets one program begin a sign-in and another program complete that
	// sign-in: for example, a command line prints the URL, and a browser opens it and shows the
	// answer. The danger is that an attacker who sends a person such a URL can sign that person in
	// as the attacker. Connecting an account is always bound to the browser.
	InsecureUnboundState bool

	// InsecureCookies allows plain http on hosts other than loopback. An attacker who can read the
	// traffic can then sign in as any user. An attacker who controls a host of the same domain can
	// plant cookies, so that a person signs in or connects an account as the attacker. If browser
	// sessions are enabled, a bearer token cannot connect an account over plain http.
	InsecureCookies bool

	// HTTPClient makes the calls to GitHub. Only its Transport is used. nil means
	// http.DefaultTransport.
	HTTPClient *http.Client

	// Timeout is the maximum total time that one flow may wait for GitHub. Zero means 10 seconds.
	Timeout time.Duration

	// Events records the connector's events and calls the hooks. nil means no events and no hooks.
	// In a [Config] it must be nil, because the Service has its own EventLog.
	Events *EventLog

	// Now is the clock. nil means time.Now or, in a [Config], the Service's clock.
	Now func() time.Time

	// Logger receives failures that do not make a call fail. nil means slog.Default() or, in a
	// [Config], the Service's logger.
	Logger *slog.Logger
}

const (
	defaultGitHubURL = "https://github.com"
	membershipScope  = "read:org"
)

// checksMembership reports whether GitHub must be asked for an account's organizations or teams.
func (cfg GitHubConfig) checksMembership() bool {
	return len(cfg.AllowedOrganizations)+len(cfg.AllowedTeams) > 0
}

// restrictsAccounts reports whether some accounts may not sign in.
func (cfg GitHubConfig) restrictsAccounts() bool {
	return cfg.checksMembership() || len(cfg.AllowedUsers) > 0 || cfg.Admit != nil
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
	if cfg.checksMembership() {
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
		return cfg, errors.New("auth: GitHubConfig.ClientID and ClientSecret must be those of the OAuth app")
	case cfg.Timeout < 0:
		return cfg, errors.New("auth: GitHubConfig.Timeout must not be negative")
	case cfg.MembershipMaxAge < 0:
		return cfg, errors.New("auth: GitHubConfig.MembershipMaxAge must not be negative")
	case cfg.MembershipMaxAge > 0 && !cfg.restrictsAccounts():
		return cfg, errors.New("auth: GitHubConfig.MembershipMaxAge needs a list of allowed accounts, " +
			"organizations or teams, or Admit")
	case !oauthstate.IsReturnTo(cfg.ConnectedPage):
		return cfg, errors.New("auth: GitHubConfig.ConnectedPage must be a path such as /account")
	}
	return cfg, checkID("Host", cfg.Host, MaxGitHubHostLength)
}

// checkBaseURL accepts an https URL, or an http URL on loopback, with a host and optionally a path.
func checkBaseURL(field, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		u.Opaque != "":
		return nil, fmt.Errorf("auth: GitHubConfig.%s must be a URL of a host, without user, query and "+
			"fragment", field)
	case !weburl.IsSecure(u):
		return nil, fmt.Errorf("auth: GitHubConfig.%s must be https", field)
	}
	return u, nil
}

func (cfg GitHubConfig) checkCallback() error {
	u, err := url.Parse(cfg.CallbackURL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" ||
		u.Scheme != "https" && u.Scheme != "http":
		return errors.New("auth: GitHubConfig.CallbackURL must be a URL such as " +
			"https://api.example.com/api/v1/auth/github/callback")
	case !weburl.IsSecure(u) && !cfg.InsecureCookies:
		return errors.New("auth: GitHubConfig.CallbackURL must be https: a browser does not keep a " +
			"secure cookie for plain http")
	}
	return nil
}

// checkOrigins accepts only the form in which browsers write origins, because origins are compared
// byte for byte.
func (cfg GitHubConfig) checkOrigins() error {
	for _, text := range cfg.AllowedOrigins {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || originOf(text) != text ||
			strings.ContainsFunc(u.Host,
				func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '*' || r == '%' }) {
			return fmt.Errorf("auth: GitHubConfig.AllowedOrigins: %q is not an origin in the form that "+
				"browsers send, such as https://app.example.com", text)
		}
		if !weburl.IsSecure(u) && !cfg.InsecureCookies {
			return fmt.Errorf("auth: GitHubConfig.AllowedOrigins: %q must be https", text)
		}
	}
	return nil
}

// answerLifetime is how long an instance reuses GitHub's answer about a user. Without this reuse, a
// client with a valid secret or token could make this service call GitHub for every request.
const answerLifetime = time.Minute

// maxAttempts is the maximum number of attempts at a write that fails if a concurrent write comes
// first. A few attempts are enough, because each failure means that another write has succeeded.
const maxAttempts = 8

// GitHubConnector signs users in with GitHub, connects GitHub accounts to users, and calls GitHub's
// API for them. It is safe for concurrent use.
type GitHubConnector struct {
	store   GitHubStore
	users   UserStore // nil unless the store keeps users
	tokens  *TokenIssuer
	cfg     GitHubConfig
	origin  string // of the host's pages
	api     *githubapi.Client
	cookies oauthstate.Cookies
	unbound *seal.Sealer // seals states without a cookie; nil unless InsecureUnboundState
	sealer  *seal.Sealer // seals tokens in the store
	events  *EventLog

	insecureCookies bool // whether browsers get cookies over plain http

	tokenAnswers  *answers.Memory // GitHub's answers for Verify
	memberAnswers *answers.Memory // GitHub's answers for StillAdmitted
	refreshes     *answers.Memory // only for Enter: one call at a time refreshes a user's token
}

// NewGitHubConnector returns a connector. If the configuration is not valid, the error names the
// setting to change.
//
// The issuer issues the tokens of GitHub sign-ins. It must have the same store as the connector.
// The users of the issuer are also the users of the connector. All instances must have the same
// sealing keys: the first key encrypts, and all keys decrypt.
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

		tokenAnswers:  answers.New(cfg.Now, answerLifetime),
		memberAnswers: answers.New(cfg.Now, min(answerLifetime, cfg.MembershipMaxAge)),
		refreshes:     answers.New(cfg.Now, answerLifetime),
	}, nil
}

// checkUsers returns an error for settings that are impossible with a UserSource. With a
// UserSource, only the host decides which users are super users, and no record says when GitHub
// last admitted a user.
func (cfg GitHubConfig) checkUsers(store GitHubStore, tokens *TokenIssuer) error {
	hostsUsers := tokens.users != nil
	if err := tokens.checkStore(store); err != nil {
		return err
	}
	switch {
	case hostsUsers && len(cfg.SuperUsers) > 0:
		return errors.New("auth: GitHubConfig.SuperUsers cannot be set with a UserSource: the host's " +
			"own table says which users are super users")
	case hostsUsers && cfg.MembershipMaxAge > 0:
		return errors.New("auth: GitHubConfig.MembershipMaxAge cannot be set with a UserSource: " +
			"disable users who have left in the host's own table, and call RevokeUser")
	}
	return nil
}

// newGitHubAPI returns a client for the GitHub that the configuration names.
func newGitHubAPI(cfg GitHubConfig) *githubapi.Client {
	return githubapi.New(githubapi.App{
		ClientID:     cfg.ClientID,
		ClientSecret: cfg.ClientSecret.Reveal,
		CallbackURL:  cfg.CallbackURL,
		BaseURL:      cfg.BaseURL,
		APIURL:       cfg.APIURL,
	}, cfg.HTTPClient.Transport, cfg.Now)
}

// originOf returns the origin of a URL as browsers write it: scheme and host in lower case, without
// the default port of the scheme. It returns "" if the URL cannot be parsed.
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
// cookie and redirects the browser to a page of the host. If the sign-in failed, the query of the
// page's URL has the parameter error. The middleware accepts the cookie if a request has no bearer
// token, and signing out removes it.
type BrowserSessions struct {
	// LandingPath is the path of the host's page to which the browser is redirected. Default "/".
	LandingPath string
}

// newBrowserSessions returns the cookies of browser sessions, which contain tokens of the issuer.
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
