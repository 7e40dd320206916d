package wiretest

import (
	"net/http"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func TestRevokeEverybodyKeepsKeysAndAllowsNewSignIns(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		s := newStolen(t, open(t))
		alice := s.signIn(s.user)
		checking, err := auth.New(s.store, auth.Config{
			Issuer: issuer, SigningKeys: []auth.SigningKey{s.signer.Key}, Now: s.clock.Now,
			Tokens: auth.TokenConfig{CheckSessionsInStore: true},
		})
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status(checking, alice))
		require.NoError(t, s.svc.RevokeEverybody(t.Context(), authtest.ByHost))
		require.Equal(t, http.StatusUnauthorized, status(checking, alice), "with CheckSessionsInStore too")
		sessions, err := s.store.ListSessions(t.Context(), s.user.ID, s.clock.Now())
		require.NoError(t, err)
		require.Empty(t, sessions)
		for _, token := range []string{alice, s.bearer} {
			require.Equal(t, http.StatusUnauthorized, status(s.svc, token))
		}
		again, err := s.other.Login(t.Context(), s.userPair, auth.LoginOptions{})
		require.NoError(t, err)
		for _, svc := range []*auth.Service{s.svc, s.other} {
			require.Equal(t, http.StatusOK, status(svc, again.Bearer.Reveal()))
		}
		require.ErrorIs(t, s.svc.RevokeEverybody(t.Context(),
			auth.Authority{SessionID: again.Session.ID, UserID: s.user.ID}), auth.ErrSuperUserRequired)
	})
}

// After RevokeEverybody, every token is rejected. With CheckSessionsInStore, every instance rejects
// them from its next request on (docs/token-lifecycle.md).
func TestRevokeEverybodyRejectsTokensWithCheckSessionsInStore(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		s := newStolen(t, open(t), checkSessionsInStore)
		require.NoError(t, s.svc.RevokeEverybody(t.Context(), authtest.ByHost))
		s.clock.Advance(time.Minute)
		require.Equal(t, http.StatusUnauthorized, status(s.svc, s.bearer),
			"the instance that revoked everybody")
		require.Equal(t, http.StatusUnauthorized, status(s.other, s.bearer), "the other instance")
		require.Equal(t, http.StatusUnauthorized,
			s.sendAs(s.bearer, http.MethodGet, "/auth/users", "").status)
	})
}

func checkSessionsInStore(cfg *auth.Config) { cfg.Tokens.CheckSessionsInStore = true }

// Recheck returns ErrTokenRejected if the session of the token was revoked.
func TestRecheckRejectsTokensAfterRevokeEverybody(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		s := newStolen(t, open(t), checkSessionsInStore)
		var err error
		h := s.svc.Authenticate(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			require.NoError(t, s.svc.RevokeEverybody(r.Context(), authtest.ByHost))
			_, err = s.svc.Recheck(r.Context())
		}))
		send(h, http.MethodGet, "/", "", "Authorization", "Bearer "+s.bearer)
		require.ErrorIs(t, err, auth.ErrTokenRejected)
	})
}

// A restore undoes every revocation since the backup. So docs/backup-and-restore.md tells the
// operator to call RevokeEverybody after a restore. Every token is then rejected.
func TestRevokeEverybodyAfterARestoreRejectsEveryToken(t *testing.T) {
	t.Parallel()
	b := newBackedUp(t)
	b.backUp(t)
	b.logOut(b.svc, 5)
	stolen := b.signIn(b.admin)
	require.NoError(t, b.svc.Tokens().RevokeToken(t.Context(), stolen)) // the restore undoes this too
	require.Equal(t, http.StatusUnauthorized, status(b.svc, stolen))

	// All instances are stopped during the restore.
	b.restore(t)
	b.svc = b.instance()
	require.NoError(t, b.svc.RevokeEverybody(t.Context(), authtest.ByHost))
	b.logOut(b.svc, 10) // the head is now above the token's generation
	require.Equal(t, http.StatusUnauthorized, status(b.svc, stolen),
		"the token was revoked, and everybody was revoked")
	require.Equal(t, http.StatusUnauthorized,
		b.sendAs(stolen, http.MethodGet, "/auth/users", "").status)
}

// After RevokeEverybody, a token arrives that proves lost commits. The sessions of all users were
// revoked already, so the token must not cause a second revocation: new sessions stay valid.
func TestAnOldTokenAfterRevokeEverybodyRevokesNoNewSessions(t *testing.T) {
	t.Parallel()
	b, svc, old := loseCommits(t)
	require.NoError(t, svc.RevokeEverybody(t.Context(), authtest.ByHost))
	again := b.signInAt(svc, b.user)
	require.Equal(t, http.StatusOK, status(svc, again))

	b.clock.Advance(time.Hour)
	require.Equal(t, http.StatusUnauthorized, status(svc, old))
	require.Equal(t, http.StatusOK, status(svc, again), "a session opened after RevokeEverybody is kept")
}

// An operator revokes everybody while users sign out. A sign-out between two calls of the store
// must not keep RevokeEverybody from revoking the other sessions.
func TestRevokeEverybodyRevokesDespiteConcurrentSignOuts(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		s := newStolen(t, open(t))
		signOut := func(string) error {
			token, err := s.other.Login(t.Context(), s.userPair, auth.LoginOptions{})
			require.NoError(t, err)
			require.NoError(t, s.other.Tokens().RevokeToken(t.Context(), token.Bearer.Reveal()))
			return nil
		}
		svc, err := auth.New(authtest.FaultyStore(s.store, signOut), auth.Config{
			Issuer: issuer, SigningKeys: []auth.SigningKey{s.signer.Key}, Now: s.clock.Now,
		})
		require.NoError(t, err)
		require.NoError(t, svc.RevokeEverybody(t.Context(), authtest.ByHost))
		s.clock.Advance(time.Minute)
		for _, svc := range []*auth.Service{svc, s.svc, s.other} {
			require.Equal(t, http.StatusUnauthorized, status(svc, s.bearer))
		}
	})
}
