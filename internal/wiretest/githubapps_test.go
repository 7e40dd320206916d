package wiretest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// The tests in this file have a GitHub App in place of an OAuth app. Its tokens have no scopes and expire
// after eight hours. docs/github-app.md is about such apps.

const appTokenLife = 8 * time.Hour

// newAppGitHub returns a fixture with a GitHub App that has the permissions.
func newAppGitHub(
	t *testing.T, permissions []string, user githubtest.User, configure ...func(*auth.GitHubConfig),
) *githubFixture {
	t.Helper()
	return newGitHub(t, githubOptions{
		fake: githubtest.Config{AppPermissions: permissions, TokenLifetime: appTokenLife,
			Users: []githubtest.User{user}},
		configure: func(_ *githubFixture, cfg *auth.Config) {
			for _, c := range configure {
				c(cfg.GitHub)
			}
		},
	})
}

var (
	octocatEmails = []githubtest.Email{{Address: "octocat@example.com", Primary: true, Verified: true}}
	octocatUser   = githubtest.User{ID: octocat, Login: octocatLogin, Emails: octocatEmails,
		Memberships: []githubtest.Membership{acme}}
)

func TestTheTokenOfAGitHubAppIsRefreshed(t *testing.T) {
	t.Parallel()
	g := newAppGitHub(t, []string{"email_addresses"}, octocatUser)
	_, user, token := g.signInOctocat()
	require.Equal(t, "octocat@example.com", user.Email)
	require.JSONEq(t, `{"has_token": true, "github_username": "octocat", "scopes": []}`, g.status(token).body)

	first := g.fake.Tokens(octocat)[0].Access
	client, err := g.svc.GitHub().Client(t.Context(), user.ID)
	require.NoError(t, err)
	for range 3 {
		g.clock.Advance(appTokenLife + time.Minute)
		response, err := client.Get(g.fake.URL() + "/api/v3/user")
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode)
		tokens := g.fake.Tokens(octocat)
		require.Len(t, tokens, 1)
		require.NotEqual(t, first, tokens[0].Access)
		first = tokens[0].Access
	}
	require.Equal(t, 4, g.fake.Count(githubtest.EndpointAccessToken), "a code, and a refresh of each token")

	g.clock.Advance(185 * 24 * time.Hour) // refresh tokens last for half a year
	_, err = client.Get(g.fake.URL() + "/api/v3/user")
	require.ErrorIs(t, err, auth.ErrNotFound)
	_, err = g.svc.GitHub().Status(t.Context(), user.ID)
	require.ErrorIs(t, err, auth.ErrNotFound, "the user connects or signs in again")
	_, again, _ := g.signInOctocat()
	require.Equal(t, user.ID, again.ID)
	_, err = g.svc.GitHub().Status(t.Context(), user.ID)
	require.NoError(t, err)
}

func TestAnAppWithoutThePermissionForEmailSignsInUsersWithoutAnAddress(t *testing.T) {
	t.Parallel()
	g := newAppGitHub(t, []string{}, octocatUser)
	status, user, _ := g.signInOctocat()
	require.Equal(t, http.StatusOK, status)
	require.Empty(t, user.Email)
}

func TestTheAddressOfAUserOfAGitHubAppIsSetLater(t *testing.T) {
	t.Parallel()
	without := octocatUser
	without.Emails = nil
	g := newAppGitHub(t, []string{"email_addresses"}, without)
	_, user, _ := g.signInOctocat()
	require.Empty(t, user.Email)
	require.NoError(t, g.fake.SetUser(octocatUser))
	_, user, _ = g.signInOctocat()
	require.Equal(t, "octocat@example.com", user.Email)
}

func TestAGitHubAppWithThePermissionMembersChecksMemberships(t *testing.T) {
	t.Parallel()
	restrict := func(cfg *auth.GitHubConfig) {
		cfg.AllowedOrganizations = []int64{acme.Org.ID}
		cfg.MembershipMaxAge = recheckAfter
	}
	g := newAppGitHub(t, []string{"members"}, octocatUser, restrict)
	_, user, _ := g.signInOctocat()
	pair, err := g.svc.Credentials().Issue(t.Context(), authtest.ByHost, user.ID, auth.KeyOptions{})
	require.NoError(t, err)
	m := member{g, user, pair}
	g.clock.Advance(recheckAfter)
	m.requireSignsIn()
	m.leave()
	g.clock.Advance(recheckAfter)
	m.requireRejected()

	g = newAppGitHub(t, []string{}, octocatUser, restrict)
	p := g.browser().get(startCall)
	require.Equal(t, http.StatusForbidden, p.status, "without the permission, GitHub names no organization")
}

// A GitHub App that asks for authorization during its installation sends the browser to the callback
// without a state. Anyone could send such a URL.
func TestACallbackAfterAnInstallationHasNoState(t *testing.T) {
	t.Parallel()
	g := newAppGitHub(t, []string{}, octocatUser)
	b := g.browser()
	callback := b.callbackURL(b.authURL(signInCall))
	query := queryOf(t, callback)
	target, _, _ := strings.Cut(callback, "?")
	p := b.get(target + "?code=" + query.Get("code") + "&installation_id=1&setup_action=install")
	require.Equal(t, http.StatusBadRequest, p.status)
	require.Empty(t, g.fake.Tokens(octocat))
}

// The tokens of the earlier app are useless for the GitHub App, which cannot check or revoke them. So they
// must not stay in the store because they have scopes.
func TestAGitHubAppReplacesAnOAuthApp(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	require.Equal(t, http.StatusOK, g.browser().connect(g.signIn(g.user)).status)
	require.Equal(t, []string{"repo", "user:email"}, g.fake.Tokens(octocat)[0].Scopes)

	after := g.withGitHubApp()
	require.Equal(t, "alice", after.browser().signIn()["username"], "the account is linked already")
	tokens := after.fake.Tokens(octocat)
	require.Len(t, tokens, 1)
	source, err := after.svc.GitHub().TokenSource(t.Context(), g.user.ID).Token()
	require.NoError(t, err)
	require.Equal(t, tokens[0].Access, source.AccessToken)
}

func TestAGitHubAppRemovesATokenOfAnotherAppWhenItIsVerified(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	require.Equal(t, http.StatusOK, g.browser().connect(g.signIn(g.user)).status)
	after := g.withGitHubApp()
	_, err := after.svc.GitHub().Status(t.Context(), g.user.ID)
	require.NoError(t, err)
	_, err = after.svc.GitHub().Verify(t.Context(), g.user.ID)
	require.ErrorIs(t, err, auth.ErrNotFound)
	_, err = after.svc.GitHub().Status(t.Context(), g.user.ID)
	require.ErrorIs(t, err, auth.ErrNotFound)
}

// withGitHubApp returns a fixture over the same store, in which a GitHub App has replaced the OAuth app.
func (g *githubFixture) withGitHubApp() *githubFixture {
	g.t.Helper()
	fake, err := githubtest.Start("", githubtest.Config{AutoApprove: octocatLogin, ClientID: "Iv1.app",
		AppPermissions: []string{"email_addresses"}, TokenLifetime: appTokenLife, Now: g.clock.Now})
	require.NoError(g.t, err)
	g.t.Cleanup(func() { fake.Close() })
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	g.t.Cleanup(server.Close)
	github := g.github
	id, secret := fake.Client()
	github.ClientID, github.ClientSecret = id, auth.NewSecret(secret)
	github.BaseURL, github.APIURL = fake.URL(), fake.URL()+"/api/v3"
	github.CallbackURL = server.URL + callbackCall
	svc, err := auth.New(g.store, auth.Config{Issuer: issuer, SigningKeys: []auth.SigningKey{g.signer.Key},
		SealingKeys: g.sealing, GitHub: &github, Now: g.clock.Now})
	require.NoError(g.t, err)
	server.Config.Handler = svc.Handler()
	f := *g.fixture
	f.svc = svc
	return &githubFixture{fixture: &f, fake: fake, server: server, github: github, sealing: g.sealing}
}
