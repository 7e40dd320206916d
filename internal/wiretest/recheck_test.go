package wiretest

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
)

// sessionsStore is a store in which a test can replace the result of FindSession and make
// ListRevocations fail.
type sessionsStore struct {
	auth.Store
	find atomic.Pointer[func(auth.Session) (auth.Session, error)]
	fail atomic.Pointer[error] // error of ListRevocations
}

func (s *sessionsStore) FindSession(ctx context.Context, id string) (auth.Session, error) {
	session, err := s.Store.FindSession(ctx, id)
	if find := s.find.Load(); find != nil {
		return (*find)(session)
	}
	return session, err
}

func (s *sessionsStore) ListRevocations(
	ctx context.Context, from int64, limit int,
) ([]auth.Revocation, error) {
	if err := s.fail.Load(); err != nil {
		return nil, *err
	}
	return s.Store.ListRevocations(ctx, from, limit)
}

func TestRecheckBelievesNeitherTheRecordNorTheFeedAlone(t *testing.T) {
	t.Parallel()
	broken := errors.New("the store does not answer")
	for name, c := range map[string]struct {
		during func(f *fixture, store *sessionsStore, session auth.Session)
		want   error // nil if the session is live
	}{
		"a live session": {func(*fixture, *sessionsStore, auth.Session) {}, nil},
		"a record of another user": {func(_ *fixture, store *sessionsStore, _ auth.Session) {
			store.returns(func(s auth.Session) (auth.Session, error) {
				s.UserID = "another"
				return s, nil
			})
		}, auth.ErrTokenRejected},
		"an expired record": {func(f *fixture, store *sessionsStore, _ auth.Session) {
			store.returns(func(s auth.Session) (auth.Session, error) {
				s.ExpiresAt = f.clock.Now()
				return s, nil
			})
		}, auth.ErrTokenRejected},
		"no answer about the record": {func(_ *fixture, store *sessionsStore, _ auth.Session) {
			store.returns(func(s auth.Session) (auth.Session, error) { return s, broken })
		}, broken},
		"a record after its revocation": {func(_ *fixture, store *sessionsStore, session auth.Session) {
			store.returns(func(auth.Session) (auth.Session, error) { return session, nil })
			require.NoError(t, store.RevokeSession(t.Context(), authtest.HostWrite, session.ID))
		}, auth.ErrTokenRejected},
		"no answer about the feed": {func(_ *fixture, store *sessionsStore, _ auth.Session) {
			store.fail.Store(&broken)
		}, broken},
	} {
		store := &sessionsStore{}
		f := newFixture(t, func(f *fixture, _ *auth.Config) {
			store.Store = f.store
			f.store = store
		})
		token, err := f.svc.SignIn(t.Context(), f.user.ID, auth.LoginOptions{})
		require.NoError(t, err)
		called := false
		h := f.svc.Authenticate(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			called = true
			c.during(f, store, token.Session)
			_, err := f.svc.Recheck(r.Context())
			if c.want == nil {
				require.NoError(t, err, name)
				return
			}
			require.ErrorIs(t, err, c.want, name)
		}))
		send(h, http.MethodGet, "/", "", "Authorization", "Bearer "+token.Bearer.Reveal())
		require.True(t, called)
	}
}

func (s *sessionsStore) returns(find func(auth.Session) (auth.Session, error)) { s.find.Store(&find) }
