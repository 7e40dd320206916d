package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// githubAccountsTogether and githubAccountsAlone contain the groups of promises about GitHub that
// RunAccounts tests.
var (
	githubAccountsTogether = []group[auth.AccountStore]{
		{"states", statePromises},
		{"signing in with GitHub", slices.Concat(githubAccountPromises, githubFirstLinkPromises)},
		{"connecting GitHub", githubConnectPromises},
		{"renewing links", admissionPromises},
		{"GitHub tokens", githubTokenPromises},
		{"listing GitHub tokens", listTokensPromises},
		{"leases of GitHub tokens", leasePromises},
		{"unlinking GitHub", githubUnlinkPromises},
		{"remembered GitHub accounts", rememberedPromises},
		{"GitHub values", githubValuePromises},
		{"GitHub cancellation", githubCancelPromises},
		{"GitHub races", slices.Concat(githubRacePromises, githubFirstLinkRaces)},
	}
	githubAccountsAlone = []group[auth.AccountStore]{{"pruning states", statePrunePromises}}
)

// githubFirstLinkPromises are about sign-ins to a store without users. Such a store links an
// account to the user that the caller names.
var githubFirstLinkPromises = []promise[auth.AccountStore]{
	{"a first sign-in links the account to the user", firstSignInLinks},
	{"a later sign-in updates the link and the token", laterSignInRenews},
	{"a sign-in that creates a user is invalid", signInMakesNobody},
	{"a sign-in that contradicts the store's records changes nothing", signInChanged},
	{"a sign-in with invalid or inconsistent records changes nothing", firstLinkRefused},
	{"a user without another way to sign in keeps the last link", lastKnownWayInStays},
	{"the same account number at another host is another account", linkedElsewhere},
}

var githubFirstLinkRaces = []promise[auth.AccountStore]{
	{"of several concurrent first sign-ins of an account, one links it", racingFirstLinks},
	{"several concurrent first sign-ins of a user all succeed", racingFirstSignInsOfOneUser},
	{"of several accounts with which a user first signs in, one is linked", racingAccountsOfOneUser},
}

// firstLink returns the first sign-in of a user in the host's own users table.
func firstLink() auth.GitHubSignInWrite {
	first := firstSignIn(newUser())
	first.NewUser = nil
	return first
}

func firstSignInLinks(t *testing.T, store auth.AccountStore) {
	keyed := newAccount(t, store)
	ofKeyed := firstLink()
	setUser(&ofKeyed, keyed.user.ID)
	for _, first := range []auth.GitHubSignInWrite{firstLink(), ofKeyed} {
		session, user, err := store.SignInGitHub(t.Context(), byHost(now), first)
		require.NoError(t, err)
		requireSameSession(t, first.Session, session)
		require.Equal(t, auth.User{ID: first.Link.UserID}, user)
		linked{user, first.Link, *first.Token, session}.requireUnchanged(t, store)
	}
	keyed.requireUnchanged(t, store)

	bare := firstLink()
	bare.Token = nil
	session, user, err := store.SignInGitHub(t.Context(), byHost(now), bare)
	require.NoError(t, err)
	linked{user: user, link: bare.Link, session: session}.requireDisconnected(t, store)
}

func laterSignInRenews(t *testing.T, store auth.AccountStore) {
	a, other := newLinked(t, store), newLinked(t, store)
	for range 3 {
		signIn := a.nextSignIn()
		session, user, err := store.SignInGitHub(t.Context(), byHost(now), signIn)
		require.NoError(t, err)
		requireSameSession(t, signIn.Session, session)
		require.Equal(t, auth.User{ID: a.user.ID}, user)
		requireSession(t, store, session)
		signIn.Link.CreatedAt = a.link.CreatedAt
		a.link, a.token = signIn.Link, *signIn.Token
		a.requireUnchanged(t, store)
	}
	for range 2 { // the second sign-in writes the same link again
		_, _, err := store.SignInGitHub(t.Context(), byHost(now),
			auth.GitHubSignInWrite{Link: a.link, Session: newGitHubSession(a.user)})
		require.NoError(t, err)
		a.requireUnchanged(t, store)
	}
	other.requireUnchanged(t, store)
}

func signInMakesNobody(t *testing.T, store auth.AccountStore) {
	a := newLinked(t, store)
	first := firstSignIn(newUser())
	again := first
	setAccount(&again, a.link.Account)
	for _, signIn := range []auth.GitHubSignInWrite{first, again} {
		requireRefused(t, store, signIn, []error{auth.ErrInvalid})
		requireNoSession(t, store, signIn.Session.ID)
		requireNoConnection(t, store, signIn.Link.UserID, githubHost)
	}
	a.requireUnchanged(t, store)
}

func signInChanged(t *testing.T, store auth.AccountStore) {
	for name, edit := range map[string]func(s *auth.GitHubSignInWrite, taken linked){
		"the account is linked to another user": func(s *auth.GitHubSignInWrite, taken linked) {
			setAccount(s, taken.link.Account)
		},
		"the user is linked to another account of the host": func(s *auth.GitHubSignInWrite, taken linked) {
			setUser(s, taken.user.ID)
		},
		"the user is linked to another account, whose token is known": func(s *auth.GitHubSignInWrite,
			taken linked) {
			setUser(s, taken.user.ID)
			s.TokenVersion = taken.token.Version
		},
		"there is no such token": func(s *auth.GitHubSignInWrite, _ linked) { s.TokenVersion = unique("version") },
		"there is a token already": func(s *auth.GitHubSignInWrite, taken linked) {
			setAccount(s, taken.link.Account)
			setUser(s, taken.user.ID)
		},
		"the user has another account, and there is no token": func(s *auth.GitHubSignInWrite, taken linked) {
			setUser(s, taken.user.ID)
			s.Token = nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			taken, free := newLinked(t, store), firstLink()
			refused := free
			refused.Token = new(*free.Token)
			edit(&refused, taken)
			requireRefused(t, store, refused, []error{auth.ErrChanged})
			taken.requireUnchanged(t, store)
			requireNoSession(t, store, free.Session.ID)
			requireNoLink(t, store, free.Link.Account)
			signUp(t, store, free).requireUnchanged(t, store)
		})
	}
}

func firstLinkRefused(t *testing.T, store auth.AccountStore) {
	for name, test := range refusalsOfAll {
		t.Run(name, func(t *testing.T) {
			taken, keyed, free := newLinked(t, store), newAccount(t, store), firstLink()
			refused := free
			refused.Token = new(*free.Token)
			test.edit(&refused, taken, keyed)
			requireRefused(t, store, refused, test.want)
			taken.requireUnchanged(t, store)
			keyed.requireUnchanged(t, store)
			requireNoConnection(t, store, keyed.user.ID, githubHost)
			requireNoLink(t, store, free.Link.Account)
			requireNoSession(t, store, free.Session.ID)
			signUp(t, store, free).requireUnchanged(t, store)
		})
	}
}

func lastKnownWayInStays(t *testing.T, store auth.AccountStore) {
	a := newLinked(t, store)
	for _, expires := range expiredNow {
		addKey(t, store, a.user, expires)
		_, err := unlink(t, store, a)
		require.ErrorIs(t, err, auth.ErrLastWayIn)
		a.requireUnchanged(t, store)
	}
	addKey(t, store, a.user, now.Add(time.Microsecond))
	removed, err := unlink(t, store, a)
	require.NoError(t, err)
	require.Equal(t, a.connection(), removed)
	a.requireUnlinked(t, store)
}

func linkedElsewhere(t *testing.T, store auth.AccountStore) {
	first, second := firstLink(), firstLink()
	setUser(&second, first.Link.UserID)
	setAccount(&second, auth.GitHubAccount{Host: "github.example.com", ID: first.Link.Account.ID})
	a, b := signUp(t, store, first), signUp(t, store, second)
	a.requireUnchanged(t, store)
	b.requireUnchanged(t, store)
}

func racingFirstLinks(t *testing.T, store auth.AccountStore) {
	for range rounds(t) {
		account := newGitHubAccount()
		signIns := make([]auth.GitHubSignInWrite, contenders)
		for i := range signIns {
			signIns[i] = firstLink()
			setAccount(&signIns[i], account)
		}
		requireOneLinked(t, store, signIns)
	}
}

func racingAccountsOfOneUser(t *testing.T, store auth.AccountStore) {
	for range rounds(t) {
		user := newUser()
		signIns := make([]auth.GitHubSignInWrite, contenders)
		for i := range signIns {
			signIns[i] = firstLink()
			setUser(&signIns[i], user.ID)
			if i%2 == 0 {
				signIns[i].Token = nil
			}
		}
		requireOneLinked(t, store, signIns)
	}
}

// requireOneLinked makes the sign-ins at the same time. It fails the test unless exactly one of
// them succeeds and the others leave nothing in the store.
func requireOneLinked(t *testing.T, store auth.AccountStore, signIns []auth.GitHubSignInWrite) {
	t.Helper()
	errs := race(len(signIns), func(i int) error {
		_, _, err := store.SignInGitHub(t.Context(), byHost(now), signIns[i])
		return err
	})
	winner := signIns[requireOneWinner(t, errs, auth.ErrChanged)]
	requireConnection(t, store, connection{Link: winner.Link, Token: winner.Token})
	for _, signIn := range signIns {
		require.Equal(t, signIn.Session.ID == winner.Session.ID,
			hasSession(t, store, signIn.Session.ID))
		if signIn.Link.Account != winner.Link.Account {
			requireNoLink(t, store, signIn.Link.Account)
		}
		if signIn.Link.UserID != winner.Link.UserID {
			requireNoConnection(t, store, signIn.Link.UserID, githubHost)
		}
	}
}

// racingFirstSignInsOfOneUser makes several sign-ins of one user at the same time, as if a person
// clicked twice. The sign-ins have no token, so they do not conflict with each other.
func racingFirstSignInsOfOneUser(t *testing.T, store auth.AccountStore) {
	for range rounds(t) {
		first := firstLink()
		first.Token = nil
		sessions := make([]auth.Session, contenders)
		errs := race(contenders, func(i int) (err error) {
			signIn := first
			signIn.Session.ID = unique("session")
			sessions[i], _, err = store.SignInGitHub(t.Context(), byHost(now), signIn)
			return err
		})
		require.NoError(t, errors.Join(errs...))
		for _, session := range sessions {
			requireSession(t, store, session)
		}
		requireConnection(t, store, connection{Link: first.Link})
	}
}
