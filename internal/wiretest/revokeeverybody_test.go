package wiretest

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
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
		again, err := s.other.Login(t.Context(), s.userPair)
		require.NoError(t, err)
		for _, svc := range []*auth.Service{s.svc, s.other} {
			require.Equal(t, http.StatusOK, status(svc, again.Bearer.Reveal()))
		}
		require.ErrorIs(t, s.svc.RevokeEverybody(t.Context(),
			auth.Authority{SessionID: again.Session.ID, UserID: s.user.ID}), auth.ErrSuperUserRequired)
	})
}

// RevokeEverybody rejects every token. With CheckSessionsInStore that holds from the next request
// on, on every instance (docs/token-lifecycle.md).
func TestRevokeEverybodyRejectsTokensWithCheckSessionsInStore(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		store, clock, key := open(t), authtest.NewClock(), authtest.NewSigners(t)["HS256"].Key
		inStore := func(c *auth.Config) { c.Tokens.CheckSessionsInStore = true }
		svc, other := newService(t, store, key, clock, inStore), newService(t, store, key, clock, inStore)
		r := registerUser(t, svc, "alice", true)
		token := loginToken(t, svc, r.Pair)
		require.NoError(t, svc.RevokeEverybody(t.Context(), authtest.ByHost))
		clock.Advance(time.Minute)
		require.Equal(t, http.StatusUnauthorized, status(svc, token), "the instance that revoked everybody")
		require.Equal(t, http.StatusUnauthorized, status(other, token), "the other instance")
		require.Equal(t, http.StatusUnauthorized,
			send(svc.Handler(), "GET", "/auth/users", "", "Authorization", "Bearer "+token).status)
	})
}

// Recheck returns ErrTokenRejected if the session is not live.
func TestRecheckRejectsTokensAfterRevokeEverybody(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		store, clock, key := open(t), authtest.NewClock(), authtest.NewSigners(t)["HS256"].Key
		svc := newService(t, store, key, clock, func(c *auth.Config) { c.Tokens.CheckSessionsInStore = true })
		r := registerUser(t, svc, "alice", true)
		token := loginToken(t, svc, r.Pair)
		var err error
		h := svc.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			require.NoError(t, svc.RevokeEverybody(r.Context(), authtest.ByHost))
			_, err = svc.Recheck(r.Context())
		}))
		send(h, "GET", "/", "", "Authorization", "Bearer "+token)
		require.ErrorIs(t, err, auth.ErrTokenRejected)
	})
}

// docs/running.md tells the operator to call RevokeEverybody after a restore, because the restore
// brings back everything revoked since the backup. Every token is then rejected.
func TestRevokeEverybodyAfterARestoreRejectsEveryToken(t *testing.T) {
	t.Parallel()
	f := &restorableFile{t: t, path: filepath.Join(t.TempDir(), "auth.db")}
	clock, key := authtest.NewClock(), authtest.NewSigners(t)["HS256"].Key
	svc := newService(t, f.open(), key, clock)
	boss := registerUser(t, svc, "boss", true)
	alice := registerUser(t, svc, "alice", false)
	backup := f.backup()
	for range 5 {
		require.NoError(t, svc.Tokens().RevokeToken(t.Context(), loginToken(t, svc, alice.Pair)))
	}
	stolen := loginToken(t, svc, boss.Pair)
	require.NoError(t, svc.Tokens().RevokeToken(t.Context(), stolen)) // this revocation will be lost too
	require.Equal(t, http.StatusUnauthorized, status(svc, stolen))

	// All instances are stopped during the restore.
	f.restore(backup)
	svc = newService(t, f.open(), key, clock)
	require.NoError(t, svc.RevokeEverybody(t.Context(), authtest.ByHost))
	for range 10 { // the feed grows beyond the token
		require.NoError(t, svc.Tokens().RevokeToken(t.Context(), loginToken(t, svc, alice.Pair)))
	}
	require.Equal(t, http.StatusUnauthorized, status(svc, stolen),
		"the token was revoked, and everybody was revoked")
	require.Equal(t, http.StatusUnauthorized,
		send(svc.Handler(), "GET", "/auth/users", "", "Authorization", "Bearer "+stolen).status)
}

// The old token is presented right after RevokeEverybody. It proves lost commits, but everybody was
// revoked already, so new sessions must be kept.
func TestAnOldTokenAfterRevokeEverybodyRevokesNoNewSessions(t *testing.T) {
	t.Parallel()
	f := &restorableFile{t: t, path: filepath.Join(t.TempDir(), "auth.db")}
	clock, key := authtest.NewClock(), authtest.NewSigners(t)["HS256"].Key
	svc := newService(t, f.open(), key, clock)
	alice := registerUser(t, svc, "alice", false)
	backup := f.backup()
	for range 5 {
		require.NoError(t, svc.Tokens().RevokeToken(t.Context(), loginToken(t, svc, alice.Pair)))
	}
	old := loginToken(t, svc, alice.Pair)
	f.restore(backup)
	svc = newService(t, f.open(), key, clock)
	require.NoError(t, svc.RevokeEverybody(t.Context(), authtest.ByHost))
	again := loginToken(t, svc, alice.Pair)
	require.Equal(t, http.StatusOK, status(svc, again))
	clock.Advance(time.Hour)
	require.Equal(t, http.StatusUnauthorized, status(svc, old))
	require.Equal(t, http.StatusOK, status(svc, again), "a session opened after RevokeEverybody is kept")
}
