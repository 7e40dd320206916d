package authtest

import (
	"context"
	"time"

	"github.com/sallyport-go/auth"
)

type faultyTrail struct {
	trail  auth.EventStore
	faulty func(ctx context.Context, method string) error
}

func (s *faultyTrail) ListEvents(
	ctx context.Context, filter auth.EventFilter, limit int,
) ([]auth.Event, error) {
	if err := s.faulty(ctx, "ListEvents"); err != nil {
		return nil, err
	}
	return s.trail.ListEvents(ctx, filter, limit)
}

func (s *faultyTrail) ClaimEvent(ctx context.Context, now, until time.Time) (auth.Event, int, error) {
	if err := s.faulty(ctx, "ClaimEvent"); err != nil {
		return auth.Event{}, 0, err
	}
	return s.trail.ClaimEvent(ctx, now, until)
}

func (s *faultyTrail) FinishEvent(ctx context.Context, id string) error {
	if err := s.faulty(ctx, "FinishEvent"); err != nil {
		return err
	}
	return s.trail.FinishEvent(ctx, id)
}

func (s *faultyTrail) PruneEvents(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.faulty(ctx, "PruneEvents"); err != nil {
		return 0, err
	}
	return s.trail.PruneEvents(ctx, before, limit)
}
