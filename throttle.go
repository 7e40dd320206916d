package auth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"github.com/sallyport-go/auth/internal/callback"
	"github.com/sallyport-go/auth/internal/canonical"
	"github.com/sallyport-go/auth/internal/clientaddr"
	"log/slog"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/sallyport-go/auth/limit"
)

// Throttling bounds what clients can try. A correct generated secret is never rejected because of
// what other clients have sent, except for a Flood from the same address: the secret is verified
// first, and only failures are counted. Once there are too many, further failures are answered with
// a *[ThrottledError]. Clients are counted by address ([WithClientInfo]), an IPv6 address by its
// first 64 bits. All clients whose addresses are not known share one budget, which is 50 times that
// of one client; a flood of theirs is counted by the address of the connection.
//
// The zero value is a good choice.
type Throttling struct {
	// Limiter counts. nil means in memory, for this instance alone. Services that share a Limiter
	// must have different issuers, or they count together.
	Limiter limit.Limiter

	// Failures are how many sign-ins from one address may fail. nil means 20 in a minute, 100
	// in an hour and 500 in a day. Sign-ins with GitHub have a count of their own. While there
	// are too many, imported keys from the address are rejected without a slow hash, and its
	// GitHub sign-ins without a call to GitHub, also correct ones: an attacker must have the
	// same address to keep a user out.
	Failures []limit.Rate

	// SlowAttempts are how many times one imported key may be tried from one address until it
	// has signed in. nil means 5 in a minute, 20 in an hour and 50 in a day. Further attempts
	// are rejected likewise. An attempt counts when a slow hash is computed for it, so one that
	// the store or the queue of slow hashes fails does not. All attempts on the key from
	// addresses that are not known count together, and 200 times as many may be made.
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

	// What all clients of unknown addresses may do together.
	unknownFailures, unknownSlowAttempts []limit.Rate

	mu     sync.Mutex
	barred *simplelru.LRU[string, time.Time]     // buckets that are used up, and until when
	spare  *simplelru.LRU[string, spareAttempts] // attempts that a bucket has counted in vain
	github map[string]*githubAttempts            // GitHub sign-ins that have not ended, by bucket

	namespace string // of the service's buckets, in a limiter that services share
}

// spareAttempts are attempts that a bucket has counted in vain a moment ago.
type spareAttempts struct {
	count int
	until time.Time
}

// githubAttempts are the GitHub sign-ins of one bucket that have not ended.
type githubAttempts struct{ counted, extra int }

const (
	// maxBarred bounds the buckets that are known to be used up, and those that have spare
	// attempts. A client that is forgotten by the one gets one more answer from the limiter, or
	// one more slow hash; one that is forgotten by the other has one attempt less.
	maxBarred = 1 << 12

	// longestBar is how long a bucket counts as used up without asking the limiter again, whose
	// answer may have been wrong.
	longestBar = time.Minute

	// spareLifetime is how long an attempt that was counted in vain can be made up for.
	spareLifetime = time.Minute

	// The clients of unknown addresses together may do so many times as much as one client.
	// With the default rates, a wrong secret every ten seconds is 8,640 a day: it must not use
	// up the attempts on a key (50 in a day for one client).
	unknownFailuresFactor = 50
	unknownSlowFactor     = 200
)

// newThrottle returns the throttle of a service. Services that share a limiter have different
// namespaces, and instances of one service have the same.
func newThrottle(cfg Throttling, namespace string, now func() time.Time, log *slog.Logger) (*throttle, error) {
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
	barred, err1 := simplelru.NewLRU[string, time.Time](maxBarred, nil)
	spare, err2 := simplelru.NewLRU[string, spareAttempts](maxBarred, nil)
	return &throttle{
		Throttling:          cfg,
		now:                 now,
		log:                 log,
		unknownFailures:     multiplied(cfg.Failures, unknownFailuresFactor),
		unknownSlowAttempts: multiplied(cfg.SlowAttempts, unknownSlowFactor),
		barred:              barred,
		spare:               spare,
		github:              map[string]*githubAttempts{},
		namespace:           namespace,
	}, cmp.Or(err1, err2)
}

// multiplied returns rates that allow so many times as much.
func multiplied(rates []limit.Rate, factor int) []limit.Rate {
	rates = slices.Clone(rates)
	for i, rate := range rates {
		rates[i].Count = min(rate.Count, math.MaxInt32/factor) * factor
	}
	return rates
}

// What is counted. The names go into the buckets'.
const (
	countFlood    = "flood"
	countFailures = "sign-in failures"
	countForged   = "GitHub failures"
	countGitHub   = "GitHub sign-ins"
	countSlow     = "slow attempts"
)

// enter counts an attempt of the client, and returns a *ThrottledError if there were too
// many. If its address is not known, the address of its connection counts.
func (t *throttle) enter(ctx context.Context, client ClientInfo) error {
	if t == nil {
		return nil
	}
	address := client.Address
	if !address.IsValid() {
		address = client.peer
	}
	if !address.IsValid() { // one bucket for all clients would let one of them keep out the others
		return nil
	}
	return t.take(ctx, t.Flood, t.bucketName(address, t.Flood, countFlood), countFlood)
}

// enterSlow returns a *ThrottledError if too much has failed from the client's address or for the
// imported key from there. It counts nothing: countSlowAttempt does, once there is something to
// compare. Until then it spares the store and the queue of slow hashes.
func (t *throttle) enterSlow(client ClientInfo, accessKey string) error {
	if t == nil {
		return nil
	}
	for bucket, kind := range map[string]string{
		t.bucketName(client.Address, t.failures(client), countFailures):            countFailures,
		t.bucketName(client.Address, t.slowAttempts(client), countSlow, accessKey): countSlow,
	} {
		if wait := t.barredFor(bucket); wait > 0 {
			return fmt.Errorf("auth: too many %s: %w", kind, &ThrottledError{RetryAfter: wait})
		}
	}
	return nil
}

// countSlowAttempt counts an attempt on an imported key, for which a slow hash is about to be
// computed, and returns a *ThrottledError if there were too many.
func (t *throttle) countSlowAttempt(ctx context.Context, client ClientInfo, accessKey string) error {
	if t == nil {
		return nil
	}
	rates := t.slowAttempts(client)
	return t.takeOrBar(ctx, rates, t.bucketName(client.Address, rates, countSlow, accessKey), countSlow)
}

// leaveSlow forgets the attempts on an imported key that has signed in.
func (t *throttle) leaveSlow(ctx context.Context, client ClientInfo, accessKey string) {
	if t == nil {
		return
	}
	if err := t.resetBucket(ctx, t.bucketName(client.Address, t.slowAttempts(client), countSlow, accessKey)); err != nil {
		t.log.WarnContext(ctx, "auth: the limiter fails, and does not forget", "error", err)
	}
}

// failedSignIn counts a failed sign-in with an access key and returns the failure, or a
// *ThrottledError in its place if there were too many.
func (t *throttle) failedSignIn(ctx context.Context, client ClientInfo, failure error) error {
	if t == nil {
		return failure
	}
	rates := t.failures(client)
	return cmp.Or(t.takeOrBar(ctx, rates, t.bucketName(client.Address, rates, countFailures), countFailures), failure)
}

// forgedCallback is failedSignIn for a GitHub callback whose state is not its browser's. It has a
// count of its own, because a page can make a browser send such requests.
func (t *throttle) forgedCallback(ctx context.Context, client ClientInfo, failure error) error {
	if t == nil {
		return failure
	}
	rates := t.failures(client)
	return cmp.Or(t.take(ctx, rates, t.bucketName(client.Address, rates, countForged), countForged), failure)
}

// githubAttempt is one GitHub sign-in within the limits. Its end must be told with leaveGitHub.
type githubAttempt struct {
	bucket string
	extra  bool // it goes beyond the limit
	wait   time.Duration
}

// enterGitHub counts a GitHub sign-in that may fail, before GitHub is asked, and returns a
// *ThrottledError if too many have failed.
//
// People behind one address may come at the same time. While sign-ins that were counted have not
// ended, twice as many others go beyond the limit, because most sign-ins do not fail. The first of
// them that fails ends that.
func (t *throttle) enterGitHub(ctx context.Context, client ClientInfo) (githubAttempt, error) {
	if t == nil {
		return githubAttempt{}, nil
	}
	attempt := githubAttempt{bucket: t.bucketName(client.Address, t.failures(client), countGitHub)}
	if wait := t.barredFor(attempt.bucket); wait > 0 {
		return githubAttempt{}, fmt.Errorf("auth: too many %s: %w", countGitHub, &ThrottledError{RetryAfter: wait})
	}
	var err error
	if !t.useSpare(attempt.bucket) {
		err = t.take(ctx, t.failures(client), attempt.bucket, countGitHub)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	underWay := t.github[attempt.bucket]
	throttled, ok := errors.AsType[*ThrottledError](err)
	switch {
	case !ok && underWay == nil:
		t.github[attempt.bucket] = &githubAttempts{counted: 1}
	case !ok:
		underWay.counted++
	case underWay == nil || underWay.extra >= 2*underWay.counted:
		return githubAttempt{}, err
	default:
		attempt.extra, attempt.wait = true, throttled.RetryAfter
		underWay.extra++
	}
	return attempt, nil
}

// leaveGitHub ends a GitHub sign-in. A limiter cannot take back what it has counted, so if the
// sign-in has not failed, or not because of the client, a later one is not counted instead.
func (t *throttle) leaveGitHub(client ClientInfo, attempt githubAttempt, failed bool) {
	if t == nil {
		return
	}
	most := math.MaxInt
	for _, rate := range t.failures(client) {
		most = min(most, rate.Count)
	}
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	underWay := t.github[attempt.bucket]
	if attempt.extra {
		underWay.extra--
	} else {
		underWay.counted--
	}
	if *underWay == (githubAttempts{}) {
		delete(t.github, attempt.bucket)
	}
	switch {
	case failed && attempt.extra:
		t.barred.Add(attempt.bucket, now.Add(min(attempt.wait, longestBar)))
	case !failed && !attempt.extra:
		spare, _ := t.spare.Get(attempt.bucket)
		if !now.Before(spare.until) {
			spare.count = 0
		}
		t.spare.Add(attempt.bucket, spareAttempts{min(spare.count+1, most), now.Add(spareLifetime)})
	}
}

// useSpare takes a spare attempt of the bucket, if there is one.
func (t *throttle) useSpare(bucket string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	spare, _ := t.spare.Get(bucket)
	switch {
	case !t.now().Before(spare.until):
		t.spare.Remove(bucket)
		return false
	case spare.count <= 1:
		t.spare.Remove(bucket)
	default:
		t.spare.Add(bucket, spareAttempts{spare.count - 1, spare.until})
	}
	return true
}

// failures returns how often sign-ins of the client may fail.
func (t *throttle) failures(client ClientInfo) []limit.Rate {
	if !client.Address.IsValid() {
		return t.unknownFailures
	}
	return t.Failures
}

// slowAttempts returns how often a client may try an imported key.
func (t *throttle) slowAttempts(client ClientInfo) []limit.Rate {
	if !client.Address.IsValid() {
		return t.unknownSlowAttempts
	}
	return t.SlowAttempts
}

// takeOrBar is take, and remembers a bucket that is used up. The limiter could not be asked about
// it without counting.
func (t *throttle) takeOrBar(ctx context.Context, rates []limit.Rate, bucket, kind string) error {
	err := t.take(ctx, rates, bucket, kind)
	if throttled, ok := errors.AsType[*ThrottledError](err); ok {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.barred.Add(bucket, t.now().Add(min(throttled.RetryAfter, longestBar)))
	}
	return err
}

// barredFor returns for how long the bucket is known to be used up.
func (t *throttle) barredFor(bucket string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	until, _ := t.barred.Get(bucket)
	return until.Sub(t.now())
}

// take counts one more in the bucket, and returns a *ThrottledError if there were too many.
func (t *throttle) take(ctx context.Context, rates []limit.Rate, bucket, kind string) error {
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
	defer callback.Recover("Limiter.Take", func(failure error) { wait, err = 0, failure })
	return t.Limiter.Take(ctx, bucket, rates)
}

// resetBucket is Limiter.Reset, with an error in place of a panic.
func (t *throttle) resetBucket(ctx context.Context, bucket string) (err error) {
	defer callback.Recover("Limiter.Reset", func(failure error) { err = failure })
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
// chooses what it is. All addresses that are not known have one.
//
// The service and the rates are part of the name, because a limiter goes by the rates that a bucket
// was last asked about.
func (t *throttle) bucketName(address netip.Addr, rates []limit.Rate, kind ...string) string {
	parts := append([]string{"sallyport limit", t.namespace, fmt.Sprint(rates), clientaddr.Network(address).String()}, kind...)
	digest := sha256.Sum256(canonical.Frame(parts...))
	return hex.EncodeToString(digest[:16])
}
