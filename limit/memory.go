package limit

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// defaultBuckets take about 32 MiB when all are in use.
const defaultBuckets = 1 << 16

// Memory is a [Limiter] in the memory of one process. When all of its buckets are in
// use, the one that has been idle for longest is forgotten. It is safe for concurrent
// use.
type Memory struct {
	now func() time.Time

	mu      sync.Mutex
	buckets *simplelru.LRU[string, []*rate.Limiter]
}

// NewMemory returns a limiter of at most that many buckets, each of which takes some
// 450 bytes: 65,536 if it is 0. It panics if the number is negative. The clock is
// time.Now if it is nil.
func NewMemory(buckets int, now func() time.Time) *Memory {
	if buckets == 0 {
		buckets = defaultBuckets
	}
	if now == nil {
		now = time.Now
	}
	lru, err := simplelru.NewLRU[string, []*rate.Limiter](buckets, nil)
	if err != nil {
		panic("limit: NewMemory needs at least one bucket")
	}
	return &Memory{now: now, buckets: lru}
}

// Take implements [Limiter].
func (m *Memory) Take(_ context.Context, bucket string, rates []Rate) (time.Duration, error) {
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	limiters, found := m.buckets.Get(bucket)
	if found && len(limiters) != len(rates) {
		return 0, errors.New("limit: a bucket with other rates than before")
	}
	if !found {
		for _, r := range rates {
			limiters = append(limiters, rate.NewLimiter(rate.Limit(float64(r.Count)/r.Per.Seconds()), r.Count))
		}
		m.buckets.Add(bucket, limiters)
	}
	var wait time.Duration
	for _, l := range limiters {
		if missing := 1 - l.TokensAt(now); missing > 0 {
			wait = max(wait, time.Duration(missing/float64(l.Limit())*float64(time.Second)))
		}
	}
	if wait > 0 {
		return wait, nil
	}
	for _, l := range limiters {
		l.AllowN(now, 1)
	}
	return 0, nil
}

// Reset implements [Limiter].
func (m *Memory) Reset(_ context.Context, bucket string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.buckets.Remove(bucket)
	return nil
}
