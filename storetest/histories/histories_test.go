package histories_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/storetest/histories"
)

// unsureStore keeps the contract. It often reports a failure. The change is then made at once, a
// moment later, or never.
type unsureStore struct{ altered }

var errLost = errors.New("the connection was lost")

// unsure makes the change and returns its error, or returns errLost.
func (s *unsureStore) unsure(ctx context.Context, change func(context.Context) error) error {
	if !nowAndThen(ctx, 8) {
		return change(ctx)
	}
	switch rand.IntN(3) {
	case 0:
		_ = change(ctx)
	case 1:
		time.AfterFunc(time.Duration(rand.IntN(2000))*time.Microsecond, func() {
			_ = change(context.WithoutCancel(ctx))
		})
	}
	return errLost
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
	report, err := histories.Check(t.Context(), &unsureStore{altered{memstore.New()}},
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
