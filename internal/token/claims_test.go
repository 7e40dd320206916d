package token_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport-go/auth/internal/token"
	"github.com/stretchr/testify/require"
)

func TestClaimsThatAreNotOursAreRejected(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newKeys(t)["HS256"])
	reject := func(reason error, faults map[string]map[string]any) {
		t.Helper()
		for name, changes := range faults {
			f.requireRejected(t, f.forge(t, f.header(nil), f.claims(changes)), reason, name)
		}
	}
	reject(token.ErrIssuer, map[string]map[string]any{
		"iss of another":      {"iss": "https://evil.example.com"},
		"iss with a slash":    {"iss": issuer + "/"},
		"iss in a list":       {"iss": []string{issuer}},
		"iss empty":           {"iss": ""},
		"iss and aud swapped": {"iss": audience, "aud": issuer},
	})
	reject(token.ErrAudience, map[string]map[string]any{
		"aud of another":  {"aud": issuer},
		"aud in a list":   {"aud": []string{audience}},
		"aud in capitals": {"aud": strings.ToUpper(audience)},
	})
	reject(token.ErrClaims, map[string]map[string]any{
		"sub empty":                    {"sub": ""},
		"jti empty":                    {"jti": ""},
		"SUB beside sub":               {"SUB": "u2"},
		"is_super_user with a long s":  {"i\u017f_super_user": true},
		"is_super_user a string":       {"is_super_user": "true"},
		"is_super_user a number":       {"is_super_user": 1},
		"iat with a fraction":          {"iat": json.RawMessage(fmt.Sprint(now) + ".5")},
		"exp with a zero for fraction": {"exp": json.RawMessage(fmt.Sprint(now+60) + ".0")},
		"exp in exponents":             {"exp": json.RawMessage("1e10")},
		"exp beyond int64":             {"exp": json.RawMessage("9223372036854775808")},
		"exp a string":                 {"exp": fmt.Sprint(now + 60)},
		"nbf a string":                 {"nbf": "0"},
		"bound to a key":               {"cnf": map[string]any{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}},
		"bound to nothing":             {"cnf": map[string]any{}},
		"bound to null":                {"cnf": json.RawMessage("null")},
		"nbf null":                     {"nbf": json.RawMessage("null")},
		"nbf with a fraction":          {"nbf": json.RawMessage("0.5")},
		"gen below zero":               {"gen": -1},
		"gen a fraction":               {"gen": 0.5},
		"gen a string":                 {"gen": "7"},
	})
	for _, name := range []string{"iss", "aud", "sub", "jti", "iat", "exp", "gen", "username",
		"is_super_user"} {
		reason := token.ErrClaims
		switch name {
		case "iss":
			reason = token.ErrIssuer
		case "aud":
			reason = token.ErrAudience
		}
		reject(reason, map[string]map[string]any{
			"no " + name:         {name: nil},
			name + " null":       {name: json.RawMessage("null")},
			name + " an object":  {name: map[string]any{}},
			name + " of a list":  {name: []any{}},
			name + " given wild": {name: json.RawMessage(`[{"x":[]}]`)},
		})
		if name != "is_super_user" {
			reject(reason, map[string]map[string]any{name + " a truth value": {name: true}})
		}
	}
	for _, name := range []string{"sub", "jti", "username"} {
		reject(token.ErrClaims, map[string]map[string]any{name + " a number": {name: 1}})
	}

	good := f.claims(nil)
	for name, claims := range map[string]string{
		"not JSON":              "sub",
		"an array":              "[]",
		"trailing data":         good + "{}",
		"sub twice":             `{"sub":"u2",` + good[1:],
		"sub twice, by escapes": good[:len(good)-1] + `,"\u0073ub":"u2"}`,
		"invalid UTF-8":         good[:len(good)-1] + ",\"x\":\"\xff\"}",
		"NUL":                   good[:len(good)-1] + `,"x":"\u0000"}`,
	} {
		f.requireRejected(t, f.forge(t, f.header(nil), claims), token.ErrClaims, name)
	}
}

func TestClaimsThatAreGood(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newKeys(t)["HS256"])
	for name, changes := range map[string]map[string]any{
		"generation zero":   {"gen": 0},
		"an empty username": {"username": ""},
		"a super user":      {"is_super_user": true},
		"nbf now":           {"nbf": now},
		"nbf zero":          {"nbf": 0},
		"long names":        {"sub": strings.Repeat("u", 600), "jti": strings.Repeat("j", 600)},
	} {
		known, err := f.verify(f.forge(t, f.header(nil), f.claims(changes)))
		require.NoError(t, err, name)
		if sub, ok := changes["sub"]; ok {
			require.Equal(t, sub, known.Identity.UserID)
			require.Equal(t, changes["jti"], known.Identity.SessionID)
		}
	}
}

func TestTheTimesAreHeldToTheSecond(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newKeys(t)["HS256"])
	for name, test := range map[string]struct {
		changes map[string]any
		want    error
	}{
		"iat of the first second":    {map[string]any{"iat": 1, "exp": now + 1}, token.ErrLifetime},
		"iat zero":                   {map[string]any{"iat": 0, "exp": 10}, token.ErrLifetime},
		"iat negative":               {map[string]any{"iat": -1}, token.ErrLifetime},
		"iat the least integer":      {map[string]any{"iat": json.RawMessage("-9223372036854775808")}, token.ErrLifetime},
		"iat a little ahead":         {map[string]any{"iat": now + 30}, nil},
		"iat too far ahead":          {map[string]any{"iat": now + 31}, token.ErrLifetime},
		"nbf ahead":                  {map[string]any{"nbf": now + 1}, token.ErrLifetime},
		"exp equal to iat":           {map[string]any{"iat": now + 20, "exp": now + 20}, token.ErrLifetime},
		"exp before iat":             {map[string]any{"iat": now + 20, "exp": now + 10}, token.ErrLifetime},
		"the longest life":           {map[string]any{"iat": now - 10, "exp": now - 10 + lifetime}, nil},
		"too long a life":            {map[string]any{"iat": now - 10, "exp": now - 9 + lifetime}, token.ErrLifetime},
		"exp the greatest integer":   {map[string]any{"exp": json.RawMessage("9223372036854775807")}, token.ErrLifetime},
		"expires in a second":        {map[string]any{"iat": now - 10, "exp": now + 1}, nil},
		"expires now":                {map[string]any{"iat": now - 10, "exp": now}, token.ErrExpired},
		"expired a second ago":       {map[string]any{"iat": now - 10, "exp": now - 1}, token.ErrExpired},
		"a life of one second":       {map[string]any{"iat": now, "exp": now + 1}, nil},
		"a second long, and expired": {map[string]any{"iat": now - 1, "exp": now}, token.ErrExpired},
	} {
		_, err := f.verify(f.forge(t, f.header(nil), f.claims(test.changes)))
		if test.want == nil {
			require.NoError(t, err, name)
		} else {
			require.ErrorIs(t, err, test.want, name)
		}
	}

	first := f.forge(t, f.header(nil), f.claims(map[string]any{"iat": 1, "exp": 2}))
	_, _, err := f.Verify(nil, f.ring, first, 1)
	require.NoError(t, err, "the first second that can be")
}
