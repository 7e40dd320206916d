// Package throttle bounds what clients can try at sign-in. A limiter counts attempts and failures
// in buckets. A bucket is one count, such as the failures of one client address. This package
// decides what is counted in which bucket, and what is rejected when a bucket is used up. It knows
// neither credentials nor GitHub: the caller reports what happens.
//
// A correct generated secret is never rejected because of failures. Without this rule, anyone could
// lock out others. The caller verifies such a secret first and calls [Throttle.CountFailure] only
// if it is wrong. Work that costs more than a read from the store is bounded before it begins:
// [Throttle.CheckSlowAttempt] and [Throttle.CountSlowAttempt] for slow hashes,
// [Throttle.BeginGitHub] for calls to GitHub.
//
// If the limiter fails, nothing is bounded, and the log says so.
package throttle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/sallyport-go/auth/limit"
)

// Limits say what a client may do. It mirrors auth.Throttling.
type Limits struct {
	Limiter      limit.Limiter // nil means in memory
	Failures     []limit.Rate  // failed sign-ins from one address; nil means the default
	SlowAttempts []limit.Rate  // attempts on one imported key from one address; nil means the default
	Flood        []limit.Rate  // attempts of any kind from one address; nil means the default
	Off          bool          // count nothing
}

// Client is a client that tries to sign in.
type Client struct {
	Address netip.Addr // the zero Addr if it is not known
	Peer    netip.Addr // of the connection; counted in a flood if Address is not known
}

// ExceededError means that a client has done too much of one kind.
type ExceededError struct {
	Kind       string        // in the plural: "sign-in failures"
	RetryAfter time.Duration // how long to wait; positive
}

// Error returns a message with the kind and the time to wait.
func (e *ExceededError) Error() string {
	return fmt.Sprintf("too many %s: try again in %s", e.Kind, e.RetryAfter)
}

// Throttle enforces [Limits]. A nil *Throttle allows everything. It is safe for concurrent use.
//
// The methods that can reject a client return a *[ExceededError] if they reject it, and nil if they
// do not.
type Throttle struct {
	limits    Limits
	namespace string // of the buckets, in a limiter that services share
	now       func() time.Time
	log       *slog.Logger

	// The limits of all clients of unknown addresses together.
	unknownFailures, unknownSlowAttempts []limit.Rate

	mu     sync.Mutex
	barred *simplelru.LRU[string, time.Time]     // by bucket name: when the bar ends
	spare  *simplelru.LRU[string, spareAttempts] // by bucket name
	github map[string]*pendingGitHub             // by bucket name
}

const (
	// maxRemembered bounds the barred buckets and those with spare attempts. If the bar of a bucket
	// is dropped, its client gets one more answer from the limiter, or one more slow hash. If the
	// spare attempts of a bucket are dropped, its client has fewer attempts.
	maxRemembered = 1 << 12

	// All clients of unknown addresses together may do this many times as much as one client. With
	// the default rates, one client may make 50 attempts a day on a key. A wrong secret every ten
	// seconds, which is 8,640 a day, must not use up the attempts of all clients of unknown
	// addresses.
	unknownFailuresFactor = 50
	unknownSlowFactor     = 200
)

// The kinds of counts. They are part of bucket names.
const (
	kindFlood    = "flood"
	kindFailures = "sign-in failures"
	kindForged   = "GitHub failures"
	kindGitHub   = "GitHub sign-ins"
	kindSlow     = "slow attempts"
)

// New returns a Throttle, which is nil if the limits are off, or an error if a rate is out of
// range. Instances of one service have the same namespace; services that share a limiter have
// different ones.
func New(
	limits Limits, namespace string, now func() time.Time, log *slog.Logger,
) (*Throttle, error) {
	if limits.Off {
		return nil, nil
	}
	limits, err := limits.withDefaults(now)
	if err != nil {
		return nil, err
	}
	barred, err1 := simplelru.NewLRU[string, time.Time](maxRemembered, nil)
	spare, err2 := simplelru.NewLRU[string, spareAttempts](maxRemembered, nil)
	return &Throttle{
		limits:              limits,
		namespace:           namespace,
		now:                 now,
		log:                 log,
		unknownFailures:     multiply(limits.Failures, unknownFailuresFactor),
		unknownSlowAttempts: multiply(limits.SlowAttempts, unknownSlowFactor),
		barred:              barred,
		spare:               spare,
		github:              map[string]*pendingGitHub{},
	}, cmp.Or(err1, err2)
}

// withDefaults returns the limits with their defaults, or an error if a rate is out of range.
func (l Limits) withDefaults(now func() time.Time) (Limits, error) {
	const day = 24 * time.Hour
	if l.Limiter == nil {
		l.Limiter = limit.NewMemory(0, now)
	}
	for _, list := range []struct {
		rates    *[]limit.Rate
		defaults []limit.Rate
	}{
		{&l.Failures, []limit.Rate{
			{Count: 20, Per: time.Minute}, {Count: 100, Per: time.Hour}, {Count: 500, Per: day},
		}},
		{&l.SlowAttempts, []limit.Rate{
			{Count: 5, Per: time.Minute}, {Count: 20, Per: time.Hour}, {Count: 50, Per: day},
		}},
		{&l.Flood, []limit.Rate{{Count: 60_000, Per: time.Minute}}},
	} {
		if len(*list.rates) == 0 {
			*list.rates = list.defaults
		}
		for _, rate := range *list.rates {
			if rate.Count < 1 || rate.Per < time.Millisecond || rate.Per > 30*day {
				return l, errors.New("a limit.Rate must have a Count of one or more " +
					"and a Per from a millisecond to 30 days")
			}
		}
	}
	return l, nil
}

// multiply returns rates that allow factor times as much as the given rates.
func multiply(rates []limit.Rate, factor int) []limit.Rate {
	rates = slices.Clone(rates)
	for i, rate := range rates {
		rates[i].Count = min(rate.Count, math.MaxInt32/factor) * factor
	}
	return rates
}

// CountAttempt counts an attempt of any kind, and rejects a client that floods the service. If the
// client's address is not known, the address of the client's peer is used. CountAttempt allows a
// client whose peer is not known either. If it counted such clients, one of them could keep out all
// others.
func (t *Throttle) CountAttempt(ctx context.Context, client Client) error {
	if t == nil {
		return nil
	}
	address := client.Address
	if !address.IsValid() {
		address = client.Peer
	}
	if !address.IsValid() {
		return nil
	}
	return t.take(ctx, t.newBucket(kindFlood, address, t.limits.Flood))
}

// CheckSlowAttempt rejects an attempt on an imported key if there were too many failures from the
// client's address, or too many attempts on the key from this address. CheckSlowAttempt counts
// nothing and does not call the limiter. An attempt that it rejects costs neither a read from the
// store nor a place in the queue of slow hashes.
func (t *Throttle) CheckSlowAttempt(client Client, accessKey string) error {
	if t == nil {
		return nil
	}
	if err := t.checkBar(t.failures(kindFailures, client)); err != nil {
		return err
	}
	return t.checkBar(t.slowAttempts(client, accessKey))
}

// CountSlowAttempt counts an attempt on an imported key, for which a slow hash is about to be
// computed, and rejects the attempt if there were too many.
func (t *Throttle) CountSlowAttempt(ctx context.Context, client Client, accessKey string) error {
	if t == nil {
		return nil
	}
	return t.takeOrBar(ctx, t.slowAttempts(client, accessKey))
}

// ForgetSlowAttempts forgets the attempts on an imported key that has signed in, including attempts
// that were rejected meanwhile.
func (t *Throttle) ForgetSlowAttempts(ctx context.Context, client Client, accessKey string) {
	if t == nil {
		return
	}
	attempts := t.slowAttempts(client, accessKey)
	if err := t.reset(ctx, attempts); err != nil {
		t.log.WarnContext(ctx, "auth: the limiter fails, and does not forget", "error", err)
	}
	t.liftBar(attempts) // after the reset, because until then the limiter rejects attempts
}

// CountFailure counts a failed sign-in with an access key, and rejects the client if there were too
// many.
func (t *Throttle) CountFailure(ctx context.Context, client Client) error {
	if t == nil {
		return nil
	}
	return t.takeOrBar(ctx, t.failures(kindFailures, client))
}

// CountForgedCallback counts a GitHub callback whose state was not given to the browser that sends
// it, and rejects the client if there were too many. These callbacks are not counted together with
// failed sign-ins, because a page can make a browser send them.
func (t *Throttle) CountForgedCallback(ctx context.Context, client Client) error {
	if t == nil {
		return nil
	}
	return t.take(ctx, t.failures(kindForged, client))
}

// failures returns the bucket of one kind of failures of the client.
func (t *Throttle) failures(kind string, client Client) bucket {
	rates := t.limits.Failures
	if !client.Address.IsValid() {
		rates = t.unknownFailures
	}
	return t.newBucket(kind, client.Address, rates)
}

// slowAttempts returns the bucket of the client's attempts on an imported key.
func (t *Throttle) slowAttempts(client Client, accessKey string) bucket {
	rates := t.limits.SlowAttempts
	if !client.Address.IsValid() {
		rates = t.unknownSlowAttempts
	}
	return t.newBucket(kindSlow, client.Address, rates, accessKey)
}
