package auth

import (
	"context"
	"fmt"
	"sync"
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
// [Service.Prune] now and every ten minutes, in a goroutine that ends before it returns.
// With Config.OnEvent it tells the host what happens, in another, which is left behind if
// the host's function takes more than five seconds then. End the server first: events that
// come when Run has ended are in the log, too, for they may wait for another Run in vain.
//
// Run belongs on every instance. Without it the first request in each interval
// reads what has ended, and the host is to call Prune itself. What fails is logged
// and tried again the next time.
func (s *Service) Run(ctx context.Context) error {
	defer s.events.runDelivery(ctx)()
	read := time.NewTicker(max(time.Millisecond, s.tokens.cfg.RevocationInterval/2))
	defer read.Stop()
	failing := s.readFeed(ctx, false) // before pruning: nobody is let in before it
	var pruning sync.WaitGroup
	defer pruning.Wait()
	pruning.Go(func() { s.housekeep(ctx) })
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-read.C:
			failing = s.readFeed(ctx, failing)
		}
	}
}

// housekeep prunes now and then until ctx is done: by itself, for the feed must be read
// while it takes its time.
func (s *Service) housekeep(ctx context.Context) {
	again := time.NewTicker(pruneInterval)
	defer again.Stop()
	for ctx.Err() == nil {
		if _, err := s.Prune(ctx); err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "auth: housekeeping failed", "error", err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
		}
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
