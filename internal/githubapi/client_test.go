package githubapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
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

// github is a transport that answers every request as the function does.
type github func(r *http.Request) (*http.Response, error)

func (g github) RoundTrip(r *http.Request) (*http.Response, error) { return g(r) }

// answer returns a GitHub with one answer for everything. Headers are pairs of name and value.
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

// calls are the calls of a client, each as a function that returns its error alone.
func calls(ctx context.Context, c *githubapi.Client) map[string]func() error {
	return map[string]func() error{
		"Profile":       func() error { _, err := c.Profile(ctx, token); return err },
		"Email":         func() error { _, err := c.Email(ctx, token); return err },
		"Organizations": func() error { _, err := c.Organizations(ctx, token); return err },
		"Teams":         func() error { _, err := c.Teams(ctx, token); return err },
		"Revoke":        func() error { return c.Revoke(ctx, token) },
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
		`{}`:     "auth: GitHub's list is not one",
		`null`:   "auth: GitHub's list is not one",
		`"x"`:    "auth: GitHub's list is not one",
		`[{}`:    "auth: GitHub's list is not one",
		`[] []`:  "auth: GitHub's list is not one",
		``:       "auth: GitHub's list is not one",
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

// pagesOf returns a GitHub that lists as many teams on each page as the sizes say, and no more pages
// than that. The Link header leads to another host.
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
	require.EqualError(t, err, "auth: GitHub's list does not end")
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
	require.EqualError(t, err, "auth: GitHub answered with status 502")
	require.Empty(t, got)
}

func TestStatusesMeanTheSameInEveryCall(t *testing.T) {
	t.Parallel()
	const noError = ""
	bad, unknown := githubapi.ErrBadToken.Error(), "auth: GitHub answered with status "
	for status, want := range map[int]struct{ account, email, app string }{
		http.StatusUnauthorized:        {bad, bad, unknown + "401"},
		http.StatusForbidden:           {unknown + "403", noError, unknown + "403"},
		http.StatusNotFound:            {unknown + "404", noError, noError},
		http.StatusUnprocessableEntity: {unknown + "422", unknown + "422", noError},
		http.StatusTooManyRequests:     {unknown + "429", unknown + "429", unknown + "429"},
		http.StatusInternalServerError: {unknown + "500", unknown + "500", unknown + "500"},
		http.StatusServiceUnavailable:  {unknown + "503", unknown + "503", unknown + "503"},
		http.StatusCreated:             {unknown + "201", unknown + "201", unknown + "201"},
		http.StatusPartialContent:      {unknown + "206", unknown + "206", unknown + "206"},
	} {
		c := newClient(answer(status, `{"message":"secret of GitHub's"}`))
		for name, call := range calls(t.Context(), c) {
			expected := want.account
			switch name {
			case "Email":
				expected = want.email
			case "Revoke", "IsValid":
				expected = want.app
			case "Exchange", "Refresh":
				continue
			}
			if err := call(); expected == noError {
				require.NoError(t, err, "%s: %d", name, status)
			} else {
				require.EqualError(t, err, expected, "%s: %d", name, status)
			}
		}
	}
}

func TestWhatGitHubSaysOfATokenIsYesNoOrAnError(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{http.StatusOK: true, http.StatusNotFound: false,
		http.StatusUnprocessableEntity: false} {
		valid, err := newClient(answer(status, `{}`)).IsValid(t.Context(), token)
		require.NoError(t, err, status)
		require.Equal(t, want, valid, status)
	}
	valid, err := newClient(answer(http.StatusNoContent, "")).IsValid(t.Context(), token)
	require.Error(t, err)
	require.False(t, valid)

	require.NoError(t, newClient(answer(http.StatusNoContent, "")).Revoke(t.Context(), token))
	require.Error(t, newClient(answer(http.StatusOK, "")).Revoke(t.Context(), token))
}

func TestRateLimitsAreReadWithinReason(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) string { return fmt.Sprint(now.Add(d).Unix()) }
	const remaining, reset, after = "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After"
	for name, test := range map[string]struct {
		status  int
		headers []string
		want    githubapi.StatusError
	}{
		"403 without a limit":    {403, nil, githubapi.StatusError{Status: 403}},
		"403 with requests left": {403, []string{remaining, "1", reset, at(time.Minute)}, githubapi.StatusError{Status: 403}},
		"429 alone":              {429, nil, githubapi.StatusError{Status: 429, Limited: true}},
		"Retry-After":            {403, []string{after, "30"}, githubapi.StatusError{Status: 403, Limited: true, RetryAfter: 30 * time.Second}},
		"Retry-After first":      {429, []string{after, "30", remaining, "0", reset, at(time.Minute)}, githubapi.StatusError{Status: 429, Limited: true, RetryAfter: 30 * time.Second}},
		"long Retry-After":       {503, []string{after, "3601"}, githubapi.StatusError{Status: 503, Limited: true, RetryAfter: time.Hour}},
		"longest Retry-After":    {503, []string{after, "9223372036854775807"}, githubapi.StatusError{Status: 503, Limited: true, RetryAfter: time.Hour}},
		"overlong Retry-After":   {503, []string{after, "9223372036854775808"}, githubapi.StatusError{Status: 503}},
		"zero Retry-After":       {503, []string{after, "0"}, githubapi.StatusError{Status: 503}},
		"negative Retry-After":   {503, []string{after, "-1"}, githubapi.StatusError{Status: 503}},
		"Retry-After as a date":  {503, []string{after, "Sun, 01 Mar 2026 12:01:00 GMT"}, githubapi.StatusError{Status: 503}},
		"reset":                  {403, []string{remaining, "0", reset, at(time.Minute)}, githubapi.StatusError{Status: 403, Limited: true, RetryAfter: time.Minute}},
		"no reset":               {403, []string{remaining, "0"}, githubapi.StatusError{Status: 403, Limited: true}},
		"reset in words":         {403, []string{remaining, "0", reset, "soon"}, githubapi.StatusError{Status: 403, Limited: true}},
		"reset in the past":      {403, []string{remaining, "0", reset, at(-time.Minute)}, githubapi.StatusError{Status: 403, Limited: true}},
		"reset far away":         {403, []string{remaining, "0", reset, at(2 * time.Hour)}, githubapi.StatusError{Status: 403, Limited: true, RetryAfter: time.Hour}},
	} {
		_, err := newClient(answer(test.status, "", test.headers...)).Profile(t.Context(), token)
		var got *githubapi.StatusError
		require.ErrorAs(t, err, &got, name)
		require.Equal(t, test.want, *got, name)
	}
}

func TestALimitedRequestForAddressesIsNoLackOfScope(t *testing.T) {
	t.Parallel()
	for _, headers := range [][]string{{"Retry-After", "30"}, {"X-RateLimit-Remaining", "0"}} {
		_, err := newClient(answer(http.StatusForbidden, "", headers...)).Email(t.Context(), token)
		require.EqualError(t, err, "auth: GitHub answered with status 403")
	}
}

// The attack: the host of GitHub's name redirects the client secret and the token to another host.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		asked := 0
		c := newClient(github(func(r *http.Request) (*http.Response, error) {
			asked++
			require.NotEqual(t, "evil.example", r.URL.Host)
			return answer(status, "", "Location", "https://evil.example/user")(r)
		}))
		for name, call := range calls(t.Context(), c) {
			asked = 0
			require.Error(t, call(), name)
			require.Equal(t, 1, asked, "%s: %d", name, status)
		}
	}
}

func TestAnAnswerCanBeAMebibyteLong(t *testing.T) {
	t.Parallel()
	body := func(length int) string {
		const start, end = `{"id":1,"login":"octocat","x":"`, `"}`
		return start + strings.Repeat("x", length-len(start)-len(end)) + end
	}
	_, err := newClient(answer(http.StatusOK, body(1<<20-1))).Profile(t.Context(), token)
	require.NoError(t, err)
	for _, status := range []int{http.StatusOK, http.StatusInternalServerError} {
		for name, call := range calls(t.Context(), newClient(answer(status, body(1<<20+1)))) {
			if name == "Exchange" || name == "Refresh" {
				require.ErrorContains(t, call(), "GitHub did not answer as it should", name)
				continue
			}
			require.ErrorContains(t, call(), "auth: reading GitHub's answer: GitHub's answer is too long",
				name)
		}
	}
}

// endless is a body that never ends.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func (e *endless) Close() error { return nil }

func TestAnEndlessAnswerIsNotReadToTheEnd(t *testing.T) {
	t.Parallel()
	body := &endless{}
	c := newClient(github(func(r *http.Request) (*http.Response, error) {
		response, err := answer(http.StatusOK, "")(r)
		response.Body = body
		return response, err
	}))
	for name, call := range calls(t.Context(), c) {
		body.read = 0
		require.Error(t, call(), name)
		require.LessOrEqual(t, body.read, 1<<20, name)
	}
}

func TestTheContextBoundsEveryCall(t *testing.T) {
	t.Parallel()
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	defer hanging.Close()
	app := newApp()
	app.BaseURL, app.APIURL = hanging.URL, hanging.URL
	c := githubapi.New(app, nil, time.Now) // over http.DefaultTransport

	expired, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for name, call := range calls(expired, c) {
		err := call()
		require.ErrorIs(t, err, context.DeadlineExceeded, name)
		require.NotContains(t, err.Error(), hanging.URL, name)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range calls(canceled, c) {
		require.ErrorIs(t, call(), context.Canceled, name)
	}
}

// panickingBody is the body of a transport that decodes answers, and has a bug in that.
type panickingBody struct {
	io.Reader
	onRead bool
}

func (b panickingBody) Read(p []byte) (int, error) {
	if b.onRead {
		panic("a bug of the host")
	}
	return b.Reader.Read(p)
}

func (panickingBody) Close() error { panic("a bug of the host") }

func TestAPanicOfTheHostsTransportIsAnError(t *testing.T) {
	t.Parallel()
	withBody := func(body io.ReadCloser) github {
		return func(r *http.Request) (*http.Response, error) {
			response, err := answer(http.StatusTeapot, "")(r)
			response.Body = body
			return response, err
		}
	}
	for name, transport := range map[string]github{
		"no body":       withBody(nil),
		"body on Read":  withBody(panickingBody{onRead: true}),
		"body on Close": withBody(panickingBody{Reader: strings.NewReader("{}")}),
		"panic":         func(*http.Request) (*http.Response, error) { panic("a bug of the host") },
		"no response":   func(*http.Request) (*http.Response, error) { return nil, nil },
	} {
		for call, do := range calls(t.Context(), newClient(transport)) {
			var err error
			require.NotPanics(t, func() { err = do() }, "%s: %s", name, call)
			require.Error(t, err, "%s: %s", name, call)
		}
	}
	_, err := newClient(github(func(*http.Request) (*http.Response,
		error) {
		panic("a bug of the host")
	})).Profile(t.Context(), token)
	require.ErrorContains(t, err, "auth: GitHubConfig.HTTPClient panicked: a bug of the host")
}

// GitHub answers with every secret that it has been sent, and with some of its own, in every way in
// which an answer can fail.
func TestNoSecretIsInAnError(t *testing.T) {
	t.Parallel()
	secrets := []string{clientSecret, "gho_token", "ghr_token", "verifier", "gho_given"}
	text := strings.Join(secrets, " ")
	body := fmt.Sprintf(`{"error":%q,"error_description":%[1]q,"error_uri":%[1]q,"access_token":%[1]q,"message":%[1]q}`, text)
	for name, transport := range map[string]github{
		"status 400":    answer(http.StatusBadRequest, body),
		"status 401":    answer(http.StatusUnauthorized, body),
		"status 500":    answer(http.StatusInternalServerError, body),
		"an error":      answer(http.StatusOK, body),
		"a bad token":   answer(http.StatusOK, fmt.Sprintf(`{"access_token":%q,"token_type":"bearer"}`, text)),
		"no JSON":       answer(http.StatusOK, text),
		"no object":     answer(http.StatusOK, fmt.Sprintf(`[%q]`, text)),
		"a bad name":    answer(http.StatusOK, fmt.Sprintf(`{%q:1,%[1]q:2}`, text)),
		"a redirect":    answer(http.StatusFound, body, "Location", "https://evil.example/?"+url.QueryEscape(text)),
		"a bad URL":     answer(http.StatusFound, body, "Location", "https://%zz/"+text),
		"no connection": func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") },
	} {
		for call, do := range calls(t.Context(), newClient(transport)) {
			err := do()
			if err == nil {
				continue // the statuses whose meaning is yes
			}
			for _, secret := range secrets {
				require.NotContains(t, err.Error(), secret, "%s: %s", call, name)
			}
		}
	}
	_, err := newClient(answer(http.StatusOK, `{}`)).Profile(t.Context(), "gho_with\nline")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "gho_with")
	require.NotContains(t, fmt.Sprintf("%v %+v", newApp(), newApp()), clientSecret)
}

func TestAnAddressThatIsNoURLIsAnError(t *testing.T) {
	t.Parallel()
	app := newApp()
	app.BaseURL, app.APIURL = "http://%zz", "http://%zz"
	for name, call := range calls(t.Context(), githubapi.New(app, answer(http.StatusOK, `{}`), time.Now)) {
		require.Error(t, call(), name)
	}
}
