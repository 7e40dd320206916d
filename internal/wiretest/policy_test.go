package wiretest

import (
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// The response shows the order of the checks. A caller without access learns nothing about a call.
// A wrong method gets a 405, whether or not GitHub is configured.
func TestEndpointsCheckTheCallerTheMethodAndGitHubInOrder(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	user := "Bearer " + f.signIn(f.user)
	for _, test := range []struct {
		name    string
		pattern string
		method  string
		header  []string
		want    int
	}{
		{"the caller before the method", "POST /auth/logout", http.MethodPut, nil, http.StatusUnauthorized},
		{"the super user before the method",
			"POST /auth/users/register", http.MethodPut, []string{"Authorization", user}, http.StatusForbidden},
		{"the method", "POST /auth/logout", http.MethodPut, []string{"Authorization", user}, http.StatusMethodNotAllowed},
		{"the method before GitHub", "GET /api/v1/auth/github/token", http.MethodPut, nil, http.StatusMethodNotAllowed},
		{"GitHub before the caller",
			"GET /api/v1/auth/github/token", http.MethodGet, nil, http.StatusServiceUnavailable},
	} {
		handler := hostHandler{f.svc.Route(test.pattern).Handler}
		answer := send(handler, test.method, "/anywhere", "", test.header...)
		require.Equal(t, test.want, answer.status, test.name)
	}
}

// On a route of the host too, Config.Timeout limits the time that the middleware waits for the
// store.
func TestTheMiddlewareAnswers503IfTheStoreHangs(t *testing.T) {
	t.Parallel()
	for name, method := range map[string]string{
		"Authenticate": "FindSession", "RequireSuperUser": "FindUser",
	} {
		synctest.Test(t, func(t *testing.T) {
			hangs := ""
			f := newFixture(t, withFaults(func(called string) error {
				if called == hangs {
					return authtest.ErrHang
				}
				return nil
			}), func(_ *fixture, cfg *auth.Config) { cfg.Tokens.CheckSessionsInStore = true })
			token := f.signIn(f.admin)
			hangs = method
			host := f.svc.Authenticate(f.svc.RequireSuperUser(http.NotFoundHandler()))
			began := time.Now()
			answer := send(hostHandler{host}, http.MethodGet, "/", "", "Authorization", "Bearer "+token)
			require.Equal(t, http.StatusServiceUnavailable, answer.status, name)
			require.Equal(t, 10*time.Second, time.Since(began), name)
		})
	}
}

func TestAFailedFlowClearsItsCookie(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	b := g.browser()
	state := queryOf(t, b.authURL(signInCall)).Get("state")
	require.Len(t, b.client.Jar.Cookies(mustURL(t, g.server.URL)), 1)
	require.Equal(t, http.StatusForbidden, b.get(callbackCall+"?error=access_denied&state="+state).status)
	require.Empty(t, b.client.Jar.Cookies(mustURL(t, g.server.URL)))
}

func TestAnEventHasTheTimeOfTheClockAndTheClientOfTheRequest(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.OnEvent, cfg.Proxies = got.Add, auth.NoProxies()
	})
	got.Deliver(t, f.svc)
	f.sendAs("x", http.MethodGet, "/auth/user", "")
	events := got.Deliver(t, f.svc)
	rejected := events[len(events)-1]
	require.Equal(t, eventkind.TokenRejected, rejected.Kind)
	require.Equal(t, f.clock.Now().UTC(), rejected.At)
	require.Equal(t, netip.MustParseAddr("192.0.2.1"), rejected.Client.Address)
}
