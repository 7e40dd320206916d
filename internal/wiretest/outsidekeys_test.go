package wiretest

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// Attack: the issuer has dropped a key that the attacker holds, and no token was verified for 23
// hours. With 100 tokens of unknown keys the attacker takes all places for requests that wait for a
// fetch, so that the forged token is verified with the old keys.
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

// The clock of the second request was read a microsecond before that of the first, which fetched
// the keys.
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

// No goroutine is left after 200 fetches that fail in every way.
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
		require.NoError(t, second(s.verify(t, token)))
	})
}
