package wiretest

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

const recheckAfter = 30 * 24 * time.Hour

var acme = githubtest.Membership{Org: githubtest.Org{ID: 77, Login: "acme"}}

// member is a fixture with a user, and an access key of this user. The user was admitted as a
// member of a listed organization.
type member struct {
	*githubFixture
	user auth.User
	pair auth.KeyPair
}

func newMember(t *testing.T, options ...func(*fixture, *auth.Config)) member {
	t.Helper()
	g := newGitHub(t, githubOptions{
		fake: githubtest.Config{Users: []githubtest.User{
			{ID: octocat, Login: octocatLogin, Memberships: []githubtest.Membership{acme}},
		}},
		configure: func(g *githubFixture, cfg *auth.Config) {
			cfg.GitHub.AllowedOrganizations = []int64{acme.Org.ID}
			cfg.GitHub.MembershipMaxAge = recheckAfter
			for _, option := range options {
				option(g.fixture, cfg)
			}
		},
	})
	_, user, _ := g.signInOctocat()
	pair, err := g.svc.Credentials().Issue(t.Context(), authtest.ByHost, user.ID, auth.KeyOptions{})
	require.NoError(t, err)
	return member{g, user, pair}
}

// leave removes the user from the organization at GitHub.
func (m member) leave() {
	require.NoError(m.t, m.fake.SetUser(githubtest.User{ID: octocat, Login: octocatLogin}))
}

// requireRejected fails the test unless a sign-in with the key gets the same response as a sign-in
// with a wrong secret.
func (m member) requireRejected() {
	m.t.Helper()
	rejected := m.login(m.pair)
	wrong := m.login(auth.KeyPair{AccessKey: m.pair.AccessKey, AccessSecret: auth.NewSecret("as_live_wrong")})
	require.Equal(m.t, http.StatusUnauthorized, rejected.status, rejected.body)
	require.Equal(m.t, wrong.body, rejected.body)
	require.Equal(m.t, wrong.header, rejected.header)
}

func (m member) requireSignsIn() {
	m.t.Helper()
	answer := m.login(m.pair)
	require.Equal(m.t, http.StatusOK, answer.status, answer.body)
}

func TestTheKeysOfAFormerMemberAreRejected(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	m.leave()
	asked := m.fake.Count(githubtest.EndpointUser)
	m.clock.Advance(recheckAfter - time.Second)
	m.requireSignsIn()
	require.Equal(t, asked, m.fake.Count(githubtest.EndpointUser))

	m.clock.Advance(time.Second)
	m.requireRejected()
	m.requireRejected()

	require.NoError(t, m.fake.SetUser(githubtest.User{
		ID: octocat, Login: octocatLogin, Memberships: []githubtest.Membership{acme},
	}))
	m.clock.Advance(time.Minute)
	m.requireSignsIn()
}

func TestAMembershipIsCheckedOncePerMaxAge(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	require.NoError(t, m.fake.SetUser(githubtest.User{
		ID: octocat, Login: "renamed", Memberships: []githubtest.Membership{acme},
	}))
	m.clock.Advance(recheckAfter)
	asked := m.fake.Count(githubtest.EndpointUser)
	for range 3 {
		m.requireSignsIn()
	}
	require.Equal(t, asked+1, m.fake.Count(githubtest.EndpointUser))
	link, err := m.link(octocat)
	require.NoError(t, err)
	require.Equal(t, "renamed", link.Login)
	m.clock.Advance(recheckAfter)
	m.requireSignsIn()
	require.Equal(t, asked+2, m.fake.Count(githubtest.EndpointUser))
}

// A user must not be able to avoid the membership check by disconnecting GitHub.
func TestAUserWithoutAGitHubTokenMustSignInWithGitHubAgain(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(member){
		"disconnected": func(m member) { require.NoError(t, m.svc.GitHub().Disconnect(t.Context(), authtest.ByHost, m.user.ID)) },
		"revoked":      func(m member) { m.fake.Revoke(octocat) },
	} {
		m := newMember(t)
		remove(m)
		m.requireSignsIn()
		m.clock.Advance(recheckAfter)
		m.requireRejected()
		m.browser().signIn()
		m.requireSignsIn()
		require.NotEmpty(t, name)
	}

	m := newMember(t)
	require.ErrorIs(t, m.svc.GitHub().Unlink(t.Context(), authtest.ByHost, m.user.ID), auth.ErrLastWayIn,
		"the membership could not be checked any more")
	pair, err := m.svc.RecoverSuperUser(t.Context(), m.user.ID)
	require.NoError(t, err)
	m.pair = pair
	m.clock.Advance(recheckAfter)
	m.requireSignsIn()
}

func TestATokenWithoutTheOrganizationScopeDoesNotProveMembership(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	_, user, _ := g.signInOctocat() // the token lacks the scope read:org
	cfg := g.github
	cfg.AllowedTeams, cfg.MembershipMaxAge, cfg.Now = []int64{5}, recheckAfter, g.clock.Now
	connector, err := auth.NewGitHubConnector(g.store, g.svc.Tokens(), g.sealing, cfg)
	require.NoError(t, err)
	require.NoError(t, connector.StillAdmitted(t.Context(), user))
	g.clock.Advance(recheckAfter)
	require.ErrorIs(t, connector.StillAdmitted(t.Context(), user), auth.ErrGitHubNotAllowed)
}

func TestUsersWithoutAGitHubAccountAreNotChecked(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	m.user, m.pair = m.fixture.user, m.fixture.userPair // registered by a super user
	asked := len(m.fake.Calls())
	m.clock.Advance(10 * recheckAfter)
	m.requireSignsIn()
	require.Len(t, m.fake.Calls(), asked)
}

func TestAMembershipCheckThatFailsAtGitHubIsA503(t *testing.T) {
	t.Parallel()
	for _, endpoint := range []githubtest.Endpoint{githubtest.EndpointUser, githubtest.EndpointMemberships} {
		for name, fault := range map[string]githubtest.Fault{
			"503": githubtest.Status(http.StatusServiceUnavailable), "reset": githubtest.Reset,
			"forbidden": githubtest.Status(http.StatusForbidden),
		} {
			m := newMember(t)
			m.clock.Advance(recheckAfter)
			m.fake.Inject(endpoint, fault)
			answer := m.login(m.pair)
			require.Equal(t, http.StatusServiceUnavailable, answer.status, "%s, %s: %s", endpoint,
				name, answer.body)
			m.fake.Heal()
			m.requireSignsIn()
		}
	}
}

// expiring is a context whose deadline passes at a moment that the test chooses. With a real deadline,
// the calls to the fake GitHub could take too long on a busy machine.
type expiring struct {
	context.Context
	passed chan struct{}
}

func (e *expiring) Done() <-chan struct{} { return e.passed }

func (e *expiring) Err() error {
	select {
	case <-e.passed:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestAMembershipCheckThatTheStoreFailsIsA503(t *testing.T) {
	t.Parallel()
	for _, fault := range []error{errors.New("store is down"), authtest.ErrHang, context.Canceled} {
		var call, failing atomic.Int64
		failing.Store(-1)
		var deadline *expiring
		m := newMember(t, withFaults(func(string) error {
			if call.Add(1) == failing.Load() {
				close(deadline.passed) // a store that hangs does so until the deadline
				return fault
			}
			return nil
		}))
		m.clock.Advance(recheckAfter)
		for n := int64(1); ; n++ {
			failing.Store(call.Load() + n)
			deadline = &expiring{t.Context(), make(chan struct{})}
			r := httptest.NewRequestWithContext(deadline, http.MethodPost, "/auth/users/login",
				strings.NewReader(loginBody(m.pair)))
			r.Header.Set("Content-Type", "application/json")
			answer := serve(m.svc.Handler(), r)
			if answer.status == http.StatusOK {
				require.Greater(t, n, int64(4), "key, connection, link and session")
				break
			}
			require.Equal(t, http.StatusServiceUnavailable, answer.status, answer.body)
		}
	}
}

func TestMembershipMaxAgeNeedsAListOrAnAdmitFunction(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	for name, tc := range map[string]struct {
		configure func(*auth.GitHubConfig)
		ok        bool
	}{
		"no list":       {func(c *auth.GitHubConfig) { c.MembershipMaxAge = time.Hour }, false},
		"negative":      {func(c *auth.GitHubConfig) { c.MembershipMaxAge, c.AllowedUsers = -1, []int64{1} }, false},
		"users":         {func(c *auth.GitHubConfig) { c.MembershipMaxAge, c.AllowedUsers = 1, []int64{1} }, true},
		"organizations": {func(c *auth.GitHubConfig) { c.MembershipMaxAge, c.AllowedOrganizations = 1, []int64{1} }, true},
		"teams":         {func(c *auth.GitHubConfig) { c.MembershipMaxAge, c.AllowedTeams = 1, []int64{1} }, true},
		"host": {func(c *auth.GitHubConfig) {
			c.MembershipMaxAge = 1
			c.Admit = func(context.Context, auth.GitHubProfile) (bool, error) { return true, nil }
		}, true},
	} {
		cfg := g.github
		tc.configure(&cfg)
		_, err := auth.NewGitHubConnector(g.store, g.svc.Tokens(), g.sealing, cfg)
		require.Equal(t, tc.ok, err == nil, "%s: %v", name, err)
	}
}

// Unlink returns ErrLastWayIn if the user could no longer sign in. With MembershipMaxAge, the keys
// of a user who signed up with GitHub work only while the user has a GitHub token. So after Unlink,
// neither the keys nor the GitHub account could sign in.
func TestUnlinkingWithMembershipMaxAgeKeepsAWayIn(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	m.clock.Advance(recheckAfter) // the next sign-in with the key checks the membership
	m.requireSignsIn()
	m.clock.Advance(recheckAfter)
	token := m.fixture.signIn(m.user)
	answer := m.sendAs(token, http.MethodDelete, unlinkCall, "")
	key := m.login(m.pair).status
	b := m.browser()
	github := b.get(b.authURL(signInCall)).status
	if answer.status == http.StatusNoContent {
		require.True(t, key == http.StatusOK || github == http.StatusOK,
			"after unlinking, the key answers %d and GitHub %d", key, github)
	} else {
		require.Equal(t, http.StatusConflict, answer.status)
	}
}
