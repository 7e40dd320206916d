package wiretest

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
)

// loseSession removes the record of the stolen session, as an instance does whose clock is far
// ahead, or a backup that is older than the session.
func (s *stolen) loseSession() {
	s.t.Helper()
	_, err := s.store.PruneSessions(s.t.Context(), s.session.Session.ExpiresAt.Add(time.Hour), 1000)
	require.NoError(s.t, err)
	require.Equal(s.t, http.StatusOK, status(s.svc, s.bearer), "the feed says nothing about it")
}

// A token whose session has no record any more must end like every other.
func TestATokenWhoseSessionWasLostCanBeRevokedInEveryWay(t *testing.T) {
	t.Parallel()
	boss := func(s *stolen) string { return s.thiefsOwner.User.ID }
	ways := map[string]func(t *testing.T, s *stolen){
		"logout": func(t *testing.T, s *stolen) {
			require.Equal(t, http.StatusOK, s.sendAs(s.bearer, http.MethodPost, "/auth/logout", "").status)
		},
		"revoke the user": func(t *testing.T, s *stolen) {
			_, err := s.svc.RevokeUser(t.Context(), authtest.ByHost, boss(s))
			require.NoError(t, err)
		},
		"disable": func(t *testing.T, s *stolen) {
			_, err := s.svc.UpdateUser(t.Context(), authtest.ByHost, boss(s), auth.UserChange{IsActive: new(false)})
			require.NoError(t, err)
		},
		"reset": func(t *testing.T, s *stolen) {
			_, err := s.svc.RegenerateCredentials(t.Context(), authtest.ByHost, boss(s))
			require.NoError(t, err)
		},
		"delete": func(t *testing.T, s *stolen) {
			require.NoError(t, s.svc.DeleteUser(t.Context(), authtest.ByHost, boss(s)))
		},
		"revoke everybody": func(t *testing.T, s *stolen) {
			require.NoError(t, s.svc.RevokeEverybody(t.Context(), authtest.ByHost))
		},
	}
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		for name, end := range ways {
			t.Run(name, func(t *testing.T) {
				s := newStolen(t, open(t))
				s.loseSession()
				end(t, s)
				require.Equal(t, http.StatusUnauthorized, status(s.svc, s.bearer), "on this instance, at once")
				s.clock.Advance(6 * time.Second)
				require.Equal(t, http.StatusUnauthorized, status(s.other, s.bearer), "on the other, an interval later")
			})
		}
	})
}

// An entry for a user must live as long as any token that can exist, also if the only session that
// the store knew of ended sooner.
func TestARevokedTokenStaysRejectedAfterItsUsersEntryExpires(t *testing.T) {
	t.Parallel()
	s := newStolen(t, testStores["memory"](t))
	short, err := s.svc.Credentials().Issue(t.Context(), authtest.ByHost, s.thiefsOwner.User.ID, auth.KeyOptions{ExpiresAt: s.clock.Now().Add(time.Minute)})
	require.NoError(t, err)
	s.loseSession()
	_, err = s.svc.Login(t.Context(), short) // the one session with a record, of a minute
	require.NoError(t, err)
	_, err = s.svc.RevokeUser(t.Context(), authtest.ByHost, s.thiefsOwner.User.ID)
	require.NoError(t, err)
	for range 11 {
		s.clock.Advance(time.Hour)
		_, err := s.svc.Prune(t.Context())
		require.NoError(t, err)
		restarted, err := auth.New(s.store, auth.Config{Issuer: issuer, SigningKeys: []auth.SigningKey{s.signer.Key}, Now: s.clock.Now})
		require.NoError(t, err)
		for _, svc := range []*auth.Service{s.svc, s.other, restarted} {
			require.Equal(t, http.StatusUnauthorized, status(svc, s.bearer))
		}
	}
}

func TestRevokeEverybodyKeepsKeysAndAllowsNewSignIns(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		s := newStolen(t, open(t))
		alice := s.signIn(s.user)
		asking, err := auth.New(s.store, auth.Config{
			Issuer: issuer, SigningKeys: []auth.SigningKey{s.signer.Key}, Now: s.clock.Now, Tokens: auth.TokenConfig{CheckSessionsInStore: true},
		})
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status(asking, alice))
		require.NoError(t, s.svc.RevokeEverybody(t.Context(), authtest.ByHost))
		require.Equal(t, http.StatusUnauthorized, status(asking, alice), "also if it asks the store for each session")
		left, err := s.store.ListSessions(t.Context(), s.user.ID, s.clock.Now())
		require.NoError(t, err)
		require.Empty(t, left)
		for _, token := range []string{alice, s.bearer} {
			require.Equal(t, http.StatusUnauthorized, status(s.svc, token))
		}
		again, err := s.other.Login(t.Context(), s.userPair)
		require.NoError(t, err)
		for _, svc := range []*auth.Service{s.svc, s.other} {
			require.Equal(t, http.StatusOK, status(svc, again.Bearer.Reveal()))
		}
		require.ErrorIs(t, s.svc.RevokeEverybody(t.Context(), auth.Authority{SessionID: again.Session.ID, UserID: s.user.ID}), auth.ErrSuperUserRequired)
	})
}
