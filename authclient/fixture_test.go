package authclient_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/authclient"
	"github.com/sallyport-go/auth/memstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a service on a server, and a client that signs in there as a super user.
type fixture struct {
	svc     *auth.Service
	server  *httptest.Server
	pair    auth.KeyPair
	client  *authclient.Client
	signIns atomic.Int32
	before  atomic.Pointer[func(http.ResponseWriter, *http.Request) bool] // see meddle
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{}
	key, err := auth.NewHS256Key("", []byte(strings.Repeat("0123456789abcdef", 2)+"authclient"))
	require.NoError(t, err)
	f.svc, err = auth.New(memstore.New(), auth.Config{
		Issuer: "https://api.example.com", SigningKeys: []auth.SigningKey{key}, Proxies: auth.NoProxies(),
		Tokens: auth.TokenConfig{Scopes: []string{"reports:read"}},
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	mux := http.NewServeMux()
	f.svc.Mount(mux)
	mux.Handle("/reports", f.svc.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	})))
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/auth/users/login" {
			f.signIns.Add(1)
		}
		if before := f.before.Load(); before != nil && (*before)(w, r) {
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		f.server.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	f.pair = f.svc.Credentials().GeneratePair()
	_, err = f.svc.Bootstrap(t.Context(), auth.UserParams{Username: "root"}, f.pair)
	require.NoError(t, err)
	f.client = f.newClient(t, authclient.Config{})
	return f
}

func (f *fixture) newClient(t *testing.T, cfg authclient.Config) *authclient.Client {
	t.Helper()
	client, err := authclient.NewWithConfig(f.server.URL,
		authclient.FromPair(f.pair.AccessKey, f.pair.AccessSecret.Reveal()), cfg)
	require.NoError(t, err)
	return client
}

// meddle makes the server call the function before each request. If it returns true, it has answered.
func (f *fixture) meddle(before func(http.ResponseWriter, *http.Request) bool) {
	f.before.Store(&before)
}

// ask sends a request to the protected route, and returns the status and the body of the answer.
func ask(t *testing.T, client *http.Client, url, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	response, err := client.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(text)
}

// revokeAll revokes the sessions of the super user.
func (f *fixture) revokeAll(t *testing.T) {
	t.Helper()
	require.NoError(t, f.svc.RevokeEverybody(t.Context(), auth.ByHost("test")))
}

// transport is a function that answers requests, for tests without a network.
type transport func(*http.Request) *http.Response

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	default:
		return f(r), nil
	}
}

// reply returns an answer with a JSON body.
func reply(status int, body any, header ...string) *http.Response {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	r := &http.Response{StatusCode: status, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(string(text)))}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

// rejection returns the answer to a token that is not valid.
func rejection() *http.Response {
	return reply(401, map[string]string{"detail": "Not authenticated"}, "WWW-Authenticate",
		`Bearer error="invalid_token"`)
}

// issue returns the answer to a sign-in.
func issue(token string, lifetime time.Duration) *http.Response {
	return reply(200, map[string]any{"token": token, "token_type": "bearer",
		"expires_in": int(lifetime / time.Second), "is_super_user": false})
}

func newClient(t *testing.T, answer transport) *authclient.Client {
	t.Helper()
	client, err := authclient.NewWithConfig("https://api.example.com", authclient.FromPair("ak", "hidden"),
		authclient.Config{Transport: answer})
	require.NoError(t, err)
	return client
}

func token(t *testing.T, ctx context.Context, client *authclient.Client) string {
	t.Helper()
	token, err := client.TokenSource(ctx).Token()
	require.NoError(t, err)
	return token.AccessToken
}
