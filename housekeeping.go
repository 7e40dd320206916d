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

// Run does what need not wait for a request, until ctx is done, and returns ctx's
// error. It reads which sessions have ended, now and twice in each
// RevocationInterval, so that no request has to, and does the housekeeping,
// [Service.Prune] now and every ten minutes. With Config.OnEvent it tells the host what
// happens, in a goroutine that ends before it returns, or is left behind if the
// host's function takes more than five seconds then.
//
// Run belongs on every instance. Without it the first request in each interval
// reads what has ended, and the host is to call Prune itself. What fails is logged
// and tried again the next time.
func (s *Service) Run(ctx context.Context) error {
	defer s.events.runDelivery(ctx)()
	prune := time.NewTicker(pruneInterval)
	defer prune.Stop()
	read := time.NewTicker(max(time.Millisecond, s.tokens.cfg.RevocationInterval/2))
	defer read.Stop()
	failing := s.readFeed(ctx, false) // before pruning, which may take its time: nobody is let in before it
	s.housekeep(ctx)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-read.C:
			failing = s.readFeed(ctx, failing)
		case <-prune.C:
			s.housekeep(ctx)
		}
	}
}

func (s *Service) housekeep(ctx context.Context) {
	if _, err := s.Prune(ctx); err != nil && ctx.Err() == nil {
		s.log.ErrorContext(ctx, "auth: housekeeping failed", "error", err)
	}
}

// readFeed reads which sessions have ended, and returns whether that fails. It logs
// the first of several failures, and that they are over.
func (s *Service) readFeed(ctx context.Context, failing bool) bool {
	feed := s.tokens.feed
	if feed == nil {
		return false
	}
	err := feed.keepFresh(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil && !failing:
		s.log.ErrorContext(ctx, "auth: cannot read which sessions have ended: soon no token will be accepted",
			"accepted_for", feed.maxStaleness, "error", err)
	case err == nil && failing:
		s.log.InfoContext(ctx, "auth: reads again which sessions have ended")
	}
	return err != nil
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
		{"revocations", s.store.PruneRevocations, now.Add(-revocationGrace)},
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
