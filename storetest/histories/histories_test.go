package histories_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/storetest/histories"
)

// unsureStore keeps the contract. It often reports a failure. The change is then made at once, a
// moment later, in the next history, or never.
type unsureStore struct {
	altered
	mu       sync.Mutex
	held     []func() // changes for the next history
	released []func() // changes for the history that begins now
}

var errLost = errors.New("the connection was lost")

// unsure makes the change and returns its error, or returns errLost.
func (s *unsureStore) unsure(ctx context.Context, change func(context.Context) error) error {
	s.mu.Lock()
	released := s.released
	s.released = nil
	s.mu.Unlock()
	for _, late := range released {
		late()
	}
	if !nowAndThen(ctx, 8) {
		return change(ctx)
	}
	late := func() { _ = change(context.WithoutCancel(ctx)) }
	switch rand.IntN(5) {
	case 0:
		late()
	case 1:
		time.AfterFunc(time.Duration(rand.IntN(2000))*time.Microsecond, late)
	case 2, 3:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.held = append(s.held, late)
	}
	return errLost
}

// PruneRevocations has no deadline at the end of the preparation of a history.
func (s *unsureStore) PruneRevocations(ctx context.Context, before time.Time, limit int) (int, error) {
	if _, ok := ctx.Deadline(); !ok {
		s.mu.Lock()
		s.released, s.held = append(s.released, s.held...), nil
		s.mu.Unlock()
	}
	return s.Store.PruneRevocations(ctx, before, limit)
}

func (s *unsureStore) CreateSession(
	ctx context.Context, session auth.Session, limit int,
) (auth.Session, auth.User, error) {
	type pair struct {
		session auth.Session
		user    auth.User
	}
	result := make(chan pair, 1)
	err := s.unsure(ctx, func(ctx context.Context) error {
		created, user, err := s.Store.CreateSession(ctx, session, limit)
		result <- pair{created, user}
		return err
	})
	if err != nil {
		return auth.Session{}, auth.User{}, err
	}
	created := <-result
	return created.session, created.user, nil
}

func (s *unsureStore) UpdateUser(
	ctx context.Context, w auth.Write, id string, change auth.UserChange,
) (updated auth.User, err error) {
	result := make(chan auth.User, 1)
	err = s.unsure(ctx, func(ctx context.Context) error {
		user, err := s.Store.UpdateUser(ctx, w, id, change)
		result <- user
		return err
	})
	if err == nil {
		updated = <-result
	}
	return updated, err
}

func (s *unsureStore) RevokeSession(ctx context.Context, w auth.Write, id string) error {
	return s.unsure(ctx, func(ctx context.Context) error { return s.Store.RevokeSession(ctx, w, id) })
}

func (s *unsureStore) RevokeToken(ctx context.Context, claims auth.SessionClaims) error {
	return s.unsure(ctx, func(ctx context.Context) error { return s.Store.RevokeToken(ctx, claims) })
}

func (s *unsureStore) RevokeEverybody(ctx context.Context, w auth.Write, above int64) error {
	return s.unsure(ctx, func(ctx context.Context) error { return s.Store.RevokeEverybody(ctx, w, above) })
}

func TestAChangeAfterAnUnknownOutcomeIsNoDefect(t *testing.T) {
	t.Parallel()
	report, err := histories.Check(t.Context(), &unsureStore{altered: altered{memstore.New()}},
		histories.Config{Histories: 10, Calls: 200, Clients: 4})
	require.NoError(t, err)
	require.Greater(t, report.Unknown, 20)
}

func TestACheckThatTakesTooLongHasFailed(t *testing.T) {
	t.Parallel()
	_, err := histories.Check(t.Context(), memstore.New(), histories.Config{Timeout: time.Nanosecond})
	require.ErrorIs(t, err, histories.ErrTimeout)
}

func TestAConfigOutOfRangeIsRefused(t *testing.T) {
	t.Parallel()
	for _, cfg := range []histories.Config{
		{Histories: -1}, {Calls: 1001}, {Calls: -1}, {Calls: 5}, {Clients: 65}, {Clients: -1},
	} {
		_, err := histories.Check(t.Context(), memstore.New(), cfg)
		require.ErrorContains(t, err, "histories: Config.")
	}
}
