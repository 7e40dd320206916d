package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/sallyport-go/auth/internal/browser"
	"github.com/sallyport-go/auth/internal/clientaddr"
	"github.com/sallyport-go/auth/internal/defaults"
	"github.com/sallyport-go/auth/internal/throttle"
	"github.com/sallyport-go/auth/internal/weburl"
)

// Config is the configuration of a [Service]. Issuer and SigningKeys are required, and Proxies
// should be set; every other zero field is the safe choice.
type Config struct {
	// Issuer is the URL of this service, such as "https://api.example.com". It is the issuer
	// of tokens and, unless Tokens.Audiences is set, their audience. At most 256 bytes.
	Issuer string

	// PublicURL is the origin under which browsers see the service, such as
	// "https://api.example.com": cookies and redirects are made for it. It must be https,
	// except on loopback or with GitHub's InsecureCookies. If it is empty, it is the origin of
	// GitHub's CallbackURL; if both are set, they must agree.
	PublicURL string

	// SigningKeys sign and verify tokens. The first signs, all verify. [NewTokenIssuer] says
	// how to change them, and when.
	SigningKeys []SigningKey

	// SealingKeys encrypt GitHub tokens in the store and the contents of cookies. GitHub
	// needs them, the same on all instances. The first seals, all open.
	SealingKeys []SymmetricKey

	// Tokens says what tokens contain and how soon a revocation is known.
	Tokens TokenConfig

	// Credentials says how access keys look and how their secrets are kept.
	Credentials CredentialConfig

	// GitHub lets users sign in with GitHub and connect their accounts. If it is nil, its
	// calls answer 503.
	GitHub *GitHubConfig

	// BrowserSessions lets browsers that sign in with GitHub stay signed in by cookie. If it
	// is nil, GitHub's callback answers with a token.
	BrowserSessions *BrowserSessions

	// ReauthAfter, if positive, is the maximum age of a session that may make lasting
	// changes: calls that give out an access secret, connect a GitHub account, or enable or
	// promote a user. Older sessions get ErrSessionTooOld and must sign in again, so a stolen token cannot be
	// turned into a lasting credential.
	ReauthAfter time.Duration

	// Proxies says which reverse proxies stand in front of the service, and so which client
	// address is believed: [NoProxies] or [TrustProxies]. If it is not set, clients that send
	// X-Forwarded-For have no known address and are throttled together. It must be set with
	// Credentials.AllowImported.
	Proxies Proxies

	// Throttling bounds what a client can try. Unless it has a Limiter that instances share,
	// each instance counts for itself.
	Throttling Throttling

	// WriteError answers a request with an error. nil means the function [WriteError], which
	// it may call for the errors that it leaves alone.
	WriteError func(w http.ResponseWriter, r *http.Request, err error)

	// Timeout is how long one of the documented calls may take in all, its body and the store
	// included, and how long RequireSuperUser and, with Tokens.CheckSessionsInStore,
	// Authenticate wait for the store before a host's handler. Zero means 10 seconds.
	Timeout time.Duration

	// OnEvent is called with each event: see [EventLogConfig.OnEvent], and [EventLogConfig.Trail]
	// for lasting changes. [Service.Run] delivers them. If it is nil, events go to Logger.
	OnEvent func(Event)

	// Hooks measure sign-ins and tokens.
	Hooks Hooks

	// DisableAuditTrail turns the audit trail off. By default, a store that is an [EventStore]
	// keeps the event of each lasting change, in the transaction of the change.
	DisableAuditTrail bool

	// AuditRetention is how long [Service.Prune] keeps the events of the audit trail. Zero means
	// 365 days.
	AuditRetention time.Duration

	// Now is the clock. nil means time.Now.
	Now func() time.Time

	// Logger gets what an operator must know. nil means slog.Default().
	Logger *slog.Logger
}

// defaultAuditRetention is how long an event stays in the audit trail by default.
const defaultAuditRetention = 365 * 24 * time.Hour

// Service is sign-in as a whole: the components over one store, with the handlers and the
// middleware. It is safe for concurrent use.
type Service struct {
	store       AccountStore
	users       UserStore  // nil if the host keeps the users
	directory   userFinder // users, or the host's own table
	credentials *CredentialVerifier
	tokens      *TokenIssuer
	github      *GitHubConnector  // nil if it is not configured
	browser     *browser.Sessions // nil if they are not configured
	writeError  func(w http.ResponseWriter, r *http.Request, err error)
	clients     *clientaddr.Resolver
	throttle    *throttle.Throttle // nil if it is off
	events      *EventLog
	reauthAfter time.Duration // 0 for any age
	retention   time.Duration // of events in the audit trail
	timeout     time.Duration
	now         func() time.Time
	log         *slog.Logger
}

// New returns a service over the store, or an error that says what to change in the
// configuration. It does not touch the store and starts nothing.
func New(store Store, cfg Config) (*Service, error) {
	if defaults.IsNil(store) {
		return nil, errors.New("auth: New needs a store")
	}
	return newService(store, store, nil, cfg)
}

// NewWithUsers is [New] for a host with a users table of its own. The store keeps no users, as
// that of memstore.NewAccounts or sqlstore.OpenAccounts. There are no routes that make or change
// users, the methods that do return an error, and GitHub's SuperUsers and MembershipMaxAge cannot
// be set. The host calls [Service.RevokeUser] after it has disabled or deleted a user.
func NewWithUsers(accounts AccountStore, users UserSource, cfg Config) (*Service, error) {
	if defaults.IsNil(accounts) {
		return nil, errors.New("auth: NewWithUsers needs a store")
	}
	if users == nil {
		return nil, errors.New("auth: NewWithUsers needs a UserSource; New is for a store that keeps users")
	}
	return newService(accounts, nil, users, cfg)
}

// newService returns a service whose users are in the store or, if source is not nil, there.
func newService(store AccountStore, users UserStore, source UserSource, cfg Config) (*Service, error) {
	cfg, err := cfg.withDefaults(store)
	if err != nil {
		return nil, err
	}
	clients, err := cfg.Proxies.resolver(cfg.Logger)
	if err != nil {
		return nil, err
	}
	throttle, err := cfg.Throttling.newThrottle(cfg.Issuer, cfg.Now, cfg.Logger)
	if err != nil {
		return nil, err
	}
	tokens, err := newTokenIssuer(store, source, cfg.Issuer, cfg.SigningKeys, cfg.Tokens)
	if err != nil {
		return nil, err
	}
	credentials, err := NewCredentialVerifier(store, tokens, cfg.Credentials)
	if err != nil {
		return nil, err
	}
	github, sessions, err := newGitHub(store, tokens, cfg)
	if err != nil {
		return nil, err
	}
	users = guardUsers(users)
	directory := userFinder(users)
	if tokens.users != nil {
		directory = tokens.users
	}
	return &Service{
		store:       guardAccounts(store),
		users:       users,
		directory:   directory,
		credentials: credentials,
		tokens:      tokens,
		github:      github,
		browser:     sessions,
		writeError:  cfg.WriteError,
		clients:     clients,
		throttle:    throttle,
		events:      cfg.Tokens.Events,
		reauthAfter: cfg.ReauthAfter,
		retention:   cfg.AuditRetention,
		timeout:     cfg.Timeout,
		now:         cfg.Now,
		log:         cfg.Logger,
	}, nil
}

// withDefaults returns the configuration with its defaults, also in the nested ones, for a service
// over the store.
func (cfg Config) withDefaults(store AccountStore) (Config, error) {
	if cfg.Timeout < 0 {
		return cfg, errors.New("auth: Config.Timeout must not be negative")
	}
	if cfg.Credentials.AllowImported && !cfg.Proxies.decided {
		return cfg, errors.New("auth: Config.Proxies must be set with Credentials.AllowImported, whose " +
			"slow hashes are throttled by client address: set NoProxies, or TrustProxies with the " +
			"networks of the proxies")
	}
	if cfg.ReauthAfter < 0 {
		return cfg, errors.New("auth: Config.ReauthAfter must not be negative")
	}
	if cfg.AuditRetention < 0 {
		return cfg, errors.New("auth: Config.AuditRetention must not be negative")
	}
	if cfg.Tokens.Events != nil || cfg.Credentials.Events != nil ||
		cfg.GitHub != nil && cfg.GitHub.Events != nil {
		return cfg, errors.New("auth: Events must be nil in a Config: set Config.OnEvent and Config.Hooks")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.AuditRetention == 0 {
		cfg.AuditRetention = defaultAuditRetention
	}
	if cfg.WriteError == nil {
		cfg.WriteError = WriteError
	}
	ownClock := cfg.Now == nil // which the token issuer reads in a cheaper way
	cfg.Now, cfg.Logger = defaults.Now(cfg.Now), defaults.Logger(cfg.Logger)
	trail, _ := store.(EventStore)
	if cfg.DisableAuditTrail {
		trail = nil
	}
	events := NewEventLog(EventLogConfig{OnEvent: cfg.OnEvent, Hooks: cfg.Hooks, Trail: trail, Now: cfg.Now,
		Logger: cfg.Logger})

	cfg.Tokens.Events, cfg.Credentials.Events = events, events
	if cfg.Tokens.Now == nil && !ownClock {
		cfg.Tokens.Now = cfg.Now
	}
	if cfg.Credentials.Now == nil {
		cfg.Credentials.Now = cfg.Now
	}
	if cfg.Credentials.Logger == nil {
		cfg.Credentials.Logger = cfg.Logger
	}
	if cfg.GitHub != nil {
		github := *cfg.GitHub
		github.Events = events
		if github.Now == nil {
			github.Now = cfg.Now
		}
		if github.Logger == nil {
			github.Logger = cfg.Logger
		}
		cfg.GitHub = &github
	}
	return cfg.withPublicURL()
}

// withPublicURL returns the configuration with PublicURL as the origin that browsers send, or
// empty if neither it nor GitHub's callback is set.
func (cfg Config) withPublicURL() (Config, error) {
	callback := ""
	if cfg.GitHub != nil {
		callback = originOf(cfg.GitHub.CallbackURL)
	}
	if cfg.PublicURL == "" {
		cfg.PublicURL = callback
		return cfg, nil
	}
	u, err := url.Parse(cfg.PublicURL)
	insecure := cfg.GitHub != nil && cfg.GitHub.InsecureCookies
	switch {
	case err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery ||
		u.Fragment != "" ||
		u.Path != "" && u.Path != "/":
		return cfg, errors.New("auth: Config.PublicURL must be an origin such as " +
			"https://api.example.com, without path and query")
	case !weburl.IsSecure(u) && !(u.Scheme == "http" && insecure):
		return cfg, errors.New("auth: Config.PublicURL must be https")
	}
	cfg.PublicURL = originOf(cfg.PublicURL)
	if callback != "" && callback != cfg.PublicURL {
		return cfg, errors.New("auth: Config.PublicURL and GitHub's CallbackURL must have the same origin: " +
			"the browser comes back to the one with the cookies of the other")
	}
	return cfg, nil
}

// newGitHub returns the connector and the browser sessions that the configuration asks for,
// which may be neither.
func newGitHub(
	store GitHubStore, tokens *TokenIssuer, cfg Config,
) (*GitHubConnector, *browser.Sessions, error) {
	if cfg.GitHub == nil {
		if cfg.BrowserSessions != nil {
			return nil, nil, errors.New("auth: Config.BrowserSessions needs Config.GitHub: its callback " +
				"opens them")
		}
		return nil, nil, nil
	}
	if cfg.GitHub.InsecureUnboundState && cfg.BrowserSessions != nil {
		return nil, nil, errors.New("auth: GitHub's InsecureUnboundState cannot be set with " +
			"BrowserSessions: a link from anybody would sign a browser in as somebody else")
	}
	github, err := NewGitHubConnector(store, tokens, cfg.SealingKeys, *cfg.GitHub)
	if err != nil || cfg.BrowserSessions == nil {
		return github, nil, err
	}
	sessions, err := newBrowserSessions(*cfg.BrowserSessions, cfg.SealingKeys, cfg.PublicURL,
		github.insecureCookies, tokens)
	return github, sessions, err
}

// GitHub returns the service's GitHubConnector, or nil if GitHub is not configured.
func (s *Service) GitHub() *GitHubConnector { return s.github }

// Credentials returns the service's CredentialVerifier.
func (s *Service) Credentials() *CredentialVerifier { return s.credentials }

// Tokens returns the service's TokenIssuer.
func (s *Service) Tokens() *TokenIssuer { return s.tokens }

// Login exchanges an access key and its secret for a token, as POST /auth/users/login does, for
// hosts that speak a protocol other than HTTP. It returns ErrInvalidCredentials if the pair
// signs nobody in, a *ThrottledError, or an error that means that the store could not answer.
// Put the client's address into ctx with [WithClientInfo]: clients without one are throttled
// together, and a flood of theirs is not.
func (s *Service) Login(ctx context.Context, pair KeyPair) (Token, error) {
	began := time.Now()
	token, err := s.login(ctx, pair)
	e := s.credentials.signInEvent(pair, err)
	e.UserID, e.SessionID = token.User.ID, token.Session.ID
	s.events.signIn(ctx, began, e, err)
	return token, err
}

func (s *Service) login(ctx context.Context, pair KeyPair) (Token, error) {
	key, user, err := s.checkPair(ctx, pair)
	if err != nil {
		return Token{}, err
	}
	if err := s.recheckMembership(ctx, user); err != nil {
		return Token{}, err
	}
	token, err := s.tokens.issue(ctx,
		IssueParams{UserID: user.ID, Method: MethodAccessKey, AccessKeyID: key.ID})
	// Between the two calls the user was disabled or the key revoked; or the users are the
	// host's own, and only the second call asked for this one.
	switch {
	case errors.Is(err, ErrUserDisabled):
		return Token{}, rejectionOf(user.ID, "", errOwnerDisabled)
	case errors.Is(err, ErrNotFound):
		return Token{}, rejectionOf(user.ID, "", errKeyUnknown)
	}
	return token, err
}

// checkPair is [CredentialVerifier.Verify] within the limits of Config.Throttling. Creating the
// session notes the use of the key.
func (s *Service) checkPair(ctx context.Context, pair KeyPair) (AccessKey, User, error) {
	client := clientOf(ctx).counted()
	if err := s.throttle.CountAttempt(ctx, client); err != nil {
		return AccessKey{}, User{}, asThrottled(err)
	}
	form := s.credentials.formOf(pair)
	slow := form == importedPair
	if slow {
		if err := s.throttle.CheckSlowAttempt(client, pair.AccessKey); err != nil {
			return AccessKey{}, User{}, asThrottled(err)
		}
	}
	key, user, err := s.credentials.check(ctx, pair, form, func() error {
		return asThrottled(s.throttle.CountSlowAttempt(ctx, client, pair.AccessKey))
	})
	switch {
	case errors.Is(err, ErrInvalidCredentials):
		return AccessKey{}, User{}, cmp.Or(asThrottled(s.throttle.CountFailure(ctx, client)), err)
	case err == nil && slow:
		s.throttle.ForgetSlowAttempts(ctx, client, pair.AccessKey)
	}
	return key, user, err
}

// recheckMembership is [GitHubConnector.StillAdmitted] for a user whose access key is good. A
// refusal looks like that of a key that is not.
func (s *Service) recheckMembership(ctx context.Context, user User) error {
	if s.github == nil {
		return nil
	}
	err := s.github.StillAdmitted(ctx, user)
	if errors.Is(err, ErrGitHubNotAllowed) {
		s.log.InfoContext(ctx, "auth: an access key was rejected: its user must sign in with GitHub first",
			"user_id", user.ID)
		return rejectionOf(user.ID, "", errMembership)
	}
	return err
}

// SignIn gives the user a token without asking for a credential: for the tests of a host, and
// for hosts that know by other means who the user is. It returns ErrNotFound if there is no
// such user and ErrUserDisabled if the user is disabled.
func (s *Service) SignIn(ctx context.Context, userID string) (Token, error) {
	return s.tokens.Issue(ctx, IssueParams{UserID: userID, Method: MethodHost})
}

// Ping reports whether the store can answer within Config.Timeout: for a health check.
func (s *Service) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := s.store.Ping(ctx); err != nil {
		return fmt.Errorf("auth: the store does not answer: %w", err)
	}
	return nil
}
