package githubapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/githubapi"
	"github.com/sallyport-go/auth/internal/limits"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

func TestTheURLThatBeginsAFlowHasNoSecret(t *testing.T) {
	t.Parallel()
	verifier := oauth2.GenerateVerifier()
	text := newClient(nil).AuthCodeURL("state", verifier, []string{"repo", "user:email"},
		oauth2.SetAuthURLParam("prompt", "select_account"))
	require.NotContains(t, text, verifier)
	require.NotContains(t, text, clientSecret)
	u, err := url.Parse(text)
	require.NoError(t, err)
	require.Equal(t, url.Values{
		"client_id":             {"client/id"},
		"redirect_uri":          {"https://api.example.com/callback"},
		"response_type":         {"code"},
		"scope":                 {"repo user:email"},
		"state":                 {"state"},
		"prompt":                {"select_account"},
		"code_challenge":        {oauth2.S256ChallengeFromVerifier(verifier)},
		"code_challenge_method": {"S256"},
	}, u.Query())
	u.RawQuery = ""
	require.Equal(t, "https://github.com/login/oauth/authorize", u.String())
}

// redeem calls Exchange and Refresh with the same transport, and checks that both have the same
// result.
func redeem(t *testing.T, transport http.RoundTripper) (githubapi.Grant, error) {
	t.Helper()
	c := newClient(transport)
	exchanged, err := c.Exchange(t.Context(), "code", "verifier")
	refreshed, refreshErr := c.Refresh(t.Context(), "ghr_old")
	require.Equal(t, err == nil, refreshErr == nil)
	if err == nil && exchanged.RefreshToken == "" {
		require.Equal(t, "ghr_old", refreshed.RefreshToken,
			"x/oauth2 keeps the refresh token that GitHub does not replace")
		refreshed.RefreshToken = ""
	}
	require.Equal(t, exchanged, refreshed)
	return exchanged, err
}

func TestAGrantIsReadStrictly(t *testing.T) {
	t.Parallel()
	const year = 366 * 24 * 60 * 60
	longToken, longScopes := strings.Repeat("x", 1024), strings.Repeat("x", limits.GitHubText)
	for body, want := range map[string]githubapi.Grant{
		`{"access_token":"gho_x","token_type":"bearer","scope":"user:email,repo"}`:    {AccessToken: "gho_x", Scopes: "repo user:email"},
		`{"access_token":"gho_x","token_type":"Bearer","scope":"b, a,,b a"}`:          {AccessToken: "gho_x", Scopes: "a b"},
		`{"access_token":"gho_x","token_type":"bearer","scope":""}`:                   {AccessToken: "gho_x"},
		`{"access_token":"gho_x","token_type":"bearer","scope":null}`:                 {AccessToken: "gho_x"},
		`{"access_token":"gho_x","token_type":"bearer"}`:                              {AccessToken: "gho_x"},
		`{"access_token":"aZ0_-.~+/=","token_type":"bearer"}`:                         {AccessToken: "aZ0_-.~+/="},
		`{"access_token":"` + longToken + `","token_type":"bearer"}`:                  {AccessToken: longToken},
		`{"access_token":"gho_x","token_type":"bearer","scope":"` + longScopes + `"}`: {AccessToken: "gho_x", Scopes: longScopes},
		`{"access_token":"gho_x","token_type":"bearer","refresh_token":"ghr_x"}`:      {AccessToken: "gho_x", RefreshToken: "ghr_x"},
		`{"access_token":"gho_x","token_type":"bearer","expires_in":28800,"refresh_token":"ghr_x","refresh_token_expires_in":15811200}`: {
			AccessToken: "gho_x", RefreshToken: "ghr_x", ExpiresAt: now.Add(8 * time.Hour)},
		`{"access_token":"gho_x","token_type":"bearer","expires_in":1}`:                     {AccessToken: "gho_x", ExpiresAt: now.Add(time.Second)},
		`{"access_token":"gho_x","token_type":"bearer","expires_in":null}`:                  {AccessToken: "gho_x"},
		fmt.Sprintf(`{"access_token":"gho_x","token_type":"bearer","expires_in":%d}`, year): {AccessToken: "gho_x", ExpiresAt: now.Add(year * time.Second)},
	} {
		got, err := redeem(t, answer(http.StatusOK, body))
		require.NoError(t, err, body)
		require.Equal(t, want, got, body)
	}

	for _, body := range []string{
		`{"token_type":"bearer"}`, `{"access_token":"","token_type":"bearer"}`, `{"access_token":null,"token_type":"bearer"}`,
		`{"access_token":1,"token_type":"bearer"}`, `{"access_token":["gho_x"],"token_type":"bearer"}`,
		`{"access_token":"gho_x"}`, `{"access_token":"gho_x","token_type":""}`, `{"access_token":"gho_x","token_type":"mac"}`,
		`{"access_token":"gho_x","token_type":1}`,
		`{"access_token":"gho x","token_type":"bearer"}`, `{"access_token":"gho_x\r\nX: y","token_type":"bearer"}`,
		`{"access_token":"gho_é","token_type":"bearer"}`, `{"access_token":"gho_\u0000","token_type":"bearer"}`,
		`{"access_token":"gho_\u0161","token_type":"bearer"}`, // a character whose low byte is a letter
		`{"access_token":"gho_,","token_type":"bearer"}`, `{"access_token":"gho_\"","token_type":"bearer"}`,
		`{"access_token":"` + longToken + `x","token_type":"bearer"}`,
		`{"access_token":"gho_x","token_type":"bearer","refresh_token":"ghr x"}`,
		`{"access_token":"gho_x","token_type":"bearer","refresh_token":1}`,
		`{"access_token":"gho_x","token_type":"bearer","refresh_token":"` + longToken + `x"}`,
		`{"access_token":"gho_x","token_type":"bearer","scope":1}`, `{"access_token":"gho_x","token_type":"bearer","scope":["repo"]}`,
		`{"access_token":"gho_x","token_type":"bearer","scope":"a\u202eb"}`,
		`{"access_token":"gho_x","token_type":"bearer","scope":"` + longScopes + `x"}`,
		`{"access_token":"gho_x","token_type":"bearer","expires_in":0}`, `{"access_token":"gho_x","token_type":"bearer","expires_in":-1}`,
		`{"access_token":"gho_x","token_type":"bearer","expires_in":0.5}`, `{"access_token":"gho_x","token_type":"bearer","expires_in":28800.5}`,
		`{"access_token":"gho_x","token_type":"bearer","expires_in":1e300}`, `{"access_token":"gho_x","token_type":"bearer","expires_in":true}`,
		`{"access_token":"gho_x","token_type":"bearer","expires_in":"28800"}`,
		fmt.Sprintf(`{"access_token":"gho_x","token_type":"bearer","expires_in":%d}`, year+1),
		`{"access_token":"gho_x","token_type":"bearer"} x`, `[]`, `null`, `"gho_x"`, ``, `<html>`,
	} {
		got, err := redeem(t, answer(http.StatusOK, body))
		require.Error(t, err, body)
		require.Zero(t, got, body)
	}
}

// The client asks GitHub for JSON. A reply that is a form is refused: a form does not say what type
// a value has, or whether the value is present.
func TestAReplyThatIsAFormIsRefused(t *testing.T) {
	t.Parallel()
	const body = "access_token=gho_x&token_type=bearer&scope=repo"
	_, err := redeem(t, answer(http.StatusOK, body, "Content-Type", "application/x-www-form-urlencoded"))
	require.ErrorContains(t, err, "auth: GitHub's answer has no token that can be used")
}

func TestErrorsFromGitHubSayWhatToDo(t *testing.T) {
	t.Parallel()
	const doing, refreshing = "auth: exchanging an authorization code: ", "auth: refreshing a token: "
	const unclear = "GitHub's answer to POST /login/oauth/access_token cannot be used (status "
	for code, want := range map[string][2]string{
		"bad_verification_code":        {githubapi.ErrBadCode.Error(), refreshing + unclear},
		"bad_refresh_token":            {doing + unclear, githubapi.ErrBadToken.Error()},
		"incorrect_client_credentials": {doing + "GitHub says incorrect_client_credentials: check the OAuth app's settings", refreshing + "GitHub says incorrect_client_credentials: check the OAuth app's settings"},
		"redirect_uri_mismatch":        {doing + "GitHub says redirect_uri_mismatch: check the OAuth app's settings", refreshing + "GitHub says redirect_uri_mismatch: check the OAuth app's settings"},
		"unsupported_grant_type":       {doing + "GitHub says unsupported_grant_type: check the OAuth app's settings", refreshing + "GitHub says unsupported_grant_type: check the OAuth app's settings"},
		"unverified_user_email":        {doing + "GitHub says unverified_user_email: check the OAuth app's settings", refreshing + "GitHub says unverified_user_email: check the OAuth app's settings"},
		"gho_secret":                   {doing + unclear, refreshing + unclear},
	} {
		for _, status := range []int{http.StatusOK, http.StatusBadRequest} { // GitHub sends errors with 200
			c := newClient(answer(status,
				fmt.Sprintf(`{"error":%q,"error_description":"gho_secret","access_token":"gho_secret","token_type":"bearer"}`, code)))
			_, err := c.Exchange(t.Context(), "code", "verifier")
			require.EqualError(t, err, withStatus(want[0], status), code)
			_, err = c.Refresh(t.Context(), "ghr_x")
			require.EqualError(t, err, withStatus(want[1], status), code)
			require.True(t, githubapi.IsFailure(err) || errors.Is(err, githubapi.ErrBadToken))
		}
	}
	c := newClient(answer(http.StatusOK, `{"error":"bad_verification_code"}`))
	_, err := c.Exchange(t.Context(), "code", "verifier")
	require.ErrorIs(t, err, githubapi.ErrBadCode)
	c = newClient(answer(http.StatusOK, `{"error":"bad_refresh_token"}`))
	_, err = c.Refresh(t.Context(), "ghr_x")
	require.ErrorIs(t, err, githubapi.ErrBadToken)
}

// withStatus completes the text of an error that ends with a status.
func withStatus(text string, status int) string {
	if strings.HasSuffix(text, "(status ") {
		return fmt.Sprintf("%s%d)", text, status)
	}
	return text
}

// The log must contain the cause of a failed connection. It must not contain the URL and the body of the
// call, because they contain the code.
func TestAFailedConnectionKeepsItsCause(t *testing.T) {
	t.Parallel()
	c := newClient(github(func(*http.Request) (*http.Response, error) {
		return nil, errors.New("dial tcp 192.0.2.1:443: connection refused")
	}))
	_, exchange := c.Exchange(t.Context(), "code-secret", "verifier-secret")
	_, refresh := c.Refresh(t.Context(), "ghr_secret")
	_, profile := c.Profile(t.Context(), "gho_secret")
	for call, err := range map[string]error{
		"POST /login/oauth/access_token": exchange, "/login/oauth/access_token": refresh, "GET /user": profile,
	} {
		require.ErrorContains(t, err, call)
		require.ErrorContains(t, err, "dial tcp 192.0.2.1:443: connection refused")
		require.NotContains(t, err.Error(), "secret")
		require.True(t, githubapi.IsFailure(err))
	}
	require.False(t, githubapi.IsFailure(errors.New("the store")))
	require.False(t, githubapi.IsFailure(githubapi.ErrBadToken))
}

func TestFailuresOfGitHubAreNoRefusals(t *testing.T) {
	t.Parallel()
	for _, status := range []int{401, 403, 404, 422, 429, 500, 502, 503} {
		_, err := redeem(t, answer(status, `{"message":"x"}`, "Retry-After", "30"))
		require.ErrorContains(t, err, "cannot be used (status ", status)
		require.NotErrorIs(t, err, githubapi.ErrBadCode)
		require.NotErrorIs(t, err, githubapi.ErrBadToken)
	}
}

func TestTokenText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"gho_16C7e42F292c6912E7710c838347Ae178B4a": true,
		"A.b-c_d~e+f/g==":                          true,
		strings.Repeat("x", 1024):                  true,
		strings.Repeat("x", 1025):                  false,
		"":                                         false,
		"a b":                                      false,
		"a\n":                                      false,
		"a\x00":                                    false,
		"a\x7f":                                    false,
		"a\xff":                                    false,
		"a\u0161":                                  false,
		"a{":                                       false,
		"a%20":                                     false,
		"a&b":                                      false,
		"a:b":                                      false,
	} {
		require.Equal(t, want, githubapi.IsTokenText(text), "%q", text)
	}
}

func TestScopesCoverTheNarrowerOnes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		wide, narrow string
		want         bool
	}{
		{"", "", true},
		{"repo", "", true},
		{"", "repo", false},
		{"repo user:email", "repo", true},
		{"repo user:email", "user:email repo", true},
		{"repo", "repo user:email", false},
		{"repo", "repo:status", true},
		{"repo:status", "repo", false},
		{"user", "user:email", true},
		{"user", "read:user", true},
		{"read:user", "user", false},
		{"read:user", "user:email", false},
		{"read:org", "read:org", true},
		{"repository", "repo", false},
		{"public_repo", "repo", false},
	} {
		grant := githubapi.Grant{AccessToken: "gho_1", Scopes: test.wide}
		require.Equal(t, test.want, grant.Covers(test.narrow), "%q covers %q", test.wide, test.narrow)
		grant = githubapi.Grant{AccessToken: "ghu_1"}
		require.True(t, grant.Covers(test.narrow), "the token of a GitHub App has no scopes")
	}
}

// Stores have sealed grants of earlier versions, which later versions must read.
func TestTheStoredFormOfAGrantStays(t *testing.T) {
	t.Parallel()
	for text, grant := range map[string]githubapi.Grant{
		`{"access_token":"gho_x"}`: {AccessToken: "gho_x"},
		`{"access_token":"gho_x","refresh_token":"ghr_x","expires_at":"2026-03-01T12:00:00Z"}`: {
			AccessToken: "gho_x", RefreshToken: "ghr_x", ExpiresAt: now},
	} {
		var read githubapi.Grant
		require.NoError(t, json.Unmarshal([]byte(text), &read))
		require.Equal(t, grant, read)
		grant.Scopes = "repo"
		written, err := json.Marshal(grant)
		require.NoError(t, err)
		require.Equal(t, text, string(written))
	}
}
