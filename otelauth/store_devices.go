package otelauth

import (
	"context"
	"time"

	"github.com/sallyport-go/auth"
)

// deviceStore measures the calls of an [auth.DeviceStore].
type deviceStore struct {
	accounts *accountStore
	devices  auth.DeviceStore
}

// CreateDevice implements [auth.DeviceStore].
func (s deviceStore) CreateDevice(ctx context.Context, device auth.DeviceAuthorization) (err error) {
	ctx, end := s.accounts.begin(ctx, "CreateDevice")
	defer func() { end(err) }()
	return s.devices.CreateDevice(ctx, device)
}

// ClaimDevice implements [auth.DeviceStore].
func (s deviceStore) ClaimDevice(
	ctx context.Context, w auth.Write, userCodeHash string,
) (r1 auth.DeviceAuthorization, err error) {
	ctx, end := s.accounts.begin(ctx, "ClaimDevice")
	defer func() { end(err) }()
	return s.devices.ClaimDevice(ctx, w, userCodeHash)
}

// ApproveDevice implements [auth.DeviceStore].
func (s deviceStore) ApproveDevice(
	ctx context.Context, w auth.Write, userCodeHash string,
) (r1 auth.DeviceAuthorization, err error) {
	ctx, end := s.accounts.begin(ctx, "ApproveDevice")
	defer func() { end(err) }()
	return s.devices.ApproveDevice(ctx, w, userCodeHash)
}

// DenyDevice implements [auth.DeviceStore].
func (s deviceStore) DenyDevice(
	ctx context.Context, w auth.Write, userCodeHash string,
) (r1 auth.DeviceAuthorization, err error) {
	ctx, end := s.accounts.begin(ctx, "DenyDevice")
	defer func() { end(err) }()
	return s.devices.DenyDevice(ctx, w, userCodeHash)
}

// PollDevice implements [auth.DeviceStore].
func (s deviceStore) PollDevice(ctx context.Context, codeHash string, now time.Time) (err error) {
	ctx, end := s.accounts.begin(ctx, "PollDevice")
	defer func() { end(err) }()
	return s.devices.PollDevice(ctx, codeHash, now)
}

// RedeemDevice implements [auth.DeviceStore].
func (s deviceStore) RedeemDevice(
	ctx context.Context, w auth.Write, codeHash string, session auth.Session, limit int,
) (r1 auth.Session, r2 auth.User, err error) {
	ctx, end := s.accounts.begin(ctx, "RedeemDevice")
	defer func() { end(err) }()
	return s.devices.RedeemDevice(ctx, w, codeHash, session, limit)
}

// PruneDevices implements [auth.DeviceStore].
func (s deviceStore) PruneDevices(ctx context.Context, expired time.Time, limit int) (r1 int, err error) {
	ctx, end := s.accounts.begin(ctx, "PruneDevices")
	defer func() { end(err) }()
	return s.devices.PruneDevices(ctx, expired, limit)
}
