package revocation

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/sallyport-go/auth/internal/clock"
)

// ErrCommitsLost means that the session is of a history that the store has lost, for instance
// because it was restored from a backup.
var ErrCommitsLost = errors.New("the store has lost the session's commits")

const (
	// maxGenerationAhead is how much greater than the time in microseconds a generation can be. No
	// store gives greater ones: see repairLost. A forged one must not make the store give them.
	maxGenerationAhead = int64(24 * time.Hour / time.Microsecond)

	// maxRepairs is how often one read tries to repair the feed. An attempt changes nothing if an
	// instance has added any entry since the feed was read.
	maxRepairs = 5
)

// lostCommits is a proof that the store has lost commits, until they are repaired.
type lostCommits struct {
	head int64 // of the feed, as it was read
	at   time.Time
}

// requireGeneration reads the feed, and returns ErrCommitsLost if the store has lost commits that a
// session of this generation has seen. The head of the feed, read after the token came in, proves it
// by being below the generation. One read serves all requests, and a refusal is remembered for the
// interval.
//
// If the store does not answer, an earlier proof still counts. Without one, nothing is proven, and
// the session is accepted as long as what is known is not too old.
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
		return nil // another request has read it meanwhile
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
	_ = f.read(read) // repairs it; if it fails, the proof stays
	return ErrCommitsLost
}

// readThrough returns the head of the feed. If the generation is not above the head, the feed has been
// read up to the generation: one of the entries may revoke its session. The caller holds the semaphore.
//
// Most often, entries have been added that this instance has not read. Reading them costs as much as
// reading the head, so they are read first. If the head has moved since, they are read once more.
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
// instance has done so. Revocations may have been lost as well, and no generation must be given
// twice. The caller holds the semaphore.
//
// The feed has just been read to its end. If another instance has repaired it since then, the head is
// no longer below the Position that is passed, and the store adds no second entry.
func (f *Feed) repairLost(ctx context.Context) error {
	return f.source.Repair(ctx, max(f.cursor.Position+1, f.lost))
}
