package workload_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// signedPart returns what the signature of an assertion covers. The signature is left out: an ECDSA signature
// has two forms.
func signedPart(assertion string) string {
	return assertion[:max(strings.LastIndex(assertion, "."), 0)]
}

// FuzzVerifyAssertion passes any text to VerifyAssertion, which must accept only what an issuer has signed,
// byte for byte, and only for this host.
func FuzzVerifyAssertion(f *testing.F) {
	signed := map[string]string{} // the IDs of the accepted assertions by their signed parts
	var all []*fixture
	for _, algorithm := range []string{"RS256", "ES256", "EdDSA"} {
		fixture := newFixture(f)
		fixture.issuer.UseKey(algorithm)
		all = append(all, fixture)
		good := fixture.sign("jti", algorithm)
		_, err := fixture.verify(good)
		require.NoError(f, err)
		signed[signedPart(good)] = algorithm
		for _, text := range []string{good, good[:len(good)-1], good + "=", good + ".",
			signedPart(good) + ".", strings.Replace(good, ".", "..", 1),
			fixture.sign("aud", "https://other.example.com"), fixture.sign("repository_id", "75"),
			fixture.sign("exp", 1)} {
			f.Add(text)
		}
	}
	f.Add("")
	f.Add("e30.e30.e30")
	f.Fuzz(func(t *testing.T, text string) {
		for _, fixture := range all {
			signIn, err := fixture.verifier.VerifyAssertion(t.Context(), text)
			if err != nil {
				require.ErrorIs(t, err, auth.ErrAssertionRejected)
				continue
			}
			require.NotEmpty(t, signIn.AssertionID)
			require.Equal(t, signed[signedPart(text)], signIn.AssertionID)
		}
	})
}

// FuzzAssertionContent signs any claims, and a header with any field. If VerifyAssertion accepts the
// assertion, the claims must meet the conditions, as encoding/json reads them.
func FuzzAssertionContent(f *testing.F) {
	fixture := newFixture(f)
	good := fixture.claims("iss", fixture.issuer.URL(), "sub", "repo:octo-org/app", "jti", "1",
		"iat", fixture.clock.Now().Unix(), "exp", fixture.clock.Now().Unix()+60)
	text, err := json.Marshal(good)
	require.NoError(f, err)
	_, err = fixture.verify(fixture.issuer.SignText(nil, string(text)))
	require.NoError(f, err)
	for _, name := range []string{"x", "typ", "crit", "jwk", "kid", "alg", "b64"} {
		f.Add(name, "JWT", string(text))
	}
	for _, replace := range [][2]string{{`"74"`, `74`}, {`"74"`, `"74","repository_id":"75"`},
		{`"push"`, `["push"]`}, {`"push"`, `"pull_request_target"`}, {`{`, `{"AUD":"x",`}, {`}`, `} {}`},
		{`"jti":"1"`, `"jti":""`}, {`"iat":`, `"iat":1e0,"x":`}, {`"aud":`, `"aud":"x","aud":`}} {
		f.Add("x", "", strings.Replace(string(text), replace[0], replace[1], 1))
	}
	f.Fuzz(func(t *testing.T, name, value, claims string) {
		assertion := fixture.issuer.SignText(map[string]any{name: value}, claims)
		signIn, err := fixture.verifier.VerifyAssertion(t.Context(), assertion)
		if err != nil {
			require.ErrorIs(t, err, auth.ErrAssertionRejected)
			return
		}
		require.NotContains(t, []string{"crit", "b64", "jku", "jwk", "x5u", "x5c"}, name)
		var read map[string]any
		require.NoError(t, json.Unmarshal([]byte(claims), &read))
		if list, ok := read["aud"].([]any); ok && len(list) == 1 {
			read["aud"] = list[0]
		}
		for _, name := range []string{"iss", "aud", "repository_id", "repository_owner_id"} {
			require.Equal(t, good[name], read[name], name)
		}
		event, _ := read["event_name"].(string)
		require.True(t, slices.Contains(fixture.workload.Claims["event_name"].([]string), event))
		require.Equal(t, read["jti"], signIn.AssertionID)
		require.NotEmpty(t, signIn.AssertionID)
		require.Equal(t, fixture.deployer.ID, signIn.UserID)
		require.Greater(t, read["exp"], float64(fixture.clock.Now().Unix()))
	})
}
