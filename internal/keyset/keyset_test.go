package keyset_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/keyset"
)

func TestWhichStatusIsARefusal(t *testing.T) {
	t.Parallel()
	for status, refusal := range map[int]bool{
		300: true, 301: true, 302: true, 303: true, 307: true, 308: true, 399: true,
		400: true, 401: true, 403: true, 404: true, 410: true, 451: true, 499: true,
		200: false, 201: false, 204: false, 206: false, 299: false,
		304: false, 408: false, 425: false, 429: false,
		500: false, 502: false, 503: false, 504: false, 599: false,
	} {
		require.Equal(t, refusal, keyset.IsRefusal(status), status)
	}
}

func TestRefusalsAreFinalIfThereAreThreeOverFifteenMinutes(t *testing.T) {
	t.Parallel()
	start := time.Now()
	const minute = time.Minute
	for name, test := range map[string]struct {
		began []time.Duration
		want  bool
	}{
		"none":                           {nil, false},
		"one":                            {[]time.Duration{0}, false},
		"two over a day":                 {[]time.Duration{0, 24 * time.Hour}, false},
		"three over 15 minutes":          {[]time.Duration{0, minute, 15 * minute}, true},
		"three over almost 15 minutes":   {[]time.Duration{0, minute, 15*minute - 1}, false},
		"the third after a day":          {[]time.Duration{0, minute, 24 * time.Hour}, true},
		"a hundred in a minute":          {spread(100, minute), false},
		"a hundred in 15 minutes":        {spread(100, 15*minute), true},
		"final, and the clock goes on":   {[]time.Duration{0, minute, 15 * minute, 16 * minute}, true},
		"final, and the clock goes back": {[]time.Duration{0, minute, 15 * minute, 14 * minute}, true},
	} {
		var r keyset.Refusals
		for _, after := range test.began {
			r.Add(start.Add(after))
		}
		require.Equal(t, test.want, r.Final(), name)
		require.Equal(t, len(test.began), r.Count(), name)

		r.Reset()
		require.False(t, r.Final(), name)
		require.Zero(t, r.Count(), name)
		for _, after := range []time.Duration{0, minute, 14 * minute} {
			r.Add(start.Add(time.Hour + after))
		}
		require.False(t, r.Final(), "the series begins anew: %s", name)
	}
}

// spread returns n times from zero to the end, at equal distances.
func spread(n int, end time.Duration) []time.Duration {
	times := make([]time.Duration, n)
	for i := range times {
		times[i] = end * time.Duration(i) / time.Duration(n-1)
	}
	return times
}

func TestAClockThatJumpsDoesNotKeepKeysInUse(t *testing.T) {
	t.Parallel()
	start := time.Now()
	for name, test := range map[string]struct {
		last time.Time
		want bool
	}{
		"the machine was suspended":            {authtest.Suspended(start.Add(time.Minute), 3600), true},
		"the wall clock was set back":          {authtest.Suspended(start.Add(time.Minute), -3600), false},
		"set back, and 15 minutes have passed": {authtest.Suspended(start.Add(15*time.Minute), -3600), true},
		"set back, without a monotonic clock":  {start.Add(-time.Hour).Round(0), true},
	} {
		var r keyset.Refusals
		r.Add(start)
		r.Add(start.Add(time.Second))
		r.Add(test.last)
		require.Equal(t, test.want, r.Final(), name)
	}
}
