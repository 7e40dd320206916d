package docs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/memstore"
)

// The functions of this file and of startmessages_test.go make the library produce the messages that
// docs/troubleshooting.md quotes.

// lines is a log handler that keeps each line, and the reason of the event in it.
type lines struct {
	mu      sync.Mutex
	lines   []string // "WARN auth: …"
	reasons []string
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lines) WithGroup(string) slog.Handler            { return l }

func (l *lines) Handle(_ context.Context, record slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	event := false
	record.Attrs(func(attr slog.Attr) bool {
		if e, ok := attr.Value.Any().(auth.Event); ok {
			event = true
			if record.Level == slog.LevelWarn {
				l.reasons = append(l.reasons, e.Reason)
			}
		}
		return true
	})
	if !event {
		l.lines = append(l.lines, record.Level.String()+" "+record.Message)
	}
	return nil
}

// troubled is a service in which something goes wrong.
type troubled struct {
	svc    *auth.Service
	log    *lines
	server *httptest.Server
	fake   *githubtest.Server
}

func randomText() string { return rand.Text() + rand.Text() }

func must[T any](value T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// workingConfig returns a configuration without a mistake.
func workingConfig(t *testing.T) auth.Config {
	t.Helper()
	return auth.Config{
		Issuer:      "https://api.example.com",
		SigningKeys: []auth.SigningKey{must(auth.NewHS256Key("a", []byte(randomText())))(t)},
		SealingKeys: []auth.SymmetricKey{must(auth.NewSymmetricKey("a", []byte(randomText())))(t)},
		Tokens:      auth.TokenConfig{Scopes: []string{"reports:read", "reports:write"}},
		GitHub: &auth.GitHubConfig{
			ClientID: "Iv1.0123456789abcdef", ClientSecret: auth.NewSecret("of the app"),
			CallbackURL: "https://api.example.com/api/v1/auth/github/callback",
		},
		Proxies: auth.NoProxies(),
		Logger:  slog.New(slog.DiscardHandler),
	}
}

// newTroubled starts a service with a fake GitHub.
func newTroubled(t *testing.T, store auth.Store, change func(cfg *auth.Config)) *troubled {
	t.Helper()
	s := &troubled{log: &lines{}, server: httptest.NewUnstartedServer(nil)}
	t.Cleanup(s.server.Close)
	s.fake = must(githubtest.Start("", githubtest.Config{AutoApprove: "octocat"}))(t)
	t.Cleanup(func() { s.fake.Close() })
	origin := "http://" + s.server.Listener.Addr().String()
	cfg := workingConfig(t)
	cfg.Logger = slog.New(s.log)
	id, secret := s.fake.Client()
	cfg.GitHub = &auth.GitHubConfig{ClientID: id, ClientSecret: auth.NewSecret(secret), BaseURL: s.fake.URL(),
		APIURL: s.fake.URL() + "/api/v3", CallbackURL: origin + "/api/v1/auth/github/callback"}
	if change != nil {
		change(&cfg)
	}
	s.svc = must(auth.New(store, cfg))(t)
	mux := http.NewServeMux()
	mux.Handle("/", s.svc.Handler())
	mux.Handle("GET /reports", s.svc.RequireScope("reports:write", http.NotFoundHandler()))
	s.server.Config.Handler = mux
	s.server.Start()
	return s
}

// newUser makes a user, and returns the user, the first key and a token.
func (s *troubled) newUser(
	t *testing.T, params auth.UserParams, options auth.LoginOptions,
) (auth.Registration, string) {
	t.Helper()
	made := must(s.svc.Register(t.Context(), auth.ByHost("test"), params))(t)
	return made, must(s.svc.SignIn(t.Context(), made.User.ID, options))(t).Bearer.Reveal()
}

// send sends a request, and returns the status and the detail of the answer, such as "404 Not found".
func (s *troubled) send(t *testing.T, method, path, body string, header ...string) string {
	t.Helper()
	request := must(http.NewRequestWithContext(t.Context(), method, s.server.URL+path,
		strings.NewReader(body)))(t)
	request.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	request.RemoteAddr = "192.0.2.1:1234"
	s.server.Config.Handler.ServeHTTP(w, request)
	detail, ok := strings.CutPrefix(w.Body.String(), `{"detail":"`)
	if !ok {
		return fmt.Sprint(w.Code)
	}
	return fmt.Sprintf("%d %s", w.Code, strings.TrimSuffix(strings.TrimSpace(detail), `"}`))
}

// signInWithGitHub goes through a sign-in as a browser does, and returns the last URL.
func (s *troubled) signInWithGitHub(t *testing.T) string {
	t.Helper()
	browser := &http.Client{Jar: must(cookiejar.New(nil))(t)}
	answer := must(browser.Get(s.server.URL + "/api/v1/auth/github/start"))(t)
	answer.Body.Close()
	return answer.Request.URL.RequestURI()
}

// refusals returns the answers to refused requests.
func refusals(t *testing.T) []string {
	t.Helper()
	broken := &brokenStore{Store: memstore.New()}
	s := newTroubled(t, broken, nil)
	made, alice := s.newUser(t, auth.UserParams{Username: "alice"}, auth.LoginOptions{})
	_, limited := s.newUser(t, auth.UserParams{Username: "bob"},
		auth.LoginOptions{Scopes: auth.NewScopes("reports:read")})
	rotate, _ := s.newUser(t, auth.UserParams{Username: "carol", Key: auth.KeyOptions{MustRotate: true}},
		auth.LoginOptions{})
	mustRotate := must(s.svc.Login(t.Context(), rotate.Pair, auth.LoginOptions{}))(t).Bearer.Reveal()
	onlyRoot, root := s.newUser(t, auth.UserParams{Username: "root", IsSuperUser: true}, auth.LoginOptions{})
	const login, register = "/auth/users/login", "/auth/users/register"
	wrong := `{"access_key": "` + made.Pair.AccessKey + `", "access_secret": "wrong"}`
	messages := []string{
		s.send(t, "GET", "/auth/user", ""),
		s.send(t, "GET", "/auth/user", "", "Authorization", "Bearer "+alice+"x"),
		s.send(t, "POST", login, wrong),
		s.send(t, "POST", login, wrong, "Content-Type", "application/x-www-form-urlencoded"),
		s.send(t, "GET", "/auth/users", "", "Authorization", "Bearer "+alice),
		s.send(t, "GET", "/reports", "", "Authorization", "Bearer "+limited),
		s.send(t, "GET", "/reports", "", "Authorization", "Bearer "+mustRotate),
		s.send(t, "GET", "/api/v1/auth/github/callback?state=x&code=x", ""),
		s.send(t, "GET", "/api/v1/auth/github/login-user", "", "Sec-Fetch-Site", "cross-site"),
		s.send(t, "DELETE", "/auth/users/"+onlyRoot.User.ID, "", "Authorization", "Bearer "+root),
		s.send(t, "POST", register, `{"username": "alice"}`, "Authorization", "Bearer "+root),
		s.send(t, "GET", login, ""),
	}
	broken.err = errors.New("the database is away")
	messages = append(messages, s.send(t, "GET", "/auth/users", "", "Authorization", "Bearer "+root))
	broken.err = nil
	for range 21 {
		last := s.send(t, "POST", login, `{"access_key": "a", "access_secret": "b"}`)
		if strings.HasPrefix(last, "429") {
			messages = append(messages, last)
		}
	}
	strict := newTroubled(t, memstore.New(), func(cfg *auth.Config) {
		cfg.GitHub, cfg.ReauthAfter = nil, time.Nanosecond
	})
	_, token := strict.newUser(t, auth.UserParams{Username: "alice"}, auth.LoginOptions{})
	return append(messages,
		strict.send(t, "GET", "/api/v1/auth/github/start", ""),
		strict.send(t, "POST", "/auth/keys", "{}", "Authorization", "Bearer "+token))
}

// brokenStore is a store that fails while err is set.
type brokenStore struct {
	auth.Store
	err error
}

func (s *brokenStore) FindUser(ctx context.Context, id string) (auth.User, error) {
	if s.err != nil {
		return auth.User{}, s.err
	}
	return s.Store.FindUser(ctx, id)
}

func (s *brokenStore) PruneSessions(ctx context.Context, expired time.Time, limit int) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	return s.Store.PruneSessions(ctx, expired, limit)
}

// notices returns the URLs to which the callback sends a browser after a failed flow.
func notices(t *testing.T) []string {
	t.Helper()
	withSessions := func(allowed int64) *troubled {
		return newTroubled(t, memstore.New(), func(cfg *auth.Config) {
			cfg.BrowserSessions = &auth.BrowserSessions{LandingPath: "/page"}
			cfg.GitHub.AllowedUsers = []int64{allowed}
		})
	}
	s := withSessions(583231) // octocat
	s.fake.InjectN(githubtest.EndpointUser, 1, githubtest.Status(http.StatusBadGateway))
	messages := []string{s.signInWithGitHub(t), withSessions(1).signInWithGitHub(t)}

	ask := func(path string, cookies ...*http.Cookie) *http.Response {
		request := must(http.NewRequestWithContext(t.Context(), http.MethodGet, s.server.URL+path, nil))(t)
		for _, cookie := range cookies {
			request.AddCookie(cookie)
		}
		w := httptest.NewRecorder()
		s.server.Config.Handler.ServeHTTP(w, request)
		return w.Result()
	}
	started := ask("/api/v1/auth/github/start")
	state := must(started.Location())(t).Query().Get("state")
	const callback = "/api/v1/auth/github/callback"
	for _, query := range []string{"?error=access_denied&state=" + state, "?code=x&state=another"} {
		messages = append(messages, must(ask(callback+query, started.Cookies()...).Location())(t).String())
	}
	return messages
}

// reasons returns the reasons of rejected tokens and sign-ins, as the log has them.
func reasons(t *testing.T) []string {
	t.Helper()
	var found []string
	synctest.Test(t, func(t *testing.T) {
		store, log, cfg := memstore.New(), &lines{}, workingConfig(t)
		cfg.Logger, cfg.GitHub, cfg.SealingKeys = slog.New(log), nil, nil
		pepper := must(auth.NewSymmetricKey("p", []byte(randomText())))(t)
		cfg.Credentials.Peppers = []auth.SymmetricKey{pepper}
		svc := must(auth.New(store, cfg))(t)
		elsewhere := cfg
		elsewhere.Issuer = "https://other.example.com"
		other := must(auth.New(store, elsewhere))(t)
		elsewhere.Issuer, elsewhere.Credentials.Peppers = cfg.Issuer, nil
		elsewhere.SigningKeys = workingConfig(t).SigningKeys[:1]
		elsewhere.SigningKeys[0] = must(auth.NewHS256Key("b", []byte(randomText())))(t)
		another := must(auth.New(store, elsewhere))(t)

		made := must(svc.Register(t.Context(), auth.ByHost("test"), auth.UserParams{Username: "alice"}))(t)
		signIn := func(svc *auth.Service) string {
			return must(svc.SignIn(t.Context(), made.User.ID, auth.LoginOptions{}))(t).Bearer.Reveal()
		}
		token := signIn(svc)
		for _, verify := range []struct {
			svc   *auth.Service
			token string
		}{{other, token}, {another, token}, {svc, strings.Replace(token, ".", "..", 1)}} {
			if _, err := verify.svc.Tokens().Verify(t.Context(), verify.token); err == nil {
				t.Error("a token is accepted")
			}
		}
		for _, login := range []func() error{
			func() error { _, err := another.Login(t.Context(), made.Pair, auth.LoginOptions{}); return err },
			func() error {
				pair := svc.Credentials().GeneratePair()
				pair.AccessKey = made.Pair.AccessKey
				_, err := svc.Login(t.Context(), pair, auth.LoginOptions{})
				return err
			},
			func() error {
				_, err := svc.Login(t.Context(), svc.Credentials().GeneratePair(), auth.LoginOptions{})
				return err
			},
			func() error {
				cut := auth.NewSecret(made.Pair.AccessSecret.Reveal()[:40])
				pair := auth.KeyPair{AccessKey: made.Pair.AccessKey, AccessSecret: cut}
				_, err := svc.Login(t.Context(), pair, auth.LoginOptions{})
				return err
			},
		} {
			if login() == nil {
				t.Error("a sign-in is accepted")
			}
		}
		if _, err := svc.Tokens().RevokeUser(t.Context(), auth.ByHost("test"), made.User.ID); err != nil {
			t.Error(err)
		}
		svc.Tokens().Verify(t.Context(), token)
		token = signIn(svc)
		time.Sleep(13 * time.Hour)
		svc.Tokens().Verify(t.Context(), token)
		found = log.reasons
	})
	return found
}

// logLines returns lines of the log, with their levels.
func logLines(t *testing.T) []string {
	t.Helper()
	log := &lines{}
	must(auth.ReadKeyFile(keyFile(t, 0o644), slog.New(log)))(t)

	undecided := newTroubled(t, memstore.New(), func(cfg *auth.Config) { cfg.Proxies = auth.Proxies{} })
	undecided.send(t, "POST", "/auth/users/login", "{}", "X-Forwarded-For", "192.0.2.7")
	store := &brokenStore{Store: memstore.New()}
	s := newTroubled(t, store, func(cfg *auth.Config) {
		cfg.OnEvent = func(auth.Event) {}
		cfg.GitHub.AllowedOrganizations = []int64{1}
	})
	s.send(t, "POST", "/auth/users/login", "{}", "X-Forwarded-For", "192.0.2.7")
	s.fake.InjectN(githubtest.EndpointMemberships, 1, githubtest.Answer(http.StatusForbidden,
		"application/json", `{"message": "Sorry. Your account was suspended."}`))
	s.signInWithGitHub(t)
	elsewhere := httptest.NewRequest("GET", "http://www.example.com/api/v1/auth/github/login-user", nil)
	s.server.Config.Handler.ServeHTTP(httptest.NewRecorder(), elsewhere)
	s.send(t, "GET", "/api/v1/auth/github/callback?state="+strings.Repeat("x", 43)+"&code=x", "")
	for range 20000 {
		s.svc.Tokens().Verify(t.Context(), "no token")
	}
	logged := newTroubled(t, store, nil)
	for range 100 {
		logged.svc.Tokens().Verify(t.Context(), "no token")
	}
	synctest.Test(t, func(t *testing.T) {
		cfg := workingConfig(t)
		cfg.Logger = slog.New(log)
		store.err = errors.New("the database is away")
		svc := must(auth.New(store, cfg))(t)
		ctx, stop := context.WithCancel(t.Context())
		go svc.Run(ctx)
		synctest.Wait()
		stop()
	})
	var all []string
	for _, l := range []*lines{log, undecided.log, s.log, logged.log} {
		all = append(all, l.lines...)
	}
	return all
}
