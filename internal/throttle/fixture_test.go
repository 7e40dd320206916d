package throttle_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/throttle"
	"github.com/sallyport-go/auth/limit"
	"github.com/stretchr/testify/require"
)

const namespace = "https://api.example.com"

// fixture is a Throttle with its clock, its limiter and its log.
type fixture struct {
	*throttle.Throttle
	now     time.Time // no test changes it while goroutines run
	limiter *limiter
	log     bytes.Buffer
}

func newFixture(t testing.TB, limits throttle.Limits) *fixture {
	t.Helper()
	f := &fixture{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	clock := func() time.Time { return f.now }
	f.limiter = &limiter{memory: limit.NewMemory(0, clock)}
	limits.Limiter = f.limiter
	f.Throttle = newThrottle(t, limits, namespace, clock, slog.New(slog.NewTextHandler(&f.log, nil)))
	return f
}

func newThrottle(
	t testing.TB, limits throttle.Limits, namespace string, now func() time.Time, log *slog.Logger,
) *throttle.Throttle {
	t.Helper()
	th, err := throttle.New(limits, namespace, now, log)
	require.NoError(t, err)
	return th
}

// limiter records its calls. It answers like limit.Memory, or with the function answer if that is
// set.
type limiter struct {
	memory *limit.Memory
	answer func() (time.Duration, error)

	mu     sync.Mutex
	takes  []take
	resets []string
}

// take is a call of Limiter.Take.
type take struct {
	bucket string
	rates  []limit.Rate
}

func (l *limiter) Take(
	ctx context.Context, bucket string, rates []limit.Rate,
) (time.Duration, error) {
	l.mu.Lock()
	l.takes = append(l.takes, take{bucket, rates})
	l.mu.Unlock()
	if l.answer != nil {
		return l.answer()
	}
	return l.memory.Take(ctx, bucket, rates)
}

func (l *limiter) Reset(ctx context.Context, bucket string) error {
	l.mu.Lock()
	l.resets = append(l.resets, bucket)
	l.mu.Unlock()
	if l.answer != nil {
		_, err := l.answer()
		return err
	}
	return l.memory.Reset(ctx, bucket)
}

// last returns the latest call of Take.
func (l *limiter) last() take { return l.takes[len(l.takes)-1] }

// rates returns a list of one rate.
func rates(count int, per time.Duration) []limit.Rate {
	return []limit.Rate{{Count: count, Per: per}}
}

// at returns a client whose address is known.
func at(address string) throttle.Client {
	return throttle.Client{Address: netip.MustParseAddr(address)}
}

// behind returns a client whose address is not known, with the address of its peer.
func behind(peer string) throttle.Client {
	return throttle.Client{Peer: netip.MustParseAddr(peer)}
}

// requireExceeded fails the test unless err is an *ExceededError with this kind and wait.
func requireExceeded(t testing.TB, err error, kind string, wait time.Duration) {
	t.Helper()
	require.Equal(t, &throttle.ExceededError{Kind: kind, RetryAfter: wait}, err)
}

// requireAllowed fails the test unless the function do succeeds n times and is then rejected.
func requireAllowed(t testing.TB, n int, do func() error) {
	t.Helper()
	for i := range n {
		require.NoError(t, do(), "%d were allowed", i)
	}
	exceeded := new(throttle.ExceededError)
	require.ErrorAs(t, do(), &exceeded)
	require.Positive(t, exceeded.RetryAfter)
}
