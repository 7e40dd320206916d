package wiretest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

const issuer = authtest.Issuer

func rawStd(b []byte) string {
	return base64.RawStdEncoding.EncodeToString(b)
}

// fixture is a service with a store in memory and the users admin and user. If the fixture has a
// UserSource, it has an account store instead of a store, and no users.
type fixture struct {
	t        testing.TB
	clock    *authtest.Clock
	store    auth.Store        // nil if there is a UserSource
	accounts auth.AccountStore // the store, or the account store of the UserSource
	source   auth.UserSource
	signer   authtest.Signer
	svc      *auth.Service
	log      *authtest.Log

	admin     auth.User
	adminPair auth.KeyPair
	user      auth.User
	userPair  auth.KeyPair

	hostWritesErrors bool // whether Config.WriteError is set
}

// newFixture creates a fixture. Before it creates the service, it calls each function in change.
// The functions can change fields of the fixture and the configuration.
func newFixture(t testing.TB, change ...func(*fixture, *auth.Config)) *fixture {
	t.Helper()
	f := &fixture{
		t: t, clock: authtest.NewClock(), store: memstore.New(),
		signer: authtest.NewSigners(t)["HS256"], log: new(authtest.Log),
	}
	cfg := auth.Config{
		Issuer: issuer,
		Now:    f.clock.Now,
		Logger: slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range change {
		c(f, &cfg)
	}
	if cfg.SigningKeys == nil {
		cfg.SigningKeys = []auth.SigningKey{f.signer.Key}
	}
	f.hostWritesErrors = cfg.WriteError != nil
	var err error
	if f.source != nil {
		f.svc, err = auth.NewWithUsers(f.accounts, f.source, cfg)
		require.NoError(t, err)
		return f
	}
	f.accounts = f.store
	f.svc, err = auth.New(f.store, cfg)
	require.NoError(t, err)

	f.adminPair = f.svc.Credentials().GeneratePair()
	f.admin, err = f.svc.Bootstrap(t.Context(),
		auth.UserParams{Username: "root", Email: "root@example.com"}, f.adminPair)
	require.NoError(t, err)
	made, err := f.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{
		Username: "alice", Email: "alice@example.com",
	})
	require.NoError(t, err)
	f.user, f.userPair = made.User, made.Pair
	return f
}

// withFaults sets a callback, which the store calls at the start of each method with the name of
// the method. If the callback returns an error, the method fails with this error.
func withFaults(before func(method string) error) func(*fixture, *auth.Config) {
	return func(f *fixture, _ *auth.Config) { f.injectFaults(before) }
}

func (f *fixture) injectFaults(before func(method string) error) {
	if f.source != nil {
		f.accounts = authtest.FaultyAccounts(f.accounts, before)
		return
	}
	f.store = authtest.FaultyStore(f.store, before)
}

func (f *fixture) signIn(user auth.User) string {
	f.t.Helper()
	token, err := f.svc.SignIn(f.t.Context(), user.ID, auth.LoginOptions{})
	require.NoError(f.t, err)
	return token.Bearer.Reveal()
}

func (f *fixture) setActive(user auth.User, active bool) {
	f.t.Helper()
	_, err := f.svc.UpdateUser(f.t.Context(), authtest.ByHost, user.ID, auth.UserChange{IsActive: &active})
	require.NoError(f.t, err)
}

// response is a response as a client receives it.
type response struct {
	status int
	header http.Header
	body   string
}

func (r response) json(t testing.TB) map[string]any {
	t.Helper()
	var object map[string]any
	require.NoError(t, json.Unmarshal([]byte(r.body), &object), r.body)
	return object
}

// send sends a request to the handler without a network. If the body is not empty, it is sent as
// JSON. header contains names and values of headers in turn.
func send(h http.Handler, method, target, body string, header ...string) response {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, target, reader)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return serve(h, r)
}

// serve sends the request to the handler and compares the response with openapi.json.
func serve(h http.Handler, r *http.Request) response {
	asked, sent := r.Clone(r.Context()), new(bytes.Buffer)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = io.NopCloser(io.TeeReader(r.Body, sent))
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	result := w.Result()
	answer := response{result.StatusCode, result.Header, w.Body.String()}
	if _, ok := h.(hostHandler); !ok {
		wire.answers(askedAt(), asked, sent.Bytes(), answer)
	}
	return answer
}

// allGroups contains every group, because openapi.json describes them all.
var allGroups = []auth.RouteGroup{auth.GroupSignIn, auth.GroupGitHub, auth.GroupAccount,
	auth.GroupAdministration, auth.GroupBrowser, auth.GroupHealth, auth.GroupVerifiers}

func (f *fixture) send(method, target, body string, header ...string) response {
	h := f.svc.Handler(allGroups...)
	if f.hostWritesErrors {
		h = hostHandler{h}
	}
	return send(h, method, target, body, header...)
}

// sendAs is like send, with the bearer token.
func (f *fixture) sendAs(token, method, target, body string) response {
	return f.send(method, target, body, "Authorization", "Bearer "+token)
}

func loginBody(pair auth.KeyPair) string {
	body, err := json.Marshal(map[string]string{
		"access_key": pair.AccessKey, "access_secret": pair.AccessSecret.Reveal(),
	})
	if err != nil {
		panic(err)
	}
	return string(body)
}

func (f *fixture) login(pair auth.KeyPair) response {
	return f.send(http.MethodPost, "/auth/users/login", loginBody(pair))
}

// errorOf returns the error of a call that returns a value and an error.
func errorOf[T any](_ T, err error) error { return err }
