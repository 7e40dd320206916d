package githubtest_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// has returns a check that a field of the JSON object in the response has the value want. If want
// is empty, the field must be absent. If the response is a list, every entry is checked.
func has(field, want string) check {
	return body(func(t *testing.T, body string) {
		if strings.HasPrefix(body, "{") {
			body = "[" + body + "]"
		}
		var entries []map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(body), &entries))
		require.NotEmpty(t, entries)
		for _, entry := range entries {
			require.Greater(t, len(entry), 1, "the other fields must be unchanged")
			require.Equal(t, want, string(entry[field]))
		}
	})
}

func fieldChecks() map[string]check {
	checks := map[string]check{
		"error beside a token": has("error", `"bad_verification_code"`),
		"form instead of JSON": func(t *testing.T, got outcome) {
			require.Equal(t, "application/x-www-form-urlencoded; charset=utf-8",
				got.header.Get("Content-Type"))
			form, err := url.ParseQuery(got.body)
			require.NoError(t, err)
			require.Regexp(t, "^gho_", form.Get("access_token"))
			require.Equal(t, "repo", form.Get("scope"))
		},
		"membership without state":       has("state", ""),
		"membership pending":             has("state", `"pending"`),
		"membership in an unknown state": has("state", `"banned"`),
		"team without id":                has("id", ""),
		"team with id zero":              has("id", "0"),
		"team with id string":            has("id", `"2001"`),
		"team with id fraction":          has("id", "2001.5"),
		"primary true for all":           has("primary", "true"),
		"verified string":                has("verified", `"true"`),
		"email of 4 KiB":                 has("email", strconv.Quote(strings.Repeat("a", 4096)+"@example.com")),
		"login of 4 KiB":                 has("login", strconv.Quote(strings.Repeat("a", 4096))),
		"access_token of 4 KiB":          has("access_token", strconv.Quote("gho_"+strings.Repeat("a", 4096))),
		"login with markup":              has("login", `"\u003cscript\u003ealert(1)\u003c/script\u003e"`),
		"login written backwards":        body(func(t *testing.T, body string) { require.Contains(t, body, `"octo\u202Ecat"`) }),
	}
	for _, code := range []string{
		"incorrect_client_credentials", "redirect_uri_mismatch", "bad_verification_code", "unverified_user_email",
		"bad_refresh_token", "unsupported_grant_type", "application_suspended",
	} {
		checks["status 200 with "+code] = refused(code)
	}
	checks["status 200 with an unknown error"] = refused("out_of_cheese")

	// The keys are names of faults, such as "id missing". The values are the JSON of the field.
	for name, want := range map[string]string{
		"id missing": "", "id null": "null", "id zero": "0", "id negative": "-583231", "id string": `"583231"`,
		"id true": "true", "id fraction": "583231.5", "id whole float": "583231.0", "id exponent": "1e3",
		"id above int64": "9223372036854775808", "id array": "[583231]", "id above 2^53": "9007199254740993",
		"login missing": "", "login null": "null", "login empty": `""`, "login number": "583231",
		"login with control characters": `"octo\r\ncat\u0000"`, "login a path": `"../../admin"`,
		"name with control characters": `"Octo\u001b[2Jcat"`, "name number": "7", "avatar_url a script": `"javascript:alert(1)"`,
		"access_token missing": "", "access_token null": "null", "access_token empty": `""`, "access_token number": "42",
		"access_token with a newline": `"gho_1\r\nX-Evil: 1"`, "access_token with a space": `"gho_1 2"`,
		"access_token not ASCII": `"gho_ünïcödé"`,
		"token_type missing":     "", "token_type empty": `""`, "token_type mac": `"mac"`, "token_type array": `["bearer"]`,
		"expires_in negative": "-28800", "expires_in zero": "0", "expires_in huge": "9223372036854775807",
		"expires_in above int64": "99999999999999999999", "expires_in fraction": "0.5", "expires_in words": `"eight hours"`,
		"expires_in string": `"28800"`, "expires_in null": "null",
		"scope missing": "", "scope empty": `""`, "scope narrower": `"read:user"`, "scope wider": `"admin:org,repo,user"`,
		"scope number": "42", "refresh_token with a newline": `"ghr_1\n2"`, "refresh_token number": "42",
		"verified false": "false", "primary false": "false", "email missing": "", "email null": "null",
		"email with a newline": `"octocat@example.com\r\nBcc: all@example.com"`, "email without @": `"octocat"`,
		"organization missing": "", "organization null": "null", "organization with id zero": `{"id":0,"login":"octo-org"}`,
		"organization with id string": `{"id":"6811672","login":"octo-org"}`, "organization without id": `{"login":"octo-org"}`,
	} {
		field, _, _ := strings.Cut(name, " ")
		checks[name] = has(field, want)
	}
	return checks
}

func refused(code string) check {
	return func(t *testing.T, got outcome) {
		require.Equal(t, http.StatusOK, got.status)
		answer := got.object(t)
		require.Equal(t, code, answer["error"])
		require.NotEmpty(t, answer["error_description"])
		require.NotContains(t, answer, "access_token")
	}
}
