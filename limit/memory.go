package limit

import (
	"container/heap"
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// defaultBuckets is the default number of buckets. The buckets take about 32 MiB if all are in
	// use.
	defaultBuckets = 1 << 16

	// overflowBuckets is the number of shared buckets for each list of rates. While all other
	// buckets are in use, an event with a new name is counted in a shared bucket. If there were
	// only a few shared buckets, one client could fill all of them.
	overflowBuckets = 1 << 10

	// maxOverflowRates is the maximum number of different lists of rates for which Memory creates
	// shared buckets.
	maxOverflowRates = 16
)

// Memory is a [Limiter] that counts in memory, within one process. It is safe for concurrent use.
//
// Memory removes a bucket only after the count of the bucket has gone back to zero. While there is
// no room for another bucket, events with new names are counted in shared buckets. Clients whose
// names share a bucket can make each other wait. But no client can make Memory forget a count.
type Memory struct {
	now  func() time.Time
	size int
	seed maphash.Seed

	mu       sync.Mutex
	buckets  map[string]*bucket
	idle     bucketHeap // the buckets of the map, ordered by emptyAt
	overflow []overflow
}

// bucket holds one counter for each of its rates.
type bucket struct {
	name     string
	limiters []*rate.Limiter
	emptyAt  time.Time // when the bucket is empty and can be removed
	index    int       // position in the heap, or -1 for a shared bucket
}

// overflow holds the shared buckets for one list of rates.
type overflow struct {
	rates   []Rate
	buckets []bucket
}

// NewMemory returns a limiter with at most this number of buckets. Zero means 65,536. A bucket
// takes about 450 bytes. In addition, there can be 1,024 shared buckets for each list of rates.
// NewMemory panics if the number is negative.
//
// The parameter now is a function that returns the current time. If now is nil, time.Now is used.
func NewMemory(buckets int, now func() time.Time) *Memory {
	if buckets == 0 {
		buckets = defaultBuckets
	}
	if now == nil {
		now = time.Now
	}
	if buckets < 0 {
		panic("limit: the number of buckets must not be negative")
	}
	return &Memory{now: now, size: buckets, seed: maphash.MakeSeed(), buckets: map[string]*bucket{}}
}

// Take implements [Limiter].
func (m *Memory) Take(_ context.Context, bucket string, rates []Rate) (time.Duration, error) {
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := m.find(bucket, rates, now)
	switch {
	case err != nil:
		return 0, err
	case len(b.limiters) != len(rates):
		return 0, errors.New("limit: the rates of a bucket must not change")
	}
	var wait time.Duration
	for _, l := range b.limiters {
		wait = max(wait, untilTokens(l, now, 1))
	}
	if wait > 0 {
		return wait, nil
	}
	var empty time.Duration
	for _, l := range b.limiters {
		l.AllowN(now, 1)
		empty = max(empty, untilTokens(l, now, float64(l.Burst())))
	}
	b.emptyAt = now.Add(empty)
	if b.index >= 0 {
		heap.Fix(&m.idle, b.index)
	}
	return 0, nil
}

// untilTokens returns how long it takes until the limiter has the given number of tokens. Each
// event takes one token, and the limiter gets new tokens at the rate of its Limit.
func untilTokens(l *rate.Limiter, now time.Time, tokens float64) time.Duration {
	missing := tokens - l.TokensAt(now)
	return max(0, time.Duration(missing/float64(l.Limit())*float64(time.Second)))
}

// find returns the bucket with this name, and creates the bucket if it does not exist. If there is
// no room for a new bucket, find returns a shared one.
func (m *Memory) find(name string, rates []Rate, now time.Time) (*bucket, error) {
	if b := m.buckets[name]; b != nil {
		return b, nil
	}
	if len(m.buckets) == m.size {
		if oldest := m.idle[0]; oldest.emptyAt.After(now) {
			return m.shared(name, rates)
		}
		m.remove(m.idle[0])
	}
	b := &bucket{name: name, limiters: limitersOf(rates), emptyAt: now}
	m.buckets[name] = b
	heap.Push(&m.idle, b)
	return b, nil
}

// shared returns the shared bucket for this name and these rates.
func (m *Memory) shared(name string, rates []Rate) (*bucket, error) {
	i := slices.IndexFunc(m.overflow, func(o overflow) bool { return slices.Equal(o.rates, rates) })
	if i < 0 {
		if len(m.overflow) == maxOverflowRates {
			return nil, errors.New("limit: too many lists of rates")
		}
		i = len(m.overflow)
		m.overflow = append(m.overflow, overflow{slices.Clone(rates), make([]bucket, overflowBuckets)})
	}
	// The seed is secret, so no client can choose which other clients share its bucket.
	b := &m.overflow[i].buckets[maphash.String(m.seed, name)%overflowBuckets]
	if b.limiters == nil {
		b.limiters, b.index = limitersOf(rates), -1
	}
	return b, nil
}

func limitersOf(rates []Rate) []*rate.Limiter {
	limiters := make([]*rate.Limiter, len(rates))
	for i, r := range rates {
		limiters[i] = rate.NewLimiter(rate.Limit(float64(r.Count)/r.Per.Seconds()), r.Count)
	}
	return limiters
}

func (m *Memory) remove(b *bucket) {
	heap.Remove(&m.idle, b.index)
	delete(m.buckets, b.name)
}

// Reset implements [Limiter]. A shared bucket keeps its count, because it also counts for other
// names.
func (m *Memory) Reset(_ context.Context, bucket string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b := m.buckets[bucket]; b != nil {
		m.remove(b)
	}
	return nil
}

// bucketHeap is a heap of buckets. The first bucket becomes empty before all others.
type bucketHeap []*bucket

func (h bucketHeap) Len() int           { return len(h) }
func (h bucketHeap) Less(i, j int) bool { return h[i].emptyAt.Before(h[j].emptyAt) }

func (h bucketHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements [heap.Interface].
func (h *bucketHeap) Push(x any) {
	b := x.(*bucket)
	b.index = len(*h)
	*h = append(*h, b)
}

// Pop implements [heap.Interface].
func (h *bucketHeap) Pop() any {
	last := len(*h) - 1
	b := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return b
}
