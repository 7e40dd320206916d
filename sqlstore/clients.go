package sqlstore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

const (
	lockClients       = `SELECT c.hash, c.seen_at FROM auth_clients c WHERE c.user_id = ? FOR UPDATE`
	insertClient      = `INSERT INTO auth_clients (user_id, hash, seen_at) VALUES (?, ?, ?)`
	updateClient      = `UPDATE auth_clients SET seen_at = ? WHERE user_id = ? AND hash = ?`
	deleteClient      = `DELETE FROM auth_clients WHERE user_id = ? AND hash = ?`
	deleteUserClients = `DELETE FROM auth_clients WHERE user_id = ?`
)

// seenClient is a client of a user, and when the user last signed in from it, in microseconds.
type seenClient struct {
	hash string
	at   int64
}

// RememberClient implements [auth.SessionStore]. The user is locked, so only PruneClients can change the
// clients of the user at the same time. It skips the rows that RememberClient locks.
func (s *core) RememberClient(
	ctx context.Context, w auth.Write, client auth.SignInClient,
) (isNew bool, err error) {
	if err := cmp.Or(ctx.Err(), w.Validate(), client.Validate()); err != nil {
		return false, err
	}
	return writeFor(ctx, s, "remember client", func(ctx context.Context, t tx) (bool, error) {
		a, err := holdOwner(ctx, t, w, client.UserID)
		if err != nil {
			return false, err
		}
		known, err := collect(ctx, t.querier, func(c *seenClient) []any { return []any{&c.hash, &c.at} },
			lockClients, client.UserID)
		if err != nil {
			return false, err
		}
		return a.rememberClient(ctx, client, known)
	})
}

// rememberClient writes the client. The parameter known contains the locked clients of the user.
func (a acting) rememberClient(
	ctx context.Context, client auth.SignInClient, known []seenClient,
) (isNew bool, err error) {
	at := toMicros(a.now)
	i := slices.IndexFunc(known, func(c seenClient) bool { return c.hash == client.Hash })
	if i >= 0 {
		if at <= known[i].at {
			return false, nil
		}
		return false, a.change(ctx, updateClient, at, client.UserID, client.Hash)
	}
	if len(known) >= storekit.MaxClients {
		oldest := slices.MinFunc(known, func(a, b seenClient) int { return cmp.Compare(a.at, b.at) })
		if err := a.change(ctx, deleteClient, client.UserID, oldest.hash); err != nil {
			return false, err
		}
	}
	if err := a.insert(ctx, insertClient, client.UserID, client.Hash, at); err != nil || len(known) == 0 {
		return false, err
	}
	return true, a.addEvent(ctx, about{userID: client.UserID})
}

const unseenClients = `
SELECT c.user_id, c.hash FROM auth_clients c WHERE c.seen_at <= ?
ORDER BY c.seen_at LIMIT ? FOR UPDATE SKIP LOCKED`

// PruneClients implements [auth.SessionStore].
func (s *core) PruneClients(ctx context.Context, seen time.Time, limit int) (int, error) {
	if err := ctx.Err(); err != nil || limit < 1 {
		return 0, err
	}
	return writeFor(ctx, s, "prune clients", func(ctx context.Context, t tx) (int, error) {
		unseen, err := collect(ctx, t.querier, func(c *auth.SignInClient) []any {
			return []any{&c.UserID, &c.Hash}
		}, unseenClients, toMicros(seen), limit)
		if err != nil {
			return 0, err
		}
		for _, c := range unseen {
			if err := t.change(ctx, deleteClient, c.UserID, c.Hash); err != nil {
				return 0, err
			}
		}
		return len(unseen), nil
	})
}
