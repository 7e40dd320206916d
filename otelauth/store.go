package otelauth

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/sallyport-go/auth"
)

// Store returns the store with a measurement and a span for each call.
func (t *Telemetry) Store(measured auth.Store) auth.Store { return &store{measured, t} }

type store struct {
	auth.Store
	telemetry *Telemetry
}

// begin begins a call, which end ends. Outcome is "ok", "answer" for one of the
// errors that the contract of stores has, "canceled" if nobody waited for it any longer,
// and "failed" for any other.
func (s *store) begin(ctx context.Context, method string) (_ context.Context, end func(error)) {
	ctx, span := s.telemetry.tracer.Start(ctx, "auth.store."+method, trace.WithSpanKind(trace.SpanKindClient))
	began := time.Now()
	return ctx, func(err error) {
		outcome := "ok"
		if err != nil {
			outcome = "answer"
			status, _ := auth.ErrorStatus(err)
			switch {
			case status >= 500 && errors.Is(err, context.Canceled): // clients that hang up are no fault of the store's
				outcome = "canceled"
			case status >= 500:
				outcome = "failed"
				span.SetStatus(codes.Error, "the store did not answer")
			}
		}
		span.SetAttributes(attribute.String("outcome", outcome))
		span.End()
		s.telemetry.store.Record(ctx, time.Since(began).Seconds(), metric.WithAttributes(
			attribute.String("method", method), attribute.String("outcome", outcome)))
	}
}

// Register implements [auth.Store].
func (s *store) Register(ctx context.Context, user auth.User, key auth.AccessKey) (err error) {
	ctx, end := s.begin(ctx, "Register")
	defer func() { end(err) }()
	return s.Store.Register(ctx, user, key)
}

// RegisterUsers implements [auth.Store].
func (s *store) RegisterUsers(ctx context.Context, users []auth.UserWithKeys) (r1 []error, err error) {
	ctx, end := s.begin(ctx, "RegisterUsers")
	defer func() { end(err) }()
	return s.Store.RegisterUsers(ctx, users)
}

// Bootstrap implements [auth.Store].
func (s *store) Bootstrap(ctx context.Context, user auth.User, key auth.AccessKey) (err error) {
	ctx, end := s.begin(ctx, "Bootstrap")
	defer func() { end(err) }()
	return s.Store.Bootstrap(ctx, user, key)
}

// FindUser implements [auth.Store].
func (s *store) FindUser(ctx context.Context, id string) (r1 auth.User, err error) {
	ctx, end := s.begin(ctx, "FindUser")
	defer func() { end(err) }()
	return s.Store.FindUser(ctx, id)
}

// ListUsers implements [auth.Store].
func (s *store) ListUsers(ctx context.Context, after string, limit int) (r1 []auth.User, err error) {
	ctx, end := s.begin(ctx, "ListUsers")
	defer func() { end(err) }()
	return s.Store.ListUsers(ctx, after, limit)
}

// UpdateUser implements [auth.Store].
func (s *store) UpdateUser(ctx context.Context, id string, change auth.UserChange) (r1 auth.User, err error) {
	ctx, end := s.begin(ctx, "UpdateUser")
	defer func() { end(err) }()
	return s.Store.UpdateUser(ctx, id, change)
}

// ResetUser implements [auth.Store].
func (s *store) ResetUser(ctx context.Context, id string, change auth.UserChange, key auth.AccessKey) (r1 auth.User, r2 []auth.GitHubToken, err error) {
	ctx, end := s.begin(ctx, "ResetUser")
	defer func() { end(err) }()
	return s.Store.ResetUser(ctx, id, change, key)
}

// DeleteUser implements [auth.Store].
func (s *store) DeleteUser(ctx context.Context, id string) (r1 []auth.GitHubToken, err error) {
	ctx, end := s.begin(ctx, "DeleteUser")
	defer func() { end(err) }()
	return s.Store.DeleteUser(ctx, id)
}

// AddKey implements [auth.Store].
func (s *store) AddKey(ctx context.Context, key auth.AccessKey) (err error) {
	ctx, end := s.begin(ctx, "AddKey")
	defer func() { end(err) }()
	return s.Store.AddKey(ctx, key)
}

// ListKeys implements [auth.Store].
func (s *store) ListKeys(ctx context.Context, userID string) (r1 []auth.AccessKey, err error) {
	ctx, end := s.begin(ctx, "ListKeys")
	defer func() { end(err) }()
	return s.Store.ListKeys(ctx, userID)
}

// FindKey implements [auth.Store].
func (s *store) FindKey(ctx context.Context, id string) (r1 auth.Credential, err error) {
	ctx, end := s.begin(ctx, "FindKey")
	defer func() { end(err) }()
	return s.Store.FindKey(ctx, id)
}

// SwapHash implements [auth.Store].
func (s *store) SwapHash(ctx context.Context, id string, old string, replacement string) (err error) {
	ctx, end := s.begin(ctx, "SwapHash")
	defer func() { end(err) }()
	return s.Store.SwapHash(ctx, id, old, replacement)
}

// RotateKey implements [auth.Store].
func (s *store) RotateKey(ctx context.Context, id string, rotation auth.KeyRotation) (r1 auth.AccessKey, err error) {
	ctx, end := s.begin(ctx, "RotateKey")
	defer func() { end(err) }()
	return s.Store.RotateKey(ctx, id, rotation)
}

// TouchKey implements [auth.Store].
func (s *store) TouchKey(ctx context.Context, id string, at time.Time) (err error) {
	ctx, end := s.begin(ctx, "TouchKey")
	defer func() { end(err) }()
	return s.Store.TouchKey(ctx, id, at)
}

// RevokeKey implements [auth.Store].
func (s *store) RevokeKey(ctx context.Context, id string) (err error) {
	ctx, end := s.begin(ctx, "RevokeKey")
	defer func() { end(err) }()
	return s.Store.RevokeKey(ctx, id)
}

// PruneKeys implements [auth.Store].
func (s *store) PruneKeys(ctx context.Context, expired time.Time, limit int) (r1 int, err error) {
	ctx, end := s.begin(ctx, "PruneKeys")
	defer func() { end(err) }()
	return s.Store.PruneKeys(ctx, expired, limit)
}

// CreateSession implements [auth.Store].
func (s *store) CreateSession(ctx context.Context, session auth.Session, limit int) (r1 auth.Session, r2 auth.User, err error) {
	ctx, end := s.begin(ctx, "CreateSession")
	defer func() { end(err) }()
	return s.Store.CreateSession(ctx, session, limit)
}

// FindSession implements [auth.Store].
func (s *store) FindSession(ctx context.Context, id string) (r1 auth.Session, err error) {
	ctx, end := s.begin(ctx, "FindSession")
	defer func() { end(err) }()
	return s.Store.FindSession(ctx, id)
}

// ListSessions implements [auth.Store].
func (s *store) ListSessions(ctx context.Context, userID string, now time.Time) (r1 []auth.Session, err error) {
	ctx, end := s.begin(ctx, "ListSessions")
	defer func() { end(err) }()
	return s.Store.ListSessions(ctx, userID, now)
}

// RevokeSession implements [auth.Store].
func (s *store) RevokeSession(ctx context.Context, id string) (err error) {
	ctx, end := s.begin(ctx, "RevokeSession")
	defer func() { end(err) }()
	return s.Store.RevokeSession(ctx, id)
}

// RevokeUserSessions implements [auth.Store].
func (s *store) RevokeUserSessions(ctx context.Context, userID string, now time.Time) (r1 int, err error) {
	ctx, end := s.begin(ctx, "RevokeUserSessions")
	defer func() { end(err) }()
	return s.Store.RevokeUserSessions(ctx, userID, now)
}

// PruneSessions implements [auth.Store].
func (s *store) PruneSessions(ctx context.Context, expired time.Time, limit int) (r1 int, err error) {
	ctx, end := s.begin(ctx, "PruneSessions")
	defer func() { end(err) }()
	return s.Store.PruneSessions(ctx, expired, limit)
}

// ListRevocations implements [auth.Store].
func (s *store) ListRevocations(ctx context.Context, from int64, limit int) (r1 []auth.Revocation, err error) {
	ctx, end := s.begin(ctx, "ListRevocations")
	defer func() { end(err) }()
	return s.Store.ListRevocations(ctx, from, limit)
}

// PruneRevocations implements [auth.Store].
func (s *store) PruneRevocations(ctx context.Context, expired time.Time, limit int) (r1 int, err error) {
	ctx, end := s.begin(ctx, "PruneRevocations")
	defer func() { end(err) }()
	return s.Store.PruneRevocations(ctx, expired, limit)
}

// ConsumeState implements [auth.Store].
func (s *store) ConsumeState(ctx context.Context, id string, expiresAt time.Time) (err error) {
	ctx, end := s.begin(ctx, "ConsumeState")
	defer func() { end(err) }()
	return s.Store.ConsumeState(ctx, id, expiresAt)
}

// PruneStates implements [auth.Store].
func (s *store) PruneStates(ctx context.Context, expired time.Time, limit int) (r1 int, err error) {
	ctx, end := s.begin(ctx, "PruneStates")
	defer func() { end(err) }()
	return s.Store.PruneStates(ctx, expired, limit)
}

// FindGitHubLink implements [auth.Store].
func (s *store) FindGitHubLink(ctx context.Context, account auth.GitHubAccount) (r1 auth.GitHubLink, err error) {
	ctx, end := s.begin(ctx, "FindGitHubLink")
	defer func() { end(err) }()
	return s.Store.FindGitHubLink(ctx, account)
}

// FindGitHubConnection implements [auth.Store].
func (s *store) FindGitHubConnection(ctx context.Context, userID string, host string) (r1 auth.GitHubConnection, err error) {
	ctx, end := s.begin(ctx, "FindGitHubConnection")
	defer func() { end(err) }()
	return s.Store.FindGitHubConnection(ctx, userID, host)
}

// SignInGitHub implements [auth.Store].
func (s *store) SignInGitHub(ctx context.Context, signIn auth.GitHubSignInWrite) (r1 auth.Session, r2 auth.User, err error) {
	ctx, end := s.begin(ctx, "SignInGitHub")
	defer func() { end(err) }()
	return s.Store.SignInGitHub(ctx, signIn)
}

// ConnectGitHub implements [auth.Store].
func (s *store) ConnectGitHub(ctx context.Context, connect auth.GitHubConnectWrite) (err error) {
	ctx, end := s.begin(ctx, "ConnectGitHub")
	defer func() { end(err) }()
	return s.Store.ConnectGitHub(ctx, connect)
}

// UpdateGitHubLink implements [auth.Store].
func (s *store) UpdateGitHubLink(ctx context.Context, link auth.GitHubLink) (err error) {
	ctx, end := s.begin(ctx, "UpdateGitHubLink")
	defer func() { end(err) }()
	return s.Store.UpdateGitHubLink(ctx, link)
}

// LeaseGitHubToken implements [auth.Store].
func (s *store) LeaseGitHubToken(ctx context.Context, userID string, host string, version string, now time.Time, until time.Time) (r1 bool, err error) {
	ctx, end := s.begin(ctx, "LeaseGitHubToken")
	defer func() { end(err) }()
	return s.Store.LeaseGitHubToken(ctx, userID, host, version, now, until)
}

// ReplaceGitHubToken implements [auth.Store].
func (s *store) ReplaceGitHubToken(ctx context.Context, token auth.GitHubToken, oldVersion string) (err error) {
	ctx, end := s.begin(ctx, "ReplaceGitHubToken")
	defer func() { end(err) }()
	return s.Store.ReplaceGitHubToken(ctx, token, oldVersion)
}

// DeleteGitHubToken implements [auth.Store].
func (s *store) DeleteGitHubToken(ctx context.Context, userID string, host string) (r1 auth.GitHubToken, err error) {
	ctx, end := s.begin(ctx, "DeleteGitHubToken")
	defer func() { end(err) }()
	return s.Store.DeleteGitHubToken(ctx, userID, host)
}

// DropGitHubToken implements [auth.Store].
func (s *store) DropGitHubToken(ctx context.Context, userID string, host string, version string) (err error) {
	ctx, end := s.begin(ctx, "DropGitHubToken")
	defer func() { end(err) }()
	return s.Store.DropGitHubToken(ctx, userID, host, version)
}

// UnlinkGitHub implements [auth.Store].
func (s *store) UnlinkGitHub(ctx context.Context, userID string, host string, now time.Time) (r1 auth.GitHubConnection, err error) {
	ctx, end := s.begin(ctx, "UnlinkGitHub")
	defer func() { end(err) }()
	return s.Store.UnlinkGitHub(ctx, userID, host, now)
}

// Ping implements [auth.Store].
func (s *store) Ping(ctx context.Context) (err error) {
	ctx, end := s.begin(ctx, "Ping")
	defer func() { end(err) }()
	return s.Store.Ping(ctx)
}
