package kvstore

import (
	"context"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// withToken calls the callback do with the user's connection to the GitHub host, and saves the
// connection. If the connection has no token, withToken returns [auth.ErrNotFound]. If the
// parameter version is not empty, withToken also returns this error for a token with a different
// Version.
func (s *Store) withToken(
	ctx context.Context, userID, host, version string, do func(*connection),
) error {
	return s.update(ctx, func(t tx) error {
		return t.changeUser(userID, func(a *account) error { return a.withToken(host, version, do) })
	})
}

func (a *account) withToken(host, version string, do func(*connection)) error {
	c := a.GitHub[host]
	if c.Token == nil || version != "" && c.Token.Version != version {
		return auth.ErrNotFound
	}
	do(&c)
	a.GitHub[host] = c
	return nil
}

// ListGitHubTokens implements [auth.GitHubStore]. It reads the account of each user, because the
// store has no index of tokens.
func (s *Store) ListGitHubTokens(
	ctx context.Context, host, after string, limit int,
) (tokens []auth.GitHubToken, err error) {
	err = s.view(ctx, func(t tx) error {
		for _, text := range t.after(accounts, after) {
			if len(tokens) >= limit {
				break
			}
			a, err := decode(text)
			if err != nil {
				return err
			}
			if token := a.GitHub[host].Token; token != nil {
				tokens = append(tokens, *token)
			}
		}
		return nil
	})
	return tokens, err
}

// LeaseGitHubToken implements [auth.GitHubStore].
func (s *Store) LeaseGitHubToken(
	ctx context.Context, userID, host, version string, now, until time.Time,
) (leased bool, err error) {
	if version == "" {
		return false, s.notFound(ctx)
	}
	err = s.withToken(ctx, userID, host, version, func(c *connection) {
		leased = !excludes(c.LeasedUntil, now, until)
		if leased {
			c.LeasedUntil = kept(until)
		}
	})
	return leased && err == nil, err
}

// ReplaceGitHubToken implements [auth.GitHubStore].
func (s *Store) ReplaceGitHubToken(
	ctx context.Context, token auth.GitHubToken, oldVersion string,
) error {
	if err := check(ctx, token); err != nil {
		return err
	}
	if oldVersion == "" {
		return auth.ErrNotFound
	}
	other := false
	err := s.withToken(ctx, token.UserID, token.Account.Host, oldVersion, func(c *connection) {
		if other = c.Link.Account != token.Account; !other {
			*c = connection{Link: c.Link, Token: keptToken(token)}
		}
	})
	if err == nil && other {
		err = auth.ErrNotFound
	}
	return err
}

// DeleteGitHubToken implements [auth.GitHubStore].
func (s *Store) DeleteGitHubToken(
	ctx context.Context, w auth.Write, userID, host, version string,
) (removed auth.GitHubToken, err error) {
	if err := check(ctx, w); err != nil {
		return removed, err
	}
	err = s.write(ctx, w, func(c *change) error {
		return c.user(userID, func(a *account) error {
			return a.withToken(host, version, func(of *connection) {
				removed, c.github = *of.Token, of.Link.Account
				*of = connection{Link: of.Link}
			})
		})
	})
	if err != nil {
		return auth.GitHubToken{}, err
	}
	return removed, nil
}

// notFound returns the error of ctx if ctx is done, and [auth.ErrNotFound] if ctx is not done. A
// method calls notFound if no record can match the arguments of the method.
func (s *Store) notFound(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return auth.ErrNotFound
}

// ConsumeState implements [auth.GitHubStore].
func (s *Store) ConsumeState(ctx context.Context, id string, expiresAt time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := storekit.ValidateState(id, expiresAt); err != nil {
		return err
	}
	return s.update(ctx, func(t tx) error {
		if t.bucket(states).Get([]byte(id)) != nil {
			return auth.ErrExists
		}
		at := kept(expiresAt)
		if err := t.bucket(states).Put([]byte(id), []byte(timeKey(at))); err != nil {
			return err
		}
		return t.bucket(stateExpiry).Put([]byte(expiryKey(at, id)), nil)
	})
}

// PruneStates implements [auth.GitHubStore].
func (s *Store) PruneStates(ctx context.Context, expired time.Time, limit int) (int, error) {
	return s.prune(ctx, stateExpiry, expired, limit, tx.forgetState)
}

func (t tx) forgetState(id string) error {
	at := string(t.bucket(states).Get([]byte(id)))
	if err := t.bucket(states).Delete([]byte(id)); err != nil {
		return err
	}
	return t.bucket(stateExpiry).Delete([]byte(at + id))
}
