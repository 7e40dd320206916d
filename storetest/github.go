package storetest

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// githubTogether and githubAlone contain the groups of promises about GitHub for [Run]. All
// promises of a group in githubTogether share one store. Each promise of a group in githubAlone
// gets its own store.
var (
	githubTogether = []group[auth.Store]{
		{"states", ofUsers(statePromises, nil)},
		{"signing in with GitHub", ofUsers(githubAccountPromises, githubSignInPromises)},
		{"connecting GitHub", ofUsers(githubConnectPromises, githubConnectPromisesOfUsers)},
		{"admission by GitHub", ofUsers(admissionPromises, admissionPromisesOfUsers)},
		{"GitHub tokens", ofUsers(githubTokenPromises, nil)},
		{"listing GitHub tokens", ofUsers(listTokensPromises, nil)},
		{"leases of GitHub tokens", ofUsers(leasePromises, leasePromisesOfUsers)},
		{"unlinking GitHub", ofUsers(githubUnlinkPromises, githubUnlinkPromisesOfUsers)},
		{"remembered GitHub accounts", ofUsers(rememberedPromises, rememberedPromisesOfUsers)},
		{"GitHub values", ofUsers(githubValuePromises, githubValuePromisesOfUsers)},
		{"GitHub cancellation", ofUsers(githubCancelPromises, nil)},
		{"GitHub races", ofUsers(githubRacePromises, githubRacePromisesOfUsers)},
	}
	githubAlone = []group[auth.Store]{
		{"pruning states", ofUsers(statePrunePromises, nil)},
		{"GitHub and the last super user", githubSuperUserPromises},
		{"pruning GitHub accounts", ofUsers(pruneAccountPromises, pruneAccountPromisesOfUsers)},
	}
)

// githubHost is the GitHub host of an account, unless a test names another one.
const githubHost = "github.com"

// newGitHubAccount returns an account that is not stored.
func newGitHubAccount() auth.GitHubAccount {
	return auth.GitHubAccount{Host: githubHost, ID: 1 + rand.Int64N(math.MaxInt64)}
}

// newLink returns a link between the account and the user. The link is not stored.
func newLink(user auth.User, account auth.GitHubAccount) auth.GitHubLink {
	return auth.GitHubLink{
		Account:   account,
		UserID:    user.ID,
		Login:     unique("Login"),
		Name:      "The Name",
		AvatarURL: "https://avatars.example.com/" + unique("u"),
		CreatedAt: now.Add(-time.Hour),
		SeenAt:    now,
	}
}

// newToken returns a token for the account and the user of the link. The token is not stored.
func newToken(link auth.GitHubLink) auth.GitHubToken {
	return auth.GitHubToken{
		Account:   link.Account,
		UserID:    link.UserID,
		Version:   unique("Version"),
		Scopes:    "read:org repo",
		Sealed:    []byte(unique("sealed")),
		UpdatedAt: now,
	}
}

// newGitHubSession returns a session that a sign-in with GitHub opens. The session lasts one hour
// and is not stored.
func newGitHubSession(user auth.User) auth.Session {
	session := newHostSession(user)
	session.Method = auth.MethodGitHub
	return session
}

// firstSignIn returns the first sign-in of a user with a new account. The user and the account are
// not stored.
func firstSignIn(user auth.User) auth.GitHubSignInWrite {
	link := newLink(user, newGitHubAccount())
	return auth.GitHubSignInWrite{Link: link, NewUser: &user, Token: new(newToken(link)),
		Session: newGitHubSession(user)}
}

// linked is a stored user who signed in with GitHub and has no access key.
type linked struct {
	user    auth.User
	link    auth.GitHubLink
	token   auth.GitHubToken
	session auth.Session
}

// newLinked makes the first sign-in of a new user with GitHub.
func newLinked(t *testing.T, store auth.AccountStore) linked {
	t.Helper()
	return signUp(t, store, firstSignIn(newUser()))
}

// asKept returns the given first sign-in in the form that the store accepts. If the store keeps no
// users, asKept removes NewUser from the sign-in.
func asKept(store auth.AccountStore, first auth.GitHubSignInWrite) auth.GitHubSignInWrite {
	if usersOf(store) == nil {
		first.NewUser = nil
	}
	return first
}

// signUp makes the given first sign-in, which must have a token. It returns the user with the new
// link, token and session.
func signUp(t *testing.T, store auth.AccountStore, signIn auth.GitHubSignInWrite) linked {
	t.Helper()
	signIn = asKept(store, signIn)
	session, user, err := store.SignInGitHub(t.Context(), byHost(now), signIn)
	require.NoError(t, err)
	return linked{user, signIn.Link, *signIn.Token, session}
}

// nextSignIn returns a later sign-in of the same user, with a new token.
func (l linked) nextSignIn() auth.GitHubSignInWrite {
	link := newLink(l.user, l.link.Account)
	link.CreatedAt, link.SeenAt = refusedAt, refusedAt
	session := newGitHubSession(l.user)
	session.CreatedAt = refusedAt
	return auth.GitHubSignInWrite{Link: link, Token: new(newToken(link)),
		TokenVersion: l.token.Version, Session: session}
}

// connection is a stored link and its token. Token is nil if the link has no token.
type connection struct {
	Link  auth.GitHubLink
	Token *auth.GitHubToken
}

// newConnect returns a call that connects the account to the user of the session. That user must
// not have a token for the GitHub host of the account.
func newConnect(session auth.Session, account auth.GitHubAccount) connecting {
	link := newLink(auth.User{ID: session.UserID}, account)
	return connecting{bySession(session, session.CreatedAt),
		auth.GitHubConnectWrite{Link: link, Token: newToken(link)}}
}

// connect makes the call and returns the stored connection.
func connect(t *testing.T, store auth.AccountStore, connect connecting) connection {
	t.Helper()
	require.NoError(t, connect.call(t.Context(), store))
	return connection{Link: connect.Link, Token: &connect.Token}
}

// connectElsewhere connects the user to a second account, on another GitHub host.
func (l linked) connectElsewhere(t *testing.T, store auth.AccountStore) connection {
	t.Helper()
	account := newGitHubAccount()
	account.Host = "github.example.com"
	return connect(t, store, newConnect(l.session, account))
}

func (l linked) connection() connection {
	return connection{Link: l.link, Token: &l.token}
}

// requireUnchanged fails the test unless all records of the user are unchanged.
func (l linked) requireUnchanged(t *testing.T, store auth.AccountStore) {
	t.Helper()
	requireUser(t, store, l.user)
	requireConnection(t, store, l.connection())
	requireSession(t, store, l.session)
}

// requireDisconnected fails the test unless the user's token was deleted and all other records of
// the user are unchanged.
func (l linked) requireDisconnected(t *testing.T, store auth.AccountStore) {
	t.Helper()
	requireUser(t, store, l.user)
	requireConnection(t, store, connection{Link: l.link})
	requireSession(t, store, l.session)
}

// requireUnlinked fails the test unless the link and its token are gone.
func (l linked) requireUnlinked(t *testing.T, store auth.AccountStore) {
	t.Helper()
	requireNoLink(t, store, l.link.Account)
	requireNoConnection(t, store, l.user.ID, l.link.Account.Host)
}

func requireConnection(t *testing.T, store auth.AccountStore, want connection) {
	t.Helper()
	require.Equal(t, want, findConnection(t, store, want.Link.UserID, want.Link.Account.Host))
	link, err := store.FindGitHubLink(t.Context(), want.Link.Account)
	require.NoError(t, err)
	require.Equal(t, want.Link, link)
}

func findConnection(t *testing.T, store auth.AccountStore, userID, host string) connection {
	t.Helper()
	link, token, err := store.FindGitHubConnection(t.Context(), userID, host)
	require.NoError(t, err)
	return connection{link, token}
}

func requireNoLink(t *testing.T, store auth.AccountStore, account auth.GitHubAccount) {
	t.Helper()
	_, err := store.FindGitHubLink(t.Context(), account)
	require.ErrorIs(t, err, auth.ErrNotFound, "a link of %v exists", account)
}

func requireNoConnection(t *testing.T, store auth.AccountStore, userID, host string) {
	t.Helper()
	_, _, err := store.FindGitHubConnection(t.Context(), userID, host)
	require.ErrorIs(t, err, auth.ErrNotFound, "user %q has a link to %q", userID, host)
}

// hasConnection reports whether the user has a link to the GitHub host and a token for that host.
// It fails the test if the store returns an error other than ErrNotFound.
func hasConnection(t *testing.T, store auth.AccountStore, userID, host string) (link, token bool) {
	t.Helper()
	_, found, err := store.FindGitHubConnection(t.Context(), userID, host)
	return wasFound(t, err), found != nil
}
