package token_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/token"
)

// limited returns an identity with scopes.
func limited(scope string) token.Identity {
	who := alice()
	who.Limited, who.Scope, who.AccessKeyID = true, scope, "ak_live_x"
	return who
}

func (f *fixture) signAs(t *testing.T, typ string, who token.Identity) string {
	t.Helper()
	text, err := token.Sign(t.Context(), f.key, typ, token.NewPrefix(f.Issuer, f.Audience), &who, 7, false)
	require.NoError(t, err)
	return text
}

func TestATokenWithScopesHasATypeOfItsOwn(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *fixture) {
		for _, scope := range []string{"", "reports:read", "a b c"} {
			who := limited(scope)
			text := f.signAs(t, token.TypeBearer, who)
			header, claims, _ := strings.Cut(text, ".")
			claims, _, _ = strings.Cut(claims, ".")
			require.JSONEq(t, f.header(map[string]any{"typ": "at+jwt"}), decode(t, header))
			require.JSONEq(t, f.claims(map[string]any{"scope": scope, "client_id": "ak_live_x"}),
				decode(t, claims))
			known, err := f.verify(text)
			require.NoError(t, err)
			require.Equal(t, who, known.Identity)
		}
	})
}

func TestATokenWithoutScopesHasNeitherTheTypeNorTheClaims(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *fixture) {
		header, claims, _ := strings.Cut(f.sign(t), ".")
		claims, _, _ = strings.Cut(claims, ".")
		require.JSONEq(t, f.header(nil), decode(t, header))
		require.JSONEq(t, f.claims(nil), decode(t, claims))
	})
}

// A verifier must not accept a token as unlimited if the scopes were removed from the claims or the type
// from the header, or if the set is written in another way.
func TestScopesAndTypeBelongTogether(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *fixture) {
		scopes := func(scope, client any) map[string]any {
			return map[string]any{"scope": scope, "client_id": client}
		}
		null := json.RawMessage("null")
		for name, c := range map[string]struct {
			typ    string
			claims map[string]any
		}{
			"at+jwt without scopes":          {token.TypeLimited, nil},
			"at+jwt without scope":           {token.TypeLimited, scopes(nil, "ak")},
			"at+jwt without client_id":       {token.TypeLimited, scopes("a", nil)},
			"at+jwt, scope null":             {token.TypeLimited, scopes(null, "ak")},
			"at+jwt, scope an array":         {token.TypeLimited, scopes([]string{"a"}, "ak")},
			"at+jwt, scopes in no order":     {token.TypeLimited, scopes("b a", "ak")},
			"at+jwt, scope twice":            {token.TypeLimited, scopes("a a", "ak")},
			"at+jwt, two spaces":             {token.TypeLimited, scopes("a  b", "ak")},
			"at+jwt, a space at the end":     {token.TypeLimited, scopes("a ", "ak")},
			"at+jwt, a tab":                  {token.TypeLimited, scopes("a\tb", "ak")},
			"at+jwt, scopes too long":        {token.TypeLimited, scopes(strings.Repeat("x", 65), "ak")},
			"at+jwt, client_id a number":     {token.TypeLimited, scopes("a", 1)},
			"JWT with scopes":                {token.TypeBearer, scopes("a", "ak")},
			"JWT with an empty scope":        {token.TypeBearer, scopes("", "")},
			"JWT with scope null":            {token.TypeBearer, map[string]any{"scope": null}},
			"JWT with client_id alone":       {token.TypeBearer, map[string]any{"client_id": "ak"}},
			"JWT with client_id of no value": {token.TypeBearer, map[string]any{"client_id": ""}},
		} {
			text := f.forge(t, f.header(map[string]any{"typ": c.typ}), f.claims(c.claims))
			f.requireRejected(t, text, token.ErrClaims, name)
		}
	})
}

func TestACookieMayHaveScopesButNoBearerTokenIsACookie(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *fixture) {
		who := limited("a b")
		bearer, cookie := f.signAs(t, token.TypeBearer, who), f.signAs(t, token.TypeCookie, who)
		f.requireRejected(t, cookie, token.ErrHeader)
		f.Type = token.TypeCookie
		f.requireRejected(t, bearer, token.ErrHeader)
		known, err := f.verify(cookie)
		require.NoError(t, err)
		require.Equal(t, who, known.Identity)
		half := f.forge(t, f.header(nil), f.claims(map[string]any{"scope": "a"}))
		f.requireRejected(t, half, token.ErrClaims)
	})
}

func TestTheClaimsOfTheHostAreAnObjectOfLimitedLength(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *fixture) {
		who := alice()
		who.Claims = `{"a":[1,{"b":null}]}`
		known, err := f.verify(f.signAs(t, f.Type, who))
		require.NoError(t, err)
		require.Equal(t, who, known.Identity)
		for name, ext := range map[string]string{
			"null": `null`, "text": `"{}"`, "an array": `[]`, "a number": `1`, "true": `true`,
			"too long": `{"a":"` + strings.Repeat("x", token.MaxClaims-7) + `"}`,
		} {
			claims := f.claims(map[string]any{"ext": json.RawMessage(ext)})
			f.requireRejected(t, f.forge(t, f.header(nil), claims), token.ErrClaims, name)
		}
	})
}
