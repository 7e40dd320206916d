package auth_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// named is the end of a session by its name.
func named(user, session string, generation int64, expires time.Time) []auth.Revocation {
	return []auth.Revocation{{
		Position: generation + 1, UserID: user, SessionID: session, Generation: generation, ExpiresAt: expires,
	}}
}

// allBelow is the end of all sessions of a user below the generation.
func allBelow(user string, generation int64, expires time.Time) []auth.Revocation {
	return []auth.Revocation{{UserID: user, Generation: generation, ExpiresAt: expires}}
}

func TestAnEndedSessionIsKnownUntilTwoHoursAfterItsTokenExpired(t *testing.T) {
	t.Parallel()
	now := authtest.NewClock().Now()
	for name, entry := range map[string]func(time.Time) []auth.Revocation{
		"by name": func(at time.Time) []auth.Revocation { return named("u", "s", 3, at) },
		"of all":  func(at time.Time) []auth.Revocation { return allBelow("u", 4, at) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := auth.NewRevocations()
			r.Add(entry(now.Add(-2*time.Hour-time.Second)), now)
			require.False(t, r.Ended("u", "s", 3), "nobody needs it any more")
			require.Zero(t, r.Count())
			r.Add(entry(now.Add(-2*time.Hour+time.Second)), now)
			require.True(t, r.Ended("u", "s", 3), "a clock that is set back could revive its token")
			require.False(t, r.Ended("v", "s", 3))
			require.False(t, r.Ended("u", "another", 4))
			require.EqualValues(t, 1, r.Count())

			for i := range 2000 { // until it is worth looking for what has expired
				r.Add(named(fmt.Sprint("user ", i), "s", 0, now.Add(24*time.Hour)), now.Add(time.Minute))
			}
			require.False(t, r.Ended("u", "s", 3))
			require.EqualValues(t, 2000, r.Count())
		})
	}
}

func TestSessionsThatEndTogetherTakeTheRoomOfOne(t *testing.T) {
	t.Parallel()
	now := authtest.NewClock().Now()
	r := auth.NewRevocations()
	for i := range int64(100) {
		r.Add(named("u", fmt.Sprint(i), i, now.Add(time.Hour)), now)
	}
	require.EqualValues(t, 100, r.Count())
	r.Add(allBelow("u", 90, now.Add(time.Hour)), now)
	require.EqualValues(t, 11, r.Count(), "one, and those that are not of it")
	r.Add(allBelow("u", 50, now.Add(2*time.Hour)), now) // read later, and about fewer
	require.EqualValues(t, 11, r.Count())
	r.Add(named("u", "5", 5, now.Add(time.Hour)), now)
	require.EqualValues(t, 11, r.Count(), "it has ended already")
	for i := range int64(100) {
		require.True(t, r.Ended("u", fmt.Sprint(i), i))
	}
	require.True(t, r.Ended("u", "never named", 89))
	require.False(t, r.Ended("u", "never named", 90))
}

func TestWhatEndsForAllIsNotForgottenWhileOtherThingsExpire(t *testing.T) {
	t.Parallel()
	now := authtest.NewClock().Now()
	r := auth.NewRevocations()
	r.Add(allBelow("u", 10, now.Add(24*time.Hour)), now)
	for i := range 1000 {
		r.Add(named(fmt.Sprint("user ", i), "s", 0, now), now)
	}
	for i := range int64(100) {
		r.Add(named("u", fmt.Sprint(i), 20+i, now.Add(24*time.Hour)), now.Add(3*time.Hour))
	}
	require.True(t, r.Ended("u", "never named", 9))
	require.EqualValues(t, 101, r.Count())
}

func TestALoopOfSignInAndLogoutTakesNoMoreMemory(t *testing.T) {
	t.Parallel()
	svc, err := auth.New(withUser("u1", "alice"), auth.Config{
		Issuer: authtest.Issuer, SigningKeys: []auth.SigningKey{authtest.NewSigners(t)["HS256"].Key},
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	signIn := func() auth.Token {
		token, err := svc.SignIn(t.Context(), "u1")
		require.NoError(t, err)
		return token
	}
	verify := func(token auth.Token) error {
		_, err := svc.Tokens().Verify(t.Context(), token.Bearer.Reveal())
		return err
	}
	kept := signIn()
	for range 5 * auth.MaxNamedRevocations {
		token := signIn()
		require.NoError(t, verify(token))
		require.NoError(t, svc.Tokens().Revoke(t.Context(), authtest.ByHost, token.Session.ID))
	}
	require.LessOrEqual(t, svc.KnownRevocations(), int64(auth.MaxNamedRevocations+1))
	require.ErrorIs(t, verify(kept), auth.ErrTokenRejected, "the oldest sessions are revoked with those that are no longer named")
	require.NoError(t, verify(signIn()))
}
