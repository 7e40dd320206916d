package revocation

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/sallyport-go/auth/internal/clock"
)

// ErrCommitsLost means that the store has lost commits from before the session was created. For
// example, the store may have been restored from a backup.
var ErrCommitsLost = errors.New("the store has lost the session's commits")

const (
	// maxGenerationAhead limits the generation that a token may claim. The limit is the current
	// Unix time in microseconds plus this difference. All generations that stores assign are below
	// the limit. Without the limit, a token with a forged generation could make repairLost add an
	// entry with a generation that is far too great.
	maxGenerationAhead = int64(24 * time.Hour / time.Microsecond)

	// maxRepairs is how often one read tries to repair the feed. A try may have no effect, because
	// another instance may have added an entry since the feed was read.
	maxRepairs = 5
)

// lostCommits is the proof that the store has lost commits. The proof is a token whose generation
// is above the head of the feed. The proof is kept until the feed has been repaired.
type lostCommits struct {
	head int64 // the Position of the newest entry of the feed
	at   time.Time
}

// requireGeneration is called for a session whose generation is above the known head of the feed.
// The generation is the Position of an entry that the store had when the session was created.
// requireGeneration reads the feed. If the generation is still above the head, the store has lost
// the entry, and requireGeneration returns ErrCommitsLost. One read serves all requests: the proof
// of the loss is used again until the proof is as old as the interval.
//
// If the store does not answer, an earlier proof is still used. If there is no earlier proof, the
// session is accepted as long as the latest complete read is not too old.
func (f *Feed) requireGeneration(ctx context.Context, generation int64, now time.Time) error {
	if generation > now.UnixMicro()+maxGenerationAhead {
		return ErrCommitsLost
	}
	var unanswered error // the error to return if the store does not answer
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
		return cmp.Or(ctx.Err(), unanswered) // if the caller has gone away, the session is not accepted
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

// readThrough returns the head of the feed, which is the Position of its newest entry. If the head
// has reached the generation, readThrough also reads the feed up to the generation, because one of
// the entries may revoke the session that has this generation. The caller must hold the semaphore
// f.reading.
//
// readThrough reads new entries before it reads the head. The feed usually has new entries, and
// reading them costs no more than reading the head. If the head has reached the generation, but the
// last entry that was read is below the generation, readThrough reads new entries a second time.
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

// repairLost revokes the sessions of all users after the store has lost commits, because the lost
// commits may include revocations. The entry that repairLost adds also keeps the store from
// assigning a generation twice. The caller must hold the semaphore f.reading, and must just have
// read the feed to its end.
//
// Another instance may repair the feed between the caller's read and repairLost. The head has then
// already reached the Position that repairLost passes to Repair, so the store adds no second entry.
func (f *Feed) repairLost(ctx context.Context) error {
	return f.source.Repair(ctx, max(f.cursor.Position+1, f.lost))
}
