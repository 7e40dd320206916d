package histories

import (
	"context"
	"fmt"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// missing is the number of entries for single sessions that a user who folds needs for the next fold, at
// the beginning of a history.
const missing = 100

// fill gives the first user almost enough entries for a fold.
func (r *runner) fill(ctx context.Context, p *planner) error {
	head, err := r.store.RevocationHead(ctx)
	for i := 0; i < storekit.MaxNamedRevocations-missing && err == nil; i++ {
		err = r.store.RevokeToken(ctx, auth.SessionClaims{UserID: p.users[0],
			SessionID: fmt.Sprintf("%s-%d", p.name, i), Generation: head, ExpiresAt: epoch.Add(jump + longest)})
		head++
	}
	return err
}

// force returns the entries for the user up to the given Position that are in force.
func (r *runner) force(ctx context.Context, user string, last int64) (force []auth.Revocation, err error) {
	all, err := r.feed(ctx, 0)
	for _, e := range all {
		if e.UserID == user && !e.ExpiresAt.IsZero() && e.Position <= last {
			force = append(force, e)
		}
	}
	return force, err
}
