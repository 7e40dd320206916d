package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var admissionPromises = []promise[auth.AccountStore]{
	{"a user whom GitHub sign-in did not create is never admitted", nobodyElseAdmitted},
	{"updating a link stores what GitHub reports", renewLink},
	{"a link of another user is not updated", renewOnlyOwnLink},
}

var admissionPromisesOfUsers = []promise[auth.Store]{
	{"signing in, connecting and updating the link update AdmittedAt", admissionMovesOn},
	{"a reset clears AdmittedAt", resetForgetsAdmission},
	{"a refused call leaves AdmittedAt unchanged", refusalKeepsAdmission},
}

// newAdmitted makes the first sign-in with GitHub of a user whose AdmittedAt is set.
func newAdmitted(t *testing.T, store auth.AccountStore) linked {
	t.Helper()
	user := newUser()
	user.AdmittedAt = now
	a := signUp(t, store, firstSignIn(user))
	if usersOf(store) != nil {
		require.Equal(t, now, a.user.AdmittedAt)
	}
	requireUser(t, store, a.user)
	return a
}

// renewed returns a newer version of the user's link. The link differs from the stored link as if
// GitHub had reported the account again at the given time, with another name.
func (l linked) renewed(at time.Time) auth.GitHubLink {
	link := newLink(l.user, l.link.Account)
	link.Name, link.CreatedAt, link.SeenAt = "Another Name", at, at
	return link
}

func admissionMovesOn(t *testing.T, store auth.Store) {
	a := newAdmitted(t, store)
	next := a.nextSignIn()
	_, user, err := store.SignInGitHub(t.Context(), byHost(now), next)
	require.NoError(t, err)
	require.Equal(t, next.Link.SeenAt, user.AdmittedAt)
	requireUser(t, store, user)

	again := newConnect(a.session, a.link.Account)
	again.Link.SeenAt, again.TokenVersion = refusedAt.Add(time.Hour), next.Token.Version
	require.NoError(t, again.call(t.Context(), store))
	user.AdmittedAt = again.Link.SeenAt
	requireUser(t, store, user)

	renewed := a.renewed(refusedAt.Add(2 * time.Hour))
	require.NoError(t, store.UpdateGitHubLink(t.Context(), renewed))
	user.AdmittedAt = renewed.SeenAt
	requireUser(t, store, user)
}

func nobodyElseAdmitted(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	connect(t, store, newConnect(a.session, newGitHubAccount()))
	requireUser(t, store, a.user)

	b := newLinked(t, store)
	require.NoError(t, store.UpdateGitHubLink(t.Context(), b.renewed(refusedAt)))
	requireUser(t, store, b.user)
}

func resetForgetsAdmission(t *testing.T, store auth.Store) {
	a := newAdmitted(t, store)
	key := newKey(a.user)
	user, _, err := store.ResetUser(t.Context(), byHost(now), a.user.ID, auth.UserChange{}, key)
	require.NoError(t, err)
	a.user.AdmittedAt = time.Time{}
	require.Equal(t, a.user, user)
	requireKeyOf(t, store, key, a.user)
}

func refusalKeepsAdmission(t *testing.T, store auth.Store) {
	a := newAdmitted(t, store)
	stale := a.nextSignIn()
	stale.TokenVersion = unique("version")
	_, _, err := store.SignInGitHub(t.Context(), byHost(now), stale)
	require.ErrorIs(t, err, auth.ErrChanged)
	requireUser(t, store, a.user)

	again := newConnect(a.session, a.link.Account)
	again.Link.SeenAt, again.TokenVersion = refusedAt, unique("version")
	require.ErrorIs(t, again.call(t.Context(), store), auth.ErrChanged)
	requireUser(t, store, a.user)

	update(t, store, a.user.ID, disable)
	_, _, err = store.SignInGitHub(t.Context(), byHost(now), a.nextSignIn())
	require.ErrorIs(t, err, auth.ErrUserDisabled)
	requireUser(t, store, changed(a.user, disable))
}

func renewLink(t *testing.T, store auth.AccountStore) {
	a := newAdmitted(t, store)
	for range 2 { // the second time, the update changes no value
		renewed := a.renewed(refusedAt)
		a.link.Login, a.link.Name, a.link.AvatarURL, a.link.SeenAt =
			renewed.Login, renewed.Name, renewed.AvatarURL, renewed.SeenAt
		a.user.AdmittedAt = renewed.SeenAt
		require.NoError(t, store.UpdateGitHubLink(t.Context(), renewed))
		a.requireUnchanged(t, store)
		require.NoError(t, store.UpdateGitHubLink(t.Context(), renewed))
		a.requireUnchanged(t, store)
	}
	_, err := store.DeleteGitHubToken(t.Context(), byHost(now), a.user.ID, githubHost, "")
	require.NoError(t, err)
	require.NoError(t, store.UpdateGitHubLink(t.Context(), a.link))
	a.requireDisconnected(t, store)
}

func renewOnlyOwnLink(t *testing.T, store auth.AccountStore) {
	a, b := newAdmitted(t, store), newAdmitted(t, store)
	others := a.renewed(refusedAt)
	others.Account = b.link.Account
	unknown := a.renewed(refusedAt)
	unknown.Account = newGitHubAccount()
	elsewhere := a.renewed(refusedAt)
	elsewhere.Account.Host = "github.example.com"
	for _, link := range []auth.GitHubLink{others, unknown, elsewhere} {
		require.ErrorIs(t, store.UpdateGitHubLink(t.Context(), link), auth.ErrNotFound)
	}
	invalid := a.renewed(refusedAt)
	invalid.Login = "\x00"
	require.ErrorIs(t, store.UpdateGitHubLink(t.Context(), invalid), auth.ErrInvalid)
	a.requireUnchanged(t, store)
	b.requireUnchanged(t, store)
}
