package sqlstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/sqlstore"
)

// eventVerbs are calls of the methods that are about the audit trail.
func eventVerbs() []verb {
	return []verb{
		{"ListEvents", false, func(ctx context.Context, s *sqlstore.Store) error {
			events, err := s.ListEvents(ctx, auth.EventFilter{}, 10)
			return expect(1)(len(events), err)
		}},
		{"ListEvents of a user", false, func(ctx context.Context, s *sqlstore.Store) error {
			events, err := s.ListEvents(ctx, auth.EventFilter{UserID: "ada"}, 10)
			return expect(1)(len(events), err)
		}},
		{"ListEvents of a kind", false, func(ctx context.Context, s *sqlstore.Store) error {
			events, err := s.ListEvents(ctx, auth.EventFilter{Kind: "test"}, 10)
			return expect(1)(len(events), err)
		}},
		{"ListEvents of a user and a kind", false, func(ctx context.Context, s *sqlstore.Store) error {
			events, err := s.ListEvents(ctx, auth.EventFilter{UserID: "ada", Kind: "test"}, 10)
			return expect(1)(len(events), err)
		}},
		{"ListEvents of a time", false, func(ctx context.Context, s *sqlstore.Store) error {
			events, err := s.ListEvents(ctx, auth.EventFilter{From: now, To: now.Add(time.Second)}, 10)
			return expect(1)(len(events), err)
		}},
		{"ListEvents of an actor", false, func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.ListEvents(ctx, auth.EventFilter{ActorID: "ada"}, 10)
			return err
		}},
		{"ListEvents of an actor and a user", false, func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.ListEvents(ctx, auth.EventFilter{ActorID: "ada", UserID: "ada"}, 10)
			return err
		}},
		{"ClaimEvent", true, func(ctx context.Context, s *sqlstore.Store) error {
			_, _, err := s.ClaimEvent(ctx, now, now.Add(time.Minute))
			return err
		}},
		{"FinishEvent", true, func(ctx context.Context, s *sqlstore.Store) error { return s.FinishEvent(ctx, "event") }},
		{"PruneEvents", true, func(ctx context.Context, s *sqlstore.Store) error {
			return expect(1)(s.PruneEvents(ctx, now.Add(time.Hour), 10))
		}},
	}
}

// listBefore lists the events before the seeded one. It is not among the verbs, because it reads twice: first
// the event itself, which never changes.
func listBefore(t *testing.T, store *sqlstore.Store) {
	t.Helper()
	_, err := store.ListEvents(t.Context(), auth.EventFilter{UserID: "ada", Kind: "test",
		From: now, To: now.Add(time.Second), Before: "event"}, 10)
	require.NoError(t, err)
}
