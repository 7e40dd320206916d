package wiretest

import (
	"crypto/ecdsa"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// withGitHub returns a configuration with GitHub and browser sessions.
func withGitHub(t *testing.T, callback string) auth.Config {
	return auth.Config{
		Issuer:          issuer,
		SigningKeys:     []auth.SigningKey{authtest.NewSigners(t)["HS256"].Key},
		SealingKeys:     []auth.SymmetricKey{authtest.SymmetricKey(t, "s1")},
		BrowserSessions: &auth.BrowserSessions{},
		GitHub: &auth.GitHubConfig{
			ClientID: "id", ClientSecret: auth.NewSecret("secret"), CallbackURL: callback + callbackCall,
		},
	}
}

func TestPublicURLMustBeTheOriginOfTheCallbackURL(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		public, callback string
		want             string // part of the error; empty if there is none
	}{
		"empty":                      {"", "https://api.example.com", ""},
		"the origin of the callback": {"https://api.example.com", "https://api.example.com", ""},
		"a trailing slash":           {"https://api.example.com/", "https://api.example.com", ""},
		"upper case":                 {"https://API.Example.com", "https://api.example.com", ""},
		"the default port":           {"https://api.example.com:443", "https://api.example.com", ""},
		"the callback in upper case": {"https://api.example.com", "https://API.example.com:443", ""},
		"another port in both":       {"https://api.example.com:8443", "https://api.example.com:8443", ""},
		"loopback":                   {"http://127.0.0.1:8080", "http://127.0.0.1:8080", ""},
		"another host":               {"https://www.example.com", "https://api.example.com", "same origin"},
		"another port":               {"https://api.example.com:8443", "https://api.example.com", "same origin"},
		"another scheme":             {"http://localhost", "https://localhost", "same origin"},
		"plain http":                 {"http://api.example.com", "https://api.example.com", "PublicURL must be https"},
		"a path":                     {"https://api.example.com/app", "https://api.example.com", "PublicURL must be an origin"},
		"a query":                    {"https://api.example.com?x=1", "https://api.example.com", "PublicURL must be an origin"},
		"a bare question mark":       {"https://api.example.com?", "https://api.example.com", "PublicURL must be an origin"},
		"a fragment":                 {"https://api.example.com#x", "https://api.example.com", "PublicURL must be an origin"},
		"a user name":                {"https://me@api.example.com", "https://api.example.com", "PublicURL must be an origin"},
		"a host without scheme":      {"api.example.com", "https://api.example.com", "PublicURL must be an origin"},
		"no host":                    {"https://", "https://api.example.com", "PublicURL must be an origin"},
		"a port without host":        {"https://:443", "https://api.example.com", "PublicURL must be an origin"},
		"a scheme other than http":   {"ftp://api.example.com", "https://api.example.com", "PublicURL must be https"},
		"not a URL":                  {"https://api.example.com:port", "https://api.example.com", "PublicURL must be an origin"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := withGitHub(t, test.callback)
			cfg.PublicURL = test.public
			_, err := auth.New(memstore.New(), cfg)
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
		})
	}
}

// A browser writes the Origin header in lower case and without the default port. So the service
// must accept this header even if the configured URL is spelled differently.
func TestTheOriginOfAChangeByCookieIsComparedInCanonicalForm(t *testing.T) {
	t.Parallel()
	const callbackURL = "https://API.Example.com:443/api/v1/auth/github/callback"
	g := newGitHub(t, githubOptions{
		fake: githubtest.Config{RedirectURLs: []string{callbackURL}},
		configure: func(_ *githubFixture, cfg *auth.Config) {
			cfg.BrowserSessions, cfg.GitHub.CallbackURL = &auth.BrowserSessions{}, callbackURL
		},
	})
	b := g.browser().stay()
	callback := b.callbackURL(b.authURL(signInCall))
	query := queryOf(t, callback).Encode()
	answer := b.get(callbackCall + "?" + query)
	require.Equal(t, http.StatusSeeOther, answer.status, answer.body)
	require.Equal(t, "https://api.example.com/", answer.header.Get("Location"))

	r := httptest.NewRequest(http.MethodPost, "/auth/logout", nil)
	r.Header.Set("Origin", "https://api.example.com")
	for _, line := range answer.header.Values("Set-Cookie") {
		cookie, err := http.ParseSetCookie(line)
		require.NoError(t, err)
		r.AddCookie(cookie)
	}
	require.Equal(t, http.StatusOK, serve(g.svc.Handler(), r).status)
}

func TestConfigRejectsEventLogsOfTheComponents(t *testing.T) {
	t.Parallel()
	events := auth.NewEventLog(auth.EventLogConfig{})
	for name, change := range map[string]func(*auth.Config){
		"Tokens":      func(c *auth.Config) { c.Tokens.Events = events },
		"Credentials": func(c *auth.Config) { c.Credentials.Events = events },
		"GitHub":      func(c *auth.Config) { c.GitHub.Events = events },
	} {
		cfg := withGitHub(t, "https://api.example.com")
		change(&cfg)
		_, err := auth.New(memstore.New(), cfg)
		require.ErrorContains(t, err, "Events must be nil in a Config", name)
	}
	cfg := withGitHub(t, "https://api.example.com")
	_, err := auth.New(memstore.New(), cfg)
	require.NoError(t, err)
	require.Nil(t, cfg.GitHub.Events, "the host's GitHubConfig is not modified")
}

// NoPepper contains no secret. If it were accepted as a sealing key, anyone could make a valid
// cookie for a super user and decrypt every stored token.
func TestNoPepperIsNotASealingKey(t *testing.T) {
	t.Parallel()
	const noKey = "is NoPepper, which is no key: it belongs in CredentialConfig.Peppers only"
	want := map[string]string{
		"only":   "auth: Config.SealingKeys[0] " + noKey,
		"first":  "auth: Config.SealingKeys[0] " + noKey,
		"second": "auth: Config.SealingKeys[1] " + noKey,
		"empty":  "auth: Config.SealingKeys[1] is empty: make it with NewSymmetricKey",
	}
	for name, ring := range map[string][]auth.SymmetricKey{
		"only":   {auth.NoPepper()},
		"first":  {auth.NoPepper(), authtest.SymmetricKey(t, "s1")},
		"second": {authtest.SymmetricKey(t, "s1"), auth.NoPepper()},
		"empty":  {authtest.SymmetricKey(t, "s1"), {}},
	} {
		cfg := withGitHub(t, "https://api.example.com")
		cfg.SealingKeys = ring
		_, err := auth.New(memstore.New(), cfg)
		require.ErrorContains(t, err, want[name], name)
	}
}

func TestRingsThatCannotSealAreRefused(t *testing.T) {
	t.Parallel()
	for want, ring := range map[string][]auth.SymmetricKey{
		"auth: SealingKeys must have at least one key":                              nil,
		`auth: SealingKeys[1] has the id "s1" of an earlier key: give each its own`: {authtest.SymmetricKey(t, "s1"), authtest.SymmetricKey(t, "s1")},
	} {
		cfg := withGitHub(t, "https://api.example.com")
		cfg.SealingKeys = ring
		_, err := auth.New(memstore.New(), cfg)
		require.EqualError(t, err, want)
	}
}

func TestTrustProxiesNeedsAtLeastOneNetwork(t *testing.T) {
	t.Parallel()
	cfg := withGitHub(t, "https://api.example.com")
	cfg.Proxies = auth.TrustProxies()
	_, err := auth.New(memstore.New(), cfg)
	require.ErrorContains(t, err, "TrustProxies has no networks")
}

// ServeMux passes a HEAD request to the handler for GET. A host may have its own handler for the
// callback, so the library must check the method itself.
func TestHeadAndPrefetchRequestsDoNotCompleteAFlowOfTheHostsHandler(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	b := g.browser()
	target := b.callbackURL(b.authURL(signInCall))
	ask := func(method string, header ...string) error {
		r := httptest.NewRequest(method, target, nil)
		for _, cookie := range b.client.Jar.Cookies(mustURL(t, g.server.URL)) {
			r.AddCookie(cookie)
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return errorOf(g.svc.GitHub().Complete(r, auth.Identity{}))
	}
	require.ErrorIs(t, ask(http.MethodHead), auth.ErrGitHubState)
	require.ErrorIs(t, ask(http.MethodGet, "Sec-Purpose", "prefetch;prerender"), auth.ErrGitHubState)
	require.NoError(t, ask(http.MethodGet), "the state was not consumed")
	require.ErrorIs(t, ask(http.MethodGet), auth.ErrGitHubState)
}

// A browser ignores a cookie of more than 4096 bytes.
func TestSessionCookiesFitTheBrowsersLimit(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, githubOptions{configure: func(g *githubFixture, cfg *auth.Config) {
		cfg.BrowserSessions = &auth.BrowserSessions{}
		cfg.Issuer = "https://i/" + strings.Repeat("&", 246)
		g.signer = authtest.NewSigners(t)["ES256"]
		key, err := auth.NewES256Key(strings.Repeat("k", 64), g.signer.Secret.(*ecdsa.PrivateKey))
		require.NoError(t, err)
		g.signer.Key = key
	}})
	id := strings.Repeat(`"`, auth.MaxIDLength)
	register(t, g.store, g.clock, id, strings.Repeat(`"`, 128))
	token, err := g.svc.SignIn(t.Context(), id, auth.LoginOptions{})
	require.NoError(t, err)
	b := g.browser()
	b.connect(token.Bearer.Reveal())
	answer := g.browser().stay()
	callback := answer.callbackURL(answer.authURL(signInCall))
	page := answer.get(callback)
	require.Equal(t, http.StatusSeeOther, page.status)
	line := page.header.Get("Set-Cookie")
	for _, cookie := range page.header.Values("Set-Cookie") {
		if strings.HasPrefix(cookie, "__Host-auth_session=") {
			line = cookie
		}
	}
	require.Contains(t, line, "__Host-auth_session=")
	require.Greater(t, len(line), 2000)
	require.Less(t, len(line), 4000)
}
