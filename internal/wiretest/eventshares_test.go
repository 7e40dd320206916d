package wiretest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// Attack: a user or a client causes many events of one class, so that the queue drops events of
// other classes.
func TestNoClassOfEventsDropsEventsOfAnother(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.OnEvent, cfg.Proxies = got.Add, auth.NoProxies()
		cfg.Throttling.Off = true
	})
	got.Deliver(t, f.svc)
	for range 12_000 {
		f.signIn(f.user)
	}
	for range 4000 {
		_, err := f.svc.Identify(newBearer("x"))
		require.ErrorIs(t, err, auth.ErrTokenRejected)
	}
	for range 2000 {
		require.Equal(t, http.StatusForbidden, f.sendAs(f.signIn(f.user), "GET", "/auth/users", "").status)
	}
	for range 200 {
		f.login(f.wrong())
	}
	for range 20 {
		require.Equal(t, http.StatusCreated, f.sendAs(f.signIn(f.user), "POST", "/auth/keys", "").status)
	}
	kinds := map[eventkind.Kind]int{}
	for _, e := range got.Deliver(t, f.svc) {
		kinds[e.Kind]++
	}
	require.Equal(t, map[eventkind.Kind]int{
		eventkind.KeyIssued: 20, eventkind.SignInRejected: 200,
		eventkind.SignedIn: 1024, eventkind.TokenRejected: 512, eventkind.AccessRefused: 512,
	}, kinds)
	require.Regexp(t, `events were dropped because OnEvent did not keep up" events=\d+`, f.log.String())
}

// Run empties the queue while many requests add events. A request must never wait for the queue.
func TestConcurrentRequestsNeverWaitForTheEventQueue(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.OnEvent = got.Add })
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 2000 {
				f.svc.Identify(newBearer("x"))
			}
		})
	}
	done := make(chan struct{})
	go func() { defer close(done); f.svc.Run(ctx) }()
	all.Wait()
	stop()
	<-done
	seen := len(got.Deliver(t, f.svc))
	require.Greater(t, seen, 512)
}

func TestARefusedRequestOfAKnownCallerIsAnEvent(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
	b := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.OnEvent, cfg.ReauthAfter, cfg.BrowserSessions = got.Add, time.Hour, &auth.BrowserSessions{}
	}})
	session, err := b.svc.SignIn(t.Context(), b.user.ID, auth.LoginOptions{})
	require.NoError(t, err)
	alice := session.Bearer.Reveal()
	admin, err := b.svc.SignIn(t.Context(), b.admin.ID, auth.LoginOptions{})
	require.NoError(t, err)
	got.Deliver(t, b.svc)

	requireRefused := func(reason, userID, actorID, sessionID string) {
		t.Helper()
		events := got.Deliver(t, b.svc)
		require.Len(t, events, 1)
		e := events[0]
		require.Equal(t, eventkind.AccessRefused, e.Kind)
		require.Equal(t, reason, e.Reason)
		require.Equal(t, []string{userID, actorID, sessionID}, []string{e.UserID, e.ActorID, e.SessionID})
		require.True(t, e.Client.Address.IsValid())
	}
	const superUsers = "Super user access required"
	require.Equal(t, 403, b.sendAs(alice, "GET", "/auth/users", "").status)
	requireRefused(superUsers, b.user.ID, b.user.ID, session.Session.ID)

	const others = "it belongs to another user"
	require.Equal(t, 404, b.sendAs(alice, "DELETE", "/auth/sessions/"+admin.Session.ID, "").status)
	requireRefused(others, b.admin.ID, b.user.ID, session.Session.ID)
	require.Equal(t, 404, b.sendAs(alice, "DELETE", "/auth/keys/"+b.adminPair.AccessKey, "").status)
	requireRefused(others, b.admin.ID, b.user.ID, session.Session.ID)
	require.Equal(t, 404, b.sendAs(alice, "POST", "/auth/keys/"+b.adminPair.AccessKey+"/rotate", "").status)
	requireRefused(others, b.admin.ID, b.user.ID, session.Session.ID)

	require.Equal(t, 404, b.sendAs(alice, "DELETE", "/auth/sessions/nobody's", "").status)
	require.Empty(t, got.Deliver(t, b.svc), "a session that does not exist causes no event")

	// The route belongs to the host. The middleware protects it.
	route := b.svc.Authenticate(b.svc.RequireSuperUser(http.NotFoundHandler()))
	request := newBearer(alice)
	w := httptest.NewRecorder()
	route.ServeHTTP(w, request)
	require.Equal(t, 403, w.Code)
	requireRefused(superUsers, b.user.ID, b.user.ID, session.Session.ID)

	b.clock.Advance(time.Hour)
	require.Equal(t, 403, b.sendAs(alice, "POST", "/auth/keys", "").status)
	requireRefused("This needs a newer session: sign in again first", b.user.ID, b.user.ID,
		session.Session.ID)

	// Another site makes the browser send this request, to which the browser adds the session
	// cookie.
	browser := b.browser()
	browser.signInByCookie("")
	cookie := browser.client.Jar.Cookies(mustURL(t, b.server.URL))[0]
	signedIn := got.Deliver(t, b.svc)
	var begun auth.Event
	for _, e := range signedIn {
		if e.Kind == eventkind.SignedIn {
			begun = e
		}
	}
	for _, handler := range []http.Handler{b.svc.Handler(), b.svc.Authenticate(http.NotFoundHandler())} {
		request := httptest.NewRequest("POST", "/auth/logout", strings.NewReader(""))
		request.AddCookie(cookie)
		request.Header.Set("Sec-Fetch-Site", "cross-site")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, request)
		require.Equal(t, 403, w.Code)
		requireRefused("Request refused: it must come from a page of this site", begun.UserID,
			begun.UserID, begun.SessionID)
	}
}

func TestARefusedRequestIsLoggedAsAWarning(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	require.Equal(t, 403, f.sendAs(f.signIn(f.user), "GET", "/auth/users", "").status)
	require.Regexp(t,
		`level=WARN msg="auth: access.refused" event.kind=access.refused event.user_id=`+f.user.ID+
			` event.actor_id=`+f.user.ID+` event.session_id=\S+`+
			` event.reason="Super user access required" event.address=192.0.2.1`,
		f.log.String())
}

// Each class of events has its own share of the queue. Attack: in a service without an audit trail,
// a user signs in and out many times. The queue must not drop the events of changes because of
// this.
func TestLogoutsDropNoChangeEvents(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.OnEvent, cfg.DisableAuditTrail, cfg.Throttling.Off = got.Add, true, true
	})
	got.Deliver(t, f.svc)
	for range 1100 {
		require.Equal(t, http.StatusOK,
			f.sendAs(f.signIn(f.user), http.MethodPost, "/auth/logout", "").status)
	}
	require.Equal(t, http.StatusCreated, f.sendAs(f.signIn(f.user), http.MethodPost, "/auth/keys", "").status)
	kinds := map[eventkind.Kind]int{}
	for _, e := range got.Deliver(t, f.svc) {
		kinds[e.Kind]++
	}
	require.Equal(t, 1, kinds[eventkind.KeyIssued], "%v", kinds)
}

// Only a refused request of a known caller causes an access.refused event. Attack: many requests
// without a caller push such events out of the queue.
func TestUnknownCallersCauseNoAccessRefusedEvents(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
	g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.OnEvent = got.Add
	}})
	got.Deliver(t, g.svc)
	for range 600 {
		require.Equal(t, http.StatusForbidden,
			g.send(http.MethodGet, startCall, "", "Sec-Fetch-Site", "cross-site").status)
	}
	require.Equal(t, http.StatusForbidden,
		g.sendAs(g.signIn(g.user), http.MethodGet, "/auth/users", "").status)
	known, unknown := 0, 0
	for _, e := range got.Deliver(t, g.svc) {
		if e.Kind == eventkind.AccessRefused && e.ActorID == "" {
			unknown++
		} else if e.Kind == eventkind.AccessRefused {
			known++
		}
	}
	require.Equal(t, 1, known,
		"the refusal of the known caller is lost; %d events of unknown callers", unknown)
}

// Only a refused request of a known caller causes an access.refused event. A deleted user is not a
// known caller, because the user's session was revoked.
func TestADeletedUsersCookieIsNotAKnownCaller(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
	g := newGitHub(t, recordBrowserSessions(&got))
	b := g.browser()
	b.signInByCookie("")
	cookie := b.client.Jar.Cookies(mustURL(t, g.server.URL))[0]
	link, err := g.link(octocat)
	require.NoError(t, err)
	require.NoError(t, g.svc.DeleteUser(t.Context(), auth.ByHost("test"), link.UserID))
	got.Deliver(t, g.svc)
	answer := g.send("POST", disconnectCall, "", "Cookie", cookie.Name+"="+cookie.Value)
	t.Log(answer.status)
	for _, e := range got.Deliver(t, g.svc) {
		require.NotEqual(t, eventkind.AccessRefused, e.Kind, "caused by the deleted user %s", e.ActorID)
	}
}
