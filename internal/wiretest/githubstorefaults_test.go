package wiretest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// githubFlows contains the GitHub calls that use the store. Each function prepares a call and
// returns a function that sends it and returns the status.
var githubFlows = map[string]func(g *githubFixture) func() int{
	"first sign-in": func(g *githubFixture) func() int {
		b := g.browser()
		callback := b.callbackURL(b.authURL(signInCall))
		return func() int { return b.get(callback).status }
	},
	"later sign-in": func(g *githubFixture) func() int {
		g.browser().signIn()
		b := g.browser()
		callback := b.callbackURL(b.authURL(signInCall))
		return func() int { return b.get(callback).status }
	},
	"connect": func(g *githubFixture) func() int {
		b := g.browser()
		callback := b.callbackURL(b.connectURL(g.signIn(g.user)))
		return func() int { return b.get(callback).status }
	},
	"status":     connected(http.MethodGet, statusCall),
	"verify":     connected(http.MethodGet, verifyCall),
	"disconnect": connected(http.MethodPost, disconnectCall),
	"unlink":     connected(http.MethodDelete, unlinkCall),
}

// connected returns a flow in which a user with a connected GitHub account sends a request.
func connected(method, path string) func(g *githubFixture) func() int {
	return func(g *githubFixture) func() int {
		token := g.signIn(g.user)
		require.Equal(g.t, http.StatusOK, g.browser().connect(token).status)
		return func() int { return g.sendAs(token, method, path, "").status }
	}
}

// If any call of the store fails in any way, the response has status 503. The failed flow leaves no
// user, link or token behind.
func TestAStoreFailureDuringAGitHubFlowLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	for failure, fault := range map[string]error{
		"failing":   errors.New("disk full"),
		"timed out": fmt.Errorf("waiting: %w", context.DeadlineExceeded),
		"canceled":  fmt.Errorf("gone: %w", context.Canceled),
		"hanging":   authtest.ErrHang,
	} {
		for flow, prepare := range githubFlows {
			t.Run(failure+" in "+flow, func(t *testing.T) {
				t.Parallel()
				for failAt := 1; ; failAt++ {
					armed, unlinked, calls := false, false, 0
					g := newGitHub(t, githubOptions{configure: func(g *githubFixture, cfg *auth.Config) {
						if errors.Is(fault, authtest.ErrHang) {
							cfg.Timeout = 2 * time.Second
						}
						g.store = authtest.FaultyStore(g.store, func(method string) error {
							// A stored revocation takes effect even if the instance cannot read the
							// feed afterwards.
							if !armed || unlinked && method == "ListRevocations" ||
								method == "RememberClient" { // no sign-in depends on it
								return nil
							}
							unlinked = method == "UnlinkGitHub"
							calls++
							if calls == failAt {
								return fault
							}
							return nil
						})
					}})
					send := prepare(g)
					_, before := g.link(octocat)
					tokens := len(g.fake.Tokens(octocat))
					armed = true
					status := send()
					armed = false
					if calls < failAt {
						require.Contains(t, []int{http.StatusOK, http.StatusNoContent}, status,
							"nothing failed")
						require.Greater(t, failAt, 1, "the flow never called the store")
						return
					}
					require.Equal(t, http.StatusServiceUnavailable, status, "call %d", failAt)
					_, after := g.link(octocat)
					require.Equal(t, errors.Is(before, auth.ErrNotFound),
						errors.Is(after, auth.ErrNotFound), "call %d", failAt)
					require.LessOrEqual(t, len(g.fake.Tokens(octocat)), tokens,
						"no token is left that would never be revoked")
				}
			})
		}
	}
}

func TestAnUnboundStateIsValidOnlyForSignInWithAJSONAnswer(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.GitHub.InsecureUnboundState = true
	}})
	commandLine, b := g.browser(), g.browser()
	authURL := commandLine.authURL(signInCall)
	require.Empty(t, commandLine.client.Jar.Cookies(mustURL(t, g.server.URL)))
	callback := b.callbackURL(authURL)
	require.Equal(t, http.StatusOK, b.get(callback).status, "another program may complete the flow")
	require.Equal(t, http.StatusBadRequest, b.get(callback).status, "but only once")

	// A flow that connects an account is bound to its browser even with this option.
	victim := g.browser()
	connect := commandLine.connectURL(g.signIn(g.user))
	require.Equal(t, http.StatusBadRequest, victim.get(connect).status)
	require.Equal(t, http.StatusNotFound, g.status(g.signIn(g.user)).status)

	// Without the option, the service rejects such a state.
	strict := newGitHub(t)
	require.Equal(t, http.StatusBadRequest,
		strict.browser().get(callbackCall+"?"+mustURL(t, callback).RawQuery).status)
	_, err := strict.svc.GitHub().BeginUnboundSignIn()
	require.Error(t, err)
}

func TestInvalidGitHubConfigsAreRejected(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	for name, change := range map[string]func(*auth.GitHubConfig){
		"no client id":                     func(c *auth.GitHubConfig) { c.ClientID = "" },
		"no client secret":                 func(c *auth.GitHubConfig) { c.ClientSecret = auth.Secret{} },
		"no callback":                      func(c *auth.GitHubConfig) { c.CallbackURL = "" },
		"a callback without host":          func(c *auth.GitHubConfig) { c.CallbackURL = "/callback" },
		"a callback by plain http":         func(c *auth.GitHubConfig) { c.CallbackURL = "http://api.example.com/callback" },
		"a callback with a user name":      func(c *auth.GitHubConfig) { c.CallbackURL = "https://a@api.example.com/callback" },
		"GitHub by plain http":             func(c *auth.GitHubConfig) { c.BaseURL = "http://github.example.com" },
		"GitHub with a user name":          func(c *auth.GitHubConfig) { c.BaseURL = "https://user@github.example.com" },
		"GitHub with a query":              func(c *auth.GitHubConfig) { c.BaseURL = "https://github.example.com?x=1" },
		"an API by plain http":             func(c *auth.GitHubConfig) { c.APIURL = "http://github.example.com/api/v3" },
		"a negative timeout":               func(c *auth.GitHubConfig) { c.Timeout = -1 },
		"a ConnectedPage of another site":  func(c *auth.GitHubConfig) { c.ConnectedPage = "//evil.example" },
		"a host that cannot be stored":     func(c *auth.GitHubConfig) { c.Host = "a\x00" },
		"a base URL that is no URL":        func(c *auth.GitHubConfig) { c.BaseURL = "https://[" },
		"a base URL without a host":        func(c *auth.GitHubConfig) { c.BaseURL = "https:///x" },
		"a callback of another scheme":     func(c *auth.GitHubConfig) { c.CallbackURL = "ftp://127.0.0.1/callback" },
		"a callback with a fragment":       func(c *auth.GitHubConfig) { c.CallbackURL = "https://api.example.com/callback#x" },
		"a host that begins like loopback": func(c *auth.GitHubConfig) { c.CallbackURL = "http://127.0.0.1.example.com/callback" },
	} {
		cfg := g.github
		change(&cfg)
		_, err := auth.NewGitHubConnector(g.store, g.svc.Tokens(), g.sealing, cfg)
		require.ErrorContains(t, err, "auth: GitHubConfig.", name)
		require.NotContains(t, err.Error(), g.github.ClientSecret.Reveal(), name)
	}
	_, err := auth.NewGitHubConnector(g.store, g.svc.Tokens(), nil, g.github)
	require.ErrorContains(t, err, "SealingKeys")
	_, err = auth.NewGitHubConnector(nil, g.svc.Tokens(), g.sealing, g.github)
	require.Error(t, err)
}

func TestBaseURLSelectsAGitHubEnterpriseServer(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	for base, want := range map[string]string{
		"":                             "https://github.com/login/oauth/authorize",
		"https://github.example.com":   "https://github.example.com/login/oauth/authorize",
		"https://github.example.com/":  "https://github.example.com/login/oauth/authorize",
		"https://octo.ghe.com":         "https://octo.ghe.com/login/oauth/authorize",
		"https://example.com/internal": "https://example.com/internal/login/oauth/authorize",
	} {
		cfg := g.github
		cfg.BaseURL, cfg.APIURL, cfg.Host = base, "", ""
		connector, err := auth.NewGitHubConnector(g.store, g.svc.Tokens(), g.sealing, cfg)
		require.NoError(t, err)
		authURL, _, err := connector.BeginSignIn(httptest.NewRequest(http.MethodGet, "/", nil), "")
		require.NoError(t, err)
		u := mustURL(t, authURL)
		require.Equal(t, want, u.Scheme+"://"+u.Host+u.Path)
	}
}
