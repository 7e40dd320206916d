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
