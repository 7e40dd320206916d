package auth_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/limits"
	"github.com/stretchr/testify/require"
)

// answering is a transport that has one answer for everything.
type answering struct {
	contentType string
	body        []byte
}

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {a.contentType}}, Body: io.NopCloser(bytes.NewReader(a.body)),
	}, nil
}

// githubThatAnswers is the client of a GitHub that has one answer.
func githubThatAnswers(t testing.TB, contentType string, body []byte) *auth.GitHubAPI {
	t.Helper()
	api, err := auth.NewGitHubAPI(auth.GitHubConfig{
		ClientID: "id", ClientSecret: auth.NewSecret("secret"), CallbackURL: "https://api.example.com/callback",
		HTTPClient: &http.Client{Transport: answering{contentType, body}},
	})
	require.NoError(t, err)
	return api
}

// FuzzTokenReply lets GitHub answer anything for a code. What is taken for a
// token can be put into a header, and is what encoding/json finds.
func FuzzTokenReply(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"gho_x","token_type":"bearer","scope":"repo,user:email"}`,
		`{"access_token":"gho_x","token_type":"bearer","scope":"","expires_in":28800,"refresh_token":"ghr_x"}`,
		`{"access_token":"gho_x","token_type":"mac"}`, `{"access_token":"a b","token_type":"bearer"}`,
		`{"error":"bad_verification_code"}`, `{"access_token":"gho_x","token_type":"bearer","expires_in":-1}`,
		`{"access_token":"gho_x","token_type":"bearer","expires_in":"28800"}`, `[]`, `null`, ``, `<html>`,
		`access_token=gho_x&token_type=bearer&scope=repo`,
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, reply string, isJSON bool) {
		contentType := "application/x-www-form-urlencoded"
		if isJSON {
			contentType = "application/json"
		}
		accessToken, refreshToken, _, err := githubThatAnswers(t, contentType, []byte(reply)).Exchange(t.Context(), "code")
		if err != nil {
			require.NotContains(t, err.Error(), "gho_", "an answer is never in an error")
			return
		}
		for _, token := range []string{accessToken, refreshToken} {
			require.False(t, strings.ContainsAny(token, " \r\n\x00\"'<>\\,;"), "%q", token)
			require.LessOrEqual(t, len(token), 1024)
		}
		require.NotEmpty(t, accessToken)
	})
}

// FuzzEmails lets GitHub list any addresses. One that is taken is one that
// encoding/json finds primary and verified.
func FuzzEmails(f *testing.F) {
	for _, seed := range []string{
		`[{"email":"a@example.com","primary":true,"verified":true,"visibility":null}]`,
		`[{"email":"a@example.com","primary":true,"verified":false},{"email":"b@example.com","primary":false,"verified":true}]`,
		`[{"email":"A <a@example.com>","primary":true,"verified":true}]`, `[{"Email":"a@example.com","primary":true,"verified":true}]`,
		`[null]`, `[[]]`, `{}`, `[]`, `null`, ``, "[{\"email\":\"\xffa@example.com\",\"primary\":true,\"verified\":true}]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		email, err := githubThatAnswers(t, "application/json", body).Email(t.Context())
		if err != nil || email == "" {
			return
		}
		require.True(t, utf8.ValidString(email))
		require.LessOrEqual(t, len(email), limits.Email)
		var addresses []struct {
			Email             string
			Primary, Verified bool
		}
		require.NoError(t, json.Unmarshal(body, &addresses))
		found := false
		for _, a := range addresses {
			found = found || a.Email == email && a.Primary && a.Verified
		}
		require.True(t, found, "%s: %s", email, body)
	})
}

func TestTheAPIOfAGitHubFollowsFromItsBaseURL(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]string{
		"https://github.com":         "https://api.github.com",
		"https://octo.ghe.com":       "https://api.octo.ghe.com",
		"https://github.example.com": "https://github.example.com/api/v3",
	} {
		require.Equal(t, want, auth.APIURL(base))
	}
}
