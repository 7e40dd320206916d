package githubapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/githubapi"
	"github.com/sallyport-go/auth/internal/limits"
	"github.com/sallyport-go/auth/internal/strictjson"
	"github.com/stretchr/testify/require"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	clientSecret = "the-client-secret"
	token        = "gho_token"
)

// github is a transport in place of GitHub. The function answers the requests.
type github func(r *http.Request) (*http.Response, error)

func (g github) RoundTrip(r *http.Request) (*http.Response, error) { return g(r) }

// answer returns a GitHub that gives the same answer to all requests. The headers alternate between
// names and values.
func answer(status int, body string, headers ...string) github {
	return func(r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			io.Copy(io.Discard, r.Body)
			r.Body.Close()
		}
		response := &http.Response{
			StatusCode: status, Status: http.StatusText(status), ProtoMajor: 1, ProtoMinor: 1, Request: r,
			Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
		}
		for i := 0; i < len(headers); i += 2 {
			response.Header.Set(headers[i], headers[i+1])
		}
		return response, nil
	}
}

func newApp() githubapi.App {
	return githubapi.App{
		ClientID:     "client/id",
		ClientSecret: func() string { return clientSecret },
		CallbackURL:  "https://api.example.com/callback",
		BaseURL:      "https://github.com",
		APIURL:       "https://api.github.com",
	}
}

func newClient(transport http.RoundTripper) *githubapi.Client {
	return githubapi.New(newApp(), transport, func() time.Time { return now })
}

// calls returns the calls of the client by name, each as a function that returns only the error.
func calls(ctx context.Context, c *githubapi.Client) map[string]func() error {
	return map[string]func() error{
		"Profile":       func() error { _, err := c.Profile(ctx, token); return err },
		"Email":         func() error { _, err := c.Email(ctx, token); return err },
		"Organizations": func() error { _, err := c.Organizations(ctx, token); return err },
		"Teams":         func() error { _, err := c.Teams(ctx, token); return err },
		"Revoke":        func() error { return c.Revoke(ctx, githubapi.Grant{AccessToken: token}) },
		"IsValid":       func() error { _, err := c.IsValid(ctx, token); return err },
		"Exchange":      func() error { _, err := c.Exchange(ctx, "code", "verifier"); return err },
		"Refresh":       func() error { _, err := c.Refresh(ctx, "ghr_token"); return err },
	}
}

func TestAPIURLFollowsFromTheBaseURL(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]string{
		"https://github.com":          "https://api.github.com",
		"https://GitHub.com/":         "https://api.github.com",
		"https://octo.ghe.com":        "https://api.octo.ghe.com",
		"https://Octo.GHE.com/":       "https://api.octo.ghe.com",
		"https://github.example.com":  "https://github.example.com/api/v3",
		"https://github.example.com/": "https://github.example.com/api/v3",
		"https://notgithub.com":       "https://notgithub.com/api/v3",
		"http://127.0.0.1:8080/base":  "http://127.0.0.1:8080/base/api/v3",
	} {
		u, err := url.Parse(base)
		require.NoError(t, err)
		require.Equal(t, want, githubapi.APIURL(u))
	}
}

func TestRequestsGoWhereTheTokenBelongs(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct{ request, authorization, accept, body string }{
		"Profile":       {"GET https://api.github.com/user", "Bearer gho_token", "application/json", ""},
		"Email":         {"GET https://api.github.com/user/emails?per_page=100", "Bearer gho_token", "application/json", ""},
		"Organizations": {"GET https://api.github.com/user/memberships/orgs?state=active&per_page=100&page=1", "Bearer gho_token", "application/json", ""},
		"Teams":         {"GET https://api.github.com/user/teams?per_page=100&page=1", "Bearer gho_token", "application/json", ""},
		"Revoke":        {"DELETE https://api.github.com/applications/client%2Fid/token", "app", "application/json", `{"access_token":"gho_token"}`},
		"IsValid":       {"POST https://api.github.com/applications/client%2Fid/token", "app", "application/json", `{"access_token":"gho_token"}`},
		"Exchange": {"POST https://github.com/login/oauth/access_token", "", "application/json",
			"client_id=client%2Fid&client_secret=the-client-secret&code=code&code_verifier=verifier&grant_type=authorization_code&redirect_uri=https%3A%2F%2Fapi.example.com%2Fcallback"},
		"Refresh": {"POST https://github.com/login/oauth/access_token", "", "application/json",
			"client_id=client%2Fid&client_secret=the-client-secret&grant_type=refresh_token&refresh_token=ghr_token"},
	} {
		var sent []*http.Request
		var body string
		c := newClient(github(func(r *http.Request) (*http.Response, error) {
			sent = append(sent, r)
			if r.Body != nil {
				text, err := io.ReadAll(r.Body)
				require.NoError(t, err)
				body = string(text)
			}
			return answer(http.StatusTeapot, "")(r)
		}))
		require.Error(t, calls(t.Context(), c)[name](), name)
		require.Len(t, sent, 1, "%s: a call is never tried twice", name)
		r := sent[0]
		require.Equal(t, want.request, r.Method+" "+r.URL.String(), name)
		require.Equal(t, want.accept, r.Header.Get("Accept"), name)
		require.Equal(t, "sallyport-auth", r.Header.Get("User-Agent"), name)
		require.Equal(t, want.body, body, name)
		if want.authorization == "app" {
			id, secret, ok := r.BasicAuth()
			require.True(t, ok, name)
			require.Equal(t, []string{"client/id", clientSecret}, []string{id, secret}, name)
			continue
		}
		require.Equal(t, want.authorization, r.Header.Get("Authorization"), name)
	}
}

func TestProfileIsReadStrictly(t *testing.T) {
	t.Parallel()
	octocat := githubapi.Profile{ID: 583231, Login: "octocat"}
	with := func(change func(*githubapi.Profile)) githubapi.Profile {
		p := octocat
		change(&p)
		return p
	}
	long := strings.Repeat("x", limits.GitHubText)
	for body, want := range map[string]githubapi.Profile{
		`{"id":583231,"login":"octocat"}`:                                       octocat,
		`{"id":583231,"login":"octocat","name":null,"avatar_url":null}`:         octocat,
		`{"id":583231,"login":"octocat","name":1,"avatar_url":["x"]}`:           octocat,
		`{"id":583231,"login":"octocat","type":"User","plan":{"id":1}}`:         octocat,
		`{"id":583231,"login":"octocat","name":"a\u202eb"}`:                     octocat,
		`{"id":583231,"login":"octocat","name":"` + long + `x"}`:                octocat,
		`{"id":583231,"login":"octocat","name":"` + long + `"}`:                 with(func(p *githubapi.Profile) { p.Name = long }),
		`{"id":583231,"login":"octocat","name":"The Octocat"}`:                  with(func(p *githubapi.Profile) { p.Name = "The Octocat" }),
		`{"id":583231,"login":"octocat","avatar_url":"https://a.example/x"}`:    with(func(p *githubapi.Profile) { p.AvatarURL = "https://a.example/x" }),
		`{"id":583231,"login":"octocat","avatar_url":"http://[::1]:8080/x"}`:    with(func(p *githubapi.Profile) { p.AvatarURL = "http://[::1]:8080/x" }),
		`{"id":583231,"login":"octocat","avatar_url":"http://a.example/x"}`:     octocat,
		`{"id":583231,"login":"octocat","avatar_url":"javascript:alert(1)"}`:    octocat,
		`{"id":583231,"login":"octocat","avatar_url":"https:a.example"}`:        octocat,
		`{"id":583231,"login":"octocat","avatar_url":"//a.example"}`:            octocat,
		`{"id":583231,"login":"octocat","avatar_url":"https://a/\u202e"}`:       octocat,
		`{"id":583231,"login":"octocat","avatar_url":"https://a/` + long + `"}`: octocat,
		`{"id":583231,"login":"octocat","avatar_url":"https://%zz"}`:            octocat,
		`{"id":9223372036854775807,"login":"octocat"}`:                          with(func(p *githubapi.Profile) { p.ID = 1<<63 - 1 }),
		`{"id":583231,"login":"` + long + `"}`:                                  with(func(p *githubapi.Profile) { p.Login = long }),
	} {
		got, err := newClient(answer(http.StatusOK, body)).Profile(t.Context(), token)
		require.NoError(t, err, body)
		require.Equal(t, want, got, body)
	}

	const unusable = "auth: GitHub's answer for /user has no usable id or login"
	for body, want := range map[string]string{
		`{}`:                                           unusable,
		`{"login":"octocat"}`:                          unusable,
		`{"id":null,"login":"octocat"}`:                unusable,
		`{"id":"583231","login":"octocat"}`:            unusable,
		`{"id":583231.0,"login":"octocat"}`:            unusable,
		`{"id":5.83231e5,"login":"octocat"}`:           unusable,
		`{"id":0,"login":"octocat"}`:                   unusable,
		`{"id":-1,"login":"octocat"}`:                  unusable,
		`{"id":9223372036854775808,"login":"octocat"}`: unusable,
		`{"id":583231}`:                                unusable,
		`{"id":583231,"login":null}`:                   unusable,
		`{"id":583231,"login":583231}`:                 unusable,
		`{"id":583231,"login":""}`:                     unusable,
		`{"id":583231,"login":"a\nb"}`:                 unusable,
		`{"id":583231,"login":"` + long + `x"}`:        unusable,
		`{"id":583231,"id":1,"login":"octocat"}`:       strictjson.ErrDuplicate.Error(),
		`{"ID":583231,"login":"octocat"}`:              strictjson.ErrVariant.Error(),
		"{\"id\":583231,\"login\":\"\xff\"}":           strictjson.ErrEncoding.Error(),
		`{"id":583231,"login":"octocat"} x`:            strictjson.ErrSyntax.Error(),
		`[]`:                                           strictjson.ErrSyntax.Error(),
		`<html>`:                                       strictjson.ErrSyntax.Error(),
		``:                                             strictjson.ErrSyntax.Error(),
	} {
		got, err := newClient(answer(http.StatusOK, body)).Profile(t.Context(), token)
		require.ErrorContains(t, err, want, body)
		require.Zero(t, got, body)
	}
}

func TestEmailIsThePrimaryVerifiedAddress(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", limits.Email) + "@example.com"
	for body, want := range map[string]string{
		`[{"email":"a@example.com","primary":true,"verified":true,"visibility":null}]`:                                          "a@example.com",
		`[{"email":"a@example.com","primary":false,"verified":true},{"email":"b@example.com","primary":true,"verified":true}]`:  "b@example.com",
		`[{"email":"a@example.com","primary":true,"verified":false},{"email":"b@example.com","primary":false,"verified":true}]`: "",
		`[{"email":"a@example.com","verified":true}]`:                                                                           "",
		`[{"email":"a@example.com","primary":true}]`:                                                                            "",
		`[{"email":"a@example.com","primary":"true","verified":true}]`:                                                          "",
		`[{"email":"a@example.com","primary":true,"verified":1}]`:                                                               "",
		`[{"email":"A <a@example.com>","primary":true,"verified":true}]`:                                                        "",
		`[{"email":"a","primary":true,"verified":true}]`:                                                                        "",
		`[{"email":"","primary":true,"verified":true}]`:                                                                         "",
		`[{"email":null,"primary":true,"verified":true}]`:                                                                       "",
		`[{"email":["a@example.com"],"primary":true,"verified":true}]`:                                                          "",
		`[{"email":"a\u202eb@example.com","primary":true,"verified":true}]`:                                                     "",
		`[{"email":"` + long + `","primary":true,"verified":true}]`:                                                             "",
		`[{}]`: "",
		`[]`:   "",
	} {
		got, err := newClient(answer(http.StatusOK, body)).Email(t.Context(), token)
		require.NoError(t, err, body)
		require.Equal(t, want, got, body)
	}
}

func TestListsAreReadStrictly(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{}`:     "auth: GitHub's answer is not a list",
		`null`:   "auth: GitHub's answer is not a list",
		`"x"`:    "auth: GitHub's answer is not a list",
		`[{}`:    "auth: GitHub's answer is not a list",
		`[] []`:  "auth: GitHub's answer is not a list",
		``:       "auth: GitHub's answer is not a list",
		`[null]`: "auth: GitHub's list: strictjson: not one JSON object",
		`[{},1]`: "auth: GitHub's list: strictjson: not one JSON object",
		`[{"id":1,"id":2,"email":"a","email":"b","state":"a","state":"b"}]`: "auth: GitHub's list: strictjson: a name is given twice",
		`[{"ID":1,"Email":"a","State":"a"}]`:                                "auth: GitHub's list: strictjson: a known name in other letters",
		"[{\"x\":\"\xff\"}]":                                                "auth: GitHub's list: strictjson: not valid UTF-8",
	} {
		c := newClient(answer(http.StatusOK, body))
		for _, name := range []string{"Email", "Organizations", "Teams"} {
			require.ErrorContains(t, calls(t.Context(), c)[name](), want, "%s: %s", name, body)
		}
	}
}

func TestOnlyActiveMembershipsWithAnIDCount(t *testing.T) {
	t.Parallel()
	got, err := newClient(answer(http.StatusOK, `[
		{"state":"active","organization":{"id":1,"login":"a"}},
		{"state":"pending","organization":{"id":2}},
		{"organization":{"id":3}},
		{"state":true,"organization":{"id":4}},
		{"state":"active"},
		{"state":"active","organization":null},
		{"state":"active","organization":5},
		{"state":"active","organization":[{"id":6}]},
		{"state":"active","organization":{"id":"7"}},
		{"state":"active","organization":{"id":8.0}},
		{"state":"active","organization":{"id":0}},
		{"state":"active","organization":{"id":-9}},
		{"state":"active","organization":{"ID":10}},
		{"state":"active","organization":{"id":11,"id":12}},
		{"id":13,"state":"active","organization":{}},
		{"state":"active","organization":{"id":14}}
	]`)).Organizations(t.Context(), token)
	require.NoError(t, err)
	require.Equal(t, []int64{1, 14}, got)

	got, err = newClient(answer(http.StatusOK,
		`[{"id":1},{"id":"2"},{"id":0},{"id":-3},{"id":4.5},{"id":null},{},{"organization":{"id":5}},{"id":6}]`)).Teams(t.Context(), token)
	require.NoError(t, err)
	require.Equal(t, []int64{1, 6}, got)
}

// pagesOf returns a GitHub that lists teams. sizes[i] is the number of teams on page i+1, and there
// are no other pages. The Link header leads to another host. Each request increments *asked.
func pagesOf(t *testing.T, asked *int, sizes ...int) github {
	return func(r *http.Request) (*http.Response, error) {
		require.Equal(t, "api.github.com", r.URL.Host)
		require.Less(t, *asked, len(sizes))
		require.Equal(t, fmt.Sprint(*asked+1), r.URL.Query().Get("page"))
		teams := []map[string]int{}
		for i := range sizes[*asked] {
			teams = append(teams, map[string]int{"id": 100**asked + i + 1})
		}
		*asked++
		body, err := json.Marshal(teams)
		require.NoError(t, err)
		return answer(http.StatusOK, string(body), "Link", `<https://evil.example/next>; rel="next"`)(r)
	}
}

func TestListsAreReadToTheirEnd(t *testing.T) {
	t.Parallel()
	for _, sizes := range [][]int{{0}, {99}, {100, 0}, {100, 100, 7}} {
		var asked int
		got, err := newClient(pagesOf(t, &asked, sizes...)).Teams(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, len(sizes), asked)
		total := 0
		for _, size := range sizes {
			total += size
		}
		require.Len(t, got, total)
	}
}

func TestAListWithoutEndIsAnError(t *testing.T) {
	t.Parallel()
	var sizes []int
	for range 50 {
		sizes = append(sizes, 100)
	}
	var asked int
	got, err := newClient(pagesOf(t, &asked, sizes...)).Teams(t.Context(), token)
	require.EqualError(t, err, "auth: GitHub's list has too many pages")
	require.Empty(t, got, "half a list could lack the organization that counts")
	require.Equal(t, 50, asked)
}

func TestAFailureOnALaterPageIsAnError(t *testing.T) {
	t.Parallel()
	var asked int
	first := pagesOf(t, &asked, 100)
	got, err := newClient(github(func(r *http.Request) (*http.Response, error) {
		if asked == 1 {
			return answer(http.StatusBadGateway, "")(r)
		}
		return first(r)
	})).Teams(t.Context(), token)
	require.EqualError(t, err, "auth: GitHub answered with status 502 to GET /user/teams")
	require.Empty(t, got)
}
