package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/sqlstore"
	_ "modernc.org/sqlite"
)

func TestCookiesOfPlainHTTPOnLoopbackHaveNoPrefix(t *testing.T) {
	t.Parallel()
	server, _, _ := newGitHubService(t, func(cfg *auth.Config) {
		cfg.BrowserSessions = &auth.BrowserSessions{LandingPath: "/reports"}
	})
	jar := &recordingJar{}
	browser := &http.Client{Jar: jar}
	answer, err := browser.Get(server.URL + "/api/v1/auth/github/start")
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusOK, answer.StatusCode, "the cookie is that of octocat")
	require.Equal(t, "/reports", answer.Request.URL.Path)
	require.NotEmpty(t, jar.cookies)
	for _, cookie := range jar.cookies {
		require.False(t, cookie.Secure, cookie.Name)
		require.False(t, strings.HasPrefix(cookie.Name, "__Host-"), cookie.Name)
		require.True(t, cookie.HttpOnly, cookie.Name)
	}
}

// recordingJar sends back every cookie, and records them.
type recordingJar struct{ cookies []*http.Cookie }

func (j *recordingJar) SetCookies(_ *url.URL, set []*http.Cookie) {
	j.cookies = append(j.cookies, set...)
}

func (j *recordingJar) Cookies(*url.URL) []*http.Cookie { return j.cookies }

func TestAnOriginWithAnotherSpellingIsLeftForThatOfTheCallback(t *testing.T) {
	t.Parallel()
	server, _, _ := newGitHubService(t, nil)
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	path := "/api/v1/auth/github/start?return_to=%2Freports"
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
	require.NoError(t, err)
	request.Host = strings.Replace(server.Listener.Addr().String(), "127.0.0.1", "localhost", 1)
	answer, err := browser.Do(request)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusTemporaryRedirect, answer.StatusCode)
	require.True(t, strings.HasPrefix(answer.Header.Get("Location"), server.URL+"/"))
}

func TestThePagesOfADevelopmentServerHaveItsOrigin(t *testing.T) {
	t.Parallel()
	pages := httptest.NewUnstartedServer(nil)
	t.Cleanup(pages.Close)
	origin := "http://" + pages.Listener.Addr().String()
	server, _, _ := newGitHubService(t, func(cfg *auth.Config) {
		cfg.BrowserSessions = &auth.BrowserSessions{LandingPath: "/reports"}
		cfg.PublicURL, cfg.GitHub.CallbackURL = origin, origin+"/api/v1/auth/github/callback"
	})
	service, err := url.Parse(server.URL)
	require.NoError(t, err)
	pages.Config.Handler = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(service)
		r.Out.Host = r.In.Host
	}}
	pages.Start()
	browser := &http.Client{Jar: &recordingJar{}}
	answer, err := browser.Get(pages.URL + "/api/v1/auth/github/start")
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, pages.URL+"/reports", answer.Request.URL.String())
	require.Equal(t, http.StatusOK, answer.StatusCode)

	for _, c := range []struct {
		page string
		want int
	}{{"http://127.0.0.1:1", http.StatusForbidden}, {origin, http.StatusOK}} {
		request, err := http.NewRequestWithContext(t.Context(), "POST", pages.URL+"/auth/logout", nil)
		require.NoError(t, err)
		request.Header.Set("Origin", c.page)
		answer, err := browser.Do(request)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, c.want, answer.StatusCode, "a page of %s", c.page)
	}
}

func TestSeedMakesTheSameSuperUserInEachDatabase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keyFile := filepath.Join(dir, "admin.key")
	cfg := newConfig(t)
	seedIn := func(database string) (printed string) {
		db, err := sqlstore.OpenFile("sqlite", filepath.Join(dir, database))
		require.NoError(t, err)
		defer db.Close()
		store, err := sqlstore.Open(t.Context(), db, sqlstore.Config{Dialect: sqlstore.SQLite})
		require.NoError(t, err)
		svc, _, err := newAPI(store, cfg)
		require.NoError(t, err)
		var out bytes.Buffer
		require.NoError(t, seed(t.Context(), svc, keyFile, &out))
		return out.String()
	}
	require.Regexp(t, `^alice: access_key=ak_live_\S+ access_secret=as_live_\S+\nbob: .*\n$`, seedIn("first.db"))
	key, err := os.ReadFile(keyFile)
	require.NoError(t, err)
	require.Empty(t, seedIn("first.db"), "the second start adds nothing")
	require.NotEmpty(t, seedIn("second.db"))
	again, err := os.ReadFile(keyFile)
	require.NoError(t, err)
	require.Equal(t, key, again)
	info, err := os.Stat(keyFile)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestSeedRefusesAKeyFileOfAnotherDatabase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	svc, _, err := newAPI(memstore.New(), newConfig(t))
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, seed(t.Context(), svc, filepath.Join(dir, "first.key"), &out))
	err = seed(t.Context(), svc, filepath.Join(dir, "second.key"), &out)
	require.ErrorIs(t, err, auth.ErrBootstrapped)
	require.ErrorContains(t, err, "second.key")

	require.NoError(t, os.WriteFile(filepath.Join(dir, "third.key"), []byte("access_key=ak\n"), 0o600))
	err = seed(t.Context(), svc, filepath.Join(dir, "third.key"), &out)
	require.ErrorContains(t, err, "third.key")
}
