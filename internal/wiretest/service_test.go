package wiretest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

func TestNewRejectsInvalidConfigsByField(t *testing.T) {
	t.Parallel()
	good := auth.Config{Issuer: issuer, SigningKeys: []auth.SigningKey{authtest.NewSigners(t)["HS256"].Key}}
	for name, test := range map[string]struct {
		change func(*auth.Config)
		says   string
	}{
		"no issuer":          {func(c *auth.Config) { c.Issuer = "" }, "Issuer"},
		"no keys":            {func(c *auth.Config) { c.SigningKeys = nil }, "SigningKeys"},
		"a bad lifetime":     {func(c *auth.Config) { c.Tokens.Lifetime = time.Millisecond }, "Lifetime"},
		"a negative timeout": {func(c *auth.Config) { c.Timeout = -1 }, "Timeout"},
		"a bad prefix":       {func(c *auth.Config) { c.Credentials.AccessKeyPrefix = "-" }, "AccessKeyPrefix"},
	} {
		cfg := good
		test.change(&cfg)
		_, err := auth.New(memstore.New(), cfg)
		require.ErrorContains(t, err, test.says, name)
	}
	_, err := auth.New(nil, good)
	require.ErrorContains(t, err, "store")
	_, err = auth.New((*memstore.Store)(nil), good)
	require.ErrorContains(t, err, "store")
	svc, err := auth.New(memstore.New(), good)
	require.NoError(t, err)
	require.NotNil(t, svc.Tokens())
}

func TestRoutesAreTheDocumentedCalls(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	patterns := func(groups ...auth.RouteGroup) (list []string) {
		for _, route := range f.svc.Routes(groups...) {
			list = append(list, route.Pattern)
		}
		slices.Sort(list)
		return list
	}
	require.Equal(t, []string{
		"DELETE /api/v1/auth/github/link", "DELETE /auth/keys/{access_key}",
		"DELETE /auth/sessions", "DELETE /auth/sessions/{id}", "DELETE /auth/users/{id}",
		"GET /.well-known/jwks.json", "GET /api/v1/auth/github/callback",
		"GET /api/v1/auth/github/login", "GET /api/v1/auth/github/login-user",
		"GET /api/v1/auth/github/start", "GET /api/v1/auth/github/token",
		"GET /auth/events", "GET /auth/keys", "GET /auth/sessions", "GET /auth/user",
		"GET /auth/user/{$}", "GET /auth/users", "GET /auth/users/{id}",
		"GET /auth/users/{id}/keys", "GET /auth/users/{id}/sessions",
		"PATCH /auth/users/{id}",
		"POST /api/v1/auth/github/logout", "POST /api/v1/user/register",
		"POST /auth/keys", "POST /auth/keys/{access_key}/rotate",
		"POST /auth/logout", "POST /auth/tokens/revoke-user/{id}", "POST /auth/users/login",
		"POST /auth/users/register",
		"POST /auth/users/{id}/regenerate-credentials", "POST /auth/users/{id}/reinstate",
	}, patterns())
	require.Equal(t, []string{
		"GET /.well-known/jwks.json", "POST /auth/logout", "POST /auth/users/login",
	}, patterns(auth.GroupSignIn))
	require.Equal(t, []string{
		"DELETE /auth/keys/{access_key}", "DELETE /auth/sessions", "DELETE /auth/sessions/{id}",
		"GET /.well-known/jwks.json",
		"GET /auth/keys", "GET /auth/sessions", "GET /auth/user", "GET /auth/user/{$}", "POST /auth/keys",
		"POST /auth/keys/{access_key}/rotate", "POST /auth/logout", "POST /auth/users/login",
	}, patterns(auth.GroupAccount, auth.GroupSignIn))
	require.Empty(t, patterns("none"))
	require.Empty(t, patterns(auth.GroupBrowser), "the host has no BrowserSessions")
	require.Equal(t, []string{"GET /livez", "GET /readyz"}, patterns(auth.GroupHealth))
	require.Equal(t, []string{"GET /auth/revocations"}, patterns(auth.GroupVerifiers))
	f = newBrowserFixture(t)
	require.Equal(t, []string{"POST /auth/browser/login"}, patterns(auth.GroupBrowser))
}

func TestMountLeavesTheHostsRoutesAlone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	mux.HandleFunc("GET /auth/users/{id}/avatar", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
	})
	f.svc.Mount(mux)
	require.Equal(t, http.StatusTeapot, send(mux, http.MethodGet, "/", "").status)
	require.Equal(t, http.StatusTeapot, send(mux, http.MethodGet, "/auth/users/login/avatar", "").status)
	require.Equal(t, http.StatusOK,
		send(mux, http.MethodPost, "/auth/users/login", loginBody(f.userPair)).status)

	partial := http.NewServeMux()
	f.svc.Mount(partial, auth.GroupSignIn)
	require.Equal(t, http.StatusNotFound,
		send(hostHandler{partial}, http.MethodPost, "/api/v1/user/register", "{}").status)
}

func TestHandlerAnswers404And405AsDocumented(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, path := range []string{
		"/", "/auth", "/auth/users/", "/auth/user/x", "/auth/users/login/", "/AUTH/user",
	} {
		r := f.send(http.MethodGet, path, "")
		require.Equal(t, http.StatusNotFound, r.status, path)
		require.JSONEq(t, `{"detail": "Not found"}`, r.body)
		requireErrorBody(t, r)
	}
	for _, test := range []struct{ method, path, allow string }{
		{http.MethodGet, "/auth/users/login", "POST"},
		{http.MethodHead, "/auth/users/login", "POST"},
		{http.MethodPut, "/auth/users/login", "POST"},
		{http.MethodOptions, "/auth/users/login", "POST"},
		{"BREW", "/auth/users/login", "POST"},
		{http.MethodPost, "/auth/user", "GET, HEAD"},
		{http.MethodDelete, "/auth/user/", "GET, HEAD"},
		{http.MethodGet, "/auth/logout", "POST"},
		{http.MethodDelete, "/auth/users/register", "POST"},
		{http.MethodPatch, "/auth/users", "GET, HEAD"},
		{http.MethodPost, "/auth/users/u1", "DELETE, GET, HEAD, PATCH"},
		{http.MethodGet, "/auth/users/u1/reinstate", "POST"},
		{http.MethodPut, "/auth/keys", "GET, HEAD, POST"},
		{http.MethodGet, "/auth/keys/k1", "DELETE"},
	} {
		r := f.send(test.method, test.path, "")
		require.Equal(t, http.StatusMethodNotAllowed, r.status, test)
		require.Equal(t, test.allow, r.header.Get("Allow"), test)
		requireErrorBody(t, r)
	}
	require.Equal(t, http.StatusOK, f.sendAs(f.signIn(f.user), http.MethodHead, "/auth/user", "").status)
}

func TestAHandlerAcceptsOnlyItsMethodWhereverItIsMounted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	login, current := f.svc.Route("POST /auth/users/login").Handler, f.svc.Route("GET /auth/user").Handler
	logout := f.svc.Route("POST /auth/logout").Handler
	register := f.svc.Route("POST /auth/users/register").Handler
	signIn := loginBody(f.userPair)
	require.Equal(t, http.StatusMethodNotAllowed, send(login, http.MethodPut, "/signin", signIn).status)
	require.Equal(t, http.StatusOK, send(login, http.MethodPost, "/signin", signIn).status)
	token := "Bearer " + f.signIn(f.user)
	require.Equal(t, http.StatusMethodNotAllowed,
		send(logout, http.MethodGet, "/", "", "Authorization", token).status)
	require.Equal(t, http.StatusOK, send(current, http.MethodGet, "/me", "", "Authorization", token).status)
	require.Equal(t, http.StatusUnauthorized, send(current, http.MethodGet, "/me", "").status)
	require.Equal(t, http.StatusForbidden,
		send(register, http.MethodPost, "/", "{}", "Authorization", token).status)
}

func TestErrorStatusMapsEveryError(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]int{
		auth.ErrTokenMissing:       401,
		auth.ErrTokenRejected:      401,
		auth.ErrInvalidCredentials: 401,
		auth.ErrSuperUserRequired:  403,
		auth.ErrUserDisabled:       403,
		auth.ErrNotFound:           404,
		auth.ErrExists:             409,
		auth.ErrLastSuperUser:      409,
		auth.ErrBootstrapped:       409,
		auth.ErrInvalid:            422,
		&auth.InvalidError{Field: "label", Reason: "must be short"}: 422,
		&auth.ThrottledError{RetryAfter: time.Second}:               429,
		errors.New("disk full at 10.0.0.7"):                         503,
		context.DeadlineExceeded:                                    503,
		context.Canceled:                                            503,
	} {
		for _, err := range []error{err, fmt.Errorf("wrapped: %w", err)} {
			status, detail := auth.ErrorStatus(err)
			require.Equal(t, want, status, err)
			require.NotEmpty(t, detail)
			require.NotContains(t, detail, "10.0.0.7")
			require.NotContains(t, detail, "auth:")
		}
	}
	_, detail := auth.ErrorStatus(&auth.InvalidError{Field: "label", Reason: "must be short"})
	require.Equal(t, "Field label must be short", detail)
}

func TestAThrottledResponseHasRetryAfter(t *testing.T) {
	t.Parallel()
	for wait, want := range map[time.Duration]string{
		time.Millisecond: "1", time.Second: "1", 1001 * time.Millisecond: "2", time.Minute: "60",
	} {
		w := httptest.NewRecorder()
		auth.WriteError(w, nil, fmt.Errorf("wrapped: %w", &auth.ThrottledError{RetryAfter: wait}))
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.Equal(t, want, w.Header().Get("Retry-After"))
	}
	require.Contains(t, (&auth.ThrottledError{RetryAfter: time.Second}).Error(), "1s")
}

func TestAHostCanWriteErrorsItself(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.WriteError = func(w http.ResponseWriter, r *http.Request, err error) {
			if errors.Is(err, auth.ErrTokenMissing) {
				http.Redirect(w, r, "/login", http.StatusSeeOther)
				return
			}
			auth.WriteError(w, r, err)
		}
	})
	require.Equal(t, http.StatusSeeOther, f.send(http.MethodGet, "/auth/user", "").status)
	require.Equal(t, http.StatusUnauthorized, f.sendAs("x", http.MethodGet, "/auth/user", "").status)
}

func TestAPanicInTheHostsErrorWriterIsRecovered(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.WriteError = func(http.ResponseWriter, *http.Request, error) { panic("oops") }
	})
	r := f.send(http.MethodGet, "/auth/user", "")
	require.Equal(t, http.StatusUnauthorized, r.status)
	require.Contains(t, f.log.String(), "oops")
}

func TestPingReturnsTheErrorOfTheStore(t *testing.T) {
	t.Parallel()
	down := false
	f := newFixture(t, withFaults(func(method string) error {
		if down && method == "Ping" {
			return errors.New("down")
		}
		return nil
	}))
	require.NoError(t, f.svc.Ping(t.Context()))
	down = true
	require.ErrorContains(t, f.svc.Ping(t.Context()), "down")
}

func TestPruneRemovesExpiredRecordsInBatches(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const sessions = 510 // a batch removes at most 500 records
	for range sessions {
		f.signIn(f.user)
	}
	_, err := f.svc.Credentials().Issue(t.Context(), authtest.ByHost, f.user.ID, auth.KeyOptions{
		ExpiresAt: f.clock.Now().Add(time.Hour),
	})
	require.NoError(t, err)
	f.clock.Advance(13 * time.Hour)
	live := f.signIn(f.user)
	removed, err := f.svc.Prune(t.Context())
	require.NoError(t, err)
	require.Equal(t, sessions, removed, "the expired key is kept for 30 days")
	require.Equal(t, http.StatusOK, f.sendAs(live, http.MethodGet, "/auth/user", "").status)

	f.clock.Advance(31 * 24 * time.Hour)
	removed, err = f.svc.Prune(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, removed, "the key and the session that was live")
}

func TestPruneReportsItsProgressIfItFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withFaults(func(method string) error {
		if method == "PruneKeys" {
			return errors.New("down")
		}
		return nil
	}))
	f.signIn(f.user)
	f.clock.Advance(13 * time.Hour)
	removed, err := f.svc.Prune(t.Context())
	require.ErrorContains(t, err, "access keys")
	require.Equal(t, 1, removed)
}

// The tests of Run use a synctest bubble. Its clock advances when all goroutines wait. A goroutine
// that is left at the end fails the test.
func TestRunReadsTheFeedWhilePruningHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int64
		f := newFixture(t, withFaults(func(method string) error {
			switch method {
			case "PruneSessions":
				return authtest.ErrHang
			case "ListRevocations":
				reads.Add(1)
			}
			return nil
		}), func(_ *fixture, cfg *auth.Config) { cfg.Now = time.Now })
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		require.ErrorIs(t, f.svc.Run(ctx), context.DeadlineExceeded)
		require.Greater(t, reads.Load(), int64(10))
		_, accepts := f.svc.FeedAge()
		require.True(t, accepts)
	})
}

func TestRunPrunesEveryTenMinutesUntilItsContextIsDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rounds, failing := 0, true
		f := newFixture(t, withFaults(func(method string) error {
			if method != "PruneSessions" {
				return nil
			}
			rounds++
			if failing {
				failing = false
				return errors.New("the store was away")
			}
			return nil
		}))
		ctx, cancel := context.WithTimeout(t.Context(), 35*time.Minute)
		defer cancel()
		require.ErrorIs(t, f.svc.Run(ctx), context.DeadlineExceeded)
		require.Equal(t, 4, rounds, "at once, and after 10, 20 and 30 minutes")
		require.Equal(t, 1, strings.Count(f.log.String(), "the store was away"),
			"the error is logged and pruning is retried")
	})
}

func TestResponsesHaveNoCORSHeaders(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions} {
		for _, route := range f.svc.Routes() {
			r := f.send(method, route.Path, "", "Origin", "https://evil.example",
				"Access-Control-Request-Method", "POST",
				"Authorization", "Bearer "+f.signIn(f.user))
			for name := range r.header {
				require.False(t, strings.HasPrefix(name, "Access-Control-"), name)
			}
		}
	}
}

func TestHandlerDoesNotRedirectUncleanPaths(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, path := range []string{
		"//auth/users/login", "/x/../auth/user", "/./auth/user", "/auth//user", "/auth/user//",
	} {
		r := httptest.NewRequest(http.MethodGet, "http://api.example.com/", nil)
		r.URL.Path = path
		got := serve(f.svc.Handler(), r)
		require.Equal(t, http.StatusNotFound, got.status, path)
		requireErrorBody(t, got)
	}
	r := httptest.NewRequest(http.MethodConnect, "http://api.example.com/", nil)
	r.URL.Path = ""
	require.Equal(t, http.StatusNotFound, serve(f.svc.Handler(), r).status)
}

func TestARequestWithoutABodyIsA400(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r, err := http.NewRequest(http.MethodPost, "/auth/users/login", nil)
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	require.Equal(t, http.StatusBadRequest, serve(f.svc.Route("POST /auth/users/login").Handler, r).status)
}

// If a client stops sending its body, it gets a 408. The log must not say that the store fails.
func TestAStalledBodyIsA408(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.Timeout = 3 * time.Second })
	server := httptest.NewServer(documented(t, f.svc.Handler()))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprintf(conn,
		"POST /auth/users/login HTTP/1.1\r\nHost: x\r\n"+
			"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusRequestTimeout, answer.StatusCode)
	require.NotContains(t, f.log.String(), "failed")

	// The read deadline must not stay on the connection, which later requests use.
	client := server.Client()
	for range 2 {
		response, err := client.Post(server.URL+"/auth/users/login", "application/json",
			strings.NewReader(loginBody(f.userPair)))
		require.NoError(t, err)
		response.Body.Close()
		require.Equal(t, http.StatusOK, response.StatusCode)
	}
}

func TestErrAbortHandlerOfTheHostIsNotRecovered(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.WriteError = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	})
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { f.send(http.MethodGet, "/auth/user", "") })
}
