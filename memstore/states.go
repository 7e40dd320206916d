package memstore

import (
	"context"
	"fmt"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// ConsumeState implements [auth.GitHubStore].
func (s *accounts) ConsumeState(ctx context.Context, id string, expiresAt time.Time) error {
	if err := check(ctx); err != nil {
		return err
	}
	if err := storekit.ValidateState(id, expiresAt); err != nil {
		return fmt.Errorf("memstore: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.states[id] != nil {
		return fmt.Errorf("memstore: state: %w", auth.ErrExists)
	}
	s.states[id] = s.statesByExpiry.add(id, storedTime(expiresAt))
	return nil
}

// PruneStates implements [auth.GitHubStore]. It holds the lock while it removes up to limit states.
func (s *accounts) PruneStates(ctx context.Context, expired time.Time, limit int) (int, error) {
	if err := check(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.statesByExpiry.prune(expired, limit, s.removeState), nil
}

// removeState removes a used state. The caller holds the lock.
func (s *accounts) removeState(id string) {
	s.statesByExpiry.remove(s.states[id])
	delete(s.states, id)
}
