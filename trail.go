package auth

import (
	"context"
	"errors"
	"fmt"
)

// maxListedEvents is how many events one call lists at most.
const maxListedEvents = 200

// errNoTrail is what the methods for the audit trail return if there is none.
var errNoTrail = errors.New("auth: there is no audit trail: the store is no EventStore, or Config.DisableAuditTrail is set")

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
