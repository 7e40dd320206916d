package storetest

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var githubSignInPromises = []promise[auth.Store]{
	{"a first sign-in stores the user, the link, the token and the session", firstSignInStoresAll},
	{"a sign-in may have no token", signInWithoutToken},
	{"a later sign-in updates the link and the token", laterSignIn},
	{"a later sign-in may change nothing", sameSignIn},
	{"an e-mail address that is taken is left out", takenEmailLeftOut},
	{"an e-mail address that is free is stored", freeEmailKept},
	{"a later sign-in fills in only a missing e-mail address that is free", laterSignInFillsInEmail},
	{"a refused first sign-in leaves nothing", refusedFirstSignIn},
	{"a refused later sign-in changes nothing", refusedLaterSignIn},
	{"a disabled user cannot sign in, and stays linked", disabledSignIn},
	{"a disabled user has no session that GitHub opened", disablingEndsGitHubSessions},
	{"a user signs in with accounts of several hosts", severalHosts},
	{"the same account number at another host is another account", sameIDElsewhere},
}

// githubAccountPromises are about how a store finds GitHub accounts.
var githubAccountPromises = []promise[auth.AccountStore]{
	{"account numbers are exact", exactAccountIDs},
	{"unknown accounts and users are not found", unknownGitHubAccounts},
}

var githubSuperUserPromises = []promise[auth.Store]{
	{"a super user created by GitHub sign-in counts as a super user", githubSuperUserCounts},
	{"a sign-in with GitHub does not spend the bootstrap", signInBeforeBootstrap},
}

func firstSignInStoresAll(t *testing.T, store auth.Store) {
	for _, user := range personsOfEveryKind() {
		if !user.IsActive {
			continue
		}
		signIn := firstSignIn(user)
		session, got, err := store.SignInGitHub(t.Context(), byHost(now), signIn)
		require.NoError(t, err)
		requireSameSession(t, signIn.Session, session)
		user.LastLogin = session.CreatedAt
		require.Equal(t, user, got)
		linked{user, signIn.Link, *signIn.Token, session}.requireUnchanged(t, store)
	}
}

func signInWithoutToken(t *testing.T, store auth.Store) {
	first := firstSignIn(newUser())
	first.Token = nil
	session, user, err := store.SignInGitHub(t.Context(), byHost(now), first)
	require.NoError(t, err)
	linked{user: user, link: first.Link, session: session}.requireDisconnected(t, store)

	a := newLinked(t, store)
	// if there is no Token, TokenVersion has no meaning
	for _, version := range []string{"", a.token.Version, unique("version")} {
		signIn := a.nextSignIn()
		signIn.Token, signIn.TokenVersion = nil, version
		session, user, err := store.SignInGitHub(t.Context(), byHost(now), signIn)
		require.NoError(t, err)
		requireSession(t, store, session)
		signIn.Link.CreatedAt = a.link.CreatedAt
		linked{user, signIn.Link, a.token, a.session}.requireUnchanged(t, store)
	}
}

func laterSignIn(t *testing.T, store auth.Store) {
	a, other := newLinked(t, store), newLinked(t, store)
	for range 3 {
		signIn := a.nextSignIn()
		session, user, err := store.SignInGitHub(t.Context(), byHost(now), signIn)
		require.NoError(t, err)
		requireSameSession(t, signIn.Session, session)
		requireSession(t, store, session)

		a.user.LastLogin = session.CreatedAt
		require.Equal(t, a.user, user)
		signIn.Link.CreatedAt = a.link.CreatedAt
		a.link, a.token = signIn.Link, *signIn.Token
		a.requireUnchanged(t, store) // including the earlier session
	}
	other.requireUnchanged(t, store)
}

// sameSignIn signs in again with the values and times that are already stored. The update then
// changes no value, and a database may report that no row has changed. The store must not conclude
// from this report that the row does not exist.
func sameSignIn(t *testing.T, store auth.Store) {
	a := newLinked(t, store)
	for range 2 {
		session := newGitHubSession(a.user)
		got, user, err := store.SignInGitHub(t.Context(), byHost(now),
			auth.GitHubSignInWrite{Link: a.link, Session: session})
		require.NoError(t, err)
		requireSameSession(t, session, got)
		require.Equal(t, a.user, user)
		a.requireUnchanged(t, store)
	}
}

func takenEmailLeftOut(t *testing.T, store auth.Store) {
	taken := newAccount(t, store)
	for _, email := range []string{
		taken.user.Email, strings.ToUpper(taken.user.Email), strings.ToLower(taken.user.Email),
	} {
		user := newUser()
		user.Email = email
		signIn := firstSignIn(user)
		session, got, err := store.SignInGitHub(t.Context(), byHost(now), signIn)
		require.NoError(t, err)
		require.Equal(t, email, signIn.NewUser.Email, "the caller's own record was changed")

		user.Email, user.LastLogin = "", session.CreatedAt
		require.Equal(t, user, got)
		linked{user, signIn.Link, *signIn.Token, session}.requireUnchanged(t, store)
	}
	taken.requireUnchanged(t, store)
}

func freeEmailKept(t *testing.T, store auth.Store) {
	none := newUser()
	none.Email = ""
	require.Empty(t, signUp(t, store, firstSignIn(none)).user.Email)

	a := newLinked(t, store)
	require.NotEmpty(t, a.user.Email)
	later := newUser()
	later.Email = strings.ToUpper(a.user.Email)
	require.ErrorIs(t, store.Register(t.Context(), byHost(now), later, newKey(later)), auth.ErrExists)
	later = newUser()
	later.Username = strings.ToUpper(a.user.Username)
	require.ErrorIs(t, store.Register(t.Context(), byHost(now), later, newKey(later)), auth.ErrExists)
}

func laterSignInFillsInEmail(t *testing.T, store auth.Store) {
	taken := newAccount(t, store)
	a, without := newLinked(t, store), newUser()
	without.Email = ""
	b := signUp(t, store, firstSignIn(without))
	free := newUser().Email
	for _, step := range []struct {
		linked
		email, want string
	}{
		{a, free, a.user.Email},
		{b, "", ""},
		{b, strings.ToUpper(taken.user.Email), ""},
		{b, free, free},
		{b, newUser().Email, free},
	} {
		signIn := step.nextSignIn()
		signIn.Token, signIn.Email = nil, step.email
		_, user, err := store.SignInGitHub(t.Context(), byHost(now), signIn)
		require.NoError(t, err)
		require.Equal(t, step.want, user.Email)
		requireUser(t, store, user)
	}
	taken.requireUnchanged(t, store)

	later := newUser()
	later.Email = strings.ToUpper(free)
	require.ErrorIs(t, store.Register(t.Context(), byHost(now), later, newKey(later)), auth.ErrExists)
	_, err := store.DeleteUser(t.Context(), byHost(now), b.user.ID)
	require.NoError(t, err)
	require.NoError(t, store.Register(t.Context(), byHost(now), later, newKey(later)))
}

func disabledSignIn(t *testing.T, store auth.Store) {
	a := newLinked(t, store)
	update(t, store, a.user.ID, disable)
	signIn := a.nextSignIn()
	_, _, err := store.SignInGitHub(t.Context(), byHost(now), signIn)
	require.ErrorIs(t, err, auth.ErrUserDisabled)
	requireUser(t, store, changed(a.user, disable))
	requireConnection(t, store, a.connection())
	requireNoSession(t, store, signIn.Session.ID)

	update(t, store, a.user.ID, enable)
	_, user, err := store.SignInGitHub(t.Context(), byHost(now), signIn)
	require.NoError(t, err)
	require.Equal(t, a.user.ID, user.ID)
}

func disablingEndsGitHubSessions(t *testing.T, store auth.Store) {
	a := newLinked(t, store)
	update(t, store, a.user.ID, disable)
	update(t, store, a.user.ID, enable)
	requireNoSession(t, store, a.session.ID)
}

func severalHosts(t *testing.T, store auth.Store) {
	a := newLinked(t, store)
	elsewhere := a.connectElsewhere(t, store)
	a.requireUnchanged(t, store)
	requireConnection(t, store, elsewhere)

	there := linked{user: a.user, link: elsewhere.Link, token: *elsewhere.Token}
	for _, l := range []linked{a, there} {
		_, user, err := store.SignInGitHub(t.Context(), byHost(now), l.nextSignIn())
		require.NoError(t, err)
		require.Equal(t, a.user.ID, user.ID)
	}
}

func sameIDElsewhere(t *testing.T, store auth.Store) {
	apart(t, slices.Concat(foldedTwins, lookalikes), func(t *testing.T, one, other string) {
		first, second := firstSignIn(newUser()), firstSignIn(newUser())
		setAccount(&first, auth.GitHubAccount{Host: one, ID: 1})
		setAccount(&second, auth.GitHubAccount{Host: other, ID: 1})
		a := signUp(t, store, first)
		requireNoLink(t, store, second.Link.Account)
		requireNoConnection(t, store, a.user.ID, other)
		_, err := store.DeleteGitHubToken(t.Context(), byHost(now), a.user.ID, other, "")
		require.ErrorIs(t, err, auth.ErrNotFound)

		b := signUp(t, store, second)
		a.requireUnchanged(t, store)
		b.requireUnchanged(t, store)
		// one account of each GitHub host
		connect(t, store, newConnect(a.session, auth.GitHubAccount{Host: other, ID: 2}))
	})
}

func exactAccountIDs(t *testing.T, store auth.AccountStore) {
	host := unique("host")
	for _, id := range []int64{
		1, 2, 1 << 31, 1<<31 - 1, 1<<32 + 1, // around 32 bits
		// 64 bits, more than a float64 can hold exactly
		1 << 53, 1<<53 + 1, 1<<53 + 2, math.MaxInt64 - 1, math.MaxInt64,
	} {
		signIn := firstSignIn(newUser())
		setAccount(&signIn, auth.GitHubAccount{Host: host, ID: id})
		signUp(t, store, signIn).requireUnchanged(t, store)
	}
	for _, id := range []int64{0, -1, 3, 10, 1<<53 + 3, math.MinInt64} {
		requireNoLink(t, store, auth.GitHubAccount{Host: host, ID: id})
	}
}

func unknownGitHubAccounts(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	requireNoLink(t, store, newGitHubAccount())
	requireNoConnection(t, store, unique("nobody"), githubHost)
	requireNoConnection(t, store, a.user.ID, githubHost)
	requireNoConnection(t, store, newLinked(t, store).user.ID, "github.example.com")
}

func githubSuperUserCounts(t *testing.T, store auth.Store) {
	first := newAccountOf(t, store, newSuperUser())
	second := signUp(t, store, firstSignIn(newSuperUser()))
	update(t, store, first.user.ID, demote)
	requireLast(t, store, signIn(t, store, second.user))
}

func signInBeforeBootstrap(t *testing.T, store auth.Store) {
	signUp(t, store, firstSignIn(newSuperUser()))
	bootstrap(t, store)
	requireNoBootstrap(t, store)
}
