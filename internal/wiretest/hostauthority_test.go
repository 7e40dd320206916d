package wiretest

import (
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// In the audit trail, a name that begins with "auth." means that the library itself made the
// change.
func TestAHostCannotActInTheNameOfThisPackage(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	session, err := g.svc.SignIn(t.Context(), g.user.ID, auth.LoginOptions{})
	require.NoError(t, err)
	by, ctx := auth.ByHost("auth.Repair"), t.Context()
	active := true
	for name, call := range map[string]func() error{
		"Register": func() error {
			_, err := g.svc.Register(ctx, by, auth.UserParams{Username: "new"})
			return err
		},
		"RegenerateCredentials": func() error {
			_, err := g.svc.RegenerateCredentials(ctx, by, g.user.ID, auth.KeyOptions{})
			return err
		},
		"ReinstateUser": func() error { _, err := g.svc.ReinstateUser(ctx, by, g.user.ID, auth.KeyOptions{}); return err },
		"UpdateUser": func() error {
			_, err := g.svc.UpdateUser(ctx, by, g.user.ID, auth.UserChange{IsActive: &active})
			return err
		},
		"DeleteUser":      func() error { return g.svc.DeleteUser(ctx, by, g.user.ID) },
		"RevokeUser":      func() error { _, err := g.svc.Tokens().RevokeUser(ctx, by, g.user.ID); return err },
		"RevokeEverybody": func() error { return g.svc.RevokeEverybody(ctx, by) },
		"ImportUsers": func() error {
			_, err := g.svc.ImportUsers(ctx, by, strings.NewReader(""), auth.ImportOptions{})
			return err
		},
		"Import": func() error { return g.svc.Credentials().Import(ctx, by, auth.ImportedKey{}) },
		"Issue": func() error {
			_, err := g.svc.Credentials().Issue(ctx, by, g.user.ID, auth.KeyOptions{})
			return err
		},
		"Rotate": func() error {
			_, err := g.svc.Credentials().Rotate(ctx, by, g.userPair.AccessKey, 0)
			return err
		},
		"RevokeKey":     func() error { return g.svc.Credentials().Revoke(ctx, by, g.userPair.AccessKey) },
		"RevokeSession": func() error { return g.svc.Tokens().Revoke(ctx, by, session.Session.ID) },
		"Disconnect":    func() error { return g.svc.GitHub().Disconnect(ctx, by, g.user.ID) },
		"Unlink":        func() error { return g.svc.GitHub().Unlink(ctx, by, g.user.ID) },
		"Forget": func() error {
			return g.svc.GitHub().Forget(ctx, by, auth.GitHubAccount{Host: "github.com", ID: 1})
		},
	} {
		err := call()
		var invalid *auth.InvalidError
		require.ErrorAs(t, err, &invalid, name)
		require.Equal(t, "authority", invalid.Field, name)
	}
	require.Equal(t, 200, g.login(g.userPair).status, "nothing has changed")
}

// The authority of a session without super user rights must not change any user, not even its own.
// Otherwise the user could become a super user.
func TestASessionWithoutSuperUserChangesNoUserNotEvenItsOwn(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	session, err := g.svc.SignIn(t.Context(), g.user.ID, auth.LoginOptions{})
	require.NoError(t, err)
	by := auth.Authority{SessionID: session.Session.ID, UserID: g.user.ID}
	ctx, yes := t.Context(), true
	_, err = g.svc.UpdateUser(ctx, by, g.user.ID, auth.UserChange{IsSuperUser: &yes})
	require.ErrorIs(t, err, auth.ErrSuperUserRequired)
	_, err = g.svc.Register(ctx, by, auth.UserParams{Username: "new"})
	require.ErrorIs(t, err, auth.ErrSuperUserRequired)
	_, err = g.svc.RegenerateCredentials(ctx, by, g.user.ID, auth.KeyOptions{})
	require.ErrorIs(t, err, auth.ErrSuperUserRequired)
	_, err = g.svc.ReinstateUser(ctx, by, g.user.ID, auth.KeyOptions{})
	require.ErrorIs(t, err, auth.ErrSuperUserRequired)
	require.ErrorIs(t, g.svc.DeleteUser(ctx, by, g.user.ID), auth.ErrSuperUserRequired)
	require.ErrorIs(t, g.svc.RevokeEverybody(ctx, by), auth.ErrSuperUserRequired)
	err = g.svc.GitHub().Forget(ctx, by, auth.GitHubAccount{Host: "github.com", ID: 1})
	require.ErrorIs(t, err, auth.ErrSuperUserRequired)
	user, err := g.store.FindUser(ctx, g.user.ID)
	require.NoError(t, err)
	require.False(t, user.IsSuperUser)
}

func TestAnAuthorityIsOfTheHostOrOfASession(t *testing.T) {
	t.Parallel()
	for _, valid := range []auth.Authority{
		auth.ByHost("billing"), {SessionID: "s", UserID: "u"}, {SessionID: "s", UserID: "u", SuperUser: true, MaxAge: 1},
		auth.Identity{UserID: "u", SessionID: "s"}.Authority(),
	} {
		require.NoError(t, valid.Validate(), valid)
	}
	for _, invalid := range []auth.Authority{
		{}, auth.ByHost(""), auth.ByHost("a\x00"), {SessionID: "s"}, {UserID: "u"}, {Host: "h", UserID: "u"}, {Host: "h", SuperUser: true},
		{Host: "h", MaxAge: 1}, {SessionID: "s", UserID: "u", MaxAge: -1}, {SuperUser: true},
	} {
		require.ErrorIs(t, invalid.Validate(), auth.ErrInvalid, invalid)
	}
	by := auth.Authority{SessionID: "s", UserID: "u"}
	require.NoError(t, by.CheckOwner("u"))
	require.ErrorIs(t, by.CheckOwner("u2"), auth.ErrNotFound)
	require.ErrorContains(t, by.CheckOwner("u2"), "Authority.SuperUser must be set")
	require.ErrorIs(t, by.CheckOwner(""), auth.ErrNotFound)
	by.SuperUser = true
	require.NoError(t, by.CheckOwner("u2"))
	require.NoError(t, auth.ByHost("h").CheckOwner("u2"))
}
