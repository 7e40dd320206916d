package wiretest

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func ready(svc *auth.Service) int {
	return send(svc.Handler(auth.GroupHealth), http.MethodGet, "/readyz", "").status
}

func live(svc *auth.Service) int {
	return send(svc.Handler(auth.GroupHealth), http.MethodGet, "/livez", "").status
}

func TestHealthChecksAreServedOnlyIfTheHostNamesThem(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, path := range []string{"/livez", "/readyz"} {
		require.Equal(t, http.StatusNotFound,
			send(hostHandler{f.svc.Handler()}, http.MethodGet, path, "").status)
		mux := http.NewServeMux()
		f.svc.Mount(mux)
		require.Equal(t, http.StatusNotFound, send(hostHandler{mux}, http.MethodGet, path, "").status)
		f.svc.Mount(mux, auth.GroupHealth)
		require.Equal(t, http.StatusOK, send(mux, http.MethodGet, path, "").status)
	}
}

func TestHealthChecksAnswerAsDocumented(t *testing.T) {
	t.Parallel()
	in := newInstances(t)
	h := in.svc.Handler(auth.GroupHealth)
	require.JSONEq(t, `{"status": "ok"}`, send(h, http.MethodGet, "/livez", "").body)
	require.JSONEq(t, `{"status": "ok"}`, send(h, http.MethodGet, "/readyz", "").body)
	for _, path := range []string{"/livez", "/readyz"} {
		require.Equal(t, http.StatusOK, send(h, http.MethodHead, path, "").status)
		require.Equal(t, "GET, HEAD", send(h, http.MethodPost, path, "").header.Get("Allow"))
	}
	in.fail(authtest.ErrStoreAway)
	in.clock.Advance(time.Minute)
	r := send(h, http.MethodGet, "/readyz", "")
	require.Equal(t, http.StatusServiceUnavailable, r.status)
	require.JSONEq(t, `{"detail": "Not ready: this instance cannot verify tokens now"}`, r.body)
	require.NotContains(t, r.body, authtest.ErrStoreAway.Error())
}

func TestAnInstanceIsReadyExactlyWhileItAcceptsTokens(t *testing.T) {
	t.Parallel()
	for _, fault := range []error{authtest.ErrStoreAway, authtest.ErrHang} {
		synctest.Test(t, func(t *testing.T) {
			in := newInstances(t, func(c *auth.Config) { c.Now = time.Now })
			in.fail(fault)
			require.Equal(t, http.StatusServiceUnavailable, ready(in.other), "the feed has never been read")
			require.Equal(t, http.StatusOK, live(in.other))
			time.Sleep(time.Second)
			in.fail(nil)
			require.Equal(t, http.StatusOK, ready(in.other))
			token, readAt := in.signIn(in.user), time.Now()
			in.fail(fault)
			require.Equal(t, http.StatusOK, ready(in.other), "one failed read changes nothing")
			for time.Since(readAt) < time.Minute-2*time.Second {
				require.Equal(t, http.StatusOK, ready(in.other))
				time.Sleep(700 * time.Millisecond)
			}
			time.Sleep(time.Minute - time.Since(readAt))
			require.Equal(t, http.StatusServiceUnavailable, ready(in.other))
			require.Equal(t, http.StatusServiceUnavailable, status(in.other, token))
			require.Equal(t, http.StatusOK, live(in.other), "a restart would not help")
			in.fail(nil)
			time.Sleep(time.Second)
			require.Equal(t, http.StatusOK, ready(in.other))
			require.Equal(t, http.StatusOK, status(in.other, token))
		})
	}
}

// If no request has a token for hours, no request reads the feed. The instance is still ready, because the
// readiness check reads the feed itself.
func TestAnIdleInstanceStaysReady(t *testing.T) {
	t.Parallel()
	in := newInstances(t)
	for range 5 {
		in.clock.Advance(time.Hour)
		require.Equal(t, http.StatusOK, ready(in.svc))
	}
	in.clock.Advance(-24 * time.Hour) // the age is then unknown, so the feed is read again
	require.Equal(t, http.StatusOK, ready(in.svc))
}

func TestAFloodOfReadinessChecksReadsTheStoreOnceASecond(t *testing.T) {
	t.Parallel()
	for name, inStore := range map[string]bool{"the feed": false, "sessions in the store": true} {
		for what, fault := range map[string]error{"fails": authtest.ErrStoreAway, "hangs": authtest.ErrHang,
			"answers": nil} {
			t.Run(name+" "+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var reads atomic.Int64
					f := newFixture(t, withFaults(func(method string) error {
						if method != "ListRevocations" && method != "Ping" {
							return nil
						}
						reads.Add(1)
						return fault
					}), func(_ *fixture, c *auth.Config) {
						c.Now, c.Tokens.CheckSessionsInStore = time.Now, inStore
					})
					began := time.Now()
					var all sync.WaitGroup
					for range 20 {
						all.Go(func() {
							for time.Since(began) < 10*time.Second {
								ready(f.svc)
								time.Sleep(100 * time.Millisecond)
							}
						})
					}
					all.Wait()
					seconds := int64(time.Since(began)/time.Second) + 1
					require.LessOrEqual(t, reads.Load(), seconds)
				})
			})
		}
	}
}

func TestReadinessWithSessionsInTheStoreFollowsTheStore(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	f := newFixture(t, withFaults(func(string) error {
		if away.Load() {
			return authtest.ErrStoreAway
		}
		return nil
	}), func(_ *fixture, c *auth.Config) { c.Tokens.CheckSessionsInStore = true })
	require.Equal(t, http.StatusOK, ready(f.svc))
	away.Store(true)
	f.clock.Advance(time.Second)
	require.Equal(t, http.StatusServiceUnavailable, ready(f.svc))
	require.Equal(t, http.StatusOK, live(f.svc))
	away.Store(false)
	require.Equal(t, http.StatusServiceUnavailable, ready(f.svc), "the answer is remembered for a second")
	f.clock.Advance(time.Second)
	require.Equal(t, http.StatusOK, ready(f.svc))
}

// A client that closes its connection must not make the instance unready for others.
func TestACanceledReadinessCheckChangesNothing(t *testing.T) {
	t.Parallel()
	for _, inStore := range []bool{false, true} {
		f := newFixture(t, func(_ *fixture, c *auth.Config) { c.Tokens.CheckSessionsInStore = inStore })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		h := f.svc.Handler(auth.GroupHealth)
		for range 20 {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/readyz", nil)
			require.NoError(t, err)
			serve(h, r)
		}
		require.Equal(t, http.StatusOK, ready(f.svc))
	}
}
