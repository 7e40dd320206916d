package wiretest

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// FuzzAuthorizationHeader calls Identify with arbitrary Authorization headers. A header is accepted
// only if it consists of the bearer scheme, one or more spaces and the token.
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

// FuzzLoginBody sends arbitrary bodies to the sign-in call. If a body is accepted, encoding/json
// must find the access key and secret in it too.
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
	handler := fixture.svc.Route("POST /auth/users/login").Handler
	f.Fuzz(func(t *testing.T, body []byte) {
		// The space is added because send sends no body at all if the body is empty.
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
