package auth

import (
	"context"
	"time"
)

func (g guardedSessions) CreateSession(
	ctx context.Context, session Session, limit int,
) (r1 Session, r2 User, err error) {
	defer recoverStore("CreateSession", &err)
	return g.SessionStore.CreateSession(ctx, session, limit)
}

func (g guardedSessions) FindSession(ctx context.Context, id string) (r1 Session, err error) {
	defer recoverStore("FindSession", &err)
	return g.SessionStore.FindSession(ctx, id)
}

func (g guardedSessions) ListSessions(
	ctx context.Context, userID string, now time.Time,
) (r1 []Session, err error) {
	defer recoverStore("ListSessions", &err)
	return g.SessionStore.ListSessions(ctx, userID, now)
}

func (g guardedSessions) RevokeSession(ctx context.Context, w Write, id string) (err error) {
	defer recoverStore("RevokeSession", &err)
	return g.SessionStore.RevokeSession(ctx, w, id)
}

func (g guardedSessions) RevokeUserSessions(ctx context.Context, w Write, userID string) (r1 int, err error) {
	defer recoverStore("RevokeUserSessions", &err)
	return g.SessionStore.RevokeUserSessions(ctx, w, userID)
}

func (g guardedSessions) RevokeOtherSessions(ctx context.Context, w Write) (r1 int, err error) {
	defer recoverStore("RevokeOtherSessions", &err)
	return g.SessionStore.RevokeOtherSessions(ctx, w)
}

func (g guardedSessions) ExtendSession(
	ctx context.Context, w Write, until time.Time,
) (r1 Session, r2 User, err error) {
	defer recoverStore("ExtendSession", &err)
	return g.SessionStore.ExtendSession(ctx, w, until)
}

func (g guardedSessions) RevokeToken(ctx context.Context, claims SessionClaims) (err error) {
	defer recoverStore("RevokeToken", &err)
	return g.SessionStore.RevokeToken(ctx, claims)
}

func (g guardedSessions) RevokeEverybody(ctx context.Context, w Write, above int64) (err error) {
	defer recoverStore("RevokeEverybody", &err)
	return g.SessionStore.RevokeEverybody(ctx, w, above)
}

func (g guardedSessions) RevocationHead(ctx context.Context) (r1 int64, err error) {
	defer recoverStore("RevocationHead", &err)
	return g.SessionStore.RevocationHead(ctx)
}

func (g guardedSessions) PruneSessions(ctx context.Context, at time.Time, n int) (r1 int, err error) {
	defer recoverStore("PruneSessions", &err)
	return g.SessionStore.PruneSessions(ctx, at, n)
}

func (g guardedSessions) ListRevocations(
	ctx context.Context, from int64, limit int,
) (r1 []Revocation, err error) {
	defer recoverStore("ListRevocations", &err)
	return g.SessionStore.ListRevocations(ctx, from, limit)
}

func (g guardedSessions) PruneRevocations(ctx context.Context, at time.Time, n int) (r1 int, err error) {
	defer recoverStore("PruneRevocations", &err)
	return g.SessionStore.PruneRevocations(ctx, at, n)
}

func (g guardedSessions) RememberClient(
	ctx context.Context, w Write, client SignInClient,
) (isNew bool, err error) {
	defer recoverStore("RememberClient", &err)
	return g.SessionStore.RememberClient(ctx, w, client)
}

func (g guardedSessions) PruneClients(ctx context.Context, seen time.Time, limit int) (r1 int, err error) {
	defer recoverStore("PruneClients", &err)
	return g.SessionStore.PruneClients(ctx, seen, limit)
}

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
