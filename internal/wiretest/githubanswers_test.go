package wiretest

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/stretchr/testify/require"
)

// Attack: a user who has left the organization signs in with a key 200 times.
func TestADepartureFromTheOrganizationIsCachedForAMinute(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	m.leave()
	m.clock.Advance(recheckAfter)
	asked := m.fake.Count(githubtest.EndpointUser)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 10 {
				if _, err := m.svc.Login(t.Context(), m.pair, auth.LoginOptions{}); err == nil {
					t.Error("the key signs in")
				}
			}
		})
	}
	all.Wait()
	require.Equal(t, asked+1, m.fake.Count(githubtest.EndpointUser))
	m.clock.Advance(time.Minute)
	m.requireRejected()
	require.Equal(t, asked+2, m.fake.Count(githubtest.EndpointUser))

	require.NoError(t, m.fake.SetUser(githubtest.User{
		ID: octocat, Login: octocatLogin, Memberships: []githubtest.Membership{acme},
	}))
	m.browser().signIn()
	// A sign-in with GitHub checks the membership again and replaces the cached result.
	m.requireSignsIn()
}

func TestConcurrentSignInsCheckTheMembershipOnce(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	m.clock.Advance(recheckAfter)
	asked := m.fake.Count(githubtest.EndpointUser)
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			if _, err := m.svc.Login(t.Context(), m.pair, auth.LoginOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.Equal(t, asked+1, m.fake.Count(githubtest.EndpointUser))
}

// A 403 because of single sign-on, a 429 and a 5xx say nothing about the membership of the user.
func TestFailuresOfGitHubAreNotCached(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	m.clock.Advance(recheckAfter)
	token := m.signIn(m.user)
	verify := func() response { return m.sendAs(token, "GET", verifyCall, "") }
	for _, status := range []int{
		http.StatusForbidden, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusServiceUnavailable,
	} {
		asked := m.fake.Count(githubtest.EndpointMemberships)
		checked := m.fake.Count(githubtest.EndpointCheckToken)
		m.fake.Inject(githubtest.EndpointMemberships, githubtest.Status(status))
		m.fake.Inject(githubtest.EndpointCheckToken, githubtest.Status(status))
		for range 3 {
			require.Equal(t, http.StatusServiceUnavailable, m.login(m.pair).status, status)
			require.Equal(t, http.StatusServiceUnavailable, verify().status, status)
		}
		m.fake.Heal()
		require.Equal(t, asked+3, m.fake.Count(githubtest.EndpointMemberships), status)
		require.Equal(t, checked+3, m.fake.Count(githubtest.EndpointCheckToken), status)
	}
	require.Equal(t, http.StatusOK, verify().status)
	m.requireSignsIn()
}

func TestATokenIsVerifiedAtGitHubOnceAMinute(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	token := g.fixture.signIn(g.user)
	require.Equal(t, http.StatusOK, g.browser().connect(token).status)
	verify := func() response { return g.sendAs(token, "GET", verifyCall, "") }
	checked := func() int { return g.fake.Count(githubtest.EndpointCheckToken) }
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 10 {
				if _, err := g.svc.GitHub().Verify(t.Context(), g.user.ID); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	require.Equal(t, 1, checked())
	require.Equal(t, true, verify().json(t)["valid"])
	require.Equal(t, 1, checked())

	g.fake.Revoke(octocat)
	require.Equal(t, http.StatusOK, verify().status)
	g.clock.Advance(time.Minute)
	for range 200 {
		require.Equal(t, http.StatusNotFound, verify().status)
	}
	require.Equal(t, 2, checked())

	require.Equal(t, http.StatusOK, g.browser().connect(token).status)
	require.Equal(t, http.StatusOK, verify().status, "a new token is verified at once")
	require.Equal(t, 3, checked())
}

// onDeleteToken configures a store that calls the function *hook before it deletes a GitHub token.
// The first call sets *hook to nil, so there is no second call.
func onDeleteToken(hook *func()) githubOptions {
	return githubOptions{configure: func(g *githubFixture, _ *auth.Config) {
		g.fixture.injectFaults(func(method string) error {
			if do := *hook; method == "DeleteGitHubToken" && do != nil {
				*hook = nil
				do()
			}
			return nil
		})
	}}
}

// Two instances verify a token that GitHub has revoked. The first instance removes the token. The
// second instance must still report the token as revoked.
func TestATokenRevokedAtGitHubIsNeverReportedValid(t *testing.T) {
	t.Parallel()
	var hook func()
	g := newGitHub(t, onDeleteToken(&hook))
	token := g.signIn(g.user)
	require.Equal(t, http.StatusOK, g.browser().connect(token).status)
	g.fake.Revoke(octocat)
	other := g.instance()
	hook = func() { // the first instance removes the token
		_, err := other.GitHub().Verify(t.Context(), g.user.ID)
		require.ErrorIs(t, err, auth.ErrNotFound)
	}
	answer := g.sendAs(token, http.MethodGet, verifyCall, "")
	require.Equal(t, http.StatusNotFound, answer.status,
		"GitHub has reported the token as revoked: %s", answer.body)
}

// While the token is verified, the user connects GitHub again. The response of GitHub is about the
// old token and says nothing about the new one.
func TestAnAnswerAboutAReplacedGitHubTokenDoesNotVouchForTheNewOne(t *testing.T) {
	t.Parallel()
	var hook func()
	g := newGitHub(t, onDeleteToken(&hook))
	token := g.signIn(g.user)
	require.Equal(t, http.StatusOK, g.browser().connect(token).status)
	g.fake.Revoke(octocat)
	hook = func() {
		require.Equal(t, http.StatusOK, g.browser().connect(token).status)
		g.fake.Revoke(octocat) // GitHub revokes the new token too
	}
	answer := g.sendAs(token, http.MethodGet, verifyCall, "")
	require.NotEqual(t, http.StatusOK, answer.status, "both tokens are revoked: %s", answer.body)
}
