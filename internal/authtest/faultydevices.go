package authtest

import (
	"context"
	"time"

	"github.com/sallyport-go/auth"
)

type faultyDevices struct {
	devices auth.DeviceStore
	faulty  func(ctx context.Context, method string) error
}

func (s *faultyDevices) CreateDevice(ctx context.Context, device auth.DeviceAuthorization) error {
	if err := s.faulty(ctx, "CreateDevice"); err != nil {
		return err
	}
	return s.devices.CreateDevice(ctx, device)
}

func (s *faultyDevices) ClaimDevice(
	ctx context.Context, w auth.Write, userCodeHash string,
) (auth.DeviceAuthorization, error) {
	if err := s.faulty(ctx, "ClaimDevice"); err != nil {
		return auth.DeviceAuthorization{}, err
	}
	return s.devices.ClaimDevice(ctx, w, userCodeHash)
}

func (s *faultyDevices) ApproveDevice(
	ctx context.Context, w auth.Write, userCodeHash string,
) (auth.DeviceAuthorization, error) {
	if err := s.faulty(ctx, "ApproveDevice"); err != nil {
		return auth.DeviceAuthorization{}, err
	}
	return s.devices.ApproveDevice(ctx, w, userCodeHash)
}

func (s *faultyDevices) DenyDevice(
	ctx context.Context, w auth.Write, userCodeHash string,
) (auth.DeviceAuthorization, error) {
	if err := s.faulty(ctx, "DenyDevice"); err != nil {
		return auth.DeviceAuthorization{}, err
	}
	return s.devices.DenyDevice(ctx, w, userCodeHash)
}

func (s *faultyDevices) PollDevice(ctx context.Context, codeHash string, now time.Time) error {
	if err := s.faulty(ctx, "PollDevice"); err != nil {
		return err
	}
	return s.devices.PollDevice(ctx, codeHash, now)
}

func (s *faultyDevices) RedeemDevice(
	ctx context.Context, w auth.Write, codeHash string, session auth.Session, limit int,
) (auth.Session, auth.User, error) {
	if err := s.faulty(ctx, "RedeemDevice"); err != nil {
		return auth.Session{}, auth.User{}, err
	}
	return s.devices.RedeemDevice(ctx, w, codeHash, session, limit)
}

func (s *faultyDevices) PruneDevices(ctx context.Context, expired time.Time, limit int) (int, error) {
	if err := s.faulty(ctx, "PruneDevices"); err != nil {
		return 0, err
	}
	return s.devices.PruneDevices(ctx, expired, limit)
}
