package storetest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var deletePromises = []promise[auth.Store]{
	{"a deleted user no longer exists, nor do the user's keys, sessions, links and tokens", deletedGone},
	{"the tokens of a deleted user are returned", deletedTokens},
	{"deleting a user leaves other users unchanged", deletingSparesOthers},
	{"users of every kind can be deleted", everyKindDeleted},
	{"an unknown user cannot be deleted", deleteUnknownUser},
	{"the username of a deleted user stays taken", usernameRetired},
	{"look-alikes of a deleted user's name are free", lookalikesOfRetired},
	{"the e-mail of a deleted user is free", emailFreed},
	{"the GitHub account of a deleted user signs in as a new user", deletedAccountComesBack},
	{"of several concurrent deletions of a user, one succeeds", racingDeletions},
	{"a key added during the deletion of its user does not survive it", keysRacingDeletion},
}

// deleteUser deletes an existing user.
func deleteUser(t *testing.T, store auth.Store, id string) []auth.GitHubToken {
	t.Helper()
	tokens, err := store.DeleteUser(t.Context(), byHost(now), id)
	require.NoError(t, err)
	return tokens
}

// requireDeleted fails the test unless every method reports that the user does not exist.
func requireDeleted(t *testing.T, store auth.Store, user auth.User) {
	t.Helper()
	requireNoUser(t, store, user.ID)
	_, err := store.UpdateUser(t.Context(), byHost(now), user.ID, enable)
	require.ErrorIs(t, err, auth.ErrNotFound)
	key := newKey(user)
	_, _, err = store.ResetUser(t.Context(), byHost(now), user.ID, auth.UserChange{}, key)
	require.ErrorIs(t, err, auth.ErrNotFound)
	require.ErrorIs(t, store.AddKey(t.Context(), byHost(now), key), auth.ErrNotFound)
	requireNoKey(t, store, key.ID)
	_, _, err = store.CreateSession(t.Context(), newHostSession(user), 0)
	require.ErrorIs(t, err, auth.ErrNotFound)
	_, err = store.RevokeUserSessions(t.Context(), byHost(now), user.ID)
	require.ErrorIs(t, err, auth.ErrNotFound)
	_, err = store.DeleteUser(t.Context(), byHost(now), user.ID)
	require.ErrorIs(t, err, auth.ErrNotFound)
}

func deletedGone(t *testing.T, store auth.Store) {
	a := newLinked(t, store)
	elsewhere := a.connectElsewhere(t, store)
	keys := []auth.AccessKey{addKey(t, store, a.user, time.Time{}),
		addKey(t, store, a.user, now.Add(time.Hour))}
	sessions := []auth.Session{
		a.session,
		openSession(t, store, newSession(keys[0])),
		openSession(t, store, newSession(keys[1])),
		openSession(t, store, newHostSession(a.user)),
	}
	deleteUser(t, store, a.user.ID)

	requireDeleted(t, store, a.user)
	for _, session := range sessions {
		requireNoSession(t, store, session.ID)
		require.ErrorIs(t, store.RevokeSession(t.Context(), byHost(now), session.ID), auth.ErrNotFound)
	}
	for _, key := range keys {
		requireNoKey(t, store, key.ID)
		_, _, err := store.CreateSession(t.Context(), newSession(key), 0)
		require.ErrorIs(t, err, auth.ErrNotFound)
	}
	for _, link := range []auth.GitHubLink{a.link, elsewhere.Link} {
		linked{user: a.user, link: link}.requireUnlinked(t, store)
	}
	requireNoToken(t, store, a.token)
	requireNoToken(t, store, *elsewhere.Token)
}

func deletedTokens(t *testing.T, store auth.Store) {
	both := newLinked(t, store)
	elsewhere := both.connectElsewhere(t, store)
	require.ElementsMatch(t, []auth.GitHubToken{both.token, *elsewhere.Token},
		deleteUser(t, store, both.user.ID))

	one := newLinked(t, store)
	elsewhere = one.connectElsewhere(t, store)
	require.NoError(t, deleteToken(t, store, one.token))
	require.Equal(t, []auth.GitHubToken{*elsewhere.Token}, deleteUser(t, store, one.user.ID))

	require.Empty(t, deleteUser(t, store, newAccount(t, store).user.ID))
}

func deletingSparesOthers(t *testing.T, store auth.Store) {
	a, keyed, other := newLinked(t, store), newAccount(t, store), newLinked(t, store)
	deleteUser(t, store, a.user.ID)
	deleteUser(t, store, newAccount(t, store).user.ID)
	keyed.requireUnchanged(t, store)
	other.requireUnchanged(t, store)
}

func everyKindDeleted(t *testing.T, store auth.Store) {
	register(t, store, newSuperUser()) // so that none of the users below is the last super user
	for _, user := range usersOfEveryKind() {
		_, key := register(t, store, user)
		require.Empty(t, deleteUser(t, store, user.ID))
		requireDeleted(t, store, user)
		requireNoKey(t, store, key.ID)
	}
}

func deleteUnknownUser(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	for _, id := range []string{unique("nobody"), a.user.Username, a.user.Email, a.key.ID,
		a.session.ID} {
		tokens, err := store.DeleteUser(t.Context(), byHost(now), id)
		require.ErrorIs(t, err, auth.ErrNotFound)
		require.Empty(t, tokens)
	}
	a.requireUnchanged(t, store)
}

func usernameRetired(t *testing.T, store auth.Store) {
	registered, signedIn := newUser(), newUser()
	register(t, store, registered)
	signUp(t, store, firstSignIn(signedIn))
	for _, gone := range []auth.User{registered, signedIn} {
		deleteUser(t, store, gone.ID)
		for _, name := range []string{
			gone.Username, strings.ToUpper(gone.Username), strings.ToLower(gone.Username),
		} {
			requireNameTaken(t, store, name)
		}
		requireDeleted(t, store, gone)
	}
}

// requireNameTaken fails the test if a user can be created with this username.
func requireNameTaken(t *testing.T, store auth.Store, name string) {
	t.Helper()
	user := newSuperUser()
	user.Username = name
	key := newKey(user)
	require.ErrorIs(t, store.Register(t.Context(), byHost(now), user, key), auth.ErrExists)
	require.ErrorIs(t, store.Bootstrap(t.Context(), byHost(now), user, key), auth.ErrExists)
	requireNoKey(t, store, key.ID)
	signIn := firstSignIn(user)
	requireRefused(t, store, signIn, []error{auth.ErrExists})
	requireNoLink(t, store, signIn.Link.Account)
	requireNoUser(t, store, user.ID)
}

func lookalikesOfRetired(t *testing.T, store auth.Store) {
	apart(t, lookalikes, func(t *testing.T, one, other string) {
		user := newUser()
		user.Username = one
		register(t, store, user)
		deleteUser(t, store, user.ID)
		requireNameTaken(t, store, one)

		user = newUser()
		user.Username = other
		register(t, store, user)
		requireUser(t, store, user)
	})
}

func emailFreed(t *testing.T, store auth.Store) {
	email := unique("Mail") + "@example.com"
	for _, again := range []string{email, strings.ToUpper(email), strings.ToLower(email)} {
		user := newUser()
		user.Email = again
		register(t, store, user)
		deleteUser(t, store, user.ID)

		user = newUser()
		user.Email = again
		a := signUp(t, store, firstSignIn(user))
		require.Equal(t, again, a.user.Email)
		deleteUser(t, store, a.user.ID)
	}
}

func deletedAccountComesBack(t *testing.T, store auth.Store) {
	a := newAdmitted(t, store)
	deleteUser(t, store, a.user.ID)
	requireRefused(t, store, a.nextSignIn(), []error{auth.ErrChanged, auth.ErrNotFound})
	requireNoLink(t, store, a.link.Account)

	user := newUser()
	user.Email = a.user.Email
	first := firstSignIn(user)
	setAccount(&first, a.link.Account)
	back := signUp(t, store, first)
	require.Equal(t, user.ID, back.user.ID)
	require.Equal(t, a.user.Email, back.user.Email)
	back.requireUnchanged(t, store)
	requireNoUser(t, store, a.user.ID)
	requireNoSession(t, store, a.session.ID)
	requireNoConnection(t, store, a.user.ID, githubHost)
}

func racingDeletions(t *testing.T, store auth.Store) {
	for range rounds(t) {
		a := newLinked(t, store)
		tokens := make([][]auth.GitHubToken, contenders)
		errs := race(contenders, func(i int) (err error) {
			tokens[i], err = store.DeleteUser(t.Context(), byHost(now), a.user.ID)
			return err
		})
		winner := requireOneWinner(t, errs, auth.ErrNotFound)
		require.Equal(t, []auth.GitHubToken{a.token}, tokens[winner])
		requireNoUser(t, store, a.user.ID)
	}
}

func keysRacingDeletion(t *testing.T, store auth.Store) {
	for range rounds(t) {
		a := newAccount(t, store)
		keys := make([]auth.AccessKey, contenders)
		errs := race(contenders, func(i int) error {
			if i == contenders/2 {
				_, err := store.DeleteUser(t.Context(), byHost(now), a.user.ID)
				return err
			}
			keys[i] = newKey(a.user)
			if err := store.AddKey(t.Context(), byHost(now), keys[i]); !errors.Is(err,
				auth.ErrNotFound) {
				return err
			}
			return nil
		})
		require.NoError(t, errors.Join(errs...))
		for _, key := range keys {
			requireNoKey(t, store, key.ID)
		}
	}
}
