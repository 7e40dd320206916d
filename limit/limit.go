// Package limit limits how often an event is allowed. An example of an event is a failed sign-in
// from one client address. The package is for auth.Config.Throttling.
//
// A [Limiter] counts events in buckets, and each bucket has a name. [Memory] is a Limiter for one
// process. Package redislimit, in its own module, has a Limiter for all instances of the host. It
// keeps its counts in Redis. A host can also provide its own Limiter.
package limit

import (
	"context"
	"time"
)

// Rate is how often an event is allowed. At first, Count events are allowed without a pause. After
// that, Count events are allowed in each period of length Per.
//
// If a bucket has several rates, an event is allowed only if every rate allows it. For example, one
// rate can have a short period, and another rate a long period. If a client never stops trying, it
// waits at first because of the short period, and later because of the long period.
type Rate struct {
	Count int
	Per   time.Duration
}

// Limiter counts events in buckets and refuses events that come too often. An implementation must
// be safe for concurrent use.
type Limiter interface {
	// Take counts one event in the bucket and returns zero if every rate allows the event now. If
	// any rate does not allow the event, Take counts nothing and returns how long to wait until
	// every rate allows it.
	//
	// The parameter bucket is the name of the bucket. The name is at most 64 bytes of ASCII, and
	// does not reveal the user or the client. All calls for a bucket have the same rates.
	//
	// An error means that Take could not decide. A service of package auth then counts the event in the
	// memory of the instance, with the same rates. It treats a panic, and a wait that is longer than the
	// longest period of the rates, as an error.
	Take(ctx context.Context, bucket string, rates []Rate) (wait time.Duration, err error)

	// Reset empties the bucket.
	Reset(ctx context.Context, bucket string) error
}
