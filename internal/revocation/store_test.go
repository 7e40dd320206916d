package revocation_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/revocation"
	"github.com/stretchr/testify/require"
)

const (
	interval     = 5 * time.Second
	maxStaleness = time.Minute
)

// longAfter is a time after the end of all tests.
var longAfter = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

// store is a revocation feed in memory, in place of a real store. The ID of an entry begins with
// the history, which changes if the store is restored.
type store struct {
	mu      sync.Mutex
	entries []revocation.Entry
	history string
	err     error   // the error of every call; nil for none
	reads   []int64 // the value of from in each call of Read
	heads   int     // number of calls of Head
	repairs []int64 // the value of above in each call of Repair

	headErr, repairErr error // the errors of Head and Repair; nil for none

	// If onRead and onHead are not nil, Read and Head call them before they read the feed.
	onRead func(ctx context.Context) error
	onHead func(ctx context.Context) error

	onAnswer func() // if not nil, Read calls it after it has read the feed
	onRepair func() // if not nil, Repair calls it before anything else

	ignoreRepairs bool
}

func (s *store) source() revocation.Source {
	return revocation.Source{Read: s.read, Head: s.head, Repair: s.repair}
}

func (s *store) read(ctx context.Context, from int64, limit int) ([]revocation.Entry, error) {
	page, err := s.readNow(ctx, from, limit)
	if s.onAnswer != nil {
		s.onAnswer()
	}
	return page, err
}

func (s *store) readNow(ctx context.Context, from int64, limit int) ([]revocation.Entry, error) {
	s.mu.Lock()
	s.reads = append(s.reads, from)
	onRead := s.onRead
	s.mu.Unlock()
	if onRead != nil {
		if err := onRead(ctx); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || ctx.Err() != nil {
		return nil, cmp.Or(s.err, ctx.Err())
	}
	first := slices.IndexFunc(s.entries, func(e revocation.Entry) bool { return e.Position >= from })
	if first < 0 {
		return nil, nil
	}
	rest := s.entries[first:]
	return slices.Clone(rest[:min(limit, len(rest))]), nil
}

func (s *store) head(ctx context.Context, _ int64) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heads++
	if s.onHead != nil {
		s.mu.Unlock()
		err := s.onHead(ctx)
		s.mu.Lock()
		if err != nil {
			return 0, err
		}
	}
	if s.headErr != nil {
		return 0, s.headErr
	}
	return s.newest(), s.err
}

func (s *store) newest() int64 {
	if len(s.entries) == 0 {
		return 0
	}
	return s.entries[len(s.entries)-1].Position
}

func (s *store) repair(_ context.Context, above int64) error {
	if s.onRepair != nil {
		s.onRepair()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repairs = append(s.repairs, above)
	if s.err != nil || s.repairErr != nil {
		return cmp.Or(s.err, s.repairErr)
	}
	repaired := slices.ContainsFunc(s.entries, func(e revocation.Entry) bool {
		return e.UserID == "" && e.Generation > above
	})
	if !s.ignoreRepairs && !repaired {
		position := max(s.newest(), above) + 1
		s.append(revocation.Entry{Position: position, Generation: position})
	}
	return nil
}

// append adds the entry at its Position. If the Position is zero, append adds it at the next
// Position.
func (s *store) append(e revocation.Entry) {
	if e.Position == 0 {
		e.Position = s.newest() + 1
	}
	e.ID = fmt.Sprint(s.history, e.Position)
	if e.ExpiresAt.IsZero() {
		e.ExpiresAt = longAfter
	}
	s.entries = append(s.entries, e)
}

// add adds the entries at the next Positions.
func (s *store) add(entries ...revocation.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		s.append(e)
	}
}

// revoke adds an entry that revokes the session.
func (s *store) revoke(session session) {
	s.add(revocation.Entry{UserID: session.user, SessionID: session.id, Generation: session.generation})
}

// pruneTo removes the oldest entries until this number of entries is left.
func (s *store) pruneTo(left int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = s.entries[len(s.entries)-left:]
}

// dropNewest removes the newest entry, but the next entry still follows its position.
func (s *store) dropNewest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	newest := len(s.entries) - 1
	position := s.entries[newest].Position
	s.entries = s.entries[:newest]
	s.append(revocation.Entry{Position: position + 1, UserID: "w", SessionID: "after"})
}

// restore cuts the feed to the given length, as if a backup was restored. New entries then have
// other IDs than the entries that were lost.
func (s *store) restore(length int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries, s.history = s.entries[:length], s.history+"restored "
}

// fail makes every call return the error. If err is nil, the calls succeed again.
func (s *store) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// countReads returns the number of calls of Read.
func (s *store) countReads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.reads)
}

// session is a session as its token describes it.
type session struct {
	user, id   string
	generation int64
}

// instance is an instance of the service: a Feed, its store and its clock.
type instance struct {
	*revocation.Feed
	t     testing.TB
	now   func() time.Time
	store *store
	clock *authtest.Clock // nil if now is another clock
}

// newInstance returns an instance whose clock advances only when the test advances it.
func newInstance(t testing.TB) *instance {
	clock := authtest.NewClock()
	in := newInstanceWithClock(t, clock.Now)
	in.clock = clock
	return in
}

func newInstanceWithClock(t testing.TB, now func() time.Time) *instance {
	s := &store{}
	return &instance{Feed: revocation.NewFeed(s.source(), interval, maxStaleness, now), t: t, now: now,
		store: s}
}

// knows reports whether the instance has read an entry that revokes the session.
func (in *instance) knows(s session) bool { return in.Knows(s.user, s.id, s.generation) }

// check calls RequireLive for a session that was never checked before.
func (in *instance) check(s session) error {
	return in.checkAt(in.t.Context(), s, new(atomic.Uint64))
}

func (in *instance) checkAt(ctx context.Context, s session, checked *atomic.Uint64) error {
	return in.RequireLive(ctx, s.user, s.id, s.generation, checked, in.now())
}

// requireKnown fails the test unless the feed is trusted.
func (in *instance) requireKnown() {
	in.t.Helper()
	require.Less(in.t, in.Age(in.now()), maxStaleness)
}

// requireUnknown fails the test unless the feed is untrusted.
func (in *instance) requireUnknown() {
	in.t.Helper()
	require.Greater(in.t, in.Age(in.now()), 100*365*24*time.Hour)
}
