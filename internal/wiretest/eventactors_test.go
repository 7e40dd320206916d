package wiretest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func TestASuperUserWhoChangesAnotherUserIsTheActor(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.OnEvent = got.Add })
	session, err := f.svc.SignIn(t.Context(), f.user.ID, auth.LoginOptions{})
	require.NoError(t, err)
	token := f.signIn(f.admin)
	got.Deliver(t, f.svc)
	f.sendAs(token, "DELETE", "/auth/keys/"+f.userPair.AccessKey, "")
	f.sendAs(token, "DELETE", "/auth/sessions/"+session.Session.ID, "")
	events := got.Deliver(t, f.svc)
	require.Len(t, events, 2)
	for _, e := range events {
		require.Equal(t, f.user.ID, e.UserID, e.Kind)
		require.Equal(t, f.admin.ID, e.ActorID, e.Kind)
	}
	require.True(t, strings.HasPrefix(string(events[0].Kind), "key."))
}

// A host may sign a user in while it handles a request of another user.
func TestTheUserWhoSignsInIsTheActorOfTheEvent(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.OnEvent = got.Add })
	got.Deliver(t, f.svc)
	r := httptest.NewRequest(http.MethodPost, "/impersonate", nil)
	r.Header.Set("Authorization", "Bearer "+f.signIn(f.admin))
	ctx, err := f.svc.IdentifyContext(r)
	require.NoError(t, err)
	require.NoError(t, errorOf(f.svc.SignIn(ctx, f.user.ID, auth.LoginOptions{})))
	events := got.Deliver(t, f.svc)
	require.Equal(t, f.user.ID, events[len(events)-1].UserID)
	require.Equal(t, f.user.ID, events[len(events)-1].ActorID)
}

// recordBrowserSessions enables browser sessions and adds each event to got.
func recordBrowserSessions(got *authtest.EventRecord) githubOptions {
	return githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.BrowserSessions, cfg.OnEvent = &auth.BrowserSessions{}, got.Add
	}}
}

// hubot signs in with a browser in which octocat is signed in. This revokes octocat's session. The
// actor of the event is hubot.
func TestReplacingASessionNamesTheNewUserAsActor(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
	g := newGitHub(t, recordBrowserSessions(&got))
	b := g.browser()
	b.signInByCookie("")
	require.NoError(t, g.fake.SignInAs(hubotLogin))
	b.signInByCookie("")
	first, err := g.link(octocat)
	require.NoError(t, err)
	second, err := g.link(hubot)
	require.NoError(t, err)
	require.NotEqual(t, first.UserID, second.UserID)
	seen := false
	for _, e := range got.Deliver(t, g.svc) {
		if e.Kind == eventkind.SessionRevoked {
			seen = true
			require.Equal(t, first.UserID, e.UserID)
			require.Equal(t, second.UserID, e.ActorID, "the user who signed in")
		}
	}
	require.True(t, seen)
}

func TestLogoutByTokenIsTheActorForTheCookiesSession(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
	g := newGitHub(t, recordBrowserSessions(&got))
	b := g.browser()
	b.signInByCookie("")
	require.Equal(t, http.StatusOK, b.do(http.MethodPost, "/auth/logout", "Sec-Fetch-Site", "same-origin",
		"Authorization", "Bearer "+g.signIn(g.user)).status)
	for _, e := range got.Deliver(t, g.svc) {
		if e.Kind == eventkind.SessionRevoked {
			require.Equal(t, g.user.ID, e.ActorID, "the session of user %s", e.UserID)
		}
	}
}
