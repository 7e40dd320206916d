package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var githubUnlinkPromises = []promise[auth.AccountStore]{
	{"unlinking removes the link, the token and the sessions that GitHub opened, and nothing else", unlinked},
	{"a link without a token can be unlinked", unlinkedWithoutToken},
	{"a link to another host counts as a way to sign in", otherLinkIsWayIn},
	{"an account that is not linked cannot be unlinked", unlinkUnknown},
}

var githubUnlinkPromisesOfUsers = []promise[auth.Store]{
	{"a user who has unlinked an account may connect another", unlinkedConnectsAnother},
	{"a user without a valid key keeps the last link", lastWayInStays},
	{"any valid key counts as a way to sign in", goodKeyIsWayIn},
	{"a reset user has no link and no token", resetUnlinks},
	{"a reset leaves the links of others unchanged", resetSparesLinks},
	{"a reset that fails leaves the link and the token", failedResetKeepsLink},
}

func unlink(t *testing.T, store auth.AccountStore, l linked) (connection, error) {
	t.Helper()
	link, token, err := store.UnlinkGitHub(t.Context(), byHost(now), l.user.ID, l.link.Account.Host)
	return connection{link, token}, err
}

func unlinked(t *testing.T, store auth.AccountStore) {
	a, other := newLinked(t, store), newLinked(t, store)
	key := addKey(t, store, a.user, time.Time{})
	ofKey := openSession(t, store, newSession(key))
	elsewhere := a.connectElsewhere(t, store)
	removed, err := unlink(t, store, a)
	require.NoError(t, err)
	require.Equal(t, a.connection(), removed)

	a.requireUnlinked(t, store)
	requireNoToken(t, store, a.token)
	require.ErrorIs(t, deleteToken(t, store, a.token), auth.ErrNotFound)
	_, err = unlink(t, store, a)
	require.ErrorIs(t, err, auth.ErrNotFound)

	requireUser(t, store, a.user)
	requireKey(t, store, usedAt(key, now))
	requireSession(t, store, ofKey)
	requireNoSession(t, store, a.session.ID)
	requireConnection(t, store, elsewhere)
	other.requireUnchanged(t, store)
}

func unlinkedWithoutToken(t *testing.T, store auth.AccountStore) {
	a := newLinked(t, store)
	addKey(t, store, a.user, time.Time{})
	require.NoError(t, deleteToken(t, store, a.token))
	removed, err := unlink(t, store, a)
	require.NoError(t, err)
	require.Equal(t, connection{Link: a.link}, removed)
	a.requireUnlinked(t, store)
}

func unlinkedConnectsAnother(t *testing.T, store auth.Store) {
	a := newLinked(t, store)
	keyed := signIn(t, store, a.user)
	_, err := unlink(t, store, a)
	require.NoError(t, err)
	requireConnection(t, store, connect(t, store, newConnect(keyed.session, newGitHubAccount())))
	a.user = keyed.user
	requireUser(t, store, a.user)
}

func lastWayInStays(t *testing.T, store auth.Store) {
	a, other := newLinked(t, store), newLinked(t, store)
	addKey(t, store, other.user, time.Time{})
	requireLast := func() {
		t.Helper()
		for _, at := range []time.Time{now, now.Add(999), now.In(time.FixedZone("east", 3600))} {
			link, token, err := store.UnlinkGitHub(t.Context(), byHost(at), a.user.ID, githubHost)
			require.ErrorIs(t, err, auth.ErrLastWayIn)
			require.Zero(t, link)
			require.Nil(t, token)
			requireConnection(t, store, a.connection())
		}
	}
	requireLast()
	for _, expires := range expiredNow {
		addKey(t, store, a.user, expires)
		requireLast()
	}
	a.requireUnchanged(t, store)
	update(t, store, a.user.ID, disable)
	requireLast()
	update(t, store, a.user.ID, enable)
	require.NoError(t, deleteToken(t, store, a.token))
	_, err := unlink(t, store, a)
	require.ErrorIs(t, err, auth.ErrLastWayIn)
	requireConnection(t, store, connection{Link: a.link})
}

func goodKeyIsWayIn(t *testing.T, store auth.Store) {
	for _, expires := range append([]time.Time{{}}, unexpiredNow...) {
		for _, change := range []auth.UserChange{{}, disable} {
			a := newLinked(t, store)
			addKey(t, store, a.user, now)
			addKey(t, store, a.user, expires)
			update(t, store, a.user.ID, change)
			_, err := unlink(t, store, a)
			require.NoError(t, err)
			a.requireUnlinked(t, store)
		}
	}
}

func otherLinkIsWayIn(t *testing.T, store auth.AccountStore) {
	a := newLinked(t, store)
	elsewhere := a.connectElsewhere(t, store)
	_, err := unlink(t, store, a)
	require.NoError(t, err)
	a.requireUnlinked(t, store)

	_, err = unlink(t, store, linked{user: a.user, link: elsewhere.Link})
	require.ErrorIs(t, err, auth.ErrLastWayIn)
	requireConnection(t, store, elsewhere)
}

func unlinkUnknown(t *testing.T, store auth.AccountStore) {
	a, keyed := newLinked(t, store), newAccount(t, store)
	for name, l := range map[string]linked{
		"no such user":  {user: newUser(), link: a.link},
		"no link":       {user: keyed.user, link: a.link},
		"no link there": {user: a.user, link: newLink(a.user, auth.GitHubAccount{Host: "elsewhere", ID: a.link.Account.ID})},
	} {
		_, err := unlink(t, store, l)
		require.ErrorIs(t, err, auth.ErrNotFound, name)
	}
	a.requireUnchanged(t, store)
	keyed.requireUnchanged(t, store)
}

func resetUnlinks(t *testing.T, store auth.Store) {
	for _, change := range []auth.UserChange{{}, disable, enable} {
		a := newLinked(t, store)
		elsewhere := a.connectElsewhere(t, store)
		_, _, err := store.ResetUser(t.Context(), byHost(now), a.user.ID, change, newKey(a.user))
		require.NoError(t, err)

		there := linked{user: a.user, link: elsewhere.Link, token: *elsewhere.Token}
		for _, l := range []linked{a, there} {
			l.requireUnlinked(t, store)
			requireNoToken(t, store, l.token)
			requireRefused(t, store, l.nextSignIn(), []error{auth.ErrGitHubNotAllowed})
			l.requireUnlinked(t, store)
		}
		requireNoSession(t, store, a.session.ID)
	}
}

func resetSparesLinks(t *testing.T, store auth.Store) {
	a, other := newLinked(t, store), newLinked(t, store)
	_, _, err := store.ResetUser(t.Context(), byHost(now), a.user.ID, disable, newKey(a.user))
	require.NoError(t, err)
	other.requireUnchanged(t, store)
}

func failedResetKeepsLink(t *testing.T, store auth.Store) {
	a, other := newLinked(t, store), newAccount(t, store)
	key := newKey(a.user)
	key.ID = other.key.ID
	_, _, err := store.ResetUser(t.Context(), byHost(now), a.user.ID, disable, key)
	require.ErrorIs(t, err, auth.ErrExists)
	a.requireUnchanged(t, store)
	_, _, err = store.ResetUser(t.Context(), byHost(now), a.user.ID, disable, newKey(other.user))
	require.ErrorIs(t, err, auth.ErrInvalid)
	a.requireUnchanged(t, store)
}
