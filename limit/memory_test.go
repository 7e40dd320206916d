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

func TestMemoryForgetsTheBucketThatIsIdleForLongest(t *testing.T) {
	t.Parallel()
	limiter := limit.NewMemory(2, nil)
	take := func(bucket string) time.Duration {
		wait, err := limiter.Take(t.Context(), bucket, []limit.Rate{{Count: 1, Per: time.Hour}})
		require.NoError(t, err)
		return wait
	}
	require.Zero(t, take("a"))
	require.Zero(t, take("b"))
	require.NotZero(t, take("a"))
	require.Zero(t, take("c"))
	require.NotZero(t, take("a"))
	require.Zero(t, take("b"), "was idle for longest")
	require.NoError(t, limiter.Reset(t.Context(), "b"))
	require.Zero(t, take("b"))
	_, err := limiter.Take(t.Context(), "b", nil)
	require.Error(t, err, "with other rates")
	require.Panics(t, func() { limit.NewMemory(-1, nil) })
}

func TestMemoryCountsExactlyWithManyAtOnce(t *testing.T) {
	t.Parallel()
	limiter := limit.NewMemory(0, nil)
	var allowed sync.Map
	var running sync.WaitGroup
	for i := range 256 {
		running.Go(func() {
			for j := range 10 {
				if wait, err := limiter.Take(t.Context(), "one", []limit.Rate{{Count: 100, Per: 720 * time.Hour}, {Count: 1000, Per: time.Hour}}); err == nil && wait == 0 {
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

// The figure in the documentation of NewMemory.
func TestMemoryTakesTheMemoryThatItSays(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	limiter := limit.NewMemory(0, nil)
	rates := []limit.Rate{{Count: 20, Per: time.Minute}, {Count: 100, Per: time.Hour}, {Count: 500, Per: 24 * time.Hour}}
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
