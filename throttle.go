package auth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/sallyport-go/auth/limit"
)

// Throttling bounds what clients can try. A correct generated secret is never rejected because of
// what other clients have sent, except for a Flood from the same address: the secret is verified
// first, and only failures are counted. Once there are too many, further failures are answered with
// a *[ThrottledError]. Clients are counted by address ([WithClientInfo]), an IPv6 address by its
// first 64 bits. If the address is not known, only attempts on imported keys are counted.
//
// The zero value is a good choice.
type Throttling struct {
	// Limiter counts. nil means in memory, for this instance alone.
	Limiter limit.Limiter

	// Failures are how many sign-ins from one address may fail. nil means 20 in a minute, 100
	// in an hour and 500 in a day. Sign-ins with GitHub have a count of their own. While there
	// are too many, imported keys from the address are rejected without a slow hash, also
	// correct ones: an attacker must have the same address to keep a user out.
	Failures []limit.Rate

	// SlowAttempts are how many times one imported key may be tried from one address until it
	// has signed in. nil means 5 in a minute, 20 in an hour and 50 in a day. Further attempts
	// are rejected likewise. If the address is not known, all such attempts on the key count
	// together.
	SlowAttempts []limit.Rate

	// Flood is how many times one address may try at all, before the store is asked. nil means
	// 60,000 in a minute. It is the only limit that rejects correct generated secrets.
	Flood []limit.Rate

	// Off counts nothing: for hosts with limits of their own, and for benchmarks.
	Off bool
}

// throttle is the Throttling of a service; nil if it is off.
type throttle struct {
	Throttling
	now func() time.Time
	log *slog.Logger

	mu     sync.Mutex
	barred *simplelru.LRU[netip.Addr, time.Time] // whose imported keys are refused, and until when
}

// maxBarred is how many addresses are known to have failed too often. Who is forgotten
// has one slow hash more.
const maxBarred = 1 << 12

func newThrottle(cfg Throttling, now func() time.Time, log *slog.Logger) (*throttle, error) {
	if cfg.Off {
		return nil, nil
	}
	if cfg.Limiter == nil {
		cfg.Limiter = limit.NewMemory(0, now)
	}
	for _, list := range []struct {
		rates *[]limit.Rate
		unset []limit.Rate
	}{
		{&cfg.Failures, []limit.Rate{{Count: 20, Per: time.Minute}, {Count: 100, Per: time.Hour}, {Count: 500, Per: 24 * time.Hour}}},
		{&cfg.SlowAttempts, []limit.Rate{{Count: 5, Per: time.Minute}, {Count: 20, Per: time.Hour}, {Count: 50, Per: 24 * time.Hour}}},
		{&cfg.Flood, []limit.Rate{{Count: 60_000, Per: time.Minute}}},
	} {
		if len(*list.rates) == 0 {
			*list.rates = list.unset
		}
		for _, rate := range *list.rates {
			if rate.Count < 1 || rate.Per < time.Millisecond || rate.Per > 30*24*time.Hour {
				return nil, errors.New("auth: a limit.Rate must have a Count of one or more and a Per from a millisecond to 30 days")
			}
		}
	}
	barred, err := simplelru.NewLRU[netip.Addr, time.Time](maxBarred, nil)
	return &throttle{Throttling: cfg, now: now, log: log, barred: barred}, err
}

// What is counted. The names go into the buckets'.
const (
	countFlood    = "flood"
	countFailures = "sign-in failures"
	countGitHub   = "GitHub failures"
	countSlow     = "slow attempts"
)

// enter counts an attempt from the address, and returns a *ThrottledError if there
// were too many.
func (t *throttle) enter(ctx context.Context, address netip.Addr) error {
	if t == nil {
		return nil
	}
	return t.take(ctx, t.Flood, address, countFlood)
}

// enterSlow counts an attempt on an imported key, likewise, unless too much has failed
// from the address.
func (t *throttle) enterSlow(ctx context.Context, address netip.Addr, accessKey string) error {
	if t == nil {
		return nil
	}
	if wait := t.barredFor(address); wait > 0 {
		return fmt.Errorf("auth: too many %s: %w", countFailures, &ThrottledError{RetryAfter: wait})
	}
	return t.takeBucket(ctx, t.SlowAttempts, bucketName(address, countSlow, accessKey), countSlow)
}

// bar refuses imported keys from the address for as long. That cannot be told from the
// limiter, which counts failures once they are there: by then a slow hash has run.
func (t *throttle) bar(address netip.Addr, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.barred.Add(networkOf(address), t.now().Add(wait))
}

func (t *throttle) barredFor(address netip.Addr) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	until, _ := t.barred.Get(networkOf(address))
	return until.Sub(t.now())
}

// leaveSlow forgets the attempts on an imported key that has signed in.
func (t *throttle) leaveSlow(ctx context.Context, address netip.Addr, accessKey string) {
	if t == nil {
		return
	}
	if err := t.resetBucket(ctx, bucketName(address, countSlow, accessKey)); err != nil {
		t.log.WarnContext(ctx, "auth: the limiter fails, and does not forget", "error", err)
	}
}

// failed counts a failure of this kind and returns it, or a *ThrottledError in its
// place if there were too many.
func (t *throttle) failed(ctx context.Context, address netip.Addr, kind string, failure error) error {
	if t == nil {
		return failure
	}
	return cmp.Or(t.take(ctx, t.Failures, address, kind), failure)
}

// failedSignIn is failed for an access key.
func (t *throttle) failedSignIn(ctx context.Context, address netip.Addr, failure error) error {
	err := t.failed(ctx, address, countFailures, failure)
	if throttled, ok := errors.AsType[*ThrottledError](err); ok {
		t.bar(address, throttled.RetryAfter)
	}
	return err
}

// take counts one more of the kind from the address, if it is known.
func (t *throttle) take(ctx context.Context, rates []limit.Rate, address netip.Addr, kind string) error {
	if !address.IsValid() {
		return nil
	}
	return t.takeBucket(ctx, rates, bucketName(address, kind), kind)
}

func (t *throttle) takeBucket(ctx context.Context, rates []limit.Rate, bucket, kind string) error {
	wait, err := t.askLimiter(ctx, bucket, rates)
	switch {
	case err != nil:
		t.log.WarnContext(ctx, "auth: the limiter fails, and bounds nothing", "error", err)
		return nil
	case wait > longestPeriod(rates): // no such wait is possible: the limiter's clock has jumped
		t.log.WarnContext(ctx, "auth: the limiter returns a wait that is longer than its rates' periods, and bounds nothing", "wait", wait)
		return nil
	case wait > 0:
		return fmt.Errorf("auth: too many %s: %w", kind, &ThrottledError{RetryAfter: wait})
	}
	return nil
}

// askLimiter is Limiter.Take, with an error in place of a panic.
func (t *throttle) askLimiter(ctx context.Context, bucket string, rates []limit.Rate) (wait time.Duration, err error) {
	defer recoverCallback("Limiter.Take", func(failure error) { wait, err = 0, failure })
	return t.Limiter.Take(ctx, bucket, rates)
}

// resetBucket is Limiter.Reset, with an error in place of a panic.
func (t *throttle) resetBucket(ctx context.Context, bucket string) (err error) {
	defer recoverCallback("Limiter.Reset", func(failure error) { err = failure })
	return t.Limiter.Reset(ctx, bucket)
}

// longestPeriod returns the longest time that a client can have to wait for one of the rates.
func longestPeriod(rates []limit.Rate) time.Duration {
	longest := time.Duration(0)
	for _, rate := range rates {
		longest = max(longest, rate.Per)
	}
	return longest
}

// bucketName is a hash, so that no limiter keeps keys and addresses, and that nobody
// chooses what it is.
func bucketName(address netip.Addr, kind ...string) string {
	digest := sha256.Sum256(framed(append([]string{"sallyport limit", networkOf(address).String()}, kind...)...))
	return hex.EncodeToString(digest[:16])
}

// networkOf returns the address under which a client is counted: of an IPv6 address,
// what one customer has is the first 64 bits.
func networkOf(address netip.Addr) netip.Addr {
	if !address.Is6() {
		return address
	}
	network, _ := address.Prefix(64)
	return network.Addr()
}
