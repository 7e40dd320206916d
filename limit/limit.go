// Package limit limits how often something may happen. It counts events in buckets, for
// auth.Config.Throttling. [Memory] counts within one process. Package redislimit, in its own
// module, counts on a Redis server for all instances together. A host may also provide its own
// [Limiter].
package limit

import (
	"context"
	"time"
)

// Rate is how often something may happen: Count times at once, and then Count times per duration
// Per. If a bucket has several rates, a client that keeps trying waits longer and longer.
type Rate struct {
	Count int
	Per   time.Duration
}

// Limiter counts events in buckets and refuses events that come too often. Requests call a Limiter
// concurrently, so the Limiter must be safe for concurrent use.
type Limiter interface {
	// Take counts one event in the bucket and returns zero if every rate allows the event now. If
	// any rate does not allow the event, Take counts nothing and returns how long to wait until
	// every rate allows the event. The name of a bucket is at most 64 bytes of ASCII and does not
	// reveal whose bucket it is. A bucket always has the same rates.
	//
	// An error means that Take could not decide. The caller then allows the event.
	Take(ctx context.Context, bucket string, rates []Rate) (wait time.Duration, err error)

	// Reset empties the bucket.
	Reset(ctx context.Context, bucket string) error
}
