package githubtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxBody is the maximum size of a request's body. It is larger than any request to GitHub's token
// endpoint.
const maxBody = 1 << 20

// Config defines the accounts of the fake GitHub and its behavior. The zero value is useful.
type Config struct {
	// ClientID and ClientSecret are the credentials of the one registered app. Default
	// "githubtest-client" and a random secret.
	ClientID, ClientSecret string

	// RedirectURLs are the registered callback URLs of the app. A redirect_uri matches a registered
	// URL if the scheme and host are the same, and the path is the registered path or below it. The
	// port of a loopback URL may differ from the registered port. If RedirectURLs is empty, every
	// loopback URL is accepted.
	RedirectURLs []string

	// Users are the accounts. Nil means five default accounts: "octocat" (ID 583231), "hubot" (ID
	// 480938), and three accounts that a service may handle wrongly. "no-email" has no e-mail
	// address, the address of "unverified" is not verified, and "admin" is an ordinary user despite
	// the login.
	Users []User

	// AutoApprove is the login of a user who agrees to every authorization at once, without a page.
	// If AutoApprove is empty, a page asks for consent.
	AutoApprove string

	// TokenLifetime is the lifetime of access tokens. Zero means that access tokens last until they
	// are revoked. If TokenLifetime is not zero, each access token comes with a refresh token. At
	// GitHub, an access token that comes with a refresh token lasts 8 hours.
	TokenLifetime time.Duration

	// AppPermissions makes the registered app a GitHub App with these permissions, instead of an OAuth
	// app. Nil means an OAuth app. A GitHub App ignores the requested scopes, and its tokens begin with
	// ghu_ and have no scopes. Its permission "email_addresses" is needed to read e-mail addresses, and
	// "members" to read organizations and teams. By default, GitHub Apps have tokens that expire: set
	// TokenLifetime to 8 hours.
	AppPermissions []string

	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Server is a fake GitHub. It is an [http.Handler], and it is safe for concurrent use. [Start]
// returns a Server that listens. [New] returns a Server that does not listen.
type Server struct {
	clientID, clientSecret string
	redirects              []*url.URL
	tokenLifetime          time.Duration
	permissions            []string // of a GitHub App; nil if the app is an OAuth app
	now                    func() time.Time
	mux                    *http.ServeMux

	closing context.Context // done as soon as Close is called
	close   context.CancelFunc
	running sync.WaitGroup
	http    *http.Server // nil if the Server was created by New
	url     string

	mu          sync.Mutex // guards the fields below
	users       []User     // in the order in which they were added
	autoApprove int64      // ID of a user; 0 means that the page asks
	grants      grants
	faults      map[Endpoint]*injected
	log         callLog
	rateHour    time.Time // the hour whose calls rateCount counts
	rateCount   int
}

// New returns a fake GitHub that does not listen. It returns an error if cfg is invalid. Call
// [Server.Close] at the end of a test, to end requests that an injected fault keeps waiting.
func New(cfg Config) (*Server, error) {
	s := &Server{
		clientID:      cfg.ClientID,
		clientSecret:  cfg.ClientSecret,
		tokenLifetime: cfg.TokenLifetime,
		permissions:   slices.Clone(cfg.AppPermissions),
		now:           cfg.Now,
		grants:        newGrants(),
		faults:        make(map[Endpoint]*injected),
		log:           newCallLog(),
	}
	if s.clientID == "" {
		s.clientID = "githubtest-client"
	}
	if s.clientSecret == "" {
		s.clientSecret = randomHex(20)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if cfg.TokenLifetime < 0 || cfg.TokenLifetime%time.Second != 0 {
		return nil,
			errors.New("githubtest: Config.TokenLifetime must be whole seconds, and not negative")
	}
	for _, registered := range cfg.RedirectURLs {
		redirect, err := parseRedirect(registered)
		if err != nil {
			return nil, fmt.Errorf("githubtest: Config.RedirectURLs: %w", err)
		}
		s.redirects = append(s.redirects, redirect)
	}
	users := cfg.Users
	if users == nil {
		users = defaultUsers()
	}
	for _, user := range users {
		if err := s.SetUser(user); err != nil {
			return nil, err
		}
	}
	if err := s.SignInAs(cfg.AutoApprove); err != nil {
		return nil, err
	}
	s.mux = s.routes()
	s.closing, s.close = context.WithCancel(context.Background())
	return s, nil
}

// Start returns a fake GitHub that listens on a loopback address, such as "127.0.0.1:9999". An
// empty address means any free port of 127.0.0.1.
func Start(addr string, cfg Config) (*Server, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	resolved, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("githubtest: %w", err)
	}
	if !resolved.IP.IsLoopback() { // also refuses ":8080", which means every address
		return nil,
			fmt.Errorf("githubtest: %q is not a loopback address; the fake must not be reachable from "+
				"elsewhere, because it signs anyone in as any user", addr)
	}
	s, err := New(cfg)
	if err != nil {
		return nil, err
	}
	listener, err := net.ListenTCP("tcp", resolved)
	if err != nil {
		return nil, fmt.Errorf("githubtest: %w", err)
	}
	s.url = "http://" + listener.Addr().String()
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	s.running.Go(func() { _ = s.http.Serve(listener) }) // returns when Close closes the listener
	return s, nil
}

// URL returns the base URL of a server that [Start] returned. An example is
// "http://127.0.0.1:4711". The base URL of the REST API has the additional path "/api/v3", as on
// GitHub Enterprise Server.
func (s *Server) URL() string { return s.url }

// Client returns the credentials of the registered app.
func (s *Server) Client() (id, secret string) { return s.clientID, s.clientSecret }

// Close ends all running requests and waits until they have ended. A request that arrives later is
// aborted without a response.
func (s *Server) Close() error {
	s.mu.Lock() // begin must not call running.Add during running.Wait
	s.close()
	s.mu.Unlock()
	var err error
	if s.http != nil {
		err = s.http.Close()
	}
	s.running.Wait()
	return err
}

// begin reports whether a request can begin. If the result is true, the caller must call
// running.Done at the end of the request.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Err() != nil {
		return false
	}
	s.running.Add(1)
	return true
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.begin() {
		panic(http.ErrAbortHandler)
	}
	defer s.running.Done()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	connection := http.NewResponseController(w)
	defer context.AfterFunc(s.closing, func() {
		cancel()
		interrupt(connection)
	})()

	if !isLoopback(hostname(r.Host)) {
		http.Error(w, "The fake GitHub serves loopback only.", http.StatusMisdirectedRequest)
		return
	}
	// Read the whole body first, because net/http notices a disconnect of the client only after the
	// body was read. The disconnect then cancels the context of the request. So the handler of a
	// fault such as TimeOut returns.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "The body cannot be read.", http.StatusBadRequest)
		return
	}
	r = r.WithContext(ctx)
	r.Body = io.NopCloser(bytes.NewReader(body))

	handler, w := s.prepare(w, r, s.endpoint(r))
	handler.ServeHTTP(w, r)
}

// interrupt makes pending reads and writes of the connection fail at once.
func interrupt(connection *http.ResponseController) {
	past := time.Unix(1, 0)
	_ = connection.SetReadDeadline(past) // a test's recorder does not support deadlines
	_ = connection.SetWriteDeadline(past)
}

// prepare logs the request. It returns the handler that serves the request, and a writer that logs
// the status of the response. If a fault applies to the request, the fault provides the handler.
func (s *Server) prepare(
	w http.ResponseWriter, r *http.Request, endpoint Endpoint,
) (http.Handler, http.ResponseWriter) {
	s.mu.Lock()
	call := s.log.add(Call{Endpoint: endpoint, Method: r.Method, Path: r.URL.Path})
	fault := s.takeFault(endpoint)
	s.mu.Unlock()

	logged := &loggedWriter{ResponseWriter: w, status: func(status int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		call.Status = status
	}}
	if fault != nil {
		return fault(s.mux), logged
	}
	return s.mux, logged
}

// hostname returns the host without its port.
func hostname(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}

func isLoopback(host string) bool {
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}

// baseURL returns the URL at which the client reached the server.
func baseURL(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
