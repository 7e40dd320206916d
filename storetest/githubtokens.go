package storetest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var githubTokenPromises = []promise[auth.AccountStore]{
	{"replacing a token changes nothing else", tokenReplaced},
	{"a token of another version is neither replaced nor deleted", tokenOfAnotherVersion},
	{"a token of another account does not replace one", tokenOfAnotherAccount},
	{"a token is deleted once, and returned", tokenDeleted},
	{"a user whose token was deleted signs in as the same user", signInAfterDisconnect},
	{"a replaced version is not found again", versionNotRevived},
	{"tokens of different hosts are separate", tokenElsewhere},
	{"a link without a token is not found", noToken},
	{"a store keeps copies of sealed bytes", sealedCopied},
}

// tokenVerbs contains the methods that find a token by its Version.
var tokenVerbs = map[string]func(t *testing.T, store auth.AccountStore, token auth.GitHubToken) error{
	"lease": func(t *testing.T, store auth.AccountStore, token auth.GitHubToken) error {
		leased, err := lease(t, store, token, now)
		require.Equal(t, err == nil, leased)
		return err
	},
	"replace": func(t *testing.T, store auth.AccountStore, token auth.GitHubToken) error {
		fresh := token
		fresh.Version = unique("fresh")
		return store.ReplaceGitHubToken(t.Context(), fresh, token.Version)
	},
	"delete": func(t *testing.T, store auth.AccountStore, token auth.GitHubToken) error {
		_, err := store.DeleteGitHubToken(t.Context(), byHost(now), token.UserID,
			token.Account.Host, token.Version)
		return err
	},
}

// requireNoToken fails the test if one of the tokenVerbs finds a token of this Version.
func requireNoToken(t *testing.T, store auth.AccountStore, token auth.GitHubToken) {
	t.Helper()
	for name, verb := range tokenVerbs {
		require.ErrorIs(t, verb(t, store, token), auth.ErrNotFound, name)
	}
}

// deleteToken deletes the user's token of any Version.
func deleteToken(t *testing.T, store auth.AccountStore, token auth.GitHubToken) error {
	t.Helper()
	_, err := store.DeleteGitHubToken(t.Context(), byHost(now), token.UserID, token.Account.Host, "")
	return err
}

func tokenReplaced(t *testing.T, store auth.AccountStore) {
	a, other := newLinked(t, store), newLinked(t, store)
	for range 3 {
		old, fresh := a.token, newToken(a.link)
		fresh.Scopes, fresh.UpdatedAt = "", refusedAt
		require.NoError(t, store.ReplaceGitHubToken(t.Context(), fresh, old.Version))
		a.token = fresh
		a.requireUnchanged(t, store)
		requireNoToken(t, store, old)
	}
	a.requireUnchanged(t, store)
	other.requireUnchanged(t, store)
}

func tokenOfAnotherVersion(t *testing.T, store auth.AccountStore) {
	a, other := newLinked(t, store), newLinked(t, store)
	unversioned := a.token // an empty version deletes a token, but leases and replaces none
	unversioned.Version = ""
	for _, name := range []string{"lease", "replace"} {
		require.ErrorIs(t, tokenVerbs[name](t, store, unversioned), auth.ErrNotFound, name)
		a.requireUnchanged(t, store)
	}
	for _, version := range []string{
		"%", unique("version"), other.token.Version, a.token.Version + " ", a.token.Version + "\x00",
		strings.ToLower(a.token.Version), strings.ToUpper(a.token.Version),
	} {
		wrong := a.token
		wrong.Version = version
		requireNoToken(t, store, wrong)
		a.requireUnchanged(t, store)
	}
}

func tokenOfAnotherAccount(t *testing.T, store auth.AccountStore) {
	a, other := newLinked(t, store), newLinked(t, store)
	for _, account := range []auth.GitHubAccount{newGitHubAccount(), other.link.Account} {
		fresh := newToken(a.link)
		fresh.Account = account
		err := store.ReplaceGitHubToken(t.Context(), fresh, a.token.Version)
		require.ErrorIs(t, err, auth.ErrNotFound)
		a.requireUnchanged(t, store)
		other.requireUnchanged(t, store)
	}
}

func tokenDeleted(t *testing.T, store auth.AccountStore) {
	for name, version := range map[string]func(auth.GitHubToken) string{
		"any version": func(auth.GitHubToken) string { return "" },
		"its version": func(token auth.GitHubToken) string { return token.Version },
	} {
		t.Run(name, func(t *testing.T) {
			a, other := newLinked(t, store), newLinked(t, store)
			deleted, err := store.DeleteGitHubToken(t.Context(), byHost(now), a.user.ID, githubHost,
				version(a.token))
			require.NoError(t, err)
			require.Equal(t, a.token, deleted)
			a.requireDisconnected(t, store)
			require.ErrorIs(t, deleteToken(t, store, a.token), auth.ErrNotFound)
			requireNoToken(t, store, a.token)
			a.requireDisconnected(t, store)
			other.requireUnchanged(t, store)
		})
	}
}

func signInAfterDisconnect(t *testing.T, store auth.AccountStore) {
	a := newLinked(t, store)
	require.NoError(t, deleteToken(t, store, a.token))
	signIn := a.nextSignIn()
	requireRefused(t, store, signIn, []error{auth.ErrChanged}) // the sign-in has the old version
	a.requireDisconnected(t, store)

	signIn.TokenVersion = ""
	_, user, err := store.SignInGitHub(t.Context(), byHost(now), signIn)
	require.NoError(t, err)
	require.Equal(t, a.user.ID, user.ID)
	signIn.Link.CreatedAt = a.link.CreatedAt
	requireConnection(t, store, connection{Link: signIn.Link, Token: signIn.Token})
}

func versionNotRevived(t *testing.T, store auth.AccountStore) {
	a := newLinked(t, store)
	old := a.token
	require.NoError(t, deleteToken(t, store, old))
	again := newConnect(a.session, a.link.Account)
	connect(t, store, again)
	again.Link.CreatedAt = a.link.CreatedAt
	a.link, a.token = again.Link, again.Token

	requireNoToken(t, store, old)
	signIn := a.nextSignIn()
	signIn.TokenVersion = old.Version
	requireRefused(t, store, signIn, []error{auth.ErrChanged})
	late := newConnect(a.session, a.link.Account)
	late.TokenVersion = old.Version
	require.ErrorIs(t, late.call(t.Context(), store), auth.ErrChanged)
	a.requireUnchanged(t, store)
}

func tokenElsewhere(t *testing.T, store auth.AccountStore) {
	a := newLinked(t, store)
	elsewhere := a.connectElsewhere(t, store)
	wrong := a.token
	wrong.Account = elsewhere.Link.Account
	requireNoToken(t, store, wrong)
	requireConnection(t, store, elsewhere)

	require.NoError(t, deleteToken(t, store, *elsewhere.Token))
	elsewhere.Token = nil
	requireConnection(t, store, elsewhere)
	a.requireUnchanged(t, store)
}

func noToken(t *testing.T, store auth.AccountStore) {
	keyed, unlinked := newAccount(t, store), newLinked(t, store)
	addKey(t, store, unlinked.user, time.Time{})
	_, _, err := store.UnlinkGitHub(t.Context(), byHost(now), unlinked.user.ID, githubHost)
	require.NoError(t, err)
	elsewhere := newLinked(t, store).token
	elsewhere.Account.Host = "github.example.com"
	for name, token := range map[string]auth.GitHubToken{
		"no such user":   newToken(newLink(newUser(), newGitHubAccount())),
		"no link":        newToken(newLink(keyed.user, newGitHubAccount())),
		"a removed link": unlinked.token,
		"no link there":  elsewhere,
	} {
		t.Run(name, func(t *testing.T) {
			requireNoToken(t, store, token)
			require.ErrorIs(t, deleteToken(t, store, token), auth.ErrNotFound)
			requireNoConnection(t, store, token.UserID, token.Account.Host)
		})
	}
}

// sealedCopied overwrites each slice that it has passed to the store, and each slice that the store
// has returned. The stored token must not change.
func sealedCopied(t *testing.T, store auth.AccountStore) {
	a := newLinked(t, store)
	want := connection{Link: a.link, Token: new(newToken(a.link))}
	requireKept := func() {
		t.Helper()
		got := findConnection(t, store, a.user.ID, githubHost)
		require.Equal(t, want, got)
		clear(got.Token.Sealed)
		requireConnection(t, store, want)
	}
	own := func() *auth.GitHubToken { // returns the same token with a new slice
		token := *want.Token
		token.Sealed = []byte(string(token.Sealed))
		return &token
	}

	replaced := own()
	require.NoError(t, store.ReplaceGitHubToken(t.Context(), *replaced, a.token.Version))
	clear(replaced.Sealed)
	requireKept()

	require.NoError(t, deleteToken(t, store, *want.Token))
	again := connecting{bySession(a.session, now), auth.GitHubConnectWrite{Link: a.link, Token: *own()}}
	require.NoError(t, again.call(t.Context(), store))
	clear(again.Token.Sealed)
	requireKept()

	require.NoError(t, deleteToken(t, store, *want.Token))
	signIn := a.nextSignIn()
	signIn.Link, signIn.Token, signIn.TokenVersion = a.link, own(), ""
	_, _, err := store.SignInGitHub(t.Context(), byHost(now), signIn)
	require.NoError(t, err)
	clear(signIn.Token.Sealed)
	requireKept()
}
