package auth_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// measured is what hooks have been told, in order.
type measured struct{ record[string] }

func (m *measured) hooks() auth.Hooks {
	note := func(what string, outcome auth.Outcome, took time.Duration) {
		if took <= 0 {
			outcome += " in no time"
		}
		m.add(what + " " + string(outcome))
	}
	return auth.Hooks{
		SignIn: func(_ context.Context, method auth.SignInMethod, outcome auth.Outcome, took time.Duration) {
			note(string(method), outcome, took)
		},
		Verify: func(_ context.Context, outcome auth.Outcome, took time.Duration) { note("token", outcome, took) },
	}
}

func TestHooksAreToldWhatCameOfEachSignInAndToken(t *testing.T) {
	t.Parallel()
	var m measured
	fault := error(nil)
	g := newGitHub(t, githubOptions{configure: func(g *githubFixture, cfg *auth.Config) {
		cfg.Hooks = m.hooks()
		g.fixture.store = &faultyStore{Store: g.fixture.store, before: func(method string) error {
			if method == "FindKey" || method == "ListRevocations" {
				return fault
			}
			return nil
		}}
	}})
	token := g.login(g.userPair).json(t)["token"].(string)
	for range 2 {
		g.sendAs(token, "GET", "/auth/user", "")
	}
	g.sendAs(token+"x", "GET", "/auth/user", "")
	require.Equal(t, []string{"access_key accepted", "token accepted", "token hit", "token rejected"}, m.take())

	for range 21 {
		g.login(g.wrong())
	}
	outcomes := m.take()
	require.Equal(t, "access_key rejected", outcomes[0])
	require.Equal(t, "access_key throttled", outcomes[20])

	fault = errStoreAway
	require.Equal(t, http.StatusServiceUnavailable, g.login(g.userPair).status)
	g.clock.Advance(2 * time.Minute)
	require.Equal(t, http.StatusServiceUnavailable, g.sendAs(token, "GET", "/auth/user", "").status)
	require.Equal(t, []string{"access_key failed", "token failed"}, m.take())

	fault = nil
	g.browser().signIn()
	g.browser().get("/api/v1/auth/github/callback?code=x&state=forged")
	g.signIn(g.user)
	require.Equal(t, []string{"github accepted", "github rejected", "host accepted"}, m.take())
}

func TestTheAgeOfTheFeed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, accepts := f.svc.FeedAge()
	require.False(t, accepts, "nothing has been read")
	f.sendAs(f.signIn(f.user), "GET", "/auth/user", "")
	f.clock.Advance(3 * time.Second)
	age, accepts := f.svc.FeedAge()
	require.True(t, accepts)
	require.Equal(t, 3*time.Second, age)
	f.clock.Advance(time.Minute)
	_, accepts = f.svc.FeedAge()
	require.False(t, accepts)

	reads := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.CheckSessionsInStore = true })
	_, accepts = reads.svc.FeedAge()
	require.True(t, accepts)
}
