package memstore_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

func signInAs(userID, sessionID string) auth.GitHubSignInWrite {
	account := auth.GitHubAccount{Host: "github.com", ID: 1}
	return auth.GitHubSignInWrite{
		Link: auth.GitHubLink{Account: account, UserID: userID, Login: "octocat", CreatedAt: now,
			SeenAt: now},
		Session: auth.Session{
			ID: sessionID, UserID: userID, Method: auth.MethodGitHub, CreatedAt: now,
			ExpiresAt: now.Add(time.Hour),
		},
		GrantSuperUser: true,
	}
}

func TestAccountsGrantsNoSuperUser(t *testing.T) {
	t.Parallel()
	_, user, err := memstore.NewAccounts().SignInGitHub(t.Context(), byHost, signInAs("u", "s"))
	require.NoError(t, err)
	require.Equal(t, auth.User{ID: "u"}, user)
}

// The store forgets the account before it deletes the account's former user. So the deletion does
// not spend the grant of the account.
func TestForgottenAccountKeepsItsGrantWhenItsFormerUserIsDeleted(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), memstore.New()
	first := signInAs("ada", "s1")
	first.NewUser = &auth.User{ID: "ada", Username: "ada", IsActive: true, CreatedAt: now}
	first.GrantSuperUser = false
	_, _, err := store.SignInGitHub(ctx, byHost, first)
	require.NoError(t, err)
	require.NoError(t, store.AddKey(ctx, byHost, newKey("ada", "k")))
	_, _, err = store.UnlinkGitHub(ctx, byHost, "ada", "github.com")
	require.NoError(t, err)
	require.NoError(t, store.ForgetGitHubAccount(ctx, byHost, first.Link.Account))
	_, err = store.DeleteUser(ctx, byHost, "ada")
	require.NoError(t, err)

	second := signInAs("eve", "s2")
	second.NewUser = &auth.User{ID: "eve", Username: "eve", IsActive: true, CreatedAt: now}
	_, user, err := store.SignInGitHub(ctx, byHost, second)
	require.NoError(t, err)
	require.True(t, user.IsSuperUser)
}
