package wiretest

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// With CheckSessionsInStore, each request depends on the answer of FindSession. If FindSession fails, the
// answer is 503 and no handler runs. The next request calls FindSession again.
func TestWithCheckSessionsInStoreAFailingFindSessionIsA503(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]error{
		"failing":   authtest.ErrStoreAway,
		"timed out": fmt.Errorf("waiting: %w", context.DeadlineExceeded),
	} {
		var failing error
		g := newGitHub(t, githubOptions{configure: func(g *githubFixture, cfg *auth.Config) {
			cfg.BrowserSessions, cfg.Tokens.CheckSessionsInStore = &auth.BrowserSessions{}, true
			g.injectFaults(func(method string) error {
				if method == "FindSession" {
					return failing
				}
				return nil
			})
		}})
		b := g.browser()
		b.signInByCookie("")
		cookie := b.cookieHeader("auth_session")
		token := g.signIn(g.admin)
		served := 0
		host := hostHandler{g.svc.Authenticate(http.HandlerFunc(
			func(http.ResponseWriter, *http.Request) { served++ }))}
		callers := map[string][]string{
			"bearer": {"Authorization", "Bearer " + token},
			"cookie": {"Cookie", cookie, "Sec-Fetch-Site", "same-origin"},
		}
		statuses := func(want int) {
			t.Helper()
			for caller, header := range callers {
				require.Equal(t, want, g.send(http.MethodGet, "/auth/user", "", header...).status, caller)
				require.Equal(t, want, send(host, http.MethodGet, "/", "", header...).status, caller)
			}
		}
		statuses(http.StatusOK)
		require.Equal(t, 2, served)

		failing = fault
		statuses(http.StatusServiceUnavailable)
		require.Equal(t, 2, served, "%s: the host's handler did not run", name)
		require.Equal(t, http.StatusServiceUnavailable,
			g.sendAs(token, http.MethodGet, "/auth/users", "").status, name)
		_, err := g.svc.Tokens().Verify(t.Context(), token)
		require.ErrorIs(t, err, fault, name)
		require.NotErrorIs(t, err, auth.ErrTokenRejected, name)
		require.Equal(t, http.StatusUnauthorized,
			g.sendAs(token+"x", http.MethodGet, "/auth/user", "").status, "the store is not asked")

		failing = nil
		statuses(http.StatusOK)
		require.Equal(t, http.StatusOK, g.sendAs(token, http.MethodPost, "/auth/logout", "").status)
		failing = fault
		require.Equal(t, http.StatusServiceUnavailable,
			g.sendAs(token, http.MethodGet, "/auth/user", "").status, "a revoked session, too")
		failing = auth.ErrNotFound
		statuses(http.StatusUnauthorized)
	}
}
