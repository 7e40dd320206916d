package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var githubConnectPromises = []promise[auth.AccountStore]{
	{"connecting stores the link and the token", connectStoresBoth},
	{"connecting again replaces the link and the token", connectedAgain},
	{"any session can connect until its last microsecond", anySessionConnects},
	{"a refused connection changes nothing", refusedConnect},
	{"a revoked session cannot connect", endedSessionConnects},
}

var githubConnectPromisesOfUsers = []promise[auth.Store]{
	{"a disabled user cannot connect", disabledConnect},
	{"a reset user cannot connect with an old session", resetConnect},
}

func connectStoresBoth(t *testing.T, store auth.AccountStore) {
	a, other := newAccount(t, store), newLinked(t, store)
	have := connect(t, store, newConnect(a.session, newGitHubAccount()))
	requireConnection(t, store, have)
	a.requireUnchanged(t, store)
	other.requireUnchanged(t, store)

	l := linked{user: a.user, link: have.Link, token: *have.Token}
	_, user, err := store.SignInGitHub(t.Context(), byHost(now), l.nextSignIn())
	require.NoError(t, err)
	require.Equal(t, a.user.ID, user.ID)
}

func connectedAgain(t *testing.T, store auth.AccountStore) {
	a := newLinked(t, store)
	for range 3 {
		again := newConnect(a.session, a.link.Account)
		again.Link.CreatedAt, again.Link.SeenAt = refusedAt, refusedAt
		again.TokenVersion = a.token.Version
		connect(t, store, again)

		again.Link.CreatedAt = a.link.CreatedAt
		a.link, a.token = again.Link, again.Token
		a.requireUnchanged(t, store)
	}
	_, err := store.DeleteGitHubToken(t.Context(), byHost(now), a.user.ID, githubHost, "")
	require.NoError(t, err)
	again := newConnect(a.session, a.link.Account)
	connect(t, store, again) // writes the first token once more
	again.Link.CreatedAt = a.link.CreatedAt
	a.link, a.token = again.Link, again.Token
	a.requireUnchanged(t, store)
}

func anySessionConnects(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for _, session := range []auth.Session{newSession(a.key), newHostSession(a.user),
		newGitHubSession(a.user)} {
		session = openSession(t, store, session)
		account := newGitHubAccount()
		account.Host = unique("host")
		last := newConnect(session, account)
		last.write = bySession(session, session.ExpiresAt.Add(-time.Microsecond))
		requireConnection(t, store, connect(t, store, last))
	}
}

var connectRefusals = []struct {
	name string
	want []error
	edit func(c *connecting, taken linked)
}{
	{"the session is unknown", []error{auth.ErrTokenRejected},
		func(c *connecting, _ linked) { c.write.By.SessionID = unique("none") }},
	{"the session is none", []error{auth.ErrInvalid},
		func(c *connecting, _ linked) { c.write.By.SessionID = "" }},
	{"the session is impossible", []error{auth.ErrInvalid},
		func(c *connecting, _ linked) { c.write.By.SessionID += "\x00" }},
	{"the session is another user's", []error{auth.ErrTokenRejected},
		func(c *connecting, taken linked) { c.write.By.SessionID = taken.session.ID }},
	{"the session and its user are another's", []error{auth.ErrNotFound},
		func(c *connecting, taken linked) { c.write = bySession(taken.session, now) }},
	{"the session has expired", []error{auth.ErrTokenRejected},
		func(c *connecting, _ linked) { c.write = writeBy(c.write.By, now.Add(2*time.Hour)) }},
	{"the session expires at the time", []error{auth.ErrTokenRejected},
		func(c *connecting, _ linked) { c.write = writeBy(c.write.By, now.Add(time.Hour)) }},
	{"there is no such user", []error{auth.ErrNotFound},
		func(c *connecting, _ linked) { c.Link.UserID, c.Token.UserID = "nobody", "nobody" }},
	{"the account is another user's", []error{auth.ErrExists},
		func(c *connecting, taken linked) {
			c.Link.Account, c.Token.Account = taken.link.Account, taken.link.Account
		}},
	{"the token is not there", []error{auth.ErrChanged},
		func(c *connecting, _ linked) { c.TokenVersion += "x" }},
	{"the token is another user's", []error{auth.ErrInvalid},
		func(c *connecting, taken linked) { c.Token.UserID = taken.user.ID }},
	{"the link is another user's", []error{auth.ErrInvalid},
		func(c *connecting, taken linked) { c.Link.UserID = taken.user.ID }},
	{"the token is another account's", []error{auth.ErrInvalid},
		func(c *connecting, _ linked) { c.Token.Account = newGitHubAccount() }},
	{"the token is of another host", []error{auth.ErrInvalid},
		func(c *connecting, _ linked) { c.Token.Account.Host = "github.example.com" }},
	{"a record cannot be kept, and there is no session", []error{auth.ErrInvalid},
		func(c *connecting, _ linked) { c.Token.Sealed, c.write.By.SessionID = nil, "" }},
}

// connectRefusalsOfLinked contains connections that the store must refuse for a linked user.
var connectRefusalsOfLinked = []struct {
	name string
	want []error
	edit func(c *connecting)
}{
	{"the user is linked to another account", []error{auth.ErrExists},
		func(c *connecting) {
			c.Link.Account = newGitHubAccount()
			c.Token.Account = c.Link.Account
		}},
	{"there is a token already", []error{auth.ErrChanged},
		func(c *connecting) { c.TokenVersion = "" }},
	{"the token has another version", []error{auth.ErrChanged},
		func(c *connecting) { c.TokenVersion = unique("version") }},
}

func refusedConnect(t *testing.T, store auth.AccountStore) {
	for _, test := range connectRefusals {
		t.Run(test.name, func(t *testing.T) {
			own, taken := newAccount(t, store), newLinked(t, store)
			refused := newConnect(own.session, newGitHubAccount())
			free := refused
			test.edit(&refused, taken)
			requireOneOf(t, refused.call(t.Context(), store), test.want...)
			own.requireUnchanged(t, store)
			taken.requireUnchanged(t, store)
			requireNoConnection(t, store, own.user.ID, githubHost)
			requireNoLink(t, store, free.Link.Account)
			requireConnection(t, store, connect(t, store, free))
		})
	}
	for _, test := range connectRefusalsOfLinked {
		t.Run(test.name, func(t *testing.T) {
			own := newLinked(t, store)
			refused := newConnect(own.session, own.link.Account)
			refused.TokenVersion = own.token.Version
			test.edit(&refused)
			requireOneOf(t, refused.call(t.Context(), store), test.want...)
			own.requireUnchanged(t, store)
			if refused.Link.Account != own.link.Account {
				requireNoLink(t, store, refused.Link.Account)
			}
		})
	}
}

func disabledConnect(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	update(t, store, a.user.ID, disable)
	refused := newConnect(a.session, newGitHubAccount())
	require.ErrorIs(t, refused.call(t.Context(), store), auth.ErrTokenRejected)
	requireNoLink(t, store, refused.Link.Account)

	update(t, store, a.user.ID, enable)
	require.ErrorIs(t, refused.call(t.Context(), store), auth.ErrTokenRejected)
	requireNoLink(t, store, refused.Link.Account)
	requireNoConnection(t, store, a.user.ID, githubHost)
}

func endedSessionConnects(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	require.NoError(t, store.RevokeSession(t.Context(), byHost(now), a.session.ID))
	refused := newConnect(a.session, newGitHubAccount())
	require.ErrorIs(t, refused.call(t.Context(), store), auth.ErrTokenRejected)
	requireNoLink(t, store, refused.Link.Account)
	requireNoConnection(t, store, a.user.ID, githubHost)
}

func resetConnect(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	_, _, err := store.ResetUser(t.Context(), byHost(now), a.user.ID, auth.UserChange{}, newKey(a.user))
	require.NoError(t, err)
	refused := newConnect(a.session, newGitHubAccount())
	require.ErrorIs(t, refused.call(t.Context(), store), auth.ErrTokenRejected)
	requireNoLink(t, store, refused.Link.Account)
}
