package authclient_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/authclient"
)

// The attack: a connection that never answers. The caller that signs in has no deadline, but the client must
// recover.
func TestAConnectionThatNeverAnswersDoesNotStopTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hang atomic.Bool
		hang.Store(true)
		client := newClient(t, func(r *http.Request) *http.Response {
			if hang.Load() {
				<-r.Context().Done()
			}
			return issue("token", time.Hour)
		})
		leader := make(chan error, 1)
		go func() {
			_, err := client.CurrentUser(context.WithoutCancel(t.Context()))
			leader <- err
		}()
		synctest.Wait()
		hang.Store(false)
		began := time.Now()
		_, _ = client.TokenSource(t.Context()).Token()
		require.LessOrEqual(t, time.Since(began), time.Minute)
		<-leader
		require.Equal(t, "token", token(t, t.Context(), client))
	})
}

// The attack: during an outage, the calls wait for one another, and the last of them fails after minutes.
func TestCallsFailTogetherDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var signIns atomic.Int32
		client := newClient(t, func(*http.Request) *http.Response {
			signIns.Add(1)
			time.Sleep(100 * time.Millisecond)
			return reply(503, nil)
		})
		for range 3 {
			before, began := signIns.Load(), time.Now()
			require.Len(t, together(func() error {
				_, err := client.TokenSource(t.Context()).Token()
				return err
			}), callers)
			require.Less(t, time.Since(began), 2*time.Second)
			require.EqualValues(t, 1, signIns.Load()-before)
		}
	})
}

// The attack: a patient call waits for the end of a pause, and an impatient call behind it gets no answer.
func TestACallThatCannotWaitFailsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var signIns atomic.Int32
		client := newClient(t, func(*http.Request) *http.Response {
			if signIns.Add(1) == 1 {
				return reply(429, nil, "Retry-After", "20")
			}
			return issue("token", time.Hour)
		})
		impatient, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := client.TokenSource(impatient).Token()
		require.Error(t, err)
		patient := make(chan error, 1)
		go func() {
			_, err := client.TokenSource(t.Context()).Token()
			patient <- err
		}()
		synctest.Wait()
		began := time.Now()
		_, err = client.TokenSource(impatient).Token()
		var answer *authclient.Error
		require.ErrorAs(t, err, &answer)
		require.Zero(t, time.Since(began))
		require.NoError(t, <-patient)
		require.EqualValues(t, 2, signIns.Load())
	})
}

// The attack: a program with a wrong secret uses up the failed sign-ins of its address, 100 in an hour.
func TestAWrongSecretCausesFewSignIns(t *testing.T) {
	for _, status := range []int{401, 403} {
		synctest.Test(t, func(t *testing.T) { testRefusedSignIns(t, status) })
	}
}

func testRefusedSignIns(t *testing.T, status int) {
	t.Helper()
	var signIns atomic.Int32
	var wrong atomic.Bool
	wrong.Store(true)
	client := newClient(t, func(*http.Request) *http.Response {
		signIns.Add(1)
		if wrong.Load() {
			return reply(status, map[string]string{"detail": "Invalid access key or secret"})
		}
		return issue("token", time.Hour)
	})
	for began := time.Now(); time.Since(began) < time.Hour; {
		_, err := client.TokenSource(t.Context()).Token()
		require.Error(t, err)
		time.Sleep(time.Second)
	}
	require.Less(t, signIns.Load(), int32(100))
	wrong.Store(false)
	time.Sleep(time.Minute)
	require.Equal(t, "token", token(t, t.Context(), client), "a minute after the secret was replaced")

	wrong.Store(true)
	time.Sleep(2 * time.Hour)
	_, err := client.TokenSource(t.Context()).Token()
	require.Error(t, err)
	wrong.Store(false)
	time.Sleep(time.Second)
	began := time.Now()
	require.Equal(t, "token", token(t, t.Context(), client))
	require.Zero(t, time.Since(began), "a sign-in ends the doubling")
}

// The attack: many callers with short deadlines abandon slow sign-ins, each of which leaves a session behind.
func TestAbandonedSignInsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var signIns atomic.Int32
		var slow atomic.Bool
		slow.Store(true)
		client := newClient(t, func(r *http.Request) *http.Response {
			signIns.Add(1)
			if slow.Load() {
				<-r.Context().Done()
				return reply(499, nil)
			}
			return issue("token", time.Hour)
		})
		for began := time.Now(); time.Since(began) < 10*time.Second; {
			bounded, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			_, err := client.TokenSource(bounded).Token()
			require.Error(t, err)
			cancel()
			time.Sleep(time.Millisecond)
		}
		require.Less(t, signIns.Load(), int32(15))
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		slow.Store(false)
		time.Sleep(time.Minute)
		for range 100 {
			_, err := client.TokenSource(ended).Token()
			require.ErrorIs(t, err, context.Canceled)
		}
		began := time.Now()
		require.Equal(t, "token", token(t, t.Context(), client))
		require.Zero(t, time.Since(began), "contexts that have ended begin no pause")
	})
}

// The attack: the clock is set back by a day after a failed sign-in, and after a new token.
func TestAClockThatIsSetBackStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var back atomic.Int64
		var signIns atomic.Int32
		var down atomic.Bool
		rejected := "token-1"
		client, err := authclient.NewWithConfig("https://api.example.com",
			authclient.FromPair("ak", "hidden"),
			authclient.Config{
				Now: func() time.Time { return time.Now().Round(0).Add(-time.Duration(back.Load())) },
				Transport: transport(func(r *http.Request) *http.Response {
					switch {
					case down.Load():
						return reply(503, nil)
					case strings.HasSuffix(r.URL.Path, "/login"):
						return issue(fmt.Sprint("token-", signIns.Add(1)), time.Hour)
					case r.Header.Get("Authorization") == "Bearer "+rejected:
						return rejection()
					}
					return reply(200, nil)
				})})
		require.NoError(t, err)
		down.Store(true)
		_, err = client.TokenSource(t.Context()).Token()
		require.Error(t, err)
		down.Store(false)
		back.Store(int64(24 * time.Hour))
		require.Equal(t, "token-1", token(t, t.Context(), client), "the pause is over")
		back.Store(int64(48 * time.Hour))
		_, err = client.CurrentUser(t.Context())
		require.NoError(t, err, "the token is not young")
		require.EqualValues(t, 2, signIns.Load())
	})
}

// The attack: Logout fails, the program calls it again, and believes that the token was revoked.
func TestALogoutThatFailsCanBeRepeated(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, err := f.client.CurrentUser(t.Context())
	require.NoError(t, err)
	f.meddle(func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(503)
		return true
	})
	require.ErrorContains(t, f.client.Logout(t.Context()), "authclient: POST /auth/logout: 503")
	held := token(t, t.Context(), f.client)
	f.meddle(func(http.ResponseWriter, *http.Request) bool { return false })
	require.NoError(t, f.client.Logout(t.Context()))
	_, err = f.svc.Tokens().Verify(t.Context(), held)
	require.Error(t, err)
	require.EqualValues(t, 1, f.signIns.Load())

	_, err = f.client.CurrentUser(t.Context())
	require.NoError(t, err)
	f.revokeAll(t)
	require.Error(t, f.client.Logout(t.Context()), "the token is rejected already")
	require.NoError(t, f.client.Logout(t.Context()), "there is no token")
}

// The attack: a renewal is under way during Logout, and its token stays valid.
func TestLogoutRevokesTheTokenOfARenewalUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var signIns atomic.Int32
		var revoked []string
		client := newClient(t, func(r *http.Request) *http.Response {
			if strings.HasSuffix(r.URL.Path, "/logout") {
				revoked = append(revoked, r.Header.Get("Authorization"))
				return reply(200, nil)
			}
			n := signIns.Add(1)
			if n == 2 {
				time.Sleep(time.Second)
			}
			return issue(fmt.Sprint("token-", n), 1000*time.Second)
		})
		require.Equal(t, "token-1", token(t, t.Context(), client))
		time.Sleep(950 * time.Second)
		renewal := make(chan string, 1)
		go func() { renewal <- token(t, t.Context(), client) }()
		synctest.Wait()
		require.NoError(t, client.Logout(t.Context()))
		require.Equal(t, []string{"Bearer token-2"}, revoked)
		require.Equal(t, "token-2", <-renewal)
		require.Equal(t, "token-3", token(t, t.Context(), client))
	})
}

// The attack: calls at the same moment as Logout are answered with 401, because their token is young.
func TestNoCallIsLostBesideALogout(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var revoked atomic.Bool
	f.meddle(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/auth/logout" {
			return false
		}
		// The session ends, and the answer arrives only after another call.
		f.revokeAll(t)
		revoked.Store(true)
		ctx, cancel := context.WithTimeout(r.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := f.client.CurrentUser(ctx)
		var answer *authclient.Error
		if errors.As(err, &answer) {
			w.WriteHeader(500)
		}
		return true
	})
	_, err := f.client.CurrentUser(t.Context())
	require.NoError(t, err)
	require.NoError(t, f.client.Logout(t.Context()))
	require.True(t, revoked.Load())
	_, err = f.client.CurrentUser(t.Context())
	require.NoError(t, err)
}

// The attack: a request is answered so late that the token which replaced its own has expired, too.
func TestALateRejectionIsRepeatedWithAFreshToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var signIns atomic.Int32
		var sent []string
		client := newClient(t, func(r *http.Request) *http.Response {
			if strings.HasSuffix(r.URL.Path, "/login") {
				return issue(fmt.Sprint("token-", signIns.Add(1)), 1000*time.Second)
			}
			sent = append(sent, r.Header.Get("Authorization"))
			if len(sent) == 1 {
				time.Sleep(3000 * time.Second)
				return rejection()
			}
			return reply(200, nil)
		})
		done := make(chan error, 1)
		go func() {
			_, err := client.CurrentUser(t.Context())
			done <- err
		}()
		time.Sleep(950 * time.Second)
		require.Equal(t, "token-2", token(t, t.Context(), client))
		require.NoError(t, <-done)
		require.Equal(t, []string{"Bearer token-1", "Bearer token-3"}, sent)
	})
}

// The attack: two callers give up, and a patient call that waits behind them gets the errors of their
// contexts.
func TestAPatientCallOutlivesThoseThatGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(t, func(r *http.Request) *http.Response {
			if deadline, ok := r.Context().Deadline(); ok && time.Until(deadline) < time.Second {
				<-r.Context().Done()
				return reply(499, nil)
			}
			return issue("token", time.Hour)
		})
		impatient := func(patience time.Duration) error {
			bounded, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := client.TokenSource(bounded).Token()
			return err
		}
		require.Error(t, impatient(10*time.Millisecond))
		failed, served := make(chan error, 1), make(chan error, 1)
		go func() { failed <- impatient(20 * time.Millisecond) }()
		synctest.Wait()
		go func() {
			_, err := client.TokenSource(t.Context()).Token()
			served <- err
		}()
		synctest.Wait()
		require.Error(t, <-failed)
		require.ErrorIs(t, impatient(10*time.Millisecond), context.DeadlineExceeded, "of its own context")
		require.NoError(t, <-served)
	})
}

func TestLogoutEndsInTimeAndSendsNoExpiredToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		client := newClient(t, func(r *http.Request) *http.Response {
			if strings.HasSuffix(r.URL.Path, "/login") {
				return issue("token", time.Hour)
			}
			requests++
			<-r.Context().Done()
			return reply(499, nil)
		})
		token(t, t.Context(), client)
		began := time.Now()
		require.Error(t, client.Logout(context.WithoutCancel(t.Context())))
		require.Equal(t, 30*time.Second, time.Since(began))
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, client.Logout(ended), context.Canceled)
		time.Sleep(2 * time.Hour)
		require.NoError(t, client.Logout(t.Context()))
		require.Equal(t, 1, requests)
	})
}

// The attack: a clock that stands still after a failed sign-in.
func TestAClockThatStandsStillStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now, signIns := time.Now(), 0
		client, err := authclient.NewWithConfig("https://api.example.com",
			authclient.FromPair("ak", "hidden"),
			authclient.Config{Now: func() time.Time { return now },
				Transport: transport(func(*http.Request) *http.Response {
					if signIns++; signIns == 1 {
						return reply(503, nil)
					}
					return issue("token", time.Hour)
				})})
		require.NoError(t, err)
		_, err = client.TokenSource(t.Context()).Token()
		require.Error(t, err)
		require.Equal(t, "token", token(t, t.Context(), client))
	})
}
