package wiretest

import (
	"log/slog"
	"net/http"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// onStore configures a GitHub fixture to use the store, with these IDs in GitHubConfig.SuperUsers.
func onStore(store auth.Store, superUsers ...int64) githubOptions {
	return githubOptions{configure: func(g *githubFixture, cfg *auth.Config) {
		g.fixture.store = store
		cfg.GitHub.SuperUsers = superUsers
	}}
}

// signInOctocat signs octocat in. It returns the status, the user and the token.
func (g *githubFixture) signInOctocat() (status int, user auth.User, token string) {
	g.t.Helper()
	b := g.browser()
	p := b.get(b.authURL(signInCall))
	if p.status != http.StatusOK {
		return p.status, auth.User{}, ""
	}
	link, err := g.link(octocat)
	require.NoError(g.t, err)
	user, err = g.store.FindUser(g.t.Context(), link.UserID)
	require.NoError(g.t, err)
	return p.status, user, p.json(g.t)["token"].(string)
}

// unlinkOctocat unlinks the GitHub account from the user. Before that, it creates a key for the
// user, because GitHub was the user's only way to sign in.
func (g *githubFixture) unlinkOctocat(user auth.User) auth.KeyPair {
	g.t.Helper()
	pair, err := g.svc.Credentials().Issue(g.t.Context(), authtest.ByHost, user.ID, auth.KeyOptions{})
	require.NoError(g.t, err)
	token, err := g.svc.Login(g.t.Context(), pair, auth.LoginOptions{})
	require.NoError(g.t, err)
	require.Equal(g.t, http.StatusNoContent,
		g.sendAs(token.Bearer.Reveal(), http.MethodDelete, unlinkCall, "").status)
	return pair
}

func TestADemotedSuperUserIsNotPromotedAgainByUnlinkAndSignIn(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		g := newGitHub(t, onStore(open(t), octocat))
		_, user, _ := g.signInOctocat()
		require.True(t, user.IsSuperUser, "the account is in SuperUsers")
		_, err := g.svc.UpdateUser(t.Context(), authtest.ByHost, user.ID,
			auth.UserChange{IsSuperUser: new(false)})
		require.NoError(t, err)
		_, again, _ := g.signInOctocat()
		require.False(t, again.IsSuperUser, "a sign-in does not promote again")

		pair := g.unlinkOctocat(user)
		status, _, _ := g.signInOctocat()
		require.Equal(t, http.StatusForbidden, status, "the account is still known")
		token, err := g.svc.Login(t.Context(), pair, auth.LoginOptions{})
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, g.browser().connect(token.Bearer.Reveal()).status,
			"its user connects it again")
		_, again, _ = g.signInOctocat()
		require.Equal(t, user.ID, again.ID)
		require.False(t, again.IsSuperUser)
		require.Contains(t, g.log.String(), "its grant was spent")
	})
}

func TestADeletedSuperUserReturnsAsAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		g := newGitHub(t, onStore(open(t), octocat))
		_, user, _ := g.signInOctocat()
		require.NoError(t, g.svc.DeleteUser(t.Context(), authtest.ByHost, user.ID))
		status, again, _ := g.signInOctocat()
		require.Equal(t, http.StatusOK, status)
		require.NotEqual(t, user.ID, again.ID)
		require.False(t, again.IsSuperUser)
	})
}

func TestADisabledAndResetUserCannotSignUpAgain(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		g := newGitHub(t, onStore(open(t), octocat))
		_, user, _ := g.signInOctocat()
		g.setActive(user, false)
		_, err := g.svc.RegenerateCredentials(t.Context(), authtest.ByHost, user.ID, auth.KeyOptions{})
		require.NoError(t, err)
		status, _, _ := g.signInOctocat()
		require.Equal(t, http.StatusForbidden, status)
	})
}

func TestAnUnlinkedGitHubAccountCannotSignUpAgain(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	_, user, _ := g.signInOctocat()
	g.unlinkOctocat(user)
	for range 3 {
		status, _, _ := g.signInOctocat()
		require.Equal(t, http.StatusForbidden, status)
	}
	stranger := g.signIn(g.user)
	require.Equal(t, http.StatusConflict, g.browser().connect(stranger).status,
		"another user cannot connect the account either")

	account := auth.GitHubAccount{Host: "githubtest.invalid", ID: octocat}
	require.ErrorIs(t, g.svc.GitHub().Forget(t.Context(),
		auth.Authority{SessionID: "s", UserID: "u"}, account), auth.ErrSuperUserRequired)
	require.NoError(t, g.svc.GitHub().Forget(t.Context(), authtest.ByHost, account))
	require.ErrorIs(t, g.svc.GitHub().Forget(t.Context(), authtest.ByHost, account), auth.ErrNotFound)
	status, again, _ := g.signInOctocat()
	require.Equal(t, http.StatusOK, status)
	require.NotEqual(t, user.ID, again.ID)
	require.ErrorIs(t, g.svc.GitHub().Forget(t.Context(), authtest.ByHost, account), auth.ErrExists)
}

func TestUnlinkingRevokesSessionsOpenedByGitHub(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		g := newGitHub(t, onStore(open(t)))
		_, user, token := g.signInOctocat()
		require.Equal(t, http.StatusOK, status(g.svc, token))
		pair := g.unlinkOctocat(user)
		require.Equal(t, http.StatusUnauthorized, status(g.svc, token))
		_, err := g.svc.Login(t.Context(), pair, auth.LoginOptions{})
		require.NoError(t, err)
	})
}

// restartWithSuperUser replaces the service of the server by one that has octocat in SuperUsers.
func (g *githubFixture) restartWithSuperUser(change ...func(*auth.Config)) *auth.Service {
	g.github.SuperUsers = []int64{octocat}
	svc := g.instance(change...)
	g.server.Config.Handler = svc.Handler()
	return svc
}

// Every sign-in checks SuperUsers, but an account is promoted only one time.
func TestAnAccountListedLaterIsPromotedOnce(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		g := newGitHub(t, onStore(open(t)))
		_, user, _ := g.signInOctocat()
		require.False(t, user.IsSuperUser)

		svc := g.restartWithSuperUser()
		_, user, _ = g.signInOctocat()
		require.True(t, user.IsSuperUser, "the sign-in after the account was listed promotes")
		_, err := svc.UpdateUser(t.Context(), authtest.ByHost, user.ID,
			auth.UserChange{IsSuperUser: new(false)})
		require.NoError(t, err)
		_, user, _ = g.signInOctocat()
		require.False(t, user.IsSuperUser)
	})
}

// GitHubConfig.SuperUsers can promote an existing user. Like every change of a user, this is an
// event.
func TestAPromotionByGitHubSuperUsersIsLogged(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]bool{"with the trail": false, "without the trail": true} {
		t.Run(name, func(t *testing.T) {
			g := newGitHub(t)
			_, user, _ := g.signInOctocat()
			require.False(t, user.IsSuperUser)
			log := new(authtest.Log)
			g.restartWithSuperUser(func(cfg *auth.Config) {
				cfg.DisableAuditTrail, cfg.Logger = off, slog.New(slog.NewTextHandler(log, nil))
			})
			_, user, _ = g.signInOctocat()
			require.True(t, user.IsSuperUser)
			require.Contains(t, log.String(), "user.changed", "the promotion is logged")
		})
	}
}

func TestAPromotionByGitHubSuperUsersIsDeliveredWithoutATrail(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	g.signInOctocat()
	var got authtest.EventRecord
	svc := g.restartWithSuperUser(func(cfg *auth.Config) {
		cfg.DisableAuditTrail, cfg.OnEvent, cfg.Logger = true, got.Add, slog.New(slog.DiscardHandler)
	})
	_, user, _ := g.signInOctocat()
	require.True(t, user.IsSuperUser)
	var kinds []eventkind.Kind
	for _, e := range got.Deliver(t, svc) {
		kinds = append(kinds, e.Kind)
	}
	require.Contains(t, kinds, eventkind.UserChanged)
}
