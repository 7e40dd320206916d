package wiretest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
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

func TestEventsAreLoggedAfterRunEndsEvenIfOnEventHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
			cfg.Now = time.Now
			cfg.OnEvent = func(auth.Event) { <-release }
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- f.svc.Run(ctx) }()
		synctest.Wait() // OnEvent now hangs in its first call
		stop()
		began := time.Now()
		require.ErrorIs(t, <-ended, context.Canceled)
		require.Equal(t, 5*time.Second, time.Since(began))
		f.signIn(f.user)
		require.Contains(t, f.log.String(), "auth: sign_in.accepted")
		close(release)
		synctest.Wait()
	})
}

// A supervisor may call Run again before the first Run has ended. The second Run waits for the
// first one and then delivers the events.
func TestASecondRunWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		delivered := 0
		events := auth.NewEventLog(auth.EventLogConfig{
			OnEvent: func(auth.Event) { delivered++ },
			Logger:  slog.New(slog.NewTextHandler(&logged, nil)),
		})
		cause := causeEvent(t, events)
		stops, ended := make([]context.CancelFunc, 3), make(chan error)
		for i := range stops {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			stops[i] = stop
			go func() { ended <- events.Run(ctx) }()
			synctest.Wait()
		}
		stops[2]()
		require.ErrorIs(t, <-ended, context.Canceled, "a Run that waits for the first one")
		for i := range 2 {
			cause("while one runs")
			synctest.Wait()
			require.Equal(t, i+1, delivered)
			require.Empty(t, logged.String())
			stops[i]()
			require.ErrorIs(t, <-ended, context.Canceled)
			synctest.Wait()
		}
		cause("when none runs")
		require.NotEmpty(t, logged.String())
	})
}

// causeEvent returns a function that causes a sign_in.accepted event with the request ID.
func causeEvent(t *testing.T, events *auth.EventLog) func(requestID string) {
	t.Helper()
	store := memstore.New()
	register(t, store, authtest.NewClock(), "u1", "alice")
	tokens, err := auth.NewTokenIssuer(store, issuer, []auth.SigningKey{authtest.NewSigners(t)["HS256"].Key},
		auth.TokenConfig{Events: events})
	require.NoError(t, err)
	return func(requestID string) {
		_, err := tokens.Issue(auth.WithClientInfo(t.Context(), auth.ClientInfo{RequestID: requestID}),
			auth.IssueParams{UserID: "u1", Method: auth.MethodHost})
		require.NoError(t, err)
	}
}

func TestAHangingOnEventLosesNoEventAndIsNeverCalledConcurrently(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen sync.Map
		release, calling := make(chan struct{}), atomic.Int32{}
		events := auth.NewEventLog(auth.EventLogConfig{
			Logger: slog.New(requestIDs{slog.DiscardHandler, &seen}),
			OnEvent: func(e auth.Event) {
				require.EqualValues(t, 1, calling.Add(1), "concurrent calls")
				<-release
				seen.Store(e.Client.RequestID, true)
				calling.Add(-1)
			},
		})
		requireSeen := func(want bool, id string) {
			t.Helper()
			_, ok := seen.Load(id)
			require.Equal(t, want, ok, id)
		}
		cause := causeEvent(t, events)
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		ended := make(chan error)
		go func() { ended <- events.Run(ctx) }()
		synctest.Wait()
		cause("hangs")
		cause("waits")
		require.ErrorIs(t, <-ended, context.DeadlineExceeded)
		requireSeen(false, "hangs")
		requireSeen(true, "waits")

		ctx, stop = context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		go func() { ended <- events.Run(ctx) }()
		synctest.Wait()
		cause("while the second waits")
		requireSeen(true, "while the second waits")
		close(release)
		synctest.Wait()
		requireSeen(true, "hangs")
		cause("while the second runs")
		synctest.Wait()
		requireSeen(true, "while the second runs")
		require.ErrorIs(t, <-ended, context.DeadlineExceeded)
	})
}

func TestAnOnEventThatExitsItsGoroutineDoesNotBlockTheNextRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		calls := 0
		events := auth.NewEventLog(auth.EventLogConfig{
			OnEvent: func(auth.Event) {
				if calls++; calls == 1 {
					runtime.Goexit()
				}
			},
			Logger: slog.New(slog.NewTextHandler(&logged, nil)),
		})
		cause := causeEvent(t, events)
		run := func() (stop func()) {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- events.Run(ctx) }()
			synctest.Wait()
			return func() {
				cancel()
				require.ErrorIs(t, <-ended, context.Canceled)
			}
		}
		stopFirst := run()
		cause("1")
		synctest.Wait()
		require.Contains(t, logged.String(), "runtime.Goexit")
		cause("2")
		require.Contains(t, logged.String(), "request_id=2")

		stopSecond := run()
		stopFirst()
		cause("3")
		synctest.Wait()
		require.Equal(t, 3, calls)
		require.NotContains(t, logged.String(), "request_id=3",
			"the second Run still delivers after the first has ended")
		stopSecond()
	})
}

func TestAnOnEventThatCausesEventsDoesNotKeepRunFromEnding(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var cause func(string)
		calls := 0
		events := auth.NewEventLog(auth.EventLogConfig{
			Logger:  slog.New(slog.DiscardHandler),
			OnEvent: func(auth.Event) { calls++; cause("another") },
		})
		cause = causeEvent(t, events)
		cause("the first")
		ctx, stop := context.WithCancel(t.Context())
		stop()
		began := time.Now()
		require.ErrorIs(t, events.Run(ctx), context.Canceled)
		require.Zero(t, time.Since(began))
		require.Equal(t, 1, calls)
	})
}

// An event that is caused while Run ends is either delivered or logged.
func TestNoEventIsLostWhenRunEnds(t *testing.T) {
	t.Parallel()
	const rounds, senders, each = 100, 4, 50
	for range rounds {
		var seen sync.Map
		events := auth.NewEventLog(auth.EventLogConfig{
			OnEvent: func(e auth.Event) { seen.Store(e.Client.RequestID, true) },
			Logger:  slog.New(requestIDs{slog.DiscardHandler, &seen}),
		})
		cause := causeEvent(t, events)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var all sync.WaitGroup
		all.Go(func() { events.Run(ctx) })
		for sender := range senders {
			all.Go(func() {
				for i := range each {
					cause(fmt.Sprintf("%d/%d", sender, i))
					if sender == 0 && i == each/2 {
						stop()
					}
				}
			})
		}
		all.Wait()
		for sender := range senders {
			for i := range each {
				_, ok := seen.Load(fmt.Sprintf("%d/%d", sender, i))
				require.True(t, ok, "event %d of sender %d", i, sender)
			}
		}
	}
}

// requestIDs is a log handler that records the request IDs of the events in the log.
type requestIDs struct {
	slog.Handler
	seen *sync.Map
}

func (requestIDs) Enabled(context.Context, slog.Level) bool { return true }

func (h requestIDs) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if e, ok := a.Value.Any().(auth.Event); ok {
			h.seen.Store(e.Client.RequestID, true)
		}
		return true
	})
	return nil
}

func TestTheZeroValueOfEventLogIsUsable(t *testing.T) {
	t.Parallel()
	var events auth.EventLog
	authtest.DeliverEvents(t, &events)
	causeEvent(t, &events)("1")
}

func TestAPanicInAHookDoesNotFailTheRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.Hooks = auth.Hooks{
			SignIn: func(context.Context, auth.SignInMethod, error, time.Duration) {
				panic("the host's mistake")
			},
			Verify: func(context.Context, error, bool, time.Duration) { panic("the host's mistake") },
		}
	})
	answer := f.login(f.userPair)
	require.Equal(t, http.StatusOK, answer.status)
	require.Contains(t, f.log.String(), "auth: sign_in.accepted", "the event is logged")
	token := answer.json(t)["token"].(string)
	require.Equal(t, http.StatusOK, f.sendAs(token, http.MethodGet, "/auth/user", "").status)
	require.Equal(t, 1, strings.Count(f.log.String(), "auth: Hooks.SignIn panicked"))
	require.Equal(t, 1, strings.Count(f.log.String(), "auth: Hooks.Verify panicked"))
}

// The event of a rejected sign-in tells the operator the reason and the user. This also holds for
// users in the host's own table.
func TestARejectedSignInEventHasTheReasonAndTheUser(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
	h := newHostFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.OnEvent = got.Add })
	h.table.setActive("u-alice", false)
	h.login(h.pair)
	h.table.delete("u-alice")
	h.login(h.pair)
	g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.OnEvent, cfg.GitHub.AllowedUsers = got.Add, []int64{hubot}
	}})
	b := g.browser()
	require.Equal(t, http.StatusForbidden, b.get(b.authURL(signInCall)).status)

	var rejected []string
	for _, svc := range []*auth.Service{h.svc, g.svc} {
		for _, e := range got.Deliver(t, svc) {
			if e.Kind == eventkind.SignInRejected {
				rejected = append(rejected, e.UserID+": "+e.Reason)
			}
		}
	}
	require.Equal(t, []string{
		"u-alice: the user is disabled", "u-alice: no such key",
		": This GitHub account is not allowed to sign in",
	}, rejected)
}

func TestComponentsWithoutAnEventLogWork(t *testing.T) {
	t.Parallel()
	f := newTokens(t, authtest.NewSigners(t)["HS256"], auth.TokenConfig{})
	f.requireRejected(t, "x")
	require.NoError(t, f.issuer.Revoke(t.Context(), authtest.ByHost, f.token.Session.ID))
	credentials, err := auth.NewCredentialVerifier(f.store, f.issuer, auth.CredentialConfig{
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	_, _, err = credentials.Verify(t.Context(), auth.KeyPair{})
	require.ErrorIs(t, err, auth.ErrInvalidCredentials)
}

// Without the warning, the log would not say that Run is missing until the queue is full.
func TestEventsBeforeRunAreLoggedWithOneWarningAndDeliveredByRun(t *testing.T) {
	t.Parallel()
	const warning = "OnEvent is set and Run has not been called"
	for name, disable := range map[string]bool{"with an audit trail": false, "without an audit trail": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var got authtest.Record[auth.Event]
				f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
					cfg.Now, cfg.OnEvent, cfg.DisableAuditTrail = time.Now, got.Add, disable
				})
				logged := f.log.String() // of Bootstrap and Register
				require.Equal(t, 1, strings.Count(logged, warning))
				require.Less(t, strings.Index(logged, warning),
					strings.Index(logged, "super_user.bootstrapped"),
					"the warning comes with the first event")
				require.Contains(t, logged, "user.created")
				for range 10 {
					f.signIn(f.user)
					require.Equal(t, http.StatusUnauthorized, f.login(auth.KeyPair{AccessKey: "x",
						AccessSecret: auth.NewSecret("x")}).status)
				}
				require.Equal(t, 1, strings.Count(f.log.String(), warning))
				require.Equal(t, 10, strings.Count(f.log.String(), "auth: sign_in.accepted"))
				require.Equal(t, 10, strings.Count(f.log.String(), "auth: sign_in.rejected"))
				require.Empty(t, got.Take())

				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- f.svc.Run(ctx) }()
				synctest.Wait()
				kinds := map[eventkind.Kind]int{}
				for _, e := range got.Take() {
					kinds[e.Kind]++
				}
				require.Equal(t, map[eventkind.Kind]int{eventkind.Bootstrapped: 1, eventkind.UserCreated: 1,
					eventkind.SignedIn: 10, eventkind.SignInRejected: 10}, kinds, "no event is lost or doubled")

				f.log.Reset()
				f.signIn(f.user)
				_, err := f.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{Username: "new"})
				require.NoError(t, err)
				synctest.Wait()
				require.Len(t, got.Take(), 2)
				require.NotContains(t, f.log.String(), "sign_in.accepted",
					"Run delivers, so the log gets nothing")
				require.NotContains(t, f.log.String(), "user.created")
				stop()
				require.ErrorIs(t, <-ended, context.Canceled)
				f.signIn(f.user)
				require.NotContains(t, f.log.String(), warning, "the host knows Run")
			})
		})
	}
}

func TestEventsWithoutOnEventNeedNoRun(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	require.Equal(t, http.StatusOK, f.login(f.userPair).status)
	require.NotContains(t, f.log.String(), "Run has not been called")
}

// A host that stops Run while it shuts down has not forgotten Run.
func TestEventsAfterTheFirstRunCauseNoWarning(t *testing.T) {
	t.Parallel()
	f := newTokens(t, authtest.NewSigners(t)["HS256"], auth.TokenConfig{})
	var log authtest.Log
	events := auth.NewEventLog(auth.EventLogConfig{
		OnEvent: func(auth.Event) {}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	authtest.DeliverEvents(t, events)
	credentials, err := auth.NewCredentialVerifier(f.store, f.issuer, auth.CredentialConfig{Events: events})
	require.NoError(t, err)
	_, _, err = credentials.Verify(t.Context(), auth.KeyPair{})
	require.ErrorIs(t, err, auth.ErrInvalidCredentials)
	require.Contains(t, log.String(), "sign_in.rejected")
	require.NotContains(t, log.String(), "Run has not been called")
}
