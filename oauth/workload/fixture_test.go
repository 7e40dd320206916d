package workload_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/oauth"
	"github.com/sallyport-go/auth/oauth/workload"
	"github.com/sallyport-go/auth/oauth/workload/workloadtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	grant   = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	reports = "https://reports.example.com"

	owner, repository = 65, 74
)

// fixture is a service on which the jobs of a repository sign in as the service user deployer.
type fixture struct {
	t        testing.TB
	clock    *authtest.Clock
	issuer   *workloadtest.Issuer
	store    auth.Store
	svc      *auth.Service
	deployer auth.User
	workload workload.Workload
	verifier *workload.Verifier
	url      string

	mu     sync.Mutex
	events []auth.Event
}

// newFixture returns a fixture. The function changes the workload and the configuration before they are used.
func newFixture(t testing.TB, change ...func(*fixture, *workload.Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, clock: authtest.NewClock()}
	f.issuer = f.startIssuer()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	f.url = server.URL
	f.store = memstore.New()
	f.svc = f.newService(f.store)
	f.deployer = f.register("deployer", true)
	f.workload = workload.GitHubActions(owner, repository,
		workload.GitHubActionsOptions{Issuer: f.issuer.URL()})
	f.workload.UserID, f.workload.Scopes = f.deployer.ID, auth.NewScopes("reports:read", "reports:write")
	cfg := workload.Config{Issuers: []workload.Issuer{f.issuer.Settings()}, Now: f.clock.Now,
		Logger: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(f, &cfg)
	}
	if cfg.Workloads == nil {
		cfg.Workloads = []workload.Workload{f.workload}
	}
	f.verifier = f.newVerifier(f.svc, cfg)
	f.mount(mux, f.svc, f.verifier)
	return f
}

func (f *fixture) startIssuer() *workloadtest.Issuer {
	issuer := workloadtest.Start(f.clock.Now)
	f.t.Cleanup(issuer.Close)
	return issuer
}

// newService returns an instance over the store. The functions change its configuration.
func (f *fixture) newService(store auth.Store, change ...func(*auth.Config)) *auth.Service {
	f.t.Helper()
	key, err := auth.NewEdDSAKey("", ed25519.NewKeyFromSeed([]byte(strings.Repeat("workload", 4))))
	require.NoError(f.t, err)
	cfg := auth.Config{Issuer: f.url, SigningKeys: []auth.SigningKey{key},
		Proxies: auth.NoProxies(), Now: f.clock.Now, Logger: slog.New(slog.DiscardHandler),
		Tokens: auth.TokenConfig{Scopes: []string{"reports:read", "reports:write"},
			Audiences: []string{reports}},
		OnEvent: func(e auth.Event) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.events = append(f.events, e)
		}}
	for _, c := range change {
		c(&cfg)
	}
	svc, err := auth.New(store, cfg)
	require.NoError(f.t, err)
	return svc
}

func (f *fixture) newVerifier(svc *auth.Service, cfg workload.Config) *workload.Verifier {
	f.t.Helper()
	verifier, err := workload.New(svc, cfg)
	require.NoError(f.t, err)
	return verifier
}

func (f *fixture) mount(mux *http.ServeMux, svc *auth.Service, verifier oauth.AssertionVerifier) {
	f.t.Helper()
	server, err := oauth.New(svc, oauth.Config{Workloads: verifier})
	require.NoError(f.t, err)
	server.Mount(mux)
}

func (f *fixture) register(name string, isService bool) auth.User {
	f.t.Helper()
	made, err := f.svc.Register(f.t.Context(), auth.ByHost("test"),
		auth.UserParams{Username: name, IsService: isService})
	require.NoError(f.t, err)
	return made.User
}

// claims returns the claims of a job of the repository, with changes. Each change is a name and a value.
func (f *fixture) claims(changes ...any) map[string]any {
	claims := workloadtest.GitHubActions(owner, repository, f.url)
	for i := 0; i < len(changes); i += 2 {
		claims[changes[i].(string)] = changes[i+1]
	}
	return claims
}

// sign returns an assertion with these claims.
func (f *fixture) sign(changes ...any) string { return f.issuer.Sign(f.claims(changes...)) }

// verify verifies an assertion.
func (f *fixture) verify(assertion string) (auth.WorkloadSignIn, error) {
	return f.verifier.VerifyAssertion(f.t.Context(), assertion)
}

// requireRejected fails the test unless the assertion is rejected with a reason that contains the text.
func (f *fixture) requireRejected(reason, assertion string) {
	f.t.Helper()
	_, err := f.verify(assertion)
	require.ErrorIs(f.t, err, auth.ErrAssertionRejected)
	require.ErrorContains(f.t, err, reason)
}

// requireUnavailable fails the test unless the assertion cannot be verified now.
func (f *fixture) requireUnavailable(reason, assertion string) {
	f.t.Helper()
	_, err := f.verify(assertion)
	require.ErrorContains(f.t, err, reason)
	require.NotErrorIs(f.t, err, auth.ErrAssertionRejected)
	status, _ := auth.ErrorStatus(err)
	require.Equal(f.t, http.StatusServiceUnavailable, status)
}

// answer is an answer of the token endpoint.
type answer struct {
	status int
	body   map[string]any
}

// post sends an assertion with further parameters, each a name and a value.
func (f *fixture) post(assertion string, parameters ...string) answer {
	f.t.Helper()
	form := url.Values{"grant_type": {grant}, "assertion": {assertion}}
	for i := 0; i < len(parameters); i += 2 {
		form.Add(parameters[i], parameters[i+1])
	}
	return postTo(f.t, f.url, form)
}

func postTo(t testing.TB, base string, form url.Values) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/auth/token",
		strings.NewReader(form.Encode()))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	a := answer{status: response.StatusCode}
	require.NoError(t, json.Unmarshal(text, &a.body), string(text))
	return a
}

// requireError fails the test unless the answer is this error.
func (f *fixture) requireError(status int, code string, a answer) {
	f.t.Helper()
	require.Equal(f.t, status, a.status, a.body)
	require.Equal(f.t, code, a.body["error"])
}

func decode(part string) ([]byte, error) { return base64.RawURLEncoding.DecodeString(part) }
