package sqlstore

import (
	"cmp"
	"context"
	"time"

	"github.com/sallyport-go/auth"
)

const insertState = `INSERT INTO auth_github_states (id, expires_at) VALUES (?, ?)`

// UseState implements [auth.GitHubStore]. The primary key decides which call was
// the first.
func (s *Store) UseState(ctx context.Context, id string, expiresAt time.Time) error {
	if err := cmp.Or(ctx.Err(), auth.ValidateState(id, expiresAt)); err != nil {
		return err
	}
	return s.write(ctx, "use state", func(ctx context.Context, t tx) error {
		return t.insert(ctx, insertState, id, toMicros(expiresAt))
	})
}

const pruneStates = `
DELETE FROM auth_github_states WHERE id IN (
	SELECT id FROM (
		SELECT id FROM auth_github_states WHERE expires_at <= ? ORDER BY expires_at LIMIT ?
	) AS expired
)`

// PruneStates implements [auth.GitHubStore].
func (s *Store) PruneStates(ctx context.Context, expired time.Time, limit int) (int, error) {
	if err := ctx.Err(); err != nil || limit < 1 {
		return 0, err
	}
	return writeFor(ctx, s, "prune states", func(ctx context.Context, t tx) (int, error) {
		return t.count(ctx, pruneStates, toMicros(expired), limit)
	})
}
