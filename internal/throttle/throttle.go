// Package throttle bounds what clients can try at sign-in. A limiter counts attempts and failures
// in buckets, by client address; the package decides what counts, in which bucket, and what a used
// up bucket rejects. It knows neither credentials nor GitHub: its caller says what happens.
//
// Failures never reject a correct generated secret, or anyone could lock out others. The caller
// verifies such a secret first and calls [Throttle.CountFailure] only if it is wrong. Work that
// costs more than a read from the store is bounded before it begins: [Throttle.CheckSlowAttempt] and
// [Throttle.CountSlowAttempt] for slow hashes, [Throttle.BeginGitHub] for calls to GitHub.
//
// A limiter that fails bounds nothing: the log says so.
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
	SlowAttempts []limit.Rate  // on one imported key from one address; nil means the default
	Flood        []limit.Rate  // attempts of any kind from one address; nil means the default
	Off          bool          // count nothing
}

// Client is a client that tries to sign in.
type Client struct {
	Address netip.Addr // the zero Addr if it is not known
	Peer    netip.Addr // of the connection, which counts in a flood if Address is not known
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
// The methods that can reject a client return a *[ExceededError] then, and otherwise nil.
type Throttle struct {
	limits    Limits
	namespace string // of the buckets, in a limiter that services share
	now       func() time.Time
	log       *slog.Logger

	// The limits of all clients of unknown addresses together.
	unknownFailures, unknownSlowAttempts []limit.Rate

	mu     sync.Mutex
	barred *simplelru.LRU[string, time.Time]     // by bucket name: until when it is used up
	spare  *simplelru.LRU[string, spareAttempts] // by bucket name
	github map[string]*pendingGitHub             // by bucket name
}

const (
	// maxRemembered bounds the barred buckets and those with spare attempts. A client whose bar is
	// forgotten gets one more answer from the limiter, or one more slow hash. A client whose spare
	// attempts are forgotten has fewer attempts.
	maxRemembered = 1 << 12

	// Clients of unknown addresses together may do so many times as much as one client. With the
	// default rates, a wrong secret every ten seconds is 8,640 a day: it must not use up the
	// attempts on a key (50 in a day for one client).
	unknownFailuresFactor = 50
	unknownSlowFactor     = 200
)

// The kinds of what is counted. They are part of bucket names.
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

// multiply returns rates that allow factor times as much.
func multiply(rates []limit.Rate, factor int) []limit.Rate {
	rates = slices.Clone(rates)
	for i, rate := range rates {
		rates[i].Count = min(rate.Count, math.MaxInt32/factor) * factor
	}
	return rates
}

// CountAttempt counts an attempt of any kind, and rejects a client that floods the service. If the
// client's address is not known, its peer counts. It allows a client without either, because one
// such client could otherwise keep out all others.
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

// CheckSlowAttempt rejects an attempt on an imported key if too much has failed from the client's
// address, or too much was tried on the key from there. It counts nothing and asks no limiter, so
// it costs neither a read from the store nor a place in the queue of slow hashes.
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
// computed, and rejects it if there were too many.
func (t *Throttle) CountSlowAttempt(ctx context.Context, client Client, accessKey string) error {
	if t == nil {
		return nil
	}
	return t.takeOrBar(ctx, t.slowAttempts(client, accessKey))
}

// ForgetSlowAttempts forgets the attempts on an imported key that has signed in, also those that
// were rejected meanwhile.
func (t *Throttle) ForgetSlowAttempts(ctx context.Context, client Client, accessKey string) {
	if t == nil {
		return
	}
	attempts := t.slowAttempts(client, accessKey)
	if err := t.reset(ctx, attempts); err != nil {
		t.log.WarnContext(ctx, "auth: the limiter fails, and does not forget", "error", err)
	}
	t.liftBar(attempts) // after the reset, before which the limiter still rejects attempts
}

// CountFailure counts a failed sign-in with an access key, and rejects the client if there were too
// many.
func (t *Throttle) CountFailure(ctx context.Context, client Client) error {
	if t == nil {
		return nil
	}
	return t.takeOrBar(ctx, t.failures(kindFailures, client))
}

// CountForgedCallback counts a GitHub callback whose state is not its browser's, and rejects the
// client if there were too many. Such callbacks have a bucket of their own, because a page can make
// a browser send them.
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
