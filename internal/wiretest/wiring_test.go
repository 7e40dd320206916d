package wiretest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/limit"
)

// A middleware with a nil handler must panic when the host makes it, not at the first request.
func TestAMiddlewareWithoutAHandlerPanicsAtOnceAndNamesTheCall(t *testing.T) {
	t.Parallel()
	f, remote := newFixture(t), newRemote(t, "ES256")
	for call, wrap := range map[string]func(http.Handler) http.Handler{
		"Service.Authenticate":        f.svc.Authenticate,
		"Service.RequireSuperUser":    f.svc.RequireSuperUser,
		"RemoteVerifier.Authenticate": remote.verifier.Authenticate,
	} {
		for _, none := range []http.Handler{nil, http.HandlerFunc(nil)} {
			require.PanicsWithValue(t, "auth: "+call+" needs a handler, not nil", func() { wrap(none) })
		}
	}
	require.PanicsWithValue(t, "auth: Service.Mount needs a ServeMux, not nil", func() { f.svc.Mount(nil) })
}

func TestMountOnAMuxWithAConflictingPatternNamesBothPatternsAndTheHostsLine(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	register := func(pattern string) func(*http.ServeMux) {
		return func(mux *http.ServeMux) { mux.Handle(pattern, http.NotFoundHandler()) }
	}
	for name, test := range map[string]struct {
		prepare    func(*http.ServeMux)
		call, with string
	}{
		"mounted twice": {func(mux *http.ServeMux) { f.svc.Mount(mux) },
			"POST /auth/users/login", "POST /auth/users/login"},
		"an overlapping group": {func(mux *http.ServeMux) { f.svc.Mount(mux, auth.GroupAccount) },
			"GET /auth/user", "GET /auth/user"},
		"the pattern of a call": {register("GET /auth/keys"), "GET /auth/keys", "GET /auth/keys"},
		"a pattern that only overlaps": {register("DELETE /{area}/keys/all"),
			"DELETE /auth/keys/{access_key}", "DELETE /{area}/keys/all"},
	} {
		mux := http.NewServeMux()
		test.prepare(mux)
		message := func() (message string) {
			defer func() { message = fmt.Sprint(recover()) }()
			f.svc.Mount(mux)
			return ""
		}()
		require.Regexp(t, `^auth: Service\.Mount, called at \S+/wiring_test\.go:\d+, cannot register "`+
			regexp.QuoteMeta(test.call)+`" on the ServeMux: mount each group once`, message, name)
		require.Contains(t, message, `conflicts with pattern "`+test.with+`" (registered at `, name)
	}
	mux := http.NewServeMux()
	f.svc.Mount(mux, auth.GroupAccount)
	f.svc.Mount(mux, auth.GroupSignIn) // groups that do not overlap
}

// A proxy of the same machine often reaches the service through a Unix socket.
func TestClientsBehindAProxyOnAUnixSocketAreToldApart(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.Proxies = auth.TrustProxies(netip.MustParsePrefix("127.0.0.1/32"))
		cfg.Throttling.Failures = []limit.Rate{{Count: 2, Per: time.Minute}}
	})
	dir, err := os.MkdirTemp("", "auth") // the name of a socket is at most 108 bytes long
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	require.NoError(t, err)
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: f.svc.Handler()}}
	server.Start()
	t.Cleanup(server.Close)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", listener.Addr().String())
	}}
	t.Cleanup(transport.CloseIdleConnections)
	login := func(pair auth.KeyPair, client string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://service/auth/users/login",
			strings.NewReader(loginBody(pair)))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Forwarded-For", client)
		answer, err := transport.RoundTrip(r)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		return answer.StatusCode
	}
	wrong := f.svc.Credentials().GeneratePair()
	for _, want := range []int{http.StatusUnauthorized, http.StatusUnauthorized, http.StatusTooManyRequests} {
		require.Equal(t, want, login(wrong, "203.0.113.7"))
	}
	require.Equal(t, http.StatusUnauthorized, login(wrong, "203.0.113.8"), "another client")
	require.Equal(t, http.StatusOK, login(f.userPair, "203.0.113.9"))
	sessions, err := f.store.ListSessions(t.Context(), f.user.ID, f.clock.Now())
	require.NoError(t, err)
	require.Len(t, sessions, 1)
	require.Equal(t, "203.0.113.9", sessions[0].Address)
	require.NotContains(t, f.log.String(), "Unix socket")
}

// A pasted value, or a value from a file, often has a line break at its end.
func TestALineBreakAroundTheGitHubClientIDIsNotSentToGitHub(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.SealingKeys = []auth.SymmetricKey{authtest.SymmetricKey(t, "s1")}
		cfg.GitHub = &auth.GitHubConfig{ClientID: " client-1\r\n", ClientSecret: auth.NewSecret("secret\n"),
			CallbackURL: "https://api.example.com" + callbackCall}
	})
	authURL := f.send(http.MethodGet, "/api/v1/auth/github/login-user", "").json(t)["auth_url"].(string)
	require.Contains(t, authURL, "client_id=client-1&")
	_, err := auth.New(f.store, auth.Config{Issuer: issuer, SigningKeys: []auth.SigningKey{f.signer.Key},
		SealingKeys: []auth.SymmetricKey{authtest.SymmetricKey(t, "s1")},
		GitHub: &auth.GitHubConfig{ClientID: "client-1", ClientSecret: auth.NewSecret("\n"),
			CallbackURL: "https://api.example.com" + callbackCall}})
	require.ErrorContains(t, err, "ClientSecret", "only white space")
}
