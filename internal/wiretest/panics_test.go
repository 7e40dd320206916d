package wiretest

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/limit"
	"github.com/stretchr/testify/require"
)

// net/http recovers from a panic in a handler, but gRPC does not. So the library must turn a panic
// of the store into an error.
func TestAPanicOfTheStoreOutsideHTTPIsAnError(t *testing.T) {
	t.Parallel()
	for _, inStore := range []bool{false, true} {
		var panics atomic.Bool
		f := newFixture(t, withFaults(func(string) error {
			if panics.Load() {
				panic("a bug of the store")
			}
			return nil
		}), func(_ *fixture, cfg *auth.Config) { cfg.Tokens.CheckSessionsInStore = inStore })
		token := f.signIn(f.user)
		request, err := http.NewRequest(http.MethodGet, "/", nil)
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+token)
		called, err := f.svc.IdentifyContext(request)
		require.NoError(t, err)
		session, err := f.svc.Identify(request)
		require.NoError(t, err)
		panics.Store(true)
		f.clock.Advance(time.Hour) // the last read of the feed is then too old

		ctx := t.Context()
		for name, call := range map[string]func() error{
			"Verify":          func() error { return errorOf(f.svc.Tokens().Verify(ctx, token)) },
			"Identify":        func() error { return errorOf(f.svc.Identify(request)) },
			"IdentifyContext": func() error { return errorOf(f.svc.IdentifyContext(request)) },
			"User":            func() error { return errorOf(f.svc.User(called)) },
			"SuperUser":       func() error { return errorOf(f.svc.SuperUser(called)) },
			"Login":           func() error { return errorOf(f.svc.Login(ctx, f.userPair, auth.LoginOptions{})) },
			"SignIn":          func() error { return errorOf(f.svc.SignIn(ctx, f.user.ID, auth.LoginOptions{})) },
			"Revoke":          func() error { return f.svc.Tokens().Revoke(ctx, authtest.ByHost, session.SessionID) },
			"RevokeUser":      func() error { return errorOf(f.svc.Tokens().RevokeUser(ctx, authtest.ByHost, f.user.ID)) },
			"List":            func() error { return errorOf(f.svc.Credentials().List(ctx, f.user.ID)) },
			"DeleteUser":      func() error { return f.svc.DeleteUser(ctx, authtest.ByHost, f.user.ID) },
			"Prune":           func() error { return errorOf(f.svc.Prune(ctx)) },
			"Ping":            func() error { return f.svc.Ping(ctx) },
		} {
			var err error
			require.NotPanics(t, func() { err = call() }, name)
			require.ErrorContains(t, err, "panicked: a bug of the store (at ", name)
			status, detail := auth.ErrorStatus(err)
			require.Equal(t, http.StatusServiceUnavailable, status, name)
			require.NotContains(t, detail, "bug", name)
		}
		panics.Store(false)
		f.clock.Advance(time.Hour)
		require.NoError(t, errorOf(f.svc.Identify(request)), "the panic left no lock held")
	}
}

func TestAPanicOfTheStoreDoesNotEndRun(t *testing.T) {
	t.Parallel()
	var panics atomic.Bool
	pruned := make(chan struct{}, 1)
	f := newFixture(t, withFaults(func(method string) error {
		if !panics.Load() {
			return nil
		}
		if method == "PruneSessions" {
			select {
			case pruned <- struct{}{}:
			default:
			}
		}
		panic("a bug of the store")
	}))
	panics.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.svc.Run(ctx) }()
	<-pruned
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.Contains(t, f.log.String(), "ListRevocations panicked: a bug of the store")
}

type panickingLimiter struct{}

func (panickingLimiter) Take(context.Context, string, []limit.Rate) (time.Duration, error) {
	panic("a bug of the limiter")
}

func (panickingLimiter) Reset(context.Context, string) error { panic("a bug of the limiter") }

func TestAPanicOfTheLimiterKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.Throttling.Limiter = panickingLimiter{} })
	ctx := auth.WithClientInfo(t.Context(), auth.ClientInfo{Address: netip.MustParseAddr("192.0.2.1")})
	require.NotPanics(t, func() {
		require.NoError(t, errorOf(f.svc.Login(ctx, f.userPair, auth.LoginOptions{})))
	})
	require.Contains(t, f.log.String(), "Limiter.Take panicked: a bug of the limiter")
}

// panickingTransport is an HTTP transport of the host. While its field on is true, the transport
// panics for requests of its path.
type panickingTransport struct {
	http.RoundTripper
	path string
	on   *atomic.Bool
}

func (p panickingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.on.Load() && strings.HasSuffix(r.URL.Path, p.path) {
		panic("the host's transport")
	}
	return p.RoundTripper.RoundTrip(r)
}

func TestAPanicOfTheHostsTransportDuringARefreshIsAnError(t *testing.T) {
	t.Parallel()
	on := new(atomic.Bool)
	g := newGitHub(t, githubOptions{fake: withExpiringTokens.fake,
		configure: func(_ *githubFixture, cfg *auth.Config) {
			cfg.GitHub.HTTPClient = &http.Client{
				Transport: panickingTransport{cfg.GitHub.HTTPClient.Transport, "/access_token", on},
			}
		}})
	require.Equal(t, http.StatusOK, g.browser().connect(g.signIn(g.user)).status)
	g.clock.Advance(9 * time.Hour)
	on.Store(true)
	// Outside an HTTP handler, for example in a gRPC method or a goroutine, nothing recovers from a
	// panic.
	require.NotPanics(t, func() {
		_, err := g.svc.GitHub().Verify(t.Context(), g.user.ID)
		require.Error(t, err)
	})
}

func TestAPanicOfTheHostsTransportDuringAnExchangeIsA503(t *testing.T) {
	t.Parallel()
	on := new(atomic.Bool)
	g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.GitHub.HTTPClient = &http.Client{
			Transport: panickingTransport{cfg.GitHub.HTTPClient.Transport, "/access_token", on},
		}
	}})
	p := g.pending()
	on.Store(true)
	require.NotPanics(t, func() { require.Equal(t, http.StatusServiceUnavailable, g.sendCallback(p).status) })
}
