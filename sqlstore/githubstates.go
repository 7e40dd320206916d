package sqlstore

import (
	"cmp"
	"context"
	"time"

	"github.com/sallyport-go/auth/storekit"
)

const insertState = `INSERT INTO auth_github_states (id, expires_at) VALUES (?, ?)`

// ConsumeState implements [auth.GitHubStore]. If concurrent calls have the same ID, the primary key
// lets only one call insert the ID.
func (s *core) ConsumeState(ctx context.Context, id string, expiresAt time.Time) error {
	if err := cmp.Or(ctx.Err(), storekit.ValidateState(id, expiresAt)); err != nil {
		return err
	}
	return s.write(ctx, "use state", func(ctx context.Context, t tx) error {
		return t.insert(ctx, insertState, id, toMicros(expiresAt))
	})
}

const (
	expiredStates = `
SELECT id FROM auth_github_states WHERE expires_at <= ? ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED`
	deleteStates = `DELETE FROM auth_github_states WHERE id `
)

// PruneStates implements [auth.GitHubStore].
func (s *core) PruneStates(ctx context.Context, expired time.Time, limit int) (int, error) {
	return prune[string](ctx, s, "prune states", limit, dueBy(expiredStates, expired), deleteStates)
}
