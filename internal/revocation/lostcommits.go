package revocation

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/sallyport-go/auth/internal/clock"
)

// ErrCommitsLost means that the store has lost the commits that the session depends on, for
// instance because the store was restored from a backup.
var ErrCommitsLost = errors.New("the store has lost the session's commits")

const (
	// maxGenerationAhead is the greatest difference by which a generation can exceed the time in
	// microseconds. No store assigns greater generations: see repairLost. A token with a forged
	// generation must not make the store assign them.
	maxGenerationAhead = int64(24 * time.Hour / time.Microsecond)

	// maxRepairs is how often one read tries to repair the feed. An attempt changes nothing if an
	// instance has added any entry since the feed was read.
	maxRepairs = 5
)

// lostCommits is a proof that the store has lost commits. It is kept until the feed has been
// repaired.
type lostCommits struct {
	head int64 // of the feed, as it was read
	at   time.Time
}

// requireGeneration reads the feed, and returns ErrCommitsLost if the store has lost commits that a
// session of this generation has seen. If the head of the feed, read after the token came in, is
// below the generation, it proves the loss. One read serves all requests, and the proof is reused
// until it is as old as the interval.
//
// If the store does not answer, an earlier proof still counts. Without an earlier proof, the
// session is accepted as long as the latest complete read is not too old.
func (f *Feed) requireGeneration(ctx context.Context, generation int64, now time.Time) error {
	if generation > now.UnixMicro()+maxGenerationAhead {
		return ErrCommitsLost
	}
	var unanswered error // the result if the store does not answer
	if lost := f.lostProof.Load(); lost != nil && generation > lost.head {
		if clock.Age(now, lost.at) < f.interval {
			return ErrCommitsLost
		}
		unanswered = ErrCommitsLost
	}
	if failure := f.failure.Load(); failure != nil {
		if clock.Age(now, failure.at) < retryAfter {
			return unanswered
		}
	}
	read, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	wait, stop := context.WithTimeout(ctx, patience)
	defer stop()
	if f.acquire(wait) != nil {
		return cmp.Or(ctx.Err(), unanswered) // a caller that goes away is not accepted
	}
	defer f.release()
	if generation <= f.head.Load() {
		return nil // another request has read the feed meanwhile
	}
	head, err := f.readThrough(read, generation)
	switch {
	case err != nil:
		return unanswered
	case generation <= head:
		return nil
	}
	f.lost = max(f.lost, generation)
	f.lostProof.Store(&lostCommits{head, f.now()})
	_ = f.read(read) // repairs the feed; if the repair fails, the proof stays
	return ErrCommitsLost
}

// readThrough returns the head of the feed. If the generation is not above the head, readThrough
// has read the feed up to the generation, because one of the entries may revoke the session. The
// caller holds the semaphore.
//
// Most often, the feed has entries that this instance has not read. Reading these entries costs as
// much as reading the head, so readThrough first reads the entries. If the head is then above the
// last entry that was read, readThrough reads the new entries once more.
func (f *Feed) readThrough(ctx context.Context, generation int64) (head int64, err error) {
	for range 2 {
		if err := f.read(ctx); err != nil {
			return 0, err
		}
		if head = f.newest.Load(); generation <= head {
			break
		}
		if head, err = f.source.Head(ctx); err != nil {
			f.failure.Store(&readFailure{err, f.now()})
			return 0, err
		}
		f.head.Store(head)
		if generation > head {
			break
		}
	}
	return head, nil
}

// repairLost revokes the sessions of all users after the store has lost commits, unless another
// instance has done so. Revocations may also have been lost, and no generation must be assigned
// twice. The caller holds the semaphore.
//
// The feed has just been read to its end. If another instance has repaired the feed since then, the
// head is no longer below the Position that repairLost passes, and the store adds no second entry.
func (f *Feed) repairLost(ctx context.Context) error {
	return f.source.Repair(ctx, max(f.cursor.Position+1, f.lost))
}
