package main

import (
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/sallyport-go/auth/sqlstore"
	"github.com/stretchr/testify/require"
)

// visitor returns an HTTP client that keeps cookies and follows redirects, as a browser does.
func visitor(t *testing.T) *http.Client {
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &http.Client{Jar: jar}
}

// githubURL returns the URL to which the sign-in link of the page leads.
func (p *process) githubURL(t *testing.T) *url.URL {
	t.Helper()
	client := visitor(t)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := client.Get(p.url + "/api/v1/auth/github/start?return_to=/")
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, http.StatusFound, response.StatusCode)
	location, err := response.Location()
	require.NoError(t, err)
	return location
}

func TestSignInGoesToTheOAuthAppOfTheEnvironment(t *testing.T) {
	t.Parallel()
	p := launchWith(t, "the-id", "the-secret", "-db", newDatabase(t))
	require.NotEmpty(t, p.url, p.stderr)
	require.Equal(t, []string{"access_key=" + p.key, "access_secret=" + p.secret,
		"listening on " + p.url}, p.stdout)
	at := p.githubURL(t)
	require.Equal(t, "github.com", at.Host)
	require.Equal(t, "the-id", at.Query().Get("client_id"))
	require.Equal(t, p.url+"/api/v1/auth/github/callback", at.Query().Get("redirect_uri"))
	require.NotContains(t, at.String(), "the-secret")
}

func TestSignInUsesTheFakeGitHubByDefault(t *testing.T) {
	t.Parallel()
	p := start(t, "-db", newDatabase(t))
	at := p.githubURL(t)
	require.NotEqual(t, p.addr(), at.Host)

	response, err := http.Get(at.String())
	require.NoError(t, err)
	page, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Contains(t, string(page), "Anybody can be anybody here")
}

func TestHalfConfiguredOAuthAppIsRefused(t *testing.T) {
	t.Parallel()
	for _, app := range [][2]string{{"the-id", ""}, {"", "the-secret"}} {
		p := launchWith(t, app[0], app[1], "-db", newDatabase(t))
		require.Error(t, p.cmd.Wait())
		require.Contains(t, p.stderr.String(), "set both GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET")
		require.NotContains(t, p.stderr.String(), "the-secret")
	}
}

// Any visitor can sign in as any user with the fake GitHub, and the service speaks plain HTTP.
func TestAddressesThatOtherMachinesReachAreRefused(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0"} {
		db := newDatabase(t)
		for _, id := range []string{"", "the-id"} {
			p := launchWith(t, id, id, "-addr", addr, "-db", db)
			require.Error(t, p.cmd.Wait(), addr)
			require.Contains(t, p.stderr.String(), "not a loopback address", addr)
			require.NoFileExists(t, db)
			require.NoFileExists(t, db+".keys")
		}
	}
}

// With DNS rebinding, an attacker makes the host name of a web page resolve to 127.0.0.1. The page
// must get nothing from the service: it gets a redirect to another origin, whose answer it cannot read.
func TestOtherHostNamesGetOnlyARedirect(t *testing.T) {
	t.Parallel()
	p := start(t, "-db", newDatabase(t))
	_, port, err := net.SplitHostPort(p.addr())
	require.NoError(t, err)
	for _, host := range []string{"evil.example", "evil.example:" + port, "127.0.0.1.evil.example:" + port,
		"127.0.0.1", "localhost:" + port, "0.0.0.0:" + port, "[::1]:" + port, "@", "127.0.0.1:" + port + ":1"} {
		for path, want := range map[string]string{
			"/": "/", "/readyz": "/readyz", "/auth/user?x=1": "/auth/user", "//evil.example/": "//evil.example/",
		} {
			response := request(t, p, path, host)
			if response.StatusCode == http.StatusBadRequest { // net/http refuses the header
				continue
			}
			require.Equal(t, http.StatusTemporaryRedirect, response.StatusCode, host+path)
			require.Equal(t, p.url+want, response.Header.Get("Location"), host)
		}
	}
	require.Equal(t, http.StatusOK, statusFor(t, p, "/readyz", p.addr()))
}

// statusFor requests a path with this Host header and returns the status.
func statusFor(t *testing.T, p *process, path, host string) int {
	t.Helper()
	return request(t, p, path, host).StatusCode
}

// request requests a path with this Host header, and follows no redirect.
func request(t *testing.T, p *process, path, host string) *http.Response {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, p.url+path, nil)
	require.NoError(t, err)
	request.Host = host
	response, err := http.DefaultTransport.RoundTrip(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response
}

// A browser does not send a cookie of localhost to 127.0.0.1. So a sign-in must begin at the host name to
// which GitHub redirects.
func TestABrowserAtAnotherNameOfThisMachineIsRedirected(t *testing.T) {
	t.Parallel()
	p := start(t, "-db", newDatabase(t))
	require.Equal(t, p.url+"/api/v1/auth/github/callback", p.githubURL(t).Query().Get("redirect_uri"))
	response, err := http.Get(strings.Replace(p.url, "127.0.0.1", "localhost", 1) + "/keys")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Equal(t, p.url+"/keys", response.Request.URL.String())
}

// The account ID 583231 also exists at the real GitHub. If the database is later used with a real
// OAuth app, that account must not get access to this user.
func TestFakeGitHubAccountIsNoAccountAtGitHub(t *testing.T) {
	t.Parallel()
	path := newDatabase(t)
	p := start(t, "-db", path)
	client := visitor(t)
	response, err := client.Get(p.url + "/api/v1/auth/github/start")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	response, err = client.PostForm(response.Request.URL.String(),
		url.Values{"user": {"583231"}, "decision": {"authorize"}})
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, p.url+"/", response.Request.URL.String(), "the browser must be back on the page")
	p.kill()

	db, err := sqlstore.OpenFile("sqlite", path)
	require.NoError(t, err)
	defer db.Close()
	var host string
	require.NoError(t, db.QueryRow("SELECT DISTINCT host FROM auth_github_links").Scan(&host))
	require.Equal(t, "githubtest.invalid", host)
}
