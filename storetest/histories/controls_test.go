package histories_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/storekit"
	"github.com/sallyport-go/auth/storetest/histories"
)

// Each control is a store with one defect. The check must find the defect.
var controls = map[string]func() auth.Store{
	"a sequence in place of the counter":              bySequence,
	"no lock on the user in CreateSession":            withoutLock,
	"reads from a replica that lags":                  lagging,
	"a group that answers before the commit":          answersEarly,
	"a retry after an unknown outcome":                retries,
	"a read that joined another after it began":       joinsLate,
	"a ROLLBACK that is taken for a COMMIT":           rollsBack,
	"an authority that is checked before the lock":    checksEarly,
	"pruning of an entry that a reader still needs":   prunesTooMuch,
	"a session limit that is counted before the lock": overLimit,
	"a fold that misses a session":                    foldsTooLittle,
	"a username that two users have":                  sharesNames,
	"a username that another user gave up":            reusesNames,
}

func TestEachDefectIsFoundWithinAMinute(t *testing.T) {
	t.Parallel()
	for name, open := range controls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cfg := histories.Config{Histories: 1000, Calls: 300, Clients: 4}
			report, err := histories.Check(ctx, open(), cfg)
			t.Log(report)
			require.ErrorIs(t, err, histories.ErrContract)
			t.Logf("%.3000s", err)
		})
	}
}

// altered is a store in memory. A control replaces some of its methods.
type altered struct{ *memstore.Store }

// nowAndThen is true for one of n calls. It is never true for a call without a deadline, because
// such a call prepares a history.
func nowAndThen(ctx context.Context, n int) bool {
	_, ok := ctx.Deadline()
	return ok && rand.IntN(n) == 0
}

func pause() { time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond) }

// withoutLockStore reads the Generation of a new session before it adds the session, and holds no
// lock in the meantime.
type withoutLockStore struct {
	altered
	mu          sync.Mutex
	generations map[string]int64
}

func withoutLock() auth.Store {
	return &withoutLockStore{altered: altered{memstore.New()}, generations: map[string]int64{}}
}

func (s *withoutLockStore) CreateSession(
	ctx context.Context, session auth.Session, limit int,
) (auth.Session, auth.User, error) {
	generation, err := s.RevocationHead(ctx)
	if err != nil || limit > 0 {
		return s.Store.CreateSession(ctx, session, limit)
	}
	s.mu.Lock()
	s.generations[session.ID] = generation
	s.mu.Unlock()
	pause()
	created, user, err := s.Store.CreateSession(ctx, session, limit)
	return s.correct(created), user, err
}

func (s *withoutLockStore) correct(session auth.Session) auth.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if generation, ok := s.generations[session.ID]; ok {
		session.Generation = generation
	}
	return session
}

func (s *withoutLockStore) FindSession(ctx context.Context, id string) (auth.Session, error) {
	session, err := s.Store.FindSession(ctx, id)
	return s.correct(session), err
}

func (s *withoutLockStore) ListSessions(
	ctx context.Context, id string, now time.Time,
) ([]auth.Session, error) {
	sessions, err := s.Store.ListSessions(ctx, id, now)
	for i := range sessions {
		sessions[i] = s.correct(sessions[i])
	}
	return sessions, err
}

// laggingStore sometimes answers FindSession with the answer of a moment ago.
type laggingStore struct {
	altered
	mu      sync.Mutex
	replica map[string]auth.Session
}

func lagging() auth.Store {
	return &laggingStore{altered: altered{memstore.New()}, replica: map[string]auth.Session{}}
}

func (s *laggingStore) FindSession(ctx context.Context, id string) (auth.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.replica[id]; ok && nowAndThen(ctx, 2) {
		return old, nil
	}
	found, err := s.Store.FindSession(ctx, id)
	if err == nil {
		s.replica[id] = found
	}
	return found, err
}

// answersEarlyStore answers a call of RevokeSession a moment before it makes the change.
type answersEarlyStore struct{ altered }

func answersEarly() auth.Store { return &answersEarlyStore{altered{memstore.New()}} }

func (s *answersEarlyStore) RevokeSession(ctx context.Context, w auth.Write, id string) error {
	if w.By.Host == "" || !nowAndThen(ctx, 4) {
		return s.Store.RevokeSession(ctx, w, id)
	}
	if _, err := s.FindSession(ctx, id); err != nil {
		return err
	}
	go func() {
		pause()
		_ = s.Store.RevokeSession(context.WithoutCancel(ctx), w, id)
	}()
	return nil
}

// retriesStore makes a call again after an unknown outcome, although the first call took effect.
type retriesStore struct{ altered }

func retries() auth.Store { return &retriesStore{altered{memstore.New()}} }

func (s *retriesStore) RevokeSession(ctx context.Context, w auth.Write, id string) error {
	err := s.Store.RevokeSession(ctx, w, id)
	if nowAndThen(ctx, 10) {
		return s.Store.RevokeSession(ctx, w, id)
	}
	return err
}

func (s *retriesStore) RevokeUserSessions(ctx context.Context, w auth.Write, id string) (int, error) {
	n, err := s.Store.RevokeUserSessions(ctx, w, id)
	if nowAndThen(ctx, 10) {
		return s.Store.RevokeUserSessions(ctx, w, id)
	}
	return n, err
}

// joinsLateStore lets a read of the feed use the answer of another read that had already begun.
type joinsLateStore struct {
	altered
	mu     sync.Mutex
	flight *flight
}

type flight struct {
	done chan struct{}
	head int64
	err  error
}

func joinsLate() auth.Store { return &joinsLateStore{altered: altered{memstore.New()}} }

func (s *joinsLateStore) RevocationHead(ctx context.Context) (int64, error) {
	s.mu.Lock()
	joined := s.flight
	if joined == nil {
		s.flight = &flight{done: make(chan struct{})}
		begun := s.flight
		s.mu.Unlock()
		begun.head, begun.err = s.Store.RevocationHead(ctx)
		pause()
		s.mu.Lock()
		s.flight = nil
		s.mu.Unlock()
		close(begun.done)
		return begun.head, begun.err
	}
	s.mu.Unlock()
	<-joined.done
	return joined.head, joined.err
}

// rollsBackStore reports success although the change was rolled back.
type rollsBackStore struct{ altered }

func rollsBack() auth.Store { return &rollsBackStore{altered{memstore.New()}} }

func (s *rollsBackStore) UpdateUser(
	ctx context.Context, w auth.Write, id string, change auth.UserChange,
) (auth.User, error) {
	user, err := s.FindUser(ctx, id)
	if err == nil && w.By.Host != "" && !user.IsSuperUser && nowAndThen(ctx, 4) {
		return storekit.ChangeUser(user, change), nil
	}
	return s.Store.UpdateUser(ctx, w, id, change)
}

// checksEarlyStore checks the authority before the transaction of the change.
type checksEarlyStore struct{ altered }

func checksEarly() auth.Store { return &checksEarlyStore{altered{memstore.New()}} }

func (s *checksEarlyStore) AddKey(ctx context.Context, w auth.Write, key auth.AccessKey) error {
	return s.early(ctx, w, func(w auth.Write) error { return s.Store.AddKey(ctx, w, key) })
}

func (s *checksEarlyStore) RevokeSession(ctx context.Context, w auth.Write, id string) error {
	return s.early(ctx, w, func(w auth.Write) error { return s.Store.RevokeSession(ctx, w, id) })
}

func (s *checksEarlyStore) early(ctx context.Context, w auth.Write, change func(auth.Write) error) error {
	if w.By.Host != "" {
		return change(w)
	}
	session, _ := s.FindSession(ctx, w.By.SessionID)
	user, _ := s.FindUser(ctx, w.By.UserID)
	acting := storekit.Acting{By: w.By, Now: w.Now(), Session: session, User: user}
	if err := acting.Check(); err != nil {
		return err
	}
	pause()
	w.By = auth.ByHost("early")
	return change(w)
}

// prunesTooMuchStore removes entries that are not the oldest.
type prunesTooMuchStore struct {
	altered
	mu     sync.Mutex
	pruned map[int64]bool
}

func prunesTooMuch() auth.Store {
	return &prunesTooMuchStore{altered: altered{memstore.New()}, pruned: map[int64]bool{}}
}

func (s *prunesTooMuchStore) PruneRevocations(ctx context.Context, _ time.Time, _ int) (int, error) {
	entries, err := s.Store.ListRevocations(ctx, 0, 1<<20)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range slices.Backward(entries) {
		if e.ExpiresAt.IsZero() {
			s.pruned[e.Position] = true
			return 1, err
		}
	}
	return 0, err
}

func (s *prunesTooMuchStore) ListRevocations(
	ctx context.Context, from int64, limit int,
) ([]auth.Revocation, error) {
	entries, err := s.Store.ListRevocations(ctx, from, limit)
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(entries, func(e auth.Revocation) bool { return s.pruned[e.Position] }), err
}

// bySequenceStore has the feed of a store that takes the Position of an entry from a sequence. An
// entry becomes visible when its call commits. This can be after an entry with a greater Position
// became visible.
type bySequenceStore struct {
	altered
	mu     sync.Mutex
	hidden map[string]bool // sessions whose entries are not visible yet
}

func bySequence() auth.Store {
	return &bySequenceStore{altered: altered{memstore.New()}, hidden: map[string]bool{}}
}

func (s *bySequenceStore) hide(id string, hidden bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hidden[id] = hidden
}

func (s *bySequenceStore) RevokeSession(ctx context.Context, w auth.Write, id string) error {
	if !nowAndThen(ctx, 3) {
		return s.Store.RevokeSession(ctx, w, id)
	}
	s.hide(id, true)
	defer s.hide(id, false)
	err := s.Store.RevokeSession(ctx, w, id)
	pause()
	return err
}

func (s *bySequenceStore) ListRevocations(
	ctx context.Context, from int64, limit int,
) ([]auth.Revocation, error) {
	entries, err := s.Store.ListRevocations(ctx, from, limit)
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(entries, func(e auth.Revocation) bool { return s.hidden[e.SessionID] }), err
}

// overLimitStore counts the sessions of a user before it takes the lock.
type overLimitStore struct{ altered }

func overLimit() auth.Store { return &overLimitStore{altered{memstore.New()}} }

func (s *overLimitStore) CreateSession(
	ctx context.Context, session auth.Session, limit int,
) (auth.Session, auth.User, error) {
	sessions, err := s.ListSessions(ctx, session.UserID, session.CreatedAt)
	if err == nil && limit > 0 && len(sessions) < limit {
		limit = 0
		pause()
	}
	return s.Store.CreateSession(ctx, session, limit)
}

// foldsTooLittleStore adds an entry that misses a session when it folds.
type foldsTooLittleStore struct{ altered }

func foldsTooLittle() auth.Store { return &foldsTooLittleStore{altered{memstore.New()}} }

func (s *foldsTooLittleStore) ListRevocations(
	ctx context.Context, from int64, limit int,
) ([]auth.Revocation, error) {
	entries, err := s.Store.ListRevocations(ctx, from, limit)
	for i, e := range entries {
		if e.UserID != "" && e.SessionID == "" && e.Generation < e.Position {
			entries[i].Generation--
		}
	}
	return entries, err
}
