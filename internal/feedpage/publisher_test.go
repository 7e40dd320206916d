package feedpage_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth/internal/feedpage"
	"github.com/sallyport-go/auth/internal/revocation"
	"github.com/stretchr/testify/require"
)

const nonce = "0123456789abcdef"

// history is a feed in memory.
type history struct {
	entries []revocation.Entry
	onRead  func()
}

func (h *history) read(_ context.Context, from int64, limit int) ([]revocation.Entry, error) {
	if h.onRead != nil {
		h.onRead()
	}
	for i := range h.entries {
		if h.entries[i].Position >= from {
			return h.entries[i:min(i+limit, len(h.entries))], nil
		}
	}
	return nil, nil
}

// newPublisher returns a publisher whose feed was read from h. It reads earlier entries from old.
func newPublisher(t *testing.T, h, old *history) *feedpage.Publisher {
	t.Helper()
	feed := revocation.NewFeed(revocation.Source{Read: h.read}, 5*time.Second, time.Minute, time.Now)
	require.NoError(t, feed.ReadNow(t.Context()))
	return feedpage.NewPublisher(issuer, feed, old.read, time.Now)
}

// The store can lose entries between the read of the feed and the read of earlier entries. No page may
// then say that it has all entries.
func TestAPageOfAFeedThatHasChangedIsAnError(t *testing.T) {
	t.Parallel()
	whole := entries("", 1, 9)
	without := func(end int64) []revocation.Entry {
		return append(slices.Clone(whole[:8]), entries("", 10, end)...)
	}
	for name, c := range map[string]struct {
		stored []revocation.Entry
		fails  bool
	}{
		"as it was":    {whole, false},
		"grown":        {entries("", 1, 12), false},
		"cut":          {whole[:7], true},
		"empty":        {nil, true},
		"without last": {without(11), true},
		// The store returns as many entries as it may. So they are not the last ones of the store.
		"without last, and much more": {without(2 * feedpage.MaxEntries), true},
	} {
		p := newPublisher(t, &history{entries: whole}, &history{entries: c.stored})
		page, err := p.Page(t.Context(), 0, nonce)
		require.Equal(t, c.fails, err != nil, name)
		if err == nil {
			require.Len(t, page.Entries, 9, name)
			require.Equal(t, [2]int64{9, 9}, [2]int64{page.End, page.Head}, name)
		}
	}
}

// Many verifiers that start at the same time do not read the store at the same time.
func TestFewRequestsReadEarlierEntriesAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var reading, most atomic.Int64
		old := &history{entries: entries("", 1, 9)}
		old.onRead = func() {
			most.Store(max(most.Load(), reading.Add(1)))
			time.Sleep(100 * time.Millisecond)
			reading.Add(-1)
		}
		p := newPublisher(t, &history{entries: old.entries}, old)
		var verifiers sync.WaitGroup
		for range 12 {
			verifiers.Go(func() {
				_, err := p.Page(t.Context(), 0, nonce)
				require.NoError(t, err)
			})
		}
		verifiers.Wait()
		require.EqualValues(t, 4, most.Load())
		canceled, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		for range 4 {
			verifiers.Go(func() { _, _ = p.Page(t.Context(), 0, nonce) })
		}
		time.Sleep(time.Millisecond)
		_, err := p.Page(canceled, 0, nonce)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		verifiers.Wait()
	})
}
