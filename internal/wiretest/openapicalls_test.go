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
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// The tests in this file compare only the status, because send compares everything else with
// openapi.json.

// target returns a path for the call. The parameters in the path belong to existing records.
func (f *fixture) target(o operation) string {
	if o.String() == "DELETE /auth/sessions" {
		return o.path + "?except=current"
	}
	id := f.user.ID
	if strings.Contains(o.path, "/sessions/") {
		sessions, err := f.store.ListSessions(f.t.Context(), f.user.ID, f.clock.Now())
		require.NoError(f.t, err)
		require.NotEmpty(f.t, sessions)
		id = sessions[0].ID
	}
	return strings.NewReplacer("{id}", id, "{access_key}", f.userPair.AccessKey).Replace(o.path)
}

func TestEachCallRejectsRequestsAsDocumented(t *testing.T) {
	t.Parallel()
	for _, o := range wire.calls {
		t.Run(o.String(), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			if strings.Contains(o.path, "github") {
				f = newGitHub(t).fixture
			}
			if o.path == browserLoginCall {
				f = newBrowserFixture(t)
			}
			user, admin := f.signIn(f.user), f.signIn(f.admin)
			target := f.target(o)
			require.Equal(t, http.StatusMethodNotAllowed, f.send("BREW", target, "").status)
			if protected(o) {
				require.Equal(t, http.StatusUnauthorized, f.send(o.method, target, "").status)
				require.Equal(t, http.StatusUnauthorized, f.sendAs(user+"x", o.method, target, "").status)
			}
			if o.object["tags"].([]any)[0] == string(auth.GroupAdministration) {
				require.Equal(t, http.StatusForbidden, f.sendAs(user, o.method, target, "").status)
			}
			if strings.Contains(o.path, "{") {
				missing := strings.NewReplacer("{id}", "nobody", "{access_key}", "nothing").Replace(o.path)
				body := map[string]string{http.MethodPatch: `{"is_active": true}`}[o.method]
				require.Equal(t, http.StatusNotFound, f.sendAs(admin, o.method, missing, body).status)
			}
			if o.object["requestBody"] != nil {
				requireBodiesRefused(t, f, o.method, target, admin)
			}
		})
	}
}

func requireBodiesRefused(t *testing.T, f *fixture, method, target, token string) {
	t.Helper()
	for body, want := range map[string]int{
		"[]": http.StatusBadRequest,
		`{"a": "` + strings.Repeat("a", 8<<10) + `"}`:                            http.StatusRequestEntityTooLarge,
		`{"not_known": 1, "username": 1, "access_key": 1, "access_secret": "x"}`: http.StatusUnprocessableEntity,
	} {
		answer := f.send(method, target, body, "Authorization", "Bearer "+token,
			"Sec-Fetch-Site", "same-origin")
		require.Equal(t, want, answer.status, body)
	}
	r := httptest.NewRequest(method, target, strings.NewReader("{}"))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	require.Equal(t, http.StatusUnsupportedMediaType, serve(f.svc.Handler(allGroups...), r).status)
}

func TestEachCallAnswers503AsDocumentedIfTheStoreFails(t *testing.T) {
	t.Parallel()
	for _, o := range wire.calls {
		if !slices.Contains(o.statuses(), "503") || strings.Contains(o.path, "github") {
			continue
		}
		t.Run(o.String(), func(t *testing.T) {
			t.Parallel()
			away := false
			f := newBrowserFixture(t, func(f *fixture, _ *auth.Config) {
				f.store = authtest.FaultyStore(f.store, func(string) error {
					if away {
						return errors.New("away")
					}
					return nil
				})
			})
			token, _ := f.signIn(f.admin), f.signIn(f.user)
			target := f.target(o)
			away = true
			body := map[string]string{
				"/auth/users/login": loginBody(f.userPair), browserLoginCall: loginBody(f.userPair),
				"/auth/users/{id}": `{"is_active": true}`,
			}[o.path]
			answer := f.send(o.method, target, body, "Authorization", "Bearer "+token,
				"Sec-Fetch-Site", "same-origin")
			require.Equal(t, http.StatusServiceUnavailable, answer.status)
		})
	}
}

func TestAccountAndAdministrationCallsAnswerAsDocumented(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	user, admin := f.signIn(f.user), f.signIn(f.admin)
	key := "/auth/keys/" + f.userPair.AccessKey
	sessionsOf := func(token string) string {
		return f.sendAs(token, http.MethodGet, "/auth/sessions", "").body
	}
	require.Contains(t, sessionsOf(user), `"method":"host"`)
	for _, call := range []struct {
		token, method, target, body string
		want                        int
	}{
		{user, http.MethodGet, "/auth/user", "", 200},
		{user, http.MethodGet, "/auth/user/", "", 200},
		{user, http.MethodGet, "/auth/keys", "", 200},
		{user, http.MethodPost, "/auth/keys", "", 201},
		{user, http.MethodPost, "/auth/keys", `{"label": "laptop", "expires_at": "2030-01-02T03:04:05Z"}`, 201},
		{user, http.MethodPost, "/auth/keys", `{"expires_at": "2020-01-02T03:04:05Z"}`, 422},
		{user, http.MethodGet, "/auth/keys", "", 200},
		{user, http.MethodPost, key + "/rotate", `{"overlap_seconds": 60}`, 201},
		{user, http.MethodPost, key + "/rotate", "", 409},
		{admin, http.MethodDelete, key, "", 204},
		{admin, http.MethodGet, "/auth/users?limit=1", "", 200},
		{admin, http.MethodGet, "/auth/users?limit=0", "", 422},
		{admin, http.MethodGet, "/auth/events?limit=1", "", 200},
		{admin, http.MethodGet, "/auth/events?limit=0", "", 422},
		{admin, http.MethodGet, "/auth/users/" + f.user.ID, "", 200},
		{admin, http.MethodPatch, "/auth/users/" + f.user.ID, `{"is_active": false}`, 200},
		{user, http.MethodGet, "/auth/user", "", 401},
		{admin, http.MethodPost, "/auth/users/" + f.user.ID + "/reinstate", "", 200},
		{admin, http.MethodPost, "/auth/users/" + f.user.ID + "/regenerate-credentials", "{}", 200},
		{admin, http.MethodPost, "/auth/tokens/revoke-user/" + f.user.ID, "", 200},
		{admin, http.MethodPost, "/auth/users/register", `{"username": "alice", "email": "a@example.com"}`, 409},
		{admin, http.MethodPatch, "/auth/users/" + f.admin.ID, `{"is_super_user": false}`, 409},
		{admin, http.MethodDelete, "/auth/users/" + f.admin.ID, "", 409},
		{admin, http.MethodDelete, "/auth/users/" + f.user.ID, "", 200},
	} {
		r := f.sendAs(call.token, call.method, call.target, call.body)
		require.Equal(t, call.want, r.status, "%s %s: %s", call.method, call.target, r.body)
	}
	session, err := f.svc.SignIn(t.Context(), f.admin.ID, auth.LoginOptions{})
	require.NoError(t, err)
	require.Equal(t, http.StatusNoContent,
		f.sendAs(admin, http.MethodDelete, "/auth/sessions/"+session.Session.ID, "").status)
}

func TestCreatingMoreThanMaxKeysAnswersAsDocumented(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.signIn(f.user)
	for range auth.MaxKeys - 1 {
		_, err := f.svc.Credentials().Issue(t.Context(), authtest.ByHost, f.user.ID, auth.KeyOptions{})
		require.NoError(t, err)
	}
	require.Equal(t, http.StatusConflict, f.sendAs(token, http.MethodPost, "/auth/keys", "").status)
}

func TestAnOldSessionMakesNoLastingChangesAsDocumented(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.ReauthAfter = time.Minute
	}})
	user, admin := g.signIn(g.user), g.signIn(g.admin)
	g.clock.Advance(time.Minute)
	for _, call := range [][3]string{
		{user, http.MethodPost, "/auth/keys"},
		{user, http.MethodPost, "/auth/keys/" + g.userPair.AccessKey + "/rotate"},
		{user, http.MethodGet, "/api/v1/auth/github/login"},
		{admin, http.MethodPost, "/auth/users/" + g.user.ID + "/reinstate"},
	} {
		require.Equal(t, http.StatusForbidden, g.sendAs(call[0], call[1], call[2], "").status, call)
	}
}

// The request has the cookie of a browser session, but no header that shows its origin.
func TestChangesByCookieWithoutAnOriginAnswerAsDocumented(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser().stay()
	b.get(b.callbackURL(b.authURL("/api/v1/auth/github/login-user")))
	g.signIn(g.user)
	for _, o := range wire.calls {
		if protected(o) && o.method != http.MethodGet {
			require.Equal(t, http.StatusForbidden, b.do(o.method, g.target(o)).status, o)
		}
	}
}

func TestAStalledBodyIsA408AsDocumented(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.Timeout, cfg.PublicURL = 300*time.Millisecond, publicOrigin
		cfg.SealingKeys = []auth.SymmetricKey{authtest.SymmetricKey(t, "seal-1")}
		cfg.BrowserSessions = &auth.BrowserSessions{}
	})
	token := f.signIn(f.admin)
	server := httptest.NewServer(documented(t, f.svc.Handler(allGroups...)))
	defer server.Close()
	for _, o := range wire.calls {
		if o.object["requestBody"] == nil {
			continue
		}
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		fmt.Fprintf(conn,
			"%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nSec-Fetch-Site: same-origin\r\n"+
				"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
			o.method, f.target(o), token)
		// The responses are read at the end, so that all requests wait at the same time.
		defer func() {
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err)
			answer.Body.Close()
			require.Equal(t, http.StatusRequestTimeout, answer.StatusCode, o)
		}()
	}
}

// Each sign-in with an unknown access key costs a slow hash. Only a limited number of sign-ins can
// wait for a slow hash.
func TestASignInBeyondTheSlowHashQueueIsA429AsDocumented(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f := newFixture(t, func(f *fixture, cfg *auth.Config) {
		cfg.Credentials.AllowImported, cfg.Credentials.MaxSlowHashes = true, 1
		cfg.Proxies = auth.NoProxies()
		f.store = authtest.FaultyStore(f.store, func(called string) error {
			// The slow hash of this request takes until the test ends.
			if called == "FindKey" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
	})
	const requests = 40 // more than the queue holds
	statuses := make(chan int, requests)
	for range requests {
		go func() {
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/auth/users/login",
				strings.NewReader(`{"access_key": "x", "access_secret": "y"}`))
			r.Header.Set("Content-Type", "application/json")
			statuses <- serve(f.svc.Handler(), r).status
		}()
	}
	require.Equal(t, http.StatusTooManyRequests, <-statuses)
	require.Positive(t, f.svc.Stats().SlowHashesRefused)
	cancel()
	for range requests - 1 {
		<-statuses
	}
}
