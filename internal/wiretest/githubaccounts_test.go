package wiretest

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func TestGitHubAccountsAreIdentifiedByIDNotLogin(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	first := g.browser().signIn()
	userID := g.sendAs(first["token"].(string), http.MethodGet, "/auth/user", "").json(t)["user_id"]

	// octocat is renamed, and another account gets the login octocat.
	require.NoError(t, g.fake.SetUser(githubtest.User{ID: octocat, Login: "monalisa"}))
	require.NoError(t, g.fake.SetUser(githubtest.User{ID: 999, Login: octocatLogin}))
	renamed := g.browser().signIn()
	require.Equal(t, userID,
		g.sendAs(renamed["token"].(string), http.MethodGet, "/auth/user", "").json(t)["user_id"])
	require.Equal(t, "octocat", renamed["username"], "the username does not change")
	link, err := g.link(octocat)
	require.NoError(t, err)
	require.Equal(t, "monalisa", link.Login, "the stored login is updated")

	require.NoError(t, g.fake.SignInAs(octocatLogin))
	other := g.browser().signIn()
	require.Equal(t, true, other["is_new_user"])
	require.Regexp(t, `^octocat-[a-z2-7]{6}$`, other["username"], "the username is taken")
	require.NotEqual(t, userID,
		g.sendAs(other["token"].(string), http.MethodGet, "/auth/user", "").json(t)["user_id"])
}

func TestEmailNeverLinksAccounts(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	require.NoError(t, g.fake.SetUser(githubtest.User{ID: 7, Login: "eve",
		Emails: []githubtest.Email{{Address: "Alice@Example.com", Primary: true, Verified: true}}}))
	require.NoError(t, g.fake.SignInAs("eve"))
	signedIn := g.browser().signIn()
	user := g.sendAs(signedIn["token"].(string), http.MethodGet, "/auth/user", "").json(t)
	require.NotEqual(t, g.user.ID, user["user_id"], "the same address does not make eve alice")
	require.Nil(t, user["email"], "the address stays alice's")
}

func TestAnUnverifiedEmailIsIgnored(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	require.NoError(t, g.fake.SetUser(githubtest.User{ID: 7, Login: "eve",
		Emails: []githubtest.Email{
			{Address: "boss@example.com", Primary: true},
			{Address: "eve@example.com", Verified: true},
		},
	}))
	require.NoError(t, g.fake.SignInAs("eve"))
	signedIn := g.browser().signIn()
	require.Nil(t, g.sendAs(signedIn["token"].(string), http.MethodGet, "/auth/user", "").json(t)["email"])
}

func TestUsersWithReservedOrTakenLoginsGetASuffix(t *testing.T) {
	t.Parallel()
	logins := []string{"admin", "Root", "aLice"} // alice is a user of the fixture
	var users []githubtest.User
	for i, login := range append(logins, octocatLogin) {
		users = append(users, githubtest.User{ID: int64(i + 1), Login: login})
	}
	g := newGitHub(t, githubOptions{fake: githubtest.Config{Users: users}})
	for _, login := range logins {
		require.NoError(t, g.fake.SignInAs(login))
		require.Regexp(t, "^"+login+"-[a-z2-7]{6}$", g.browser().signIn()["username"])
	}
}

func TestConnectingAnotherUsersGitHubAccountIsAConflict(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	require.Equal(t, http.StatusOK, g.browser().connect(g.signIn(g.user)).status)
	admin := g.signIn(g.admin)
	p := g.browser().connect(admin)
	require.Equal(t, http.StatusConflict, p.status)
	require.NotContains(t, p.body, "alice", "the answer does not name the other user")
	require.Equal(t, http.StatusNotFound, g.status(admin).status)
	link, err := g.link(octocat)
	require.NoError(t, err)
	require.Equal(t, g.user.ID, link.UserID)
	require.Len(t, g.fake.Tokens(octocat), 1, "the token that is not stored is revoked at GitHub")

	// A user cannot have two accounts of the same GitHub host either.
	require.NoError(t, g.fake.SignInAs(hubotLogin))
	require.Equal(t, http.StatusConflict, g.browser().connect(g.signIn(g.user)).status)
	require.Empty(t, g.fake.Tokens(hubot))
}

func TestASignInNeverNarrowsTheStoredToken(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	token := g.signIn(g.user)
	g.browser().connect(token)
	wide := g.fake.Tokens(octocat)
	require.Len(t, wide, 1)
	g.browser().signIn()
	require.Equal(t, wide, g.fake.Tokens(octocat),
		"the sign-in's narrow token is revoked, and the wide one is kept")
}

func TestUnlinkRevokesTheTokenAndKeepsTheLastWayIn(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	token := g.signIn(g.user)
	unlink := func(token string) int {
		return g.sendAs(token, http.MethodDelete, unlinkCall, "").status
	}
	require.Equal(t, http.StatusNoContent, unlink(token), "no account is linked")
	g.browser().connect(token)
	require.Equal(t, http.StatusNoContent, unlink(token))
	require.Empty(t, g.fake.Tokens(octocat))
	require.Equal(t, http.StatusNotFound, g.status(token).status)

	require.NoError(t, g.svc.GitHub().Forget(t.Context(), authtest.ByHost, auth.GitHubAccount{
		Host: "githubtest.invalid", ID: octocat,
	}))
	signedIn := g.browser().signIn()
	require.Equal(t, true, signedIn["is_new_user"], "the account is linked to no user any more")
	require.Equal(t, http.StatusConflict, unlink(signedIn["token"].(string)),
		"GitHub is the only way to sign in")
}

func TestOnlyAllowedGitHubAccountsSignUp(t *testing.T) {
	t.Parallel()
	org := githubtest.Org{ID: 77, Login: "acme"}
	member := githubtest.User{ID: 10, Login: "member", Memberships: []githubtest.Membership{{Org: org}},
		Teams: []githubtest.Team{{ID: 55, Slug: "core", Org: org}}}
	invited := githubtest.User{
		ID: 11, Login: "invited", Memberships: []githubtest.Membership{{Org: org, Pending: true}},
	}
	listed := githubtest.User{ID: 12, Login: "listed"}
	for name, test := range map[string]struct {
		configure func(*auth.GitHubConfig)
		admitted  []string
	}{
		"organization": {func(c *auth.GitHubConfig) { c.AllowedOrganizations = []int64{77} }, []string{"member"}},
		"team":         {func(c *auth.GitHubConfig) { c.AllowedTeams = []int64{55} }, []string{"member"}},
		"user":         {func(c *auth.GitHubConfig) { c.AllowedUsers = []int64{12} }, []string{"listed"}},
		"any list":     {func(c *auth.GitHubConfig) { c.AllowedUsers, c.AllowedTeams = []int64{12}, []int64{55} }, []string{"member", "listed"}},
		"function": {func(c *auth.GitHubConfig) {
			c.Admit = func(_ context.Context, p auth.GitHubProfile) (bool, error) {
				return p.Login == "invited", nil
			}
		}, []string{"invited"}},
		"list and function": {func(c *auth.GitHubConfig) {
			c.AllowedUsers = []int64{12}
			c.Admit = func(context.Context, auth.GitHubProfile) (bool, error) { return false, nil }
		}, nil},
		"another organization": {func(c *auth.GitHubConfig) { c.AllowedOrganizations = []int64{78} }, nil},
		"no registration":      {func(c *auth.GitHubConfig) { c.DisableSignUp = true }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGitHub(t, githubOptions{
				fake: githubtest.Config{
					Users: []githubtest.User{{ID: octocat, Login: octocatLogin}, member, invited, listed},
				},
				configure: func(_ *githubFixture, cfg *auth.Config) { test.configure(cfg.GitHub) },
			})
			for _, user := range []githubtest.User{member, invited, listed} {
				require.NoError(t, g.fake.SignInAs(user.Login))
				b := g.browser()
				p := b.get(b.authURL(signInCall))
				want := http.StatusForbidden
				for _, login := range test.admitted {
					if login == user.Login {
						want = http.StatusOK
					}
				}
				require.Equal(t, want, p.status, "%s: %s", user.Login, p.body)
				if want == http.StatusForbidden {
					_, err := g.link(user.ID)
					require.ErrorIs(t, err, auth.ErrNotFound)
					require.Empty(t, g.fake.Tokens(user.ID), "the token is revoked at GitHub")
				}
			}
		})
	}
}

func TestAFailingAdmitFunctionIsA503(t *testing.T) {
	t.Parallel()
	for name, admit := range map[string]func(context.Context, auth.GitHubProfile) (bool, error){
		"error": func(context.Context, auth.GitHubProfile) (bool, error) { return true, errors.New("away") },
		"panic": func(context.Context, auth.GitHubProfile) (bool, error) { panic("oops") },
	} {
		g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
			cfg.GitHub.Admit = admit
		}})
		b := g.browser()
		require.Equal(t, http.StatusServiceUnavailable, b.get(b.authURL(signInCall)).status, name)
		require.Empty(t, g.fake.Tokens(octocat), name)
	}
}

func TestSuperUsersAreListedByAccountID(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.GitHub.SuperUsers = []int64{octocat}
	}})
	signedIn := g.browser().signIn()
	require.Equal(t, true, signedIn["is_super_user"])
	require.NoError(t, g.fake.SignInAs(hubotLogin))
	require.Equal(t, false, g.browser().signIn()["is_super_user"])
}

func TestADisabledUserCannotSignInWithGitHub(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	g.browser().connect(g.signIn(g.user))
	g.setActive(g.user, false)
	b := g.browser()
	require.Equal(t, http.StatusForbidden, b.get(b.authURL(signInCall)).status)
}
