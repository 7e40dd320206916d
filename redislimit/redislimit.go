// Package redislimit has a [limit.Limiter] that keeps its counts in Redis. All instances of a
// service then share the limits:
//
//	client := redis.NewClient(&redis.Options{Addr: "redis.example.com:6379", ContextTimeoutEnabled: true})
//	limiter, err := redislimit.New(client, redislimit.Options{})
//	…
//	svc, err := auth.New(store, auth.Config{Throttling: auth.Throttling{Limiter: limiter}, …})
//
// While the Redis server is unavailable, each instance counts for itself, so sign-in continues.
//
// The package is a separate module, so that a service without Redis does not depend on a Redis
// client.
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

// Options configures a limiter. The zero value uses the defaults.
type Options struct {
	// Prefix is part of the name of every Redis key. The name begins with "rate:", then the Prefix.
	// Two services that share a server need different prefixes. Default "sallyport".
	Prefix string

	// Timeout is how long to wait for one response of the server. [Limiter.Take] normally needs at
	// most two responses for each rate. Default 100 milliseconds.
	Timeout time.Duration

	// Local is the limiter to use while the server is unavailable. Default limit.NewMemory(0, nil).
	Local limit.Limiter

	// Logger receives a log record when the server becomes unavailable and when it answers again.
	// Default slog.Default().
	Logger *slog.Logger
}

// Limiter is a [limit.Limiter] on a Redis server. Create one with [New]. It is safe for concurrent
// use.
type Limiter struct {
	rates   *redis_rate.Limiter
	options Options

	// unavailableUntil is the earliest time at which the server may be called again after a
	// failure, in nanoseconds of Unix time. It is 0 while the server answers.
	unavailableUntil atomic.Int64
}

// mostRates is the maximum number of rates that a bucket can have.
const mostRates = 4

// retryAfter is how long the limiter waits after a failure before it calls the server again. During
// this time, requests do not wait for the unavailable server.
const retryAfter = time.Second

// New returns a limiter that uses the given client to keep its counts in Redis. New does not
// connect to the server. The caller keeps ownership of the client and closes it.
//
// The option ContextTimeoutEnabled of the client must be set. Without it, go-redis ignores the
// deadlines of this package, and sign-ins would wait for a server that hangs.
func New(client redis.UniversalClient, options Options) (*Limiter, error) {
	if client == nil {
		return nil, errors.New("redislimit: New needs a client")
	}
	if !heedsDeadlines(client) {
		return nil,
			errors.New("redislimit: set ContextTimeoutEnabled in the client's options; otherwise " +
				"sign-ins wait for a server that hangs")
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

// heedsDeadlines reports whether the client's commands end when their context ends. If the host has
// its own client type, heedsDeadlines cannot find out and returns true.
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
		return 0, fmt.Errorf("redislimit: a bucket has at most %d rates", mostRates)
	}
	wait, err := ask(ctx, l, func(ctx context.Context) (time.Duration, error) {
		return l.take(ctx, bucket, rates)
	})
	if err != nil {
		return l.options.Local.Take(ctx, bucket, rates)
	}
	return wait, nil
}

// take counts one event on the server. If there are several rates, take first asks the server
// whether every rate allows the event. If so, take counts the event in every rate. If not, take
// counts nothing, and returns how long to wait until every rate allows the event.
//
// The answer of the server can be out of date when take counts the event, for example because
// another call has used up a rate. In this case, take counts the event in only some of the rates.
func (l *Limiter) take(
	ctx context.Context, bucket string, rates []limit.Rate,
) (wait time.Duration, err error) {
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
		// A wait longer than rate.Per means that the server's clock was set back.
		if result.RetryAfter > rate.Per {
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

// count tells the server to count n events in the i-th rate of the bucket, and returns the server's
// result. If n is 0, the server counts nothing and only returns the state of the rate.
func (l *Limiter) count(
	ctx context.Context, bucket string, i int, rate limit.Rate, n int,
) (*redis_rate.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, l.options.Timeout)
	defer cancel()
	return l.rates.AllowN(ctx, l.key(bucket, i),
		redis_rate.Limit{Rate: rate.Count, Burst: rate.Count, Period: rate.Per}, n)
}

// Reset implements [limit.Limiter]. While the server is unavailable, Reset returns an error, and
// the buckets on the server keep their counts.
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

var errUnavailable = errors.New("redislimit: the server is unavailable")

// ask calls the given function, which sends commands to the server. Until retryAfter has passed
// since the last failure, ask returns errUnavailable and does not call the function.
func ask[T any](
	ctx context.Context, l *Limiter, call func(context.Context) (T, error),
) (result T, err error) {
	now := time.Now().UnixNano()
	until := l.unavailableUntil.Load()
	if now < until {
		return result, errUnavailable
	}
	// After retryAfter has passed, only the first request calls the server again. The other
	// requests do not wait for the result.
	if until != 0 {
		if !l.unavailableUntil.CompareAndSwap(until, now+int64(retryAfter)) {
			return result, errUnavailable
		}
		// If this request is canceled, the call must still finish. A canceled call would not show
		// whether the server answers again, and no other request would use the server.
		ctx = context.WithoutCancel(ctx)
	}
	result, err = call(ctx)
	switch {
	case err == nil && until != 0:
		l.unavailableUntil.Store(0)
		l.options.Logger.InfoContext(ctx, "redislimit: the server answers again")
	case err != nil && ctx.Err() == nil:
		if l.unavailableUntil.Swap(time.Now().UnixNano()+int64(retryAfter)) == 0 {
			l.options.Logger.ErrorContext(ctx,
				"redislimit: the server is unavailable; each instance counts for itself", "error", err)
		}
	}
	return result, err
}
