package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"syscall"
	"testing"

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
	p := launchWith(t, "the-id", "the-secret", "-db", inMemory)
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
	p := start(t, "-db", inMemory)
	require.NotEqual(t, p.url, p.fake)
	at := p.githubURL(t)
	require.Equal(t, p.fake, at.Scheme+"://"+at.Host)

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
		p := launchWith(t, app[0], app[1], "-db", inMemory)
		require.Error(t, p.cmd.Wait())
		require.Contains(t, p.stderr.String(), "set both GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET")
		require.NotContains(t, p.stderr.String(), "the-secret")
	}
}

func TestFakeGitHubIsRefusedOnOtherAddresses(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0"} {
		db := newDatabase(t)
		p := launch(t, "-addr", addr, "-db", db)
		require.Error(t, p.cmd.Wait(), addr)
		require.Contains(t, p.stderr.String(), "any visitor can sign in as any user", addr)
		require.NoFileExists(t, db)
	}

	p := launchWith(t, "the-id", "the-secret", "-addr", "0.0.0.0:0", "-db", inMemory)
	require.Contains(t, p.url, "http://localhost:", p.stderr)
	require.Equal(t, http.StatusOK, statusFor(t, p, "/api/v1/healthcheck", "quickstart.example"))
}

func TestFakeGitHubStopsWithTheService(t *testing.T) {
	t.Setenv("GITHUB_CLIENT_ID", "")
	t.Setenv("GITHUB_CLIENT_SECRET", "")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	stdout, printed := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-addr", "127.0.0.1:0", "-db", inMemory}, printed, io.Discard)
		printed.Close()
	}()
	urls := map[string]string{}
	for lines := bufio.NewScanner(stdout); urls["listening"] == "" && lines.Scan(); {
		name, url, _ := strings.Cut(lines.Text(), " on ")
		urls[name] = url
	}
	stop()
	require.NoError(t, <-ended)
	for _, name := range []string{"listening", "fake GitHub"} {
		_, err := http.Get(urls[name])
		require.ErrorIs(t, err, syscall.ECONNREFUSED, name)
	}
}

// With DNS rebinding, an attacker makes the host name of a web page resolve to 127.0.0.1. The page
// must get nothing from the service.
func TestOtherHostHeaderIsRefusedWithTheFakeGitHub(t *testing.T) {
	t.Parallel()
	p := start(t, "-db", inMemory)
	for _, host := range []string{"evil.example", "evil.example:80", "localhost.evil.example",
		"127.0.0.1.evil.example", "0.0.0.0", "192.0.2.1", "localhost:x"} {
		for _, path := range []string{"/", "/api/v1/healthcheck", "/api/v1/auth/github/start",
			"/nothing"} {
			require.Equal(t, http.StatusMisdirectedRequest, statusFor(t, p, path, host), host+path)
		}
	}
	for _, host := range []string{"localhost", "LOCALHOST:1", "127.0.0.1", "127.8.8.8:80", "[::1]",
		"[::1]:80"} {
		require.Equal(t, http.StatusOK, statusFor(t, p, "/api/v1/healthcheck", host), host)
	}
}

// statusFor requests a path with this Host header and returns the status.
func statusFor(t *testing.T, p *process, path, host string) int {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, p.url+path, nil)
	require.NoError(t, err)
	request.Host = host
	response, err := http.DefaultTransport.RoundTrip(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response.StatusCode
}

// A browser does not send a cookie of localhost to 127.0.0.1. So GitHub must redirect to the host
// name at which the user visited the page.
func TestBrowserReturnsToTheSameHostName(t *testing.T) {
	t.Parallel()
	for addr, other := range map[string]string{"127.0.0.1:0": "localhost", "localhost:0": "127.0.0.1"} {
		p := start(t, "-addr", addr, "-db", inMemory)
		own, err := url.Parse(p.url)
		require.NoError(t, err)
		require.Equal(t, strings.TrimSuffix(addr, ":0"), own.Hostname())
		require.Equal(t, p.url+"/api/v1/auth/github/callback",
			p.githubURL(t).Query().Get("redirect_uri"))

		response, err := http.Get("http://" + other + ":" + own.Port() + "/")
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode)
		require.Equal(t, p.url+"/", response.Request.URL.String())
	}
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

	db, err := openDatabase(path)
	require.NoError(t, err)
	defer db.Close()
	var host string
	require.NoError(t, db.QueryRow("SELECT DISTINCT host FROM auth_github_links").Scan(&host))
	require.Equal(t, "githubtest.invalid", host)
}
