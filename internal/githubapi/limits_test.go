package githubapi_test

import (
	"context"
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
	"github.com/stretchr/testify/require"
)

// endpoints are the endpoints that the errors of calls name.
var endpoints = map[string]string{
	"Profile": "GET /user", "Email": "GET /user/emails", "Organizations": "GET /user/memberships/orgs",
	"Teams": "GET /user/teams", "Revoke": "DELETE /applications/client%2Fid/token",
	"IsValid": "POST /applications/client%2Fid/token",
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
			} else if expected == bad {
				require.EqualError(t, err, bad, name)
			} else {
				require.EqualError(t, err, expected+" to "+endpoints[name], "%s: %d", name, status)
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

	grant := githubapi.Grant{AccessToken: token}
	require.NoError(t, newClient(answer(http.StatusNoContent, "")).Revoke(t.Context(), grant))
	require.Error(t, newClient(answer(http.StatusOK, "")).Revoke(t.Context(), grant))
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
		test.want.Endpoint = "GET /user"
		require.Equal(t, test.want, *got, name)
	}
}

func TestALimitedRequestForAddressesIsNoLackOfScope(t *testing.T) {
	t.Parallel()
	for _, headers := range [][]string{{"Retry-After", "30"}, {"X-RateLimit-Remaining", "0"}} {
		_, err := newClient(answer(http.StatusForbidden, "", headers...)).Email(t.Context(), token)
		require.EqualError(t, err, "auth: GitHub answered with status 403 to GET /user/emails")
	}
}

// The messages are GitHub's own. Only the first four are temporary.
func TestOnlyTheMessageSaysWhetherA403IsARateLimitOrARefusal(t *testing.T) {
	t.Parallel()
	const limited, refused, neither = "limited", "refused", "neither"
	message := func(text string) string { return fmt.Sprintf(`{"message":%q,"status":"403"}`, text) }
	for body, want := range map[string]string{
		message("You have exceeded a secondary rate limit. Please wait a few minutes before you try again."):                                            limited,
		message("API rate limit exceeded for user ID 583231."):                                                                                          limited,
		message("You have triggered an abuse detection mechanism. Please wait a few minutes before you try again."):                                     limited,
		message("Request quota exhausted for request RATE LIMIT"):                                                                                       limited,
		message("Sorry. Your account was suspended."):                                                                                                   refused,
		message("Resource not accessible by integration"):                                                                                               refused,
		message("Resource protected by organization SAML enforcement. You must grant your OAuth token access to this organization."):                    refused,
		message("Although you appear to have the correct authorization credentials, the `acme` organization has enabled OAuth App access restrictions"): refused,
		message("Although you appear to have the correct authorization credentials, the `acme` organization has an IP allow list enabled"):              refused,
		message("You need at least read:org scope to do this."):                                                                                         refused,
		message(""): neither, `{}`: neither, `{"message":1}`: neither, `[]`: neither, ``: neither,
		`{"message":"a","message":"b"}`:                     neither,
		`<html>Blocked by the proxy of your company</html>`: neither,
	} {
		_, err := newClient(answer(http.StatusForbidden, body)).Teams(t.Context(), token)
		var got *githubapi.StatusError
		require.ErrorAs(t, err, &got, body)
		require.Equal(t, want == limited, got.Limited, body)
		require.Equal(t, want == refused, githubapi.IsRefusal(err), body)

		email, err := newClient(answer(http.StatusForbidden, body)).Email(t.Context(), token)
		require.Empty(t, email)
		require.Equal(t, want == refused, err == nil, "no address for good: %s", body)
	}
}

// The header can have a URL that contains a one-time code.
func TestOnlyTheFirstWordOfTheSingleSignOnHeaderIsInAnError(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"required; url=https://github.com/orgs/acme/sso?authorization_request=AZSCK": ", X-GitHub-SSO: required",
		"required": ", X-GitHub-SSO: required",
		"partial-results; organizations=21955855,20582480": ", X-GitHub-SSO: partial-results",
		"AZSCK": "", "": "",
	} {
		c := newClient(answer(http.StatusForbidden, `{"message":"SAML"}`, "X-GitHub-SSO", header))
		_, err := c.Organizations(t.Context(), token)
		require.EqualError(t, err,
			"auth: GitHub answered with status 403 to GET /user/memberships/orgs"+want, header)
	}
}

func TestAListWithoutOrganizationsOfSingleSignOnIsReturnedAsIncomplete(t *testing.T) {
	t.Parallel()
	const partial = "partial-results; organizations=21955855"
	c := newClient(answer(http.StatusOK, `[{"id":1}]`, "X-GitHub-SSO", partial))
	ids, err := c.Teams(t.Context(), token)
	require.Equal(t, []int64{1}, ids)
	require.True(t, githubapi.IsRefusal(err))
	require.EqualError(t, err,
		"auth: GitHub answered with status 200 to GET /user/teams, X-GitHub-SSO: partial-results")
}

// The attack: the server that answers for GitHub redirects the client, so that the client sends its
// secret and the token to another host.
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
				require.ErrorContains(t, call(), "GitHub's answer to POST /login/oauth/access_token "+
					"cannot be used", name)
				continue
			}
			require.ErrorContains(t, call(), ": GitHub's answer is too long",
				name)
		}
	}
}

// endless is a body without an end. It counts the bytes that were read.
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
	c := githubapi.New(app, nil, time.Now) // a nil transport means http.DefaultTransport

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

// panickingBody is the body of a host's transport that panics.
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

// GitHub's answers contain every secret that the client has sent, and a new token. They fail in
// every way in which an answer can fail.
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
				continue // for some calls, the status is a valid answer
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

// net/http quotes a malformed answer in full, up to 10 MB.
func TestTheErrorOfAMalformedAnswerIsShort(t *testing.T) {
	t.Parallel()
	c := newClient(github(func(*http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("malformed HTTP response %q", strings.Repeat("x", 3<<20))
	}))
	for name, call := range calls(t.Context(), c) {
		err := call()
		require.ErrorContains(t, err, "malformed HTTP response", name)
		require.Less(t, len(err.Error()), 2048, name)
	}
}
