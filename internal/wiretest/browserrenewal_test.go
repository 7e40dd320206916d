package wiretest

import (
	"net/http"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func TestABearerTokenIsNotRenewedAndNeitherIsASignOut(t *testing.T) {
	t.Parallel()
	f := newBrowserFixture(t)
	token, cookie := f.signIn(f.user), f.signedInByKey(f.userPair)
	f.clock.Advance(10 * time.Hour)
	require.Empty(t, f.send(http.MethodGet, "/auth/user", "", "Cookie", cookie,
		"Authorization", "Bearer "+token).header["Set-Cookie"])
	require.Empty(t, sessionCookieOf(f.ask(cookie, http.MethodPost, "/auth/logout")))
}

// A renewal needs the store, but a request does not.
func TestARequestIsServedAlthoughTheStoreCannotRenewItsCookie(t *testing.T) {
	t.Parallel()
	away := false
	f := newBrowserFixture(t, withFaults(func(method string) error {
		if away && method == "ExtendSession" {
			return http.ErrServerClosed
		}
		return nil
	}))
	cookie := f.signedInByKey(f.userPair)
	f.clock.Advance(10 * time.Hour)
	away = true
	r := f.ask(cookie, http.MethodGet, "/auth/user")
	require.Equal(t, http.StatusOK, r.status)
	require.Empty(t, r.header["Set-Cookie"])
	away = false
	f.clock.Advance(time.Minute)
	require.NotEmpty(t, sessionCookieOf(f.ask(cookie, http.MethodGet, "/auth/user")))
}

func TestASessionIsNotExtendedBeyondItsKey(t *testing.T) {
	t.Parallel()
	f := newBrowserFixture(t)
	end := f.clock.Now().Add(14 * time.Hour).Truncate(time.Second)
	pair, err := f.svc.Credentials().Issue(t.Context(), authtest.ByHost, f.user.ID,
		auth.KeyOptions{ExpiresAt: end})
	require.NoError(t, err)
	cookie := f.signedInByKey(pair)
	f.clock.Advance(10 * time.Hour)
	cookie = sessionCookieOf(f.ask(cookie, http.MethodGet, "/auth/user"))
	require.NotEmpty(t, cookie)
	f.clock.Advance(2 * time.Hour)
	require.Empty(t, sessionCookieOf(f.ask(cookie, http.MethodGet, "/auth/user")))
	f.clock.Advance(2 * time.Hour)
	require.Equal(t, http.StatusUnauthorized, f.ask(cookie, http.MethodGet, "/auth/user").status)
}
