package sqlstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/sqlstore"
)

func seedClients(t testing.TB, store *sqlstore.Store) {
	_, err := store.RememberClient(t.Context(), byHost, auth.SignInClient{UserID: "ada", Hash: "first"})
	require.NoError(t, err)
}

// clientVerbs are calls about the clients of sign-ins.
func clientVerbs() []verb {
	return []verb{
		{"RememberClient of the first client", true, func(ctx context.Context, s *sqlstore.Store) error {
			isNew, err := s.RememberClient(ctx, byHost, auth.SignInClient{UserID: "eve", Hash: "first"})
			return expect(false)(isNew, err)
		}},
		{"RememberClient of a new client", true, func(ctx context.Context, s *sqlstore.Store) error {
			isNew, err := s.RememberClient(ctx, byHost, auth.SignInClient{UserID: "ada", Hash: "second"})
			return expect(true)(isNew, err)
		}},
		{"RememberClient of a known client", true, func(ctx context.Context, s *sqlstore.Store) error {
			later := byHost
			later.Now = func() time.Time { return now.Add(time.Hour) }
			isNew, err := s.RememberClient(ctx, later, auth.SignInClient{UserID: "ada", Hash: "first"})
			return expect(false)(isNew, err)
		}},
		{"PruneClients", true, func(ctx context.Context, s *sqlstore.Store) error {
			return expect(1)(s.PruneClients(ctx, now, 10))
		}},
	}
}
