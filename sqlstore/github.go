package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/sallyport-go/auth"
)

// FindGitHubLink implements [auth.GitHubStore].
func (s *Store) FindGitHubLink(ctx context.Context, account auth.GitHubAccount) (auth.GitHubLink, error) {
	return read(ctx, s, "find GitHub link", func(q queryer) (auth.GitHubLink, error) {
		return findLink(ctx, q, account)
	})
}

// FindGitHubConnection implements [auth.GitHubStore].
func (s *Store) FindGitHubConnection(ctx context.Context, userID, host string) (auth.GitHubConnection, error) {
	return read(ctx, s, "find GitHub connection", func(q queryer) (auth.GitHubConnection, error) {
		return findConnection(ctx, q, userID, host)
	})
}

// SignInGitHub implements [auth.GitHubStore].
func (s *Store) SignInGitHub(ctx context.Context, signIn auth.GitHubSignIn) (auth.Session, auth.User, error) {
	if err := cmp.Or(ctx.Err(), checkSignIn(signIn)); err != nil {
		return auth.Session{}, auth.User{}, err
	}
	session := signIn.Session
	user, err := writeFor(ctx, s, "sign in with GitHub", func(ctx context.Context, t tx) (user auth.User, err error) {
		if err := putSignInLink(ctx, t, signIn); err != nil {
			return user, err
		}
		if signIn.NewUser != nil {
			if err := addGitHubUser(ctx, t, *signIn.NewUser); err != nil {
				return user, err
			}
		}
		var admitted time.Time
		if signIn.NewUser == nil {
			admitted = signIn.Link.SeenAt
		}
		if user, err = addSession(ctx, t, &session, admitted); err != nil || signIn.Token == nil {
			return user, err
		}
		return user, putToken(ctx, t, *signIn.Token, signIn.TokenVersion)
	})
	if err != nil {
		return auth.Session{}, auth.User{}, err
	}
	return session, user, nil
}

// ConnectGitHub implements [auth.GitHubStore].
func (s *Store) ConnectGitHub(ctx context.Context, connect auth.GitHubConnect) error {
	link, token := connect.Link, connect.Token
	if err := cmp.Or(ctx.Err(), link.Validate(), checkToken(token, link)); err != nil {
		return err
	}
	if !storable(connect.SessionID, auth.MaxIDLength) {
		return auth.ErrNotFound
	}
	return s.write(ctx, "connect GitHub", func(ctx context.Context, t tx) error {
		if err := requireSignedIn(ctx, t, connect); err != nil {
			return err
		}
		linked, err := linkedUser(ctx, t, link.Account)
		if err != nil {
			return err
		}
		if linked != "" && linked != link.UserID {
			return auth.ErrExists
		}
		if err := putLink(ctx, t, link, linked == ""); err != nil {
			return err
		}
		if err := admitAgain(ctx, t, link); err != nil {
			return err
		}
		return putToken(ctx, t, token, connect.TokenVersion)
	})
}

// RenewGitHubLink implements [auth.GitHubStore].
func (s *Store) RenewGitHubLink(ctx context.Context, link auth.GitHubLink) error {
	if err := cmp.Or(ctx.Err(), link.Validate()); err != nil {
		return err
	}
	return s.write(ctx, "renew GitHub link", func(ctx context.Context, t tx) error {
		linked, err := linkedUser(ctx, t, link.Account)
		if err != nil {
			return err
		}
		if linked != link.UserID {
			return auth.ErrNotFound
		}
		if err := putLink(ctx, t, link, false); err != nil {
			return err
		}
		return admitAgain(ctx, t, link)
	})
}

const (
	selectOtherWayIn = `
SELECT EXISTS (SELECT 1 FROM auth_github_links WHERE user_id = ? AND host <> ?)
	OR EXISTS (SELECT 1 FROM auth_access_keys WHERE user_id = ? AND (expires_at = 0 OR expires_at > ?))`
	deleteLink = `DELETE FROM auth_github_links WHERE user_id = ? AND host = ?`
)

// UnlinkGitHub implements [auth.GitHubStore].
func (s *Store) UnlinkGitHub(ctx context.Context, userID, host string, now time.Time) (auth.GitHubConnection, error) {
	return writeFor(ctx, s, "unlink GitHub", func(ctx context.Context, t tx) (auth.GitHubConnection, error) {
		removed, err := findConnection(ctx, t, userID, host)
		if err != nil {
			return removed, err
		}
		another, err := t.ask(ctx, selectOtherWayIn, userID, host, userID, toMicros(now))
		if err == nil && !another {
			err = auth.ErrLastWayIn
		}
		if err != nil {
			return removed, err
		}
		if err := t.change(ctx, deleteLink, userID, host); err != nil {
			return removed, err
		}
		_, err = t.count(ctx, deleteToken, userID, host)
		return removed, err
	})
}

// checkSignIn returns an error if the records cannot be kept, or not together.
func checkSignIn(signIn auth.GitHubSignIn) error {
	link := signIn.Link
	err := cmp.Or(link.Validate(), signIn.Session.Validate(), checkLinked(signIn.Session.UserID, link))
	if user := signIn.NewUser; err == nil && user != nil {
		err = cmp.Or(user.Validate(), checkLinked(user.ID, link))
	}
	if token := signIn.Token; err == nil && token != nil {
		err = checkToken(*token, link)
	}
	return err
}

func checkToken(token auth.GitHubToken, link auth.GitHubLink) error {
	err := cmp.Or(token.Validate(), checkLinked(token.UserID, link))
	if err == nil && token.Account != link.Account {
		err = &auth.InvalidError{Field: "account_id", Reason: "must be that of the account that is linked"}
	}
	return err
}

func checkLinked(userID string, link auth.GitHubLink) error {
	if userID != link.UserID {
		return &auth.InvalidError{Field: "user_id", Reason: "must be that of the user who is linked"}
	}
	return nil
}

const selectLink = `SELECT ` + linkColumns + ` FROM auth_github_links l WHERE l.host = ? AND l.account_id = ?`

func findLink(ctx context.Context, q queryer, account auth.GitHubAccount) (link auth.GitHubLink, err error) {
	if !storable(account.Host, auth.MaxGitHubHostLength) {
		return link, auth.ErrNotFound
	}
	err = scan(q.QueryRowContext(ctx, selectLink, account.Host, account.ID), linkFields(&link)...)
	return link, err
}

const selectConnection = `
SELECT ` + linkColumns + `, ` + tokenColumns + `
FROM auth_github_links l LEFT JOIN auth_github_tokens t ON t.user_id = l.user_id AND t.host = l.host
WHERE l.user_id = ? AND l.host = ?`

// findConnection returns the link and the token in one statement, so that they
// belong to the same moment.
func findConnection(ctx context.Context, q queryer, userID, host string) (c auth.GitHubConnection, err error) {
	if !connectionStorable(userID, host) {
		return c, auth.ErrNotFound
	}
	var token auth.GitHubToken
	fields := append(linkFields(&c.Link), tokenFields(&token)...)
	err = scan(q.QueryRowContext(ctx, selectConnection, userID, host), fields...)
	if token.Version != "" { // which every token has
		c.Token = &token
	}
	return c, err
}

// connectionStorable is [storable] for what names a link, or a token.
func connectionStorable(userID, host string) bool {
	return storable(userID, auth.MaxIDLength) && storable(host, auth.MaxGitHubHostLength)
}

// linkedUser returns whom the account signs in, and "" if nobody.
func linkedUser(ctx context.Context, t tx, account auth.GitHubAccount) (string, error) {
	link, err := findLink(ctx, t, account)
	if errors.Is(err, auth.ErrNotFound) {
		return "", nil
	}
	return link.UserID, err
}

// putSignInLink writes the link if the account is linked as the caller read it:
// to nobody where a new user is to be made, and else to the link's user.
func putSignInLink(ctx context.Context, t tx, signIn auth.GitHubSignIn) error {
	expected := signIn.Link.UserID
	if signIn.NewUser != nil {
		expected = ""
	}
	linked, err := linkedUser(ctx, t, signIn.Link.Account)
	if err != nil {
		return err
	}
	if linked != expected {
		return auth.ErrChanged
	}
	err = putLink(ctx, t, signIn.Link, linked == "")
	if errors.Is(err, auth.ErrExists) {
		return auth.ErrChanged
	}
	return err
}

const (
	insertLink = `
INSERT INTO auth_github_links (host, account_id, user_id, login, name, avatar_url, created_at, seen_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)`
	updateLink = `
UPDATE auth_github_links SET login = ?, name = ?, avatar_url = ?, seen_at = ? WHERE host = ? AND account_id = ?`
)

// putLink returns [auth.ErrExists] if the link is new and its user has another
// account of the host: the unique index sees that.
func putLink(ctx context.Context, t tx, link auth.GitHubLink, isNew bool) error {
	if isNew {
		return t.insert(ctx, insertLink, link.Account.Host, link.Account.ID, link.UserID,
			link.Login, link.Name, link.AvatarURL, toMicros(link.CreatedAt), toMicros(link.SeenAt))
	}
	_, err := t.count(ctx, updateLink,
		link.Login, link.Name, link.AvatarURL, toMicros(link.SeenAt), link.Account.Host, link.Account.ID)
	return err
}

const updateAdmitted = `UPDATE auth_users SET admitted_at = ? WHERE id = ? AND admitted_at <> 0`

// admitAgain moves the AdmittedAt of the linked user on if GitHub sign-in made
// the user.
func admitAgain(ctx context.Context, t tx, link auth.GitHubLink) error {
	_, err := t.count(ctx, updateAdmitted, toMicros(link.SeenAt), link.UserID)
	return err
}

const selectEmailTaken = `SELECT EXISTS (SELECT 1 FROM auth_users WHERE email_folded = ?)`

// addGitHubUser adds the user, without the e-mail if that is another's.
func addGitHubUser(ctx context.Context, t tx, user auth.User) error {
	taken, err := t.ask(ctx, selectEmailTaken, auth.FoldASCII(user.Email))
	if err != nil {
		return err
	}
	if taken {
		user.Email = ""
	}
	return addUser(ctx, t, user)
}

const selectSignedIn = `
SELECT u.is_active, EXISTS (SELECT 1 FROM auth_sessions s WHERE s.id = ? AND s.user_id = u.id AND s.expires_at > ?)
FROM auth_users u WHERE u.id = ?`

// requireSignedIn returns an error unless the user is active, and the session the
// user's and live.
func requireSignedIn(ctx context.Context, t tx, connect auth.GitHubConnect) error {
	var isActive, isSignedIn bool
	row := t.QueryRowContext(ctx, selectSignedIn, connect.SessionID, toMicros(connect.At), connect.Link.UserID)
	err := scan(row, &isActive, &isSignedIn)
	switch {
	case err != nil:
		return err
	case !isActive:
		return auth.ErrUserDisabled
	case !isSignedIn:
		return auth.ErrNotFound
	}
	return nil
}

const (
	deleteUserLinks  = `DELETE FROM auth_github_links WHERE user_id = ?`
	deleteUserTokens = `DELETE FROM auth_github_tokens WHERE user_id = ?`
)

// forgetGitHubOf removes the user's links and tokens, of all hosts.
func forgetGitHubOf(ctx context.Context, t tx, userID string) error {
	if _, err := t.count(ctx, deleteUserLinks, userID); err != nil {
		return err
	}
	_, err := t.count(ctx, deleteUserTokens, userID)
	return err
}
