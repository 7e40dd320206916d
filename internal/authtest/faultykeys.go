package authtest

import (
	"context"
	"time"

	"github.com/sallyport-go/auth"
)

func (s *faultyAccounts) ListExpiringKeys(
	ctx context.Context, now time.Time, lead time.Duration, limit int,
) ([]auth.AccessKey, error) {
	if err := s.check(ctx, "ListExpiringKeys"); err != nil {
		return nil, err
	}
	return s.AccountStore.ListExpiringKeys(ctx, now, lead, limit)
}

func (s *faultyAccounts) RecordExpiryNotice(
	ctx context.Context, w auth.Write, id string, lead time.Duration,
) error {
	if err := s.check(ctx, "RecordExpiryNotice"); err != nil {
		return err
	}
	return s.AccountStore.RecordExpiryNotice(ctx, w, id, lead)
}

func (s *faultyAccounts) RememberClient(
	ctx context.Context, w auth.Write, client auth.SignInClient,
) (bool, error) {
	if err := s.check(ctx, "RememberClient"); err != nil {
		return false, err
	}
	return s.AccountStore.RememberClient(ctx, w, client)
}

func (s *faultyAccounts) PruneClients(ctx context.Context, seen time.Time, limit int) (int, error) {
	if err := s.check(ctx, "PruneClients"); err != nil {
		return 0, err
	}
	return s.AccountStore.PruneClients(ctx, seen, limit)
}
