package githubtest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

type check func(*testing.T, outcome)

// faultChecks maps the name of each fault to a check of its effect.
func faultChecks() map[string]check {
	checks := map[string]check{
		"time-out":                            noAnswer,
		"time-out after the headers":          halfAnAnswer,
		"connection reset before the headers": noAnswer,
		"connection reset after the headers":  halfAnAnswer,
		"connection closed before the headers": func(t *testing.T, got outcome) {
			noAnswer(t, got)
			require.ErrorContains(t, got.err, "EOF")
		},
		"connection closed in the body": func(t *testing.T, got outcome) {
			halfAnAnswer(t, got)
			require.Equal(t, `{"login":`, got.body)
		},
		"slow drip":       halfAnAnswer,
		"not HTTP":        noAnswer,
		"endless headers": noAnswer,
		"endless body":    moreThanEnough,
		"gzip bomb": func(t *testing.T, got outcome) {
			moreThanEnough(t, got)
			require.Empty(t, strings.TrimSpace(got.body))
		},
		"gzip that is none": func(t *testing.T, got outcome) { require.Error(t, got.err) },

		"redirect loop": func(t *testing.T, got outcome) {
			require.Equal(t, http.StatusTemporaryRedirect, got.status)
			require.True(t, strings.HasPrefix(got.header.Get("Location"), "/"))
		},
		"redirect without a location": func(t *testing.T, got outcome) {
			require.Equal(t, http.StatusFound, got.status)
			require.Empty(t, got.header.Get("Location"))
		},
		"retry-after of an hour":         retryAfter("3600"),
		"retry-after absurd":             retryAfter("99999999999999999999"),
		"retry-after negative":           retryAfter("-1"),
		"retry-after garbage":            retryAfter("when the cows come home"),
		"retry-after a date in the past": retryAfter("Fri, 31 Dec 1999 23:59:59 GMT"),
		"rate limit exhausted":           exhausted("4102444800"),
		"rate limit reset garbage":       exhausted("soon"),
	}
	for _, status := range []int{400, 401, 403, 404, 410, 418, 422, 429, 451, 500, 501, 502, 503, 504} {
		checks[fmt.Sprintf("status %d", status)] = errorStatus(status)
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		checks[fmt.Sprintf("redirect %d to another host", status)] = func(t *testing.T, got outcome) {
			require.Equal(t, status, got.status)
			require.Equal(t, "http://elsewhere.invalid/", got.header.Get("Location"))
		}
	}
	for _, more := range []map[string]check{bodyChecks(), fieldChecks(), listChecks(),
		callbackChecks()} {
		maps.Copy(checks, more)
	}
	return checks
}

func noAnswer(t *testing.T, got outcome) {
	require.Error(t, got.err)
	require.Zero(t, got.status)
}

func halfAnAnswer(t *testing.T, got outcome) {
	require.Error(t, got.err)
	if got.status != 0 { // zero if the connection broke before the client read the headers
		require.Equal(t, http.StatusOK, got.status)
	}
}

func moreThanEnough(t *testing.T, got outcome) {
	require.NoError(t, got.err)
	require.Equal(t, http.StatusOK, got.status)
	require.Len(t, got.body, maxRead)
}

func errorStatus(status int) check {
	return func(t *testing.T, got outcome) {
		require.NoError(t, got.err)
		require.Equal(t, status, got.status)
		if status > http.StatusNotImplemented {
			require.Contains(t, got.body, "<!DOCTYPE html>")
			return
		}
		require.Equal(t, fmt.Sprint(status), got.object(t)["status"])
		require.NotEmpty(t, got.object(t)["message"])
	}
}

func retryAfter(value string) check {
	return func(t *testing.T, got outcome) {
		require.Contains(t, []int{429, 503}, got.status)
		require.Equal(t, value, got.header.Get("Retry-After"))
	}
}

func exhausted(reset string) check {
	return func(t *testing.T, got outcome) {
		require.Equal(t, http.StatusForbidden, got.status)
		require.Equal(t, "0", got.header.Get("X-RateLimit-Remaining"))
		require.Equal(t, reset, got.header.Get("X-RateLimit-Reset"))
	}
}

// body returns a check that the response is a success and that the function check accepts its body.
func body(check func(*testing.T, string)) check {
	return func(t *testing.T, got outcome) {
		require.NoError(t, got.err)
		require.Equal(t, http.StatusOK, got.status)
		check(t, got.body)
	}
}

func bodyIs(want string) check {
	return body(func(t *testing.T, body string) { require.Equal(t, want, body) })
}

func notJSON(t *testing.T, body string) {
	require.False(t, json.Valid([]byte(body)), body)
}

func bodyChecks() map[string]check {
	return map[string]check{
		"empty body":           bodyIs(""),
		"no content":           func(t *testing.T, got outcome) { require.Equal(t, http.StatusNoContent, got.status) },
		"truncated JSON":       body(notJSON),
		"HTML with status 200": body(func(t *testing.T, body string) { require.Contains(t, body, "<!DOCTYPE html>") }),
		"JSON called text":     called("text/plain; charset=utf-8"),
		"JSON called HTML":     called("text/html; charset=utf-8"),
		"null":                 bodyIs("null"),
		"a string":             bodyIs(`"octocat"`),
		"a number":             bodyIs("583231"),
		"array and object swapped": body(func(t *testing.T, body string) {
			require.True(t, json.Valid([]byte(body)))
			require.True(t, strings.HasPrefix(body, "[{") || strings.HasPrefix(body, `{"items":[`),
				body)
		}),
		"zero bytes":    bodyIs(strings.Repeat("\x00", 4096)),
		"invalid UTF-8": body(func(t *testing.T, body string) { require.False(t, utf8.ValidString(body)) }),
		"byte order mark": body(func(t *testing.T, body string) {
			notJSON(t, body)
			require.True(t, json.Valid([]byte(strings.TrimPrefix(body, "\ufeff"))))
		}),
		"two documents": body(func(t *testing.T, body string) {
			require.Equal(t, body[:len(body)/2], body[len(body)/2:])
			require.True(t, json.Valid([]byte(body[:len(body)/2])))
		}),
		"garbage after the document": body(func(t *testing.T, body string) {
			require.True(t, json.Valid([]byte(strings.TrimSuffix(body, "<!-- -->"))))
		}),
		"deep nesting": bodyIs(strings.Repeat("[", 100_000)),
		"fields in capitals": body(func(t *testing.T, body string) {
			require.True(t, json.Valid([]byte(body)))
			require.Regexp(t, `^\[?\{"[A-Z_]+":`, body)
		}),
		"everything twice": body(func(t *testing.T, body string) {
			require.True(t, json.Valid([]byte(body)))
			inner := body[1 : len(body)-1]
			require.Equal(t, inner[:len(inner)/2], inner[len(inner)/2+1:])
		}),
	}
}

func called(contentType string) check {
	return func(t *testing.T, got outcome) {
		require.True(t, json.Valid([]byte(got.body)))
		require.Equal(t, contentType, got.header.Get("Content-Type"))
	}
}

func listChecks() map[string]check {
	next := func(want func(string) bool) check {
		return func(t *testing.T, got outcome) {
			require.Equal(t, http.StatusOK, got.status)
			target, found := strings.CutSuffix(strings.TrimPrefix(got.header.Get("Link"), "<"),
				`>; rel="next"`)
			require.True(t, found)
			require.True(t, want(target), target)
		}
	}
	return map[string]check{
		"list of null":              bodyIs("[null]"),
		"list of lists":             bodyIs("[[]]"),
		"list of strings":           bodyIs(`["octocat"]`),
		"next page at another host": next(func(to string) bool { return to == "http://elsewhere.invalid/" }),
		"next page is this page":    next(func(to string) bool { return strings.Contains(to, "/api/v3/user/") }),
		"next page is garbage":      next(func(to string) bool { _, err := url.Parse(to); return err != nil }),
		"no e-mail":                 bodyIs("[]"),
		"a million e-mails": func(t *testing.T, got outcome) {
			moreThanEnough(t, got)
			require.NotContains(t, got.body, `"primary":true`)
		},
	}
}

func callbackChecks() map[string]check {
	with := func(name string, want ...string) check {
		return func(t *testing.T, got outcome) {
			require.Equal(t, http.StatusFound, got.status)
			require.Equal(t, want, brought(t, got.reply)[name])
		}
	}
	twice := func(name string) check {
		return func(t *testing.T, got outcome) { require.Len(t, brought(t, got.reply)[name], 2) }
	}
	other := strings.Repeat("0", 20)
	return map[string]check{
		"access denied": with("error", "access_denied"),
		"unknown error": with("error_description", "<script>alert(1)</script>"),
		"error beside a code": func(t *testing.T, got outcome) {
			require.Subset(t, keys(brought(t, got.reply)), []string{"code", "error", "state"})
		},
		"code missing":  with("code"),
		"code empty":    with("code", ""),
		"code wrong":    with("code", other),
		"code twice":    twice("code"),
		"state missing": with("state"),
		"state empty":   with("state", ""),
		"state wrong":   with("state", other),
		"state twice":   twice("state"),
		"iss missing":   with("iss"),
		"iss empty":     with("iss", ""),
		"iss wrong":     with("iss", "http://elsewhere.invalid/login/oauth"),
		"iss twice":     twice("iss"),
	}
}

func keys(query url.Values) []string {
	var names []string
	for name := range query {
		names = append(names, name)
	}
	return names
}
