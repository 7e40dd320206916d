package revocation

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-go/auth/internal/clock"
)

// ErrRevoked means that the session is revoked.
var ErrRevoked = errors.New("the session is revoked")

const (
	// patience is the longest time that a request waits for the feed, and the longest time that a
	// read for a request may take.
	patience = time.Second

	// retryAfter is the time after a failed read in which no request reads the feed again, unless
	// the last complete read is too old to accept sessions.
	retryAfter = time.Second

	// wallClockGap is the longest time, by the monotonic clock, between two reads of the wall
	// clock.
	wallClockGap = 10 * time.Millisecond
)

// Source is the store's feed. No two of the functions are called at the same time.
type Source struct {
	// Read returns at most limit entries whose Positions are not below from, in order. If it
	// returns fewer entries than limit, the last of these is the newest entry of the feed.
	Read func(ctx context.Context, from int64, limit int) ([]Entry, error)

	// Head returns the Position of the newest entry that was ever added, or 0.
	Head func(ctx context.Context) (int64, error)

	// Repair adds an entry that revokes the sessions of all users, if the head of the feed is still
	// below the given Position. The entry's Position and Generation are above the given Position,
	// and above every Position that the store assigned before a backup was restored, because
	// another instance may have issued tokens with those Positions.
	Repair func(ctx context.Context, above int64) error
}

// Feed keeps an instance's set of revoked sessions up to date with the store's feed. A request that
// needs newer entries reads them for all requests. One request at a time reads. A Feed is safe for
// concurrent use.
type Feed struct {
	source       Source
	revoked      *Revoked
	interval     time.Duration
	maxStaleness time.Duration
	now          func() time.Time

	// readAt is when the latest complete read asked the store for its last page. Entries that were
	// added since then have not been read. It is nil while the feed must not be trusted.
	readAt  atomic.Pointer[time.Time]
	failure atomic.Pointer[readFailure] // of the latest read; nil if that read succeeded

	// wallRead is when Now last read the wall clock, as the time since readAt by the monotonic
	// clock.
	wallRead atomic.Int64

	// reading is a one-slot semaphore. Its holder may call the source, and owns cursor and lost.
	reading chan struct{}

	cursor Entry        // the last entry that was read
	newest atomic.Int64 // the cursor's Position
	lost   int64        // the greatest Position or Generation that the store has provably lost

	head      atomic.Int64 // the greatest head of the store's feed that has been seen
	lostProof atomic.Pointer[lostCommits]

	mu           sync.Mutex
	begunReads   uint64 // how many reads have begun, which is the number of the latest
	completeRead uint64 // the number of the latest read that went to the end of the feed
	requiredRead uint64 // the first read that sees everything that this instance has written
}

type readFailure struct {
	err error
	at  time.Time
}

// NewFeed returns a feed that has read nothing. Requests read the store's feed again when the age
// of the latest complete read reaches interval. They do not trust the Feed when that age reaches
// maxStaleness.
func NewFeed(source Source, interval, maxStaleness time.Duration, now func() time.Time) *Feed {
	return &Feed{
		source:       source,
		revoked:      NewRevoked(),
		interval:     interval,
		maxStaleness: maxStaleness,
		now:          now,
		reading:      make(chan struct{}, 1),
	}
}

// RequireLive returns an error if the session is known to be revoked, or if the latest complete
// read of the feed is too old. It reads the feed if necessary. The caller keeps checked for this
// one session: checked is the version of [Revoked] at which the session was last found live, or 0.
//
// It returns [ErrRevoked] or [ErrCommitsLost] if the session must be rejected. Any other error
// means that the store did not answer in time, or that ctx is done. Such an error says nothing
// about the session.
func (f *Feed) RequireLive(
	ctx context.Context, userID, sessionID string, generation int64, checked *atomic.Uint64, now time.Time,
) error {
	for {
		if f.Age(now) >= f.interval {
			if err := f.requireUsable(ctx, now); err != nil {
				return fmt.Errorf("auth: verifying a token: %w", err)
			}
		}
		version := f.revoked.version.Load() // read before the look-up, because a later entry changes it
		if checked.Load() == version {
			return nil
		}
		if generation > f.head.Load() {
			if err := f.requireGeneration(ctx, generation, now); err != nil {
				return err
			}
			version = f.revoked.version.Load() // another request may have revoked everybody meanwhile
		}
		if f.revoked.Contains(userID, sessionID, generation) {
			return ErrRevoked
		}
		if f.readAt.Load() == nil || f.revoked.version.Load() != version {
			continue // the feed is read again from its beginning, so Contains may have missed an entry
		}
		if generation <= f.head.Load() { // if not, the next request asks the store again
			checked.Store(version)
		}
		return nil
	}
}

// IsRevoked reports whether an entry that was read revokes the session, however old the latest read
// is.
func (f *Feed) IsRevoked(userID, sessionID string, generation int64) bool {
	return f.revoked.Contains(userID, sessionID, generation)
}

// Now returns the time, as time.Now does. While the latest complete read is younger than the
// interval, Now reads only the monotonic clock, which takes half as long. The monotonic clock stops
// while the machine is suspended. Therefore Now also reads the wall clock if it has not read it in
// the last 10 milliseconds. Now then also notices if the wall clock was set back or forward.
func (f *Feed) Now() time.Time {
	if readAt := f.readAt.Load(); readAt != nil {
		passed := time.Since(*readAt)
		if since := passed - time.Duration(f.wallRead.Load()); passed < f.interval && since >= 0 &&
			since < wallClockGap {
			return readAt.Add(passed)
		}
		f.wallRead.Store(int64(passed))
	}
	return time.Now()
}

// Age returns the age of the latest complete read at the given time. Before the first complete
// read, and while the feed must not be trusted, it returns the greatest Duration.
func (f *Feed) Age(now time.Time) time.Duration {
	readAt := f.readAt.Load()
	if readAt == nil {
		return math.MaxInt64
	}
	return clock.Age(now, *readAt)
}

// requireUsable reads the feed. If the store does not answer in time, requireUsable returns an
// error only if the latest complete read is too old.
func (f *Feed) requireUsable(ctx context.Context, now time.Time) error {
	err := f.makeFresh(ctx, now, f.Age(now) < f.maxStaleness)
	if err == nil || f.Age(f.now()) < f.maxStaleness {
		return nil
	}
	return fmt.Errorf("the feed of revocations cannot be read: %w", err)
}

// makeFresh reads the feed, or waits while another request reads it. If usable is true, the latest
// complete read is not too old, and makeFresh does not wait for a store that has just failed.
//
// The read is for all requests, so it continues when the caller goes away. If a canceled request
// stopped the read, clients could keep this instance from ever reading what was revoked.
func (f *Feed) makeFresh(ctx context.Context, now time.Time, usable bool) error {
	read, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	wait, stop := context.WithTimeout(ctx, patience)
	defer stop()
	if failure := f.failure.Load(); failure != nil && usable {
		if clock.Age(now, failure.at) < retryAfter {
			return failure.err
		}
		select {
		case f.reading <- struct{}{}:
		default:
			return failure.err
		}
	} else if err := f.acquire(wait); err != nil {
		return err
	}
	defer f.release()
	if f.Age(f.now()) < f.interval {
		return nil // another request has read it meanwhile
	}
	return f.read(read)
}

// acquire waits until no other goroutine reads the feed, or returns an error when ctx is done.
// After it has returned nil, the caller must release.
func (f *Feed) acquire(ctx context.Context) error {
	select {
	case f.reading <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *Feed) release() { <-f.reading }
