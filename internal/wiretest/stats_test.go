package wiretest

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// An instance without faults must not have numbers that wake an operator, whatever its clients do.
func TestStatsOfAHealthyInstanceAreZero(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.signIn(f.user)
	require.Equal(t, http.StatusOK, status(f.svc, token))
	f.requireLogin(f.wrong(), http.StatusUnauthorized)
	require.NoError(t, f.svc.Tokens().RevokeToken(t.Context(), token))
	require.Equal(t, http.StatusUnauthorized, status(f.svc, token))
	require.Equal(t, http.StatusUnauthorized, status(f.svc, token+"x"))
	_, err := f.svc.Prune(t.Context())
	require.NoError(t, err)
	f.clock.Advance(time.Hour)
	require.Equal(t, http.StatusOK, status(f.svc, f.signIn(f.user)))
	require.Zero(t, f.svc.Stats())
}

func TestStatsCountTheCallsThatTheLimiterFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.Throttling.Limiter, cfg.Proxies = failingLimiter{}, auth.NoProxies()
	})
	f.requireLogin(f.wrong(), http.StatusUnauthorized)
	first := f.svc.Stats().LimiterFailures
	require.Positive(t, first)
	f.requireLogin(f.wrong(), http.StatusUnauthorized)
	require.Equal(t, auth.Stats{LimiterFailures: 2 * first}, f.svc.Stats())
}

// A token of another instance whose signing keys are not the same.
func TestStatsCountTokensThatNameAnUnknownSigningKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	key, err := auth.NewHS256Key("another-key", authtest.Random(32))
	require.NoError(t, err)
	other, err := auth.New(f.store, auth.Config{Issuer: issuer, SigningKeys: []auth.SigningKey{key},
		Now: f.clock.Now})
	require.NoError(t, err)
	token, err := other.SignIn(t.Context(), f.user.ID, auth.LoginOptions{})
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status(other, token.Bearer.Reveal()))
	for range 2 {
		require.Equal(t, http.StatusUnauthorized, status(f.svc, token.Bearer.Reveal()))
	}
	require.Equal(t, auth.Stats{UnknownKeyTokens: 2}, f.svc.Stats())
	require.Zero(t, other.Stats())
}

func TestStatsCountTheEventsThatWaitAndThoseThatAreLost(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.OnEvent = func(auth.Event) {} })
	before := f.svc.Stats()
	require.Zero(t, before.EventsLost)
	const room = 512 // for rejected tokens
	for range room + 3 {
		require.Equal(t, http.StatusUnauthorized, status(f.svc, "x.y.z"))
	}
	require.Equal(t, auth.Stats{EventsWaiting: before.EventsWaiting + room, EventsLost: 3}, f.svc.Stats())
}

func TestStatsCountHowOftenTheFeedIsReadFromItsBeginning(t *testing.T) {
	t.Parallel()
	b := newBackedUp(t)
	token := b.signIn(b.user)
	b.backUp(t)
	b.logOut(b.svc, 1)
	require.Equal(t, http.StatusOK, status(b.svc, token))
	require.Zero(t, b.svc.Stats())
	b.restore(t)
	b.clock.Advance(5 * time.Second)
	require.Equal(t, http.StatusUnauthorized, status(b.svc, token))
	require.Equal(t, auth.Stats{FeedRestarts: 1}, b.svc.Stats())
}

func TestStatsCountGitHubTokensThatNoSealingKeyOpens(t *testing.T) {
	t.Parallel()
	d := newDroppedKey(t)
	for range 2 {
		_, err := d.other.GitHub().Status(t.Context(), d.user.ID)
		require.ErrorIs(t, err, auth.ErrNotFound)
	}
	require.EqualValues(t, 2, d.other.Stats().UnopenedGitHubTokens)
	require.Zero(t, d.svc.Stats().UnopenedGitHubTokens)
}

// Each event of the audit trail is delivered up to five times. Events of sign-ins are not in the trail, and
// are delivered once.
func TestStatsCountTheEventsForWhichOnEventPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
			cfg.Now = time.Now
			cfg.OnEvent = func(auth.Event) { calls.Add(1); panic("no event is handled") }
		})
		f.signIn(f.user)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		require.ErrorIs(t, f.svc.Run(ctx), context.DeadlineExceeded)
		const stored, queued = 2, 1 // two users were added
		require.EqualValues(t, 5*stored+queued, calls.Load())
		require.Equal(t, auth.Stats{EventsLost: stored + queued}, f.svc.Stats())
	})
}

func TestStatsCountTheDeliveriesThatTheStoreFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, away := storeOutage(t, func(_ *fixture, c *auth.Config) {
			c.Now, c.OnEvent = time.Now, func(auth.Event) {}
		})
		require.Zero(t, f.svc.Stats().DeliveriesFailed)
		away.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
		defer cancel()
		require.ErrorIs(t, f.svc.Run(ctx), context.DeadlineExceeded)
		require.EqualValues(t, 4, f.svc.Stats().DeliveriesFailed,
			"at once, after five and ten seconds, and when Run ends")
	})
}
