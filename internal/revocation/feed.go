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
	// patience is how long a request waits for the feed, and how long one read of the feed on
	// behalf of a request may take.
	patience = time.Second

	// retryAfter is how long no request reads the feed after a failed read, while what is known is
	// not too old.
	retryAfter = time.Second

	// wallClockGap is how long, by the monotonic clock, the wall clock is not read.
	wallClockGap = 10 * time.Millisecond
)

// Source is the store's feed. No two of the functions are called at the same time.
type Source struct {
	// Read returns at most limit entries whose Positions are not below from, in order. If it
	// returns fewer, the last of them is the newest.
	Read func(ctx context.Context, from int64, limit int) ([]Entry, error)

	// Head returns the Position of the newest entry that was ever added, or 0.
	Head func(ctx context.Context) (int64, error)

	// Repair adds an entry that revokes the sessions of all users, unless the head is no longer
	// below the given Position. The entry's Position and Generation are above the given Position
	// and above every Position that was given in any history of the store. Another instance may
	// have issued tokens of a history that is lost now.
	Repair func(ctx context.Context, above int64) error
}

// Feed keeps what an instance knows of revoked sessions up to date with the store's feed. A request
// that needs the feed reads it, one at a time, for all requests. A Feed is safe for concurrent use.
type Feed struct {
	source       Source
	revoked      *Revoked
	interval     time.Duration
	maxStaleness time.Duration
	now          func() time.Time

	// readAt is when the last page of the latest complete read was asked for: entries that were
	// added since then are not known. It is nil while the feed must not be trusted.
	readAt  atomic.Pointer[time.Time]
	failure atomic.Pointer[readFailure] // of the latest read; nil if it succeeded

	// wallRead is how long after readAt, by the monotonic clock, Now last read the wall clock.
	wallRead atomic.Int64

	// reading is a one-slot semaphore. Its holder may call the source, and owns cursor and lost.
	reading chan struct{}

	cursor Entry        // the last entry that was read
	newest atomic.Int64 // the cursor's Position
	lost   int64        // the greatest Position or Generation that the store is known to have lost

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

// NewFeed returns a feed that has read nothing. Requests read it again when the latest read is as
// old as interval, and do not trust it when the latest read is as old as maxStaleness.
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

// RequireLive returns an error unless the session is live as far as the feed is known, and what is
// known is not too old. It reads the feed if necessary. Checked is where the caller remembers, for
// the same session, the version of what is known at which the session was live; 0 for none.
//
// It returns [ErrRevoked] or [ErrCommitsLost] if the session must be rejected. Any other error
// means that the store did not answer in time, or that ctx is done: nothing is known of the session
// then.
func (f *Feed) RequireLive(
	ctx context.Context, userID, sessionID string, generation int64, checked *atomic.Uint64, now time.Time,
) error {
	for {
		if f.Age(now) >= f.interval {
			if err := f.requireUsable(ctx, now); err != nil {
				return fmt.Errorf("auth: verifying a token: %w", err)
			}
		}
		version := f.revoked.version.Load() // before the look-up: a later entry makes another version
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
			continue // the feed is being read again from its beginning: the entry may have been forgotten
		}
		if generation <= f.head.Load() { // or else the store has not answered: ask again for the next request
			checked.Store(version)
		}
		return nil
	}
}

// IsRevoked reports whether the session is known to be revoked, however old that knowledge is.
func (f *Feed) IsRevoked(userID, sessionID string, generation int64) bool {
	return f.revoked.Contains(userID, sessionID, generation)
}

// Now is time.Now, but while what is known is fresh it reads only the monotonic clock, which takes
// half as long. That clock stands still while the machine is suspended, so Now reads the wall clock
// as well if it has not done so in the last 10 milliseconds. A wall clock that is set back or
// forward is noticed then, too.
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

// Age returns the age, at the given time, of what the feed knows. Before the first complete read,
// and while the feed must not be trusted, it returns the greatest Duration.
func (f *Feed) Age(now time.Time) time.Duration {
	readAt := f.readAt.Load()
	if readAt == nil {
		return math.MaxInt64
	}
	return clock.Age(now, *readAt)
}

// requireUsable returns nil if what is known is fresh or, because the store has not answered in
// time, at least not too old.
func (f *Feed) requireUsable(ctx context.Context, now time.Time) error {
	err := f.makeFresh(ctx, now, f.Age(now) < f.maxStaleness)
	if err == nil || f.Age(f.now()) < f.maxStaleness {
		return nil
	}
	return fmt.Errorf("the feed of revocations cannot be read: %w", err)
}

// makeFresh reads the feed, or waits while another request reads it. If what is known is usable, it
// does not wait for a store that has just failed.
//
// The read is for all requests, so it continues when the caller goes away. Otherwise canceled
// requests could keep this instance from ever reading what was revoked.
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
