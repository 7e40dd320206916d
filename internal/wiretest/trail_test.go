package wiretest

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// trail returns all events in the audit trail, newest first.
func (f *fixture) trail() []auth.Event {
	f.t.Helper()
	events, err := f.svc.Events(f.t.Context(), auth.EventFilter{}, 200)
	require.NoError(f.t, err)
	return events
}

func TestEachLastingCallLeavesOneEventWithItsActorAndClient(t *testing.T) {
	t.Parallel()
	wanted := map[string]eventkind.Kind{
		"create a key":                          eventkind.KeyIssued,
		"rotate a key":                          eventkind.KeyRotated,
		"revoke another session of the user":    eventkind.SessionRevoked,
		"revoke the other sessions of the user": eventkind.UserSessionsRevoked,
		"revoke another user's session":         eventkind.SessionRevoked,
		"disconnect GitHub":                     eventkind.GitHubDisconnected,
		"unlink GitHub":                         eventkind.GitHubUnlinked,
		"rotate another user's key":             eventkind.KeyRotated,
		"rename a user":                         eventkind.UserChanged,
		"give a user an e-mail":                 eventkind.UserChanged,
		"remove a user's e-mail":                eventkind.UserChanged,
		"revoke another user's key":             eventkind.KeyRevoked,
		"register a super user":                 eventkind.UserCreated,
		"register by the published path":        eventkind.UserCreated,
		"promote a user":                        eventkind.UserChanged,
		"disable a user":                        eventkind.UserChanged,
		"regenerate a user's credentials":       eventkind.UserReset,
		"reinstate a user":                      eventkind.UserReset,
		"revoke a user's sessions":              eventkind.UserSessionsRevoked,
		"delete a user":                         eventkind.UserDeleted,
	}
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		for _, c := range lastingCalls {
			t.Run(c.name, func(t *testing.T) {
				s := newStolen(t, open(t))
				before := s.trail()
				r := s.send(c.method, c.target(s), c.body, "Authorization", "Bearer "+s.bearer,
					"User-Agent", "curl/8", "X-Request-Id", "r-1")
				require.Less(t, r.status, 300, r.body)
				after := s.trail()
				added := slices.DeleteFunc(slices.Clone(after), func(e auth.Event) bool {
					return slices.Contains(before, e)
				})
				require.Len(t, added, 1)
				e := added[0]
				require.Equal(t, wanted[c.name], e.Kind)
				require.Equal(t, s.boss.User.ID, e.ActorID)
				session := s.session.Session.ID
				if c.without == "RevokeSession" {
					session = path.Base(c.target(s)) // the session that was revoked
				}
				require.Equal(t, session, e.SessionID)
				require.Empty(t, e.Host)
				require.Equal(t, "curl/8", e.Client.UserAgent)
				require.Equal(t, "r-1", e.Client.RequestID)
				require.NotEmpty(t, e.ID)
				require.WithinDuration(t, s.clock.Now(), e.At, time.Second)
				require.Len(t, after, len(before)+1)

				failed := s.send(c.method, c.target(s), c.body, "Authorization", "Bearer not a token")
				require.Equal(t, http.StatusUnauthorized, failed.status)
				require.Len(t, s.trail(), len(after), "a rejected call leaves no event")
			})
		}
	})
}

func TestOnlySuperUsersListTheTrailPageByPage(t *testing.T) {
	t.Parallel()
	s := newStolen(t, memstore.New())
	for range 7 {
		_, err := s.svc.Credentials().Issue(t.Context(), authtest.ByHost, s.user.ID, auth.KeyOptions{})
		require.NoError(t, err)
	}
	var all []string
	pages := 0
	for target := "/auth/events?limit=3"; target != ""; pages++ {
		r := s.sendAs(s.bearer, http.MethodGet, target, "")
		require.Equal(t, http.StatusOK, r.status, r.body)
		require.Equal(t, "no-store", r.header.Get("Cache-Control"))
		var page []map[string]any
		require.NoError(t, json.Unmarshal([]byte(r.body), &page))
		for _, e := range page {
			all = append(all, e["id"].(string))
		}
		target, _, _ = strings.Cut(strings.TrimPrefix(r.header.Get("Link"), "<"), ">")
	}
	var want []string
	for _, e := range s.trail() {
		want = append(want, e.ID)
	}
	require.Equal(t, want, all)
	require.Equal(t, (len(want)+2)/3, pages)

	r := s.sendAs(s.bearer, http.MethodGet, "/auth/events?kind=user.created&user_id="+s.user.ID, "")
	var page []map[string]any
	require.NoError(t, json.Unmarshal([]byte(r.body), &page))
	require.Len(t, page, 1)
	require.Equal(t, "test", page[0]["host"])

	require.Equal(t, http.StatusForbidden,
		s.sendAs(s.signIn(s.user), http.MethodGet, "/auth/events", "").status)
	require.Equal(t, http.StatusUnauthorized, s.send(http.MethodGet, "/auth/events", "").status)
	require.Equal(t, http.StatusUnprocessableEntity,
		s.sendAs(s.bearer, http.MethodGet, "/auth/events?limit=101", "").status)
	require.Equal(t, http.StatusNotFound,
		s.sendAs(s.bearer, http.MethodGet, "/auth/events?before=nothing", "").status)
}

func TestAnEventOfTheTrailHasTheDocumentedFields(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.Proxies = auth.NoProxies() })
	login := f.login(f.userPair).json(t)
	r := f.send(http.MethodPost, "/auth/keys", "",
		"Authorization", "Bearer "+login["token"].(string), "User-Agent", "curl/8.14.1")
	require.Equal(t, http.StatusCreated, r.status)
	page := f.sendAs(f.signIn(f.admin), http.MethodGet, "/auth/events?kind=key.issued", "")
	var events []map[string]any
	require.NoError(t, json.Unmarshal([]byte(page.body), &events))
	require.Len(t, events, 1)
	require.NotEmpty(t, events[0]["id"])
	require.NotEmpty(t, events[0]["session_id"])
	delete(events[0], "id")
	delete(events[0], "session_id")
	require.Equal(t, map[string]any{
		"kind": "key.issued", "at": "2026-01-02T03:04:05Z", "user_id": f.user.ID,
		"actor_id": f.user.ID, "host": "",
		"access_key": r.json(t)["access_key"], "method": "", "github": nil, "reason": "", "ip": "192.0.2.1",
		"user_agent": "curl/8.14.1", "request_id": "",
	}, events[0])
}

// A batch job runs beside the service and has no OnEvent. An instance of the service has one.
func TestAnInstanceDeliversTheEventsOfAProgramWithoutOnEvent(t *testing.T) {
	t.Parallel()
	for _, elsewhere := range []bool{true, false} {
		job := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.DeliverElsewhere = elsewhere })
		var got authtest.EventRecord
		instance, err := auth.New(job.store, auth.Config{Issuer: issuer, Now: job.clock.Now,
			SigningKeys: []auth.SigningKey{job.signer.Key}, OnEvent: got.Add,
			Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		got.Deliver(t, instance)
		job.log.Reset()
		pair, err := job.svc.Credentials().Issue(t.Context(), authtest.ByHost, job.user.ID,
			auth.KeyOptions{})
		require.NoError(t, err)
		require.Contains(t, job.log.String(), `msg="auth: key.issued"`)
		require.NotContains(t, job.log.String(), "level=WARN")
		events := got.Deliver(t, instance)
		if !elsewhere {
			require.Empty(t, events)
			continue
		}
		require.Len(t, events, 1)
		require.Equal(t, eventkind.KeyIssued, events[0].Kind)
		require.Equal(t, pair.AccessKey, events[0].AccessKey)
	}
	for _, change := range []func(*auth.Config){
		func(cfg *auth.Config) { cfg.OnEvent = func(auth.Event) {} },
		func(cfg *auth.Config) { cfg.DisableAuditTrail = true },
	} {
		cfg := auth.Config{Issuer: issuer, DeliverElsewhere: true,
			SigningKeys: []auth.SigningKey{authtest.NewSigners(t)["HS256"].Key}}
		change(&cfg)
		_, err := auth.New(memstore.New(), cfg)
		require.ErrorContains(t, err, "Config.DeliverElsewhere needs an audit trail, and OnEvent must be nil")
	}
}

func TestDisableAuditTrailRemovesTheTrail(t *testing.T) {
	t.Parallel()
	var seen authtest.Record[auth.Event]
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.DisableAuditTrail, cfg.OnEvent = true, seen.Add
	})
	_, err := f.svc.Events(t.Context(), auth.EventFilter{}, 10)
	require.ErrorContains(t, err, "DisableAuditTrail")
	require.Equal(t, http.StatusNotFound,
		f.sendAs(f.signIn(f.admin), http.MethodGet, "/auth/events", "").status)
	events, err := f.store.(auth.EventStore).ListEvents(t.Context(), auth.EventFilter{}, 10)
	require.NoError(t, err)
	require.Empty(t, events)

	stopped, stop := context.WithCancel(t.Context())
	stop()
	require.Error(t, f.svc.Run(stopped))
	var kinds []eventkind.Kind
	for _, e := range seen.Take() {
		kinds = append(kinds, e.Kind)
	}
	want := []eventkind.Kind{eventkind.Bootstrapped, eventkind.UserCreated, eventkind.SignedIn}
	require.Equal(t, want, kinds, "the events go through the queue instead")
}

// If OnEvent is slow or panics, no request is delayed and no event is lost. The same holds for an
// instance that does not call Run.
func TestEventsOfChangesAreDeliveredFromTheTrail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		clock := func() time.Time { return time.Now() }
		signer := authtest.NewSigners(t)["HS256"]
		var seen authtest.Record[string]
		var calls atomic.Int32
		config := auth.Config{
			Issuer: issuer, SigningKeys: []auth.SigningKey{signer.Key}, Now: clock,
			OnEvent: func(e auth.Event) {
				calls.Add(1)
				if e.Reason == "is_super_user=true" {
					panic("every time")
				}
				time.Sleep(20 * time.Second)
				seen.Add(string(e.Kind) + " " + e.UserID)
			},
		}
		svc, err := auth.New(store, config)
		require.NoError(t, err)
		idle, err := auth.New(store, config) // an instance that does not call Run
		require.NoError(t, err)
		ctx := t.Context()
		_, err = idle.Bootstrap(ctx, auth.UserParams{Username: "root"}, idle.Credentials().GeneratePair())
		require.NoError(t, err)
		made, err := idle.Register(ctx, authtest.ByHost, auth.UserParams{Username: "alice"})
		require.NoError(t, err)
		_, err = idle.UpdateUser(ctx, authtest.ByHost, made.User.ID, auth.UserChange{IsSuperUser: new(true)})
		require.NoError(t, err)
		_, err = idle.UpdateUser(ctx, authtest.ByHost, made.User.ID, auth.UserChange{IsActive: new(false)})
		require.NoError(t, err)

		running, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { defer close(done); svc.Run(running) }()
		began := time.Now()
		_, err = svc.Register(ctx, authtest.ByHost, auth.UserParams{Username: "bob"})
		require.NoError(t, err)
		require.Zero(t, time.Since(began), "the change does not wait for OnEvent")
		time.Sleep(10 * time.Minute)
		stop()
		<-done
		got := seen.Take()
		require.Len(t, got, 4)
		require.Equal(t, "user.changed "+made.User.ID, got[3],
			"the user's next event is delivered after the panicking one was skipped")
		require.ElementsMatch(t, []string{"super_user.b", "user.created", "user.created"},
			[]string{got[0][:12], got[1][:12], got[2][:12]})
		require.EqualValues(t, 4+5, calls.Load(), "the panicking event was tried five times")
	})
}
