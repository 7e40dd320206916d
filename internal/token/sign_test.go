package token_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/token"
	"github.com/stretchr/testify/require"
)

// claimsOf returns the claims of a token as JSON text.
func claimsOf(t testing.TB, text string) string {
	t.Helper()
	parts := strings.Split(text, ".")
	require.Len(t, parts, 3)
	return decode(t, parts[1])
}

func TestASignedTokenHasTheDocumentedClaims(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *fixture) {
		who := alice()
		who.IssuedAt, who.ExpiresAt =
			who.IssuedAt.Add(999*time.Millisecond), who.ExpiresAt.Add(time.Nanosecond)
		for _, typ := range []string{token.TypeBearer, token.TypeCookie} {
			text, err := token.Sign(t.Context(), f.key, typ, token.NewPrefix(issuer, audience), &who,
				1<<53+1, true)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf(`{"iss":"https://api.example.com","aud":"https://b.example.com","sub":"u1","jti":"s1",`+
				`"iat":%d,"exp":%d,"gen":9007199254740993,"username":"alice","is_super_user":true}`, now, now+3600), claimsOf(t, text))
			require.Equal(t, f.key.Header(typ), strings.Split(text, ".")[0])
			f.Type = typ
			known, err := f.verify(text)
			require.NoError(t, err)
			require.Equal(t, alice(), known.Identity)
			require.Equal(t, int64(1<<53+1), known.Generation)
		}
	})
}

// Hosts and people choose names, so names can contain any characters.
func TestNamesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newKeys(t)["HS256"])
	for _, name := range []string{
		"alice", "~", " ", `"`, `\`, `","sub":"u2`, "<script>&amp;</script>", "é", "日本語", "\x7f", "a\nb\tc", "\u2028", "😀",
		strings.Repeat(`"`, 128),
	} {
		who := token.Identity{
			UserID: name, Username: name, SessionID: name,
			IssuedAt: time.Unix(now, 0).UTC(), ExpiresAt: time.Unix(now+60, 0).UTC(), Audience: name,
		}
		f.Issuer, f.Audience = name, name
		text, err := token.Sign(t.Context(), f.key, f.Type, token.NewPrefix(name, name), &who, 0, false)
		require.NoError(t, err)
		known, err := f.verify(text)
		require.NoError(t, err, "%q", name)
		require.Equal(t, who, known.Identity)

		var encoded strings.Builder
		encoder := json.NewEncoder(&encoded)
		encoder.SetEscapeHTML(false)
		require.NoError(t, encoder.Encode(name))
		require.Contains(t, claimsOf(t, text), `"sub":`+strings.TrimSpace(encoded.String())+`,`)
	}
}

func TestAnHTMLCharacterTakesOneByte(t *testing.T) {
	t.Parallel()
	require.EqualValues(t, `{"iss":"<&>","aud":"<&>é"`, token.NewPrefix("<&>", "<&>é"))
}

func TestAKeyThatCannotSignIsAnError(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"ES256", "EdDSA"} {
		f := newFixture(t, newKeys(t)[alg])
		public, err := signing.ParseJWKS(f.ring.JWKS())
		require.NoError(t, err)
		who := alice()
		text, err := token.Sign(t.Context(), public.ByID(f.key.ID()), f.Type,
			token.NewPrefix(issuer, audience), &who, 0, false)
		require.Error(t, err)
		require.Empty(t, text)
	}
}
