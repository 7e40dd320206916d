package otelauth

import (
	"context"
	"time"

	"github.com/sallyport-go/auth"
)

// RememberClient implements [auth.SessionStore].
func (s *accountStore) RememberClient(
	ctx context.Context, w auth.Write, client auth.SignInClient,
) (isNew bool, err error) {
	ctx, end := s.begin(ctx, "RememberClient")
	defer func() { end(err) }()
	return s.AccountStore.RememberClient(ctx, w, client)
}

// PruneClients implements [auth.SessionStore].
func (s *accountStore) PruneClients(ctx context.Context, seen time.Time, limit int) (r1 int, err error) {
	ctx, end := s.begin(ctx, "PruneClients")
	defer func() { end(err) }()
	return s.AccountStore.PruneClients(ctx, seen, limit)
}
