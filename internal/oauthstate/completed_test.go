package oauthstate_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/oauthstate"
	"github.com/stretchr/testify/require"
)

func TestABrowserRemembersItsNewestFlowOfEachKind(t *testing.T) {
	t.Parallel()
	c := oauthstate.NewCookies(newSealer(t))
	signIn := oauthstate.Completed{SessionID: "s1", Page: "/reports?a=b&c"}
	connect := oauthstate.Completed{SessionID: "s1", Connect: true}
	r := request(c.Complete("state 1", "/cb", signIn, time.Hour),
		c.Complete("state 2", "/cb", connect, time.Hour))
	for state, want := range map[string]oauthstate.Completed{"state 1": signIn, "state 2": connect} {
		done, ok := c.Completed(r, state)
		require.True(t, ok)
		require.Equal(t, want, done)
	}
	for _, state := range []string{"", "state 3", strings.Repeat("x", 1025)} {
		_, ok := c.Completed(r, state)
		require.False(t, ok, state)
	}
	require.Nil(t, c.Complete("state", "/cb", signIn, time.Second-1), "the session has expired")
	require.Nil(t, c.Complete("state", "/cb",
		oauthstate.Completed{SessionID: "s", Page: "/" + strings.Repeat("&", 255)}, time.Hour), "too long")
}

// The cookie of an open flow must not be accepted as the cookie of a completed flow, and the reverse.
// Both are sealed under the state, and their JSON forms have members in common.
func TestAnOpenFlowAndACompletedFlowAreNotInterchangeable(t *testing.T) {
	t.Parallel()
	c := oauthstate.NewCookies(newSealer(t))
	state, open := begun(t, c, oauthstate.Flow{Verifier: "v", ExpiresAt: expiresIn(time.Minute),
		UserID: "u", SessionID: "s"})
	for _, name := range []string{"auth_github_signed_in", "auth_github_connected"} {
		_, ok := c.Completed(request(&http.Cookie{Name: name, Value: open.Value}), state)
		require.False(t, ok, name)
	}
	done := c.Complete(state, "/cb", oauthstate.Completed{SessionID: "s"}, time.Hour)
	_, ok := c.Flow(request(&http.Cookie{Name: open.Name, Value: done.Value}), state, time.Unix(-1, 0))
	require.False(t, ok, "a Completed has no expiry, so the clock is before all of them")
}
