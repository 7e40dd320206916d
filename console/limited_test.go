package console_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/console"
	"github.com/stretchr/testify/require"
)

// limited returns the session cookie of a key of the administrator that has the scopes.
func (h *host) limited(t *testing.T, scopes ...string) *http.Cookie {
	t.Helper()
	pair, err := h.svc.Credentials().Issue(t.Context(), auth.ByHost("test"), h.admin.ID,
		auth.KeyOptions{Scopes: auth.NewScopes(scopes...)})
	require.NoError(t, err)
	return h.signIn(t, pair)
}

// A limited session gets 403 from the calls that its scopes do not allow. It must not see a page that can
// only fail.
func TestALimitedSessionOpensOnlyThePagesOfItsScopes(t *testing.T) {
	t.Parallel()
	h := newHost(t, console.Config{})
	for scope, open := range map[string][]string{
		"notes:read":       {"/"},
		auth.ScopeKeys:     {"/", "/keys"},
		auth.ScopeSessions: {"/", "/sessions"},
		auth.ScopeUsers:    {"/", "/users", "/users/x"},
		auth.ScopeEvents:   {"/", "/events"},
	} {
		cookie := h.limited(t, scope)
		account := body(t, h.get("/", cookie))
		for _, path := range paths {
			status := http.StatusForbidden
			for _, page := range open {
				if page == path {
					status = http.StatusOK
				}
			}
			response := h.get(path, cookie)
			require.Equal(t, status, response.StatusCode, "%s: %s", scope, path)
			if status == http.StatusForbidden {
				require.Contains(t, body(t, response), "This session is limited", "%s: %s", scope, path)
			}
			if path != "/users/x" {
				linked := strings.Contains(account, `href="/console`+path+`"`)
				require.Equal(t, status == http.StatusOK, linked, "%s: %s", scope, path)
			}
		}
		// The page of a user has the latest events only if the session may read events.
		require.NotContains(t, body(t, h.get("/users/x", cookie)), "Latest events")
	}
	both := h.limited(t, auth.ScopeUsers, auth.ScopeEvents)
	require.Contains(t, body(t, h.get("/users/x", both)), "Latest events")
}

func TestAnUnknownPathIsAPage(t *testing.T) {
	t.Parallel()
	h := newHost(t, console.Config{Name: "Example"})
	for _, cookies := range [][]*http.Cookie{nil, {h.signIn(t, h.pair)}} {
		response := h.get("/nothing", cookies...)
		require.Equal(t, http.StatusNotFound, response.StatusCode)
		require.Equal(t, "text/html; charset=utf-8", response.Header.Get("Content-Type"))
		html := body(t, response)
		require.Contains(t, html, "<title>There is no such page · Example</title>")
		require.NotContains(t, html, "<script")
		require.NotContains(t, html, "admin")
	}
	w := httptest.NewRecorder()
	h.mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/console/nothing", nil))
	require.Equal(t, http.StatusNotFound, w.Code)
	require.NotContains(t, w.Body.String(), "<")
}

// Without the page of events, nothing may lead to it.
func TestNothingLeadsToAPageThatIsLeftOut(t *testing.T) {
	t.Parallel()
	h := newHost(t, console.Config{Without: []console.Page{console.PageEvents}})
	require.NotContains(t, body(t, h.get("/users/x", h.signIn(t, h.pair))), "data-events")
	h = newHost(t, console.Config{Without: []console.Page{console.PageUsers}})
	html := body(t, h.get("/events", h.signIn(t, h.pair)))
	require.NotContains(t, html, "data-users")
	require.Contains(t, html, "data-events")
}

func TestAServiceWithoutAnAuditTrailHasNoPageOfEvents(t *testing.T) {
	t.Parallel()
	for _, off := range []bool{false, true} {
		h := newHost(t, console.Config{}, func(cfg *auth.Config) { cfg.DisableAuditTrail = off })
		cookie := h.signIn(t, h.pair)
		status := map[bool]int{false: http.StatusOK, true: http.StatusNotFound}[off]
		require.Equal(t, status, h.get("/events", cookie).StatusCode)
		html := body(t, h.get("/users/"+h.admin.ID, cookie))
		for _, part := range []string{`href="/console/events"`, "data-events", `id="events"`} {
			require.Equal(t, !off, strings.Contains(html, part), part)
		}
	}
}
