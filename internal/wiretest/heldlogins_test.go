package wiretest

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// holdLogin begins a sign-in at another instance. Its body arrives when the returned function is called.
func (f *fixture) holdLogin(at *fixture, path string, pair auth.KeyPair, header ...string) func() response {
	f.t.Helper()
	begun, held, answers := make(chan struct{}), make(chan struct{}), make(chan response, 1)
	wait := sync.OnceFunc(func() { close(begun); <-held })
	r := httptest.NewRequest(http.MethodPost, path, &heldBody{bytes.NewReader([]byte(loginBody(pair))), wait})
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	go func() {
		w := httptest.NewRecorder()
		at.svc.Handler(allGroups...).ServeHTTP(w, r)
		answers <- response{w.Code, w.Result().Header, w.Body.String()}
	}()
	<-begun
	return func() response { close(held); return <-answers }
}

// The attack: a client holds back the body of a sign-in while its key or its user loses power.
func TestAHeldSignInHasOnlyThePowerOfItsEnd(t *testing.T) {
	t.Parallel()
	changes := map[string]struct {
		status int
		make   func(f *fixture) error
	}{
		"nothing": {http.StatusOK, func(*fixture) error { return nil }},
		"the key revoked": {http.StatusUnauthorized, func(f *fixture) error {
			return f.svc.Credentials().Revoke(f.t.Context(), authtest.ByHost, f.adminPair.AccessKey)
		}},
		"the key rotated": {http.StatusUnauthorized, func(f *fixture) error {
			return errorOf(f.svc.Credentials().Rotate(f.t.Context(), authtest.ByHost,
				f.adminPair.AccessKey, 0))
		}},
		"the key limited": {http.StatusForbidden, func(f *fixture) error {
			return f.svc.Credentials().SetScopes(f.t.Context(), authtest.ByHost, f.adminPair.AccessKey,
				auth.NewScopes(reading))
		}},
		"disabled": {http.StatusUnauthorized, func(f *fixture) error {
			f.setActive(f.admin, false)
			return nil
		}},
		"demoted": {http.StatusForbidden, func(f *fixture) error {
			return errorOf(f.svc.UpdateUser(f.t.Context(), authtest.ByHost, f.admin.ID,
				auth.UserChange{IsSuperUser: new(false)}))
		}},
		"deleted": {http.StatusUnauthorized, func(f *fixture) error {
			return f.svc.DeleteUser(f.t.Context(), authtest.ByHost, f.admin.ID)
		}},
	}
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		for name, change := range changes {
			t.Run(name, func(t *testing.T) {
				store := open(t)
				f := newBrowserFixture(t, scopesOn(store))
				_, err := f.svc.Register(t.Context(), authtest.ByHost,
					auth.UserParams{Username: "boss", IsSuperUser: true})
				require.NoError(t, err)
				other := f.secondInstance()
				earlier := f.signedInByKey(f.userPair)
				bearer := f.holdLogin(other, "/auth/users/login", f.adminPair)
				browser := f.holdLogin(other, browserLoginCall, f.adminPair, "Cookie", earlier)
				require.NoError(t, change.make(f))

				answer := bearer()
				if change.status == http.StatusUnauthorized {
					require.Equal(t, change.status, answer.status)
					answer = browser()
					require.Equal(t, change.status, answer.status)
					require.Empty(t, answer.header["Set-Cookie"])
					require.Equal(t, http.StatusOK, f.ask(earlier, http.MethodGet, "/auth/user").status,
						"a refused sign-in replaces no session")
					return
				}
				require.Equal(t, http.StatusOK, answer.status)
				token := answer.json(t)["token"].(string)
				require.Equal(t, change.status, f.sendAs(token, http.MethodGet, "/auth/users", "").status)
				require.Equal(t, name != "demoted", answer.json(t)["is_super_user"])
				cookie := sessionCookieOf(browser())
				require.Equal(t, change.status, f.ask(cookie, http.MethodGet, "/auth/users").status)
			})
		}
	})
}
