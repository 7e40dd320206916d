package wiretest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// FuzzCallbackQuery sends arbitrary queries to the callback without a valid cookie. Each of them
// must be rejected with a documented response.
func FuzzCallbackQuery(f *testing.F) {
	g := newGitHub(f, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.Throttling.Off = true
	}})
	for _, seed := range []string{
		"", "code=x&state=y", "state=", "code=a&code=b&state=c", "error=access_denied&state=x", "%zz",
		"a;b", "state=" + strings.Repeat("A", 43) + "&code=0123456789abcdef0123", "state=a.b&code=c",
		"iss=x",
	} {
		f.Add(seed, "x")
	}
	handler := g.svc.Route("GET /api/v1/auth/github/callback").Handler
	f.Fuzz(func(t *testing.T, query, cookie string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.RawQuery = query
		for _, slot := range []string{"0", "1", "2", "3"} {
			r.AddCookie(&http.Cookie{Name: "__Host-auth_github_" + slot, Value: cookie})
		}
		answer := serve(handler, r)
		require.Equal(t, http.StatusBadRequest, answer.status)
		requireErrorBody(t, answer)
	})
}
