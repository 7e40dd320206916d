package token_test

import (
	"crypto/rand"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/token"
)

// delegated returns the identity of a delegated token.
func delegated(scope string) token.Identity {
	who := limited(scope)
	who.Actor = "agent"
	return who
}

func TestADelegatedTokenNamesItsSessionAndItsActor(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *fixture) {
		ids := map[any]bool{}
		for _, who := range []token.Identity{delegated(""), delegated("a b"), func() token.Identity {
			strange := delegated("a")
			strange.Actor, strange.Claims = `"},"x":{"`, `{"act":1}`
			return strange
		}()} {
			text := f.signAs(t, token.TypeBearer, who)
			header, _, _ := strings.Cut(text, ".")
			require.JSONEq(t, f.header(map[string]any{"typ": "at+jwt"}), decode(t, header))
			var claims map[string]any
			require.NoError(t, json.Unmarshal([]byte(claimsOf(t, text)), &claims))
			require.Equal(t, map[string]any{"sub": who.Actor}, claims["act"])
			require.Equal(t, "s1", claims["sid"])
			require.Equal(t, who.Scope, claims["scope"])
			require.Equal(t, "ak_live_x", claims["client_id"])
			ids[claims["jti"]] = true
			known, err := f.verify(text)
			require.NoError(t, err)
			require.Equal(t, who, known.Identity)
			require.EqualValues(t, 7, known.Generation)
		}
		require.Len(t, ids, 3, "each token has an ID of its own")
		require.NotContains(t, ids, "s1")
	})
}

func TestADelegatedTokenIsLimitedAndNoCookie(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newKeys(t)["HS256"])
	unlimited := alice()
	unlimited.Actor = "agent"
	who := delegated("a")
	for name, c := range map[string]struct {
		typ string
		who *token.Identity
	}{
		"without scopes": {token.TypeBearer, &unlimited},
		"in a cookie":    {token.TypeCookie, &who},
	} {
		text, err := token.Sign(t.Context(), f.key, c.typ, token.NewPrefix(issuer, audience), c.who, 7, false)
		require.Error(t, err, name)
		require.Empty(t, text, name)
	}
}

// The claims sid and act are accepted only in the form that Sign writes. Otherwise, a token that was made
// with the same key for another purpose could pass for a delegated token, or an actor could be hidden.
func TestOnlyOneFormOfADelegatedTokenIsAccepted(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *fixture) {
		good := map[string]any{
			"scope": "a", "client_id": "ak", "sid": "s2", "act": map[string]any{"sub": "x"},
		}
		forge := func(typ string, changes map[string]any) string {
			claims := maps.Clone(good)
			maps.Copy(claims, changes)
			return f.forge(t, f.header(map[string]any{"typ": typ}), f.claims(claims))
		}
		known, err := f.verify(forge(token.TypeLimited, nil))
		require.NoError(t, err)
		require.Equal(t, "s2", known.Identity.SessionID)
		require.Equal(t, "x", known.Identity.Actor)

		raw := func(text string) map[string]any { return map[string]any{"act": json.RawMessage(text)} }
		null := json.RawMessage("null")
		for name, changes := range map[string]map[string]any{
			"no act":                      {"act": nil},
			"no sid":                      {"sid": nil},
			"act null":                    {"act": null},
			"sid null":                    {"sid": null},
			"sid null, no act":            {"sid": null, "act": nil},
			"act null, no sid":            {"act": null, "sid": nil},
			"an empty sid":                {"sid": ""},
			"sid a number":                {"sid": 1},
			"sid a list":                  {"sid": []string{"s2"}},
			"no scopes":                   {"scope": nil, "client_id": nil},
			"no scope":                    {"scope": nil},
			"no client_id":                {"client_id": nil},
			"no jti":                      {"jti": nil},
			"an empty jti":                {"jti": ""},
			"act a string":                raw(`"x"`),
			"act a list":                  raw(`[{"sub":"x"}]`),
			"act true":                    raw(`true`),
			"act empty":                   raw(`{}`),
			"an empty actor":              raw(`{"sub":""}`),
			"an actor that is a number":   raw(`{"sub":1}`),
			"an actor that is null":       raw(`{"sub":null}`),
			"an actor that is a list":     raw(`{"sub":["x"]}`),
			"an actor of an actor":        raw(`{"sub":"x","act":{"sub":"y"}}`),
			"an actor of another issuer":  raw(`{"sub":"x","iss":"https://evil.example.com"}`),
			"an actor in capitals":        raw(`{"SUB":"x"}`),
			"an actor twice":              raw(`{"sub":"x","sub":"y"}`),
			"an actor twice, by escapes":  raw(`{"sub":"x","\u0073ub":"y"}`),
			"another spelling of a name":  raw(`{"\u0073ub":"x"}`),
			"another spelling of a value": raw(`{"sub":"\u0078"}`),
			"an actor of another name":    raw(`{"name":"x"}`),
			"sid in capitals":             {"sid": nil, "SID": "s2"},
			"sid in capitals as well":     {"SID": "s3"},
			"act in capitals":             {"act": nil, "ACT": map[string]any{"sub": "x"}},
			"act in capitals as well":     {"Act": map[string]any{"sub": "y"}},
		} {
			f.requireRejected(t, forge(token.TypeLimited, changes), token.ErrClaims, name)
		}
		for name, act := range map[string]string{ // json.Marshal writes none of these
			"a space":   `{"sub": "x"}`,
			"act twice": `{"sub":"x"},"act":{"sub":"y"}`,
		} {
			claims := strings.Replace(f.claims(good), `{"sub":"x"}`, act, 1)
			text := f.forge(t, f.header(map[string]any{"typ": token.TypeLimited}), claims)
			f.requireRejected(t, text, token.ErrClaims, name)
		}

		f.requireRejected(t, forge(token.TypeBearer, nil), token.ErrClaims, "typ JWT")
		f.requireRejected(t, forge(token.TypeBearer, map[string]any{"scope": nil, "client_id": nil}),
			token.ErrClaims, "typ JWT without scopes")
		f.Type = token.TypeCookie
		f.requireRejected(t, forge(token.TypeCookie, nil), token.ErrClaims, "a cookie")
		f.Type, f.Audience = token.TypeBearer, issuer
		f.requireRejected(t, forge(token.TypeLimited, nil), token.ErrClaims, "for the issuer")
	})
}

func TestATokenIsAcceptedForItsAudienceAlone(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *fixture) {
		cache, err := token.NewCache(0)
		require.NoError(t, err)
		f.Audience, f.Others = issuer, []string{audience, audience + "/", strings.ToUpper(audience), "b"}
		all := append([]string{issuer}, f.Others...)
		for _, name := range all {
			who := alice()
			who.Audience = name
			text, err := token.Sign(t.Context(), f.key, f.Type, token.NewPrefix(issuer, name), &who, 7, false)
			require.NoError(t, err)
			for i, cached := range []bool{false, true, true} { // first without the cache
				for _, asked := range append(all, "", "https://b.example.co", name+" ", "*") {
					use := cache
					if i == 0 {
						use = nil
					}
					known, _, err := f.VerifyFor(use, f.ring, asked, text, now)
					if asked != name {
						require.ErrorIs(t, err, token.ErrAudience, "%q for %q", name, asked)
						require.Nil(t, known)
						continue
					}
					require.NoError(t, err)
					require.Equal(t, who, known.Identity)
				}
				if i > 0 {
					_, found, err := f.VerifyAny(cache, f.ring, text, now)
					require.NoError(t, err)
					require.Equal(t, cached, found)
				}
			}
			_, _, err = f.Verify(cache, f.ring, text, now)
			require.Equal(t, name == issuer, err == nil, name)
		}
		unknown := f.forge(t, f.header(nil), f.claims(map[string]any{"aud": "https://c.example.com"}))
		_, _, err = f.VerifyAny(cache, f.ring, unknown, now)
		require.ErrorIs(t, err, token.ErrAudience)
		_, _, err = f.VerifyFor(cache, f.ring, "https://c.example.com", unknown, now)
		require.ErrorIs(t, err, token.ErrAudience)
		empty := f.forge(t, f.header(nil), f.claims(map[string]any{"aud": ""}))
		_, _, err = f.VerifyFor(cache, f.ring, "", empty, now)
		require.ErrorIs(t, err, token.ErrAudience)
	})
}

func TestTheLongestLengthIsThatOfTheLongestToken(t *testing.T) {
	t.Parallel()
	for alg, key := range newKeys(t) {
		who := delegated("a b")
		who.Claims = `{"a":1}`
		prefix := token.NewPrefix(issuer, audience)
		text, err := token.Sign(t.Context(), key, token.TypeBearer, prefix, &who, 7, false)
		require.NoError(t, err)
		require.Less(t, len(text), token.LongestLength(prefix, token.TypeLimited, &who), alg)
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	key, err := signing.NewHS256Key(strings.Repeat("k", signing.MaxID), secret)
	require.NoError(t, err)
	f := newFixture(t, key)
	lengths := map[bool]int{}
	for n := range 2000 {
		who := limited("")
		who.Username = strings.Repeat("x", n+1000)
		text, err := token.Sign(t.Context(), key, token.TypeBearer, token.NewPrefix(issuer, audience), &who,
			7, false)
		lengths[err == nil]++
		if err != nil {
			require.Empty(t, text)
			continue
		}
		require.LessOrEqual(t, len(text), token.MaxLength)
		_, err = f.verify(text)
		require.NoError(t, err)
	}
	require.Greater(t, lengths[true], 100)
	require.Greater(t, lengths[false], 100)
}
