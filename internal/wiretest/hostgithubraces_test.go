package wiretest

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// During a sign-in, FindUser is called more than once. The host disables the user after the first
// call.
func TestAUserDisabledDuringAGitHubSignInGetsNoSession(t *testing.T) {
	t.Parallel()
	disableMeanwhile := func(h *hostGitHubFixture) {
		h.table.before(func(context.Context, string) error { // still active at first
			disableInNextFindUser(t, &hostFixture{fixture: h.fixture, table: h.table})
			return nil
		})
	}
	h := newHostGitHub(t)
	disableMeanwhile(h)
	b := h.browser()
	require.Equal(t, http.StatusForbidden, b.get(h.callback(b)).status)
	h.requireNoAccess()

	h.table.setActive("u-alice", true)
	require.Equal(t, false, h.browser().signIn()["is_new_user"], "the link of a user who was active was kept")
	disableMeanwhile(h)
	_, err := h.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, "u-alice")
	require.NoError(t, err)
	b = h.browser()
	require.Equal(t, http.StatusForbidden, b.get(h.callback(b)).status)
	h.requireNoSession("u-alice")
	_, token, err := h.accounts.FindGitHubConnection(t.Context(), "u-alice", "githubtest.invalid")
	require.NoError(t, err)
	require.NotNil(t, token, "a failed later sign-in does not disconnect")
}

func TestConcurrentFirstSignInsOfAHostUserMakeOneLink(t *testing.T) {
	t.Parallel()
	h := newHostGitHub(t)
	var group errgroup.Group
	answers := make([]map[string]any, 8)
	for i := range answers {
		b := h.browser()
		callback := h.callback(b)
		group.Go(func() error {
			p := b.get(callback)
			if p.status != http.StatusOK {
				return errors.New(p.body)
			}
			answers[i] = p.json(t)
			return nil
		})
	}
	require.NoError(t, group.Wait())
	newcomers := 0
	for _, answer := range answers {
		require.Equal(t, "alice", answer["username"])
		if answer["is_new_user"] == true {
			newcomers++
		}
	}
	require.Equal(t, 1, newcomers)
}

// While the host resolves the GitHub account for one sign-in, another sign-in links the account.
func TestAnAccountLinkedDuringASignInIsNotANewUser(t *testing.T) {
	t.Parallel()
	h := newHostGitHub(t)
	slow, fast := h.browser(), h.browser()
	callbacks := []string{h.callback(slow), h.callback(fast)}
	var concurrent page
	h.table.resolve = func(context.Context) error {
		h.table.resolve = nil
		concurrent = fast.get(callbacks[1])
		return nil
	}
	p := slow.get(callbacks[0])
	require.Equal(t, true, concurrent.json(t)["is_new_user"])
	require.Equal(t, http.StatusOK, p.status)
	require.Equal(t, false, p.json(t)["is_new_user"])
}

// newDisconnected returns a fixture in which alice is linked to a GitHub account, but has
// disconnected it and has no session. It also returns a browser with a second sign-in of alice, and
// the callback URL of this sign-in.
func newDisconnected(t *testing.T) (h *hostGitHubFixture, b *browser, callback string) {
	t.Helper()
	h = newHostGitHub(t)
	token := h.browser().signIn()["token"].(string)
	require.Equal(t, http.StatusOK, h.sendAs(token, http.MethodPost, disconnectCall, "").status)
	require.Empty(t, h.fake.Tokens(octocat))
	_, err := h.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, "u-alice")
	require.NoError(t, err)
	b = h.browser()
	return h, b, h.callback(b)
}

// alice is linked to a GitHub account and has disconnected it. She signs in with GitHub and is
// disabled during the sign-in. No user, link, session or token must be left, and the new token must
// be revoked at GitHub.
func TestARejectedSignInLeavesNoGitHubTokenOfADisconnectedUser(t *testing.T) {
	t.Parallel()
	h, b, callback := newDisconnected(t)
	h.table.before(func(context.Context, string) error {
		disableInNextFindUser(t, &hostFixture{fixture: h.fixture, table: h.table})
		return nil
	})
	require.Equal(t, http.StatusForbidden, b.get(callback).status)
	h.requireNoAccess()
}

// The host's table fails in the second call of FindUser during a sign-in.
func TestASignInThatTheUserSourceFailsLeavesNoGitHubToken(t *testing.T) {
	t.Parallel()
	h, b, callback := newDisconnected(t)
	calls := 0
	h.table.before(func(context.Context, string) error {
		if calls++; calls > 1 {
			return errors.New("the table is away")
		}
		return nil
	})
	require.Equal(t, http.StatusServiceUnavailable, b.get(callback).status)
	h.table.before(nil)
	h.requireNoAccess()
}

// unlinkAlice gives alice a key, so that GitHub is not her only way to sign in, and unlinks her
// GitHub account.
func (h *hostGitHubFixture) unlinkAlice() {
	h.t.Helper()
	_, err := h.svc.Credentials().Issue(h.t.Context(), authtest.ByHost, "u-alice", auth.KeyOptions{})
	require.NoError(h.t, err)
	require.NoError(h.t, h.svc.GitHub().Unlink(h.t.Context(), authtest.ByHost, "u-alice"))
}

// A sign-in with GitHub is in progress while alice unlinks the account. The sign-in must not link
// the account again.
func TestAnAccountUnlinkedDuringASignInOfAHostUserStaysUnlinked(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]int{"before the session is created": 1, "afterwards": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostGitHub(t)
			require.Equal(t, http.StatusOK, h.sendAs(h.browser().signIn()["token"].(string),
				http.MethodPost, disconnectCall, "").status)
			b := h.browser()
			callback := h.callback(b)
			calls := 0
			h.table.before(func(context.Context, string) error {
				if calls++; calls == at {
					h.table.before(nil)
					h.unlinkAlice()
				}
				return nil
			})
			p := b.get(callback)
			require.Equal(t, at, calls)
			h.requireNothingLeft()
			if p.status != http.StatusForbidden {
				require.Equal(t, http.StatusOK, p.status, p.body)
				require.Equal(t, http.StatusUnauthorized,
					status(h.svc, p.json(t)["token"].(string)), "the session was revoked with the link")
			}
			b = h.browser()
			require.Equal(t, http.StatusForbidden, b.get(h.callback(b)).status)
			h.requireNothingLeft()
		})
	}
}

// While the host resolves the account for a first sign-in, another sign-in links the account, and
// alice unlinks it.
func TestAnAccountUnlinkedDuringAFirstSignInOfAHostUserStaysUnlinked(t *testing.T) {
	t.Parallel()
	h := newHostGitHub(t)
	slow, fast := h.browser(), h.browser()
	callbacks := []string{h.callback(slow), h.callback(fast)}
	h.table.resolve = func(context.Context) error {
		h.table.resolve = nil
		require.Equal(t, http.StatusOK, fast.get(callbacks[1]).status)
		h.unlinkAlice()
		return nil
	}
	require.Equal(t, http.StatusForbidden, slow.get(callbacks[0]).status)
	h.requireNothingLeft()
}
