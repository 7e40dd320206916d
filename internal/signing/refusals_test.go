package signing_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// fetch waits, and makes one fetch, as a token of an unknown key does.
func (s *issuer) fetch(after time.Duration) {
	s.t.Helper()
	time.Sleep(after)
	fetched := s.fetches
	ring, _, _ := s.current()
	_, _ = s.keys.Newer(s.t.Context(), ring, time.Now())
	synctest.Wait()
	require.Equal(s.t, fetched+1, s.fetches)
}

// refusesForTooLong makes three fetches over 15 minutes, after the keys have become old.
func (s *issuer) refusesForTooLong() {
	s.t.Helper()
	for _, after := range []time.Duration{5 * time.Minute, 14 * time.Minute, time.Minute} {
		s.fetch(after)
	}
}

func TestOnlyRefusalsForFifteenMinutesEndTheUseOfTheKeys(t *testing.T) {
	t.Parallel()
	for status, refusal := range map[int]bool{302: true, 401: true, 403: true, 404: true, 410: true,
		204: false, 304: false, 408: false, 429: false, 502: false, 503: false} {
		inBubble(t, func(t *testing.T, s *issuer) {
			s.answers(status, s.set)
			s.fetch(5 * time.Minute)
			for range 89 { // a busy service asks as often as it may
				s.requireKey(0)
				s.fetch(10 * time.Second)
			}
			s.requireKey(0)
			s.fetch(10 * time.Second)
			require.Equal(t, refusal, s.requireCurrent(0).ByID("ed") == nil, status)
			s.answers(http.StatusOK, s.set)
			time.Sleep(10 * time.Second)
			_, err := s.keys.Newer(t.Context(), s.requireCurrent(0), time.Now())
			require.NoError(t, err)
			s.requireKey(0)
		})
	}
}

// A firewall in front of the issuer refuses a few requests, or one of its instances does not have the
// route yet. No request fails because of that.
func TestAFewRefusalsEndNoUseOfTheKeys(t *testing.T) {
	t.Parallel()
	for _, status := range []int{302, 403, 404} {
		inBubble(t, func(t *testing.T, s *issuer) {
			for range 5 { // a success in between begins the count anew
				s.answers(status, "")
				s.fetch(5 * time.Minute)
				s.fetch(10 * time.Minute)
				s.requireKey(0)
				s.answers(http.StatusOK, s.set)
				s.fetch(10 * time.Second)
				s.requireKey(0)
			}
			s.answers(status, "")
			for range 2 { // two refusals are not enough, however long they take
				s.fetch(6 * time.Hour)
				s.requireKey(0)
			}
		})
	}
}

// The issuer may have withdrawn a stolen key. An attacker who holds it can disturb some of the fetches.
func TestAnOutageNeitherEndsRefusalsNorCounts(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *issuer) {
		s.answers(http.StatusForbidden, "")
		s.fetch(5 * time.Minute)
		for _, disturb := range []func(){s.fails, func() { s.answers(http.StatusBadGateway, "") },
			func() { s.answers(http.StatusOK, "<html>") }} {
			disturb()
			s.fetch(10 * time.Minute)
			s.requireKey(0)
		}
		s.answers(http.StatusForbidden, "")
		s.fetch(10 * time.Second)
		s.requireKey(0)
		s.fetch(10 * time.Second)
		require.Nil(t, s.requireCurrent(0).ByID("ed"))
	})
}

// An issuer that refuses a fetch may have the key of the token, so the token cannot be rejected.
func TestARefusalSaysNothingOfAnUnknownKey(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *issuer) {
		ring := s.requireKey(0)
		s.answers(http.StatusNotFound, "")
		time.Sleep(10 * time.Second)
		_, err := s.keys.Newer(t.Context(), ring, time.Now())
		require.ErrorContains(t, err, "answers with status 404: the issuer refuses to return its keys")
		require.Same(t, ring, s.requireKey(0))
		s.refusesForTooLong()
		empty := s.requireCurrent(0)
		same, err := s.keys.Newer(t.Context(), empty, time.Now())
		require.NoError(t, err, "now the issuer has none")
		require.Same(t, empty, same)
	})
}

// A set without a key of the issuer needs no second fetch, also between refusals.
func TestAnAnswerWithoutKeysTakesEffectBetweenRefusals(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *issuer) {
		s.answers(http.StatusForbidden, "")
		s.fetch(5 * time.Minute)
		s.requireKey(0)
		s.answers(http.StatusOK, `{"keys":[]}`)
		s.fetch(10 * time.Second)
		require.Nil(t, s.requireCurrent(0).ByID("ed"))
	})
}

func TestRefusalsDoNotReplaceKeysThatWereNeverFetched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newIssuer(t)
		s.answers(http.StatusNotFound, "")
		s.refusesForTooLong()
		_, _, err := s.current()
		require.ErrorContains(t, err, "answers with status 404")
		lines := s.logged()
		require.Contains(t, lines, "the public keys cannot be fetched: no token is accepted")
		require.Equal(t, 1, strings.Count(lines, "\n"), lines)
	})
}

// Outages in between write no lines of their own: the log could get a line every ten seconds.
func TestRefusalsAreLoggedAtTheirBeginningAndIfTheyAreFinal(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *issuer) {
		refuse := func(after time.Duration) {
			s.answers(http.StatusNotFound, "")
			s.fetch(after)
			s.answers(http.StatusBadGateway, "")
			s.fetch(10 * time.Second)
		}
		const cause = ` url=https://api.example.com/jwks.json error="fetch the public keys: ` +
			`https://api.example.com/jwks.json answers with status 404: the issuer refuses to return its keys; ` +
			`check JWKSURL"` + "\n"
		refuse(5 * time.Minute)
		refuse(10 * time.Minute)
		require.Equal(t, `level=ERROR msg="auth: the issuer refuses to return its public keys: the last fetched `+
			`keys are used until it has refused for 15 minutes"`+cause, s.logged())
		refuse(5 * time.Minute)
		refuse(5 * time.Minute)
		require.Equal(t, `level=ERROR msg="auth: the issuer keeps refusing to return its public keys: no token is `+
			`accepted"`+cause, s.logged())
		s.answers(http.StatusOK, s.set)
		s.fetch(5 * time.Minute)
		require.Contains(t, s.logged(), "the public keys can be fetched again")
		s.fails()
		s.fetch(5 * time.Minute)
		require.Contains(t, s.logged(), "the last fetched keys are used for a day", "no refusals any more")
	})
}
