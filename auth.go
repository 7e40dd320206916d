package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/sallyport-go/auth/internal/answers"
	"github.com/sallyport-go/auth/internal/browser"
	"github.com/sallyport-go/auth/internal/clientaddr"
	"github.com/sallyport-go/auth/internal/defaults"
	"github.com/sallyport-go/auth/internal/feedpage"
	"github.com/sallyport-go/auth/internal/outage"
	"github.com/sallyport-go/auth/internal/recent"
	"github.com/sallyport-go/auth/internal/sharedcall"
	"github.com/sallyport-go/auth/internal/throttle"
	"github.com/sallyport-go/auth/internal/writable"
)

// Config is the configuration of a [Service]. Issuer and SigningKeys are required, and Proxies
// should be set. For every other field, the zero value is the safe choice.
type Config struct {
	// Issuer is the URL of this service, such as "https://api.example.com". Tokens name it as their
	// issuer, and also as their audience, unless they are for one of Tokens.Audiences. It is an http or
	// https URL of at most 256 bytes, without user, query, fragment and trailing slash, and with scheme
	// and host in lower case.
	Issuer string

	// PublicURL is the origin at which browsers reach the service, such as
	// "https://api.example.com". Cookies and redirects are made for this origin. PublicURL must be
	// https, except on loopback or if GitHub.InsecureCookies is set. Empty means the origin of
	// GitHub.CallbackURL. If both URLs are set, they must have the same origin. BrowserSessions needs
	// one of them.
	PublicURL string

	// SigningKeys sign and verify tokens. The first key signs, and all keys verify.
	// [NewTokenIssuer] says how to change the keys.
	SigningKeys []SigningKey

	// SealingKeys encrypt cookies, and the GitHub tokens in the store. They are required if GitHub
	// or BrowserSessions is set, and must be the same on all instances. The first key encrypts, and
	// all keys decrypt.
	SealingKeys []SymmetricKey

	// Tokens configures tokens, and how soon an instance learns of a revocation.
	Tokens TokenConfig

	// Credentials configures access keys and the hashes of their secrets.
	Credentials CredentialConfig

	// GitHub lets users sign in with GitHub and connect their accounts. nil means that the HTTP
	// calls for GitHub answer 503.
	GitHub *GitHubConfig

	// BrowserSessions, if set, turns on session cookies: a sign-in with GitHub then sets a session
	// cookie, and so does POST /auth/browser/login, which signs in with an access key. nil means that
	// the response to a sign-in with GitHub contains a token, and that there is no browser sign-in
	// with a key.
	BrowserSessions *BrowserSessions

	// ReauthAfter, if positive, limits the calls that return an access secret, connect a GitHub
	// account, approve a device, enable, promote or rename a user, or give a user an e-mail address.
	// If the caller's session is older than ReauthAfter, such a call returns ErrSessionTooOld. A
	// stolen token of an old session then cannot make a lasting credential. Zero means any age.
	ReauthAfter time.Duration

	// Proxies is the result of [NoProxies] or [TrustProxies]. Proxies determines the client
	// address. If Proxies is not set and a request has the header X-Forwarded-For, the client
	// address is not known: see [Throttling]. Credentials.AllowImported requires Proxies.
	Proxies Proxies

	// Throttling limits the sign-in attempts of each client address.
	Throttling Throttling

	// WriteError writes the response to a request that failed with err. nil means the function
	// [WriteError]. The host's function can call [WriteError] for errors that it does not handle.
	WriteError func(w http.ResponseWriter, r *http.Request, err error)

	// ResourceMetadataURL is the URL of the metadata that describes this service as a protected resource
	// (RFC 9728), such as "https://api.example.com/.well-known/oauth-protected-resource". Package oauth
	// serves such metadata. If the URL is set, each challenge for a bearer token names it as
	// resource_metadata, so that a client finds out where it can get a token. The URL must be https, except
	// on loopback. Empty means that challenges name no URL.
	ResourceMetadataURL string

	// Timeout limits the duration of each HTTP call of this package, including the time to read the
	// request, whose body must arrive in half of the time. On a host's own route, Timeout limits only
	// how long the middleware waits for the store. Zero means 10 seconds.
	Timeout time.Duration

	// OnEvent receives the events. [Service.Run] calls OnEvent: see [EventLogConfig.OnEvent] and
	// [EventLogConfig.Trail]. nil means that events go to Logger, with a limited number of refusals.
	// The OnEvent of another program is then not called either for the changes that this Service makes,
	// unless DeliverElsewhere is set.
	OnEvent func(Event)

	// DeliverElsewhere makes instances with OnEvent deliver the events of changes that this program
	// makes without OnEvent: see [EventLogConfig.DeliverElsewhere].
	DeliverElsewhere bool

	// Hooks measure sign-ins and verifications of tokens.
	Hooks Hooks

	// DisableAuditTrail turns the audit trail off. By default, an [EventStore] stores the event of
	// each lasting change in the same transaction as the change.
	DisableAuditTrail bool

	// AuditRetention is how long the events of the audit trail are kept. [Service.Prune] removes
	// older events. Zero means 365 days.
	AuditRetention time.Duration

	// NameRetention is how long a username stays taken after its user has given it up or was deleted, and how
	// long the GitHub accounts of a deleted user stay in the store. [Service.Prune] then removes them, and
	// another user can take the username. Zero means forever. Otherwise, NameRetention is at least
	// Tokens.MaxLifetime, because a token contains the username of the time when it was issued.
	NameRetention time.Duration

	// Now is the clock. nil means time.Now.
	Now func() time.Time

	// Logger receives the messages for an operator. nil means slog.Default().
	Logger *slog.Logger
}

const defaultAuditRetention = 365 * 24 * time.Hour

// Service combines a [TokenIssuer], a [CredentialVerifier] and a [GitHubConnector], and adds HTTP
// handlers and middleware. Make it with [New] or [NewWithUsers]. It is safe for concurrent use.
type Service struct {
	store       AccountStore
	users       UserStore   // nil if the host keeps the users
	directory   userFinder  // users, or the host's own table
	devices     DeviceStore // nil if the store is no DeviceStore
	credentials *CredentialVerifier
	tokens      *TokenIssuer
	github      *GitHubConnector  // nil without Config.GitHub
	browser     *browser.Sessions // nil without Config.BrowserSessions
	renewals    *renewals         // nil unless session cookies are renewed
	writeError  func(w http.ResponseWriter, r *http.Request, err error)
	metadata    string // Config.ResourceMetadataURL
	clients     *clientaddr.Resolver
	throttle    *throttle.Throttle // nil if Throttling.Off is set
	events      *EventLog
	pings       *answers.Memory   // the latest result of Ping, for readiness
	writes      *writable.Monitor // nil if the store has no method CheckWritable
	reauthAfter time.Duration     // 0 means any age
	retention   time.Duration     // Config.AuditRetention
	keepNames   time.Duration     // Config.NameRetention
	timeout     time.Duration
	now         func() time.Time
	storeClock  func(context.Context) (time.Time, error) // nil if Prune does not compare the clocks
	log         *slog.Logger
	failures    [len(failureCauses)]*outage.Tracker // of requests, by cause
	writePanics *outage.Tracker                     // of writeError
	pages       *feedpage.Publisher                 // of the revocation feed, for services without the store
	services    recent.Times[string]                // when a user was last known to be a service user, by ID
	badPages    *outage.Tracker                     // of requests for pages that show a fault of the service

	verifierReads sharedcall.Group[User] // reads of the users who ask for pages
}

// New returns a Service that uses the store, or an error that says what to change in the
// configuration. New calls no method of the store and starts no goroutine.
func New(store Store, cfg Config) (*Service, error) {
	if defaults.IsNil(store) {
		return nil, errors.New("auth: New needs a store")
	}
	return newService(store, store, nil, cfg)
}

// NewWithUsers returns a Service for a host that has a users table of its own. In all other respects,
// NewWithUsers is like [New]. The store must not keep users. Examples are the stores of
// memstore.NewAccounts and sqlstore.OpenAccounts. The host must call [TokenIssuer.RevokeUser] after it has
// disabled or deleted a user.
//
// This Service cannot make or change users: it has no routes for that, and its methods for that
// return an error. GitHubConfig.SuperUsers and GitHubConfig.MembershipMaxAge cannot be set.
func NewWithUsers(accounts AccountStore, users UserSource, cfg Config) (*Service, error) {
	if defaults.IsNil(accounts) {
		return nil, errors.New("auth: NewWithUsers needs a store")
	}
	if users == nil {
		return nil, errors.New("auth: NewWithUsers needs a UserSource; New is for a store that keeps users")
	}
	return newService(accounts, nil, users, cfg)
}

// newService returns a Service. Either the parameter users or the parameter source is nil.
func newService(store AccountStore, users UserStore, source UserSource, cfg Config) (*Service, error) {
	storeClock := guardDatabaseTime(store)
	if cfg.Now != nil {
		storeClock = nil // the clock can be that of a test
	}
	cfg, err := cfg.withDefaults(store)
	if err != nil {
		return nil, err
	}
	clients, err := cfg.Proxies.resolver("Config", cfg.Logger)
	if err != nil {
		return nil, err
	}
	throttle, err := cfg.Throttling.newThrottle(cfg.Issuer, cfg.Now, cfg.Logger)
	if err != nil {
		return nil, err
	}
	cfg.Tokens.Users = source
	tokens, err := NewTokenIssuer(store, cfg.Issuer, cfg.SigningKeys, cfg.Tokens)
	if err != nil {
		return nil, err
	}
	if cfg.NameRetention > 0 && cfg.NameRetention < tokens.cfg.MaxLifetime {
		return nil, fmt.Errorf("auth: Config.NameRetention must be at least Tokens.MaxLifetime (%s), "+
			"because tokens contain usernames", tokens.cfg.MaxLifetime)
	}
	credentials, err := NewCredentialVerifier(store, tokens, cfg.Credentials)
	if err != nil {
		return nil, err
	}
	var github *GitHubConnector
	if cfg.GitHub != nil {
		if github, err = NewGitHubConnector(store, tokens, cfg.SealingKeys, *cfg.GitHub); err != nil {
			return nil, err
		}
	}
	sessions, renewals, err := cfg.newBrowserSessions(tokens)
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
		devices:     guardDevices(store),
		credentials: credentials,
		tokens:      tokens,
		github:      github,
		browser:     sessions,
		renewals:    renewals,
		writeError:  cfg.WriteError,
		metadata:    cfg.ResourceMetadataURL,
		clients:     clients,
		throttle:    throttle,
		events:      cfg.Tokens.Events,
		pings:       answers.New(cfg.Now, time.Second),
		writes:      writable.New(guardCheckWritable(store), cfg.Now, cfg.Logger),
		reauthAfter: cfg.ReauthAfter,
		retention:   cfg.AuditRetention,
		keepNames:   cfg.NameRetention,
		timeout:     cfg.Timeout,
		now:         cfg.Now,
		storeClock:  storeClock,
		log:         cfg.Logger,
		failures: [...]*outage.Tracker{outage.New(cfg.Now), outage.New(cfg.Now), outage.New(cfg.Now),
			outage.New(cfg.Now)},
		writePanics: outage.New(cfg.Now),
		pages:       tokens.newPublisher(),
		badPages:    outage.New(cfg.Now),
	}, nil
}

// withDefaults checks the configuration and sets all defaults, also in the nested configurations.
// It also makes the EventLog.
func (cfg Config) withDefaults(store AccountStore) (Config, error) {
	if err := checkIssuer("Config.Issuer", cfg.Issuer); err != nil {
		return cfg, err
	}
	if err := checkMetadataURL("Config", cfg.ResourceMetadataURL); err != nil {
		return cfg, err
	}
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
	if cfg.AuditRetention < 0 || cfg.NameRetention < 0 {
		return cfg, errors.New("auth: Config.AuditRetention and NameRetention must not be negative")
	}
	if cfg.Tokens.Events != nil || cfg.Credentials.Events != nil ||
		cfg.GitHub != nil && cfg.GitHub.Events != nil {
		return cfg, errors.New("auth: Events must be nil in a Config: set Config.OnEvent and Config.Hooks")
	}
	if cfg.Tokens.Users != nil {
		return cfg, errors.New("auth: Config.Tokens.Users must be nil: pass the UserSource to NewWithUsers")
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
	defaultClock := cfg.Now == nil // if true, Tokens.Now stays nil, which is faster
	cfg.Now, cfg.Logger = defaults.Now(cfg.Now), defaults.Logger(cfg.Logger)
	trail, _ := store.(EventStore)
	if cfg.DisableAuditTrail {
		trail = nil
	}
	if cfg.DeliverElsewhere && (cfg.OnEvent != nil || trail == nil) {
		return cfg, errors.New("auth: Config.DeliverElsewhere needs an audit trail, and OnEvent must be nil")
	}
	events := NewEventLog(EventLogConfig{OnEvent: cfg.OnEvent, DeliverElsewhere: cfg.DeliverElsewhere,
		Hooks: cfg.Hooks, Trail: trail, Now: cfg.Now, Logger: cfg.Logger})

	cfg.Tokens.Events, cfg.Credentials.Events = events, events
	if cfg.Tokens.Now == nil && !defaultClock {
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
	callback, insecure := "", false
	if cfg.GitHub != nil {
		callback, insecure = cfg.GitHub.CallbackURL, cfg.GitHub.InsecureCookies
	}
	publicURL, err := publicOrigin(cfg.PublicURL, callback, insecure)
	cfg.PublicURL = publicURL
	return cfg, err
}

// newBrowserSessions returns the session cookies, and what decides about their renewal. The results are
// nil if the configuration has no session cookies, or does not renew them.
func (cfg Config) newBrowserSessions(tokens *TokenIssuer) (*browser.Sessions, *renewals, error) {
	switch {
	case cfg.BrowserSessions == nil:
		return nil, nil, nil
	case cfg.PublicURL == "":
		return nil, nil, errors.New("auth: Config.BrowserSessions needs Config.PublicURL, the origin at " +
			"which browsers reach the service")
	case cfg.GitHub != nil && cfg.GitHub.InsecureUnboundState:
		return nil, nil, errors.New("auth: GitHub's InsecureUnboundState cannot be set with " +
			"BrowserSessions: a link from anybody would sign a browser in as somebody else")
	}
	own, err := cfg.BrowserSessions.withDefaults(tokens.cfg)
	if err != nil {
		return nil, nil, err
	}
	if err := tokens.checkCookieLength(); err != nil {
		return nil, nil, err
	}
	sessions, err := newBrowserSessions(own, cfg.SealingKeys, cfg.PublicURL, tokens)
	return sessions, newRenewals(own, tokens.cfg.Lifetime, cfg.Now), err
}

// Credentials returns the service's CredentialVerifier.
func (s *Service) Credentials() *CredentialVerifier { return s.credentials }

// Tokens returns the service's TokenIssuer.
func (s *Service) Tokens() *TokenIssuer { return s.tokens }
