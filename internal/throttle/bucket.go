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

// maxBar is the longest time that a bucket counts as used up before the limiter is asked again. It
// is bounded because the limiter's answer may have been wrong.
const maxBar = time.Minute

// bucket is one count of the limiter.
type bucket struct {
	name  string
	kind  string // of what is counted
	rates []limit.Rate
}

// newBucket returns the bucket for what clients of the address do. All unknown addresses share one
// bucket. The bucket's name is a hash, so that no limiter keeps keys and addresses and no client
// chooses a name. The name depends on the rates, because a limiter keeps the rates of the last call
// for a bucket.
func (t *Throttle) newBucket(
	kind string, address netip.Addr, rates []limit.Rate, of ...string,
) bucket {
	network := clientaddr.Network(address)
	parts := []string{"sallyport limit", t.namespace, fmt.Sprint(rates), network.String(), kind}
	digest := sha256.Sum256(canonical.Frame(append(parts, of...)...))
	return bucket{hex.EncodeToString(digest[:16]), kind, rates}
}

// take counts one more in the bucket, and returns an *ExceededError if the bucket is used up. If
// the limiter fails, take returns nil.
func (t *Throttle) take(ctx context.Context, b bucket) error {
	wait, err := t.askLimiter(ctx, b)
	switch {
	case err != nil:
		t.log.WarnContext(ctx, "auth: the limiter fails, and bounds nothing", "error", err)
		return nil
	case wait > longestPeriod(b.rates): // only if the limiter's clock has jumped
		t.log.WarnContext(ctx, "auth: the limiter returns a wait that is longer than its rates' "+
			"periods, and bounds nothing", "wait", wait)
		return nil
	case wait > 0:
		return &ExceededError{b.kind, wait}
	}
	return nil
}

// takeOrBar is take, and bars the bucket if there is no room. The bar answers later checks, because
// a call of the limiter always counts.
func (t *Throttle) takeOrBar(ctx context.Context, b bucket) error {
	err := t.take(ctx, b)
	if exceeded, ok := errors.AsType[*ExceededError](err); ok {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.bar(b, exceeded.RetryAfter)
	}
	return err
}

// bar remembers that the bucket is used up. t.mu must be held.
func (t *Throttle) bar(b bucket, wait time.Duration) {
	t.barred.Add(b.name, t.now().Add(min(wait, maxBar)))
}

// liftBar forgets that the bucket is used up.
func (t *Throttle) liftBar(b bucket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.barred.Remove(b.name)
}

// checkBar returns an *ExceededError if the bucket is barred.
func (t *Throttle) checkBar(b bucket) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	until, _ := t.barred.Get(b.name)
	if wait := until.Sub(t.now()); wait > 0 {
		return &ExceededError{b.kind, wait}
	}
	return nil
}

// askLimiter is Limiter.Take, with an error in place of a panic.
func (t *Throttle) askLimiter(ctx context.Context, b bucket) (wait time.Duration, err error) {
	defer callback.Recover("Limiter.Take", func(failure error) { wait, err = 0, failure })
	return t.limits.Limiter.Take(ctx, b.name, b.rates)
}

// reset is Limiter.Reset, with an error in place of a panic.
func (t *Throttle) reset(ctx context.Context, b bucket) (err error) {
	defer callback.Recover("Limiter.Reset", func(failure error) { err = failure })
	return t.limits.Limiter.Reset(ctx, b.name)
}

// longestPeriod returns the longest time that a client can have to wait for one of the rates.
func longestPeriod(rates []limit.Rate) time.Duration {
	longest := time.Duration(0)
	for _, rate := range rates {
		longest = max(longest, rate.Per)
	}
	return longest
}
