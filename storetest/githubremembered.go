package storetest

import (
	"cmp"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var rememberedPromises = []promise[auth.AccountStore]{
	{"an unlinked account signs no user in", unlinkedSignsNobodyIn},
	{"an unlinked account can be connected only by its own user", unlinkedReconnected},
	{"unlinking revokes the sessions that GitHub opened, and no others", unlinkEndsGitHubSessions},
	{"any user can use a forgotten account", forgottenIsFree},
	{"an account is forgotten once, and not while it is linked", forgetRefused},
	{"accounts of different hosts are remembered separately", rememberedByHost},
	{"the accounts that are remembered for a user are listed", rememberedListed},
	{"of several concurrent calls that forget an account, one succeeds", racingForgets},
}

var rememberedPromisesOfUsers = []promise[auth.Store]{
	{"an account whose user was reset signs no user in until it is connected again", resetRemembered},
	{"an account whose user was deleted signs in as a new user", deletedForgotten},
	{"an account's grant creates one super user, ever", grantedOnce},
	{"an account can be granted super user rights at a later sign-in", grantedLater},
	{"a grant is spent once the account's user is demoted, reset or deleted", grantSpentByEnds},
	{"a grant is not spent by disabling, unlinking or forgetting", grantKept},
	{"a super user who was demoted stays demoted, however the account comes back", demotedStays},
	{"of several concurrent sign-ins, one grant creates one super user", racingGrants},
}

// ofAccount returns the first sign-in of a new user with this account, in the form that the store
// accepts.
func ofAccount(store auth.AccountStore, account auth.GitHubAccount) auth.GitHubSignInWrite {
	first := asKept(store, firstSignIn(newUser()))
	setAccount(&first, account)
	return first
}

// requireNotAllowed fails the test if the user's GitHub account can sign in. It tries to sign in as
// this user and as a new user.
func requireNotAllowed(t *testing.T, store auth.AccountStore, l linked) {
	t.Helper()
	next := l.nextSignIn()
	next.Token = nil
	for _, signIn := range []auth.GitHubSignInWrite{l.nextSignIn(), next,
		ofAccount(store, l.link.Account)} {
		requireRefused(t, store, signIn, []error{auth.ErrGitHubNotAllowed})
		requireNoSession(t, store, signIn.Session.ID)
		if signIn.NewUser != nil {
			requireNoUser(t, store, signIn.NewUser.ID)
		}
	}
	requireNoLink(t, store, l.link.Account)
}

// newUnlinked returns a user whose account was linked and then unlinked. It also returns a session
// that a key of this user opened.
func newUnlinked(t *testing.T, store auth.AccountStore) (linked, auth.Session) {
	t.Helper()
	a := newLinked(t, store)
	keyed := signIn(t, store, a.user)
	_, err := unlink(t, store, a)
	require.NoError(t, err)
	a.user = keyed.user
	return a, keyed.session
}

func unlinkedSignsNobodyIn(t *testing.T, store auth.AccountStore) {
	a, session := newUnlinked(t, store)
	for range 2 {
		requireNotAllowed(t, store, a)
	}
	requireUser(t, store, a.user)
	requireSession(t, store, session)
}

func unlinkedReconnected(t *testing.T, store auth.AccountStore) {
	a, session := newUnlinked(t, store)
	other := newAccount(t, store)
	require.ErrorIs(t, newConnect(other.session, a.link.Account).call(t.Context(), store),
		auth.ErrExists)
	requireNoLink(t, store, a.link.Account)

	have := connect(t, store, newConnect(session, a.link.Account))
	requireConnection(t, store, have)
	a.link, a.token = have.Link, *have.Token
	_, user, err := store.SignInGitHub(t.Context(), byHost(now), a.nextSignIn())
	require.NoError(t, err)
	require.Equal(t, a.user.ID, user.ID)
}

func unlinkEndsGitHubSessions(t *testing.T, store auth.AccountStore) {
	a := newLinked(t, store)
	keyed := signIn(t, store, a.user)
	byTheHost := openSession(t, store, newHostSession(a.user))
	second := openSession(t, store, newGitHubSession(a.user))
	_, _, err := store.UnlinkGitHub(t.Context(), bySession(a.session, now), a.user.ID, githubHost)
	require.NoError(t, err, "the session that is revoked with it may unlink")
	entries := entriesOf(t, store, a.user)
	require.Len(t, entries, 2)
	for _, session := range []auth.Session{a.session, second} {
		requireNoSession(t, store, session.ID)
		require.True(t, isDead(entries, session))
	}
	for _, session := range []auth.Session{keyed.session, byTheHost} {
		requireSession(t, store, session)
		require.False(t, isDead(entries, session))
	}
}

func forget(t *testing.T, store auth.AccountStore, account auth.GitHubAccount) {
	t.Helper()
	require.NoError(t, store.ForgetGitHubAccount(t.Context(), byHost(now), account))
}

func requireAccounts(
	t *testing.T, store auth.AccountStore, userID string, want ...auth.GitHubAccount,
) {
	t.Helper()
	got, err := store.ListGitHubAccounts(t.Context(), userID)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func rememberedListed(t *testing.T, store auth.AccountStore) {
	other := newLinked(t, store)
	for _, id := range []string{unique("nobody"), "", "\x00", fill("", "x", 10_000)} {
		requireAccounts(t, store, id)
	}
	a, session := newUnlinked(t, store)
	requireAccounts(t, store, a.user.ID, a.link.Account)
	elsewhere, second := newGitHubAccount(), newGitHubAccount()
	elsewhere.Host = "a.example.com" // sorts before the other host
	connect(t, store, newConnect(session, elsewhere))
	connect(t, store, newConnect(session, second))
	both := []auth.GitHubAccount{a.link.Account, second}
	slices.SortFunc(both, func(a, b auth.GitHubAccount) int { return cmp.Compare(a.ID, b.ID) })
	requireAccounts(t, store, a.user.ID, elsewhere, both[0], both[1])
	forget(t, store, a.link.Account)
	requireAccounts(t, store, a.user.ID, elsewhere, second)
	requireAccounts(t, store, other.user.ID, other.link.Account)
	if users := usersOf(store); users != nil {
		_, err := users.DeleteUser(t.Context(), byHost(now), a.user.ID)
		require.NoError(t, err)
		requireAccounts(t, store, a.user.ID)
	}
}

func forgottenIsFree(t *testing.T, store auth.AccountStore) {
	a, _ := newUnlinked(t, store)
	forget(t, store, a.link.Account)
	b := signUp(t, store, ofAccount(store, a.link.Account))
	b.requireUnchanged(t, store)
	require.NotEqual(t, a.user.ID, b.user.ID)

	a, _ = newUnlinked(t, store)
	forget(t, store, a.link.Account)
	other := newAccount(t, store)
	requireConnection(t, store, connect(t, store, newConnect(other.session, a.link.Account)))
}

func forgetRefused(t *testing.T, store auth.AccountStore) {
	forgetting := func(account auth.GitHubAccount) error {
		return store.ForgetGitHubAccount(t.Context(), byHost(now), account)
	}
	a := newLinked(t, store)
	require.ErrorIs(t, forgetting(a.link.Account), auth.ErrExists)
	a.requireUnchanged(t, store)
	require.ErrorIs(t, forgetting(newGitHubAccount()), auth.ErrNotFound)
	require.ErrorIs(t, forgetting(auth.GitHubAccount{}), auth.ErrNotFound)
	require.ErrorIs(t, forgetting(auth.GitHubAccount{Host: githubHost + "\x00",
		ID: a.link.Account.ID}), auth.ErrNotFound)

	b, _ := newUnlinked(t, store)
	forget(t, store, b.link.Account)
	require.ErrorIs(t, forgetting(b.link.Account), auth.ErrNotFound)
}

func rememberedByHost(t *testing.T, store auth.AccountStore) {
	a, _ := newUnlinked(t, store)
	elsewhere := a.link.Account
	elsewhere.Host = "github.example.com"
	signUp(t, store, ofAccount(store, elsewhere)).requireUnchanged(t, store)
	requireNotAllowed(t, store, a)
}

func racingForgets(t *testing.T, store auth.AccountStore) {
	for range rounds(t) {
		a, _ := newUnlinked(t, store)
		errs := race(contenders, func(int) error {
			return store.ForgetGitHubAccount(t.Context(), byHost(now), a.link.Account)
		})
		requireOneWinner(t, errs, auth.ErrNotFound)
	}
}

func resetRemembered(t *testing.T, store auth.Store) {
	a := newLinked(t, store)
	key := newKey(a.user)
	_, _, err := store.ResetUser(t.Context(), byHost(now), a.user.ID, auth.UserChange{}, key)
	require.NoError(t, err)
	requireNotAllowed(t, store, a)

	have := connect(t, store, newConnect(openSession(t, store, newSession(key)), a.link.Account))
	a.token = *have.Token
	_, user, err := store.SignInGitHub(t.Context(), byHost(now), a.nextSignIn())
	require.NoError(t, err)
	require.Equal(t, a.user.ID, user.ID)
}

func deletedForgotten(t *testing.T, store auth.Store) {
	a, _ := newUnlinked(t, store) // the account is remembered, but not linked
	deleteUser(t, store, a.user.ID)
	signUp(t, store, ofAccount(store, a.link.Account)).requireUnchanged(t, store)

	b := newLinked(t, store)
	deleteUser(t, store, b.user.ID)
	require.ErrorIs(t, store.ForgetGitHubAccount(t.Context(), byHost(now), b.link.Account),
		auth.ErrNotFound)
	signUp(t, store, ofAccount(store, b.link.Account)).requireUnchanged(t, store)
}

// granted makes a sign-in with GrantSuperUser, and returns the user and the link. The parameter
// want says whether the user must be a super user after the sign-in.
func granted(t *testing.T, store auth.Store, signIn auth.GitHubSignInWrite, want bool) linked {
	t.Helper()
	signIn.GrantSuperUser = true
	a := signUp(t, store, signIn)
	require.Equal(t, want, a.user.IsSuperUser)
	requireUser(t, store, a.user)
	return a
}

// grantedAgain does the same as granted, but with a later sign-in of a linked user.
func grantedAgain(t *testing.T, store auth.Store, a linked, want bool) linked {
	t.Helper()
	created := a.link.CreatedAt
	a = granted(t, store, a.nextSignIn(), want)
	a.link.CreatedAt = created
	return a
}

func grantedOnce(t *testing.T, store auth.Store) {
	register(t, store, newSuperUser())
	first := firstSignIn(newUser())
	a := granted(t, store, first, true)
	require.False(t, first.NewUser.IsSuperUser, "the caller's own record was changed")
	a = grantedAgain(t, store, a, true) // the user is already a super user
	update(t, store, a.user.ID, demote)
	a = grantedAgain(t, store, a, false)
	update(t, store, a.user.ID, promote)
	grantedAgain(t, store, a, true)

	without := signUp(t, store, firstSignIn(newUser()))
	require.False(t, without.user.IsSuperUser)
}

func grantedLater(t *testing.T, store auth.Store) {
	register(t, store, newSuperUser())
	a := newLinked(t, store)
	a = grantedAgain(t, store, a, true)
	update(t, store, a.user.ID, demote)
	grantedAgain(t, store, a, false)

	keyed := newAccount(t, store) // a user who has connected the account
	have := connect(t, store, newConnect(keyed.session, newGitHubAccount()))
	grantedAgain(t, store, linked{user: keyed.user, link: have.Link, token: *have.Token}, true)
}

func grantSpentByEnds(t *testing.T, store auth.Store) {
	register(t, store, newSuperUser())
	for name, end := range map[string]func(a linked) error{
		"demoted": func(a linked) error {
			_, err := store.UpdateUser(t.Context(), byHost(now), a.user.ID, demote)
			return err
		},
		"reset": func(a linked) error {
			_, _, err := store.ResetUser(t.Context(), byHost(now), a.user.ID, demote, newKey(a.user))
			return err
		},
		"deleted": func(a linked) error {
			_, err := store.DeleteUser(t.Context(), byHost(now), a.user.ID)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			never, linkedNow := newLinked(t, store), newLinked(t, store) // grants not spent
			addKey(t, store, never.user, time.Time{})
			_, err := unlink(t, store, never)
			require.NoError(t, err)
			for _, a := range []linked{never, linkedNow} {
				require.NoError(t, end(a))
				if _, err := store.FindGitHubLink(t.Context(), a.link.Account); wasFound(t, err) {
					grantedAgain(t, store, a, false)
					continue
				}
				if name != "deleted" {
					forget(t, store, a.link.Account)
				}
				granted(t, store, ofAccount(store, a.link.Account), false)
			}
		})
	}
}

func grantKept(t *testing.T, store auth.Store) {
	register(t, store, newSuperUser())
	a := newUnlinkable(t, store)
	update(t, store, a.user.ID, disable)
	signIn := a.nextSignIn()
	signIn.GrantSuperUser = true
	requireRefused(t, store, signIn, []error{auth.ErrUserDisabled})
	update(t, store, a.user.ID, enable)
	update(t, store, a.user.ID, auth.UserChange{IsSuperUser: new(true)})
	_, err := unlink(t, store, a)
	require.NoError(t, err)
	forget(t, store, a.link.Account)
	granted(t, store, ofAccount(store, a.link.Account), true)
}

// demotedStays tests that a demoted user does not become a super user again, even if every sign-in
// has GrantSuperUser. After the demotion, the account is unlinked and forgotten. The account then
// signs in as a new user. That user is deleted, and the account signs in one more time.
func demotedStays(t *testing.T, store auth.Store) {
	register(t, store, newSuperUser())
	a := granted(t, store, firstSignIn(newUser()), true)
	addKey(t, store, a.user, time.Time{})
	update(t, store, a.user.ID, demote)
	_, err := unlink(t, store, a)
	require.NoError(t, err)
	requireNotAllowed(t, store, a)
	forget(t, store, a.link.Account)
	b := granted(t, store, ofAccount(store, a.link.Account), false)
	deleteUser(t, store, b.user.ID)
	granted(t, store, ofAccount(store, a.link.Account), false)
}

func racingGrants(t *testing.T, store auth.Store) {
	register(t, store, newSuperUser())
	for range rounds(t) {
		account := newGitHubAccount()
		users := make([]auth.User, contenders)
		errs := race(contenders, func(i int) (err error) {
			first := ofAccount(store, account)
			first.GrantSuperUser = true
			_, users[i], err = store.SignInGitHub(t.Context(), byHost(now), first)
			if errors.Is(err, auth.ErrChanged) {
				return nil
			}
			return err
		})
		require.NoError(t, errors.Join(errs...))
		super := 0
		for _, user := range users {
			if user.IsSuperUser {
				super++
			}
		}
		require.Equal(t, 1, super)
	}
}
