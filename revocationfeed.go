package auth

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// feedPatience is how long a request waits for the feed, and how long one read
	// of it on behalf of a request may take.
	feedPatience = time.Second

	// feedRetry is for how long the feed is left alone after a read that failed,
	// while what is known is still good.
	feedRetry = time.Second

	feedPage = 2000 // entries in one answer of the store

	// wallClockGap is how long, by the monotonic clock, the wall clock is not read.
	wallClockGap = 10 * time.Millisecond

	// keepFreshTime is how long a read may take that nobody waits for.
	keepFreshTime = 10 * time.Second
)

// revocationFeed keeps what an instance knows of revoked sessions up to the store's
// feed: read by whoever needs it, one at a time, for all who need it.
type revocationFeed struct {
	store        SessionStore
	known        *revocations
	interval     time.Duration // after which what is known is to be read on
	maxStaleness time.Duration // after which it is nothing to go by
	now          func() time.Time

	// readAt is when the newest read began that went to the end of the feed: since
	// then, something may have been added. Nil where nothing is to be gone by.
	readAt  atomic.Pointer[time.Time]
	failure atomic.Pointer[feedFailure] // of the newest read; nil if it succeeded

	// wallRead is how long after readAt, by the monotonic clock, clock last read the wall clock.
	wallRead atomic.Int64

	turn chan struct{} // whoever has put something in reads, and has what is below

	cursor Revocation   // the last entry that was read
	newest atomic.Int64 // its position

	mu       sync.Mutex
	begun    uint64 // how many reads have begun
	ended    uint64 // the newest of them that went to the end
	required uint64 // the first read that sees all that this instance has written
}

type feedFailure struct {
	err error
	at  time.Time
}

func newRevocationFeed(store SessionStore, interval, maxStaleness time.Duration, now func() time.Time) *revocationFeed {
	return &revocationFeed{
		store:        store,
		known:        newRevocations(),
		interval:     interval,
		maxStaleness: maxStaleness,
		now:          now,
		turn:         make(chan struct{}, 1),
	}
}

// requireLive returns an error unless the identity's session is live as far as the feed is known,
// and it is known well enough. Checked is where the caller remembers, for the same session, the
// version of what is known at which the session was live.
func (f *revocationFeed) requireLive(
	ctx context.Context, who *Identity, generation int64, checked *atomic.Uint64, now time.Time,
) error {
	if f.age(now) >= f.interval {
		if err := f.refresh(ctx, now); err != nil {
			return fmt.Errorf("auth: verifying a token: %w", err)
		}
	}
	version := f.known.version.Load() // before the look-up: a later entry makes another version
	if checked.Load() == version {
		return nil
	}
	if f.known.isRevoked(who.UserID, who.SessionID, generation) {
		return errRevoked
	}
	checked.Store(version)
	return nil
}

// clock is time.Now, but while what is known is fresh it reads only the monotonic clock, which takes
// half as long. That clock stands still while the machine is suspended, so the wall clock is read
// as well if that was not done in the 10 milliseconds before. A wall clock that is set back or
// forward is noticed then, too.
func (f *revocationFeed) clock() time.Time {
	if readAt := f.readAt.Load(); readAt != nil {
		passed := time.Since(*readAt)
		if since := passed - time.Duration(f.wallRead.Load()); passed < f.interval && since >= 0 && since < wallClockGap {
			return readAt.Add(passed)
		}
		f.wallRead.Store(int64(passed))
	}
	return time.Now()
}

// age returns how old what is known may be. Where a clock was set back, that is
// not known.
func (f *revocationFeed) age(now time.Time) time.Duration {
	readAt := f.readAt.Load()
	if readAt == nil {
		return math.MaxInt64
	}
	return age(now, *readAt)
}

// refresh returns nil when what is known is fresh, or else, when the store has not
// answered in time, if it is still good.
func (f *revocationFeed) refresh(ctx context.Context, now time.Time) error {
	stillGood := f.age(now) < f.maxStaleness
	err := f.await(ctx, now, stillGood)
	if err == nil || f.age(f.now()) < f.maxStaleness {
		return nil
	}
	return fmt.Errorf("the feed of revocations cannot be read: %w", err)
}

// await returns nil when what is known is fresh, which it reads or waits for. Who
// can do without does not wait for a store that has just failed.
//
// Reading is for all, so that it goes on for its time when the caller goes away:
// canceled requests would keep everybody from what has ended.
func (f *revocationFeed) await(ctx context.Context, now time.Time, canDoWithout bool) error {
	patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), feedPatience)
	defer cancel()
	waiting, stop := context.WithTimeout(ctx, feedPatience)
	defer stop()
	if failure := f.failure.Load(); failure != nil && canDoWithout {
		if age(now, failure.at) < feedRetry {
			return failure.err
		}
		select {
		case f.turn <- struct{}{}:
		default:
			return failure.err
		}
	} else if err := f.takeTurn(waiting); err != nil {
		return err
	}
	defer func() { <-f.turn }()
	if f.age(f.now()) < f.interval {
		return nil // somebody else has read it meanwhile
	}
	return f.read(patient)
}

// takeTurn returns when it is the caller's turn, or ctx is done.
func (f *revocationFeed) takeTurn(ctx context.Context) error {
	select {
	case f.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// learn makes sure that what this instance has just written is known to it, or
// that nothing is gone by until it is.
func (f *revocationFeed) learn(ctx context.Context) {
	f.mu.Lock()
	needed := f.begun + 1
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), feedPatience)
	defer cancel()
	if f.takeTurn(ctx) == nil {
		defer func() { <-f.turn }()
		if f.knows(needed) || f.read(ctx) == nil {
			return
		}
	}
	f.distrust(needed)
}

// catchUp reads the feed if the session, which has just been created, shows entries that this
// instance has not read yet: the session may have replaced another. If the feed is not trusted
// now, it will be read before the next token is accepted anyway.
func (f *revocationFeed) catchUp(ctx context.Context, created Session) {
	if f != nil && created.Generation > f.newest.Load() && f.readAt.Load() != nil {
		f.learn(ctx)
	}
}

// knows reports whether that read, or a later one, has gone to the end.
func (f *revocationFeed) knows(read uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ended >= read
}

// distrust lets nothing be gone by until that read, or a later one, has gone to the
// end.
func (f *revocationFeed) distrust(read uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended < read {
		f.required = max(f.required, read)
		f.readAt.Store(nil)
	}
}

// keepFresh is for whoever reads ahead of need, with more time than a request has.
func (f *revocationFeed) keepFresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keepFreshTime)
	defer cancel()
	if err := f.takeTurn(ctx); err != nil {
		return err
	}
	defer func() { <-f.turn }()
	return f.read(ctx)
}

// read reads to the end of the feed. What it could not read before ctx is done is
// read the next time, from there on. The caller has the turn.
func (f *revocationFeed) read(ctx context.Context) (err error) {
	f.mu.Lock()
	f.begun++
	number := f.begun
	f.mu.Unlock()
	err = errors.New("the store panicked")
	defer func() {
		if err != nil {
			f.failure.Store(&feedFailure{err, f.now()})
		}
	}()
	for done := false; !done; {
		began := f.now()
		if done, err = f.readPage(ctx); err != nil {
			return err
		}
		if done {
			f.succeed(number, began)
		}
	}
	return nil
}

// readPage reads as much as the store gives at a time, and reports whether that
// was all.
func (f *revocationFeed) readPage(ctx context.Context) (done bool, err error) {
	page, err := f.store.ListRevocations(ctx, f.cursor.Position, feedPage)
	if err != nil {
		return false, err
	}
	full := len(page) == feedPage
	if f.cursor.Position > 0 {
		if len(page) == 0 || page[0].Position != f.cursor.Position || page[0].ID != f.cursor.ID {
			// The store has not what was read from it: it was restored from a backup,
			// or has pruned all that since. So everything has to be read.
			f.restart()
			return false, nil
		}
		page = page[1:]
	}
	f.known.add(page, f.now())
	if len(page) > 0 {
		f.cursor = page[len(page)-1]
		f.newest.Store(f.cursor.Position)
	}
	return !full, nil
}

// restart begins at the beginning of the feed. Sessions that are known by name to
// have ended stay so: nobody gets the name of another.
func (f *revocationFeed) restart() {
	f.mu.Lock()
	f.readAt.Store(nil)
	f.mu.Unlock()
	f.cursor = Revocation{}
	f.newest.Store(0)
	f.known.forgetGenerations()
}

// succeed notes that a read has gone to the end, whose last look began then.
func (f *revocationFeed) succeed(number uint64, began time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failure.Store(nil)
	f.ended = number
	if number >= f.required {
		f.readAt.Store(&began)
		f.wallRead.Store(0)
	}
}
