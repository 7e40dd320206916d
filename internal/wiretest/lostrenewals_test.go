package wiretest

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
)

// renewalLosingStore is a store that was restored from a backup: the backup has every session, but not the
// renewals that the store has acknowledged since.
type renewalLosingStore struct{ *memstore.Store }

func (s *renewalLosingStore) ExtendSession(
	ctx context.Context, w auth.Write, until time.Time,
) (auth.Session, auth.User, error) {
	session, err := s.FindSession(ctx, w.By.SessionID)
	user, errUser := s.FindUser(ctx, w.By.UserID)
	session.ExpiresAt = until
	return session, user, errors.Join(err, errUser)
}

// The attack: somebody has copied a renewed cookie. The store loses the renewal, and then the session is
// revoked. The copy must stay dead after the time at which the session ended before the renewal.
func TestARenewedCookieStaysRevokedAlthoughTheStoreHasLostTheRenewal(t *testing.T) {
	t.Parallel()
	for name, revoke := range map[string]func(t *testing.T, f *fixture){
		"revoking the session": func(t *testing.T, f *fixture) {
			sessions, err := f.store.ListSessions(t.Context(), f.user.ID, f.clock.Now())
			require.NoError(t, err)
			require.Len(t, sessions, 1)
			require.NoError(t, f.svc.Tokens().Revoke(t.Context(), authtest.ByHost, sessions[0].ID))
		},
		"revoking the other sessions": func(t *testing.T, f *fixture) {
			own := f.signedInByKey(f.userPair)
			r := f.ask(own, http.MethodDelete, "/auth/sessions?except=current")
			require.Equal(t, http.StatusOK, r.status)
		},
		"revoking the key": func(t *testing.T, f *fixture) {
			require.NoError(t, f.svc.Credentials().Revoke(t.Context(), authtest.ByHost,
				f.userPair.AccessKey))
		},
		"limiting the key": func(t *testing.T, f *fixture) {
			require.NoError(t, f.svc.Credentials().SetScopes(t.Context(), authtest.ByHost,
				f.userPair.AccessKey, auth.NewScopes(reading)))
		},
		"the limit of sessions": func(t *testing.T, f *fixture) {
			for range 3 {
				f.signIn(f.user)
			}
		},
		"revoking the user": func(t *testing.T, f *fixture) {
			require.NoError(t, errorOf(f.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, f.user.ID)))
		},
		"revoking everybody": func(t *testing.T, f *fixture) {
			require.NoError(t, f.svc.RevokeEverybody(t.Context(), authtest.ByHost))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newBrowserFixture(t, hostScopes, func(f *fixture, cfg *auth.Config) {
				f.store, cfg.Tokens.MaxSessions = &renewalLosingStore{memstore.New()}, 3
			})
			cookie := f.signedInByKey(f.userPair)
			f.clock.Advance(10 * time.Hour)
			renewed := sessionCookieOf(f.ask(cookie, http.MethodGet, "/auth/user"))
			require.NotEmpty(t, renewed)
			revoke(t, f)
			f.requireEnded(renewed)

			f.clock.Advance(5 * time.Hour) // an entry of the first cookie is no longer kept
			require.NoError(t, errorOf(f.svc.Prune(t.Context())))
			f.requireEnded(renewed)
			f.secondInstance().requireEnded(renewed)
		})
	}
}
