package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// verb describes a lasting change that the suite makes with the authority of a session, by calling
// a method of the store.
type verb struct {
	name    string
	admin   bool // the session needs the authority of a super user
	users   bool // only a store that keeps users has this method
	prepare func(t *testing.T, store auth.AccountStore, actor account) attempt
}

// attempt is one call of a verb. If the session has the authority that the verb needs, the call
// must succeed.
type attempt struct {
	call func(ctx context.Context, w auth.Write) error

	// The call can change the records of the users with these IDs, and the records of these GitHub
	// accounts.
	changes  []string
	accounts []auth.GitHubAccount

	// exists reports whether the record that the call changes still exists. exists is nil if no
	// [ending] removes that record.
	exists func(t *testing.T) bool
}

// write returns the write for a call of the verb with the given session.
func (v verb) write(session auth.Session, at time.Time) auth.Write {
	if v.admin {
		return bySuperUser(session, at)
	}
	return bySession(session, at)
}

// verbsOf returns the verbs that are methods of the store.
func verbsOf(store auth.AccountStore) []verb {
	var all []verb
	for _, v := range verbs {
		if usersOf(store) != nil || !v.users {
			all = append(all, v)
		}
	}
	return all
}

// newActor registers two active super users, so that neither is the last super user. It opens a
// session for one of them, with a key, and returns this user as the actor.
func newActor(t *testing.T, store auth.AccountStore) account {
	t.Helper()
	if users := usersOf(store); users != nil {
		register(t, store, newSuperUser())
	}
	return newAccountOf(t, store, newSuperUser())
}

// verbs contains all methods with a Write, except those that are never called with a session.
var verbs = []verb{
	{name: "AddKey", prepare: prepareAddKey},
	{name: "AddKey for another user", admin: true, prepare: ofAnother(prepareAddKey)},
	{name: "RotateKey", prepare: prepareRotateKey},
	{name: "RotateKey of another user", admin: true, prepare: ofAnother(prepareRotateKey)},
	{name: "RevokeKey", prepare: prepareRevokeKey},
	{name: "RevokeKey of another user", admin: true, prepare: ofAnother(prepareRevokeKey)},
	{name: "SetKeyScopes", prepare: prepareSetKeyScopes},
	{name: "SetKeyScopes of another user", admin: true, prepare: ofAnother(prepareSetKeyScopes)},
	{name: "RevokeSession", prepare: prepareRevokeSession},
	{name: "RevokeSession of another user", admin: true, prepare: ofAnother(prepareRevokeSession)},
	{name: "RevokeUserSessions", prepare: prepareRevokeUserSessions},
	{name: "RevokeUserSessions of another user", admin: true,
		prepare: ofAnother(prepareRevokeUserSessions)},
	{name: "ConnectGitHub", prepare: prepareConnectGitHub},
	{name: "UnlinkGitHub", prepare: prepareUnlinkGitHub},
	{name: "UnlinkGitHub of another user", admin: true, prepare: ofAnother(prepareUnlinkGitHub)},
	{name: "DeleteGitHubToken", prepare: prepareDeleteGitHubToken},
	{name: "DeleteGitHubToken of another user", admin: true,
		prepare: ofAnother(prepareDeleteGitHubToken)},
	{name: "RevokeEverybody", admin: true, prepare: prepareRevokeEverybody},
	{name: "ForgetGitHubAccount", admin: true, prepare: prepareForgetGitHubAccount},
	{name: "Register", admin: true, users: true, prepare: prepareRegister},
	{name: "RegisterUsers", admin: true, users: true, prepare: prepareRegisterUsers},
	{name: "UpdateUser that promotes", admin: true, users: true, prepare: prepareUpdateUser(promote)},
	{name: "UpdateUser that disables", admin: true, users: true, prepare: prepareUpdateUser(disable)},
	{name: "UpdateUser that renames", admin: true, users: true, prepare: renaming(newUser, toNewUsername)},
	{name: "ResetUser", admin: true, users: true, prepare: prepareResetUser},
	{name: "DeleteUser", admin: true, users: true, prepare: prepareDeleteUser},
}

// ofAnother returns a function that calls the given function with a new account instead of the
// actor. The prepared attempt then changes records of a user other than the actor.
func ofAnother(
	prepare func(*testing.T, auth.AccountStore, account) attempt,
) func(*testing.T, auth.AccountStore, account) attempt {
	return func(t *testing.T, store auth.AccountStore, _ account) attempt {
		return prepare(t, store, newAccount(t, store))
	}
}

func prepareAddKey(_ *testing.T, store auth.AccountStore, a account) attempt {
	return attempt{
		call: func(ctx context.Context, w auth.Write) error {
			return store.AddKey(ctx, w, newKey(a.user))
		},
		changes: []string{a.user.ID},
	}
}

// ofNewKey adds another key to the user, and returns a call that changes this key.
func ofNewKey(
	t *testing.T, store auth.AccountStore, a account, call func(ctx context.Context, w auth.Write,
		id string) error,
) attempt {
	t.Helper()
	key := addKey(t, store, a.user, time.Time{})
	return attempt{
		call:    func(ctx context.Context, w auth.Write) error { return call(ctx, w, key.ID) },
		changes: []string{a.user.ID},
		exists:  func(t *testing.T) bool { return hasKey(t, store, key.ID) },
	}
}

func prepareRotateKey(t *testing.T, store auth.AccountStore, a account) attempt {
	return ofNewKey(t, store, a, func(ctx context.Context, w auth.Write, id string) error {
		_, err := store.RotateKey(ctx, w, id, rotation(unique("hash")))
		return err
	})
}

func prepareRevokeKey(t *testing.T, store auth.AccountStore, a account) attempt {
	return ofNewKey(t, store, a, store.RevokeKey)
}

func prepareSetKeyScopes(t *testing.T, store auth.AccountStore, a account) attempt {
	return ofNewKey(t, store, a, func(ctx context.Context, w auth.Write, id string) error {
		_, err := store.SetKeyScopes(ctx, w, id, auth.NewScopes("a"))
		return err
	})
}

func prepareRevokeSession(t *testing.T, store auth.AccountStore, a account) attempt {
	session := openSession(t, store, newHostSession(a.user))
	return attempt{
		call: func(ctx context.Context, w auth.Write) error {
			return store.RevokeSession(ctx, w, session.ID)
		},
		changes: []string{a.user.ID},
		exists:  func(t *testing.T) bool { return hasSession(t, store, session.ID) },
	}
}

func prepareRevokeUserSessions(_ *testing.T, store auth.AccountStore, a account) attempt {
	return attempt{
		call: func(ctx context.Context, w auth.Write) error {
			_, err := store.RevokeUserSessions(ctx, w, a.user.ID)
			return err
		},
		changes: []string{a.user.ID},
	}
}

func prepareRevokeEverybody(_ *testing.T, store auth.AccountStore, _ account) attempt {
	return attempt{call: func(ctx context.Context, w auth.Write) error {
		return store.RevokeEverybody(ctx, w, 0)
	}}
}

// newConnectAnywhere returns a call that connects an account of a new GitHub host.
func newConnectAnywhere(session auth.Session) connecting {
	account := newGitHubAccount()
	account.Host = unique("host")
	return newConnect(session, account)
}

func prepareConnectGitHub(_ *testing.T, store auth.AccountStore, a account) attempt {
	connect := newConnectAnywhere(a.session)
	return attempt{
		call: func(ctx context.Context, w auth.Write) error {
			return store.ConnectGitHub(ctx, w, connect.GitHubConnectWrite)
		},
		changes:  []string{a.user.ID},
		accounts: []auth.GitHubAccount{connect.Link.Account},
	}
}

// ofNewLink adds another link to the user, and returns a call that changes this link.
func ofNewLink(
	t *testing.T, store auth.AccountStore, a account, call func(ctx context.Context, w auth.Write,
		link auth.GitHubLink) error,
) attempt {
	t.Helper()
	have := connect(t, store, newConnectAnywhere(a.session))
	return attempt{
		call:     func(ctx context.Context, w auth.Write) error { return call(ctx, w, have.Link) },
		changes:  []string{a.user.ID},
		accounts: []auth.GitHubAccount{have.Link.Account},
		exists:   func(t *testing.T) bool { return hasLink(t, store, have.Link.Account) },
	}
}

func prepareUnlinkGitHub(t *testing.T, store auth.AccountStore, a account) attempt {
	addKey(t, store, a.user, time.Time{}) // so that the link is not the last way to sign in
	return ofNewLink(t, store, a, func(ctx context.Context, w auth.Write, link auth.GitHubLink) error {
		_, _, err := store.UnlinkGitHub(ctx, w, link.UserID, link.Account.Host)
		return err
	})
}

func prepareDeleteGitHubToken(t *testing.T, store auth.AccountStore, a account) attempt {
	return ofNewLink(t, store, a, func(ctx context.Context, w auth.Write, link auth.GitHubLink) error {
		_, err := store.DeleteGitHubToken(ctx, w, link.UserID, link.Account.Host, "")
		return err
	})
}

// prepareForgetGitHubAccount returns a call that forgets an account which another user has
// unlinked.
func prepareForgetGitHubAccount(t *testing.T, store auth.AccountStore, _ account) attempt {
	a := newUnlinkable(t, store)
	_, err := unlink(t, store, a)
	require.NoError(t, err)
	return attempt{
		call: func(ctx context.Context, w auth.Write) error {
			return store.ForgetGitHubAccount(ctx, w, a.link.Account)
		},
		changes:  []string{a.user.ID},
		accounts: []auth.GitHubAccount{a.link.Account},
	}
}

func prepareRegister(_ *testing.T, store auth.AccountStore, _ account) attempt {
	user := newUser()
	return attempt{
		call: func(ctx context.Context, w auth.Write) error {
			return usersOf(store).Register(ctx, w, user, newKey(user))
		},
		changes: []string{user.ID},
	}
}

func prepareRegisterUsers(_ *testing.T, store auth.AccountStore, _ account) attempt {
	user := newUser()
	return attempt{
		call: func(ctx context.Context, w auth.Write) error {
			_, err := usersOf(store).RegisterUsers(ctx, w,
				[]auth.UserWithKeys{{User: user, Keys: []auth.AccessKey{newKey(user)}}})
			return err
		},
		changes: []string{user.ID},
	}
}

func prepareUpdateUser(change auth.UserChange) func(*testing.T, auth.AccountStore, account) attempt {
	return func(t *testing.T, store auth.AccountStore, _ account) attempt {
		a := newAccount(t, store)
		return attempt{
			call: func(ctx context.Context, w auth.Write) error {
				_, err := usersOf(store).UpdateUser(ctx, w, a.user.ID, change)
				return err
			},
			changes: []string{a.user.ID},
		}
	}
}

func prepareResetUser(t *testing.T, store auth.AccountStore, _ account) attempt {
	a := newLinked(t, store)
	return attempt{
		call: func(ctx context.Context, w auth.Write) error {
			_, _, err := usersOf(store).ResetUser(ctx, w, a.user.ID, auth.UserChange{}, newKey(a.user))
			return err
		},
		changes:  []string{a.user.ID},
		accounts: []auth.GitHubAccount{a.link.Account},
	}
}

func prepareDeleteUser(t *testing.T, store auth.AccountStore, _ account) attempt {
	a := newLinked(t, store)
	return attempt{
		call: func(ctx context.Context, w auth.Write) error {
			_, err := usersOf(store).DeleteUser(ctx, w, a.user.ID)
			return err
		},
		changes:  []string{a.user.ID},
		accounts: []auth.GitHubAccount{a.link.Account},
	}
}
