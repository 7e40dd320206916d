package sqlstore

import (
	"context"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

const (
	insertSpentGrant = `INSERT INTO auth_spent_grants (digest) VALUES (?)`
	selectSpentGrant = `SELECT EXISTS (SELECT 1 FROM auth_spent_grants WHERE digest = ?)`
)

// recallGrant reports whether the grant of the account was spent before the account was pruned. The
// caller has just inserted and locked the row of the account. A transaction that prunes the account at
// the same time has therefore ended, and recallGrant sees the digest that it has inserted. The function
// remember then writes the result to the row.
func recallGrant(ctx context.Context, t tx, account auth.GitHubAccount) (bool, error) {
	return t.queryBool(ctx, selectSpentGrant, storekit.GitHubDigest(account))
}

const (
	forgottenAccounts = `
SELECT a.host, a.account_id, a.grant_spent FROM auth_github_accounts a
WHERE a.forgotten_at > 0 AND a.forgotten_at <= ? ORDER BY a.forgotten_at LIMIT ? FOR UPDATE SKIP LOCKED`
	deleteAccount = `DELETE FROM auth_github_accounts WHERE host = ? AND account_id = ?`
)

// PruneGitHubAccounts implements [auth.GitHubStore].
func (s *core) PruneGitHubAccounts(ctx context.Context, forgotten time.Time, limit int) (int, error) {
	if err := ctx.Err(); err != nil || limit < 1 {
		return 0, err
	}
	type row struct {
		auth.GitHubAccount
		spent bool
	}
	fields := func(r *row) []any { return []any{&r.Host, &r.ID, &r.spent} }
	return writeFor(ctx, s, "prune GitHub accounts", func(ctx context.Context, t tx) (int, error) {
		rows, err := collect(ctx, t.querier, fields, forgottenAccounts, toMicros(forgotten), limit)
		if err != nil {
			return 0, err
		}
		for _, r := range rows {
			if r.spent {
				statement := insertSpentGrant + t.store.dialect.unlessExists("digest")
				if err := t.change(ctx, statement, storekit.GitHubDigest(r.GitHubAccount)); err != nil {
					return 0, err
				}
			}
			if err := t.change(ctx, deleteAccount, r.Host, r.ID); err != nil {
				return 0, err
			}
		}
		return len(rows), nil
	})
}
