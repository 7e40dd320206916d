package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

const (
	selectLeasedToken = `
SELECT ` + tokenColumns + `, t.lease_until FROM auth_github_tokens t WHERE t.user_id = ? AND t.host = ? FOR UPDATE`
	leaseToken = `UPDATE auth_github_tokens SET lease_until = ? WHERE user_id = ? AND host = ?`
)

// holdToken locks the token until the transaction ends, and returns the token and the end of its
// lease.
func holdToken(
	ctx context.Context, t tx, userID, host string,
) (token auth.GitHubToken, leased time.Time, err error) {
	if !connectionStorable(userID, host) {
		return token, leased, auth.ErrNotFound
	}
	fields := append(tokenFields(&token), micros{&leased})
	err = scan(t.row(ctx, selectLeasedToken, userID, host), fields...)
	return token, leased, err
}

const selectTokens = `
SELECT ` + tokenColumns + ` FROM auth_github_tokens t WHERE t.host = ? AND t.user_id > ? ORDER BY t.user_id LIMIT ?`

// ListGitHubTokens implements [auth.GitHubStore].
func (s *core) ListGitHubTokens(
	ctx context.Context, host, after string, limit int,
) ([]auth.GitHubToken, error) {
	return read(ctx, s, "list GitHub tokens", func(
		ctx context.Context, q querier,
	) ([]auth.GitHubToken, error) {
		switch {
		case limit < 1:
			return nil, ctx.Err()
		case !storable(host, storekit.MaxGitHubHostLength),
			after != "" && !storable(after, auth.MaxIDLength):
			return nil, auth.ErrNotFound
		}
		return collect(ctx, q, tokenFields, selectTokens, host, after, limit)
	})
}

// LeaseGitHubToken implements [auth.GitHubStore].
func (s *core) LeaseGitHubToken(
	ctx context.Context, userID, host, version string, now, until time.Time,
) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if !tokenStorable(userID, host, version) {
		return false, auth.ErrNotFound
	}
	return writeFor(ctx, s, "lease GitHub token", func(ctx context.Context, t tx) (bool, error) {
		token, leased, err := holdToken(ctx, t, userID, host)
		switch {
		case err != nil:
			return false, err
		case token.Version != version:
			return false, auth.ErrNotFound
		case toMicros(leased) > toMicros(now) && toMicros(leased) <= latestEnd(now, until):
			return false, nil
		}
		return true, t.change(ctx, leaseToken, toMicros(until), userID, host)
	})
}

// ReplaceGitHubToken implements [auth.GitHubStore].
func (s *core) ReplaceGitHubToken(
	ctx context.Context, token auth.GitHubToken, oldVersion string,
) error {
	if err := cmp.Or(ctx.Err(), token.Validate()); err != nil {
		return err
	}
	return s.write(ctx, "replace GitHub token", func(ctx context.Context, t tx) error {
		return replaceToken(ctx, t, token, oldVersion)
	})
}

const deleteToken = `DELETE FROM auth_github_tokens WHERE user_id = ? AND host = ?`

// DeleteGitHubToken implements [auth.GitHubStore].
func (s *core) DeleteGitHubToken(
	ctx context.Context, w auth.Write, userID, host, version string,
) (auth.GitHubToken, error) {
	if err := cmp.Or(ctx.Err(), w.Validate()); err != nil {
		return auth.GitHubToken{}, err
	}
	if !connectionStorable(userID, host) || version != "" && !storable(version, auth.MaxIDLength) {
		return auth.GitHubToken{}, auth.ErrNotFound
	}
	return writeFor(ctx, s, "delete GitHub token", func(ctx context.Context, t tx) (auth.GitHubToken, error) {
		a, err := holdOwner(ctx, t, w, userID)
		if err != nil {
			return auth.GitHubToken{}, err
		}
		token, _, err := holdToken(ctx, t, userID, host)
		if err == nil && version != "" && version != token.Version {
			err = auth.ErrNotFound
		}
		if err != nil {
			return token, err
		}
		return token, runInOrder(
			func() error { return t.remove(ctx, deleteToken, userID, host) },
			func() error { return a.addEvent(ctx, about{userID, token.Account}) },
		)
	})
}

// putToken adds the token if oldVersion is empty. If the user already has a token for the GitHub
// host, putToken then adds nothing and returns [auth.ErrChanged].
//
// If oldVersion is not empty, putToken overwrites the stored token. The caller has locked the
// stored token and checked its version.
func putToken(ctx context.Context, t tx, token auth.GitHubToken, oldVersion string) error {
	if oldVersion != "" {
		return renewToken(ctx, t, token)
	}
	err := insertToken(ctx, t, token)
	if errors.Is(err, auth.ErrExists) {
		return auth.ErrChanged
	}
	return err
}

const insertGitHubToken = `
INSERT INTO auth_github_tokens (user_id, host, account_id, version, scopes, sealed, lease_until, updated_at)
VALUES (?, ?, ?, ?, ?, ?, 0, ?)`

func insertToken(ctx context.Context, t tx, token auth.GitHubToken) error {
	return t.insert(ctx, insertGitHubToken, token.UserID, token.Account.Host, token.Account.ID,
		token.Version, token.Scopes, token.Sealed, toMicros(token.UpdatedAt))
}

const updateToken = `
UPDATE auth_github_tokens SET version = ?, scopes = ?, sealed = ?, lease_until = 0, updated_at = ?
WHERE user_id = ? AND host = ?`

// replaceToken overwrites the user's stored token for the GitHub host. The stored token must have
// the version oldVersion and belong to the same account. If it does not, or if there is no stored
// token, replaceToken returns [auth.ErrNotFound].
func replaceToken(ctx context.Context, t tx, token auth.GitHubToken, oldVersion string) error {
	if !storable(oldVersion, auth.MaxIDLength) {
		return auth.ErrNotFound
	}
	old, _, err := holdToken(ctx, t, token.UserID, token.Account.Host)
	if err == nil && (old.Version != oldVersion || old.Account != token.Account) {
		err = auth.ErrNotFound
	}
	if err != nil {
		return err
	}
	return renewToken(ctx, t, token)
}

// renewToken overwrites the stored token, which the caller has locked.
func renewToken(ctx context.Context, t tx, token auth.GitHubToken) error {
	return t.change(ctx, updateToken,
		token.Version, token.Scopes, token.Sealed, toMicros(token.UpdatedAt),
		token.UserID, token.Account.Host)
}

// tokenStorable reports whether a user ID, a GitHub host and the version of a token can be in the
// database. See [storable].
func tokenStorable(userID, host, version string) bool {
	return connectionStorable(userID, host) && storable(version, auth.MaxIDLength)
}
