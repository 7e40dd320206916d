package sqlstore

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// holdConnection locks and returns the user's link to an account of the GitHub host, and the token
// of the link. The caller has locked the user.
func holdConnection(ctx context.Context, t tx, userID, host string) (c connection, err error) {
	links, err := collect(ctx, t.querier, linkFields, lockLinksOfUser, userID)
	if err != nil {
		return c, err
	}
	i := slices.IndexFunc(links, func(l auth.GitHubLink) bool { return l.Account.Host == host })
	if i < 0 {
		return c, auth.ErrNotFound
	}
	token, _, err := holdToken(ctx, t, userID, host)
	switch {
	case err == nil:
		c.token = &token
	case !errors.Is(err, auth.ErrNotFound):
		return c, err
	}
	c.link = links[i]
	return c, nil
}

const (
	selectLink = `SELECT ` + linkColumns + ` FROM auth_github_links l WHERE l.host = ? AND l.account_id = ?`
	lockLink   = selectLink + ` FOR UPDATE`
)

// findLink finds the link with the query selectLink or lockLink.
func findLink(
	ctx context.Context, q querier, query string, account auth.GitHubAccount,
) (link auth.GitHubLink, err error) {
	if !storable(account.Host, storekit.MaxGitHubHostLength) {
		return link, auth.ErrNotFound
	}
	err = scan(q.row(ctx, query, account.Host, account.ID), linkFields(&link)...)
	return link, err
}

const selectConnection = `
SELECT ` + linkColumns + `, ` + tokenColumns + `
FROM auth_github_links l LEFT JOIN auth_github_tokens t ON t.user_id = l.user_id AND t.host = l.host
WHERE l.user_id = ? AND l.host = ?`

// findConnection reads the link and the token in one statement, so that both are from the same
// moment.
func findConnection(ctx context.Context, q querier, userID, host string) (c connection, err error) {
	if !connectionStorable(userID, host) {
		return c, auth.ErrNotFound
	}
	var token auth.GitHubToken
	fields := append(linkFields(&c.link), tokenFields(&token)...)
	err = scan(q.row(ctx, selectConnection, userID, host), fields...)
	if token.Version != "" { // there is a token, because every token has a version
		c.token = &token
	}
	return c, err
}

// connectionStorable reports whether a user ID and a GitHub host can be in the database. See
// [storable].
func connectionStorable(userID, host string) bool {
	return storable(userID, auth.MaxIDLength) && storable(host, storekit.MaxGitHubHostLength)
}

// linkedUser locks the link of the account, and returns the ID of the linked user. If the account
// has no link, linkedUser returns "".
func linkedUser(ctx context.Context, t tx, account auth.GitHubAccount) (string, error) {
	link, err := findLink(ctx, t.querier, lockLink, account)
	if errors.Is(err, auth.ErrNotFound) {
		return "", nil
	}
	return link.UserID, err
}

const (
	insertLink = `
INSERT INTO auth_github_links (host, account_id, user_id, login, name, avatar_url, created_at, seen_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)`
	updateLink = `
UPDATE auth_github_links SET login = ?, name = ?, avatar_url = ?, seen_at = ? WHERE host = ? AND account_id = ?`
)

// putLink adds the link if isNew is true, and updates it if not. A unique index allows a user only
// one link for each GitHub host. If the user of a new link already has such a link, putLink returns
// [auth.ErrExists].
func putLink(ctx context.Context, t tx, link auth.GitHubLink, isNew bool) error {
	if isNew {
		return t.insert(ctx, insertLink, link.Account.Host, link.Account.ID, link.UserID,
			link.Login, link.Name, link.AvatarURL, toMicros(link.CreatedAt), toMicros(link.SeenAt))
	}
	return t.change(ctx, updateLink,
		link.Login, link.Name, link.AvatarURL, toMicros(link.SeenAt), link.Account.Host, link.Account.ID)
}

const updateAdmitted = `UPDATE auth_users SET admitted_at = ? WHERE id = ? AND admitted_at <> 0`

// recordAdmission sets AdmittedAt of the linked user to the link's SeenAt, unless AdmittedAt is
// zero. A zero AdmittedAt means that the user does not depend on the rules of GitHub sign-ins.
func recordAdmission(ctx context.Context, t tx, link auth.GitHubLink) error {
	return t.change(ctx, updateAdmitted, toMicros(link.SeenAt), link.UserID)
}

const selectEmailTaken = `SELECT EXISTS (SELECT 1 FROM auth_users WHERE email_folded = ?)`

// addGitHubUser adds the user and returns the stored record. If another user already has the e-mail
// address, addGitHubUser stores the user without an e-mail address.
func addGitHubUser(ctx context.Context, t tx, user auth.User) (auth.User, error) {
	taken, err := t.queryBool(ctx, selectEmailTaken, auth.FoldASCII(user.Email))
	if err != nil {
		return user, err
	}
	if taken {
		user.Email = ""
	}
	for _, at := range []*time.Time{&user.CreatedAt, &user.LastLogin, &user.AdmittedAt} {
		*at = storedTime(*at)
	}
	return user, addUser(ctx, t, user)
}

// fillEmail sets the e-mail address of a user who has none, unless the address is taken. It returns
// the changed user. It returns [auth.ErrExists] if another transaction has taken the address since fillEmail
// looked for it.
func fillEmail(ctx context.Context, t tx, user auth.User, email string) (auth.User, error) {
	if email == "" || user.Email != "" {
		return user, nil
	}
	taken, err := t.queryBool(ctx, selectEmailTaken, auth.FoldASCII(email))
	if err != nil || taken {
		return user, err
	}
	user.Email = email
	return user, t.insert(ctx, updateEmail, email, auth.FoldASCII(email), user.ID)
}

const (
	selectUserTokens = `SELECT ` + tokenColumns + ` FROM auth_github_tokens t WHERE t.user_id = ? FOR UPDATE`
	deleteUserLinks  = `DELETE FROM auth_github_links WHERE user_id = ?`
	deleteUserTokens = `DELETE FROM auth_github_tokens WHERE user_id = ?`
)

// removeGitHubOf removes the user's links and tokens, for all GitHub hosts, and returns the tokens.
func removeGitHubOf(ctx context.Context, t tx, userID string) (tokens []auth.GitHubToken, err error) {
	err = runInOrder(
		func() (err error) {
			tokens, err = collect(ctx, t.querier, tokenFields, selectUserTokens, userID)
			return err
		},
		func() error { return t.change(ctx, deleteUserLinks, userID) },
		func() error { return t.change(ctx, deleteUserTokens, userID) },
	)
	return tokens, err
}

const selectAccountsOf = `
SELECT a.host, a.account_id FROM auth_github_accounts a WHERE a.user_id = ? ORDER BY a.host, a.account_id`

// ListGitHubAccounts implements [auth.GitHubStore].
func (s *core) ListGitHubAccounts(ctx context.Context, userID string) ([]auth.GitHubAccount, error) {
	fields := func(a *auth.GitHubAccount) []any { return []any{&a.Host, &a.ID} }
	return read(ctx, s, "list GitHub accounts", func(
		ctx context.Context, q querier,
	) ([]auth.GitHubAccount, error) {
		if !storable(userID, auth.MaxIDLength) {
			return nil, ctx.Err()
		}
		return collect(ctx, q, fields, selectAccountsOf, userID)
	})
}
