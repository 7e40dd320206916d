package wiretest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// logLines returns the lines of the log that contain the text.
func (f *fixture) logLines(text string) (lines []string) {
	for line := range strings.Lines(f.log.String()) {
		if strings.Contains(line, text) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// storeOutage is a fixture whose store fails while away is true.
func storeOutage(t *testing.T, change ...func(*fixture, *auth.Config)) (*fixture, *atomic.Bool) {
	var away atomic.Bool
	return newFixture(t, append(change, withFaults(func(string) error {
		if away.Load() {
			return authtest.ErrStoreAway
		}
		return nil
	}))...), &away
}

func TestAnOutageOfTheStoreGetsOneLineAtEachChangeOfState(t *testing.T) {
	t.Parallel()
	for _, runs := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f, away := storeOutage(t, func(_ *fixture, c *auth.Config) { c.Now = time.Now })
			token := f.signIn(f.user)
			if runs {
				go f.svc.Run(t.Context())
			}
			h := f.svc.Authenticate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			request := func() int {
				return send(h, http.MethodGet, "/", "", "Authorization", "Bearer "+token).status
			}
			require.Equal(t, http.StatusOK, request())
			away.Store(true)
			for range 85 * 4 {
				time.Sleep(250 * time.Millisecond)
				request()
				synctest.Wait()
			}
			require.Equal(t, http.StatusServiceUnavailable, request())
			away.Store(false)
			time.Sleep(3 * time.Second)
			require.Equal(t, http.StatusOK, request())
			synctest.Wait()
			log := f.log.String()
			require.Len(t, f.logLines("soon no token will be accepted"), 2, "at once, after 30 s:\n%s", log)
			require.Len(t, f.logLines("no token is accepted now"), 1, log)
			require.Len(t, f.logLines("tokens are accepted again"), 1, log)
			require.Len(t, f.logLines(`"auth: request failed"`), 1, log)
			require.Len(t, f.logLines("requests succeed again"), 1, log)
			require.Contains(t, f.logLines("requests succeed again")[0], "cause=store")
			require.NotContains(t, f.logLines("requests succeed again")[0], "requests=0")
			require.NotContains(t, f.logLines("tokens are accepted again")[0], "refused=0")
		})
	}
}

func TestAFailedRequestIsLoggedWithItsRequestIDAndCaller(t *testing.T) {
	t.Parallel()
	f, away := storeOutage(t)
	token := f.signIn(f.user)
	require.Equal(t, http.StatusOK, f.sendAs(token, http.MethodGet, "/auth/user", "").status)
	away.Store(true)
	r := f.send(http.MethodGet, "/auth/user", "", "Authorization", "Bearer "+token,
		"X-Request-Id", "req-1\n\x1b[31mforged")
	require.Equal(t, http.StatusServiceUnavailable, r.status)
	line := f.logLines("request failed")[0]
	for _, part := range []string{"level=ERROR", "cause=store", "requests=1", "method=GET",
		`pattern="GET /auth/user"`, "request_id=", "req-1", "user_id=" + f.user.ID, authtest.ErrStoreAway.Error()} {
		require.Contains(t, line, part)
	}
	require.NotContains(t, line, "\x1b")
	require.NotContains(t, line, token)
}

// A full disk: sign-ins fail while other calls succeed.
func TestACallThatFailsWhileOthersSucceedGetsFewLines(t *testing.T) {
	t.Parallel()
	full := true
	f := newFixture(t, withFaults(func(method string) error {
		if full && method == "CreateSession" {
			return errors.New("database or disk is full")
		}
		return nil
	}))
	full = false
	token := f.signIn(f.user)
	full = true
	for range 300 {
		require.Equal(t, http.StatusServiceUnavailable, f.login(f.userPair).status)
		require.Equal(t, http.StatusOK, f.sendAs(token, http.MethodGet, "/auth/user", "").status)
		f.clock.Advance(time.Second)
	}
	require.Len(t, f.logLines("request failed"), 1)
	require.Len(t, f.logLines("further requests failed"), 9)
	require.Empty(t, f.logLines("succeed again"))
	full = false
	require.Equal(t, http.StatusOK, f.login(f.userPair).status)
	require.Len(t, f.logLines("succeed again"), 1)
	require.Contains(t, f.logLines("succeed again")[0], "requests=300 lasted=5m0s")
}

// If clients close their connections while another request reads the feed, this is no failure of the
// store.
func TestCanceledRequestsAreNoOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newInstances(t, func(c *auth.Config) { c.Now = time.Now })
		token := in.signIn(in.user)
		in.fail(authtest.ErrHang)
		reading := make(chan int)
		go func() { reading <- status(in.other, token) }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 10 {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
			require.NoError(t, err)
			r.Header.Set("Authorization", "Bearer "+token)
			serve(in.other.Authenticate(http.NotFoundHandler()), r)
		}
		require.Empty(t, in.logLines("ERROR"))
		require.Equal(t, http.StatusServiceUnavailable, <-reading)
		require.Len(t, in.logLines("request failed"), 1)
		require.Contains(t, in.logLines("request failed")[0], "requests=1 ")
	})
}

// The trail is read every five seconds, so a line for each failure would be 17 lines.
func TestAnOutageOfTheAuditTrailGetsFewLines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, away := storeOutage(t, func(_ *fixture, c *auth.Config) {
			c.Now, c.OnEvent = time.Now, func(auth.Event) {}
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.svc.Run(ctx) }()
		time.Sleep(time.Second)
		away.Store(true)
		time.Sleep(85 * time.Second)
		away.Store(false)
		time.Sleep(6 * time.Second)
		cancel()
		<-done
		log := f.log.String()
		require.Len(t, f.logLines("events of the audit trail cannot be delivered now"), 3, log)
		require.Len(t, f.logLines("events of the audit trail are delivered again"), 1, log)
	})
}
