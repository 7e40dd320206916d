package wiretest

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// slowRequest sends a request that renews the cookie, and returns when it is being served. The returned
// function lets the service answer.
func (f *fixture) slowRequest(cookie string, ofHost bool) (answer func() response) {
	f.t.Helper()
	begun, held := make(chan struct{}), make(chan struct{})
	wait := sync.OnceFunc(func() { close(begun); <-held })
	r := httptest.NewRequest(http.MethodGet, "/reports", nil)
	h := f.svc.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		wait()
		w.WriteHeader(http.StatusOK)
	}))
	if !ofHost {
		h = f.svc.Handler()
		r = httptest.NewRequest(http.MethodPost, "/auth/keys", &heldBody{bytes.NewReader([]byte(`{}`)), wait})
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Cookie", cookie)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	answers := make(chan response, 1)
	go func() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		answers <- response{w.Code, w.Result().Header, w.Body.String()}
	}()
	<-begun
	return func() response { close(held); return <-answers }
}

// The attack, or an accident: the answer to a slow request arrives after the person has signed in again in
// the same browser. The renewed cookie of the earlier session must not replace the new cookie.
func TestASlowAnswerDoesNotBringBackARevokedSession(t *testing.T) {
	t.Parallel()
	changes := map[string]func(t *testing.T, f *fixture, cookie string){
		"another person signs in": func(_ *testing.T, f *fixture, cookie string) {
			f.signedInByKey(f.adminPair, "Cookie", cookie)
		},
		"signing out": func(t *testing.T, f *fixture, cookie string) {
			require.Equal(t, http.StatusOK, f.ask(cookie, http.MethodPost, "/auth/logout").status)
		},
		"signing out on another instance": func(t *testing.T, f *fixture, cookie string) {
			require.Equal(t, http.StatusOK,
				f.secondInstance().ask(cookie, http.MethodPost, "/auth/logout").status)
			f.clock.Advance(5 * time.Second)
		},
		"disabling the user": func(_ *testing.T, f *fixture, _ string) { f.setActive(f.user, false) },
		"nothing":            func(*testing.T, *fixture, string) {},
	}
	for _, inStore := range []bool{false, true} {
		for _, ofHost := range []bool{false, true} {
			for name, change := range changes {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					f := newBrowserFixture(t, func(_ *fixture, cfg *auth.Config) {
						cfg.Tokens.CheckSessionsInStore = inStore
					})
					cookie := f.signedInByKey(f.userPair)
					f.clock.Advance(10 * time.Hour)
					answer := f.slowRequest(cookie, ofHost)
					change(t, f, cookie)
					renewed := sessionCookieOf(answer())
					if name != "nothing" {
						require.Empty(t, renewed)
						return
					}
					require.NotEmpty(t, renewed)
					require.Equal(t, http.StatusOK, f.ask(renewed, http.MethodGet, "/auth/user").status)
				})
			}
		}
	}
}
