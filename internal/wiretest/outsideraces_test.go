package wiretest

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
)

// Sign-ins on two instances of one database race with a call that takes power or access from the
// user.
func TestSignInsDuringADemotionOrDeletionLeaveNoAccess(t *testing.T) {
	for _, kind := range []string{"PostgreSQL", "SQLite"} {
		t.Run(kind, func(t *testing.T) {
			for _, action := range []string{
				"demote", "reset", "delete", "unlink", "disable", "demote listed later",
				"recover another user",
			} {
				t.Run(action, func(t *testing.T) {
					for range 8 {
						raceOnce(t, kind, action)
					}
				})
			}
		})
	}
}

func raceOnce(t *testing.T, kind, action string) {
	store := testStores[kind](t)
	listed := []int64{octocat}
	if action == "demote listed later" {
		listed = nil
	}
	g := newGitHub(t, onStore(store, listed...))
	_, user, _ := g.signInOctocat()
	require.Equal(t, listed != nil, user.IsSuperUser)
	g.github.SuperUsers = []int64{octocat}
	services := []*auth.Service{g.svc, g.instance()}
	if listed == nil {
		services[0] = g.instance()
	}
	pair, err := g.svc.Credentials().Issue(t.Context(), authtest.ByHost, user.ID, auth.KeyOptions{})
	require.NoError(t, err)
	own, err := g.svc.Login(t.Context(), pair)
	require.NoError(t, err)
	const tabs = 6
	flows := make([]pending, tabs)
	for i := range flows {
		flows[i] = g.pending()
	}
	answers := make([]response, tabs)
	var all sync.WaitGroup
	start := make(chan struct{})
	for i, p := range flows {
		all.Go(func() {
			<-start
			r := httptest.NewRequest(http.MethodGet, p.callback, nil)
			for _, c := range p.cookies {
				r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
			}
			answers[i] = serve(services[i%2].Handler(), r)
		})
	}
	all.Go(func() {
		<-start
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond) // by then the sign-ins have asked GitHub
		var err error
		switch action {
		case "demote", "demote listed later":
			_, err = services[1].UpdateUser(t.Context(), authtest.ByHost, user.ID,
				auth.UserChange{IsSuperUser: new(false)})
		case "reset":
			_, err = services[1].RegenerateCredentials(t.Context(), authtest.ByHost, user.ID)
		case "delete":
			err = services[1].DeleteUser(t.Context(), authtest.ByHost, user.ID)
		case "unlink":
			err = services[1].GitHub().Unlink(t.Context(),
				auth.Authority{SessionID: own.Session.ID, UserID: user.ID}, user.ID)
		case "disable":
			_, err = services[1].UpdateUser(t.Context(), authtest.ByHost, user.ID,
				auth.UserChange{IsActive: new(false)})
		case "recover another user":
			_, err = services[1].RecoverSuperUser(t.Context(), g.user.ID)
		}
		if err != nil {
			t.Error(action, err)
		}
	})
	close(start)
	all.Wait()
	var statuses []int
	fresh := g.instance() // a new instance reads all revocations
	live := 0
	for _, a := range answers {
		statuses = append(statuses, a.status)
		if a.status == http.StatusOK {
			token := a.json(t)["token"].(string)
			if id, err := fresh.Tokens().Verify(t.Context(), token); err == nil && id.UserID == user.ID {
				live++
			}
		}
	}
	t.Log(statuses, live)
	now, err := store.FindUser(t.Context(), user.ID)
	link, linkErr := g.link(octocat)
	_, token, _ := store.FindGitHubConnection(t.Context(), user.ID, "githubtest.invalid")
	switch action {
	case "demote", "demote listed later":
		require.NoError(t, err)
		require.False(t, now.IsSuperUser)
	case "reset":
		require.ErrorIs(t, linkErr, auth.ErrNotFound)
		require.Nil(t, token)
		require.Zero(t, live)
	case "delete":
		require.ErrorIs(t, err, auth.ErrNotFound)
		require.Zero(t, live)
		if linkErr == nil {
			again, err := store.FindUser(t.Context(), link.UserID)
			require.NoError(t, err)
			require.False(t, again.IsSuperUser)
			require.NotEqual(t, user.ID, again.ID)
		}
	case "unlink":
		require.ErrorIs(t, linkErr, auth.ErrNotFound)
		require.Nil(t, token)
		require.Zero(t, live)
	case "disable":
		require.Zero(t, live)
	}
}

// A connect flow that began before the user was reset, disabled or deleted, or everybody was
// revoked, must not complete.
func TestConnectFlowsBegunBeforeARevocationAreRejected(t *testing.T) {
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		for name, revoke := range map[string]func(*githubFixture){
			"the user is reset": func(g *githubFixture) {
				_, err := g.instance().RegenerateCredentials(t.Context(), authtest.ByHost, g.user.ID)
				require.NoError(t, err)
			},
			"the user is disabled and enabled again": func(g *githubFixture) { g.setActive(g.user, false); g.setActive(g.user, true) },
			"the user is deleted": func(g *githubFixture) {
				require.NoError(t, g.instance().DeleteUser(t.Context(), authtest.ByHost, g.user.ID))
			},
			"everybody is revoked": func(g *githubFixture) { require.NoError(t, g.instance().RevokeEverybody(t.Context(), authtest.ByHost)) },
		} {
			g := newGitHub(t, onStore(open(t)))
			token := g.signIn(g.user)
			b := g.browser()
			callback := b.callbackURL(b.connectURL(token))
			revoke(g)
			require.Equal(t, http.StatusBadRequest, b.get(callback).status, name)
			_, err := g.link(octocat)
			require.ErrorIs(t, err, auth.ErrNotFound, name)
			require.Empty(t, g.fake.Tokens(octocat), name)
		}
	})
}

// No store can keep these IDs and filters. They must not cause an internal error over any store.
func TestInvalidIDsNeverAnswer5xx(t *testing.T) {
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		g := newGitHub(t, onStore(open(t)))
		admin := g.signIn(g.admin)
		long := ""
		for range 3000 {
			long += "x"
		}
		for _, id := range []string{
			"%00", "a%00b", "%ff", "%c3%28", "%ed%a0%80", long, "%F0%9F%92%A9", "%e2%80%ae", "'",
			"%25", "..%2f..", "%0d%0aX:%20y",
		} {
			for _, call := range []struct{ method, target string }{
				{"DELETE", "/auth/sessions/" + id}, {"DELETE", "/auth/keys/" + id},
				{"POST", "/auth/keys/" + id + "/rotate"},
				{"GET", "/auth/users/" + id}, {"DELETE", "/auth/users/" + id},
				{"POST", "/auth/users/" + id + "/reinstate"},
				{"POST", "/auth/users/" + id + "/regenerate-credentials"},
				{"POST", "/auth/tokens/revoke-user/" + id},
				{"GET", "/auth/users?after=" + id}, {"GET", "/auth/users?limit=" + id},
				{"GET", "/auth/events?before=" + id},
				{"GET", "/auth/events?kind=" + id}, {"GET", "/auth/events?user_id=" + id},
				{"GET", startCall + "?return_to=" + id},
				{"GET", callbackCall + "?code=" + id + "&state=" + id},
			} {
				answer := g.sendAs(admin, call.method, call.target, "")
				if answer.status >= 500 {
					t.Errorf("%s %.60q: %d %s", call.method, call.target, answer.status, answer.body)
				}
			}
		}
	})
}

// An ID that cannot be stored is not found.
func TestInvalidIDsAreNotFound(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	admin := f.signIn(f.admin)
	for _, id := range []string{"%00", "%ff", "%e2%80%ae"} {
		for _, call := range []struct{ method, target, body string }{
			{"GET", "/auth/users/" + id, ""}, {"DELETE", "/auth/users/" + id, ""},
			{"PATCH", "/auth/users/" + id, `{"is_active":false}`},
			{"POST", "/auth/users/" + id + "/reinstate", ""},
			{"POST", "/auth/users/" + id + "/regenerate-credentials", ""},
			{"POST", "/auth/tokens/revoke-user/" + id, ""}, {"DELETE", "/auth/sessions/" + id, ""},
			{"DELETE", "/auth/keys/" + id, ""},
		} {
			if answer := f.sendAs(admin, call.method, call.target,
				call.body); answer.status != http.StatusNotFound {
				t.Errorf("%s %s: %d %s", call.method, call.target, answer.status, answer.body)
			}
		}
	}
}
