package main

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTimesAreReadFromTheOutput(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		output string
		want   sample
	}{
		"both times":        {"goos: linux\nBenchmarkSignIn \t 120\t 12.5 ns/op\t 3.5 cpu-ns/op\nPASS\n", sample{3.5, 12.5}},
		"memory too":        {"BenchmarkSignIn-2 120 12 ns/op 3 cpu-ns/op 5 B/op 1 allocs/op\n", sample{3, 12}},
		"no processor time": {output: "BenchmarkSignIn 120 12.5 ns/op\n"},
		"no benchmark":      {output: "PASS\n"},
		"no number":         {output: "BenchmarkSignIn 120 fast ns/op 3 cpu-ns/op\n"},
	} {
		got, err := parseSample(c.output)
		require.Equal(t, c.want, got, name)
		require.Equal(t, c.want == sample{}, err != nil, name)
	}
}

// machine returns the times of the two versions. The current version needs the given ratios of the time of
// the version before. Noise is the largest factor by which other processes change a time.
func machine(processor, elapsed, noise float64) func(binary string) (sample, error) {
	random := rand.New(rand.NewPCG(1, 2))
	return func(binary string) (sample, error) {
		s := sample{100, 200}
		if binary == "after" {
			s = sample{100 * processor, 200 * elapsed}
		}
		s.processor *= 1 + random.Float64()*(noise-1)
		s.elapsed *= 1 + random.Float64()*(noise-1)
		return s, nil
	}
}

func compare(retry func() bool, measures ...func(string) (sample, error)) ([]*comparison, error) {
	var all []*comparison
	for _, measure := range measures {
		all = append(all, &comparison{measure: measure})
	}
	return all, compareAll(all, func() (string, string, func(), error) {
		return "before", "after", func() {}, nil
	}, retry)
}

func always() bool { return true }

func TestASlowerVersionIsFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		measure func(string) (sample, error)
		slower  bool
		turns   int
	}{
		"the same speed":             {machine(1, 1, 1), false, turns},
		"the limit":                  {machine(limit, limit, 1), false, turns},
		"faster":                     {machine(0.5, 0.5, 1), false, turns},
		"more processor time":        {machine(1.12, 1, 1), true, retries},
		"more waiting":               {machine(1, 1.12, 1), true, retries},
		"much more, with much noise": {machine(1.5, 1.5, 1.8), true, retries},
	} {
		compared, err := compare(always, machine(1, 1, 1), c.measure)
		require.NoError(t, err)
		require.False(t, compared[0].isSlower(), name)
		require.Len(t, compared[0].processor, turns, name)
		require.Equal(t, c.slower, compared[1].isSlower(), "%s: %s", name, compared[1])
		require.Len(t, compared[1].processor, c.turns, name)
	}
}

func TestNoiseIsNoSlowerVersion(t *testing.T) {
	t.Parallel()
	alarms, retried := 0, 0
	measure := machine(1, 1, 4)
	for range 500 {
		compared, err := compare(always, measure)
		require.NoError(t, err)
		if compared[0].isSlower() {
			alarms++
		}
		if len(compared[0].processor) > turns {
			retried++
		}
	}
	require.Less(t, alarms, 5, "of 500")
	require.Greater(t, retried, 50, "the noise is enough to look like a slower version")
}

func TestNoRetryBeginsAfterTheDeadline(t *testing.T) {
	t.Parallel()
	for _, extra := range []int{0, 3} {
		left := extra
		compared, err := compare(func() bool { left--; return left >= 0 }, machine(2, 2, 1))
		require.NoError(t, err)
		require.True(t, compared[0].isSlower())
		require.Len(t, compared[0].processor, fewest+extra)
	}
}

func TestTheVersionsGoFirstInTurns(t *testing.T) {
	t.Parallel()
	var order []string
	_, err := compare(always, func(binary string) (sample, error) {
		order = append(order, binary)
		return sample{1, 1}, nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"before", "after", "after", "before", "before", "after"}, order[:6])
}

func TestAFailedBenchmarkIsReported(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, fails := range []string{"before", "after"} {
		_, err := compare(always, func(binary string) (sample, error) {
			if binary == fails {
				return sample{}, broken
			}
			return sample{1, 1}, nil
		})
		require.ErrorIs(t, err, broken)
	}
}

func TestTheLowerBoundIsAnOrderStatistic(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]float64{1: 0, 7: 0, 8: 1, 10: 1, 11: 1, 12: 2, 25: 6} {
		var r ratios
		for i := range n {
			r = append(r, float64(n-i))
		}
		require.Equal(t, want, r.lowerBound(), "%d turns", n)
	}
}
