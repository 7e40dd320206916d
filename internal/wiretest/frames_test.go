package wiretest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// Attack: a page of a sibling domain shows an answer with an access secret in a frame, and makes the
// person drag the secret into a field of the page. Besides this test, wireCheck makes sure that no
// answer in any test can be framed.
func TestNoPageCanShowAnAnswerInAFrame(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	hostErrors := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.WriteError = func(w http.ResponseWriter, _ *http.Request, err error) {
			status, _ := auth.ErrorStatus(err)
			w.WriteHeader(status)
		}
	}})
	hostUsers, err := auth.NewWithUsers(memstore.NewAccounts(), noUsers{}, auth.Config{
		Issuer: issuer, SigningKeys: []auth.SigningKey{g.signer.Key}})
	require.NoError(t, err)
	for name, svc := range map[string]*auth.Service{
		"with GitHub": g.svc, "without GitHub": newFixture(t).svc, "errors by the host": hostErrors.svc,
		"users of the host": hostUsers,
	} {
		requests := [][2]string{
			{"GET", "/"}, {"GET", "/nothing"}, {"GET", "/auth//user"}, {"CONNECT", "/auth/user"},
			{"PUT", "/auth/sessions/x"}, {"DELETE", "/auth/users/login"}, {"OPTIONS", "/auth/user"},
			{"GET", callbackCall + "?code=x&state=y"}, {"GET", startCall + "?return_to=//evil.example"},
		}
		for _, route := range svc.Routes() {
			target := strings.NewReplacer("{id}", "x", "{access_key}", "x").Replace(route.Path)
			requests = append(requests, [2]string{route.Method, target}, [2]string{"HEAD", target},
				[2]string{"BREW", target})
			for _, method := range []string{route.Method, "BREW"} { // as another router mounts it
				w := httptest.NewRecorder()
				route.Handler.ServeHTTP(w, httptest.NewRequest(method, target, nil))
				require.True(t, deniesFrames(w.Header()), "%s: %s %s: %d", name, method, target, w.Code)
			}
		}
		for _, request := range requests {
			for _, site := range []string{"", "same-origin", "cross-site"} {
				r := httptest.NewRequest(request[0], request[1], nil)
				if site != "" {
					r.Header.Set("Sec-Fetch-Site", site)
				}
				w := httptest.NewRecorder()
				svc.Handler().ServeHTTP(w, r)
				require.True(t, deniesFrames(w.Header()), "%s: %s: %d", name, request, w.Code)
			}
		}
	}
}

// noUsers is a host's table without users.
type noUsers struct{ auth.UserSource }

// A host's own pages may be framed. Only the errors that the library writes on them may not.
func TestTheHostsOwnPagesKeepTheirPolicy(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	page := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for name, test := range map[string]struct {
		handler http.Handler
		token   string
		denied  bool
	}{
		"a page":         {f.svc.Authenticate(page), f.signIn(f.user), false},
		"an error":       {f.svc.Authenticate(page), "x", true},
		"no super user":  {f.svc.Authenticate(f.svc.RequireSuperUser(page)), f.signIn(f.user), true},
		"a page of both": {f.svc.Authenticate(f.svc.RequireSuperUser(page)), f.signIn(f.admin), false},
	} {
		answer := send(hostHandler{test.handler}, http.MethodGet, "/", "",
			"Authorization", "Bearer "+test.token)
		require.Equal(t, test.denied, deniesFrames(answer.header), name)
	}

	const policy = "default-src 'self'; report-uri /csp"
	g := newGitHub(t, withBrowserSessions)
	withPolicy := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		g.svc.Handler().ServeHTTP(w, r)
	})
	const noFrames, ofPage = "frame-ancestors 'none'", "default-src 'none'; frame-ancestors 'none'"
	for target, want := range map[string][]string{
		"/auth/user": {policy, noFrames}, "/nothing": {policy, noFrames},
		"/.well-known/jwks.json": {policy, noFrames},
		startCall:                {policy, noFrames, ofPage}, callbackCall: {policy, noFrames, ofPage},
	} {
		answer := send(withPolicy, http.MethodGet, target, "",
			fetchedFrom("cross-site", "navigate", "document")...)
		require.Equal(t, want, answer.header.Values("Content-Security-Policy"), target)
	}
}
