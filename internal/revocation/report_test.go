package revocation_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/revocation"
	"github.com/stretchr/testify/require"
)

// newReporting returns an instance that runs in a bubble, and a function that returns the reports
// since the last call.
func newReporting(t *testing.T) (*instance, func() []revocation.Report) {
	var reports authtest.Record[revocation.Report]
	s := &store{}
	source := s.source()
	source.Report = reports.Add
	feed := revocation.NewFeed(source, interval, maxStaleness, time.Now)
	return &instance{Feed: feed, t: t, now: time.Now, store: s}, reports.Take
}

func TestEachChangeOfStateOfAFeedIsReportedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in, reports := newReporting(t)
		s := session{"u1", "s1", 0}
		require.NoError(t, in.check(s))
		require.Empty(t, reports())

		in.store.err = authtest.ErrStoreAway
		time.Sleep(interval)
		require.NoError(t, in.check(s))
		failing := reports()
		require.Len(t, failing, 1)
		require.Equal(t, revocation.ReadFailing, failing[0].Status)
		require.Equal(t, maxStaleness-interval, failing[0].Left)
		require.Equal(t, int64(1), failing[0].Failures)
		require.ErrorIs(t, failing[0].Err, authtest.ErrStoreAway)

		time.Sleep(maxStaleness - interval)
		require.Error(t, in.ReadNow(t.Context()))
		unusable := reports()
		require.Len(t, unusable, 1)
		require.Equal(t, revocation.Unusable, unusable[0].Status, "the feed is as old as it may be")
		require.Zero(t, unusable[0].Failures, "no request was refused yet")
		for range 3 {
			require.Error(t, in.check(s))
		}
		require.Empty(t, reports())

		in.store.err = nil
		require.NoError(t, in.ReadNow(t.Context()))
		usable := reports()
		require.Len(t, usable, 1, "that the feed can be read goes without saying")
		require.Equal(t, revocation.UsableAgain, usable[0].Status)
		require.Equal(t, int64(3), usable[0].Failures)
		require.NoError(t, usable[0].Err)
	})
}

func TestAFeedThatFailsOnceIsReportedAsReadableAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in, reports := newReporting(t)
		require.NoError(t, in.ReadNow(t.Context()))
		in.store.err = authtest.ErrStoreAway
		require.Error(t, in.ReadNow(t.Context()))
		in.store.err = nil
		require.NoError(t, in.ReadNow(t.Context()))
		all := reports()
		require.Len(t, all, 2)
		require.Equal(t, revocation.ReadFailing, all[0].Status)
		require.Equal(t, revocation.ReadAgain, all[1].Status)
		require.Equal(t, int64(1), all[1].Failures)
	})
}

// A client can cancel its requests while another request reads the feed.
func TestACanceledRequestIsNotReportedAsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in, reports := newReporting(t)
		in.store.onRead = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		go in.ReadNow(t.Context())
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.Error(t, in.checkAt(ctx, session{"u1", "s1", 0}, new(atomic.Uint64)))
		require.Empty(t, reports())
		time.Sleep(time.Minute)
	})
}

// A read that began before a revocation ends well, but the instance may not have read the
// revocation. It refuses all sessions until the next read.
func TestAReadThatIsTooEarlyToTrustTheFeedEndsNoOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in, reports := newReporting(t)
		in.store.err = authtest.ErrStoreAway
		require.Error(t, in.check(session{"u1", "s1", 0}))
		require.Equal(t, revocation.Unusable, reports()[0].Status)
		in.store.err = nil
		in.store.onRead = func(context.Context) error { time.Sleep(3 * time.Second); return nil }
		early := make(chan error)
		go func() { early <- in.ReadNow(t.Context()) }()
		synctest.Wait()
		in.ReadAfterWrite(t.Context()) // gives up after a second
		require.NoError(t, <-early)
		in.requireUnknown()
		require.Empty(t, reports())
		require.NoError(t, in.ReadNow(t.Context()))
		require.Equal(t, revocation.UsableAgain, reports()[0].Status)
	})
}
