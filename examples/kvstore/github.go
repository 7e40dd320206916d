package kvstore

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// FindGitHubLink implements [auth.GitHubStore].
func (s *Store) FindGitHubLink(
	ctx context.Context, of auth.GitHubAccount,
) (link auth.GitHubLink, err error) {
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
func (s *Store) FindGitHubConnection(
	ctx context.Context, userID, host string,
) (auth.GitHubLink, *auth.GitHubToken, error) {
	var found connection // its token is a copy, because the account was decoded from JSON
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
func (s *Store) SignInGitHub(
	ctx context.Context, w auth.Write, signIn auth.GitHubSignInWrite,
) (opened auth.Session, user auth.User, err error) {
	if err := check(ctx, w, signIn); err != nil {
		return opened, user, err
	}
	err = s.write(ctx, w, func(c *change) error {
		c.github = signIn.Link.Account
		a, state, err := c.signInAccount(signIn)
		if err != nil {
			return err
		}
		if opened, err = c.open(a, signIn.Session, signIn.SessionLimit); err != nil {
			return err
		}
		a.link(signIn.Link, signIn.Token)
		if err := c.recall(c.github); err != nil {
			return err
		}
		if signIn.NewUser == nil && a.User.Email == "" {
			a.User.Email = c.freeEmail(signIn.Email)
		}
		wasSuperUser := a.User.IsSuperUser
		if signIn.GrantSuperUser && !state.GrantSpent {
			a.User.IsSuperUser = true
			if err := c.spendGrant(c.github); err != nil {
				return err
			}
		}
		user = a.User
		save := c.save
		if signIn.NewUser != nil {
			save = c.add
		}
		if err := save(a); err != nil || state.LinkedTo != "" && user.IsSuperUser == wasSuperUser {
			return err
		}
		return c.addEvent(user.ID)
	})
	if err != nil {
		return auth.Session{}, auth.User{}, err
	}
	return opened, user, nil
}

// signInAccount returns the account of the user who signs in, and the state of the GitHub account.
// If the sign-in creates the user, signInAccount returns a new account that is not saved yet.
func (c *change) signInAccount(
	signIn auth.GitHubSignInWrite,
) (*account, storekit.GitHubState, error) {
	if err := c.write.By.CheckOwner(signIn.Link.UserID); err != nil {
		return nil, storekit.GitHubState{}, err
	}
	a, err := c.account(signIn.Link.UserID)
	if errors.Is(err, auth.ErrNotFound) && signIn.NewUser != nil {
		user := *signIn.NewUser
		user.Email = c.freeEmail(user.Email)
		a, err = newAccount(user), nil
	}
	if err != nil {
		return nil, storekit.GitHubState{}, err
	}
	state := c.accountState(a, signIn.Link.Account)
	return a, state, storekit.SignInGitHub(signIn, state, true)
}

// freeEmail returns the e-mail, or "" if a user has it already.
func (t tx) freeEmail(email string) string {
	if t.bucket(emails).Get([]byte(auth.FoldASCII(email))) != nil {
		return ""
	}
	return email
}

// accountState returns the stored state of the GitHub account. The parameter a contains the records
// of a user. The result also describes this user's link to the same GitHub host.
func (t tx) accountState(a *account, of auth.GitHubAccount) storekit.GitHubState {
	key := []byte(linkKey(of))
	return storekit.GitHubState{
		LinkedTo:      string(t.bucket(links).Get(key)),
		RememberedFor: string(t.bucket(remembered).Get(key)),
		GrantSpent: t.bucket(spentGrants).Get(key) != nil ||
			t.bucket(prunedGrants).Get([]byte(storekit.GitHubDigest(of))) != nil,
		UserIsService: a.User.IsService,
		UserAccount:   a.GitHub[of.Host].Link.Account,
		TokenVersion:  a.tokenVersion(of.Host),
	}
}

// spendGrants spends the grant of each GitHub account that is remembered for the user.
func (t tx) spendGrants(a *account) error {
	for _, account := range a.Remembered {
		if err := t.spendGrant(account); err != nil {
			return err
		}
	}
	return nil
}

func (t tx) spendGrant(account auth.GitHubAccount) error {
	return t.bucket(spentGrants).Put([]byte(linkKey(account)), nil)
}

// tokenVersion returns the Version of the user's token for the GitHub host. If the user has no such
// token, tokenVersion returns "".
func (a *account) tokenVersion(host string) string {
	if token := a.GitHub[host].Token; token != nil {
		return token.Version
	}
	return ""
}

// link stores the link in the account, or updates the link to the same GitHub host. It also
// remembers the GitHub account for the user. If the parameter token is not nil, link also stores
// the token, and the lease on the old token ends.
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
	if !slices.Contains(a.Remembered, link.Account) {
		a.Remembered = append(a.Remembered, link.Account)
	}
	if !a.User.AdmittedAt.IsZero() {
		a.User.AdmittedAt = link.SeenAt
	}
}

func keptToken(token auth.GitHubToken) *auth.GitHubToken {
	token.UpdatedAt = kept(token.UpdatedAt)
	return &token
}

// ListGitHubAccounts implements [auth.GitHubStore].
func (s *Store) ListGitHubAccounts(ctx context.Context, userID string) (of []auth.GitHubAccount, err error) {
	err = s.view(ctx, func(t tx) error {
		a, err := t.account(userID)
		if errors.Is(err, auth.ErrNotFound) {
			return nil
		}
		if err == nil {
			of = slices.Clone(a.Remembered)
			slices.SortFunc(of, func(a, b auth.GitHubAccount) int {
				return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.ID, b.ID))
			})
		}
		return err
	})
	return of, err
}

// ConnectGitHub implements [auth.GitHubStore].
func (s *Store) ConnectGitHub(
	ctx context.Context, w auth.Write, connect auth.GitHubConnectWrite,
) error {
	if err := check(ctx, w, connect); err != nil {
		return err
	}
	return s.write(ctx, w, func(c *change) error {
		c.github = connect.Link.Account
		return c.user(connect.Link.UserID, func(a *account) error {
			state := c.accountState(a, c.github)
			if err := cmp.Or(c.grant(nil), storekit.ConnectGitHub(connect, state)); err != nil {
				return err
			}
			a.link(connect.Link, &connect.Token)
			return c.recall(c.github)
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
func (s *Store) UnlinkGitHub(
	ctx context.Context, w auth.Write, userID, host string,
) (auth.GitHubLink, *auth.GitHubToken, error) {
	if err := check(ctx, w); err != nil {
		return auth.GitHubLink{}, nil, err
	}
	var removed connection
	err := s.write(ctx, w, func(c *change) error {
		return c.user(userID, func(a *account) error {
			linked := false
			if removed, linked = a.GitHub[host]; !linked {
				return auth.ErrNotFound
			}
			if len(a.GitHub) == 1 && !a.hasGoodKey(c.now) {
				return auth.ErrLastWayIn
			}
			c.github = removed.Link.Account
			delete(a.GitHub, host)
			return c.end(a, c.latestEnd(), func(session auth.Session) bool {
				return session.Method == auth.MethodGitHub ||
					session.Method == auth.MethodDevice && session.AccessKeyID == ""
			})
		})
	})
	if err != nil {
		return auth.GitHubLink{}, nil, err
	}
	return removed.Link, removed.Token, nil
}

// ForgetGitHubAccount implements [auth.GitHubStore].
func (s *Store) ForgetGitHubAccount(
	ctx context.Context, w auth.Write, account auth.GitHubAccount,
) error {
	if err := check(ctx, w); err != nil {
		return err
	}
	return s.write(ctx, w, func(c *change) error {
		c.github = account
		return c.forget(account)
	})
}

func (c *change) forget(of auth.GitHubAccount) error {
	if err := cmp.Or(c.write.By.CheckOwner(""), c.grant(nil)); err != nil {
		return err
	}
	if c.bucket(links).Get([]byte(linkKey(of))) != nil {
		return auth.ErrExists
	}
	return c.owner(remembered, linkKey(of), func(a *account) error {
		a.Remembered = slices.DeleteFunc(a.Remembered, func(other auth.GitHubAccount) bool {
			return other == of
		})
		return c.markForgotten(of)
	})
}

func (a *account) hasGoodKey(at time.Time) bool {
	for _, key := range a.Keys {
		if isGood(key, at) {
			return true
		}
	}
	return false
}
