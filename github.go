package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// GitHubConfig says how users sign in with GitHub and connect their accounts.
// ClientID, ClientSecret and CallbackURL are required: those of an OAuth app
// that is registered at GitHub.
type GitHubConfig struct {
	ClientID     string
	ClientSecret Secret

	// CallbackURL is where GitHub sends the browser back to, as registered:
	// https, but for loopback addresses. Its origin is the public origin of the
	// host, for every redirect to its pages.
	CallbackURL string

	// BaseURL is "https://github.com" unless set: to https://HOST for GitHub
	// Enterprise Server, to https://SUB.ghe.com for GitHub with data residency.
	BaseURL string

	// APIURL is the REST API's, unless set the one that goes with BaseURL:
	// "https://api.github.com", https://HOST/api/v3, https://api.SUB.ghe.com.
	APIURL string

	// Host is the name under which accounts are remembered: BaseURL's unless
	// set. Accounts of two hosts are never the same, whatever their numbers.
	Host string

	// SignInScopes are asked for at a sign-in, "read:user" and "user:email"
	// unless set, and ConnectScopes to connect, "repo" and "user:email".
	SignInScopes  []string
	ConnectScopes []string

	// SuperUsers are the accounts that become super users when they are made, by
	// their numbers. It cannot be set with [Config.Users].
	SuperUsers []int64

	// AllowedUsers, AllowedOrganizations and AllowedTeams are who may come in,
	// by their numbers: whoever is in one of the three, everybody if all are
	// empty. Organisations and teams make the scope "read:org" asked for.
	AllowedUsers         []int64
	AllowedOrganizations []int64
	AllowedTeams         []int64

	// Admit decides about those whom the lists let in, if it is set. Whoever it
	// returns false for is refused; an error is answered with 503.
	Admit func(ctx context.Context, profile GitHubProfile) (bool, error)

	// MembershipMaxAge is how long the access keys of a user whom GitHub sign-in
	// made go on signing in without GitHub's word that the user may still come in.
	// After that [Service.Login] asks GitHub with the user's token, which takes a
	// call or a few. Where there is no token, or one that lacks a scope, or GitHub
	// says no, the keys sign in again when the user has signed in with GitHub;
	// where GitHub does not answer, the call answers 503. Zero means never to ask:
	// who leaves an organisation keeps the keys. It cannot be set with [Config.Users].
	MembershipMaxAge time.Duration

	// DisableSignUp lets nobody in by GitHub whose account is not linked to a user
	// already: it makes no users, and does not ask Users.ResolveGitHub for any.
	DisableSignUp bool

	// ConnectedPage is the path of the host's page to which the browser is sent
	// when an account has been connected. Without it, and without browser
	// sessions, a small page of ours says so.
	ConnectedPage string

	// InsecureUnboundState lets a sign-in that one program began end in another: a
	// command line prints the URL, a browser opens it and shows the answer. The
	// price is that whoever sends somebody such a URL can have them signed in as
	// the sender. Connecting never allows it.
	InsecureUnboundState bool

	// InsecureCookies allows plain http elsewhere than on loopback. Whoever can
	// read the traffic can then sign in as anybody.
	InsecureCookies bool

	// HTTPClient makes the calls to GitHub: its Transport is used, its timeout
	// and its redirects are not. http.DefaultTransport unless set.
	HTTPClient *http.Client

	// Timeout is how long one flow may wait for GitHub in all: 10 seconds unless
	// set.
	Timeout time.Duration

	// Now is the clock, time.Now unless set; Logger gets what goes wrong without
	// making a call fail, slog.Default() unless set.
	Now    func() time.Time
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
		cfg.SignInScopes = append(cfg.SignInScopes[:len(cfg.SignInScopes):len(cfg.SignInScopes)], membershipScope)
		cfg.ConnectScopes = append(cfg.ConnectScopes[:len(cfg.ConnectScopes):len(cfg.ConnectScopes)], membershipScope)
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = &http.Client{}
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	cfg.Now, cfg.Logger = orNow(cfg.Now), orDefault(cfg.Logger)

	base, err1 := checkBaseURL("BaseURL", cfg.BaseURL)
	if err1 == nil && cfg.APIURL == "" {
		cfg.APIURL = apiURL(base)
	}
	_, err2 := checkBaseURL("APIURL", cfg.APIURL)
	if err := firstError(err1, err2, cfg.checkCallback()); err != nil {
		return cfg, err
	}
	cfg.BaseURL, cfg.APIURL = strings.TrimSuffix(cfg.BaseURL, "/"), strings.TrimSuffix(cfg.APIURL, "/")
	if cfg.Host == "" {
		cfg.Host = FoldASCII(base.Host)
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
	case checkReturnTo(cfg.ConnectedPage) != nil:
		return cfg, errors.New("auth: GitHub's ConnectedPage must be a path such as /account")
	}
	return cfg, checkID("Host", cfg.Host, MaxGitHubHostLength)
}

// apiURL returns the REST API that belongs to a GitHub.
func apiURL(base *url.URL) string {
	switch host := FoldASCII(base.Host); {
	case host == "github.com":
		return "https://api.github.com"
	case strings.HasSuffix(host, ".ghe.com"):
		return base.Scheme + "://api." + host
	default:
		return strings.TrimSuffix(base.String(), "/") + "/api/v3"
	}
}

// checkBaseURL accepts an https URL, or http on loopback, of a host and perhaps a
// path.
func checkBaseURL(field, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "":
		return nil, fmt.Errorf("auth: GitHub's %s must be a URL of a host, without user, query and fragment", field)
	case u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())):
		return nil, fmt.Errorf("auth: GitHub's %s must be https", field)
	}
	return u, nil
}

func (cfg GitHubConfig) checkCallback() error {
	u, err := url.Parse(cfg.CallbackURL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("auth: GitHub's CallbackURL must be a URL such as https://api.example.com/api/v1/auth/github/callback")
	case u.Scheme == "http" && !isLoopback(u.Hostname()) && !cfg.InsecureCookies:
		return errors.New("auth: GitHub's CallbackURL must be https: a browser keeps no secure cookie for plain http")
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// GitHubConnector signs users in with GitHub, connects GitHub accounts to users,
// and makes calls to GitHub for them. It is safe for concurrent use.
type GitHubConnector struct {
	store   GitHubStore
	tokens  *TokenIssuer
	cfg     GitHubConfig
	api     *githubAPI
	cookies stateCookies
	unbound *sealer   // of states that no cookie binds; nil unless they are allowed
	sealer  *sealer   // of tokens in the store
	events  *eventLog // nil but in a Service
}

// NewGitHubConnector returns a connector, or an error that says what to change in
// the configuration. Sessions that begin with GitHub get their tokens from the
// issuer, over the same store; where users are the host's own, they are those of
// the issuer's TokenConfig.Users. The sealing keys are shared by all instances; the
// first seals, all open.
func NewGitHubConnector(store GitHubStore, tokens *TokenIssuer, sealing []SymmetricKey, cfg GitHubConfig) (*GitHubConnector, error) {
	if isNil(store) || tokens == nil {
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
	var unbound *sealer
	if cfg.InsecureUnboundState {
		if unbound, err = newSealer(sealing, "github unbound state"); err != nil {
			return nil, err
		}
	}
	return &GitHubConnector{
		unbound: unbound,
		store:   store,
		tokens:  tokens,
		cfg:     cfg,
		api:     newGitHubAPI(cfg),
		cookies: stateCookies{sealedCookies{sealer: cookieSealer, insecure: cfg.InsecureCookies && strings.HasPrefix(cfg.CallbackURL, "http:")}},
		sealer:  tokenSealer,
	}, nil
}

// checkUsers returns an error for what cannot be where users are the host's own:
// only the host says who is a super user, and when GitHub last admitted somebody
// is not remembered.
func (cfg GitHubConfig) checkUsers(store GitHubStore, tokens *TokenIssuer) error {
	hosts := tokens.users != nil
	switch {
	case hosts == keepsUsers(store):
		return errors.New("auth: GitHub's store must be that of the token issuer: one of the two keeps users")
	case hosts && len(cfg.SuperUsers) > 0:
		return errors.New("auth: GitHub's SuperUsers cannot be set with Users: say in the host's own table who is one")
	case hosts && cfg.MembershipMaxAge > 0:
		return errors.New("auth: GitHub's MembershipMaxAge cannot be set with Users: " +
			"disable in the host's own table who has left, and call RevokeUser")
	}
	return nil
}

func newGitHubAPI(cfg GitHubConfig) *githubAPI {
	transport := cfg.HTTPClient.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	return &githubAPI{
		app: oauthApp{
			clientID:     cfg.ClientID,
			clientSecret: cfg.ClientSecret,
			callbackURL:  cfg.CallbackURL,
			baseURL:      cfg.BaseURL,
		},
		apiURL: cfg.APIURL,
		client: &http.Client{
			Transport: githubTransport{transport},
			// A redirect could carry the client secret to another host.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		now: cfg.Now,
	}
}

// origin returns scheme and host of the callback: the host's public origin.
func (g *GitHubConnector) origin() string {
	u, err := url.Parse(g.cfg.CallbackURL)
	if err != nil { // not after withDefaults
		return ""
	}
	return u.Scheme + "://" + u.Host
}
