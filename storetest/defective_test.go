package storetest_test

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/storekit"
)

// after is a function that the type altered calls after a change.
type after = func(ctx context.Context, err error) error

// ignoresAuthority returns a store that makes a change even if the session was revoked.
func ignoresAuthority() auth.Store {
	return &altered{memstore.New(), func(_ context.Context, w auth.Write) (auth.Write, after, error) {
		w.By = auth.ByHost("defect")
		return w, nil, nil
	}}
}

// checkedBy checks the authority of w with the given records, but does not check the owner of the
// record to be changed. The returned write has the authority of the host, so the store does not
// check the authority of w again.
func checkedBy(
	ctx context.Context, store *memstore.Store, w auth.Write, session auth.Session, revokedBelow int64,
) (auth.Write, error) {
	if w.By.Host != "" {
		return w, nil
	}
	user, err := store.FindUser(ctx, w.By.UserID)
	if err != nil && !errors.Is(err, auth.ErrNotFound) {
		return w, err
	}
	at := w.Now()
	w.Now = func() time.Time { return at }
	acting := storekit.Acting{By: w.By, Now: at, Session: session, User: user, RevokedBelow: revokedBelow}
	if err := acting.Check(); err != nil {
		return w, err
	}
	w.By = auth.ByHost("defect")
	return w, nil
}

// checksBeforeLocking returns a store that checks the authority too early: it reads the records for
// the check before it takes its locks.
func checksBeforeLocking() auth.Store {
	store := memstore.New()
	return &altered{store, func(ctx context.Context, w auth.Write) (auth.Write, after, error) {
		session, _ := store.FindSession(ctx, w.By.SessionID)
		var below int64
		feed, _ := store.ListRevocations(ctx, 0, math.MaxInt)
		for _, e := range feed {
			if e.SessionID == "" && (e.UserID == "" || e.UserID == w.By.UserID) {
				below = max(below, e.Generation)
			}
		}
		w, err := checkedBy(ctx, store, w, session, below)
		return w, nil, err
	}}
}

// rowsOnly is a store that checks only whether the row of the session exists. The contract allows
// RevokeEverybody to keep the rows, and the RevokeEverybody of this store does so. Therefore, the
// revoked sessions keep their authority.
type rowsOnly struct {
	altered
	mu       sync.Mutex
	sessions map[string]auth.Session // all sessions that were created
	kept     map[string]auth.Session // sessions that existed at the last RevokeEverybody
}

func checksRowsOnly() auth.Store {
	s := &rowsOnly{sessions: map[string]auth.Session{}, kept: map[string]auth.Session{}}
	s.altered = altered{memstore.New(), func(ctx context.Context, w auth.Write) (auth.Write, after, error) {
		s.mu.Lock()
		session, err := s.Store.FindSession(ctx, w.By.SessionID)
		if err != nil {
			session = s.kept[w.By.SessionID]
		}
		if w, err = checkedBy(ctx, s.Store, w, session, 0); err != nil {
			s.mu.Unlock()
			return w, nil, err
		}
		return w, func(_ context.Context, err error) error {
			s.mu.Unlock()
			return err
		}, nil
	}}
	return s
}

func (s *rowsOnly) CreateSession(
	ctx context.Context, session auth.Session, limit int,
) (auth.Session, auth.User, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	session, user, err := s.Store.CreateSession(ctx, session, limit)
	if err == nil {
		s.sessions[session.ID] = session
	}
	return session, user, err
}

func (s *rowsOnly) RevokeToken(ctx context.Context, claims auth.SessionClaims) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Store.RevokeToken(ctx, claims)
}

func (s *rowsOnly) RevokeEverybody(ctx context.Context, w auth.Write, above int64) error {
	return s.write(ctx, w, func(w auth.Write) error {
		for id, session := range s.sessions {
			if _, err := s.Store.FindSession(ctx, id); err == nil {
				s.kept[id] = session
			}
		}
		return s.Store.RevokeEverybody(ctx, w, above)
	})
}

// stamped is a store that assigns its own numbers to the entries of the feed. The defect is that a
// call takes a number before its change commits.
type stamped struct {
	*memstore.Store
	next   func() int64
	calls  atomic.Int64
	mu     sync.Mutex
	stamps map[int64]int64 // number of each entry, by its real position
}

func stampedBy(next func() int64) auth.Store {
	return &stamped{Store: memstore.New(), next: next, stamps: map[int64]int64{}}
}

// stamp takes a number, makes the change, and assigns the number to the entries of the change.
func (s *stamped) stamp(ctx context.Context, change func() error) error {
	number := s.next()
	if s.calls.Add(1)%3 == 0 {
		time.Sleep(time.Millisecond) // so that commits take different times
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.number(ctx, func() int64 { return number })
	return change()
}

// number assigns the results of next to the entries that have no number.
func (s *stamped) number(ctx context.Context, next func() int64) {
	feed, _ := s.Store.ListRevocations(context.WithoutCancel(ctx), 0, math.MaxInt)
	for _, e := range feed {
		if _, ok := s.stamps[e.Position]; !ok {
			s.stamps[e.Position] = next()
		}
	}
}

func (s *stamped) RevokeSession(ctx context.Context, w auth.Write, id string) error {
	return s.stamp(ctx, func() error { return s.Store.RevokeSession(ctx, w, id) })
}

func (s *stamped) RevokeKey(ctx context.Context, w auth.Write, id string) error {
	return s.stamp(ctx, func() error { return s.Store.RevokeKey(ctx, w, id) })
}

func (s *stamped) SetKeyScopes(
	ctx context.Context, w auth.Write, id string, scopes *auth.ScopeSet,
) (key auth.AccessKey, err error) {
	err = s.stamp(ctx, func() (err error) {
		key, err = s.Store.SetKeyScopes(ctx, w, id, scopes)
		return err
	})
	return key, err
}

func (s *stamped) RevokeUserSessions(
	ctx context.Context, w auth.Write, userID string,
) (n int, err error) {
	err = s.stamp(ctx, func() (err error) {
		n, err = s.Store.RevokeUserSessions(ctx, w, userID)
		return err
	})
	return n, err
}

func (s *stamped) ListRevocations(
	ctx context.Context, from int64, limit int,
) ([]auth.Revocation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number(ctx, s.next)
	feed, err := s.Store.ListRevocations(ctx, 0, math.MaxInt)
	for i := range feed {
		feed[i].Position = s.stamps[feed[i].Position]
	}
	slices.SortFunc(feed, func(a, b auth.Revocation) int { return cmp.Compare(a.Position, b.Position) })
	feed = slices.DeleteFunc(feed, func(e auth.Revocation) bool { return e.Position < from })
	return feed[:min(len(feed), max(limit, 0))], err
}

func feedByTimestamp() auth.Store { return stampedBy(func() int64 { return time.Now().UnixMicro() }) }

func feedBySequence() auth.Store {
	var sequence atomic.Int64
	return stampedBy(func() int64 { return sequence.Add(1) })
}

// eventAfterCommit returns a store that stores the event only after the change has committed.
func eventAfterCommit() auth.Store {
	store := memstore.New()
	bearer := auth.User{ID: "bearer", Username: "bearer", IsActive: true, CreatedAt: time.Unix(1, 0)}
	host := auth.Write{By: auth.ByHost("defect"), Now: time.Now}
	key := auth.AccessKey{ID: "bearer", UserID: bearer.ID, Hash: "hash", CreatedAt: bearer.CreatedAt}
	if err := store.Register(context.Background(), host, bearer, key); err != nil {
		panic(err)
	}
	return &altered{store, func(_ context.Context, w auth.Write) (auth.Write, after, error) {
		event := w
		event.By = host.By
		w.Event = auth.Event{}
		return w, func(ctx context.Context, err error) error {
			if err != nil || event.Event.Kind == "" {
				return err
			}
			time.Sleep(time.Millisecond)
			_, err = store.RevokeUserSessions(ctx, event, bearer.ID) // stores the event
			return err
		}, nil
	}}
}

// cursor is a store that numbers its changes, delivers their events in the order of the numbers,
// and remembers only the last delivered number. The defect is that a change takes its number before
// it commits.
type cursor struct {
	altered
	mu        sync.Mutex
	committed map[int64]eventkind.Kind
	delivered int64
}

func deliveryByCursor() auth.Store {
	s := &cursor{committed: map[int64]eventkind.Kind{}}
	var increment atomic.Int64
	s.altered = altered{memstore.New(), func(_ context.Context, w auth.Write) (auth.Write, after, error) {
		if !w.Deliver {
			return w, nil, nil
		}
		number := increment.Add(1)
		at := w.Now()
		w.Now = func() time.Time { return at }
		return w, func(_ context.Context, err error) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if err == nil {
				s.committed[number] = w.Event.Kind
			}
			return err
		}, nil
	}}
	return s
}

func (s *cursor) ClaimEvent(ctx context.Context, _, _ time.Time) (auth.Event, int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, number := range slices.Sorted(maps.Keys(s.committed)) {
		if number <= s.delivered {
			continue
		}
		s.delivered = number
		events, err := s.ListEvents(ctx, auth.EventFilter{Kind: s.committed[number]}, 1)
		if err != nil || len(events) == 0 {
			return auth.Event{}, 0, errors.Join(err, errors.New("the event is not listed"))
		}
		return events[0], 1, nil
	}
	return auth.Event{}, 0, auth.ErrNotFound
}
