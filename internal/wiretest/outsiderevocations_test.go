package wiretest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/sqlstore"
)

// --- helpers -----------------------------------------------------------------------------------

// outsideFile is an SQLite file that can be put back to an earlier copy.
type outsideFile struct {
	t    testing.TB
	path string
	db   *sql.DB
}

func (f *outsideFile) open() *sqlstore.Store {
	f.t.Helper()
	db, err := sql.Open("sqlite", sqliteDSN(f.path))
	require.NoError(f.t, err)
	f.db = db
	f.t.Cleanup(func() { db.Close() })
	s, err := sqlstore.Open(context.Background(), db, sqlstore.Config{Dialect: sqlstore.SQLite})
	require.NoError(f.t, err)
	return s
}

func (f *outsideFile) backup() string {
	f.t.Helper()
	to := filepath.Join(f.t.TempDir(), "backup.db")
	_, err := f.db.Exec(`VACUUM INTO '` + to + `'`)
	require.NoError(f.t, err)
	return to
}

func (f *outsideFile) restore(from string) {
	f.t.Helper()
	require.NoError(f.t, f.db.Close())
	for _, suffix := range []string{"-wal", "-shm"} {
		os.Remove(f.path + suffix)
	}
	data, err := os.ReadFile(from)
	require.NoError(f.t, err)
	require.NoError(f.t, os.WriteFile(f.path, data, 0o600))
}

func outsideService(t testing.TB, store auth.Store, key auth.SigningKey, clock *authtest.Clock, change ...func(*auth.Config)) *auth.Service {
	t.Helper()
	cfg := auth.Config{Issuer: issuer, SigningKeys: []auth.SigningKey{key}, Now: clock.Now, Logger: slog.New(slog.DiscardHandler)}
	cfg.Throttling.Off = true
	for _, c := range change {
		c(&cfg)
	}
	svc, err := auth.New(store, cfg)
	require.NoError(t, err)
	return svc
}

func outsideRegister(t testing.TB, svc *auth.Service, name string, super bool) auth.Registration {
	t.Helper()
	r, err := svc.Register(context.Background(), authtest.ByHost, auth.UserParams{Username: name, IsSuperUser: super})
	require.NoError(t, err)
	return r
}

func outsideLogin(t testing.TB, svc *auth.Service, pair auth.KeyPair) string {
	t.Helper()
	token, err := svc.Login(context.Background(), pair)
	require.NoError(t, err)
	return token.Bearer.Reveal()
}

// --- T1 ----------------------------------------------------------------------------------------

// "every token is rejected, and everybody signs in again" (running.md). With CheckSessionsInStore
// "the next request on, everywhere; the store is asked each time" (token-lifecycle.md).
func TestRevokeEverybodyRejectsTokensWithCheckSessionsInStore(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		store, clock, key := open(t), authtest.NewClock(), authtest.NewSigners(t)["HS256"].Key
		inStore := func(c *auth.Config) { c.Tokens.CheckSessionsInStore = true }
		svc, other := outsideService(t, store, key, clock, inStore), outsideService(t, store, key, clock, inStore)
		r := outsideRegister(t, svc, "alice", true)
		token := outsideLogin(t, svc, r.Pair)
		require.NoError(t, svc.RevokeEverybody(t.Context(), authtest.ByHost))
		clock.Advance(time.Minute)
		require.Equal(t, http.StatusUnauthorized, status(svc, token), "on the instance that revoked everybody")
		require.Equal(t, http.StatusUnauthorized, status(other, token), "on the other")
		require.Equal(t, http.StatusUnauthorized, send(svc.Handler(), "GET", "/auth/users", "", "Authorization", "Bearer "+token).status)
	})
}

// The same of Recheck, which "returns ErrTokenRejected if the session is not live".
func TestRecheckRejectsTokensAfterRevokeEverybody(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		store, clock, key := open(t), authtest.NewClock(), authtest.NewSigners(t)["HS256"].Key
		svc := outsideService(t, store, key, clock, func(c *auth.Config) { c.Tokens.CheckSessionsInStore = true })
		r := outsideRegister(t, svc, "alice", true)
		token := outsideLogin(t, svc, r.Pair)
		var err error
		h := svc.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			require.NoError(t, svc.RevokeEverybody(r.Context(), authtest.ByHost))
			_, err = svc.Recheck(r.Context())
		}))
		send(h, "GET", "/", "", "Authorization", "Bearer "+token)
		require.ErrorIs(t, err, auth.ErrTokenRejected)
	})
}

// --- T2 ----------------------------------------------------------------------------------------

// outsideLost restores a store from before a token, and returns the token, ahead of the feed, with an
// instance that has been restarted. The feed of the restored store goes on to 1.
func outsideLost(t testing.TB, before func(method string) error) (*auth.Service, string, *authtest.Clock, auth.Store) {
	f := &outsideFile{t: t, path: filepath.Join(t.TempDir(), "auth.db")}
	clock, key := authtest.NewClock(), authtest.NewSigners(t)["HS256"].Key
	svc := outsideService(t, f.open(), key, clock)
	boss := outsideRegister(t, svc, "boss", true)
	alice := outsideRegister(t, svc, "alice", false)
	backup := f.backup()
	for range 5 { // revocations that will be lost
		require.NoError(t, svc.Tokens().RevokeToken(t.Context(), outsideLogin(t, svc, alice.Pair)))
	}
	ahead := outsideLogin(t, svc, boss.Pair)
	f.restore(backup)
	store := authtest.FaultyStore(f.open(), before)
	return outsideService(t, store, key, clock), ahead, clock, store
}

func TestATokenAheadOfTheFeedIsRejected(t *testing.T) { // control
	t.Parallel()
	svc, ahead, _, _ := outsideLost(t, func(string) error { return nil })
	require.Equal(t, http.StatusUnauthorized, status(svc, ahead))
}

// One failed read of the head must not make a token that is ahead of the feed good for ever: "If the
// store does not answer, nothing is proven, and the token is accepted for as long as what is known is
// still good."
func TestAFailedReadOfTheHeadDoesNotAcceptATokenAheadForever(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	svc, ahead, clock, _ := outsideLost(t, func(method string) error {
		if away.Load() && method == "RevocationHead" {
			return authtest.ErrStoreAway
		}
		return nil
	})
	away.Store(true)
	first := status(svc, ahead)
	away.Store(false) // the store is well again
	for minute := range 120 {
		clock.Advance(time.Minute)
		if got := status(svc, ahead); got != http.StatusUnauthorized {
			require.Less(t, minute, 119, "accepted (%d, first %d) for two hours after one failed read; the feed is read every 5 seconds meanwhile", got, first)
			continue
		}
		return
	}
}

// A client that goes away must not decide whether the proof is looked at.
func TestACanceledRequestDoesNotSkipTheCheckForLostCommits(t *testing.T) {
	t.Parallel()
	accepted := 0
	for range 10 {
		svc, ahead, clock, _ := outsideLost(t, func(string) error { return nil })
		require.NoError(t, func() error { // the feed is fresh: somebody else's request
			_, err := svc.Tokens().Verify(t.Context(), "x")
			if errors.Is(err, auth.ErrTokenRejected) {
				return nil
			}
			return err
		}())
		// another user keeps the feed fresh
		r := outsideRegister(t, svc, "carol", false)
		require.Equal(t, http.StatusOK, status(svc, outsideLogin(t, svc, r.Pair)))
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		svc.Tokens().Verify(gone, ahead)
		clock.Advance(time.Minute)
		if status(svc, ahead) == http.StatusOK {
			accepted++
		}
	}
	require.Zero(t, accepted, "of 10 tokens ahead of the feed that were first sent on a connection that the client closed")
}

// --- T3 ----------------------------------------------------------------------------------------

// running.md: "A restore brings back what has been taken away since the backup, so call
// Service.RevokeEverybody after it: every token is rejected, and everybody signs in again."
func TestRevokeEverybodyAfterARestoreRejectsEveryToken(t *testing.T) {
	t.Parallel()
	f := &outsideFile{t: t, path: filepath.Join(t.TempDir(), "auth.db")}
	clock, key := authtest.NewClock(), authtest.NewSigners(t)["HS256"].Key
	svc := outsideService(t, f.open(), key, clock)
	boss := outsideRegister(t, svc, "boss", true)
	alice := outsideRegister(t, svc, "alice", false)
	backup := f.backup()
	for range 5 {
		require.NoError(t, svc.Tokens().RevokeToken(t.Context(), outsideLogin(t, svc, alice.Pair)))
	}
	stolen := outsideLogin(t, svc, boss.Pair)
	require.NoError(t, svc.Tokens().RevokeToken(t.Context(), stolen)) // acknowledged
	require.Equal(t, http.StatusUnauthorized, status(svc, stolen))

	f.restore(backup) // all instances were stopped
	svc = outsideService(t, f.open(), key, clock)
	require.NoError(t, svc.RevokeEverybody(t.Context(), authtest.ByHost)) // as the operator is told
	for range 10 {                                                        // the service goes on
		require.NoError(t, svc.Tokens().RevokeToken(t.Context(), outsideLogin(t, svc, alice.Pair)))
	}
	require.Equal(t, http.StatusUnauthorized, status(svc, stolen), "a token that was revoked, and then everybody was")
	require.Equal(t, http.StatusUnauthorized, send(svc.Handler(), "GET", "/auth/users", "", "Authorization", "Bearer "+stolen).status)
}

// The same, and the token is presented at once: then everybody who has signed in since is signed out
// for a second time.
func TestAnOldTokenAfterRevokeEverybodyRevokesNoNewSessions(t *testing.T) {
	t.Parallel()
	f := &outsideFile{t: t, path: filepath.Join(t.TempDir(), "auth.db")}
	clock, key := authtest.NewClock(), authtest.NewSigners(t)["HS256"].Key
	svc := outsideService(t, f.open(), key, clock)
	alice := outsideRegister(t, svc, "alice", false)
	backup := f.backup()
	for range 5 {
		require.NoError(t, svc.Tokens().RevokeToken(t.Context(), outsideLogin(t, svc, alice.Pair)))
	}
	old := outsideLogin(t, svc, alice.Pair)
	f.restore(backup)
	svc = outsideService(t, f.open(), key, clock)
	require.NoError(t, svc.RevokeEverybody(t.Context(), authtest.ByHost))
	again := outsideLogin(t, svc, alice.Pair)
	require.Equal(t, http.StatusOK, status(svc, again))
	clock.Advance(time.Hour)
	require.Equal(t, http.StatusUnauthorized, status(svc, old))
	require.Equal(t, http.StatusOK, status(svc, again), "who signed in after RevokeEverybody is signed out again")
}

// --- T4 ----------------------------------------------------------------------------------------

// authority.go: "SuperUser means that the user must be a super user."
func TestAnAuthorityWithSuperUserIsCheckedWithHostUsers(t *testing.T) {
	t.Parallel()
	h := newHosted(t)
	h.issue("u-boss")
	theirs := h.issue("u-boss")
	token, err := h.svc.SignIn(t.Context(), "u-alice") // no super user
	require.NoError(t, err)
	by := auth.Authority{SessionID: token.Session.ID, UserID: "u-alice", SuperUser: true}
	_, err = h.svc.Credentials().Issue(t.Context(), by, "u-boss", auth.KeyOptions{})
	t.Run("Issue", func(t *testing.T) { require.Error(t, err, "an ordinary user has a key of the boss") })
	_, err = h.svc.Credentials().Rotate(t.Context(), by, theirs.AccessKey, 0)
	t.Run("Rotate", func(t *testing.T) { require.Error(t, err) })
	err = h.svc.RevokeEverybody(t.Context(), by)
	t.Run("RevokeEverybody", func(t *testing.T) { require.ErrorIs(t, err, auth.ErrSuperUserRequired) })
}

// --- T6 ----------------------------------------------------------------------------------------

// "Who has a signing key can make a token for anybody whose id they know, until the key is dropped."
// What such a token leaves behind must end with the key.
func TestAForgedGenerationHasNoEffectAfterItsKeyIsDropped(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		for _, generation := range []int64{1 << 40, 1<<53 - 1, math.MaxInt64 - 1, math.MaxInt64} {
			t.Run(fmt.Sprint(generation), func(t *testing.T) {
				store, clock, signers := open(t), authtest.NewClock(), authtest.NewSigners(t)
				leaked, fresh := signers["HS256"], signers["EdDSA"]
				svc := outsideService(t, store, leaked.Key, clock)
				alice := outsideRegister(t, svc, "alice", true)
				require.Equal(t, http.StatusOK, status(svc, outsideLogin(t, svc, alice.Pair)))
				now := clock.Now().Unix()
				forged := leaked.Forge(t, `{"typ":"JWT","alg":"HS256","kid":"hs"}`, fmt.Sprintf(
					`{"iss":%q,"aud":%q,"sub":%q,"jti":"x","iat":%d,"exp":%d,"gen":%d,"username":"alice","is_super_user":true}`,
					issuer, issuer, alice.User.ID, now, now+3600, generation))
				t.Log("the forged token is answered with", status(svc, forged))

				// The key is dropped, and every instance restarted.
				svc = outsideService(t, store, fresh.Key, clock)
				clock.Advance(time.Minute)
				token := outsideLogin(t, svc, alice.Pair)
				require.Equal(t, http.StatusOK, status(svc, token))
				require.NoError(t, svc.Tokens().RevokeToken(t.Context(), token), "logout")
				require.Equal(t, http.StatusUnauthorized, status(svc, token))
				token = outsideLogin(t, svc, alice.Pair)
				require.Equal(t, http.StatusOK, status(svc, token))
				require.NoError(t, svc.RevokeEverybody(t.Context(), authtest.ByHost))
				require.Equal(t, http.StatusUnauthorized, status(svc, token))
				_, err := svc.RevokeUser(t.Context(), authtest.ByHost, alice.User.ID)
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, status(svc, outsideLogin(t, svc, alice.Pair)))
			})
		}
	})
}
