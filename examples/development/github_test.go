package main

import (
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/memstore"
)

// newGitHubService starts the service with a fake GitHub, which signs in as octocat without a page. The
// function change may change the configuration. It may be nil.
func newGitHubService(
	t *testing.T, change func(cfg *auth.Config),
) (server *httptest.Server, api http.Handler, fake *githubtest.Server) {
	t.Helper()
	fake, err := githubtest.Start("", githubtest.Config{AutoApprove: "octocat"})
	require.NoError(t, err)
	t.Cleanup(func() { fake.Close() })
	server = httptest.NewUnstartedServer(nil)
	t.Cleanup(server.Close)
	origin := "http://" + server.Listener.Addr().String()

	cfg := newConfig(t)
	sealing, err := auth.NewSymmetricKey("", []byte(rand.Text()+rand.Text()))
	require.NoError(t, err)
	cfg.SealingKeys = []auth.SymmetricKey{sealing}
	cfg = local(cfg, origin, fake)
	if change != nil {
		change(&cfg)
	}
	_, api, err = newAPI(memstore.New(), cfg)
	require.NoError(t, err)
	server.Config.Handler = api
	server.Start()
	return server, api, fake
}

// signInWithGitHub goes through the sign-in as a browser does, and returns the last answer.
func signInWithGitHub(t *testing.T, server *httptest.Server) (status int, body string) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	browser := &http.Client{Jar: jar} // follows the redirects to GitHub and back
	answer, err := browser.Get(server.URL + "/api/v1/auth/github/start")
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(text)
}

func TestAUserSignsInWithGitHub(t *testing.T) {
	t.Parallel()
	server, api, _ := newGitHubService(t, nil)
	status, body := signInWithGitHub(t, server)
	require.Equal(t, http.StatusOK, status, body)
	var answer struct{ Token string }
	require.NoError(t, json.Unmarshal([]byte(body), &answer))
	require.Equal(t, "the reports of octocat\n", send(api, "GET", "/reports", answer.Token).Body.String())
}

func TestAnAccountThatIsNotListedIsRefused(t *testing.T) {
	t.Parallel()
	server, _, _ := newGitHubService(t, func(cfg *auth.Config) { cfg.GitHub.AllowedUsers = []int64{480938} })
	status, body := signInWithGitHub(t, server)
	require.Equal(t, http.StatusForbidden, status)
	require.JSONEq(t, `{"detail": "This GitHub account is not allowed to sign in"}`, body)
}

func TestNobodySignsInWhileGitHubFails(t *testing.T) {
	t.Parallel()
	server, _, fake := newGitHubService(t, nil)
	fake.InjectN(githubtest.EndpointUser, 1, githubtest.Status(http.StatusBadGateway))
	status, _ := signInWithGitHub(t, server)
	require.Equal(t, http.StatusServiceUnavailable, status)
	status, _ = signInWithGitHub(t, server)
	require.Equal(t, http.StatusOK, status, "the next attempt succeeds")
}
