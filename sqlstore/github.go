package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// FindGitHubLink implements [auth.GitHubStore].
func (s *core) FindGitHubLink(
	ctx context.Context, account auth.GitHubAccount,
) (auth.GitHubLink, error) {
	return read(ctx, s, "find GitHub link", func(ctx context.Context, q querier) (auth.GitHubLink, error) {
		return findLink(ctx, q, selectLink, account)
	})
}

// FindGitHubConnection implements [auth.GitHubStore].
func (s *core) FindGitHubConnection(
	ctx context.Context, userID, host string,
) (auth.GitHubLink, *auth.GitHubToken, error) {
	found, err := read(ctx, s, "find GitHub connection", func(
		ctx context.Context, q querier,
	) (connection, error) {
		return findConnection(ctx, q, userID, host)
	})
	return found.link, found.token, err
}

// connection is the link of a user to a GitHub account, with the user's token for the GitHub host.
// The field token is nil if there is no such token.
type connection struct {
	link  auth.GitHubLink
	token *auth.GitHubToken
}

// SignInGitHub implements [auth.GitHubStore].
func (s *core) SignInGitHub(
	ctx context.Context, w auth.Write, signIn auth.GitHubSignInWrite,
) (auth.Session, auth.User, error) {
	if err := cmp.Or(ctx.Err(), w.Validate(), signIn.Validate()); err != nil {
		return auth.Session{}, auth.User{}, err
	}
	if !s.keepsUsers() && signIn.NewUser != nil {
		return auth.Session{}, auth.User{},
			&auth.InvalidError{Field: "user_id",
				Reason: "must be the ID of an existing user of the host"}
	}
	var session auth.Session
	signInOnce := func() (user auth.User, err error) {
		return writeFor(ctx, s, "sign in with GitHub", func(ctx context.Context, t tx) (auth.User, error) {
			session = signIn.Session
			return signInGitHub(ctx, t, w, signIn, &session)
		})
	}
	user, err := signInOnce()
	if errors.Is(err, auth.ErrExists) {
		// The transaction may have found the e-mail address free before another user took it. In
		// this case, the second call of signInOnce leaves the e-mail address out. This holds for the address
		// of a new user, and for an address that the sign-in fills in. If the first call failed for another
		// reason, the second call returns the same error.
		user, err = signInOnce()
	}
	if err != nil {
		return auth.Session{}, auth.User{}, err
	}
	return session, user, nil
}

// signInGitHub adds the new user or locks the existing one, and opens the session. signInGitHub
// sets *session to the stored record.
func signInGitHub(
	ctx context.Context, t tx, w auth.Write, signIn auth.GitHubSignInWrite, session *auth.Session,
) (user auth.User, err error) {
	var linked locks
	if signIn.NewUser == nil {
		linked.users = []string{signIn.Link.UserID}
	}
	if err := w.By.CheckOwner(signIn.Link.UserID); err != nil {
		return user, err
	}
	a, err := hold(ctx, t, w, linked)
	if err != nil {
		return user, err
	}
	if err := a.check(ctx); err != nil {
		return user, err
	}
	state, err := holdAccount(ctx, t, signIn.Link, signIn.Token != nil)
	if err != nil {
		return user, err
	}
	state.UserIsService = a.users[signIn.Link.UserID].IsService
	if err := storekit.SignInGitHub(signIn, state, t.store.keepsUsers()); err != nil {
		return user, err
	}
	grants := signIn.GrantSuperUser && !state.GrantSpent && t.store.keepsUsers()
	isNew, promoted := state.LinkedTo == "", false
	var admitted time.Time
	if signIn.NewUser != nil {
		added := *signIn.NewUser
		added.IsSuperUser = added.IsSuperUser || grants
		user, err = addGitHubUser(ctx, t, added)
	} else {
		admitted = signIn.Link.SeenAt
		user, err = a.user(signIn.Link.UserID)
		promoted = grants && !user.IsSuperUser
	}
	if err == nil {
		err = checkActive(t, user)
	}
	if err != nil {
		return user, err
	}
	err = runInOrder(
		func() error {
			err := putLink(ctx, t, signIn.Link, isNew)
			if errors.Is(err, auth.ErrExists) {
				err = auth.ErrChanged
			}
			return err
		},
		func() error { return remember(ctx, t, signIn.Link, state, grants) },
		func() (err error) {
			if signIn.NewUser == nil && t.store.keepsUsers() {
				user, err = fillEmail(ctx, t, user, signIn.Email)
			}
			return err
		},
		func() error {
			if !promoted {
				return nil
			}
			user.IsSuperUser = true
			return t.change(ctx, promoteUser, user.ID)
		},
		func() error {
			if signIn.Token == nil {
				return nil
			}
			return putToken(ctx, t, *signIn.Token, signIn.TokenVersion)
		},
		func() error {
			if !isNew && !promoted {
				return nil
			}
			return a.addEvent(ctx, about{user.ID, signIn.Link.Account})
		},
		func() (err error) {
			user, err = addSession(ctx, t, session, signIn.SessionLimit, user, admitted)
			return err
		},
	)
	return user, err
}

const promoteUser = `UPDATE auth_users SET is_super_user = 1 WHERE id = ?`

// ConnectGitHub implements [auth.GitHubStore].
func (s *core) ConnectGitHub(ctx context.Context, w auth.Write, connect auth.GitHubConnectWrite) error {
	if err := cmp.Or(ctx.Err(), w.Validate(), connect.Validate()); err != nil {
		return err
	}
	link := connect.Link
	return s.write(ctx, "connect GitHub", func(ctx context.Context, t tx) error {
		a, err := holdOwner(ctx, t, w, link.UserID)
		if err != nil {
			return err
		}
		if err := a.grant(nil); err != nil {
			return err
		}
		state, err := holdAccount(ctx, t, link, true)
		if err != nil {
			return err
		}
		state.UserIsService = a.users[link.UserID].IsService
		if err := storekit.ConnectGitHub(connect, state); err != nil {
			return err
		}
		return runInOrder(
			func() error { return putLink(ctx, t, link, state.LinkedTo == "") },
			func() error { return remember(ctx, t, link, state, false) },
			func() error { return recordAdmission(ctx, t, link) },
			func() error { return putToken(ctx, t, connect.Token, connect.TokenVersion) },
			func() error { return a.addEvent(ctx, about{link.UserID, link.Account}) },
		)
	})
}

const (
	lockAccount = `
SELECT a.user_id, a.grant_spent FROM auth_github_accounts a WHERE a.host = ? AND a.account_id = ? FOR UPDATE`
	insertAccount = `
INSERT INTO auth_github_accounts (host, account_id, user_id, grant_spent, forgotten_at) VALUES (?, ?, '', 0, 0)`
	selectLinks = `
SELECT ` + linkColumns + ` FROM auth_github_links l WHERE l.host = ? AND l.account_id = ?
UNION ALL SELECT ` + linkColumns + ` FROM auth_github_links l WHERE l.user_id = ? AND l.host = ?`
)

// holdAccount locks the row of auth_github_accounts for the account of the link. If there is no
// such row, holdAccount inserts it. If withToken is true, holdAccount also locks the GitHub token
// of the link's user. holdAccount returns the state of the account and of the link's user.
//
// A transaction calls holdAccount after it has locked the user, and before it links an account.
func holdAccount(
	ctx context.Context, t tx, link auth.GitHubLink, withToken bool,
) (state storekit.GitHubState, err error) {
	account := link.Account
	lock := func() error {
		return scan(t.row(ctx, lockAccount, account.Host, account.ID), &state.RememberedFor,
			&state.GrantSpent)
	}
	err = lock()
	if errors.Is(err, auth.ErrNotFound) {
		err = runInOrder(
			func() error {
				return t.change(ctx, insertAccount+t.store.dialect.unlessExists("host"),
					account.Host, account.ID)
			},
			lock,
			func() (err error) { state.GrantSpent, err = recallGrant(ctx, t, account); return err },
		)
	}
	if err != nil {
		return state, err
	}
	links, err := collect(ctx, t.querier, linkFields, selectLinks, account.Host, account.ID,
		link.UserID, account.Host)
	if err != nil {
		return state, err
	}
	for _, found := range links {
		if found.Account == account {
			state.LinkedTo = found.UserID
		}
		if found.UserID == link.UserID {
			state.UserAccount = found.Account
		}
	}
	if !withToken {
		return state, nil
	}
	token, _, err := holdToken(ctx, t, link.UserID, account.Host)
	state.TokenVersion = token.Version
	return state, zeroIfNone(err)
}

const (
	rememberAccount = `UPDATE auth_github_accounts SET user_id = ?, grant_spent = ?, forgotten_at = 0 WHERE host = ? AND account_id = ?`
	forgetAccount   = `UPDATE auth_github_accounts SET user_id = '', forgotten_at = ? WHERE host = ? AND account_id = ?`
	spendGrants     = `UPDATE auth_github_accounts SET grant_spent = 1 WHERE user_id = ?`
	forgetUser      = `UPDATE auth_github_accounts SET user_id = '', grant_spent = 1, forgotten_at = ? WHERE user_id = ?`
)

// remember records the link's user as the user of the locked account. Each account has one grant: a
// sign-in with the account can make a user a super user one time. If the parameter spends is true,
// remember also records that the grant is spent.
func remember(
	ctx context.Context, t tx, link auth.GitHubLink, state storekit.GitHubState, spends bool,
) error {
	if state.RememberedFor == link.UserID && !spends {
		return nil
	}
	return t.change(ctx, rememberAccount,
		link.UserID, flag(state.GrantSpent || spends), link.Account.Host, link.Account.ID)
}

const selectRemembered = `SELECT a.user_id FROM auth_github_accounts a WHERE a.host = ? AND a.account_id = ?`

// ForgetGitHubAccount implements [auth.GitHubStore].
func (s *core) ForgetGitHubAccount(
	ctx context.Context, w auth.Write, account auth.GitHubAccount,
) error {
	if err := cmp.Or(ctx.Err(), w.Validate()); err != nil {
		return err
	}
	if !storable(account.Host, storekit.MaxGitHubHostLength) {
		return auth.ErrNotFound
	}
	return s.write(ctx, "forget GitHub account", func(ctx context.Context, t tx) error {
		if err := w.By.CheckOwner(""); err != nil {
			return err
		}
		var expected, remembered string
		err := scan(t.row(ctx, selectRemembered, account.Host, account.ID), &expected)
		if err := zeroIfNone(err); err != nil {
			return err
		}
		a, err := hold(ctx, t, w, locks{users: []string{expected}})
		if err != nil {
			return err
		}
		if err := a.check(ctx); err != nil {
			return err
		}
		if err := a.grant(nil); err != nil {
			return err
		}
		var spent bool
		if err := scan(t.row(ctx, lockAccount, account.Host, account.ID), &remembered,
			&spent); err != nil {
			return err
		}
		_, err = findLink(ctx, t.querier, selectLink, account)
		switch {
		case err == nil:
			return auth.ErrExists
		case !errors.Is(err, auth.ErrNotFound):
			return err
		case remembered == "":
			return auth.ErrNotFound
		}
		return runInOrder(
			func() error { return t.change(ctx, forgetAccount, toMicros(a.now), account.Host, account.ID) },
			func() error { return a.addEvent(ctx, about{remembered, account}) },
		)
	})
}

// UpdateGitHubLink implements [auth.GitHubStore].
func (s *core) UpdateGitHubLink(ctx context.Context, link auth.GitHubLink) error {
	if err := cmp.Or(ctx.Err(), link.Validate()); err != nil {
		return err
	}
	return s.write(ctx, "renew GitHub link", func(ctx context.Context, t tx) error {
		if _, err := holdUser(ctx, t, link.UserID); err != nil {
			return err
		}
		linked, err := linkedUser(ctx, t, link.Account)
		if err == nil && linked != link.UserID {
			err = auth.ErrNotFound
		}
		if err != nil {
			return err
		}
		return runInOrder(
			func() error { return putLink(ctx, t, link, false) },
			func() error { return recordAdmission(ctx, t, link) },
		)
	})
}

const (
	selectOtherWayIn = `
SELECT EXISTS (SELECT 1 FROM auth_github_links WHERE user_id = ? AND host <> ?)
	OR EXISTS (SELECT 1 FROM auth_access_keys WHERE user_id = ? AND (expires_at = 0 OR expires_at > ?))`
	lockLinksOfUser = `SELECT ` + linkColumns + ` FROM auth_github_links l WHERE l.user_id = ? FOR UPDATE`
	deleteLink      = `DELETE FROM auth_github_links WHERE user_id = ? AND host = ?`

	lockGitHubSessions = `
SELECT ` + sessionColumns + ` FROM auth_sessions s
WHERE s.user_id = ? AND (s.method = ? OR s.method = ? AND s.access_key_id = '') FOR UPDATE`
)

// UnlinkGitHub implements [auth.GitHubStore].
func (s *core) UnlinkGitHub(
	ctx context.Context, w auth.Write, userID, host string,
) (auth.GitHubLink, *auth.GitHubToken, error) {
	if err := cmp.Or(ctx.Err(), w.Validate()); err != nil {
		return auth.GitHubLink{}, nil, err
	}
	if !connectionStorable(userID, host) {
		return auth.GitHubLink{}, nil, auth.ErrNotFound
	}
	removed, err := writeFor(ctx, s, "unlink GitHub",
		func(ctx context.Context, t tx) (removed connection, err error) {
			a, err := holdOwner(ctx, t, w, userID)
			if err != nil {
				return removed, err
			}
			opened, err := collect(ctx, t.querier, sessionFields, lockGitHubSessions, userID,
				string(auth.MethodGitHub), string(auth.MethodDevice))
			if err != nil {
				return removed, err
			}
			if removed, err = holdConnection(ctx, t, userID, host); err != nil {
				return removed, err
			}
			another, err := t.queryBool(ctx, selectOtherWayIn, userID, host, userID, toMicros(a.now))
			if err == nil && !another {
				err = auth.ErrLastWayIn
			}
			if err != nil {
				return removed, err
			}
			return removed, runInOrder(
				func() error { return t.remove(ctx, deleteLink, userID, host) },
				func() error { return t.change(ctx, deleteToken, userID, host) },
				func() error { return a.addEvent(ctx, about{userID, removed.link.Account}) },
				func() error { return changeListed(ctx, t, deleteSessions, idsOf(opened)) },
				func() error { return revokeSessions(ctx, t, opened, a.lastTokenEnd()) },
			)
		})
	return removed.link, removed.token, err
}
