// Package redislimit counts on a Redis server, for all instances of a service
// together:
//
//	client := redis.NewClient(&redis.Options{Addr: "redis.example.com:6379", ContextTimeoutEnabled: true})
//	limiter, err := redislimit.New(client, redislimit.Options{})
//	…
//	svc, err := auth.New(store, auth.Config{Throttling: auth.Throttling{Limiter: limiter}, …})
//
// While the server is away, each instance counts for itself, and sign-in goes on.
//
// It is a module of its own, so that a host without Redis compiles none of it.
package redislimit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"

	"github.com/sallyport-go/auth/limit"
)

// Options are what may be said of a limiter. The zero value is a good choice.
type Options struct {
	// Prefix begins the name of every key, behind "rate:": "sallyport" unless set. Two
	// services on one server need two.
	Prefix string

	// Timeout is how long the server may take for one answer, of which a request needs
	// up to two for each rate: 100 milliseconds unless set.
	Timeout time.Duration

	// Local counts while the server is away: limit.NewMemory(0, nil) unless set.
	Local limit.Limiter

	// Logger is told when the server goes away, and when it is back: slog.Default()
	// unless set.
	Logger *slog.Logger
}

// Limiter is a [limit.Limiter] on a Redis server. It is safe for concurrent use.
type Limiter struct {
	rates   *redis_rate.Limiter
	options Options

	// awayUntil is until when the server is left alone after a failure, in nanoseconds
	// of Unix time; 0 while it answers.
	awayUntil atomic.Int64
}

// mostRates is how many rates a bucket may have.
const mostRates = 4

// retryAfter is for how long the server is left alone after a failure: a request must
// not wait for one that is away.
const retryAfter = time.Second

// New returns a limiter on the server of the client, which stays the caller's to
// close. It does not touch the server. The client's options must have
// ContextTimeoutEnabled: without it, go-redis heeds no deadline but its own, and sign-ins
// would wait for a server that hangs.
func New(client redis.UniversalClient, options Options) (*Limiter, error) {
	if client == nil {
		return nil, errors.New("redislimit: New needs a client")
	}
	if !heedsDeadlines(client) {
		return nil, errors.New("redislimit: set ContextTimeoutEnabled in the client's options, or sign-ins wait for a server that hangs")
	}
	if options.Timeout < 0 {
		return nil, errors.New("redislimit: Timeout must not be negative")
	}
	if options.Prefix == "" {
		options.Prefix = "sallyport"
	}
	if options.Timeout == 0 {
		options.Timeout = 100 * time.Millisecond
	}
	if options.Local == nil {
		options.Local = limit.NewMemory(0, nil)
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	return &Limiter{rates: redis_rate.NewLimiter(client), options: options}, nil
}

// heedsDeadlines reports whether the client's commands end with their context, as far as
// that can be seen: a client of another type is the host's own.
func heedsDeadlines(client redis.UniversalClient) bool {
	switch client := client.(type) {
	case *redis.Client:
		return client.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		return client.Options().ContextTimeoutEnabled
	case *redis.Ring:
		return client.Options().ContextTimeoutEnabled
	}
	return true
}

// Take implements [limit.Limiter], for up to four rates.
func (l *Limiter) Take(ctx context.Context, bucket string, rates []limit.Rate) (time.Duration, error) {
	if len(rates) > mostRates {
		return 0, fmt.Errorf("redislimit: a bucket may have %d rates at the most", mostRates)
	}
	wait, err := ask(ctx, l, func(ctx context.Context) (time.Duration, error) { return l.take(ctx, bucket, rates) })
	if err != nil {
		return l.options.Local.Take(ctx, bucket, rates)
	}
	return wait, nil
}

// take looks whether all rates have room before it counts in any, and asks those that
// have none how long to wait. Between the two somebody else may take the last: then it
// has counted in some of them only.
func (l *Limiter) take(ctx context.Context, bucket string, rates []limit.Rate) (wait time.Duration, err error) {
	var full [mostRates]bool
	if len(rates) > 1 {
		for i, rate := range rates {
			result, err := l.count(ctx, bucket, i, rate, 0)
			if err != nil {
				return 0, err
			}
			full[i] = result.Remaining <= 0 && result.ResetAfter <= rate.Per
		}
	}
	someFull := slices.Contains(full[:], true)
	for i, rate := range rates {
		if someFull && !full[i] {
			continue
		}
		result, err := l.count(ctx, bucket, i, rate, 1)
		if err != nil {
			return 0, err
		}
		if result.RetryAfter > rate.Per { // no such wait is possible: the server's clock was set back
			if err := l.reset(ctx, bucket, i); err != nil {
				return 0, err
			}
			if result, err = l.count(ctx, bucket, i, rate, 1); err != nil {
				return 0, err
			}
		}
		if result.Allowed == 0 {
			wait = max(wait, result.RetryAfter, time.Millisecond)
		}
	}
	return wait, nil
}

// count counts n more in the bucket's i-th rate, and waits for the answer.
func (l *Limiter) count(ctx context.Context, bucket string, i int, rate limit.Rate, n int) (*redis_rate.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, l.options.Timeout)
	defer cancel()
	return l.rates.AllowN(ctx, l.key(bucket, i), redis_rate.Limit{Rate: rate.Count, Burst: rate.Count, Period: rate.Per}, n)
}

// Reset implements [limit.Limiter]. While the server is away, its buckets stay.
func (l *Limiter) Reset(ctx context.Context, bucket string) error {
	_, err := ask(ctx, l, func(ctx context.Context) (struct{}, error) {
		for i := range mostRates {
			if err := l.reset(ctx, bucket, i); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	return errors.Join(l.options.Local.Reset(ctx, bucket), err)
}

func (l *Limiter) reset(ctx context.Context, bucket string, i int) error {
	ctx, cancel := context.WithTimeout(ctx, l.options.Timeout)
	defer cancel()
	return l.rates.Reset(ctx, l.key(bucket, i))
}

func (l *Limiter) key(bucket string, rate int) string {
	return fmt.Sprintf("%s:%s:%d", l.options.Prefix, bucket, rate)
}

var errAway = errors.New("redislimit: the server is away")

// ask calls the server, unless it has just been found to be away.
func ask[T any](ctx context.Context, l *Limiter, call func(context.Context) (T, error)) (result T, err error) {
	now := time.Now().UnixNano()
	until := l.awayUntil.Load()
	if now < until {
		return result, errAway
	}
	// Of those who come when it is to be tried again, one does.
	if until != 0 {
		if !l.awayUntil.CompareAndSwap(until, now+int64(retryAfter)) {
			return result, errAway
		}
		// A request that goes away must not leave the server unused for all others.
		ctx = context.WithoutCancel(ctx)
	}
	result, err = call(ctx)
	switch {
	case err == nil && until != 0:
		l.awayUntil.Store(0)
		l.options.Logger.InfoContext(ctx, "redislimit: the server answers again")
	case err != nil && ctx.Err() == nil:
		if l.awayUntil.Swap(time.Now().UnixNano()+int64(retryAfter)) == 0 {
			l.options.Logger.ErrorContext(ctx, "redislimit: the server is away, and each instance counts for itself", "error", err)
		}
	}
	return result, err
}
