package wiretest

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// calling returns options with which a sign-in calls the endpoint. For the endpoints of memberships and
// teams, they allow only an organization or a team. The timeout stays at its default of 10 seconds, because
// a shorter one would also end healthy calls while other tests use the processors.
func calling(endpoint githubtest.Endpoint) githubOptions {
	org := githubtest.Org{ID: 77, Login: "acme"}
	return githubOptions{
		fake: githubtest.Config{Users: []githubtest.User{{
			ID: octocat, Login: octocatLogin,
			Emails:      []githubtest.Email{{Address: "octocat@example.com", Primary: true, Verified: true}},
			Memberships: []githubtest.Membership{{Org: org}},
			Teams:       []githubtest.Team{{ID: 55, Slug: "core", Org: org}},
		}}},
		configure: func(_ *githubFixture, cfg *auth.Config) {
			switch endpoint {
			case githubtest.EndpointMemberships:
				cfg.GitHub.AllowedOrganizations = []int64{77}
			case githubtest.EndpointTeams:
				cfg.GitHub.AllowedTeams = []int64{55}
			}
		},
	}
}

// signInEndpoints are the endpoints that the library calls at the first sign-in of a user.
var signInEndpoints = map[githubtest.Endpoint]bool{
	githubtest.EndpointAccessToken: true, githubtest.EndpointUser: true, githubtest.EndpointEmails: true,
	githubtest.EndpointMemberships: true, githubtest.EndpointTeams: true,
}

// forEachFault runs the test with every fault of each endpoint in wanted. More tests run at the
// same time than there are processors, because most of them only wait.
func forEachFault(t *testing.T, wanted map[githubtest.Endpoint]bool,
	test func(t *testing.T, g *githubFixture, endpoint githubtest.Endpoint, fault githubtest.NamedFault),
) {
	t.Helper()
	kinds := 0
	var group errgroup.Group
	group.SetLimit(16)
	for _, fault := range githubtest.Faults() {
		for _, endpoint := range fault.Endpoints {
			if !wanted[endpoint] {
				continue
			}
			kinds++
			group.Go(func() error {
				t.Run(string(endpoint)+"/"+fault.Name, func(t *testing.T) {
					test(t, newGitHub(t, calling(endpoint)), endpoint, fault)
				})
				return nil
			})
		}
	}
	group.Wait()
	require.GreaterOrEqual(t, kinds, 40)
}

// If any call to GitHub fails in any way, the response is one of the documented ones, and nothing
// is left behind.
func TestAFaultyGitHubAnswerLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	forEachFault(t, signInEndpoints,
		func(t *testing.T, g *githubFixture, endpoint githubtest.Endpoint, fault githubtest.NamedFault) {
			b := g.browser()
			callback := b.callbackURL(b.authURL(signInCall))
			g.fake.Inject(endpoint, fault.Fault)
			p := b.get(callback)
			if p.status == http.StatusOK && (fault.Harmless || endpoint == githubtest.EndpointEmails) {
				g.requireSoundUser(p) // the fault did not prevent the sign-in
				return
			}
			statuses := []int{http.StatusBadRequest, http.StatusForbidden, http.StatusServiceUnavailable}
			require.Contains(t, statuses, p.status, p.body)
			requireErrorBody(t, response{p.status, p.header, p.body})
			g.requireNothingLeft(endpoint)

			// The next attempt without the fault succeeds.
			g.fake.Heal()
			require.Equal(t, true, g.browser().signIn()["is_new_user"])
		})
}

// requireSoundUser fails the test unless the new user is octocat, with octocat's own email address
// or none.
func (g *githubFixture) requireSoundUser(p page) {
	g.t.Helper()
	signedIn := p.json(g.t)
	user := g.sendAs(signedIn["token"].(string), http.MethodGet, "/auth/user", "").json(g.t)
	require.Equal(g.t, signedIn["username"], user["username"])
	require.Contains(g.t, []any{nil, "octocat@example.com"}, user["email"])
	require.Equal(g.t, false, user["is_super_user"])
}

// requireNothingLeft fails the test if a failed sign-in has left a link to a GitHub account, or a
// token at GitHub.
func (g *githubFixture) requireNothingLeft(endpoint githubtest.Endpoint) {
	g.t.Helper()
	_, err := g.link(octocat)
	require.ErrorIs(g.t, err, auth.ErrNotFound)
	// If the response with the token did not arrive completely, the service cannot revoke the
	// token.
	if endpoint != githubtest.EndpointAccessToken {
		require.Empty(g.t, g.fake.Tokens(octocat))
	}
}

func TestDisconnectingSucceedsWhileGitHubFails(t *testing.T) {
	t.Parallel()
	deleting := map[githubtest.Endpoint]bool{githubtest.EndpointDeleteToken: true}
	forEachFault(t, deleting, func(t *testing.T, g *githubFixture, endpoint githubtest.Endpoint,
		fault githubtest.NamedFault) {
		token := g.signIn(g.user)
		require.Equal(t, http.StatusOK, g.browser().connect(token).status)
		g.fake.Inject(endpoint, fault.Fault)
		r := g.sendAs(token, http.MethodPost, disconnectCall, "")
		require.Equal(t, http.StatusOK, r.status)
		require.JSONEq(t, `{"success": true, "message": "GitHub credentials removed successfully"}`, r.body)
		require.Equal(t, http.StatusNotFound, g.status(token).status)
		for _, line := range g.logLines("a GitHub token was not revoked") {
			require.Contains(t, line, "user_id="+g.user.ID)
			require.Contains(t, line, "error=")
		}
	})
}

func TestAFaultyAnswerToVerifyDisconnectsNobody(t *testing.T) {
	t.Parallel()
	checking := map[githubtest.Endpoint]bool{githubtest.EndpointCheckToken: true}
	forEachFault(t, checking, func(t *testing.T, g *githubFixture, endpoint githubtest.Endpoint,
		fault githubtest.NamedFault) {
		token := g.signIn(g.user)
		require.Equal(t, http.StatusOK, g.browser().connect(token).status)
		g.fake.Inject(endpoint, fault.Fault)
		r := g.sendAs(token, http.MethodGet, verifyCall, "")
		statuses := []int{http.StatusOK, http.StatusNotFound, http.StatusServiceUnavailable}
		require.Contains(t, statuses, r.status)
		// Only a response of GitHub itself with status 404 or 422 may disconnect the user.
		if r.status != http.StatusNotFound {
			require.Equal(t, http.StatusOK, g.status(token).status)
		}
	})
}

func TestGitHubsRetryAfterIsPassedOnUpToAnHour(t *testing.T) {
	t.Parallel()
	for header, want := range map[[2]string]string{
		{"Retry-After", "30"}:       "30",
		{"Retry-After", "99999999"}: "3600",
		{"Retry-After", "-1"}:       "",
		{"Retry-After", "soon"}:     "",
	} {
		g := newGitHub(t)
		b := g.browser()
		callback := b.callbackURL(b.authURL(signInCall))
		g.fake.Inject(githubtest.EndpointUser, func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set(header[0], header[1])
				w.WriteHeader(http.StatusTooManyRequests)
			})
		})
		p := b.get(callback)
		require.Equal(t, http.StatusServiceUnavailable, p.status)
		require.Equal(t, want, p.header.Get("Retry-After"), header)
	}
}

// If the library followed a redirect, it would send the client secret or the user's token to
// another host.
func TestNoRedirectFromGitHubIsFollowed(t *testing.T) {
	t.Parallel()
	evil := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Error("a redirect to another host was followed:", r.Method, r.URL)
	}))
	defer evil.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		for endpoint := range signInEndpoints {
			g := newGitHub(t, calling(endpoint))
			b := g.browser()
			callback := b.callbackURL(b.authURL(signInCall))
			g.fake.Inject(endpoint, githubtest.Redirect(status, evil.URL))
			require.Equal(t, http.StatusServiceUnavailable, b.get(callback).status, "%d at %s",
				status, endpoint)
		}
	}
}
