package recent_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/recent"
)

func at(n int) time.Time { return time.Unix(int64(n), 0) }

func TestTheLatestKeysAreRemembered(t *testing.T) {
	t.Parallel()
	var times recent.Times[int]
	require.Zero(t, times.Get(1))
	for i := range 100_000 {
		times.Set(i, at(i))
		require.Equal(t, at(0), times.Get(0), "a key that is asked for stays")
	}
	require.Zero(t, times.Get(1), "an old key is forgotten")
	for i := 100_000 - 1<<15; i < 100_000; i++ {
		require.Equal(t, at(i), times.Get(i))
	}
	times.Set(0, at(7))
	require.Equal(t, at(7), times.Get(0))
}

func TestKeysCanBeUsedConcurrently(t *testing.T) {
	t.Parallel()
	var times recent.Times[int]
	var running sync.WaitGroup
	for range 8 {
		running.Go(func() {
			for i := range 10_000 {
				times.Set(i, at(i))
				require.Equal(t, at(i), times.Get(i))
			}
		})
	}
	running.Wait()
}
