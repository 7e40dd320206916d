package wiretest

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// keyServer is an HTTP transport that serves the keys of an issuer. It uses no network, so that it
// works in a synctest bubble.
type keyServer struct {
	*tokens
	verifier *auth.RemoteVerifier
	log      authtest.Log // what the verifier logs
	fetches  atomic.Int64
	serve    atomic.Pointer[func(*http.Request) (int, string, error)]
}

func newKeyServer(t *testing.T, edits ...func(*auth.RemoteVerifierConfig)) *keyServer {
	t.Helper()
	s := &keyServer{tokens: newTokens(t, authtest.NewSigners(t)["EdDSA"],
		auth.TokenConfig{Audiences: []string{audience}})}
	s.good()
	began := time.Now()
	cfg := auth.RemoteVerifierConfig{
		JWKSURL: "https://api.example.com/jwks.json", Issuer: issuer, Audience: audience,
		MaxAge:     30 * 24 * time.Hour,
		HTTPClient: &http.Client{Transport: s},
		Now:        func() time.Time { return s.clock.Now().Add(time.Since(began)) },
		Logger:     slog.New(slog.NewTextHandler(&s.log, nil)),
	}
	for _, edit := range edits {
		edit(&cfg)
	}
	var err error
	s.verifier, err = auth.NewRemoteVerifier(cfg)
	require.NoError(t, err)
	return s
}

func (s *keyServer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.fetches.Add(1)
	status, body, err := (*s.serve.Load())(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func (s *keyServer) answers(serve func(*http.Request) (int, string, error)) { s.serve.Store(&serve) }

func (s *keyServer) good() {
	s.answers(func(*http.Request) (int, string, error) { return http.StatusOK, string(s.issuer.JWKS()), nil })
}

func (s *keyServer) hangs() {
	s.answers(func(r *http.Request) (int, string, error) {
		<-r.Context().Done()
		return 0, "", r.Context().Err()
	})
}

// verify calls Verify, and returns the time that the call took and its error.
func (s *keyServer) verify(t *testing.T, token string) (time.Duration, error) {
	t.Helper()
	began := time.Now()
	_, err := s.verifier.Verify(t.Context(), token)
	return time.Since(began), err
}

func (s *keyServer) requireAtOnce(t *testing.T, token string) {
	t.Helper()
	took, err := s.verify(t, token)
	require.NoError(t, err)
	require.Zero(t, took)
}

// long returns a token that is valid for 29 days.
func (s *keyServer) long(t *testing.T) string {
	return s.Forge(t, s.header(nil), s.claims(t, map[string]any{
		"exp": s.clock.Now().Add(29 * 24 * time.Hour).Unix(),
	}))
}

// ofUnknownKey returns a token with the key ID name, which no key has.
func (s *keyServer) ofUnknownKey(t *testing.T, name string) string {
	return s.Forge(t, strings.Replace(s.header(nil), s.Key.ID(), name, 1), s.claims(t, nil))
}

func TestAHangingKeyServerDelaysNoTokenOfAKnownKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newKeyServer(t)
		token := s.long(t)
		s.requireAtOnce(t, token)
		s.hangs()
		for range 60 * 60 { // a request each second for an hour
			s.requireAtOnce(t, token)
			time.Sleep(time.Second)
		}
		require.Greater(t, s.fetches.Load(), int64(300), "the fetch is retried")
		s.good()
		time.Sleep(20 * time.Second)
		s.requireAtOnce(t, token)
		synctest.Wait()
		fetched := s.fetches.Load()
		time.Sleep(2 * time.Minute)
		s.requireAtOnce(t, token)
		synctest.Wait()
		require.Equal(t, fetched, s.fetches.Load(), "the keys are recent again")
	})
}

// If the verifier has verified no token for hours, its keys may be outdated. The first request then
// waits for a fetch of the keys. Later requests do not wait.
func TestStaleKeysAreFetchedBeforeTheyVerify(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newKeyServer(t)
		token := s.long(t)
		s.requireAtOnce(t, token)
		s.answers(func(*http.Request) (int, string, error) { return 0, "", errors.New("away") })
		time.Sleep(3 * time.Minute)
		// This request starts a fetch, which fails.
		s.requireAtOnce(t, token)
		s.answers(func(*http.Request) (int, string, error) {
			time.Sleep(100 * time.Millisecond)
			return http.StatusOK, `{"keys":[]}`, nil
		})
		time.Sleep(23 * time.Hour)
		took, err := s.verify(t, token)
		require.ErrorIs(t, err, auth.ErrTokenRejected)
		require.Equal(t, 100*time.Millisecond, took)
	})
	synctest.Test(t, func(t *testing.T) {
		s := newKeyServer(t)
		token := s.long(t)
		s.requireAtOnce(t, token)
		s.hangs()
		time.Sleep(time.Hour)
		took, err := s.verify(t, token)
		require.NoError(t, err)
		require.Equal(t, time.Second, took)
		s.requireAtOnce(t, token)
		time.Sleep(10 * time.Second)
		s.requireAtOnce(t, token)
		synctest.Wait()
		time.Sleep(5 * time.Second) // until the fetch ends
	})
}

func TestFewRequestsWaitBrieflyForUnknownKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newKeyServer(t)
		good := s.long(t)
		s.requireAtOnce(t, good)
		s.hangs()
		time.Sleep(10 * time.Second)
		var all sync.WaitGroup
		var waited, rejected atomic.Int64
		for i := range 1000 {
			token := s.ofUnknownKey(t, fmt.Sprint("made-up-", i))
			all.Go(func() {
				began := time.Now()
				_, err := s.verifier.Verify(t.Context(), token)
				if status, _ := auth.ErrorStatus(err); status != http.StatusServiceUnavailable {
					t.Error(err)
				}
				if time.Since(began) == 0 {
					rejected.Add(1)
				} else if time.Since(began) == time.Second {
					waited.Add(1)
				}
			})
		}
		synctest.Wait()
		require.EqualValues(t, 900, rejected.Load())
		s.requireAtOnce(t, good)
		all.Wait()
		require.EqualValues(t, 100, waited.Load())
		require.EqualValues(t, 2, s.fetches.Load(), "all requests share one fetch")
		took, err := s.verify(t, s.ofUnknownKey(t, "late"))
		require.Error(t, err)
		require.Zero(t, took, "the verifier knows that the fetch hangs")
		s.requireAtOnce(t, good)
		time.Sleep(5 * time.Second)
		require.NotErrorIs(t, errorOf(s.verify(t, s.ofUnknownKey(t, "later"))),
			auth.ErrTokenRejected, "the issuer may have the key")
		s.good()
		time.Sleep(10 * time.Second)
		require.ErrorIs(t, errorOf(s.verify(t, s.ofUnknownKey(t, "x"))), auth.ErrTokenRejected)
	})
}

// If the request that started a fetch is canceled, the fetch continues and serves the next request.
func TestACanceledRequestDoesNotWaitForKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newKeyServer(t)
		s.answers(func(*http.Request) (int, string, error) {
			time.Sleep(500 * time.Millisecond)
			return http.StatusOK, string(s.issuer.JWKS()), nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := s.verifier.Verify(ctx, s.long(t))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		took, err := s.verify(t, s.long(t))
		require.NoError(t, err)
		require.Equal(t, 400*time.Millisecond, took)
		require.EqualValues(t, 1, s.fetches.Load())
	})
}

// If the issuer keeps answering with a status that refuses the key set, the verifier drops its keys. It keeps
// them through a few such answers, and if the status is that of a temporary failure.
func TestOnlySomeStatusesOfTheKeyServerDropTheKeys(t *testing.T) {
	t.Parallel()
	for status, denies := range map[int]bool{
		301: true, 302: true, 303: true, 307: true, 308: true, 400: true, 401: true, 403: true,
		404: true, 410: true, 451: true,
		204: false, 206: false, 304: false, 408: false, 425: false, 429: false, 500: false,
		502: false, 503: false, 504: false,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newKeyServer(t)
			token := s.long(t)
			s.requireAtOnce(t, token)
			s.answers(func(*http.Request) (int, string, error) {
				return status, string(s.issuer.JWKS()), nil
			})
			time.Sleep(5 * time.Minute)
			for range 2 {
				require.NoError(t, errorOf(s.verify(t, token)), status)
				time.Sleep(10 * time.Minute)
			}
			_, err := s.verify(t, token)
			if denies {
				require.ErrorIs(t, err, auth.ErrTokenRejected, status)
			} else {
				require.NoError(t, err, status)
			}
			s.good()
			time.Sleep(10 * time.Second)
			require.NoError(t, errorOf(s.verify(t, token)), status)
		})
	}
}

// The machine of the verifier was suspended for eight hours.
func TestKeysAreFetchedAgainAfterASuspend(t *testing.T) {
	t.Parallel()
	r := newRemote(t, "EdDSA")
	now := time.Now()
	claims := r.claims(t, map[string]any{"iat": now.Unix(), "exp": now.Add(29 * 24 * time.Hour).Unix()})
	token := r.Forge(t, r.header(nil), claims)
	r.verifier = r.verifierWith(t, func(cfg *auth.RemoteVerifierConfig) {
		cfg.MaxAge = 30 * 24 * time.Hour
		cfg.Now = func() time.Time { return now }
	})
	r.requireGood(t, token)
	r.answers(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"keys":[]}`) })
	now = authtest.Suspended(now.Add(time.Second), 8*3600)
	r.requireRejected(t, token)
	require.EqualValues(t, 2, r.fetches.Load())
}

// Attack: the attacker holds a key that the issuer has removed, and the verifier has verified no
// token for 23 hours. Only a limited number of requests can wait for a fetch. The attacker sends
// 100 requests with tokens of unknown keys, which wait. During that time, a forged token must not
// be verified with the old keys.
func TestTokensOfUnknownKeysDoNotRestoreADroppedKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newKeyServer(t)
		token := s.long(t)
		s.requireAtOnce(t, token)
		s.answers(func(*http.Request) (int, string, error) {
			time.Sleep(100 * time.Millisecond)
			return http.StatusOK, `{"keys":[]}`, nil
		})
		time.Sleep(23 * time.Hour)
		var all sync.WaitGroup
		for i := range 100 {
			junk := s.ofUnknownKey(t, fmt.Sprint("junk-", i))
			all.Go(func() { s.verifier.Verify(t.Context(), junk) })
		}
		synctest.Wait()
		_, err := s.verify(t, token)
		all.Wait()
		require.Error(t, err, "the key was dropped 23 hours ago, and the issuer answers within 100 ms")
	})
}

// The first request fetches the keys. The second request has read the clock a microsecond before
// the first. The second request must use the fetched keys and not fetch them again.
func TestAnEarlierRequestTimeUsesKeysFetchedByALaterOne(t *testing.T) {
	t.Parallel()
	r := newRemote(t, "EdDSA")
	token := r.Forge(t, r.header(nil), r.claims(t, nil))
	base := r.clock.Now()
	var calls atomic.Int64
	verifier := r.verifierWith(t, func(cfg *auth.RemoteVerifierConfig) {
		cfg.Now = func() time.Time {
			if calls.Add(1) == 1 {
				return base.Add(time.Microsecond)
			}
			return base
		}
	})
	_, err := verifier.Verify(t.Context(), token)
	require.NoError(t, err)
	_, err = verifier.Verify(t.Context(), token)
	require.NoError(t, err, "the keys have just been fetched")
	require.EqualValues(t, 1, r.fetches.Load())
}

// After 200 fetches that fail in different ways, no goroutine is left.
func TestKeyFetchesLeaveNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newKeyServer(t)
		token := s.long(t)
		s.requireAtOnce(t, token)
		before := runtime.NumGoroutine()
		answers := []func(*http.Request) (int, string, error){
			func(*http.Request) (int, string, error) { return 500, "", nil },
			func(*http.Request) (int, string, error) { return 302, "", nil },
			func(*http.Request) (int, string, error) { return 200, `{"keys":null}`, nil },
			func(*http.Request) (int, string, error) { return 200, `{"keys":[{"kty":"EC","kid":"x"}]}`, nil },
			func(r *http.Request) (int, string, error) {
				<-r.Context().Done()
				return 0, "", r.Context().Err()
			},
			func(*http.Request) (int, string, error) { panic("x") },
			func(*http.Request) (int, string, error) { runtime.Goexit(); return 0, "", nil },
			func(*http.Request) (int, string, error) { return 0, "", errors.New("away") },
		}
		for i := range 200 {
			s.answers(answers[i%len(answers)])
			time.Sleep(6 * time.Minute)
			s.verifier.Verify(t.Context(), token)
			s.verifier.Verify(t.Context(), s.ofUnknownKey(t, fmt.Sprint("x", i)))
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.LessOrEqual(t, runtime.NumGoroutine(), before+1)
		s.good()
		s.verify(t, token)
		time.Sleep(11 * time.Second)
		require.NoError(t, errorOf(s.verify(t, token)))
	})
}
