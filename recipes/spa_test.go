package recipes_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	spaauth "github.com/sallyport-go/auth/recipes/spa"
	"github.com/stretchr/testify/require"
)

func TestPagesOfOneOtherOriginMayCallTheAPI(t *testing.T) {
	t.Parallel()
	const app = "https://app.example.com"
	f := newFixture(t)
	api := spaauth.New(f.svc, app)
	token, err := f.svc.SignIn(t.Context(), f.alice.ID, auth.LoginOptions{})
	require.NoError(t, err)
	ask := func(method, path string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(""))
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		return w
	}
	bearer := "Bearer " + token.Bearer.Reveal()
	for _, path := range []string{"/reports", "/auth/keys", "/auth/users/login"} {
		for _, method := range []string{"GET", "POST", "PATCH", "DELETE"} {
			w := ask("OPTIONS", path, "Origin", app, "Access-Control-Request-Method", method,
				"Access-Control-Request-Headers", "authorization,content-type")
			require.Equal(t, http.StatusNoContent, w.Code, "a preflight request has no token")
			require.Equal(t, app, w.Header().Get("Access-Control-Allow-Origin"))
			require.Equal(t, "authorization,content-type", w.Header().Get("Access-Control-Allow-Headers"))
		}
	}
	w := ask("GET", "/reports", "Origin", app, "Authorization", bearer)
	require.Equal(t, "the reports of alice", w.Body.String())
	require.Equal(t, app, w.Header().Get("Access-Control-Allow-Origin"))
	require.Contains(t, w.Header().Get("Access-Control-Expose-Headers"), "Www-Authenticate")
	require.Empty(t, w.Header().Get("Access-Control-Allow-Credentials"), "cookies are not for other origins")

	w = ask("GET", "/reports", "Origin", app)
	require.Equal(t, http.StatusUnauthorized, w.Code)
	require.Equal(t, app, w.Header().Get("Access-Control-Allow-Origin"), "the page can read the refusal")

	for _, origin := range []string{"https://evil.example", "https://app.example.com.evil.example",
		"http://app.example.com", "null"} {
		w = ask("OPTIONS", "/reports", "Origin", origin, "Access-Control-Request-Method", "GET")
		require.Empty(t, w.Header().Get("Access-Control-Allow-Origin"), origin)
		w = ask("GET", "/reports", "Origin", origin, "Authorization", bearer)
		require.Empty(t, w.Header().Get("Access-Control-Allow-Origin"), origin)
	}
}
