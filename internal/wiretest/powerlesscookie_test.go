package wiretest

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// newStolenCookie returns a fixture in which an attacker holds the session cookie of the super user
// boss, who has signed in with GitHub in a browser.
func newStolenCookie(t *testing.T, store auth.Store) *stolen {
	t.Helper()
	s := &stolen{}
	configure := func(cfg *auth.Config) {
		cfg.BrowserSessions, cfg.Throttling.Off = &auth.BrowserSessions{}, true
	}
	g := newGitHub(t, onStore(authtest.FaultyStore(store, s.gate.pass), octocat),
		githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) { configure(cfg) }})
	s.fixture, s.other = g.fixture, g.instance(configure)
	s.checking = g.instance(configure, checkSessionsInStore)
	b := g.browser()
	b.signInByCookie("")
	s.header = []string{"Cookie", b.cookieHeader("auth_session"), "Sec-Fetch-Site", "same-origin"}

	link, err := g.link(octocat)
	require.NoError(t, err)
	s.boss.User, err = s.store.FindUser(t.Context(), link.UserID)
	require.NoError(t, err)
	sessions, err := s.store.ListSessions(t.Context(), link.UserID, time.Time{}.Add(time.Hour))
	require.NoError(t, err)
	require.Len(t, sessions, 1)
	s.session.Session = sessions[0]
	s.boss.Pair, err = s.svc.Credentials().Issue(t.Context(), authtest.ByHost, link.UserID, auth.KeyOptions{})
	require.NoError(t, err)
	s.openSessions()
	for _, svc := range s.instances() {
		require.Equal(t, http.StatusOK, s.ask(svc))
	}
	return s
}

// cookieLosses returns the ways in which a session cookie loses its rights.
func cookieLosses() []powerLoss {
	all := []powerLoss{
		{name: "the browser signs out", apply: func(_ context.Context, s *stolen) error {
			r := send(s.svc.Handler(), http.MethodPost, "/auth/logout", "", s.header...)
			require.Equal(s.t, http.StatusOK, r.status, r.body)
			return nil
		}},
		{name: "the GitHub account is unlinked", apply: func(ctx context.Context, s *stolen) error {
			return s.svc.GitHub().Unlink(ctx, authtest.ByHost, s.boss.User.ID)
		}},
	}
	for _, e := range powerLosses {
		if !e.keyed {
			all = append(all, e)
		}
	}
	return all
}

// This test shows that the requests of the other tests fail because of the loss of rights.
func TestACookieOfALiveSessionMakesLastingChangesOnTheSecondInstance(t *testing.T) {
	t.Parallel()
	for _, c := range lastingCalls {
		s := newStolenCookie(t, testStores["memory"](t))
		before := s.snapshot()
		require.Less(t, s.call(s.other, c), 300, c.name)
		require.NotEqual(t, before, s.snapshot(), c.name)
	}
}

// The second instance has not read the feed since the loss of rights, so its middleware still
// accepts the cookie. The first instance rejects the cookie at once, and the second instance
// rejects it after the interval.
func TestACookieOfARevokedSessionMakesNoLastingChangeOnAnInstanceBehindTheFeed(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		for _, e := range cookieLosses() {
			t.Run(e.name, func(t *testing.T) {
				s := newStolenCookie(t, open(t))
				s.requirePowerlessAfter(e)
				if e.demote {
					return // the session is still valid
				}
				require.Equal(t, http.StatusUnauthorized, s.ask(s.svc))
				s.clock.Advance(6 * time.Second)
				require.Equal(t, http.StatusUnauthorized, s.ask(s.other))
			})
		}
	})
}

func TestARequestByCookieWhoseBodyArrivesAfterARevocationMakesNoLastingChange(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		for _, e := range cookieLosses() {
			t.Run(e.name, func(t *testing.T) {
				newStolenCookie(t, open(t)).requireHeldPowerlessAfter(e)
			})
		}
	})
}
