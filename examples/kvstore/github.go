package kvstore

import (
	"context"
	"errors"
	"time"

	"github.com/sallyport-go/auth"
)

// FindGitHubLink implements [auth.GitHubStore].
func (s *Store) FindGitHubLink(ctx context.Context, of auth.GitHubAccount) (link auth.GitHubLink, err error) {
	err = s.view(ctx, func(t tx) error {
		a, err := t.accountOf(links, linkKey(of))
		if err == nil {
			link = a.GitHub[of.Host].Link
		}
		return err
	})
	return link, err
}

// FindGitHubConnection implements [auth.GitHubStore].
func (s *Store) FindGitHubConnection(ctx context.Context, userID, host string) (auth.GitHubLink, *auth.GitHubToken, error) {
	var found connection // whose token is a copy, because it has just been decoded
	err := s.view(ctx, func(t tx) error {
		a, err := t.account(userID)
		if err != nil {
			return err
		}
		c, linked := a.GitHub[host]
		if !linked {
			return auth.ErrNotFound
		}
		found = c
		return nil
	})
	return found.Link, found.Token, err
}

// SignInGitHub implements [auth.GitHubStore].
func (s *Store) SignInGitHub(ctx context.Context, signIn auth.GitHubSignInWrite) (opened auth.Session, user auth.User, err error) {
	if err := checkSignIn(ctx, signIn); err != nil {
		return opened, user, err
	}
	err = s.update(ctx, func(t tx) error {
		a, err := t.whoSignsIn(signIn)
		if err != nil {
			return err
		}
		if opened, err = t.open(a, signIn.Session, signIn.SessionLimit); err != nil {
			return err
		}
		if signIn.Token != nil && a.tokenVersion(signIn.Link.Account.Host) != signIn.TokenVersion {
			return auth.ErrChanged
		}
		a.link(signIn.Link, signIn.Token)
		user = a.User
		if signIn.NewUser != nil {
			return t.add(a)
		}
		return t.save(a)
	})
	if err != nil {
		return auth.Session{}, auth.User{}, err
	}
	return opened, user, nil
}

func checkSignIn(ctx context.Context, signIn auth.GitHubSignInWrite) error {
	link := signIn.Link
	records := []interface{ Validate() error }{link, signIn.Session}
	same := signIn.Session.UserID == link.UserID
	if signIn.NewUser != nil {
		records = append(records, signIn.NewUser)
		same = same && signIn.NewUser.ID == link.UserID
	}
	sameAccount := true
	if signIn.Token != nil {
		records = append(records, signIn.Token)
		same = same && signIn.Token.UserID == link.UserID
		sameAccount = signIn.Token.Account == link.Account
	}
	if err := check(ctx, records...); err != nil {
		return err
	}
	return errors.Join(checkSame("user_id", same), checkSame("account_id", sameAccount))
}

// whoSignsIn returns the account that is linked, or the new one, and
// [auth.ErrChanged] if the link is not as the caller has read it.
func (t tx) whoSignsIn(signIn auth.GitHubSignInWrite) (*account, error) {
	linked, err := t.accountOf(links, linkKey(signIn.Link.Account))
	isNew := errors.Is(err, auth.ErrNotFound)
	switch {
	case err != nil && !isNew:
		return nil, err
	case isNew != (signIn.NewUser != nil), !isNew && linked.User.ID != signIn.Link.UserID:
		return nil, auth.ErrChanged
	case !isNew:
		return linked, nil
	}
	user := *signIn.NewUser
	if t.bucket(emails).Get([]byte(auth.FoldASCII(user.Email))) != nil {
		user.Email = ""
	}
	return newAccount(user), nil
}

// tokenVersion returns the version of the token, empty where there is none.
func (a *account) tokenVersion(host string) string {
	if token := a.GitHub[host].Token; token != nil {
		return token.Version
	}
	return ""
}

// link adds the link or renews it. A token ends the lease of the one before.
func (a *account) link(link auth.GitHubLink, token *auth.GitHubToken) {
	host := link.Account.Host
	c, renewed := a.GitHub[host]
	link.CreatedAt, link.SeenAt = kept(link.CreatedAt), kept(link.SeenAt)
	if renewed {
		link.CreatedAt = c.Link.CreatedAt
	}
	c.Link = link
	if token != nil {
		c = connection{Link: link, Token: keptToken(*token)}
	}
	a.GitHub[host] = c
	if !a.User.AdmittedAt.IsZero() {
		a.User.AdmittedAt = link.SeenAt
	}
}

func keptToken(token auth.GitHubToken) *auth.GitHubToken {
	token.UpdatedAt = kept(token.UpdatedAt)
	return &token
}

// ConnectGitHub implements [auth.GitHubStore].
func (s *Store) ConnectGitHub(ctx context.Context, connect auth.GitHubConnectWrite) error {
	link, token := connect.Link, connect.Token
	if err := check(ctx, link, token); err != nil {
		return err
	}
	if err := errors.Join(checkSame("user_id", token.UserID == link.UserID), checkSame("account_id", token.Account == link.Account)); err != nil {
		return err
	}
	return s.update(ctx, func(t tx) error {
		return t.changeUser(link.UserID, func(a *account) error {
			session, there := a.Sessions[connect.SessionID]
			own, linked := a.GitHub[link.Account.Host]
			owner := t.bucket(links).Get([]byte(linkKey(link.Account)))
			switch {
			case !a.User.IsActive:
				return auth.ErrUserDisabled
			case !there || !session.ExpiresAt.After(kept(connect.At)):
				return auth.ErrNotFound
			case linked && own.Link.Account != link.Account, owner != nil && string(owner) != a.User.ID:
				return auth.ErrExists
			case a.tokenVersion(link.Account.Host) != connect.TokenVersion:
				return auth.ErrChanged
			}
			a.link(link, &token)
			return nil
		})
	})
}

// UpdateGitHubLink implements [auth.GitHubStore].
func (s *Store) UpdateGitHubLink(ctx context.Context, link auth.GitHubLink) error {
	if err := check(ctx, link); err != nil {
		return err
	}
	return s.update(ctx, func(t tx) error {
		return t.change(links, linkKey(link.Account), func(a *account) error {
			if a.User.ID != link.UserID {
				return auth.ErrNotFound
			}
			a.link(link, nil)
			return nil
		})
	})
}

// UnlinkGitHub implements [auth.GitHubStore].
func (s *Store) UnlinkGitHub(ctx context.Context, userID, host string, now time.Time) (auth.GitHubLink, *auth.GitHubToken, error) {
	var removed connection
	err := s.update(ctx, func(t tx) error {
		return t.changeUser(userID, func(a *account) error {
			c, linked := a.GitHub[host]
			if !linked {
				return auth.ErrNotFound
			}
			if len(a.GitHub) == 1 && !a.hasGoodKey(kept(now)) {
				return auth.ErrLastWayIn
			}
			removed = c
			delete(a.GitHub, host)
			return nil
		})
	})
	if err != nil {
		return auth.GitHubLink{}, nil, err
	}
	return removed.Link, removed.Token, nil
}

func (a *account) hasGoodKey(at time.Time) bool {
	for _, key := range a.Keys {
		if isGood(key, at) {
			return true
		}
	}
	return false
}
