package wiretest

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// eraseAccount removes what the store keeps about a user whom the host has disabled in its own table. The
// host argument is GitHubConfig.Host, such as github.com.
func eraseAccount(
	ctx context.Context, svc *auth.Service, store auth.AccountStore, host, userID string,
) error {
	by := auth.ByHost("privacy desk")
	link, _, err := store.FindGitHubConnection(ctx, userID, host)
	if err == nil {
		// Unlink refuses to remove the only way to sign in, so there must be a key.
		_, err = svc.Credentials().Issue(ctx, by, userID, auth.KeyOptions{Label: "erasure"})
		if err == nil {
			err = svc.GitHub().Unlink(ctx, by, userID)
		}
		if err == nil {
			err = svc.GitHub().Forget(ctx, by, link.Account)
		}
	}
	if err != nil && !errors.Is(err, auth.ErrNotFound) {
		return err
	}
	keys, err := svc.Credentials().List(ctx, userID)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := svc.Credentials().Revoke(ctx, by, key.ID); err != nil {
			return err
		}
	}
	_, err = svc.Tokens().RevokeUser(ctx, by, userID)
	return err
}

func TestAHostWithItsOwnUsersErasesAnAccount(t *testing.T) {
	t.Parallel()
	for name, disable := range map[string]func(*hostTable){
		"disabled": func(table *hostTable) {
			table.change("u-alice", func(u *auth.User) { u.IsActive = false })
		},
		"still active": func(*hostTable) {},
	} {
		h := newHostGitHub(t)
		token := h.browser().signIn()["token"].(string)
		disable(h.table)
		h.table.accounts = nil // the host does not resolve the account again
		for range 2 {
			err := eraseAccount(t.Context(), h.svc, h.accounts, "githubtest.invalid", "u-alice")
			require.NoError(t, err, name)
		}
		h.requireNothingLeft()
		keys, err := h.svc.Credentials().List(t.Context(), "u-alice")
		require.NoError(t, err)
		require.Empty(t, keys, name)
		r := h.sendAs(token, http.MethodGet, "/auth/user", "")
		require.Equal(t, http.StatusUnauthorized, r.status, name)
	}
}
