package wiretest

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// The IDs and logins of two accounts of the fake GitHub.
const (
	octocat, octocatLogin = 583231, "octocat"
	hubot, hubotLogin     = 480938, "hubot"
)

// The paths of the library's calls for GitHub.
const (
	startCall      = "/api/v1/auth/github/start"
	signInCall     = "/api/v1/auth/github/login-user"
	connectCall    = "/api/v1/auth/github/login"
	callbackCall   = "/api/v1/auth/github/callback"
	statusCall     = "/api/v1/auth/github/token"
	verifyCall     = "/api/v1/auth/github/token?verify=true"
	disconnectCall = "/api/v1/auth/github/logout"
	unlinkCall     = "/api/v1/auth/github/link"
)

// githubFixture is a service with GitHub on an https server, because the cookies need https.
// octocat agrees to every authorization at the fake GitHub.
type githubFixture struct {
	*fixture
	fake    *githubtest.Server
	server  *httptest.Server
	github  auth.GitHubConfig
	sealing []auth.SymmetricKey
}

// githubOptions configure the fake GitHub and the service.
type githubOptions struct {
	fake      githubtest.Config
	configure func(*githubFixture, *auth.Config)
}

func newGitHub(t testing.TB, options ...githubOptions) *githubFixture {
	t.Helper()
	g := &githubFixture{server: httptest.NewUnstartedServer(nil)}
	g.server.StartTLS()
	t.Cleanup(g.server.Close)
	g.fixture = newFixture(t, func(f *fixture, cfg *auth.Config) {
		g.fixture = f
		fakeConfig := githubtest.Config{}
		for _, o := range options {
			fakeConfig = o.fake
		}
		fakeConfig.AutoApprove, fakeConfig.Now = octocatLogin, f.clock.Now
		fake, err := githubtest.Start("", fakeConfig)
		require.NoError(t, err)
		g.fake = fake
		t.Cleanup(func() { fake.Close() })
		id, secret := fake.Client()
		cfg.SealingKeys = []auth.SymmetricKey{authtest.SymmetricKey(t, "seal-1")}
		cfg.GitHub = &auth.GitHubConfig{
			ClientID:     id,
			ClientSecret: auth.NewSecret(secret),
			CallbackURL:  g.server.URL + callbackCall,
			BaseURL:      fake.URL(),
			APIURL:       fake.URL() + "/api/v3",
			Host:         "githubtest.invalid",
			HTTPClient:   &http.Client{Transport: newTransport(t)},
		}
		for _, o := range options {
			if o.configure != nil {
				o.configure(g, cfg)
			}
		}
		g.github, g.sealing = *cfg.GitHub, cfg.SealingKeys
	})
	g.server.Config.Handler = documented(t, g.svc.Handler())
	return g
}

// browser is an HTTP client that keeps cookies and follows redirects.
type browser struct {
	t      testing.TB
	g      *githubFixture
	client *http.Client
}

func newTransport(t testing.TB) *http.Transport {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func (g *githubFixture) browser() *browser {
	jar, err := cookiejar.New(nil)
	require.NoError(g.t, err)
	return &browser{t: g.t, g: g, client: &http.Client{Jar: jar, Transport: newTransport(g.t)}}
}

// page is the response that a browser has received after all redirects.
type page struct {
	url    *url.URL
	status int
	header http.Header
	body   string
}

func (p page) json(t testing.TB) map[string]any {
	t.Helper()
	return response{body: p.body}.json(t)
}

// get requests a path of the service, or an absolute URL.
func (b *browser) get(target string, header ...string) page {
	b.t.Helper()
	return b.do(http.MethodGet, target, header...)
}

func (b *browser) do(method, target string, header ...string) page {
	b.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = b.g.server.URL + target
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, target, nil)
	require.NoError(b.t, err)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := b.client.Do(r)
	require.NoError(b.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(b.t, err)
	return page{response.Request.URL, response.StatusCode, response.Header, string(body)}
}

// stay makes the browser not follow redirects.
func (b *browser) stay() *browser {
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return b
}

// authURL begins a flow and returns the GitHub URL to which the browser must go.
func (b *browser) authURL(path string, header ...string) string {
	b.t.Helper()
	p := b.get(path, header...)
	require.Equal(b.t, http.StatusOK, p.status, p.body)
	return p.json(b.t)["auth_url"].(string)
}

// connectURL begins a flow that connects a GitHub account to the user of the bearer token.
// connectURL returns the GitHub URL to which the browser must go.
func (b *browser) connectURL(token string) string {
	b.t.Helper()
	return b.authURL(connectCall, "Authorization", "Bearer "+token)
}

// callbackURL requests the URL at GitHub, and returns the callback URL to which GitHub redirects.
// It does not request the callback URL.
func (b *browser) callbackURL(authURL string) string {
	b.t.Helper()
	follow := b.client.CheckRedirect
	b.stay()
	defer func() { b.client.CheckRedirect = follow }()
	p := b.get(authURL)
	require.Equal(b.t, http.StatusFound, p.status, p.body)
	return p.header.Get("Location")
}

// signIn signs in with GitHub and returns the JSON object of the response.
func (b *browser) signIn() map[string]any {
	b.t.Helper()
	p := b.get(b.authURL(signInCall))
	require.Equal(b.t, http.StatusOK, p.status, p.body)
	return p.json(b.t)
}

// connect connects the GitHub account to the user of the bearer token.
func (b *browser) connect(token string) page {
	b.t.Helper()
	return b.get(b.connectURL(token))
}

func (g *githubFixture) status(token string) response {
	return g.sendAs(token, http.MethodGet, statusCall, "")
}

// link returns the stored link of the GitHub account with this ID.
func (g *githubFixture) link(id int64) (auth.GitHubLink, error) {
	return g.accounts.FindGitHubLink(g.t.Context(), auth.GitHubAccount{Host: "githubtest.invalid", ID: id})
}

func queryOf(t testing.TB, raw string) url.Values {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	return u.Query()
}
