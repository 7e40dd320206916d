// Package throttle limits what clients can try at sign-in. A limiter counts attempts and failures
// in buckets. A bucket is one count, such as the failures of one client address. This package
// decides which bucket counts an attempt, and which attempts are rejected when the limit of a
// bucket is reached. The package does not see credentials or calls to GitHub: the caller reports
// what happens.
//
// The secret of an access key is generated, or it is imported with the key. A client with a correct
// generated secret is never rejected because of earlier failures. Otherwise, anyone could lock out
// other users. The caller verifies a generated secret first, and calls [Throttle.CountFailure] only
// if the secret is wrong.
//
// Work that costs more than a read from the store is limited before it begins. For slow hashes,
// call [Throttle.CheckSlowAttempt] and [Throttle.CountSlowAttempt]. For calls to GitHub, call
// [Throttle.BeginGitHub].
//
// If the limiter fails, the instance counts in its own memory, and the log says so.
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
	"github.com/sallyport-go/auth/internal/outage"
	"github.com/sallyport-go/auth/limit"
)

// Limits has the limits of a [Throttle]. Its fields are those of auth.Throttling.
type Limits struct {
	Limiter      limit.Limiter // nil means in memory
	Failures     []limit.Rate  // failed sign-ins from one address; nil means the default
	SlowAttempts []limit.Rate  // attempts on one imported key from one address; nil means the default
	Flood        []limit.Rate  // attempts of any kind from one address; nil means the default
	Off          bool          // nothing is counted or limited
}

// Client is a client that tries to sign in.
type Client struct {
	Address netip.Addr // the zero Addr if it is not known
	Peer    netip.Addr // address of the connection, for the flood limit if Address is not known
}

// ExceededError means that a client has exceeded a limit.
type ExceededError struct {
	Kind       string        // what was limited, in the plural: "sign-in failures"
	RetryAfter time.Duration // how long to wait; positive
}

// Error returns a message that says what was limited and how long to wait.
func (e *ExceededError) Error() string {
	return fmt.Sprintf("too many %s: try again in %s", e.Kind, e.RetryAfter)
}

// Throttle enforces [Limits]. A nil *Throttle allows everything. A Throttle is safe for concurrent
// use.
//
// If a method rejects a client, it returns an [*ExceededError].
type Throttle struct {
	limits    Limits
	local     *limit.Memory // counts the calls that the limiter fails
	namespace string        // separates the buckets of services that share a limiter
	now       func() time.Time
	log       *slog.Logger
	outages   *outage.Tracker // of the limiter
	crowds    *outage.Tracker // rejections because of a limit that all clients share

	// The rates of the buckets that all clients with unknown addresses share.
	unknownFailures, unknownSlowAttempts []limit.Rate

	mu     sync.Mutex
	barred *simplelru.LRU[string, time.Time]     // when the bar ends, by bucket name
	spare  *simplelru.LRU[string, spareAttempts] // by bucket name
	github map[string]*pendingGitHub             // by bucket name
}

const (
	// maxRemembered is the maximum number of bars that a Throttle remembers, and the maximum number
	// of buckets with spare attempts. If the Throttle drops a bar, the client gets one more answer
	// from the limiter, or one more slow hash. If the Throttle drops spare attempts, the client has
	// fewer attempts.
	maxRemembered = 1 << 12

	// All clients with unknown addresses share their limits. Each shared limit is the limit of one
	// client, multiplied by one of these factors. With the default of 50 slow attempts a day for
	// one client, the shared limit is 10,000 a day. An attacker who sends a wrong secret every ten
	// seconds, 8,640 times a day, does not use up the shared limit.
	unknownFailuresFactor = 50
	unknownSlowFactor     = 200
)

// The kinds of counts. They are part of bucket names, so they must stay the same.
const (
	kindFlood    = "flood"
	kindFailures = "sign-in failures"
	kindForged   = "GitHub failures"
	kindGitHub   = "GitHub sign-ins"
	kindSlow     = "slow attempts"
)

// New returns a Throttle, which is nil if limits.Off is true. It returns an error if a rate is out
// of range. All instances of one service must use the same namespace. Services that share a limiter
// must use different namespaces.
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
		local:               limit.NewMemory(0, now),
		namespace:           namespace,
		now:                 now,
		log:                 log,
		outages:             outage.New(now),
		crowds:              outage.New(now),
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

// multiply returns the rates with each Count multiplied by the factor.
func multiply(rates []limit.Rate, factor int) []limit.Rate {
	rates = slices.Clone(rates)
	for i, rate := range rates {
		rates[i].Count = min(rate.Count, math.MaxInt32/factor) * factor
	}
	return rates
}

// CountAttempt counts an attempt of any kind, and rejects a client that floods the service. If
// client.Address is not known, CountAttempt counts the attempt for client.Peer. If client.Peer is
// not known either, CountAttempt allows the attempt without counting it. If all such clients shared
// one bucket, a single client could keep out all others.
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
// client's address, or too many attempts on this key from this address. CheckSlowAttempt counts
// nothing and does not call the limiter. Call CheckSlowAttempt before the key is read from the
// store. A rejected attempt then needs no read, and no place in the queue of slow hashes.
func (t *Throttle) CheckSlowAttempt(client Client, accessKey string) error {
	if t == nil {
		return nil
	}
	if err := t.checkBar(t.failures(kindFailures, client)); err != nil {
		return err
	}
	return t.checkBar(t.slowAttempts(client, accessKey))
}

// CountSlowAttempt counts an attempt on an imported key. It rejects the attempt if there were too
// many attempts on this key from the client's address. Call CountSlowAttempt before the slow hash
// is computed.
func (t *Throttle) CountSlowAttempt(ctx context.Context, client Client, accessKey string) error {
	if t == nil {
		return nil
	}
	return t.takeOrBar(ctx, t.slowAttempts(client, accessKey))
}

// ForgetSlowAttempts is called after a sign-in with an imported key. It resets the count of
// attempts on this key from the client's address. If these attempts are barred, it ends the bar.
func (t *Throttle) ForgetSlowAttempts(ctx context.Context, client Client, accessKey string) {
	if t == nil {
		return
	}
	attempts := t.slowAttempts(client, accessKey)
	err := t.reset(ctx, attempts)
	t.logLimiter(ctx, "reset", "auth: the limiter fails, so earlier attempts still count", err)
	t.liftBar(attempts) // after the reset, so that no rejected attempt bars the bucket again
}

// CountFailure counts a failed sign-in with an access key. It rejects the client if too many
// sign-ins from the client's address have failed.
func (t *Throttle) CountFailure(ctx context.Context, client Client) error {
	if t == nil {
		return nil
	}
	return t.takeOrBar(ctx, t.failures(kindFailures, client))
}

// CountForgedCallback counts a GitHub callback with a state that was not given to the client's
// browser. It rejects the client if there were too many such callbacks from the client's address.
// These callbacks are not counted as failed sign-ins, because a page of another site can make a
// browser send them.
func (t *Throttle) CountForgedCallback(ctx context.Context, client Client) error {
	if t == nil {
		return nil
	}
	return t.take(ctx, t.failures(kindForged, client))
}

// failures returns the bucket that counts failures of one kind for the client.
func (t *Throttle) failures(kind string, client Client) bucket {
	rates := t.limits.Failures
	if !client.Address.IsValid() {
		rates = t.unknownFailures
	}
	return t.newBucket(kind, client.Address, rates)
}

// slowAttempts returns the bucket that counts the client's attempts on an imported key.
func (t *Throttle) slowAttempts(client Client, accessKey string) bucket {
	rates := t.limits.SlowAttempts
	if !client.Address.IsValid() {
		rates = t.unknownSlowAttempts
	}
	return t.newBucket(kindSlow, client.Address, rates, accessKey)
}
