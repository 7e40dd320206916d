// Package limit counts what must not happen too often, in buckets: for
// auth.Config.Throttling. [Memory] counts for one process. Package redislimit, a
// module of its own, counts on a Redis server for all instances together, and a host
// may bring another [Limiter].
package limit

import (
	"context"
	"time"
)

// Rate is how often something may happen: Count times at once, and as often again in
// each time of Per. Several rates together make whoever goes on wait longer and
// longer.
type Rate struct {
	Count int
	Per   time.Duration
}

// Limiter counts, in buckets, what must not happen too often. It is called within
// requests, from many goroutines at once.
type Limiter interface {
	// Take counts one more in the bucket and returns zero, if each of the rates has
	// room for it. If not, it counts nothing and returns how long it takes until
	// each has. The name of a bucket is at most 64 bytes of ASCII, and says nothing
	// of whose it is; its rates are always the same.
	//
	// An error means that it could not be told: then it is allowed.
	Take(ctx context.Context, bucket string, rates []Rate) (wait time.Duration, err error)

	// Reset empties the bucket.
	Reset(ctx context.Context, bucket string) error
}
