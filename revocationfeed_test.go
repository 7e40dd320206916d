package auth

import (
	"context"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// suspended returns the time t as a machine reads it that was suspended for so many seconds: the
// wall clock has gone on and the monotonic clock has not. Package time has no function for it. The
// first word of a Time with a monotonic reading has the seconds above 30 bits of nanoseconds.
func suspended(t time.Time, seconds int64) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) += uint64(seconds) << 30
	return t
}

// The revocation feed was read, and the machine slept for hours.
func TestTheFeedIsReadAfterASuspend(t *testing.T) {
	t.Parallel()
	store := &countingFeed{}
	now := time.Now()
	feed := newRevocationFeed(store, 5*time.Second, time.Minute, func() time.Time { return now })
	require.NoError(t, feed.refresh(t.Context(), now))
	require.NoError(t, feed.refresh(t.Context(), now))
	require.Equal(t, 1, store.reads)

	now = suspended(now.Add(time.Second), 3*3600)
	require.Greater(t, feed.age(now), 3*time.Hour)
	store.err = context.DeadlineExceeded
	require.Error(t, feed.refresh(t.Context(), now), "hours-old knowledge is nothing to go by")
	store.err, now = nil, now.Add(2*time.Second)
	require.NoError(t, feed.refresh(t.Context(), now))
	require.Equal(t, 3, store.reads)
}

func TestTheClockOfTokensNoticesASuspend(t *testing.T) {
	t.Parallel()
	feed := newRevocationFeed(&countingFeed{}, 5*time.Second, time.Minute, time.Now)
	require.NoError(t, feed.refresh(t.Context(), time.Now()))
	require.Less(t, feed.age(feed.clock()), 5*time.Second)

	asleep := suspended(time.Now().Add(-wallClockGap), -3*3600) // read three hours ago, of which the monotonic clock has seen 10 ms
	feed.readAt.Store(&asleep)
	require.WithinDuration(t, time.Now(), feed.clock().Round(0), time.Minute)
	require.Greater(t, feed.age(time.Now()), time.Hour)
}

type countingFeed struct {
	SessionStore
	reads int
	err   error
}

func (c *countingFeed) ListRevocations(context.Context, int64, int) ([]Revocation, error) {
	c.reads++
	return nil, c.err
}
