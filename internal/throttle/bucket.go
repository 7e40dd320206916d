package throttle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/sallyport-go/auth/internal/callback"
	"github.com/sallyport-go/auth/internal/canonical"
	"github.com/sallyport-go/auth/internal/clientaddr"
	"github.com/sallyport-go/auth/limit"
)

// maxBar is the maximum time for which a bucket is barred. A bucket is barred only after the
// limiter has rejected an attempt. While the bucket is barred, attempts are rejected without a call
// of the limiter. The time is limited because the limiter may have been wrong.
const maxBar = time.Minute

// bucket is one count in the limiter, and the rates that limit the count.
type bucket struct {
	name  string
	kind  string // what is counted, as in ExceededError.Kind
	rates []limit.Rate
}

// newBucket returns the bucket that counts attempts of one kind from the network of the address.
// All unknown addresses share one bucket. If there are further arguments, such as an access key,
// each combination of them has a bucket of its own.
//
// The name of a bucket is a hash. So the limiter does not get keys and addresses, and clients
// cannot choose names. The name depends on the rates, because a limiter must get the same rates in
// all calls for a bucket.
func (t *Throttle) newBucket(
	kind string, address netip.Addr, rates []limit.Rate, of ...string,
) bucket {
	network := clientaddr.Network(address)
	parts := []string{"sallyport limit", t.namespace, fmt.Sprint(rates), network.String(), kind}
	digest := sha256.Sum256(canonical.Frame(append(parts, of...)...))
	return bucket{hex.EncodeToString(digest[:16]), kind, rates}
}

// take counts an attempt in the bucket. It returns an *ExceededError if the limiter rejects the
// attempt. If the limiter fails, take counts the attempt in the memory of this instance. Otherwise an
// attacker who can make the limiter fail could guess short codes and the secrets of imported keys without
// a limit.
func (t *Throttle) take(ctx context.Context, b bucket) error {
	wait, err := t.askLimiter(ctx, b)
	if err == nil && wait > longestPeriod(b.rates) { // happens only if the limiter's clock has jumped
		err = fmt.Errorf("Limiter.Take returned a wait of %s, which is longer than each period of the rates",
			wait)
	}
	t.logLimiter(ctx, "take", "auth: the limiter fails, so this instance counts attempts for itself", err)
	if err != nil {
		wait, err = t.local.Take(ctx, b.name, b.rates)
	}
	if err == nil && wait > 0 {
		return &ExceededError{b.kind, wait}
	}
	return nil
}

// takeOrBar calls take. If the limiter rejects the attempt, takeOrBar bars the bucket. Later checks
// then see the bar, and do not call the limiter. A call could count the check as an attempt.
func (t *Throttle) takeOrBar(ctx context.Context, b bucket) error {
	err := t.take(ctx, b)
	if exceeded, ok := errors.AsType[*ExceededError](err); ok {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.bar(b, exceeded.RetryAfter)
	}
	return err
}

// bar bars the bucket for the given time, but for at most maxBar. The caller must hold t.mu.
func (t *Throttle) bar(b bucket, wait time.Duration) {
	t.barred.Add(b.name, t.now().Add(min(wait, maxBar)))
}

// liftBar ends the bar of the bucket.
func (t *Throttle) liftBar(b bucket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.barred.Remove(b.name)
}

// checkBar returns an *ExceededError if the bucket is barred. It ignores a bar that would last longer than
// maxBar, because the clock has gone back since the bar began.
func (t *Throttle) checkBar(b bucket) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	until, _ := t.barred.Get(b.name)
	if wait := until.Sub(t.now()); wait > 0 && wait <= maxBar {
		return &ExceededError{b.kind, wait}
	}
	return nil
}

// askLimiter calls Limiter.Take and converts a panic into an error.
func (t *Throttle) askLimiter(ctx context.Context, b bucket) (wait time.Duration, err error) {
	defer callback.Recover("Limiter.Take", func(failure error) { wait, err = 0, failure })
	return t.limits.Limiter.Take(ctx, b.name, b.rates)
}

// reset calls Limiter.Reset and converts a panic into an error. It also resets the count in the memory of
// this instance.
func (t *Throttle) reset(ctx context.Context, b bucket) (err error) {
	defer callback.Recover("Limiter.Reset", func(failure error) { err = failure })
	_ = t.local.Reset(ctx, b.name) // never fails
	return t.limits.Limiter.Reset(ctx, b.name)
}

// logLimiter records the result of a call to the limiter. The operation says which method was called.
// If the call failed and a line is due, logLimiter logs the message: see package outage.
func (t *Throttle) logLimiter(ctx context.Context, operation, message string, err error) {
	switch {
	case errors.Is(err, context.Canceled): // the client has gone away
	case err != nil:
		if r, due := t.outages.Fail(operation, 1); due {
			t.log.WarnContext(ctx, message, "error", err, "calls", r.Failures, "since", r.Since)
		}
	default:
		if r, due := t.outages.Succeed(operation); due {
			t.log.InfoContext(ctx, "auth: the limiter answers again", "failed_calls", r.Failures,
				"lasted", r.Lasted)
		}
	}
}

// LimiterFailures returns how many calls of the limiter have failed.
func (t *Throttle) LimiterFailures() int64 {
	if t == nil {
		return 0
	}
	return t.outages.Failures()
}

// longestPeriod returns the longest period of the rates. A client never has to wait longer than the
// longest period.
func longestPeriod(rates []limit.Rate) time.Duration {
	longest := time.Duration(0)
	for _, rate := range rates {
		longest = max(longest, rate.Per)
	}
	return longest
}
