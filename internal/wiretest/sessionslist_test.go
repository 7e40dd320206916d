package wiretest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// Attack: a client signs in many times. In JSON, the User-Agent of the client is as long as
// possible.
func TestTheListOfSessionsIsLimited(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	oldest := f.loginFrom("oldest")
	for range 100 {
		f.clock.Advance(time.Second)
		f.loginFrom(strings.Repeat("<", 300))
	}
	f.clock.Advance(time.Second)
	newest := f.loginFrom("newest")

	r := f.sendAs(newest, http.MethodGet, "/auth/sessions", "")
	require.Less(t, len(r.body), 256<<10)
	sessions := r.array(t)
	require.Len(t, sessions, 100)
	require.Equal(t, "newest", sessions[0]["user_agent"])
	require.Equal(t, true, sessions[0]["current"])
	for i := range 99 {
		require.Greater(t, sessions[i]["created_at"], sessions[i+1]["created_at"])
	}

	sessions = f.sendAs(oldest, http.MethodGet, "/auth/sessions", "").array(t)
	require.Len(t, sessions, 100)
	require.Equal(t, "newest", sessions[0]["user_agent"])
	require.Equal(t, "oldest", sessions[99]["user_agent"], "the caller's own session is always listed")
	require.Equal(t, true, sessions[99]["current"])
}

func TestTheListOfSessionsNamesTheirAudiences(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.signIn(f.user)
	f.clock.Advance(time.Second)
	_, _, err := f.store.CreateSession(t.Context(), auth.Session{
		ID: "other", UserID: f.user.ID, Method: auth.MethodHost, Audience: "https://reports.example.com",
		CreatedAt: f.clock.Now(), ExpiresAt: f.clock.Now().Add(time.Hour)}, 0)
	require.NoError(t, err)
	sessions := f.sendAs(token, http.MethodGet, "/auth/sessions", "").array(t)
	require.Len(t, sessions, 2)
	require.Equal(t, "https://reports.example.com", sessions[0]["audience"])
	require.NotContains(t, sessions[1], "audience", "this session is for the issuer itself")

	r := f.sendAs(token, http.MethodDelete, "/auth/sessions/other", "")
	require.Equal(t, http.StatusNoContent, r.status, "the user revokes it like every other session")
	require.Len(t, f.sendAs(token, http.MethodGet, "/auth/sessions", "").array(t), 1)
}
