package githubtest

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// field returns a fault that sets the field with this name to a JSON value. The parameter what
// describes the value and is a part of the name of the fault.
func field(name, what, json string) NamedFault {
	return named(name+" "+what, SetField(name, json))
}

// userFaults returns the faults of GET /user.
func userFaults() []NamedFault {
	return []NamedFault{
		field("id", "missing", ""),
		field("id", "null", "null"),
		field("id", "zero", "0"),
		field("id", "negative", "-583231"),
		field("id", "string", `"583231"`),
		field("id", "true", "true"),
		field("id", "fraction", "583231.5"),
		field("id", "whole float", "583231.0"),
		field("id", "exponent", "1e3"),
		field("id", "above int64", "9223372036854775808"),
		field("id", "array", "[583231]"),
		harmless(field("id", "above 2^53", "9007199254740993")),
		field("login", "missing", ""),
		field("login", "null", "null"),
		field("login", "empty", `""`),
		field("login", "number", "583231"),
		field("login", "with control characters", `"octo\r\ncat\u0000"`),
		field("login", "written backwards", `"octo\u202Ecat"`),
		field("login", "of 4 KiB", strconv.Quote(strings.Repeat("a", 4096))),
		harmless(field("login", "with markup", `"<script>alert(1)</script>"`)),
		harmless(field("login", "a path", `"../../admin"`)),
		harmless(field("name", "with control characters", `"Octo\u001b[2Jcat"`)),
		harmless(field("name", "number", "7")),
		harmless(field("avatar_url", "a script", `"javascript:alert(1)"`)),
	}
}

// tokenFaults returns the faults of the token endpoint. Most of them change the response after the
// fake has issued a token.
func tokenFaults() []NamedFault {
	faults := []NamedFault{
		field("access_token", "missing", ""),
		field("access_token", "null", "null"),
		field("access_token", "empty", `""`),
		field("access_token", "number", "42"),
		field("access_token", "with a newline", `"gho_1\r\nX-Evil: 1"`),
		field("access_token", "with a space", `"gho_1 2"`),
		field("access_token", "not ASCII", `"gho_ünïcödé"`),
		field("access_token", "of 4 KiB", strconv.Quote("gho_"+strings.Repeat("a", 4096))),
		field("token_type", "missing", ""),
		field("token_type", "empty", `""`),
		field("token_type", "mac", `"mac"`),
		field("token_type", "array", `["bearer"]`),
		field("expires_in", "negative", "-28800"),
		field("expires_in", "zero", "0"),
		field("expires_in", "huge", "9223372036854775807"),
		field("expires_in", "above int64", "99999999999999999999"),
		field("expires_in", "fraction", "0.5"),
		field("expires_in", "words", `"eight hours"`),
		// Older GitHub documentation shows a string.
		harmless(field("expires_in", "string", `"28800"`)),
		harmless(field("expires_in", "null", "null")),
		harmless(field("scope", "missing", "")),
		harmless(field("scope", "empty", `""`)),
		harmless(field("scope", "narrower", `"read:user"`)),
		harmless(field("scope", "wider", `"admin:org,repo,user"`)),
		field("scope", "number", "42"),
		field("refresh_token", "with a newline", `"ghr_1\n2"`),
		field("refresh_token", "number", "42"),
		harmless(named("form instead of JSON", edited(formInstead))),
		named("error beside a token", SetField("error", `"bad_verification_code"`)),
	}
	for _, refusal := range tokenErrors {
		faults = append(faults, named("status 200 with "+refusal.code, OAuthError(refusal.code)))
	}
	return append(faults, named("status 200 with an unknown error", OAuthError("out_of_cheese")))
}

// formInstead changes the body to a form, which GitHub sends to a client that does not ask for
// JSON.
func formInstead(a *answer) {
	form := make(url.Values)
	a.eachObject(func(object fields) {
		for name, value := range object {
			form.Set(name, strings.Trim(string(value), `"`)) // the values need no escapes
		}
	})
	a.body = []byte(form.Encode())
	a.header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
}

// emailFaults returns the faults of GET /user/emails. Most of them are harmless, because a user
// without an e-mail address can sign in.
func emailFaults() []NamedFault {
	return []NamedFault{
		harmless(named("no e-mail", jsonAnswer("[]"))),
		harmless(field("verified", "false", "false")),
		harmless(field("verified", "string", `"true"`)),
		harmless(field("primary", "false", "false")),
		harmless(field("primary", "true for all", "true")),
		harmless(field("email", "missing", "")),
		harmless(field("email", "null", "null")),
		harmless(field("email", "with a newline", `"octocat@example.com\r\nBcc: all@example.com"`)),
		harmless(field("email", "without @", `"octocat"`)),
		harmless(field("email", "of 4 KiB", strconv.Quote(strings.Repeat("a", 4096)+"@example.com"))),
		named("a million e-mails", instead(millionEmails)),
	}
}

// millionEmails sends a list of about eighty megabytes.
func millionEmails(w http.ResponseWriter, _ *http.Request) {
	beginJSON(w)
	separator := "["
	for i := range 1_000_000 {
		send(w, fmt.Appendf(nil,
			`%s{"email":"%d@example.com","primary":false,"verified":true,"visibility":null}`, separator, i))
		separator = ","
	}
	send(w, []byte("]"))
}

// listFaults returns the faults of lists and of the Link headers that lead to their next pages.
func listFaults() []NamedFault {
	return []NamedFault{
		named("list of null", jsonAnswer("[null]")),
		named("list of lists", jsonAnswer("[[]]")),
		named("list of strings", jsonAnswer(`["octocat"]`)),
		harmless(named("next page at another host", link(func(*http.Request) string {
			return elsewhere
		}))),
		harmless(named("next page is this page", link(func(r *http.Request) string {
			return baseURL(r) + r.URL.RequestURI()
		}))),
		harmless(named("next page is garbage", link(func(*http.Request) string { return "http://[" }))),
	}
}

// link returns a fault that adds a Link header to the endpoint's response. The function next
// returns the URL of the next page.
func link(next func(*http.Request) string) Fault {
	return func(endpoint http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			header := fmt.Sprintf(`<%s>; rel="next"`, next(r))
			edited(func(a *answer) { a.header.Set("Link", header) })(endpoint).ServeHTTP(w, r)
		})
	}
}

func membershipFaults() []NamedFault {
	return []NamedFault{
		field("organization", "missing", ""),
		field("organization", "null", "null"),
		field("organization", "with id zero", `{"id":0,"login":"octo-org"}`),
		field("organization", "with id string", `{"id":"6811672","login":"octo-org"}`),
		field("organization", "without id", `{"login":"octo-org"}`),
		named("membership without state", SetField("state", "")),
		named("membership pending", SetField("state", `"pending"`)),
		named("membership in an unknown state", SetField("state", `"banned"`)),
	}
}

func teamFaults() []NamedFault {
	return []NamedFault{
		named("team without id", SetField("id", "")),
		named("team with id zero", SetField("id", "0")),
		named("team with id string", SetField("id", `"2001"`)),
		named("team with id fraction", SetField("id", "2001.5")),
	}
}
