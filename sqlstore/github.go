package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
)

// FindGitHubLink implements [auth.GitHubStore].
func (s *core) FindGitHubLink(ctx context.Context, account auth.GitHubAccount) (auth.GitHubLink, error) {
	return read(ctx, s, "find GitHub link", func(q querier) (auth.GitHubLink, error) {
		return findLink(ctx, q, selectLink, account)
	})
}

// FindGitHubConnection implements [auth.GitHubStore].
func (s *core) FindGitHubConnection(ctx context.Context, userID, host string) (auth.GitHubLink, *auth.GitHubToken, error) {
	found, err := read(ctx, s, "find GitHub connection", func(q querier) (connection, error) {
		return findConnection(ctx, q, userID, host)
	})
	return found.link, found.token, err
}

// connection is a link with its token, which is nil if there is none.
type connection struct {
	link  auth.GitHubLink
	token *auth.GitHubToken
}

// SignInGitHub implements [auth.GitHubStore].
func (s *core) SignInGitHub(ctx context.Context, signIn auth.GitHubSignInWrite) (auth.Session, auth.User, error) {
	if err := cmp.Or(ctx.Err(), checkSignIn(signIn)); err != nil {
		return auth.Session{}, auth.User{}, err
	}
	if !s.keepsUsers() && signIn.NewUser != nil {
		return auth.Session{}, auth.User{}, &auth.InvalidError{Field: "user_id", Reason: "must be that of a user of the host"}
	}
	var session auth.Session
	signInOnce := func() (user auth.User, err error) {
		return writeFor(ctx, s, "sign in with GitHub", func(ctx context.Context, t tx) (auth.User, error) {
			session = signIn.Session
			return signInGitHub(ctx, t, signIn, &session)
		})
	}
	user, err := signInOnce()
	if errors.Is(err, auth.ErrExists) || !s.keepsUsers() && errors.Is(err, auth.ErrChanged) {
		// Another user may have taken the e-mail after the transaction looked for it; the
		// second attempt adds the user without. In a store of accounts, a concurrent call may
		// have linked the account to the same user; the second attempt finds that link. In
		// all other cases the second attempt returns the same error.
		user, err = signInOnce()
	}
	if err != nil {
		return auth.Session{}, auth.User{}, err
	}
	return session, user, nil
}

// signInGitHub makes the user or holds the one who is there, and leaves the session
// as it is in the database.
func signInGitHub(ctx context.Context, t tx, signIn auth.GitHubSignInWrite, session *auth.Session) (user auth.User, err error) {
	var admitted time.Time
	if signIn.NewUser == nil {
		admitted = signIn.Link.SeenAt
		user, err = holdUser(ctx, t, signIn.Link.UserID)
		if errors.Is(err, auth.ErrNotFound) {
			err = auth.ErrChanged // nobody is linked to a user who is not there
		}
	} else {
		user, err = addGitHubUser(ctx, t, *signIn.NewUser)
	}
	if err != nil {
		return user, err
	}
	if err := putSignInLink(ctx, t, signIn); err != nil {
		return user, err
	}
	if err := checkActive(t, user); err != nil {
		return user, err
	}
	if user, err = addSession(ctx, t, session, signIn.SessionLimit, user, admitted); err != nil || signIn.Token == nil {
		return user, err
	}
	return user, putToken(ctx, t, *signIn.Token, signIn.TokenVersion)
}

// ConnectGitHub implements [auth.GitHubStore].
func (s *core) ConnectGitHub(ctx context.Context, connect auth.GitHubConnectWrite) error {
	link, token := connect.Link, connect.Token
	if err := cmp.Or(ctx.Err(), link.Validate(), checkToken(token, link)); err != nil {
		return err
	}
	if !storable(connect.SessionID, auth.MaxIDLength) {
		return auth.ErrNotFound
	}
	return s.write(ctx, "connect GitHub", func(ctx context.Context, t tx) error {
		if _, err := holdActive(ctx, t, link.UserID); err != nil {
			return err
		}
		if err := holdLiveSession(ctx, t, connect); err != nil {
			return err
		}
		linked, err := linkedUser(ctx, t, link.Account)
		if err == nil && linked != "" && linked != link.UserID {
			err = auth.ErrExists
		}
		if err != nil {
			return err
		}
		return inOrder(
			func() error { return putLink(ctx, t, link, linked == "") },
			func() error { return admitAgain(ctx, t, link) },
			func() error { return putToken(ctx, t, token, connect.TokenVersion) },
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
		return inOrder(
			func() error { return putLink(ctx, t, link, false) },
			func() error { return admitAgain(ctx, t, link) },
		)
	})
}

const (
	selectOtherWayIn = `
SELECT EXISTS (SELECT 1 FROM auth_github_links WHERE user_id = ? AND host <> ?)
	OR EXISTS (SELECT 1 FROM auth_access_keys WHERE user_id = ? AND (expires_at = 0 OR expires_at > ?))`
	lockLinksOfUser = `SELECT ` + linkColumns + ` FROM auth_github_links l WHERE l.user_id = ? FOR UPDATE`
	deleteLink      = `DELETE FROM auth_github_links WHERE user_id = ? AND host = ?`
)

// UnlinkGitHub implements [auth.GitHubStore].
func (s *core) UnlinkGitHub(ctx context.Context, userID, host string, now time.Time) (auth.GitHubLink, *auth.GitHubToken, error) {
	if err := ctx.Err(); err != nil {
		return auth.GitHubLink{}, nil, err
	}
	if !connectionStorable(userID, host) {
		return auth.GitHubLink{}, nil, auth.ErrNotFound
	}
	removed, err := writeFor(ctx, s, "unlink GitHub", func(ctx context.Context, t tx) (removed connection, err error) {
		if _, err := holdUser(ctx, t, userID); err != nil {
			return removed, err
		}
		if removed, err = holdConnection(ctx, t, userID, host); err != nil {
			return removed, err
		}
		another, err := t.ask(ctx, selectOtherWayIn, userID, host, userID, toMicros(now))
		if err == nil && !another {
			err = auth.ErrLastWayIn
		}
		if err != nil {
			return removed, err
		}
		return removed, inOrder(
			func() error { return t.remove(ctx, deleteLink, userID, host) },
			func() error { return t.change(ctx, deleteToken, userID, host) },
		)
	})
	return removed.link, removed.token, err
}

// holdConnection returns the user's link to the host, and the token. It also locks the links
// to other hosts, because a store of accounts has no user record to lock: without the lock, each
// of two concurrent calls would take the link that the other removes for a way in.
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

// checkSignIn returns an error if the records cannot be kept, or not together.
func checkSignIn(signIn auth.GitHubSignInWrite) error {
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

const (
	selectLink = `SELECT ` + linkColumns + ` FROM auth_github_links l WHERE l.host = ? AND l.account_id = ?`
	lockLink   = selectLink + ` FOR UPDATE`
)

// findLink finds the link with selectLink or lockLink.
func findLink(ctx context.Context, q querier, query string, account auth.GitHubAccount) (link auth.GitHubLink, err error) {
	if !storable(account.Host, auth.MaxGitHubHostLength) {
		return link, auth.ErrNotFound
	}
	err = scan(q.row(ctx, query, account.Host, account.ID), linkFields(&link)...)
	return link, err
}

const selectConnection = `
SELECT ` + linkColumns + `, ` + tokenColumns + `
FROM auth_github_links l LEFT JOIN auth_github_tokens t ON t.user_id = l.user_id AND t.host = l.host
WHERE l.user_id = ? AND l.host = ?`

// findConnection returns the link and the token in one statement, so that they
// belong to the same moment.
func findConnection(ctx context.Context, q querier, userID, host string) (c connection, err error) {
	if !connectionStorable(userID, host) {
		return c, auth.ErrNotFound
	}
	var token auth.GitHubToken
	fields := append(linkFields(&c.link), tokenFields(&token)...)
	err = scan(q.row(ctx, selectConnection, userID, host), fields...)
	if token.Version != "" { // which every token has
		c.token = &token
	}
	return c, err
}

// connectionStorable is [storable] for what names a link, or a token.
func connectionStorable(userID, host string) bool {
	return storable(userID, auth.MaxIDLength) && storable(host, auth.MaxGitHubHostLength)
}

// linkedUser returns whom the account signs in, and "" if nobody. It holds the
// link if there is one.
func linkedUser(ctx context.Context, t tx, account auth.GitHubAccount) (string, error) {
	link, err := findLink(ctx, t.querier, lockLink, account)
	if errors.Is(err, auth.ErrNotFound) {
		return "", nil
	}
	return link.UserID, err
}

// putSignInLink writes the link if the account is linked as the caller read it:
// to nobody if the call adds a user, and to the link's user if it does not. In a store of
// accounts the account may be linked to nobody in both cases.
func putSignInLink(ctx context.Context, t tx, signIn auth.GitHubSignInWrite) error {
	linked, err := linkedUser(ctx, t, signIn.Link.Account)
	if err != nil {
		return err
	}
	isNew := linked == ""
	mayBeNew := signIn.NewUser != nil || !t.store.keepsUsers()
	if isNew && !mayBeNew || !isNew && (signIn.NewUser != nil || linked != signIn.Link.UserID) {
		return auth.ErrChanged
	}
	err = putLink(ctx, t, signIn.Link, isNew)
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
	return t.change(ctx, updateLink,
		link.Login, link.Name, link.AvatarURL, toMicros(link.SeenAt), link.Account.Host, link.Account.ID)
}

const updateAdmitted = `UPDATE auth_users SET admitted_at = ? WHERE id = ? AND admitted_at <> 0`

// admitAgain moves the AdmittedAt of the linked user on if GitHub sign-in made
// the user.
func admitAgain(ctx context.Context, t tx, link auth.GitHubLink) error {
	return t.change(ctx, updateAdmitted, toMicros(link.SeenAt), link.UserID)
}

const selectEmailTaken = `SELECT EXISTS (SELECT 1 FROM auth_users WHERE email_folded = ?)`

// addGitHubUser adds the user, without the e-mail if that is another's, and returns
// the record as it is then.
func addGitHubUser(ctx context.Context, t tx, user auth.User) (auth.User, error) {
	taken, err := t.ask(ctx, selectEmailTaken, auth.FoldASCII(user.Email))
	if err != nil {
		return user, err
	}
	if taken {
		user.Email = ""
	}
	for _, at := range []*time.Time{&user.CreatedAt, &user.LastLogin, &user.AdmittedAt} {
		*at = kept(*at)
	}
	return user, addUser(ctx, t, user)
}

const lockSession = selectSession + ` FOR UPDATE`

// holdLiveSession returns [auth.ErrNotFound] unless the session that asks to
// connect an account is the user's and live. It stays so until the transaction
// ends.
func holdLiveSession(ctx context.Context, t tx, connect auth.GitHubConnectWrite) error {
	var session auth.Session
	err := scan(t.row(ctx, lockSession, connect.SessionID), sessionFields(&session)...)
	if err == nil && (session.UserID != connect.Link.UserID || toMicros(session.ExpiresAt) <= toMicros(connect.At)) {
		err = auth.ErrNotFound
	}
	return err
}

const (
	selectUserTokens = `SELECT ` + tokenColumns + ` FROM auth_github_tokens t WHERE t.user_id = ? FOR UPDATE`
	deleteUserLinks  = `DELETE FROM auth_github_links WHERE user_id = ?`
	deleteUserTokens = `DELETE FROM auth_github_tokens WHERE user_id = ?`
)

// forgetGitHubOf removes the user's links and tokens, of all hosts, and returns the
// tokens.
func forgetGitHubOf(ctx context.Context, t tx, userID string) (tokens []auth.GitHubToken, err error) {
	return tokens, inOrder(
		func() (err error) {
			tokens, err = collect(ctx, t.querier, tokenFields, selectUserTokens, userID)
			return err
		},
		func() error { return t.change(ctx, deleteUserLinks, userID) },
		func() error { return t.change(ctx, deleteUserTokens, userID) },
	)
}
