package wiretest

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// FuzzVerify verifies arbitrary text. An accepted token must be exactly one of the issued tokens.
func FuzzVerify(f *testing.F) {
	var all []*tokens
	issued := map[string]bool{}
	for _, s := range authtest.NewSigners(f) {
		fixture := newTokens(f, s, auth.TokenConfig{})
		token := fixture.token.Bearer.Reveal()
		issued[token] = true
		all = append(all, fixture)
		f.Add(token)
		f.Add(token[:len(token)-1])
		f.Add(token + "=")
		f.Add(strings.Replace(token, ".", "..", 1))
	}
	f.Add("..")
	f.Add("e30.e30.e30")
	f.Fuzz(func(t *testing.T, token string) {
		for _, fixture := range all {
			identity, err := fixture.issuer.Verify(t.Context(), token)
			if err == nil {
				require.True(t, issued[token])
				continue
			}
			require.ErrorIs(t, err, auth.ErrTokenRejected)
			require.Zero(t, identity)
		}
	})
}

// FuzzTokenContent signs arbitrary headers and claims with the right key. golang-jwt must accept
// each accepted token too and read the same identity.
func FuzzTokenContent(f *testing.F) {
	fixture := newTokens(f, authtest.NewSigners(f)["HS256"], auth.TokenConfig{})
	header, claims := fixture.header(nil), fixture.claims(f, nil)
	f.Add(header, claims)
	f.Add(strings.Replace(header, "HS256", "none", 1), claims)
	f.Add(`{"crit":["exp"],`+header[1:], claims)
	f.Add(header, `{"sub":"u2",`+claims[1:])
	f.Add(header, `{"SUB":"u2",`+claims[1:])
	f.Add(header, strings.Replace(claims, `"exp":`, `"exp":1`, 1))
	f.Add(header, strings.Replace(claims, `"aud":"`+issuer+`"`, `"aud":["`+issuer+`"]`, 1))
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer(issuer),
		jwt.WithAudience(issuer), jwt.WithExpirationRequired(), jwt.WithStrictDecoding(),
		jwt.WithTimeFunc(fixture.clock.Now))
	f.Fuzz(func(t *testing.T, header, claims string) {
		token := fixture.Forge(t, header, claims)
		identity, err := fixture.issuer.Verify(t.Context(), token)
		if err != nil {
			require.ErrorIs(t, err, auth.ErrTokenRejected)
			return
		}
		var other struct {
			jwt.RegisteredClaims
			Username string `json:"username"`
		}
		_, err = parser.ParseWithClaims(token, &other, func(*jwt.Token) (any, error) {
			return fixture.Secret, nil
		})
		require.NoError(t, err)
		require.Equal(t, auth.Identity{
			UserID: other.Subject, Username: other.Username, SessionID: other.ID,
			IssuedAt: other.IssuedAt.UTC(), ExpiresAt: other.ExpiresAt.UTC(),
		}, identity)
	})
}

// FuzzAuthorizationHeader passes arbitrary header lines to Identify. Only the bearer scheme, one or
// more spaces and the token are accepted.
func FuzzAuthorizationHeader(f *testing.F) {
	fixture := newFixture(f)
	token := fixture.signIn(fixture.user)
	for _, seed := range []string{
		"", "Bearer", "Bearer ", "bearer " + token, "Bearer  " + token, "Bearer " + token + " ",
		"Basic " + token, token, "Bearer\t" + token, "Bearer " + token + "," + token, "BEARER x.y.z",
		"\x00",
	} {
		f.Add(seed, "", false)
		f.Add(seed, "Bearer "+token, true)
	}
	f.Fuzz(func(t *testing.T, first, second string, two bool) {
		lines := []string{first}
		if two {
			lines = append(lines, second)
		}
		_, err := identify(fixture, lines...)
		if err != nil {
			known := errors.Is(err, auth.ErrTokenMissing) || errors.Is(err, auth.ErrTokenRejected)
			require.True(t, known, err)
			return
		}
		require.False(t, two)
		scheme, rest, found := strings.Cut(first, " ")
		require.True(t, found)
		require.Equal(t, "bearer", strings.ToLower(scheme))
		require.Equal(t, token, strings.TrimLeft(rest, " "))
	})
}

// FuzzLoginBody posts arbitrary bodies to the sign-in. An accepted body must contain the pair in
// fields that encoding/json reads too.
func FuzzLoginBody(f *testing.F) {
	fixture := newFixture(f, func(_ *fixture, cfg *auth.Config) { cfg.Throttling.Off = true })
	good := loginBody(fixture.userPair)
	for _, seed := range []string{
		good, good + " ", `{"x":1,` + good[1:], good[:len(good)-1], "null", "[]",
		`{"ACCESS_KEY":"x",` + good[1:], `{"access_key":"x",` + good[1:], `{"access_key":null}`,
		"{\"access_key\":\"\xff\"}", strings.Replace(good, "s", `\u0073`, 3),
	} {
		f.Add([]byte(seed))
	}
	handler := fixture.svc.LoginHandler()
	f.Fuzz(func(t *testing.T, body []byte) {
		// The space keeps the body from being empty, because send sends an empty body as none.
		r := send(handler, http.MethodPost, "/", string(body)+" ")
		switch r.status {
		case http.StatusOK:
		case http.StatusBadRequest, http.StatusUnauthorized,
			http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
			requireErrorBody(t, r)
			return
		default:
			t.Fatal(r.status, r.body)
		}
		var fields map[string]any
		decoder := json.NewDecoder(bytes.NewReader(body))
		require.NoError(t, decoder.Decode(&fields))
		require.Equal(t, fixture.userPair.AccessKey, fields["access_key"])
		require.Equal(t, fixture.userPair.AccessSecret.Reveal(), fields["access_secret"])
	})
}
