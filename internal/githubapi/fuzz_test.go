package githubapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sallyport-go/auth/internal/limits"
	"github.com/stretchr/testify/require"
)

// FuzzTokenReply lets GitHub answer Exchange with any text. If Exchange accepts a token, the token
// can be put into a header. If Exchange returns an error, the error contains no part of the answer.
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
		c := newClient(answer(http.StatusOK, reply, "Content-Type", contentType))
		grant, err := c.Exchange(t.Context(), "code", "verifier")
		if err != nil {
			require.NotContains(t, err.Error(), "gho_")
			return
		}
		for _, token := range []string{grant.AccessToken, grant.RefreshToken} {
			require.False(t, strings.ContainsAny(token, " \r\n\x00\"'<>\\,;"), "%q", token)
			require.LessOrEqual(t, len(token), 1024)
		}
		require.NotEmpty(t, grant.AccessToken)
	})
}

// FuzzEmails lets GitHub answer Email with any text. If Email returns an address, encoding/json
// also finds that this address is primary and verified.
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
		email, err := newClient(answer(http.StatusOK, string(body))).Email(t.Context(), token)
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
