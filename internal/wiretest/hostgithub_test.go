package wiretest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// hostGitHubFixture is a githubFixture with the users table of a host.
type hostGitHubFixture struct {
	*githubFixture
	table *hostTable
}

func newHostGitHub(t testing.TB, configure ...func(*githubFixture, *auth.Config)) *hostGitHubFixture {
	t.Helper()
	h := &hostGitHubFixture{table: newHostTable()}
	h.githubFixture = newGitHub(t, githubOptions{configure: func(g *githubFixture, cfg *auth.Config) {
		ownTable(h.table)(g.fixture, cfg)
		for _, c := range configure {
			c(g, cfg)
		}
	}})
	return h
}

// callback begins a sign-in in the browser and returns its callback URL.
func (h *hostGitHubFixture) callback(b *browser) string {
	return b.callbackURL(b.authURL(signInCall))
}

// requireNothingLeft fails the test if a sign-in as alice has left a link, a session, or a token in
// the store or at GitHub.
func (h *hostGitHubFixture) requireNothingLeft() {
	h.t.Helper()
	_, err := h.link(octocat)
	require.ErrorIs(h.t, err, auth.ErrNotFound)
	h.requireNoAccess()
}

// requireNoAccess fails the test if alice has a session, or a token in the store or at GitHub.
func (h *hostGitHubFixture) requireNoAccess() {
	h.t.Helper()
	h.requireNoSession("u-alice")
	_, token, err := h.accounts.FindGitHubConnection(h.t.Context(), "u-alice", "githubtest.invalid")
	if err == nil {
		require.Nil(h.t, token)
	}
	require.Empty(h.t, h.fake.Tokens(octocat), "a token is valid at GitHub and not stored here")
}

func TestAGitHubAccountSignsInAsTheUserThatTheHostResolves(t *testing.T) {
	t.Parallel()
	h := newHostGitHub(t)
	answer := h.browser().signIn()
	require.Equal(t, "alice", answer["username"], "the host's username, not the login at GitHub")
	require.Equal(t, true, answer["is_new_user"])
	require.Equal(t, false, answer["is_super_user"])
	require.Equal(t, []string{"octocat 583231 octocat@example.com"}, h.table.resolved)
	link, err := h.link(octocat)
	require.NoError(t, err)
	require.Equal(t, "u-alice", link.UserID)
	r := h.sendAs(answer["token"].(string), http.MethodGet, "/auth/user", "")
	require.Equal(t, "u-alice", r.json(t)["user_id"])

	h.table.change("u-alice", func(u *auth.User) { u.Username, u.IsSuperUser = "alicia", true })
	// The store now has the link, so the library does not ask the host again.
	h.table.accounts = nil
	answer = h.browser().signIn()
	require.Equal(t, "alicia", answer["username"])
	require.Equal(t, true, answer["is_super_user"])
	require.Equal(t, false, answer["is_new_user"])
	_, resolved := h.table.counts()
	require.Equal(t, 1, resolved, "a linked account is not resolved again")
}

func TestARejectedGitHubAccountOfAHostLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(h *hostGitHubFixture){
		"to no user":         func(h *hostGitHubFixture) { h.table.accounts = nil },
		"to an unknown user": func(h *hostGitHubFixture) { h.table.delete("u-alice") },
		"to a disabled user": func(h *hostGitHubFixture) { h.table.setActive("u-alice", false) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostGitHub(t)
			change(h)
			b := h.browser()
			p := b.get(h.callback(b))
			require.Equal(t, http.StatusForbidden, p.status, p.body)
			h.requireNothingLeft()
		})
	}
}

func TestAFailureToResolveAGitHubAccountLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	faults := map[string]func(h *hostGitHubFixture){
		"an empty id": func(h *hostGitHubFixture) { h.table.accounts[account(octocat)] = "" },
		"an over-long id": func(h *hostGitHubFixture) {
			h.table.accounts[account(octocat)] = strings.Repeat("x", auth.MaxIDLength+1)
		},
		"an impossible id": func(h *hostGitHubFixture) { h.table.accounts[account(octocat)] = "a\x00" },
	}
	for name, fault := range tableFaults {
		faults["ResolveGitHub "+name] = func(h *hostGitHubFixture) {
			h.table.resolve = func(ctx context.Context) error { return fault(ctx, "") }
		}
		faults["FindUser "+name] = func(h *hostGitHubFixture) { h.table.before(fault) }
		faults["the second FindUser "+name] = func(h *hostGitHubFixture) {
			h.table.before(func(context.Context, string) error {
				h.table.before(fault)
				return nil
			})
		}
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostGitHub(t)
			fault(h)
			b := h.browser()
			p := b.get(h.callback(b))
			require.Equal(t, http.StatusServiceUnavailable, p.status, p.body)
			require.NotContains(t, p.body, "canary")
			if strings.HasPrefix(name, "the second") { // the user was active when the link was written
				h.requireNoAccess()
			} else {
				h.requireNothingLeft()
			}
		})
	}
}

func account(id int64) auth.GitHubAccount {
	return auth.GitHubAccount{Host: "githubtest.invalid", ID: id}
}

func TestADisabledHostUserCannotSignInWithGitHub(t *testing.T) {
	t.Parallel()
	h := newHostGitHub(t)
	h.browser().signIn()
	_, err := h.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, "u-alice")
	require.NoError(t, err)
	before, token, err := h.accounts.FindGitHubConnection(t.Context(), "u-alice", "githubtest.invalid")
	require.NoError(t, err)

	for _, remove := range []func(){
		func() { h.table.setActive("u-alice", false) },
		func() { h.table.delete("u-alice") },
	} {
		remove()
		b := h.browser()
		require.Equal(t, http.StatusForbidden, b.get(h.callback(b)).status)
		h.requireNoSession("u-alice")
		after, tokenAfter, err := h.accounts.FindGitHubConnection(t.Context(), "u-alice",
			"githubtest.invalid")
		require.NoError(t, err)
		require.Equal(t, before, after, "nothing was written")
		require.Equal(t, token, tokenAfter, "nothing was written")
	}
}

func TestAHostUserHasOneAccountPerGitHubHost(t *testing.T) {
	t.Parallel()
	h := newHostGitHub(t)
	h.browser().signIn()
	require.NoError(t, h.fake.SignInAs(hubotLogin))
	h.table.accounts[account(hubot)] = "u-alice"
	b := h.browser()
	require.Equal(t, http.StatusConflict, b.get(h.callback(b)).status)
	_, err := h.link(hubot)
	require.ErrorIs(t, err, auth.ErrNotFound)
}

func TestWithDisableSignUpTheHostIsNotAskedToResolve(t *testing.T) {
	t.Parallel()
	h := newHostGitHub(t, func(_ *githubFixture, cfg *auth.Config) { cfg.GitHub.DisableSignUp = true })
	b := h.browser()
	require.Equal(t, http.StatusForbidden, b.get(h.callback(b)).status)
	h.requireNothingLeft()
	_, resolved := h.table.counts()
	require.Zero(t, resolved)

	require.Equal(t, http.StatusOK, h.browser().connect(h.signIn(auth.User{ID: "u-boss"})).status)
	require.Equal(t, "boss", h.browser().signIn()["username"])
}

func TestOnlyActiveHostUsersConnectGitHub(t *testing.T) {
	t.Parallel()
	h := newHostGitHub(t)
	token := h.signIn(auth.User{ID: "u-alice"})
	for name, test := range map[string]struct {
		change      func()
		begin, want int
	}{
		"disabled": {func() { h.table.setActive("u-alice", false) }, http.StatusOK, http.StatusBadRequest},
		"deleted":  {func() { h.table.delete("u-alice") }, http.StatusOK, http.StatusBadRequest},
		"unknown": {func() {
			h.table.before(func(context.Context, string) error { return errors.New("down") })
		}, http.StatusOK, http.StatusServiceUnavailable},
	} {
		alice := h.table.users["u-alice"]
		b := h.browser()
		begun := b.connectURL(token)
		test.change()
		require.Equal(t, test.want, b.get(begun).status, "%s after the flow has begun", name)
		require.Equal(t, test.begin, b.get(connectCall, "Authorization", "Bearer "+token).status, name)
		h.table.before(nil)
		h.table.change("u-alice", func(u *auth.User) { *u = alice })
		_, err := h.link(octocat)
		require.ErrorIs(t, err, auth.ErrNotFound, name)
	}
	require.Equal(t, http.StatusOK, h.browser().connect(token).status)
	link, err := h.link(octocat)
	require.NoError(t, err)
	require.Equal(t, "u-alice", link.UserID)
	_, resolved := h.table.counts()
	require.Zero(t, resolved, "connecting does not resolve the account")
	require.Equal(t, http.StatusOK, h.status(token).status)
}

func TestGitHubSettingsThatNeedAUserStoreAreRejectedWithAUserSource(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*auth.GitHubConfig)
		want   string
	}{
		"SuperUsers": {func(c *auth.GitHubConfig) { c.SuperUsers = []int64{octocat} }, "SuperUsers cannot be set with a UserSource"},
		"MembershipMaxAge": {func(c *auth.GitHubConfig) {
			c.MembershipMaxAge, c.AllowedUsers = 1,
				[]int64{octocat}
		},
			"MembershipMaxAge cannot be set with a UserSource"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostGitHub(t)
			github := h.github
			test.change(&github)
			_, err := auth.NewWithUsers(h.accounts, h.table, auth.Config{
				Issuer: issuer, SigningKeys: []auth.SigningKey{h.signer.Key},
				SealingKeys: h.sealing, GitHub: &github,
			})
			require.ErrorContains(t, err, test.want)
		})
	}
	h, f := newHostGitHub(t), newFixture(t)
	_, err := auth.NewGitHubConnector(h.accounts, f.svc.Tokens(), h.sealing, h.github)
	require.ErrorContains(t, err, "the components must have the same store")
	_, err = auth.NewGitHubConnector(f.store, h.svc.Tokens(), h.sealing, h.github)
	require.ErrorContains(t, err, "the components must have the same store")
}

// If any call of the store fails, the sign-in leaves nothing behind.
func TestAStoreFailureDuringAGitHubSignInOfAHostUserLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	for failAt := 1; ; failAt++ {
		armed, calls := false, 0
		h := newHostGitHub(t, func(g *githubFixture, _ *auth.Config) {
			g.injectFaults(func(method string) error {
				counts := armed && method != "RememberClient" // no sign-in depends on it
				if counts {
					calls++
				}
				if counts && calls == failAt {
					return errors.New("disk full")
				}
				return nil
			})
		})
		b := h.browser()
		callback := h.callback(b)
		armed = true
		p := b.get(callback)
		armed = false
		if calls < failAt {
			require.Equal(t, http.StatusOK, p.status)
			require.Equal(t, 5, failAt, "ConsumeState, FindGitHubLink, FindGitHubConnection, SignInGitHub")
			return
		}
		require.Equal(t, http.StatusServiceUnavailable, p.status, failAt)
		h.requireNothingLeft()
	}
}
