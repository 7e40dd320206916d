package clock_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/clock"
	"github.com/stretchr/testify/require"
)

func TestAgeIsTheGreaterOfWhatTheTwoClocksShow(t *testing.T) {
	t.Parallel()
	now := time.Now()
	asleep := authtest.Suspended(now, 3*3600)
	require.Equal(t, 3*time.Hour, asleep.Round(0).Sub(now.Round(0)), "the test's own clock")
	require.Zero(t, asleep.Sub(now))

	for name, test := range map[string]struct {
		now, then time.Time
		want      time.Duration
	}{
		"both clocks agree":                     {now.Add(time.Second), now, time.Second},
		"no time has passed":                    {now, now, 0},
		"suspended":                             {authtest.Suspended(now.Add(time.Second), 3600), now, time.Hour + time.Second},
		"the wall clock was set back":           {authtest.Suspended(now.Add(time.Second), -3600), now, time.Second},
		"both clocks before then":               {now.Add(-time.Second), now, math.MaxInt64},
		"only wall clocks":                      {now.Add(time.Second).Round(0), now.Round(0), time.Second},
		"only wall clocks, set back":            {now.Round(0), now.Add(time.Second).Round(0), math.MaxInt64},
		"a monotonic reading on one side alone": {now.Add(time.Second), now.Round(0), time.Second},
		"centuries":                             {now, time.Time{}, math.MaxInt64},
	} {
		require.Equal(t, test.want, clock.Age(test.now, test.then), name)
	}
}

func TestAStoredTimeMayBeSlightlyLater(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for ahead, want := range map[time.Duration]time.Duration{
		-time.Hour: time.Hour, -1: 1, 0: 0, 1: 0, time.Second - 1: 0, time.Second: math.MaxInt64,
	} {
		require.Equal(t, want, clock.AgeOfStored(now, now.Add(ahead)), ahead)
	}
	require.Equal(t, time.Hour, clock.AgeOfStored(authtest.Suspended(now, 3600), now))
}

func TestSleepEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		require.NoError(t, clock.Sleep(t.Context(), time.Second))
		require.Equal(t, time.Second, time.Since(began))

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, clock.Sleep(ctx, time.Hour), context.DeadlineExceeded)
		require.Equal(t, time.Minute+time.Second, time.Since(began))
		for _, d := range []time.Duration{0, -time.Second} {
			require.NoError(t, clock.Sleep(t.Context(), d))
			require.ErrorIs(t, clock.Sleep(ctx, d), context.DeadlineExceeded)
		}
	})
}
