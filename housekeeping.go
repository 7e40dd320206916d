package auth

import (
	"context"
	"fmt"
	"time"
)

const (
	pruneInterval = 10 * time.Minute
	pruneBatch    = 500 // records removed in one transaction, which keeps its locks short

	// An expired key stays visible for a while to whoever wonders why it stopped.
	expiredKeyRetention = 30 * 24 * time.Hour
)

// Run does the housekeeping, [Service.Prune] now and every ten minutes, until
// ctx is done, and returns ctx's error. It starts no goroutine. It may run on
// any number of instances at once, or on none, if the host calls Prune itself.
// What fails is logged and tried again the next time.
func (s *Service) Run(ctx context.Context) error {
	ticker := time.NewTicker(pruneInterval)
	defer ticker.Stop()
	for {
		if _, err := s.Prune(ctx); err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "auth: housekeeping failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// Prune removes expired sessions and used states, and access keys that expired 30
// days ago, in batches, and returns how many records it removed. What it had removed when it
// returns an error stays removed.
func (s *Service) Prune(ctx context.Context) (removed int, err error) {
	now := s.now()
	for _, kind := range []struct {
		name    string
		prune   func(ctx context.Context, expired time.Time, limit int) (int, error)
		expired time.Time
	}{
		{"sessions", s.store.PruneSessions, now},
		{"access keys", s.store.PruneKeys, now.Add(-expiredKeyRetention)},
		{"states", s.store.PruneStates, now},
	} {
		for {
			n, err := kind.prune(ctx, kind.expired, pruneBatch)
			removed += n
			if err != nil {
				return removed, fmt.Errorf("auth: pruning %s: %w", kind.name, err)
			}
			if n < pruneBatch {
				break
			}
		}
	}
	return removed, nil
}
