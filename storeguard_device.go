package auth

import (
	"context"
	"time"
)

type guardedDevices struct{ DeviceStore }

// guardDevices returns a store that converts panics in the given store into errors, or nil if the store is
// no [DeviceStore].
func guardDevices(store AccountStore) DeviceStore {
	devices, ok := store.(DeviceStore)
	if !ok {
		return nil
	}
	return guardedDevices{devices}
}

func (g guardedDevices) CreateDevice(ctx context.Context, device DeviceAuthorization) (err error) {
	defer recoverStore("CreateDevice", &err)
	return g.DeviceStore.CreateDevice(ctx, device)
}

func (g guardedDevices) ClaimDevice(
	ctx context.Context, w Write, userCodeHash string,
) (r1 DeviceAuthorization, err error) {
	defer recoverStore("ClaimDevice", &err)
	return g.DeviceStore.ClaimDevice(ctx, w, userCodeHash)
}

func (g guardedDevices) ApproveDevice(
	ctx context.Context, w Write, userCodeHash string,
) (r1 DeviceAuthorization, err error) {
	defer recoverStore("ApproveDevice", &err)
	return g.DeviceStore.ApproveDevice(ctx, w, userCodeHash)
}

func (g guardedDevices) DenyDevice(
	ctx context.Context, w Write, userCodeHash string,
) (r1 DeviceAuthorization, err error) {
	defer recoverStore("DenyDevice", &err)
	return g.DeviceStore.DenyDevice(ctx, w, userCodeHash)
}

func (g guardedDevices) PollDevice(ctx context.Context, codeHash string, now time.Time) (err error) {
	defer recoverStore("PollDevice", &err)
	return g.DeviceStore.PollDevice(ctx, codeHash, now)
}

func (g guardedDevices) RedeemDevice(
	ctx context.Context, w Write, codeHash string, session Session, limit int,
) (r1 Session, r2 User, err error) {
	defer recoverStore("RedeemDevice", &err)
	return g.DeviceStore.RedeemDevice(ctx, w, codeHash, session, limit)
}

func (g guardedDevices) PruneDevices(ctx context.Context, expired time.Time, limit int) (r1 int, err error) {
	defer recoverStore("PruneDevices", &err)
	return g.DeviceStore.PruneDevices(ctx, expired, limit)
}
