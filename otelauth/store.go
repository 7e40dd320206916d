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

// Store returns a store that measures each call of the given store, and adds a span for the call.
// If the given store is also an [auth.EventStore] or an [auth.DeviceStore], so is the returned store. The
// returned store has the method CheckWritable, which calls that of the given store. If the given store has
// none, CheckWritable returns [errors.ErrUnsupported], and a readiness check does not say whether the store
// accepts writes. In the same way, the returned store has the method DatabaseTime. Without it, Prune does not
// compare the clocks.
func (t *Telemetry) Store(measured auth.Store) auth.Store {
	wrapped := &store{accountStore{measured, t}, measured}
	events, hasEvents := measured.(auth.EventStore)
	devices, hasDevices := measured.(auth.DeviceStore)
	switch {
	case hasEvents && hasDevices:
		return struct {
			*store
			eventStore
			deviceStore
		}{wrapped, eventStore{&wrapped.accountStore, events}, deviceStore{&wrapped.accountStore, devices}}
	case hasEvents:
		return struct {
			*store
			eventStore
		}{wrapped, eventStore{&wrapped.accountStore, events}}
	case hasDevices:
		return struct {
			*store
			deviceStore
		}{wrapped, deviceStore{&wrapped.accountStore, devices}}
	}
	return wrapped
}

// AccountStore does the same as [Telemetry.Store], but for a host that has its own users table. If
// the given store is an [auth.Store], so is the returned store. Therefore, [auth.NewWithUsers]
// refuses the returned store as it would refuse the given store.
func (t *Telemetry) AccountStore(measured auth.AccountStore) auth.AccountStore {
	if whole, ok := measured.(auth.Store); ok {
		return t.Store(whole)
	}
	wrapped := &accountStore{measured, t}
	events, hasEvents := measured.(auth.EventStore)
	devices, hasDevices := measured.(auth.DeviceStore)
	switch {
	case hasEvents && hasDevices:
		return struct {
			*accountStore
			eventStore
			deviceStore
		}{wrapped, eventStore{wrapped, events}, deviceStore{wrapped, devices}}
	case hasEvents:
		return struct {
			*accountStore
			eventStore
		}{wrapped, eventStore{wrapped, events}}
	case hasDevices:
		return struct {
			*accountStore
			deviceStore
		}{wrapped, deviceStore{wrapped, devices}}
	}
	return wrapped
}

type accountStore struct {
	auth.AccountStore
	telemetry *Telemetry
}

type store struct {
	accountStore
	users auth.UserStore
}

// eventStore measures the calls of an [auth.EventStore].
type eventStore struct {
	accounts *accountStore
	events   auth.EventStore
}

// begin starts the span of a call. The returned function ends the span and records one of these
// outcomes:
//   - "ok" if there is no error
//   - "answer" for an error that the contract of a store defines
//   - "canceled" if the caller canceled the call
//   - "failed" for any other error
func (s *accountStore) begin(ctx context.Context, method string) (_ context.Context, end func(error)) {
	ctx, span := s.telemetry.tracer.Start(ctx, "auth.store."+method,
		trace.WithSpanKind(trace.SpanKindClient))
	began := time.Now()
	return ctx, func(err error) {
		outcome := "ok"
		if err != nil {
			outcome = "answer"
			status, _ := auth.ErrorStatus(err)
			switch {
			// A client that hangs up is not a failure of the store.
			case status >= 500 && errors.Is(err, context.Canceled):
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

// CheckWritable returns an error if the store cannot commit a change: see [Telemetry.Store].
func (s *accountStore) CheckWritable(ctx context.Context) (err error) {
	checked, ok := s.AccountStore.(interface{ CheckWritable(context.Context) error })
	if !ok {
		return errors.ErrUnsupported
	}
	ctx, end := s.begin(ctx, "CheckWritable")
	defer func() { end(err) }()
	return checked.CheckWritable(ctx)
}

// DatabaseTime returns the time of the clock of the database: see [Telemetry.Store].
func (s *accountStore) DatabaseTime(ctx context.Context) (at time.Time, err error) {
	clock, ok := s.AccountStore.(interface {
		DatabaseTime(context.Context) (time.Time, error)
	})
	if !ok {
		return time.Time{}, errors.ErrUnsupported
	}
	ctx, end := s.begin(ctx, "DatabaseTime")
	defer func() { end(err) }()
	return clock.DatabaseTime(ctx)
}

// AddKey implements [auth.CredentialStore].
func (s *accountStore) AddKey(ctx context.Context, w auth.Write, key auth.AccessKey) (err error) {
	ctx, end := s.begin(ctx, "AddKey")
	defer func() { end(err) }()
	return s.AccountStore.AddKey(ctx, w, key)
}

// ListKeys implements [auth.CredentialStore].
func (s *accountStore) ListKeys(ctx context.Context, userID string) (r1 []auth.AccessKey, err error) {
	ctx, end := s.begin(ctx, "ListKeys")
	defer func() { end(err) }()
	return s.AccountStore.ListKeys(ctx, userID)
}

// ListAllKeys implements [auth.CredentialStore].
func (s *accountStore) ListAllKeys(
	ctx context.Context, after string, limit int,
) (r1 []auth.AccessKey, err error) {
	ctx, end := s.begin(ctx, "ListAllKeys")
	defer func() { end(err) }()
	return s.AccountStore.ListAllKeys(ctx, after, limit)
}

// FindKey implements [auth.CredentialStore].
func (s *accountStore) FindKey(
	ctx context.Context, id string,
) (r1 auth.AccessKey, r2 auth.User, err error) {
	ctx, end := s.begin(ctx, "FindKey")
	defer func() { end(err) }()
	return s.AccountStore.FindKey(ctx, id)
}

// SwapHash implements [auth.CredentialStore].
func (s *accountStore) SwapHash(
	ctx context.Context, id string, old string, replacement string,
) (err error) {
	ctx, end := s.begin(ctx, "SwapHash")
	defer func() { end(err) }()
	return s.AccountStore.SwapHash(ctx, id, old, replacement)
}

// RotateKey implements [auth.CredentialStore].
func (s *accountStore) RotateKey(
	ctx context.Context, w auth.Write, id string, rotation auth.KeyRotation,
) (r1 auth.AccessKey, err error) {
	ctx, end := s.begin(ctx, "RotateKey")
	defer func() { end(err) }()
	return s.AccountStore.RotateKey(ctx, w, id, rotation)
}

// SetKeyScopes implements [auth.CredentialStore].
func (s *accountStore) SetKeyScopes(
	ctx context.Context, w auth.Write, id string, scopes *auth.ScopeSet,
) (r1 auth.AccessKey, err error) {
	ctx, end := s.begin(ctx, "SetKeyScopes")
	defer func() { end(err) }()
	return s.AccountStore.SetKeyScopes(ctx, w, id, scopes)
}

// TouchKey implements [auth.CredentialStore].
func (s *accountStore) TouchKey(ctx context.Context, id string, at time.Time) (err error) {
	ctx, end := s.begin(ctx, "TouchKey")
	defer func() { end(err) }()
	return s.AccountStore.TouchKey(ctx, id, at)
}

// RevokeKey implements [auth.CredentialStore].
func (s *accountStore) RevokeKey(ctx context.Context, w auth.Write, id string) (err error) {
	ctx, end := s.begin(ctx, "RevokeKey")
	defer func() { end(err) }()
	return s.AccountStore.RevokeKey(ctx, w, id)
}

// PruneKeys implements [auth.CredentialStore].
func (s *accountStore) PruneKeys(
	ctx context.Context, expired time.Time, limit int,
) (r1 int, err error) {
	ctx, end := s.begin(ctx, "PruneKeys")
	defer func() { end(err) }()
	return s.AccountStore.PruneKeys(ctx, expired, limit)
}

// PrunePreviousHashes implements [auth.CredentialStore].
func (s *accountStore) PrunePreviousHashes(
	ctx context.Context, ended time.Time, limit int,
) (r1 int, err error) {
	ctx, end := s.begin(ctx, "PrunePreviousHashes")
	defer func() { end(err) }()
	return s.AccountStore.PrunePreviousHashes(ctx, ended, limit)
}

// ListExpiringKeys implements [auth.CredentialStore].
func (s *accountStore) ListExpiringKeys(
	ctx context.Context, now time.Time, lead time.Duration, limit int,
) (r1 []auth.AccessKey, err error) {
	ctx, end := s.begin(ctx, "ListExpiringKeys")
	defer func() { end(err) }()
	return s.AccountStore.ListExpiringKeys(ctx, now, lead, limit)
}

// RecordExpiryNotice implements [auth.CredentialStore].
func (s *accountStore) RecordExpiryNotice(
	ctx context.Context, w auth.Write, id string, lead time.Duration,
) (err error) {
	ctx, end := s.begin(ctx, "RecordExpiryNotice")
	defer func() { end(err) }()
	return s.AccountStore.RecordExpiryNotice(ctx, w, id, lead)
}

// CreateSession implements [auth.SessionStore].
func (s *accountStore) CreateSession(
	ctx context.Context, session auth.Session, limit int,
) (r1 auth.Session, r2 auth.User, err error) {
	ctx, end := s.begin(ctx, "CreateSession")
	defer func() { end(err) }()
	return s.AccountStore.CreateSession(ctx, session, limit)
}

// FindSession implements [auth.SessionStore].
func (s *accountStore) FindSession(ctx context.Context, id string) (r1 auth.Session, err error) {
	ctx, end := s.begin(ctx, "FindSession")
	defer func() { end(err) }()
	return s.AccountStore.FindSession(ctx, id)
}

// ListSessions implements [auth.SessionStore].
func (s *accountStore) ListSessions(
	ctx context.Context, userID string, now time.Time,
) (r1 []auth.Session, err error) {
	ctx, end := s.begin(ctx, "ListSessions")
	defer func() { end(err) }()
	return s.AccountStore.ListSessions(ctx, userID, now)
}

// RevokeSession implements [auth.SessionStore].
func (s *accountStore) RevokeSession(ctx context.Context, w auth.Write, id string) (err error) {
	ctx, end := s.begin(ctx, "RevokeSession")
	defer func() { end(err) }()
	return s.AccountStore.RevokeSession(ctx, w, id)
}

// RevokeUserSessions implements [auth.SessionStore].
func (s *accountStore) RevokeUserSessions(
	ctx context.Context, w auth.Write, userID string,
) (r1 int, err error) {
	ctx, end := s.begin(ctx, "RevokeUserSessions")
	defer func() { end(err) }()
	return s.AccountStore.RevokeUserSessions(ctx, w, userID)
}

// RevokeOtherSessions implements [auth.SessionStore].
func (s *accountStore) RevokeOtherSessions(ctx context.Context, w auth.Write) (r1 int, err error) {
	ctx, end := s.begin(ctx, "RevokeOtherSessions")
	defer func() { end(err) }()
	return s.AccountStore.RevokeOtherSessions(ctx, w)
}

// ExtendSession implements [auth.SessionStore].
func (s *accountStore) ExtendSession(
	ctx context.Context, w auth.Write, until time.Time,
) (r1 auth.Session, r2 auth.User, err error) {
	ctx, end := s.begin(ctx, "ExtendSession")
	defer func() { end(err) }()
	return s.AccountStore.ExtendSession(ctx, w, until)
}

// RevokeToken implements [auth.SessionStore].
func (s *accountStore) RevokeToken(ctx context.Context, claims auth.SessionClaims) (err error) {
	ctx, end := s.begin(ctx, "RevokeToken")
	defer func() { end(err) }()
	return s.AccountStore.RevokeToken(ctx, claims)
}

// RevokeEverybody implements [auth.SessionStore].
func (s *accountStore) RevokeEverybody(ctx context.Context, w auth.Write, above int64) (err error) {
	ctx, end := s.begin(ctx, "RevokeEverybody")
	defer func() { end(err) }()
	return s.AccountStore.RevokeEverybody(ctx, w, above)
}

// RevocationHead implements [auth.SessionStore].
func (s *accountStore) RevocationHead(ctx context.Context) (r1 int64, err error) {
	ctx, end := s.begin(ctx, "RevocationHead")
	defer func() { end(err) }()
	return s.AccountStore.RevocationHead(ctx)
}

// PruneSessions implements [auth.SessionStore].
func (s *accountStore) PruneSessions(
	ctx context.Context, expired time.Time, limit int,
) (r1 int, err error) {
	ctx, end := s.begin(ctx, "PruneSessions")
	defer func() { end(err) }()
	return s.AccountStore.PruneSessions(ctx, expired, limit)
}

// ListRevocations implements [auth.SessionStore].
func (s *accountStore) ListRevocations(
	ctx context.Context, from int64, limit int,
) (r1 []auth.Revocation, err error) {
	ctx, end := s.begin(ctx, "ListRevocations")
	defer func() { end(err) }()
	return s.AccountStore.ListRevocations(ctx, from, limit)
}

// PruneRevocations implements [auth.SessionStore].
func (s *accountStore) PruneRevocations(
	ctx context.Context, expired time.Time, limit int,
) (r1 int, err error) {
	ctx, end := s.begin(ctx, "PruneRevocations")
	defer func() { end(err) }()
	return s.AccountStore.PruneRevocations(ctx, expired, limit)
}

// ConsumeState implements [auth.GitHubStore].
func (s *accountStore) ConsumeState(ctx context.Context, id string, expiresAt time.Time) (err error) {
	ctx, end := s.begin(ctx, "ConsumeState")
	defer func() { end(err) }()
	return s.AccountStore.ConsumeState(ctx, id, expiresAt)
}

// PruneStates implements [auth.GitHubStore].
func (s *accountStore) PruneStates(
	ctx context.Context, expired time.Time, limit int,
) (r1 int, err error) {
	ctx, end := s.begin(ctx, "PruneStates")
	defer func() { end(err) }()
	return s.AccountStore.PruneStates(ctx, expired, limit)
}

func (s *accountStore) Ping(ctx context.Context) (err error) {
	ctx, end := s.begin(ctx, "Ping")
	defer func() { end(err) }()
	return s.AccountStore.Ping(ctx)
}

// ListEvents implements [auth.EventStore].
func (s eventStore) ListEvents(
	ctx context.Context, filter auth.EventFilter, limit int,
) (r1 []auth.Event, err error) {
	ctx, end := s.accounts.begin(ctx, "ListEvents")
	defer func() { end(err) }()
	return s.events.ListEvents(ctx, filter, limit)
}

// ClaimEvent implements [auth.EventStore].
func (s eventStore) ClaimEvent(
	ctx context.Context, now, until time.Time,
) (r1 auth.Event, r2 int, err error) {
	ctx, end := s.accounts.begin(ctx, "ClaimEvent")
	defer func() { end(err) }()
	return s.events.ClaimEvent(ctx, now, until)
}

// FinishEvent implements [auth.EventStore].
func (s eventStore) FinishEvent(ctx context.Context, id string) (err error) {
	ctx, end := s.accounts.begin(ctx, "FinishEvent")
	defer func() { end(err) }()
	return s.events.FinishEvent(ctx, id)
}

// PruneEvents implements [auth.EventStore].
func (s eventStore) PruneEvents(ctx context.Context, before time.Time, limit int) (r1 int, err error) {
	ctx, end := s.accounts.begin(ctx, "PruneEvents")
	defer func() { end(err) }()
	return s.events.PruneEvents(ctx, before, limit)
}
