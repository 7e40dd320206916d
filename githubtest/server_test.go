package githubtest_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/githubtest"
)

func TestOnlyLoopbackIsServed(t *testing.T) {
	for _, addr := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:0", "nonsense"} {
		_, err := githubtest.Start(addr, githubtest.Config{})
		require.Error(t, err, addr)
	}
	for _, addr := range []string{"", "127.0.0.1:0", "localhost:0", "127.1.2.3:0"} {
		fake, err := githubtest.Start(addr, githubtest.Config{})
		require.NoError(t, err, addr)
		require.True(t, strings.HasPrefix(fake.URL(), "http://"), fake.URL())
		require.NoError(t, fake.Close())
	}
}

func TestOtherHostsAreRefused(t *testing.T) {
	c := start(t)
	for host, status := range map[string]int{
		"127.0.0.1": 404, "127.0.0.1:1": 404, "localhost:80": 404, "LOCALHOST": 404, "[::1]:80": 404, "[::1]": 404, "127.8.8.8": 404,
		"evil.example": 421, "evil.example:80": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example": 421,
		"0.0.0.0": 421, "192.0.2.1": 421, "github.com": 421,
	} {
		r := c.request(http.MethodGet, "/", nil)
		r.Host = host
		require.Equal(t, status, c.do(r).status, host)
	}
}

func TestInvalidConfigIsRefused(t *testing.T) {
	user := githubtest.User{ID: 1, Login: "octocat"}
	for name, cfg := range map[string]githubtest.Config{
		"unknown user in AutoApprove": {AutoApprove: "nobody"},
		"a login twice":               {Users: []githubtest.User{user, {ID: 2, Login: "Octocat"}}},
		"no ID":                       {Users: []githubtest.User{{Login: "octocat"}}},
		"no login":                    {Users: []githubtest.User{{ID: 1}}},
		"a relative redirect":         {RedirectURLs: []string{"/callback"}},
		"a script redirect":           {RedirectURLs: []string{"javascript:alert(1)"}},
		"a fragment":                  {RedirectURLs: []string{"http://127.0.0.1/#x"}},
		"a negative lifetime":         {TokenLifetime: -time.Hour},
		"half a second":               {TokenLifetime: time.Second / 2},
	} {
		_, err := githubtest.New(cfg)
		require.Error(t, err, name)
		_, err = githubtest.Start("", cfg)
		require.Error(t, err, name)
	}
}

func TestDefaults(t *testing.T) {
	first, err := githubtest.New(githubtest.Config{})
	require.NoError(t, err)
	second, err := githubtest.New(githubtest.Config{})
	require.NoError(t, err)
	id, secret := first.Client()
	require.Equal(t, "githubtest-client", id)
	_, other := second.Client()
	require.NotEqual(t, secret, other)
	require.Len(t, secret, 40)

	third, err := githubtest.New(githubtest.Config{ClientID: "id", ClientSecret: "secret",
		Users: []githubtest.User{}})
	require.NoError(t, err)
	id, secret = third.Client()
	require.Equal(t, []string{"id", "secret"}, []string{id, secret})
	require.Empty(t, third.Users(), "an empty list is not the default")
}

func TestUsersAreCopies(t *testing.T) {
	fake, err := githubtest.New(githubtest.Config{})
	require.NoError(t, err)
	fake.Users()[0].Emails[0].Address = "evil@example.com"
	require.NotEqual(t, "evil@example.com", fake.Users()[0].Emails[0].Address)
}

func TestHandlerWorksWithoutAListener(t *testing.T) {
	fake, err := githubtest.New(githubtest.Config{AutoApprove: "octocat"})
	require.NoError(t, err)
	defer fake.Close()
	id, _ := fake.Client()
	w := httptest.NewRecorder()
	fake.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet,
		"http://localhost/login/oauth/authorize?client_id="+id+
			"&redirect_uri="+url.QueryEscape(callbackURL), nil))
	require.Equal(t, http.StatusFound, w.Code)
	require.Contains(t, w.Header().Get("Location"),
		"iss="+url.QueryEscape("http://localhost/login/oauth"))
	require.Empty(t, fake.URL())
}

func TestClosedServerAnswersNothing(t *testing.T) {
	fake, err := githubtest.New(githubtest.Config{})
	require.NoError(t, err)
	require.NoError(t, fake.Close())
	require.NoError(t, fake.Close(), "a second Close is not an error")
	require.Panics(t, func() {
		fake.ServeHTTP(httptest.NewRecorder(),
			httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/", nil))
	})
}

func TestLargeBodyIsRefused(t *testing.T) {
	c := start(t)
	r := c.request(http.MethodPost, "/login/oauth/access_token",
		url.Values{"code": {strings.Repeat("a", 2<<20)}})
	require.Equal(t, http.StatusBadRequest, c.do(r).status)
}

func TestCallsAreLoggedWithoutSecrets(t *testing.T) {
	c := start(t)
	token := c.signIn("")
	c.get("/user", token)
	c.get("/user/emails", token)
	c.application(http.MethodDelete, "token", token)
	id, _ := c.Client()
	require.Equal(t, []githubtest.Call{
		{Endpoint: githubtest.EndpointAuthorize, Method: "GET", Path: "/login/oauth/authorize",
			Status: 302},
		{Endpoint: githubtest.EndpointAccessToken, Method: "POST",
			Path: "/login/oauth/access_token", Status: 200},
		{Endpoint: githubtest.EndpointUser, Method: "GET", Path: "/api/v3/user", Status: 200},
		{Endpoint: githubtest.EndpointEmails, Method: "GET", Path: "/api/v3/user/emails", Status: 404},
		{Endpoint: githubtest.EndpointDeleteToken, Method: "DELETE",
			Path: "/api/v3/applications/" + id + "/token", Status: 204},
	}, c.Calls())
}

func TestCallLogDropsTheOldestButCountsAll(t *testing.T) {
	fake, err := githubtest.New(githubtest.Config{})
	require.NoError(t, err)
	const calls = 10_001
	for range calls {
		fake.ServeHTTP(httptest.NewRecorder(),
			httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/user", nil))
	}
	require.Len(t, fake.Calls(), calls-5_000)
	require.Equal(t, calls, fake.Count(githubtest.EndpointUser))
}

func TestConcurrentUse(t *testing.T) {
	c := start(t)
	code := c.authorize("scope", "repo").Get("code")
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			r := c.request(http.MethodPost, "/login/oauth/access_token", c.tokenForm("code", code))
			if response, err := c.http.Do(r); err == nil {
				response.Body.Close()
			}
			c.InjectN(githubtest.EndpointUser, i, githubtest.Status(500))
			c.Heal()
			_ = c.SetUser(githubtest.User{ID: int64(i + 1), Login: strings.Repeat("a", i+1)})
			_, _, _ = c.Users(), c.Calls(), c.Tokens(octocat)
		})
	}
	group.Wait()
	require.Len(t, c.Tokens(octocat), 1, "a code must yield only one token")
}

func TestImportsTheStandardLibraryOnly(t *testing.T) {
	output, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f",
		"{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	require.NoError(t, err)
	require.Equal(t, "github.com/sallyport-go/auth/githubtest", strings.TrimSpace(string(output)))
	output, err = exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	for dependency := range strings.FieldsSeq(string(output)) {
		require.NotContains(t, []string{"testing", "net/http/httptest", "flag"}, dependency)
	}
}
