package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/answers"
	"github.com/sallyport-go/auth/internal/browser"
	"github.com/sallyport-go/auth/internal/defaults"
	"github.com/sallyport-go/auth/internal/githubapi"
	"github.com/sallyport-go/auth/internal/oauthstate"
	"github.com/sallyport-go/auth/internal/outage"
	"github.com/sallyport-go/auth/internal/seal"
	"github.com/sallyport-go/auth/internal/text"
	"github.com/sallyport-go/auth/internal/weburl"
)

// GitHubConfig configures how users sign in with GitHub and connect their GitHub accounts.
// ClientID, ClientSecret and CallbackURL are required. Take their values from an OAuth app or a GitHub
// App that you have registered at GitHub.
type GitHubConfig struct {
	ClientID     string
	ClientSecret Secret

	// CallbackURL is the registered URL to which GitHub sends the browser back. It must be https,
	// except on loopback or if InsecureCookies is set. Its origin must be the origin of the host's
	// pages.
	CallbackURL string

	// BaseURL is the URL of GitHub's pages. Default "https://github.com". Set https://HOST for
	// GitHub Enterprise Server, and https://SUB.ghe.com for GitHub with data residency.
	BaseURL string

	// APIURL is the URL of GitHub's REST API. The default follows from BaseURL:
	// "https://api.github.com" for github.com, https://HOST/api/v3 for GitHub Enterprise Server,
	// and https://api.SUB.ghe.com for GitHub with data residency.
	APIURL string

	// Host names the GitHub server. The store keeps this name in the record of each account. The
	// default is the host in BaseURL. Accounts of two servers are always different, even if they
	// have the same account number.
	Host string

	// SignInScopes are the scopes to request for a sign-in. nil means "read:user" and "user:email".
	// ConnectScopes are the scopes to request for connecting an account. nil means "repo" and
	// "user:email". If the app is a GitHub App, GitHub ignores the scopes.
	SignInScopes  []string
	ConnectScopes []string

	// SuperUsers lists the numbers of GitHub accounts. The user of a listed account becomes a super
	// user at the next sign-in with GitHub. SuperUsers works only one time for each account. If
	// the account's user has been demoted, reset or deleted, SuperUsers no longer works for the
	// account. SuperUsers cannot be set with [NewWithUsers].
	SuperUsers []int64

	// AllowedUsers, AllowedOrganizations and AllowedTeams are the numbers of accounts,
	// organizations and teams. An account is allowed to sign in and to be connected if it is
	// listed, or if it belongs to a listed organization or team. If all three lists are empty,
	// every account is allowed. If an organization or a team is listed, the scope "read:org" is
	// requested too.
	AllowedUsers         []int64
	AllowedOrganizations []int64
	AllowedTeams         []int64

	// Admit, if set, decides about each account that the lists allow. If Admit returns false, the
	// account is refused. If it returns an error, the response is a 503.
	Admit func(ctx context.Context, profile GitHubProfile) (bool, error)

	// MembershipMaxAge makes [Service.Login] check the GitHub account of a user. It matters only if
	// a GitHub sign-in created the user. If the last successful check is older than
	// MembershipMaxAge, Login asks GitHub with the user's GitHub token. Zero means that Login never
	// asks. In that case, the access keys of a user who leaves an organization keep working.
	// MembershipMaxAge cannot be set with [NewWithUsers].
	//
	// The check refuses the user's access keys if Admit, or the lists from AllowedUsers to AllowedTeams, no
	// longer allow the account. The check also refuses the keys if the store has no GitHub token of the
	// user. If an organization or a team is listed, the token must also have the scope "read:org", unless it
	// is that of a GitHub App. The keys work again after the user has signed in with GitHub. A refusal is
	// remembered for a minute. If GitHub does not answer, the response to the login is a 503. If GitHub
	// refuses the call, for example because the account is suspended, the keys are refused.
	MembershipMaxAge time.Duration

	// DisableSignUp makes a sign-in with GitHub refuse accounts that are not yet linked to a user.
	// A sign-in then never creates a user and never calls UserSource.ResolveGitHub.
	DisableSignUp bool

	// AllowedOrigins are further origins of the host. Their pages are allowed to call fetch in
	// JavaScript to begin a sign-in or to begin connecting an account. The origins must be on the
	// same site as the service. For example, "https://app.example.com" is on the same site as
	// https://api.example.com. The service's own origin needs no entry. The fetch must have the
	// option credentials: "include", and the host must set CORS headers. Without this option, the
	// browser neither sends nor keeps cookies. Without these headers, the page cannot read the
	// response.
	AllowedOrigins []string

	// ConnectedPage is the path of the host's page to which the browser is sent after an account
	// has been connected. If ConnectedPage is empty and browser sessions are not enabled, a small
	// page of this package confirms the connection.
	ConnectedPage string

	// InsecureUnboundState lets one program begin a sign-in and another program complete that
	// sign-in. For example, a command-line program prints the URL, and a browser opens the URL and
	// shows the answer. This is insecure: an attacker can send such a URL to a person, who is then
	// signed in as the attacker. Connecting an account is always bound to the browser.
	InsecureUnboundState bool

	// InsecureCookies allows plain http on hosts other than loopback. An attacker who can read the
	// traffic can then sign in as any user. An attacker who controls another host of the same
	// domain can plant cookies in a browser. The person at the browser then signs in or connects an
	// account as the attacker. If browser sessions are enabled, a bearer token then cannot connect
	// an account.
	InsecureCookies bool

	// HTTPClient makes the calls to GitHub. Only its Transport is used. nil means
	// http.DefaultTransport.
	HTTPClient *http.Client

	// Timeout limits the total time for which a sign-in or a connect waits for GitHub. Zero means 10
	// seconds. All instances should have the same Timeout, because it determines how long leases are.
	Timeout time.Duration

	// Events records the connector's events and calls the hooks. nil means no events and no hooks.
	// In a [Config] it must be nil, because the Service has its own EventLog.
	Events *EventLog

	// Now is the clock. nil means time.Now; in a [Config], it means the Service's clock.
	Now func() time.Time

	// Logger receives the failures that no call returns as an error. nil means slog.Default() or,
	// in a [Config], the Service's logger.
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

// restrictsAccounts reports whether the configuration can refuse an account.
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
	// CallbackURL stays as it is, because GitHub compares it with the registered URL.
	cfg.BaseURL, cfg.APIURL = weburl.FoldHost(cfg.BaseURL), weburl.FoldHost(cfg.APIURL)
	cfg.AllowedOrigins = slices.Clone(cfg.AllowedOrigins)
	for i, origin := range cfg.AllowedOrigins {
		cfg.AllowedOrigins[i] = weburl.FoldHost(origin)
	}

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
	// A value from a file or a form often has a line break at an end. No client ID or secret has one.
	cfg.ClientID = strings.TrimSpace(cfg.ClientID)
	cfg.ClientSecret = NewSecret(strings.TrimSpace(cfg.ClientSecret.Reveal()))
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
	return cfg, checkID("GitHubConfig.Host", cfg.Host, maxGitHubHostLength)
}

// checkBaseURL parses a URL that must be https, or http on loopback. The URL must have a host, and
// can have a path. It must not have a user, a query or a fragment.
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
	case !weburl.IsOrigin(weburl.Origin(cfg.CallbackURL)):
		return errors.New("auth: GitHubConfig.CallbackURL must have its host and port in the form that " +
			"browsers send: in ASCII (xn--…), and without leading zeros or a colon at the end")
	case !weburl.IsSecure(u) && !cfg.InsecureCookies:
		return errors.New("auth: GitHubConfig.CallbackURL must be https: a browser does not keep a " +
			"secure cookie for plain http")
	}
	return nil
}

// checkOrigins accepts only the form in which browsers write origins, because origins are compared
// byte for byte. The origins are already in lower case.
func (cfg GitHubConfig) checkOrigins() error {
	for _, origin := range cfg.AllowedOrigins {
		u, err := url.Parse(origin)
		if err != nil || !weburl.IsOrigin(origin) {
			return fmt.Errorf("auth: GitHubConfig.AllowedOrigins: %q is not an origin in the form that "+
				"browsers send, such as https://app.example.com", origin)
		}
		if !weburl.IsSecure(u) && !cfg.InsecureCookies {
			return fmt.Errorf("auth: GitHubConfig.AllowedOrigins: %q must be https", origin)
		}
	}
	return nil
}

// answerLifetime is how long an instance reuses GitHub's answer about a user. Without this reuse, a
// client with a valid secret or token could make this service call GitHub for every request.
const answerLifetime = time.Minute

// maxAttempts is the maximum number of attempts at a write that can fail because of a concurrent
// write. A few attempts are enough, because each failure means that another write has succeeded.
const maxAttempts = 8

// GitHubConnector signs users in with GitHub, connects GitHub accounts to users, and calls GitHub's
// API as these users. It is safe for concurrent use.
type GitHubConnector struct {
	store   GitHubStore
	users   UserStore // nil unless the store keeps users
	tokens  *TokenIssuer
	cfg     GitHubConfig
	origin  string // of the host's pages
	path    string // of CallbackURL
	api     *githubapi.Client
	cookies oauthstate.Cookies
	unbound *seal.Sealer // seals states without a cookie; nil unless InsecureUnboundState
	sealer  *seal.Sealer // seals tokens in the store
	events  *EventLog

	insecureCookies bool               // plain http beyond loopback: other hosts can set cookies
	misplaced       *browser.Misplaced // for flows that begin at another origin than CallbackURL

	tokenAnswers  *answers.Memory // GitHub's answers for Verify
	memberAnswers *answers.Memory // GitHub's answers for StillAdmitted
	refreshes     *answers.Memory // only for Enter: one call at a time refreshes a user's token
	unopened      *outage.Firsts  // the tokens that reportUnopened has reported
}

// NewGitHubConnector returns a connector. If the configuration is not valid, the error names the
// setting to change.
//
// The tokens argument is the issuer that makes the tokens for GitHub sign-ins. It must use the same
// store as the connector. If the issuer has a [UserSource], the connector uses that UserSource,
// too.
//
// The sealing argument contains the keys that encrypt cookies and the GitHub tokens in the store.
// The first key encrypts, and all keys decrypt. All instances must have the same keys.
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
	origin := weburl.Origin(cfg.CallbackURL)
	return &GitHubConnector{
		store:   guardedGitHub{store},
		users:   guardUsers(users),
		tokens:  tokens,
		cfg:     cfg,
		origin:  origin,
		path:    weburl.Path(cfg.CallbackURL),
		api:     newGitHubAPI(cfg),
		cookies: oauthstate.NewCookies(newCookies(cookieSealer, origin)),
		unbound: unbound,
		sealer:  tokenSealer,
		events:  cfg.Events,

		insecureCookies: !weburl.HasSecureOrigin(cfg.CallbackURL),
		misplaced:       browser.NewMisplaced(origin, cfg.AllowedOrigins, cfg.Now, cfg.Logger),
		tokenAnswers:    answers.New(cfg.Now, answerLifetime),
		memberAnswers:   answers.New(cfg.Now, min(answerLifetime, cfg.MembershipMaxAge)),
		refreshes:       answers.New(cfg.Now, answerLifetime),
		unopened:        outage.NewFirsts(cfg.Now),
	}, nil
}

// checkUsers returns an error for settings that cannot be used with a UserSource. If there is a
// UserSource, only the host decides which users are super users, and the store does not record when
// an account was last allowed.
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

// newGitHubAPI returns a client for the GitHub server that the configuration names.
func newGitHubAPI(cfg GitHubConfig) *githubapi.Client {
	return githubapi.New(githubapi.App{
		ClientID:     cfg.ClientID,
		ClientSecret: cfg.ClientSecret.Reveal,
		CallbackURL:  cfg.CallbackURL,
		BaseURL:      cfg.BaseURL,
		APIURL:       cfg.APIURL,
	}, cfg.HTTPClient.Transport, cfg.Now)
}
