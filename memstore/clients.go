package memstore

import (
	"context"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// client is a client from which a user has signed in, with its entry in the queue of clients. The queue is
// sorted by the time of the last sign-in.
type client struct {
	record auth.SignInClient
	seen   *expiry[*client]
}

// RememberClient implements [auth.SessionStore].
func (s *accounts) RememberClient(
	ctx context.Context, w auth.Write, record auth.SignInClient,
) (isNew bool, err error) {
	if err := check(ctx, w, record); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.authorize(w, record.UserID)
	if err != nil {
		return false, err
	}
	if _, err := s.user(record.UserID); err != nil {
		return false, err
	}
	known := s.clients[record.UserID]
	if found := known[record.Hash]; found != nil {
		at := latest(found.seen.at, now)
		s.clientsBySeen.remove(found.seen)
		found.seen = s.clientsBySeen.add(found, at)
		return false, nil
	}
	if known == nil {
		known = make(map[string]*client)
		s.clients[record.UserID] = known
	}
	isNew = len(known) > 0
	if len(known) >= storekit.MaxClients {
		s.removeClient(longestUnseen(known))
	}
	added := &client{record: record}
	added.seen = s.clientsBySeen.add(added, now)
	known[record.Hash] = added
	if isNew {
		s.addEvent(w, now, subject{userID: record.UserID})
	}
	return isNew, nil
}

// longestUnseen returns the client from which the user has not signed in for the longest time.
func longestUnseen(known map[string]*client) (oldest *client) {
	for _, c := range known {
		if oldest == nil || c.seen.at.Before(oldest.seen.at) {
			oldest = c
		}
	}
	return oldest
}

// PruneClients implements [auth.SessionStore].
func (s *accounts) PruneClients(ctx context.Context, seen time.Time, limit int) (int, error) {
	if err := check(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clientsBySeen.prune(seen, limit, s.removeClient), nil
}

// removeClient removes the client from every index. The caller holds the lock.
func (s *accounts) removeClient(old *client) {
	s.clientsBySeen.remove(old.seen)
	known := s.clients[old.record.UserID]
	delete(known, old.record.Hash)
	if len(known) == 0 {
		delete(s.clients, old.record.UserID)
	}
}

// removeClientsOf removes all clients of the user. The caller holds the lock.
func (s *accounts) removeClientsOf(userID string) {
	for _, old := range s.clients[userID] {
		s.removeClient(old)
	}
}
