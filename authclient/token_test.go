package authclient_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/authclient"
)

// callers is the number of goroutines in the tests of concurrent calls.
const callers = 64

// together calls the function from many goroutines and returns the errors that are not nil.
func together(do func() error) (failures []error) {
	errs := make([]error, callers)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() { errs[i] = do() })
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			failures = append(failures, err)
		}
	}
	return failures
}

func TestAllCallsShareOneSignIn(t *testing.T) {
	f := newFixture(t)
	require.Empty(t, together(func() error {
		_, err := f.client.CurrentUser(t.Context())
		return err
	}))
	require.EqualValues(t, 1, f.signIns.Load())
}

func TestTheTokenIsRenewedBeforeItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var signIns atomic.Int32
		client := newClient(t, func(*http.Request) *http.Response {
			return issue(fmt.Sprint("token-", signIns.Add(1)), 1000*time.Second)
		})
		ctx, began := t.Context(), time.Now()
		require.Equal(t, "token-1", token(t, ctx, client))
		time.Sleep(799 * time.Second)
		require.Equal(t, "token-1", token(t, ctx, client), "not in the first four fifths of its life")
		time.Sleep(102 * time.Second)
		require.Equal(t, "token-2", token(t, ctx, client), "before it expires")
		require.Less(t, time.Since(began), 1000*time.Second)
	})
}

func TestClientsRenewAtDifferentTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var renewed atomic.Int32
		clients := make([]*authclient.Client, 100)
		for i := range clients {
			var signIns atomic.Int32
			clients[i] = newClient(t, func(*http.Request) *http.Response {
				if signIns.Add(1) > 1 {
					renewed.Add(1)
				}
				return issue("token", 1000*time.Second)
			})
			token(t, t.Context(), clients[i])
		}
		time.Sleep(850 * time.Second)
		for _, client := range clients {
			token(t, t.Context(), client)
		}
		require.Greater(t, renewed.Load(), int32(20))
		require.Less(t, renewed.Load(), int32(80))
	})
}

func TestAFailedRenewalHarmsNoCallUntilTheTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		var attempts atomic.Int32
		client := newClient(t, func(*http.Request) *http.Response {
			attempts.Add(1)
			if down.Load() {
				return reply(503, map[string]string{"detail": "Not available"})
			}
			return issue("token", 1000*time.Second)
		})
		ctx := t.Context()
		token(t, ctx, client)
		down.Store(true)
		time.Sleep(950 * time.Second)
		for range 10 {
			require.Equal(t, "token", token(t, ctx, client))
		}
		require.EqualValues(t, 2, attempts.Load(), "one failed renewal in this second")
		time.Sleep(51 * time.Second)
		bounded, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		_, err := client.TokenSource(bounded).Token()
		var answer *authclient.Error
		require.ErrorAs(t, err, &answer)
		require.Equal(t, 503, answer.StatusCode)
		down.Store(false)
		time.Sleep(2 * time.Second)
		require.Equal(t, "token", token(t, ctx, client))
	})
}

// A slow renewal must not delay calls that have a token.
func TestARenewalDelaysOnlyTheCallThatMakesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var signIns atomic.Int32
		client := newClient(t, func(*http.Request) *http.Response {
			n := signIns.Add(1)
			if n > 1 {
				time.Sleep(time.Minute)
			}
			return issue(fmt.Sprint("token-", n), 1000*time.Second)
		})
		token(t, t.Context(), client)
		time.Sleep(901 * time.Second)
		var slow atomic.Int32
		require.Empty(t, together(func() error {
			began := time.Now()
			_, err := client.TokenSource(t.Context()).Token()
			if time.Since(began) > 0 {
				slow.Add(1)
			}
			return err
		}))
		require.EqualValues(t, 1, slow.Load())
		require.EqualValues(t, 2, signIns.Load())
	})
}

func TestRetryAfterIsHeeded(t *testing.T) {
	for _, test := range []struct {
		header   string
		deadline time.Duration // of the caller; 0 for none
		want     time.Duration // until the call returns
		fails    bool
	}{
		{"7", 0, 7 * time.Second, false},
		{"7", 10 * time.Second, 7 * time.Second, false},
		{"7", 5 * time.Second, 0, true},
		{"31", 0, 0, true},
		{"4000000000", 0, 0, true}, // too long for a number of seconds
		{"99999999999999999999", 0, 0, true},
		{"-7", 0, time.Second, false},
		{"", 0, time.Second, false},
		{"soon", 0, time.Second, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			var signIns atomic.Int32
			client := newClient(t, func(*http.Request) *http.Response {
				if signIns.Add(1) == 1 {
					return reply(429, map[string]string{"detail": "Too many"}, "Retry-After", test.header)
				}
				return issue("token", time.Hour)
			})
			impatient, cancel := context.WithTimeout(t.Context(), time.Second/2)
			defer cancel()
			_, err := client.TokenSource(impatient).Token()
			require.Error(t, err)
			require.NoError(t, impatient.Err(), "a call that cannot wait fails at once")
			ctx := t.Context()
			if test.deadline > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, test.deadline)
				defer cancel()
			}
			began := time.Now()
			failures := together(func() error {
				_, err := client.TokenSource(ctx).Token()
				return err
			})
			require.Equal(t, test.want, time.Since(began), test)
			if test.fails {
				require.Len(t, failures, callers)
				require.EqualValues(t, 1, signIns.Load(), "no attempt before the time")
			} else {
				require.Empty(t, failures)
				require.EqualValues(t, 2, signIns.Load())
			}
		})
	}
}

// All calls wait that can, also those that the refused sign-in was for, and for at most MaxWait altogether.
func TestACallTriesAgainWhenTheServiceSays(t *testing.T) {
	for refusals, want := range map[int32]struct {
		failures int
		signIns  int32
		took     time.Duration
	}{
		1: {0, 2, 7 * time.Second}, 4: {0, 5, 28 * time.Second}, 1000: {callers, 5, 28 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			var signIns atomic.Int32
			client := newClient(t, func(*http.Request) *http.Response {
				if signIns.Add(1) <= refusals {
					return reply(429, map[string]string{"detail": "Too many"}, "Retry-After", "7")
				}
				return issue("token", time.Hour)
			})
			began := time.Now()
			failures := together(func() error {
				_, err := client.TokenSource(t.Context()).Token()
				return err
			})
			require.Len(t, failures, want.failures)
			require.Equal(t, want.signIns, signIns.Load())
			require.Equal(t, want.took, time.Since(began))
		})
	}
}

// A call that renews the token is a call without a token once the token has expired.
func TestARenewalTriesAgainWhenTheServiceSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var signIns atomic.Int32
		client := newClient(t, func(*http.Request) *http.Response {
			n := signIns.Add(1)
			if n == 2 {
				time.Sleep(2 * time.Second)
				return reply(429, nil, "Retry-After", "7")
			}
			return issue(fmt.Sprint("token-", n), 10*time.Second)
		})
		token(t, t.Context(), client)
		time.Sleep(9 * time.Second)
		began := time.Now()
		require.Equal(t, "token-3", token(t, t.Context(), client))
		require.Equal(t, 9*time.Second, time.Since(began))
	})
}

func TestNoAnswerStopsAClientForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var signIns atomic.Int32
		client := newClient(t, func(*http.Request) *http.Response {
			if signIns.Add(1) == 1 {
				return reply(503, nil, "Retry-After", "2000000000")
			}
			return issue("token", time.Hour)
		})
		_, err := client.TokenSource(t.Context()).Token()
		require.Error(t, err)
		time.Sleep(10 * time.Minute)
		require.Equal(t, "token", token(t, t.Context(), client))
	})
}

func TestACallerThatGivesUpDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var signIns atomic.Int32
		client := newClient(t, func(r *http.Request) *http.Response {
			if signIns.Add(1) == 1 {
				<-r.Context().Done()
				return reply(499, nil)
			}
			return issue("token", time.Hour)
		})
		bounded, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		leader := make(chan error, 1)
		go func() {
			_, err := client.TokenSource(bounded).Token()
			leader <- err
		}()
		synctest.Wait()
		began := time.Now()
		require.Equal(t, "token", token(t, t.Context(), client))
		require.Equal(t, 20*time.Second, time.Since(began), "no pause after the caller has given up")
		require.Error(t, <-leader)
		impatient, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := client.TokenSource(impatient).Token()
		require.NoError(t, err, "the token is there")
	})
}

func TestTheClocksNeedNotAgree(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, off := range []time.Duration{-time.Hour, time.Hour, 48 * time.Hour} {
		client := f.newClient(t, authclient.Config{Now: func() time.Time { return time.Now().Add(off) }})
		for range 3 {
			_, err := client.CurrentUser(t.Context())
			require.NoError(t, err)
		}
	}
	require.EqualValues(t, 3, f.signIns.Load())
}

func TestAWrongAnswerToTheSignInIsAnError(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]*http.Response{
		"no token":          issue("", time.Hour),
		"no lifetime":       issue("token", 0),
		"a header":          issue("token\r\nX-Other: 1", time.Hour),
		"no ASCII":          issue("tökén", time.Hour),
		"no bearer token":   reply(200, map[string]any{"token": "t", "token_type": "mac", "expires_in": 3600}),
		"another type":      reply(200, []int{1}),
		"wrong key":         reply(401, map[string]string{"detail": "Invalid access key or secret"}),
		"a redirect":        reply(307, nil, "Location", "https://other.example.com/"),
		"a page of a proxy": reply(502, "<html>"),
	} {
		sent := 0
		client := newClient(t, func(*http.Request) *http.Response { sent++; return answer })
		_, err := client.TokenSource(t.Context()).Token()
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "hidden")
		require.Equal(t, 1, sent, name)
	}
}

func TestTheSourceIsReadForEachSignIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pairs := 0
		failing := errors.New("the secret manager is away")
		source := authclient.SourceFunc(func(context.Context) (auth.KeyPair, error) {
			if pairs++; pairs == 2 {
				return auth.KeyPair{}, failing
			}
			return auth.KeyPair{AccessKey: fmt.Sprint("ak-", pairs), AccessSecret: auth.NewSecret("s")}, nil
		})
		client, err := authclient.NewWithConfig("https://api.example.com", source, authclient.Config{
			Transport: transport(func(*http.Request) *http.Response { return issue("token", time.Minute) })})
		require.NoError(t, err)
		token(t, t.Context(), client)
		time.Sleep(time.Hour)
		_, err = client.TokenSource(t.Context()).Token()
		require.ErrorIs(t, err, failing)
		require.Equal(t, "token", token(t, t.Context(), client))
		require.Equal(t, 3, pairs)
	})
}

// The attack: a lifetime that overflows. The token would count as expired, and each call would sign in.
func TestAnEndlessLifetimeCausesNoStormOfSignIns(t *testing.T) {
	t.Parallel()
	signIns := 0
	client := newClient(t, func(*http.Request) *http.Response {
		signIns++
		return reply(200,
			map[string]any{"token": "token", "token_type": "Bearer", "expires_in": int64(1) << 62})
	})
	for range 3 {
		require.Equal(t, "token", token(t, t.Context(), client))
	}
	require.Equal(t, 1, signIns)
}

// A library that keeps the token asks for another one after the service has rejected it.
func TestASignInSourceSignsInAtEachCall(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	source := f.client.SignInSource(t.Context())
	seen := map[string]bool{token(t, t.Context(), f.client): true}
	for range 3 {
		token, err := source.Token()
		require.NoError(t, err)
		require.True(t, token.Valid())
		require.False(t, seen[token.AccessToken])
		seen[token.AccessToken] = true
	}
	require.True(t, seen[token(t, t.Context(), f.client)], "the other calls use the newest token")
	require.EqualValues(t, 4, f.signIns.Load())
}
