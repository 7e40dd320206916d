package revocation

import (
	"context"
	"errors"
	"time"

	"github.com/sallyport-go/auth/internal/clock"
)

const (
	pageSize = 2000 // maximum number of entries that one call of Source.Read returns

	// readTime is the maximum duration of a read if no request waits for the read.
	readTime = 10 * time.Second
)

// ReadNow reads the feed to its end, even if the latest read is recent. It takes at most 10
// seconds. If ctx is canceled, the read ends, so requests must not call ReadNow.
func (f *Feed) ReadNow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	if err := f.acquire(ctx); err != nil {
		return err
	}
	defer f.release()
	return f.read(ctx)
}

// ReadAfterWrite reads the entries that this instance has just added to the feed, even if ctx is
// done. If the read does not succeed within a second, this instance accepts no session until a
// later read has reached the end of the feed.
func (f *Feed) ReadAfterWrite(ctx context.Context) {
	required := f.nextRead()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if f.acquire(ctx) == nil {
		defer f.release()
		if f.isComplete(required) || f.read(ctx) == nil {
			return
		}
	}
	f.distrustUntil(required)
}

// CatchUp is called with the generation of a session that has just been created. Creating the
// session may have revoked an older session. If the generation is above the Position of the last
// entry that this instance has read, that revocation may be among the unread entries. CatchUp then
// calls ReadAfterWrite.
//
// If the feed is untrusted, CatchUp does nothing. In this case, the next session is accepted only
// after the feed has been read anyway.
func (f *Feed) CatchUp(ctx context.Context, generation int64) {
	if generation > f.newest.Load() && f.readAt.Load() != nil {
		f.ReadAfterWrite(ctx)
	}
}

// nextRead returns the number of the next read to begin. A read that has already begun may miss
// entries that were added before the call of nextRead.
func (f *Feed) nextRead() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.begunReads + 1
}

// isComplete reports whether the read with the given number, or a later read, has reached the end
// of the feed. The first read has the number 1.
func (f *Feed) isComplete(number uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.completeRead >= number
}

// distrustUntil makes the feed untrusted until the read with the given number, or a later read, has
// reached the end of the feed.
func (f *Feed) distrustUntil(number uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.completeRead < number {
		f.requiredRead = max(f.requiredRead, number)
		f.readAt.Store(nil)
	}
}

// read reads the feed to its end. If ctx is done before the end, the next read continues where this
// read has stopped. The caller must hold the semaphore f.reading.
func (f *Feed) read(ctx context.Context) (err error) {
	f.mu.Lock()
	f.begunReads++
	number := f.begunReads
	f.mu.Unlock()
	err = errors.New("the store panicked") // every return below replaces it
	defer func() {
		// If ctx is canceled, the error says nothing about the store.
		if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
			f.failure.Store(&readFailure{err, f.now()})
			f.observeRead(err)
		} else if err == nil {
			f.observeRead(nil)
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
		case f.lost == 0 || f.lost < f.revoked.everybody.Load(): // no commit was lost, or the repair is done
			f.lost, f.missing = 0, Entry{}
			err = f.recordComplete(number, began)
			return err
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

// readPage reads one page of the feed, and reports whether it was the last page. The caller must
// hold the semaphore f.reading.
func (f *Feed) readPage(ctx context.Context) (done bool, err error) {
	page, err := f.source.Read(ctx, f.cursor.Position, pageSize)
	if err != nil {
		return false, err
	}
	full := len(page) == pageSize
	if f.cursor.Position > 0 {
		if len(page) == 0 || page[0].Position != f.cursor.Position || page[0].ID != f.cursor.ID {
			// The store no longer has the entry at the cursor, so the whole feed must be read
			// again. The entry may have been pruned. But if the feed ends before the cursor, or has
			// another entry at the cursor's Position, the store has lost commits.
			if len(page) == 0 || page[0].Position == f.cursor.Position {
				f.recordMissing()
			}
			f.restart()
			return false, nil
		}
		page = page[1:]
		// Only now, because the entry at the cursor would be the proof of lost commits.
		if f.revoked.isIncomplete(f.now()) {
			f.restart()
			return false, nil
		}
	}
	list := func(from int64, limit int) ([]Entry, error) { return f.source.Read(ctx, from, limit) }
	if err := RequireContiguous(f.cursor.Position, page, full, list); err != nil {
		return false, err
	}
	f.revoked.Add(page, f.now())
	f.extendTail(page)
	f.recordFound(page)
	if len(page) > 0 {
		f.cursor = page[len(page)-1]
		f.newest.Store(f.cursor.Position)
	}
	return !full, nil
}

// restart makes the next call of readPage read the first page of the feed. The feed is untrusted
// until it has been read to its end. The caller must hold the semaphore f.reading.
func (f *Feed) restart() {
	f.restarts.Add(1)
	f.distrust()
	f.cursor, f.tail = Entry{}, nil
	f.newest.Store(0)
	f.revoked.forgetGenerations()
}

// Restarts returns how often the whole feed had to be read again.
func (f *Feed) Restarts() int64 { return f.restarts.Load() }

// distrust makes the feed untrusted until it has been read to its end and, if necessary, repaired.
func (f *Feed) distrust() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readAt.Store(nil)
	f.published.Store(nil)
}

// errOldCopy means that the read was complete, but read a copy of the feed that is too old.
var errOldCopy = errors.New("the copy of the feed at the issuer is older than the revocation interval")

// recordComplete records that the read with the given number has reached the end of the feed. The
// parameter began is the time at which this read asked for its last page.
//
// If the source reads a copy of the feed, the time of the copy counts instead. recordComplete then
// returns errOldCopy if the copy is so old that the next request would read again at once.
func (f *Feed) recordComplete(number uint64, began time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failure.Store(nil)
	f.completeRead = number
	if number < f.requiredRead {
		return nil
	}
	now := f.now()
	if f.source.AsOf != nil {
		began = f.source.AsOf()
		// The copies of two instances of the issuer can differ in age. The entries of a younger copy
		// have been read, so an older copy does not make the feed older.
		if last := f.readAt.Load(); last != nil && clock.Age(now, *last) < clock.Age(now, began) {
			began = *last
		}
	}
	f.readAt.Store(&began)
	f.wallRead.Store(0)
	f.publishTail(number, began)
	if f.source.AsOf != nil && clock.Age(now, began) >= f.interval {
		return errOldCopy
	}
	return nil
}
