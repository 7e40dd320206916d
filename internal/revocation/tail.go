package revocation

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sallyport-go/auth/internal/clock"
)

// MaxTail is the maximum number of entries that a Feed keeps for [Feed.Tail].
const MaxTail = 2 * KeptEntries

// Tail is the end of the revocation feed, as an instance has read it.
type Tail struct {
	// Entries are the newest entries, in order. No entry that the feed has after the first of them is
	// missing. Entries is empty if the feed is empty. The caller must not change it.
	Entries []Entry

	Head int64     // the Position of the last of the Entries, or 0
	AsOf time.Time // when the feed had no entry after Head

	read uint64 // the number of the read that published the tail
}

// errUnread means that the end of the feed is not known.
var errUnread = errors.New("the revocation feed has not been read")

// Tail returns the end of the feed. If the latest complete read is at least as old as maxAge, or if the
// feed that it read ended before the Position atLeast, Tail reads the feed. At most one read runs at a
// time, and it serves all callers that were waiting when it began.
//
// If reading fails, Tail returns what was read earlier, unless that is too old to accept sessions or
// ends before atLeast. So if the Head of the result is below atLeast, the feed ended before atLeast
// after the call had begun.
func (f *Feed) Tail(ctx context.Context, maxAge time.Duration, atLeast int64) (Tail, error) {
	if !f.keepsTail.Load() { // so that concurrent callers do not write the same memory all the time
		f.keepsTail.Store(true)
	}
	required := f.nextRead()
	if tail := f.published.Load(); tail != nil && tail.Head >= atLeast && f.isRecent(tail, maxAge) {
		return *tail, nil
	}
	failure := f.renewTail(ctx, required, maxAge, atLeast)
	switch tail := f.published.Load(); {
	case tail != nil && f.isRecent(tail, f.maxStaleness) &&
		(failure == nil && tail.read >= required || tail.Head >= atLeast):
		return *tail, nil
	case failure != nil:
		return Tail{}, failure
	}
	return Tail{}, errUnread
}

// isRecent reports whether the tail is younger than maxAge.
func (f *Feed) isRecent(tail *Tail, maxAge time.Duration) bool {
	return clock.Age(f.now(), tail.AsOf) < maxAge
}

// renewTail reads the feed for Tail, unless another caller has read it meanwhile. The parameter
// required is the number of the first read that began after the call of Tail.
func (f *Feed) renewTail(ctx context.Context, required uint64, maxAge time.Duration, atLeast int64) error {
	if failure := f.recentFailure(f.now()); failure != nil {
		return failure.err
	}
	wait, stop := context.WithTimeout(ctx, patience)
	defer stop()
	if err := f.acquire(wait); err != nil {
		return err
	}
	defer f.release()
	if tail := f.published.Load(); tail != nil && f.isRecent(tail, maxAge) &&
		(tail.Head >= atLeast || f.isComplete(required)) {
		return nil
	}
	if failure := f.recentFailure(f.now()); failure != nil {
		return failure.err
	}
	read, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	return f.read(read)
}

// extendTail adds a page of new entries to the tail. It is called before the cursor moves to the end
// of the page. The caller must hold the semaphore f.reading.
func (f *Feed) extendTail(page []Entry) {
	if !f.keepsTail.Load() {
		return
	}
	if len(f.tail) == 0 && f.cursor.Position > 0 {
		f.tail = append(f.tail, f.cursor)
	}
	f.tail = append(f.tail, page...) // published tails end before the new entries
	if len(f.tail) > MaxTail {
		f.tail = slices.Clone(f.tail[len(f.tail)-KeptEntries:])
	}
}

// publishTail makes the tail available to callers of Tail. The parameter number is the number of the read,
// and the feed had no other entries at the given time. The caller must hold the semaphore f.reading.
func (f *Feed) publishTail(number uint64, asOf time.Time) {
	if f.keepsTail.Load() && (len(f.tail) > 0 || f.cursor.Position == 0) {
		f.published.Store(&Tail{
			Entries: slices.Clip(f.tail), Head: f.cursor.Position, AsOf: asOf, read: number,
		})
	}
}
