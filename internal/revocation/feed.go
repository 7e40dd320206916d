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
	"github.com/sallyport-go/auth/internal/outage"
)

// ErrRevoked means that the session is revoked.
var ErrRevoked = errors.New("the session is revoked")

const (
	// patience is the maximum time that a request waits for the feed, including the reads that it makes
	// itself. It is also the maximum duration of a read for a request.
	patience = time.Second

	// retryAfter is the time after a failed read during which requests do not read the feed again.
	// If the latest complete read is too old to accept sessions, requests read the feed without
	// this delay.
	retryAfter = time.Second

	// wallClockGap is how long [Feed.Now] may rely on the monotonic clock alone before it reads the
	// wall clock again.
	wallClockGap = 10 * time.Millisecond
)

// Source gives a [Feed] access to the revocation feed of the store. The Feed calls at most one of
// the functions Read, Head and Repair at a time.
type Source struct {
	// Read returns the entries from the given Position on, in order. The parameter limit is the
	// maximum number of entries. If Read returns fewer entries, it has reached the end of the feed.
	Read func(ctx context.Context, from int64, limit int) ([]Entry, error)

	// Head returns the Position of the newest entry that was ever added, or 0. If Head reads a copy
	// of the feed, and the copy ends before the Position atLeast, Head first has the copy renewed.
	Head func(ctx context.Context, atLeast int64) (int64, error)

	// Repair adds an entry that revokes the sessions of all users. If the feed already has such an
	// entry whose Generation is above the given number, Repair adds none. The new entry's Position
	// is above the given number, and above every Position that the store has ever assigned, even
	// before it was restored from a backup. The entry therefore revokes every token.
	//
	// If Repair is nil, only another service can repair the feed. After the store has lost commits,
	// the Feed then accepts no session until it has read the entry of that service.
	Repair func(ctx context.Context, above int64) error

	// AsOf, if not nil, means that Read reads a copy of the feed. It returns a time at which the copy
	// that the latest call of Read has read was up to date.
	AsOf func() time.Time

	// Hash, if not nil, means that the entries contain hashes. It returns the UserID and the SessionID
	// with which an entry names the session.
	Hash func(userID, sessionID string) (hashedUserID, hashedSessionID string)

	// Report, if not nil, receives reports for the log. Several goroutines can call it at the same
	// time.
	Report func(Report)
}

// Feed keeps an instance's set of revoked sessions up to date with the revocation feed of the
// store. A request that needs newer entries reads them. Only one request reads at a time, and its
// read serves all requests. A Feed is safe for concurrent use.
type Feed struct {
	source       Source
	revoked      *Revoked
	interval     time.Duration
	maxStaleness time.Duration
	now          func() time.Time

	// readAt is when the latest complete read asked the store for its last page. Entries that were
	// added after readAt may not have been read. readAt is nil while the feed must not be trusted.
	readAt  atomic.Pointer[time.Time]
	failure atomic.Pointer[readFailure] // the failure of the latest read; nil if that read succeeded

	// wallRead is the time from readAt until Now last read the wall clock. This time is measured by
	// the monotonic clock, in nanoseconds.
	wallRead atomic.Int64

	used atomic.Bool   // whether RequireLive was called since the latest read of Follow
	wake chan struct{} // receives a value when used becomes true; has one slot

	// reading is a one-slot semaphore. Its holder may call the functions of source, and may use the
	// fields cursor, lost, missing and tail.
	reading chan struct{}

	cursor Entry        // the last entry that was read
	newest atomic.Int64 // the cursor's Position

	// lost is the greatest Position or generation that the store is known to have lost, or 0. If the only
	// proof is an entry that was read before and then was not in the feed, missing is this entry. If the
	// entry appears in the feed again, nothing was lost: only a copy of the store was behind.
	lost    int64
	missing Entry

	restarts atomic.Int64 // calls of restart

	reads    *outage.Tracker // failed reads
	refusals *outage.Tracker // requests for which the feed was too old

	forgedAbove atomic.Pointer[forgedLimit] // the latest limit that a forged generation has exceeded

	keepsTail atomic.Bool          // whether tail is kept: see Tail
	tail      []Entry              // the newest entries that were read
	published atomic.Pointer[Tail] // the tail at the end of the latest complete read

	mu           sync.Mutex
	begunReads   uint64 // the number of the latest read, counted from 1
	completeRead uint64 // the number of the latest read that reached the end of the feed
	requiredRead uint64 // the feed is untrusted until this read, or a later one, is complete
}

type readFailure struct {
	err error
	at  time.Time
}

// NewFeed returns a Feed that has read nothing. If the latest complete read is at least as old as
// interval, a request reads the feed again. If that read is at least as old as maxStaleness, a
// request does not trust the Feed.
func NewFeed(source Source, interval, maxStaleness time.Duration, now func() time.Time) *Feed {
	return &Feed{
		source:       source,
		revoked:      NewRevoked(),
		interval:     interval,
		maxStaleness: maxStaleness,
		now:          now,
		wake:         make(chan struct{}, 1),
		reading:      make(chan struct{}, 1),
		reads:        outage.New(now),
		refusals:     outage.New(now),
	}
}

// RequireLive returns an error if the session is known to be revoked, or if the latest complete
// read of the feed is too old. It reads the feed if necessary.
//
// For each token, the caller keeps a version number, which is 0 at first. The parameter checked
// points to this number. If RequireLive looks up the session in the [Revoked] set and does not find
// it, RequireLive sets the number to the version of the set. While the set has this version,
// RequireLive does not look up the session again.
//
// RequireLive returns [ErrRevoked] or [ErrCommitsLost] if the session must be rejected. Any other
// error means that the store did not answer in time, or that ctx is done. Such an error says
// nothing about the session.
//
// RequireLive waits for at most a second in total. It waits only if the copy is older than the interval, or
// if the session is newer than the copy.
func (f *Feed) RequireLive(
	ctx context.Context, userID, sessionID string, generation int64, checked *atomic.Uint64, now time.Time,
) error {
	if !f.used.Load() {
		f.noteUse()
	}
	// Most requests are for a session that was looked up before, and the copy is recent.
	if f.Age(now) < f.interval && checked.Load() == f.revoked.version.Load() {
		return nil
	}
	return f.lookUp(ctx, userID, sessionID, generation, checked, now)
}

// lookUp is RequireLive for a session that the set may have, or whose copy may be too old.
func (f *Feed) lookUp(
	ctx context.Context, userID, sessionID string, generation int64, checked *atomic.Uint64, now time.Time,
) error {
	var until time.Time // when the request stops waiting; zero before it waits for the first time
	for {
		if f.Age(now) >= f.interval {
			until = waitUntil(until)
			if err := f.requireUsable(ctx, until, now); err != nil {
				return fmt.Errorf("auth: verifying a token: %w", err)
			}
		}
		version := f.revoked.version.Load() // read before the look-up: a later entry changes it
		if checked.Load() == version {
			return nil
		}
		if generation > f.newest.Load() {
			until = waitUntil(until)
			if err := f.requireGeneration(ctx, until, generation, now); err != nil {
				return err
			}
			version = f.revoked.version.Load() // a repair may have revoked all sessions meanwhile
		}
		if f.contains(userID, sessionID, generation) {
			return ErrRevoked
		}
		if f.readAt.Load() == nil || f.revoked.version.Load() != version {
			continue // the set has changed or is incomplete, so look up again
		}
		if generation <= f.newest.Load() { // otherwise, the next request asks the store again
			checked.Store(version)
		}
		return nil
	}
}

// waitUntil returns the given time. If it is zero, waitUntil returns the time until which a request may wait
// that begins to wait now.
func waitUntil(until time.Time) time.Time {
	if until.IsZero() {
		return time.Now().Add(patience)
	}
	return until
}

// contains reports whether an entry that has been read revokes the session. It is called only if the
// session was not looked up since the last change, so that hashing costs nothing in most calls.
func (f *Feed) contains(userID, sessionID string, generation int64) bool {
	if f.source.Hash != nil {
		userID, sessionID = f.source.Hash(userID, sessionID)
	}
	return f.revoked.Contains(userID, sessionID, generation)
}

// IsRevoked reads the feed to its end, even if the latest read is recent, and reports whether an
// entry revokes the session. It waits at most a second for the store, and as long for another read.
//
// The read serves all callers that were waiting when it began, so it continues if ctx is canceled.
func (f *Feed) IsRevoked(ctx context.Context, userID, sessionID string, generation int64) (bool, error) {
	required := f.nextRead()
	wait, stop := context.WithTimeout(ctx, patience)
	defer stop()
	if err := f.acquire(wait); err != nil {
		return false, err
	}
	defer f.release() // after the look-up, because a read can empty the set for a moment
	if !f.isComplete(required) || f.readAt.Load() == nil {
		read, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		if err := f.read(read); err != nil {
			return false, err
		}
	}
	return f.contains(userID, sessionID, generation), nil
}

// Now returns the current time, like time.Now. If the latest complete read is younger than the
// interval, Now reads only the monotonic clock. This takes half as long as time.Now. But the
// monotonic clock does not show that the machine was suspended, or that the wall clock was set.
// Therefore Now also reads the wall clock if 10 milliseconds have passed since Now last read it.
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

// Age returns the age of the latest complete read at the given time. It returns the greatest
// Duration if no read is complete yet, or if the feed must not be trusted.
func (f *Feed) Age(now time.Time) time.Duration {
	readAt := f.readAt.Load()
	if readAt == nil {
		return math.MaxInt64
	}
	return clock.Age(now, *readAt)
}

// CheckUsable returns an error if the latest complete read is too old to accept sessions. It reads
// the feed if the feed has not been read for an interval, so it also works while there are no
// requests.
//
// Unlike RequireLive, CheckUsable is called for clients that have no valid token. Therefore it never
// reads within a second after a failed read, even if no session can be accepted.
func (f *Feed) CheckUsable(ctx context.Context) error {
	now := f.now()
	age := f.Age(now)
	if age < f.interval {
		return nil
	}
	return f.unlessUsable(f.readForProbe(ctx, now, age < f.maxStaleness))
}

// readForProbe reads the feed for CheckUsable. If usable is true, readForProbe does not wait for a
// read that another goroutine has begun.
func (f *Feed) readForProbe(ctx context.Context, now time.Time, usable bool) error {
	if failure := f.recentFailure(now); failure != nil {
		return failure.err
	}
	wait, stop := context.WithTimeout(ctx, patience)
	defer stop()
	if usable {
		select {
		case f.reading <- struct{}{}:
		default:
			return nil
		}
	} else if err := f.acquire(wait); err != nil {
		return err
	}
	defer f.release()
	now = f.now()
	if f.Age(now) < f.interval {
		return nil // another goroutine has read the feed meanwhile
	}
	if failure := f.recentFailure(now); failure != nil {
		return failure.err
	}
	read, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	return f.read(read)
}

// recentFailure returns the failure of the latest read if the read failed less than retryAfter ago.
func (f *Feed) recentFailure(now time.Time) *readFailure {
	if failure := f.failure.Load(); failure != nil && clock.Age(now, failure.at) < retryAfter {
		return failure
	}
	return nil
}

// requireUsable reads the feed. If reading fails, requireUsable returns an error only if the latest
// complete read is too old to be used. It waits no longer than until the given time.
func (f *Feed) requireUsable(ctx context.Context, until, now time.Time) error {
	failure := f.makeFresh(ctx, until, now, f.Age(now) < f.maxStaleness)
	err := f.unlessUsable(failure)
	if err != nil {
		f.observeRefusal(failure)
	}
	return err
}

// unlessUsable returns the error of a read, or nil if the latest complete read is recent enough.
func (f *Feed) unlessUsable(err error) error {
	if err == nil || f.Age(f.now()) < f.maxStaleness {
		return nil
	}
	return fmt.Errorf("the feed of revocations cannot be read: %w", err)
}

// makeFresh reads the feed, or waits while another request reads the feed. The parameter usable
// says whether the latest complete read is recent enough to be used. If usable is true and the
// latest read has failed, makeFresh does not wait for another request. It then returns the failure
// if the failure is recent, or if another request is reading the feed.
//
// The read continues even if ctx is canceled, because the read serves all requests. If a canceled
// request stopped the read, clients could keep this instance from ever reading new revocations.
func (f *Feed) makeFresh(ctx context.Context, until, now time.Time, usable bool) error {
	read, cancel := context.WithDeadline(context.WithoutCancel(ctx), until)
	defer cancel()
	wait, stop := context.WithDeadline(ctx, until)
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
	if err := read.Err(); err != nil {
		return err // the read would fail, although the store has not
	}
	return f.read(read)
}

// acquire waits until no other goroutine reads the feed, and takes the semaphore f.reading. If ctx
// is done first, acquire returns an error. After acquire has returned nil, the caller must call
// release.
func (f *Feed) acquire(ctx context.Context) error {
	select {
	case f.reading <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *Feed) release() { <-f.reading }
