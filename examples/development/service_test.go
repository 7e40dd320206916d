package main

import (
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

// newConfig returns the configuration of a test. A key must be random, because auth.New refuses a text such
// as "test-secret".
func newConfig(t *testing.T) auth.Config {
	t.Helper()
	key, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text()))
	require.NoError(t, err)
	return auth.Config{
		Issuer:      "https://api.example.com",
		SigningKeys: []auth.SigningKey{key},
		Proxies:     auth.NoProxies(),
		Logger:      slog.New(slog.DiscardHandler), // keeps events out of the output of the test
	}
}

// newService returns the service with a store in memory.
func newService(t *testing.T) (*auth.Service, http.Handler) {
	t.Helper()
	svc, api, err := newAPI(memstore.New(), newConfig(t))
	require.NoError(t, err)
	return svc, api
}

// newUser makes a user, and returns a token of this user.
func newUser(t *testing.T, svc *auth.Service, user auth.UserParams, options auth.LoginOptions) string {
	t.Helper()
	made, err := svc.Register(t.Context(), auth.ByHost("test"), user)
	require.NoError(t, err)
	token, err := svc.SignIn(t.Context(), made.User.ID, options)
	require.NoError(t, err)
	return token.Bearer.Reveal()
}

// send calls the handler, and returns its answer. No port and no network is needed.
func send(api http.Handler, method, path, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	api.ServeHTTP(w, r)
	return w
}

func TestARouteIsOnlyForUsers(t *testing.T) {
	t.Parallel()
	svc, api := newService(t)
	alice := newUser(t, svc, auth.UserParams{Username: "alice"}, auth.LoginOptions{})

	require.Equal(t, "the reports of alice\n", send(api, "GET", "/reports", alice).Body.String())
	require.Equal(t, http.StatusUnauthorized, send(api, "GET", "/reports", "").Code)
	require.Equal(t, http.StatusUnauthorized, send(api, "GET", "/reports", alice+"x").Code)
}

func TestTheRightsOfEachCaller(t *testing.T) {
	t.Parallel()
	svc, api := newService(t)
	onlyRead := auth.LoginOptions{Scopes: auth.NewScopes("reports:read")}
	callers := map[string]string{
		"super user":      newUser(t, svc, auth.UserParams{Username: "ada", IsSuperUser: true}, auth.LoginOptions{}),
		"user":            newUser(t, svc, auth.UserParams{Username: "alice"}, auth.LoginOptions{}),
		"read-only token": newUser(t, svc, auth.UserParams{Username: "bob"}, onlyRead),
	}
	for _, c := range []struct {
		caller, method string
		want           int
	}{
		{"super user", "DELETE", http.StatusNoContent},
		{"user", "PUT", http.StatusNoContent},
		{"user", "DELETE", http.StatusForbidden},
		{"read-only token", "GET", http.StatusOK},
		{"read-only token", "PUT", http.StatusForbidden},
	} {
		require.Equal(t, c.want, send(api, c.method, "/reports", callers[c.caller]).Code, c)
	}
}

func TestAUserSignsInWithAnAccessKey(t *testing.T) {
	t.Parallel()
	svc, api := newService(t)
	made, err := svc.Register(t.Context(), auth.ByHost("test"), auth.UserParams{Username: "alice"})
	require.NoError(t, err)
	body, err := json.Marshal(map[string]string{
		"access_key": made.Pair.AccessKey, "access_secret": made.Pair.AccessSecret.Reveal()})
	require.NoError(t, err)
	r := httptest.NewRequest("POST", "/auth/users/login", strings.NewReader(string(body)))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	api.ServeHTTP(w, r)

	var answer struct{ Token string }
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
	require.Equal(t, "the reports of alice\n", send(api, "GET", "/reports", answer.Token).Body.String())
}
