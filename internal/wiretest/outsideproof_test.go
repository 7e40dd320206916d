package wiretest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Several requests with tokens that are ahead of the feed come at once. The first one proves that
// commits were lost and revokes everybody; the others wait for its turn to end, and must be refused
// too: they are after the proof.
func TestConcurrentTokensAheadOfTheFeedAreAllRejected(t *testing.T) {
	t.Parallel()
	var accepted, refused atomic.Int64
	for range 5 {
		var slow atomic.Bool
		svc, ahead, clock, _ := outsideLost(t, func(method string) error {
			if slow.Load() && (method == "RevocationHead" || method == "ListRevocations") {
				time.Sleep(5 * time.Millisecond) // a database
			}
			return nil
		})
		// somebody else's request has just read the feed
		r := outsideRegister(t, svc, "carol", false)
		require.Equal(t, 200, status(svc, outsideLogin(t, svc, r.Pair)))
		slow.Store(true)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if status(svc, ahead) == 200 {
					accepted.Add(1)
				} else {
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		clock.Advance(time.Minute)
		require.Equal(t, 401, status(svc, ahead))
	}
	require.Zero(t, accepted.Load(), "requests with a token ahead that were accepted although another request had just proved the loss (refused: %d)", refused.Load())
}
