package histories

import (
	"context"
	"errors"
	"fmt"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// folder is the ID of the only user who takes part in several histories. This user has so many
// entries that each revoke one session that the feed folds them in almost every history.
const folder = "folder"

// missing is the number of entries for single sessions that the folder needs for the next fold, at
// the beginning of a history.
const missing = 100

// prepareFolder gives the folder almost enough entries for a fold, no sessions and one key.
func (r *runner) prepareFolder(ctx context.Context, p *planner, h *history) error {
	if !r.foldable {
		c := call{Verb: register, By: auth.ByHost("test"), User: folder, Key: "folder-key", At: epoch,
			Patience: patience}
		if err := c.succeed(ctx, r.store); err != nil {
			return err
		}
		r.foldable = true
	}
	if err := r.emptyFolder(ctx); err != nil {
		return err
	}
	key := p.id("k", 0)
	c := call{Verb: addKey, By: auth.ByHost("test"), User: folder, Key: key, At: epoch, Patience: patience}
	if err := c.succeed(ctx, r.store); err != nil {
		return err
	}
	h.keys[folder], p.keys[folder] = key, []string{key}

	head, err := r.store.RevocationHead(ctx)
	if err != nil {
		return err
	}
	force, err := r.forceOfFolder(ctx, head)
	for i := len(force); i < storekit.MaxNamedRevocations-missing && err == nil; i++ {
		err = r.store.RevokeToken(ctx, auth.SessionClaims{UserID: folder,
			SessionID: fmt.Sprintf("%s-%d", p.name, i), Generation: head, ExpiresAt: epoch.Add(jump + longest)})
		head++
	}
	return err
}

// emptyFolder revokes each session and each key of the folder.
func (r *runner) emptyFolder(ctx context.Context) error {
	w := call{By: auth.ByHost("test"), At: epoch}.write()
	sessions, err := r.store.ListSessions(ctx, folder, beforeAll)
	for _, session := range sessions {
		err = errors.Join(err, r.store.RevokeSession(ctx, w, session.ID))
	}
	keys, listErr := r.store.ListKeys(ctx, folder)
	for _, key := range keys {
		err = errors.Join(err, r.store.RevokeKey(ctx, w, key.ID))
	}
	return errors.Join(err, listErr)
}

// forceOfFolder returns the entries for the folder up to the given Position that are in force.
func (r *runner) forceOfFolder(ctx context.Context, last int64) (force []auth.Revocation, err error) {
	all, err := r.feed(ctx, 0)
	for _, e := range all {
		if e.UserID == folder && !e.ExpiresAt.IsZero() && e.Position <= last {
			force = append(force, e)
		}
	}
	return force, err
}
