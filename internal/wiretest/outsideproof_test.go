package wiretest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Several requests with a token ahead of the feed arrive at once. The first one proves that commits
// were lost and revokes everybody. The others wait for it and must be rejected too.
func TestConcurrentTokensAheadOfTheFeedAreAllRejected(t *testing.T) {
	t.Parallel()
	var accepted, rejected atomic.Int64
	for range 5 {
		var slow atomic.Bool
		svc, ahead, clock, _ := lostCommits(t, func(method string) error {
			if slow.Load() && (method == "RevocationHead" || method == "ListRevocations") {
				time.Sleep(5 * time.Millisecond) // as slow as a database
			}
			return nil
		})
		// Another request has just read the feed.
		r := registerUser(t, svc, "carol", false)
		require.Equal(t, 200, status(svc, loginToken(t, svc, r.Pair)))
		slow.Store(true)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if status(svc, ahead) == 200 {
					accepted.Add(1)
				} else {
					rejected.Add(1)
				}
			})
		}
		wg.Wait()
		clock.Advance(time.Minute)
		require.Equal(t, 401, status(svc, ahead))
	}
	require.Zero(t, accepted.Load(),
		"requests with a token ahead of the feed were accepted; %d were rejected", rejected.Load())
}
