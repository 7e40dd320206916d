package auth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sallyport-go/auth/internal/revocation"
)

const (
	pruneInterval = 10 * time.Minute
	pruneBatch    = 500 // records removed in one transaction, which keeps its locks short

	// An expired key stays visible for a while, so that its owner sees why it stopped.
	expiredKeyRetention = 30 * 24 * time.Hour
)

// Run does the work that no request should wait for, until ctx is done, and returns ctx's error.
// It reads the revocation feed twice in each RevocationInterval, delivers events to
// Config.OnEvent ([EventLog.Run]), and calls [Service.Prune] now and every ten minutes, in
// goroutines that end before Run returns. One is left behind: that of an OnEvent which takes more
// than 5 seconds then. Stop the server first, because events that come after Run has ended go to
// the log as well.
//
// Run belongs on every instance. Without it, the first request in each interval reads the feed,
// events wait in vain, and the host must call Prune itself. Failures are logged, and the work is
// tried again the next time.
func (s *Service) Run(ctx context.Context) error {
	var delivery sync.WaitGroup
	defer delivery.Wait()
	delivery.Go(func() { s.events.Run(ctx) })
	read := time.NewTicker(max(time.Millisecond, s.tokens.cfg.RevocationInterval/2))
	defer read.Stop()
	failing := s.readFeed(ctx, false) // before pruning, because no token is accepted until then
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

// housekeep prunes now and every ten minutes until ctx is done. It has a goroutine of its own,
// because the feed must be read while it takes its time.
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

// readFeed reads the revocation feed and returns whether that fails. It logs the first of several
// failures, and their end.
func (s *Service) readFeed(ctx context.Context, failing bool) bool {
	feed := s.tokens.feed
	if feed == nil {
		return false
	}
	err := feed.ReadNow(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil && !failing:
		s.log.ErrorContext(ctx, "auth: the revocation feed cannot be read: soon no token will be accepted",
			"accepted_for", s.tokens.cfg.MaxStaleness, "error", err)
	case err == nil && failing:
		s.log.InfoContext(ctx, "auth: the revocation feed can be read again")
	}
	return err != nil
}

// Prune removes expired sessions, used states and feed entries, access keys that expired 30 days ago,
// and events of the audit trail that are older than Config.AuditRetention, in batches, and returns
// how many records it removed. If it returns an error, the records
// that it had removed stay removed.
func (s *Service) Prune(ctx context.Context) (removed int, err error) {
	now := s.now()
	type prunable struct {
		name    string
		prune   func(ctx context.Context, expired time.Time, limit int) (int, error)
		expired time.Time
	}
	kinds := []prunable{
		{"sessions", s.store.PruneSessions, now},
		{"access keys", s.store.PruneKeys, now.Add(-expiredKeyRetention)},
		{"states", s.store.PruneStates, now},
		{"revocations", s.store.PruneRevocations, now.Add(-revocation.Grace)},
	}
	if trail := s.events.trail; trail != nil {
		kinds = append(kinds, prunable{"events", trail.PruneEvents, now.Add(-s.retention)})
	}
	for _, kind := range kinds {
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

// FeedAge returns the age of what this instance knows of the revocation feed, and whether that
// is good enough to accept tokens: for a gauge and an alert. Before the first complete read the
// age is math.MaxInt64. With CheckSessionsInStore it is 0 and true.
func (s *Service) FeedAge() (age time.Duration, accepts bool) {
	feed := s.tokens.feed
	if feed == nil {
		return 0, true
	}
	age = feed.Age(s.now())
	return age, age < s.tokens.cfg.MaxStaleness
}

// maxListedEvents is how many events one call lists at most.
const maxListedEvents = 200

// errNoTrail is what the methods for the audit trail return if there is none.
var errNoTrail = errors.New("auth: there is no audit trail: the store is no EventStore, or " +
	"Config.DisableAuditTrail is set")

// Events returns at most limit events of the audit trail that match the filter, the newest first;
// limit is from 1 to 200. Passing the ID of the last one as the filter's Before lists the next. It
// returns ErrNotFound if there is no event with the ID Before, an *InvalidError for a limit that is
// out of range, and another error if the store is no [EventStore] or Config.DisableAuditTrail is set.
func (s *Service) Events(ctx context.Context, filter EventFilter, limit int) ([]Event, error) {
	switch {
	case s.events.trail == nil:
		return nil, errNoTrail
	case limit < 1 || limit > maxListedEvents:
		return nil, invalidf("limit", "must be from 1 to %d", maxListedEvents)
	}
	events, err := s.events.trail.ListEvents(ctx, filter, limit)
	if err != nil {
		return nil, fmt.Errorf("auth: listing events: %w", err)
	}
	return events, nil
}
