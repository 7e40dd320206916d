package signing_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth/internal/signing"
	"github.com/stretchr/testify/require"
)

const setURL = "https://api.example.com/jwks.json"

// issuer is an issuer without a network, which answers fetches of a JWK set. Without a network, a
// synctest bubble controls all times.
type issuer struct {
	t       *testing.T
	set     string // the JWK set of a key with the ID "ed"
	keys    *signing.RemoteKeys
	log     *slog.Logger
	lines   bytes.Buffer // no lock, because only one fetch runs at a time
	fetches int
	serve   func(*http.Request) (*http.Response, error)
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	s := &issuer{t: t, set: string(jwks(t, newMaterial(t).publicJWKs()["EdDSA"]))}
	s.log = slog.New(slog.NewTextHandler(&s.lines, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	s.keys = signing.NewRemoteKeys(setURL, &http.Client{Transport: s}, s.log)
	s.answers(http.StatusOK, s.set)
	return s
}

func (s *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.fetches++ // no lock, because only one fetch runs at a time
	return s.serve(r)
}

// answers makes the issuer give the same answer to all fetches.
func (s *issuer) answers(status int, body string) {
	s.serve = func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{},
			Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
}

// takes makes the issuer wait before each answer.
func (s *issuer) takes(wait time.Duration) {
	serve := s.serve
	s.serve = func(r *http.Request) (*http.Response, error) {
		time.Sleep(wait)
		return serve(r)
	}
}

func (s *issuer) fails() {
	s.serve = func(*http.Request) (*http.Response, error) { return nil, errors.New("away") }
}

func (s *issuer) hangs() {
	s.serve = func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
}

// current calls Current, and also returns how long the call took.
func (s *issuer) current() (*signing.Ring, time.Duration, error) {
	began := time.Now()
	ring, err := s.keys.Current(s.t.Context(), began)
	return ring, time.Since(began), err
}

// requireCurrent calls Current, and fails the test unless the call returns keys and takes exactly
// the given time.
func (s *issuer) requireCurrent(after time.Duration) *signing.Ring {
	s.t.Helper()
	ring, took, err := s.current()
	require.NoError(s.t, err)
	require.Equal(s.t, after, took)
	return ring
}

// requireKey calls requireCurrent, and checks that the ring has the issuer's key.
func (s *issuer) requireKey(after time.Duration) *signing.Ring {
	s.t.Helper()
	ring := s.requireCurrent(after)
	require.NotNil(s.t, ring.ByID("ed"))
	return ring
}

// inBubble runs the test in a synctest bubble, with an issuer whose keys have just been fetched.
func inBubble(t *testing.T, test func(t *testing.T, s *issuer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newIssuer(t)
		s.requireKey(0)
		require.Equal(t, 1, s.fetches)
		test(t, s)
		synctest.Wait()
		time.Sleep(5 * time.Second) // until a fetch that hangs has ended
	})
}

func TestKeysAreFetchedWhenTheyAreNeeded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newIssuer(t)
		time.Sleep(time.Hour)
		require.Zero(t, s.fetches)
		s.takes(300 * time.Millisecond)
		first := s.requireKey(300 * time.Millisecond)
		require.Same(t, first, s.requireKey(0))
		require.Equal(t, 1, s.fetches)
	})
}

func TestAFetchIsAPlainRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newIssuer(t)
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		address, err := url.Parse(setURL)
		require.NoError(t, err)
		jar.SetCookies(address, []*http.Cookie{{Name: "session", Value: "of the host"}})
		client := &http.Client{Transport: s, Jar: jar, Timeout: time.Millisecond}
		s.keys = signing.NewRemoteKeys(setURL, client, slog.New(slog.DiscardHandler))
		good := s.serve
		s.serve = func(r *http.Request) (*http.Response, error) {
			require.Equal(t, http.MethodGet, r.Method)
			require.Equal(t, setURL, r.URL.String())
			require.Equal(t, http.Header{"Accept": {"application/json"}, "Cache-Control": {"no-cache"}},
				r.Header)
			deadline, _ := r.Context().Deadline()
			require.Equal(t, 5*time.Second, time.Until(deadline))
			time.Sleep(500 * time.Millisecond)
			return good(r)
		}
		s.requireKey(500 * time.Millisecond)
		require.NotNil(t, client.Jar, "the host's client stays as it is")
		require.Nil(t, client.CheckRedirect)
		require.Equal(t, time.Millisecond, client.Timeout)
	})
}

func TestKeysAreRenewedBeforeTheyGetOld(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *issuer) {
		first := s.requireKey(0)
		time.Sleep(150*time.Second - 1)
		s.requireKey(0)
		synctest.Wait()
		require.Equal(t, 1, s.fetches)

		time.Sleep(time.Nanosecond)
		s.takes(100 * time.Millisecond)
		require.Same(t, first, s.requireKey(0), "no request waits")
		synctest.Wait()
		require.Equal(t, 2, s.fetches)
		require.Same(t, first, s.requireKey(0), "the fetch is under way")
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		second := s.requireKey(0)
		require.NotSame(t, first, second)
		time.Sleep(150*time.Second - 100*time.Millisecond - 1) // the keys are then almost 150 s old
		require.Same(t, second, s.requireKey(0))
		synctest.Wait()
		require.Equal(t, 2, s.fetches)
	})
}

// The issuer may have removed a stolen key while no request needed the keys.
func TestKeysThatAreNotFreshWaitForNews(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		sleep, took time.Duration
	}{
		"almost fresh": {5*time.Minute - 1, 0},
		"not fresh":    {5 * time.Minute, 200 * time.Millisecond},
		"hours old":    {23 * time.Hour, 200 * time.Millisecond},
		"a day old":    {24 * time.Hour, 200 * time.Millisecond},
	} {
		inBubble(t, func(t *testing.T, s *issuer) {
			s.takes(200 * time.Millisecond)
			time.Sleep(test.sleep)
			_, took, err := s.current()
			require.NoError(t, err)
			require.Equal(t, test.took, took, name)
		})
	}
}

func TestAFetchThatHasFailedIsNewsToo(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *issuer) {
		time.Sleep(3 * time.Minute)
		s.fails()
		s.requireKey(0)
		synctest.Wait()
		require.Equal(t, 2, s.fetches)
		s.takes(200 * time.Millisecond)
		time.Sleep(5*time.Minute - 1)
		s.requireKey(0) // the keys are eight minutes old, but a fetch was tried
		time.Sleep(time.Second)
		time.Sleep(5 * time.Minute)
		s.requireKey(200 * time.Millisecond) // the next fetch fails again
	})
}

func TestTheLastKeysAreGoodForADay(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *issuer) {
		s.fails()
		time.Sleep(24*time.Hour - 1)
		s.requireKey(0)
		time.Sleep(time.Nanosecond)
		_, took, err := s.current()
		require.EqualError(t, err, `fetch the public keys: Get "`+setURL+`": away`)
		require.Zero(t, took)
		fetched := s.fetches
		_, _, err = s.current()
		require.ErrorContains(t, err, "away")
		require.Equal(t, fetched, s.fetches, "too early to ask again")
		s.answers(http.StatusOK, s.set)
		time.Sleep(10 * time.Second)
		s.requireKey(0)
	})
}

func TestAHangingIssuerDelaysARequestForASecond(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *issuer) {
		s.hangs()
		time.Sleep(time.Hour)
		s.requireKey(time.Second)
		s.requireKey(0)
		time.Sleep(10 * time.Second)
		s.requireKey(0)
	})
	synctest.Test(t, func(t *testing.T) {
		s := newIssuer(t)
		s.hangs()
		for _, want := range []time.Duration{time.Second, 0} {
			_, took, err := s.current()
			require.EqualError(t, err, "the public keys have not been fetched yet")
			require.Equal(t, want, took)
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		_, _, err := s.current()
		require.ErrorIs(t, err, context.DeadlineExceeded, "the fetch has ended")
		require.Equal(t, 1, s.fetches)
	})
}

func TestNewerKeysAreFetchedAtABoundedRate(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *issuer) {
		first := s.requireKey(0)
		time.Sleep(10*time.Second - 1)
		same, err := s.keys.Newer(t.Context(), first, time.Now())
		require.NoError(t, err)
		require.Same(t, first, same, "too early to ask again")
		require.Equal(t, 1, s.fetches)

		time.Sleep(time.Nanosecond)
		s.takes(100 * time.Millisecond)
		began := time.Now()
		second, err := s.keys.Newer(t.Context(), first, began)
		require.NoError(t, err)
		require.NotSame(t, first, second)
		require.Equal(t, 100*time.Millisecond, time.Since(began))
		require.Equal(t, 2, s.fetches)

		time.Sleep(time.Minute)
		other, err := s.keys.Newer(t.Context(), first, time.Now())
		require.NoError(t, err)
		require.Same(t, second, other, "these are newer already")
		synctest.Wait()
		require.Equal(t, 2, s.fetches)
	})
}

func TestWithoutNewsNothingIsSaidOfAnUnknownKey(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *issuer) {
		ring := s.requireKey(0)
		time.Sleep(10 * time.Second)
		s.fails()
		for range 2 { // the second time, it is too early to ask again
			_, err := s.keys.Newer(t.Context(), ring, time.Now())
			require.ErrorContains(t, err, "away")
		}
		require.Equal(t, 2, s.fetches)
		time.Sleep(10 * time.Second)
		s.hangs()
		began := time.Now()
		_, err := s.keys.Newer(t.Context(), ring, began)
		require.EqualError(t, err, "the public keys have not been fetched yet")
		require.Equal(t, time.Second, time.Since(began))
		s.requireKey(0)
	})
}

func TestFewRequestsWaitForAFetch(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *issuer) {
		ring := s.requireKey(0)
		s.hangs()
		time.Sleep(10 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var all sync.WaitGroup
		var refused, canceled, waited atomic.Int64
		ask := func(ctx context.Context) {
			all.Go(func() {
				began := time.Now()
				_, err := s.keys.Newer(ctx, ring, began)
				switch {
				case errors.Is(err, context.Canceled):
					canceled.Add(1)
				case err == nil:
					t.Error("the fetch hangs")
				case err.Error() == "too many requests wait for the public keys" && time.Since(began) == 0:
					refused.Add(1)
				case time.Since(began) == time.Second-100*time.Millisecond ||
					time.Since(began) == time.Second:
					waited.Add(1)
				}
			})
		}
		for range 100 {
			ask(ctx)
		}
		synctest.Wait()
		for range 5 {
			ask(t.Context())
		}
		synctest.Wait()
		require.EqualValues(t, 5, refused.Load())
		s.requireKey(0)

		time.Sleep(100 * time.Millisecond)
		cancel()
		synctest.Wait()
		require.EqualValues(t, 100, canceled.Load())
		for range 101 { // the canceled requests no longer count as waiting
			ask(t.Context())
		}
		all.Wait()
		require.EqualValues(t, 100, waited.Load())
		require.EqualValues(t, 6, refused.Load())
		require.Equal(t, 2, s.fetches, "one fetch for all")
	})
}

// The attack: many requests with junk make another request use keys that are not fresh.
func TestACrowdIsNoNews(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *issuer) {
		ring := s.requireKey(0)
		s.hangs()
		time.Sleep(time.Hour)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { _, _ = s.keys.Newer(t.Context(), ring, time.Now()) })
		}
		synctest.Wait()
		_, took, err := s.current()
		require.EqualError(t, err, "too many requests wait for the public keys")
		require.Zero(t, took)
		all.Wait()
	})
}

func TestACallerThatGoesAwayLeavesTheFetchToOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newIssuer(t)
		s.takes(500 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := s.keys.Current(ctx, time.Now())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		s.requireKey(400 * time.Millisecond)
		require.Equal(t, 1, s.fetches)
	})
}

// A request reads the clock, and another request then fetches the keys before the first one
// continues.
func TestAClockReadingFromJustBeforeTheFetchIsGood(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *issuer) {
		now := time.Now()
		ring, err := s.keys.Current(t.Context(), now.Add(-time.Second+1))
		require.NoError(t, err)
		_, err = s.keys.Newer(t.Context(), ring, now.Add(-time.Second+1))
		require.NoError(t, err)
		require.Equal(t, 1, s.fetches)

		_, err = s.keys.Current(t.Context(), now.Add(-time.Second))
		require.NoError(t, err)
		require.Equal(t, 2, s.fetches, "the age of the keys is not known")
	})
}
