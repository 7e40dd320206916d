package wiretest

import (
	"net/http"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// deletedUser is a fixture with a user who has signed up with GitHub and was then deleted.
type deletedUser struct {
	*githubFixture
	user  auth.User
	token string // the token of the user's last session
	pair  auth.KeyPair
}

func newDeletedUser(t *testing.T) deletedUser {
	t.Helper()
	g := newGitHub(t)
	_, user, token := g.signInOctocat()
	pair, err := g.svc.Credentials().Issue(t.Context(), authtest.ByHost, user.ID, auth.KeyOptions{})
	require.NoError(t, err)
	_, err = g.store.DeleteUser(t.Context(), authtest.HostWrite, user.ID)
	require.NoError(t, err)
	return deletedUser{g, user, token, pair}
}

func TestADeletedUsersTokensStayRejectedAfterTheGitHubAccountReturns(t *testing.T) {
	t.Parallel()
	d := newDeletedUser(t)
	requireRejected := func() {
		require.Equal(t, http.StatusUnauthorized, d.sendAs(d.token, http.MethodGet, "/auth/user", "").status)
		require.Equal(t, http.StatusUnauthorized, d.login(d.pair).status)
	}
	requireRejected()
	answer := d.browser().signIn()
	require.Equal(t, true, answer["is_new_user"])
	link, err := d.link(octocat)
	require.NoError(t, err)
	require.NotEqual(t, d.user.ID, link.UserID)
	requireRejected()
	require.Equal(t, http.StatusOK,
		d.sendAs(answer["token"].(string), http.MethodGet, "/auth/user", "").status)
}

// The store can have a token of another GitHub host than the configured one, for instance while a
// host moves to another GitHub. The configured GitHub must not receive that token.
func TestTheTokenOfAnotherGitHubHostIsNotSentToTheConfiguredOne(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*auth.Service, string) error{
		"delete": func(s *auth.Service, id string) error {
			return s.DeleteUser(t.Context(), authtest.ByHost, id)
		},
		"regenerate": func(s *auth.Service, id string) error {
			return errorOf(s.RegenerateCredentials(t.Context(), authtest.ByHost, id, auth.KeyOptions{}))
		},
	} {
		g := newGitHub(t)
		_, user, _ := g.signInOctocat()
		require.Len(t, g.fake.Tokens(octocat), 1, name)
		moved := g.github
		moved.Host = "moved.invalid" // but at the same address, so that the fake sees the calls
		svc, err := auth.New(g.store, auth.Config{
			Issuer: issuer, Now: g.clock.Now, SigningKeys: []auth.SigningKey{g.signer.Key},
			SealingKeys: g.sealing, GitHub: &moved,
		})
		require.NoError(t, err)
		require.NoError(t, end(svc, user.ID), name)
		require.Len(t, g.fake.Tokens(octocat), 1, name)
	}
}

func TestAUsernameIsNotReusedAfterDeletion(t *testing.T) {
	t.Parallel()
	d := newDeletedUser(t)
	require.Equal(t, octocatLogin, d.user.Username)
	username := d.browser().signIn()["username"].(string)
	require.Regexp(t, `^octocat-[a-z2-7]{6}$`, username,
		"a host that authorizes by username would confuse the two")
	_, err := d.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{Username: "OctoCat"})
	require.ErrorIs(t, err, auth.ErrExists)
}

// If a user is deleted, the client address, User-Agent and request ID are removed from the events
// that the user caused. One of these events is the sign-up with GitHub.
func TestDeletingAGitHubUserBlanksTheClientOfTheSignUpEvent(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		g := newGitHub(t, onStore(open(t)))
		b := g.browser()
		p := b.get(b.authURL(signInCall), "User-Agent", "octocat's own browser",
			"X-Request-Id", "octocats-request")
		require.Equal(t, http.StatusOK, p.status)
		link, err := g.link(octocat)
		require.NoError(t, err)
		require.NoError(t, g.svc.DeleteUser(t.Context(), authtest.ByHost, link.UserID))
		for _, e := range g.trail() {
			if e.UserID == link.UserID {
				require.Empty(t, e.Client.UserAgent, "%s by actor %q, host %q", e.Kind, e.ActorID, e.Host)
				require.False(t, e.Client.Address.IsValid(), e.Kind)
			}
		}
	})
}
