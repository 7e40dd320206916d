package kvstore

import (
	"context"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// RememberClient implements [auth.SessionStore].
func (s *Store) RememberClient(
	ctx context.Context, w auth.Write, client auth.SignInClient,
) (isNew bool, err error) {
	if err := check(ctx, w, client); err != nil {
		return false, err
	}
	err = s.write(ctx, w, func(c *change) error {
		if err := w.By.CheckOwner(client.UserID); err != nil {
			return err
		}
		if err := c.changeUser(client.UserID, func(a *account) error {
			isNew = a.remember(client.Hash, c.now)
			return nil
		}); err != nil || !isNew {
			return err
		}
		return c.addEvent(client.UserID)
	})
	return isNew && err == nil, err
}

// remember records a sign-in from the client, and reports whether the client is new.
func (a *account) remember(hash string, now time.Time) (isNew bool) {
	if seen, known := a.Clients[hash]; known {
		if now.After(seen) {
			a.Clients[hash] = now
		}
		return false
	}
	isNew = len(a.Clients) > 0
	if len(a.Clients) >= storekit.MaxClients {
		oldest := ""
		for other, seen := range a.Clients {
			if oldest == "" || seen.Before(a.Clients[oldest]) {
				oldest = other
			}
		}
		delete(a.Clients, oldest)
	}
	a.Clients[hash] = now
	return isNew
}

// clientID returns the ID of the client in the index of all clients. A user ID contains no NUL.
func clientID(userID, hash string) string { return userID + "\x00" + hash }

// PruneClients implements [auth.SessionStore].
func (s *Store) PruneClients(ctx context.Context, seen time.Time, limit int) (int, error) {
	return s.prune(ctx, clientTimes, seen, limit, tx.removeClient)
}

func (t tx) removeClient(id string) error {
	userID, hash, _ := strings.Cut(id, "\x00")
	return t.changeUser(userID, func(a *account) error { delete(a.Clients, hash); return nil })
}
