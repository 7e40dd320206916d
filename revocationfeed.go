package auth

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

	// repair adds an entry that revokes everybody, after commits of the store have been lost:
	// see [SessionStore.RevokeEverybody] for above.
	repair func(ctx context.Context, above int64) error

	// wallRead is how long after readAt, by the monotonic clock, clock last read the wall clock.
	wallRead atomic.Int64

	turn chan struct{} // whoever has put something in reads, and has what is below

	cursor Revocation   // the last entry that was read
	newest atomic.Int64 // its position
	lost   int64        // the greatest position or generation that is known to have been lost

	head     atomic.Int64 // the greatest head of the feed that has been seen
	lostRead atomic.Pointer[lostCommits]

	mu       sync.Mutex
	begun    uint64 // how many reads have begun
	ended    uint64 // the newest of them that went to the end
	required uint64 // the first read that sees all that this instance has written
}

// lostCommits is a proof that the store has lost commits which could not be repaired yet.
type lostCommits struct {
	head int64 // of the feed, as it was read
	at   time.Time
}

// errCommitsLost is why a token of a history that the store has lost is rejected.
var errCommitsLost = fmt.Errorf("%w: the store has lost the session's commits", ErrTokenRejected)

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
	for {
		if f.age(now) >= f.interval {
			if err := f.refresh(ctx, now); err != nil {
				return fmt.Errorf("auth: verifying a token: %w", err)
			}
		}
		version := f.known.version.Load() // before the look-up: a later entry makes another version
		if checked.Load() == version {
			return nil
		}
		if generation > f.head.Load() {
			if err := f.requireGeneration(ctx, generation, now); err != nil {
				return err
			}
			version = f.known.version.Load() // another request may have revoked everybody meanwhile
		}
		if f.known.isRevoked(who.UserID, who.SessionID, generation) {
			return errRevoked
		}
		if f.readAt.Load() == nil || f.known.version.Load() != version {
			continue // the feed is being read again from its beginning: the entry may have been forgotten
		}
		if generation <= f.head.Load() { // or else the store has not answered: ask again for the next request
			checked.Store(version)
		}
		return nil
	}
}

// maxGenerationAhead is how much greater than the time in microseconds a generation can be. No
// store gives greater ones: see repairLost. A forged one must not make the store give them.
const maxGenerationAhead = int64(24 * time.Hour / time.Microsecond)

// requireGeneration returns an error if the store has lost the commits that the token of a session
// of this generation has seen, for instance because it was restored from a backup. The head of the
// feed, read after the token came in, proves it: it is below the generation. One read serves all
// requests; a refusal is remembered for the interval.
//
// If the store does not answer, nothing is proven, and the token is accepted for as long as what is
// known is still good.
func (f *revocationFeed) requireGeneration(ctx context.Context, generation int64, now time.Time) error {
	if generation > now.UnixMicro()+maxGenerationAhead {
		return errCommitsLost
	}
	if lost := f.lostRead.Load(); lost != nil && generation > lost.head {
		if clock.Age(now, lost.at) < f.interval {
			return errCommitsLost
		}
	}
	if failure := f.failure.Load(); failure != nil {
		if clock.Age(now, failure.at) < feedRetry {
			return nil
		}
	}
	patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), feedPatience)
	defer cancel()
	waiting, stop := context.WithTimeout(ctx, feedPatience)
	defer stop()
	if f.takeTurn(waiting) != nil {
		return ctx.Err() // nil if others take their time, but a caller that goes away proves nothing
	}
	defer func() { <-f.turn }()
	if generation <= f.head.Load() {
		return nil // another request has read it meanwhile
	}
	head, err := f.readHead(patient)
	switch {
	case err != nil:
		f.failure.Store(&feedFailure{err, f.now()})
		return nil
	case generation <= head:
		return nil
	}
	f.lost = max(f.lost, generation)
	f.lostRead.Store(&lostCommits{head, f.now()})
	if err := f.read(patient); err == nil {
		f.lostRead.Store(nil) // it is repaired
	}
	return errCommitsLost
}

// readHead reads the head of the feed. The caller has the turn.
func (f *revocationFeed) readHead(ctx context.Context) (head int64, err error) {
	head, err = f.store.RevocationHead(ctx)
	if err == nil {
		f.head.Store(head)
	}
	return head, err
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
	return clock.Age(now, *readAt)
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
		if clock.Age(now, failure.at) < feedRetry {
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
	for repairs := 0; ; {
		began := f.now()
		done, readErr := f.readPage(ctx)
		switch {
		case readErr != nil:
			err = readErr
			return err
		case !done:
			continue
		case f.lost == 0 || f.lost < f.known.everybody.Load(): // the entry covers what is below it
			f.succeed(number, began)
			err = nil
			return nil
		case repairs == maxRepairs:
			err = errors.New("the entry that revokes everybody does not appear in the feed")
			return err
		}
		repairs++
		if err = f.repairLost(ctx); err != nil {
			return err
		}
	}
}

// maxRepairs is how often one read repairs the feed: once, and once more if another instance has
// done it at the same moment.
const maxRepairs = 2

// repairLost revokes everybody after commits of the store have been lost, unless another instance
// has done it: revocations may have been lost too, and generations must not be given twice. The
// caller has the turn.
//
// The entry's position is above every position that was given in any history of the store, also
// those that this instance has not seen: another instance may have issued tokens of their
// generations before it was stopped. The time in microseconds is such a position, because no store
// revokes once in a microsecond.
func (f *revocationFeed) repairLost(ctx context.Context) error {
	head, err := f.readHead(ctx)
	if err != nil {
		return err
	}
	return f.repair(ctx, max(head+1, f.lost, f.now().UnixMicro()))
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
			// The store has not what was read from it, so everything has to be read. If the
			// entry was not pruned, the store has lost commits.
			if len(page) == 0 || page[0].Position == f.cursor.Position {
				f.lost = max(f.lost, f.cursor.Position)
			}
			f.restart()
			return false, nil
		}
		page = page[1:]
	}
	list := func(from int64, limit int) ([]Revocation, error) { return f.store.ListRevocations(ctx, from, limit) }
	if err := requireContiguous(f.cursor.Position, page, full, list); err != nil {
		return false, err
	}
	f.known.add(page, f.now())
	if len(page) > 0 {
		f.cursor = page[len(page)-1]
		f.newest.Store(f.cursor.Position)
		f.head.Store(max(f.head.Load(), f.cursor.Position))
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
	f.head.Store(0)
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
