package limit_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/limit"
)

func TestMemoryForgetsOnlyEmptyBuckets(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	limiter := limit.NewMemory(2, func() time.Time { return now })
	take := func(bucket string) time.Duration {
		wait, err := limiter.Take(t.Context(), bucket, []limit.Rate{{Count: 1, Per: time.Hour}})
		require.NoError(t, err)
		return wait
	}
	require.Zero(t, take("a"))
	now = now.Add(time.Minute)
	require.Zero(t, take("b"))
	require.Zero(t, take("c"), "no room is left, so c shares a bucket")
	require.Equal(t, time.Hour, take("c"))
	require.Equal(t, 59*time.Minute, take("a"), "a must not be forgotten")
	require.Equal(t, time.Hour, take("b"))
	now = now.Add(59 * time.Minute)
	require.Zero(t, take("d"), "d takes the place of a")
	require.Equal(t, time.Hour, take("d"))
	require.Equal(t, time.Minute, take("b"))
	require.Equal(t, time.Minute, take("c"), "c must still share its bucket")
	require.NoError(t, limiter.Reset(t.Context(), "b"))
	require.Zero(t, take("b"))
	_, err := limiter.Take(t.Context(), "b", nil)
	require.Error(t, err, "the rates of a bucket must not change")
	require.Panics(t, func() { limit.NewMemory(-1, nil) })
}

// In the attack, a client sends many names that no user has. The client tries to make Memory forget
// the count of the client itself.
func TestJunkNamesCannotEvictACount(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	limiter := limit.NewMemory(0, func() time.Time { return now })
	failures := []limit.Rate{{Count: 20, Per: time.Minute}, {Count: 100, Per: time.Hour},
		{Count: 500, Per: 24 * time.Hour}}
	slow := []limit.Rate{{Count: 5, Per: time.Minute}, {Count: 20, Per: time.Hour},
		{Count: 50, Per: 24 * time.Hour}}
	for range 20 {
		wait, err := limiter.Take(t.Context(), "the client's failures", failures)
		require.NoError(t, err)
		require.Zero(t, wait)
	}
	refused := 0
	for i := range 200_000 {
		wait, err := limiter.Take(t.Context(), fmt.Sprintf("junk %d", i), slow)
		require.NoError(t, err)
		if wait > 0 {
			refused++
		}
	}
	t.Logf("%d of 200,000 junk names were refused", refused)
	require.Greater(t, refused, 100_000, "names without a bucket must still count, together")
	wait, err := limiter.Take(t.Context(), "the client's failures", failures)
	require.NoError(t, err)
	require.Equal(t, 3*time.Second, wait)
	wait, err = limiter.Take(t.Context(), "junk 7", slow)
	require.NoError(t, err)
	require.Zero(t, wait, "this bucket allows four more")

	now = now.Add(24 * time.Hour)
	for i := range 60_000 {
		wait, err := limiter.Take(t.Context(), fmt.Sprintf("new %d", i), slow)
		require.NoError(t, err)
		require.Zero(t, wait, "empty buckets must make room again")
	}
}

func TestTooManyListsOfRatesAreAnErrorNotMoreMemory(t *testing.T) {
	t.Parallel()
	limiter := limit.NewMemory(1, nil)
	_, err := limiter.Take(t.Context(), "a", []limit.Rate{{Count: 1, Per: time.Hour}})
	require.NoError(t, err)
	failed := 0
	for i := range 100 {
		if _, err := limiter.Take(t.Context(), "b",
			[]limit.Rate{{Count: i + 1, Per: time.Hour}}); err != nil {
			failed++
		}
	}
	require.Equal(t, 84, failed)
}

func TestMemoryCountsExactlyUnderConcurrency(t *testing.T) {
	t.Parallel()
	limiter := limit.NewMemory(0, nil)
	var allowed sync.Map
	var running sync.WaitGroup
	for i := range 256 {
		running.Go(func() {
			for j := range 10 {
				if wait, err := limiter.Take(t.Context(), "one",
					[]limit.Rate{{Count: 100, Per: 720 * time.Hour},
						{Count: 1000, Per: time.Hour}}); err == nil && wait == 0 {
					allowed.Store([2]int{i, j}, true)
				}
			}
		})
	}
	running.Wait()
	n := 0
	allowed.Range(func(any, any) bool { n++; return true })
	require.Equal(t, 100, n)
}

// The test checks how much memory a bucket takes, which the documentation of NewMemory says.
func TestMemoryUsesTheDocumentedMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	limiter := limit.NewMemory(0, nil)
	rates := []limit.Rate{{Count: 20, Per: time.Minute}, {Count: 100, Per: time.Hour},
		{Count: 500, Per: 24 * time.Hour}}
	for i := range 200_000 {
		_, err := limiter.Take(context.Background(), fmt.Sprintf("%032d", i), rates)
		require.NoError(t, err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	perBucket := int64(after.HeapAlloc-before.HeapAlloc) / (1 << 16)
	t.Logf("%d bytes a bucket", perBucket)
	require.Less(t, perBucket, int64(700))
	runtime.KeepAlive(limiter)
}
