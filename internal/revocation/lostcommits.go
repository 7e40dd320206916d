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
	// maxGenerationAhead and maxLostEntries limit the generations that can prove lost commits. One
	// limit is the current Unix time in microseconds plus maxGenerationAhead. The other limit is
	// the head of the feed plus maxLostEntries. A generation above both limits is forged. Without
	// the limits, it could make repairLost add an entry with a generation that is far too great.
	maxGenerationAhead = int64(24 * time.Hour / time.Microsecond)
	maxLostEntries     = 10_000_000

	// maxRepairs is how often one read repairs the feed. After the first repair, the read may find
	// that the store has lost commits again.
	maxRepairs = 2
)

// lostCommits is the proof that the store has lost commits. The proof is a token whose generation
// is above the head of the feed. The proof is kept until the feed has been repaired.
type lostCommits struct {
	head int64 // the Position of the newest entry of the feed
	at   time.Time
}

// requireGeneration is called for a session whose generation is above f.head. The generation is the
// Position of an entry that the store had when the session was created. requireGeneration reads the
// feed. If the generation is still above the head of the feed, the store has lost this entry.
// requireGeneration then returns ErrCommitsLost, and keeps the proof of the loss. Other requests
// use the proof instead of a read of their own, until the proof is as old as the interval.
//
// If the store does not answer, requireGeneration also uses an older proof. If there is no proof,
// the session is accepted as long as the latest complete read is not too old.
func (f *Feed) requireGeneration(ctx context.Context, generation int64, now time.Time) error {
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
	if !f.isAhead(generation) {
		return nil // another request has read the feed meanwhile
	}
	head, err := f.readThrough(read, generation)
	switch {
	case err != nil:
		return unanswered
	case generation <= head:
		return nil
	case generation > max(now.UnixMicro()+maxGenerationAhead, head+maxLostEntries):
		return ErrCommitsLost // the generation proves nothing, because it is forged
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
// reading them costs no more than reading the head. More entries may be added before the head is
// read. If the head has reached the generation, but the entries that were read have not,
// readThrough therefore reads new entries a second time.
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

// isAhead reports whether the generation is above the known head of the feed. While there is proof of
// lost commits, the known head is that of the proof. The feed may have climbed meanwhile, but other
// entries than the lost ones made it climb.
func (f *Feed) isAhead(generation int64) bool {
	if lost := f.lostProof.Load(); lost != nil {
		return generation > lost.head
	}
	return generation > f.head.Load()
}

// repairLost revokes the sessions of all users after the store has lost commits, because
// revocations may be among them. The entry that repairLost adds also keeps the store from assigning
// a generation twice. If another instance has added such an entry, repairLost adds none. The caller
// must hold the semaphore f.reading, and must then read the feed again.
func (f *Feed) repairLost(ctx context.Context) error { return f.source.Repair(ctx, f.lost) }
