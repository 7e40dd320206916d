package revocation

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sallyport-go/auth/internal/clock"
)

// ErrCommitsLost means that the store has lost commits from before the session was created. For
// example, the store may have been restored from a backup.
var ErrCommitsLost = errors.New("the store has lost the session's commits")

// errNotRepaired means that the store has lost commits, and that the service that can repair the
// revocation feed has not done so.
var errNotRepaired = errors.New("the issuer has lost revocations, and has not revoked all sessions " +
	"since then: if its store was restored from a backup, call Service.RevokeEverybody there")

const (
	// maxGenerationAhead limits the generations that can prove lost commits. One limit is the
	// current Unix time in microseconds plus maxGenerationAhead. The other limit is the head of the
	// feed plus SkippedPositions. A generation above both limits is forged. Without the limits, it
	// could make repairLost add an entry with a generation that is far too great.
	maxGenerationAhead = int64(24 * time.Hour / time.Microsecond)

	// maxRepairs is how often one read repairs the feed. After the first repair, the read may find
	// that the store has lost commits again.
	maxRepairs = 2
)

// forgedLimit is a limit that a forged generation has exceeded.
type forgedLimit struct {
	generation int64
	at         time.Time // when the limit was exceeded
}

// requireGeneration is called for a session whose generation is above the last entry that was read.
// The generation is the Position of an entry that the store had when the session was created.
// requireGeneration reads the feed. If the generation is still above the head of the feed, the store
// has lost this entry. requireGeneration then returns ErrCommitsLost and repairs the feed. No session
// is accepted until the feed is repaired, because the lost commits may include revocations.
//
// If the store does not answer by the time until, the session is accepted as long as the latest complete
// read is not too old.
//
// If Source.Repair is nil, requireGeneration only returns ErrCommitsLost. The feed then agrees with
// everything that was read from it, so the other sessions stay accepted.
func (f *Feed) requireGeneration(
	ctx context.Context, until time.Time, generation int64, now time.Time,
) error {
	if f.isForged(generation, now) {
		return ErrCommitsLost
	}
	if f.recentFailure(now) != nil {
		return nil
	}
	wait, stop := context.WithDeadline(ctx, until)
	defer stop()
	if f.acquire(wait) != nil {
		return ctx.Err() // if the caller has gone away, the session is not accepted
	}
	defer f.release()
	switch { // another request may have read the feed meanwhile
	case f.isForged(generation, f.now()):
		return ErrCommitsLost
	case f.readAt.Load() == nil || generation <= f.newest.Load(), f.recentFailure(f.now()) != nil:
		return nil
	}
	read, cancel := context.WithDeadline(context.WithoutCancel(ctx), until)
	defer cancel()
	if read.Err() != nil {
		return ctx.Err() // the read would fail, although the store has not
	}
	head, err := f.readThrough(read, generation)
	if err != nil || generation <= head {
		return nil
	}
	limit := max(f.now().UnixMicro()+maxGenerationAhead, head+SkippedPositions)
	if f.source.Repair == nil {
		limit = head
	}
	if generation > limit {
		f.forgedAbove.Store(&forgedLimit{limit, f.now()})
		return ErrCommitsLost
	}
	f.lost = max(f.lost, generation)
	f.distrust()
	_ = f.read(read) // repairs the feed; if the repair fails, the next read repairs it
	return ErrCommitsLost
}

// isForged reports whether the generation is above a limit that a forged generation has exceeded
// within the last interval. Without this memory, each request with a forged generation would read
// the feed. If the feed itself has grown beyond the limit since then, the limit no longer counts.
func (f *Feed) isForged(generation int64, now time.Time) bool {
	forged := f.forgedAbove.Load()
	return forged != nil && generation > forged.generation && f.newest.Load() <= forged.generation &&
		clock.Age(now, forged.at) < f.interval
}

// readThrough returns the head of the feed, which is the Position of its newest entry. If the head
// has reached the generation, readThrough also reads the feed up to the generation, because one of
// the entries may revoke the session that has this generation. The caller must hold the semaphore
// f.reading.
//
// readThrough reads new entries before it reads the head. The feed usually has new entries, and
// reading them costs no more than reading the head. More entries may be added before the head is
// read. If the head has reached the generation, but the entries that were read have not,
// readThrough therefore reads new entries a second time.
func (f *Feed) readThrough(ctx context.Context, generation int64) (head int64, err error) {
	for range 2 {
		if err := f.read(ctx); err != nil {
			return 0, err
		}
		if newest := f.newest.Load(); generation <= newest {
			return newest, nil
		}
		if head, err = f.source.Head(ctx, generation); err != nil {
			f.failure.Store(&readFailure{err, f.now()})
			return 0, err
		}
		if generation > head {
			return head, nil
		}
	}
	return 0, errors.New("the feed ends before its head")
}

// recordMissing records that the store no longer has the entry at the cursor, and cannot have pruned it. The
// caller must hold the semaphore f.reading.
func (f *Feed) recordMissing() {
	f.missing = Entry{}
	if f.lost == 0 { // after a second loss, no single entry proves that nothing was lost
		f.missing = f.cursor
	}
	f.lost = max(f.lost, f.cursor.Position)
}

// recordFound is called with new entries of the feed. If the missing entry is one of them, the store has not
// lost it: the reads that did not find it had read a copy that was behind. Commits have an order, so the
// store has not lost an earlier entry either. The caller must hold the semaphore f.reading.
func (f *Feed) recordFound(page []Entry) {
	if f.missing.ID != "" && slices.ContainsFunc(page, func(e Entry) bool {
		return e.Position == f.missing.Position && e.ID == f.missing.ID
	}) {
		f.lost, f.missing = 0, Entry{}
	}
}

// repairLost revokes the sessions of all users after the store has lost commits, because
// revocations may be among them. The entry that repairLost adds also keeps the store from assigning
// a generation twice. If another instance has added such an entry, repairLost adds none. The caller
// must hold the semaphore f.reading, and must then read the feed again.
func (f *Feed) repairLost(ctx context.Context) error {
	if f.source.Repair == nil {
		return errNotRepaired
	}
	return f.source.Repair(ctx, f.lost)
}
