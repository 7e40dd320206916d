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

// restorableFile is an SQLite file that can be restored from a backup.
type restorableFile struct {
	t    testing.TB
	path string
	db   *sql.DB
}

func (f *restorableFile) open() *sqlstore.Store {
	f.t.Helper()
	db, err := sql.Open("sqlite", sqliteDSN(f.path))
	require.NoError(f.t, err)
	f.db = db
	f.t.Cleanup(func() { db.Close() })
	s, err := sqlstore.Open(context.Background(), db, sqlstore.Config{Dialect: sqlstore.SQLite})
	require.NoError(f.t, err)
	return s
}

func (f *restorableFile) backup() string {
	f.t.Helper()
	to := filepath.Join(f.t.TempDir(), "backup.db")
	_, err := f.db.Exec(`VACUUM INTO '` + to + `'`)
	require.NoError(f.t, err)
	return to
}

func (f *restorableFile) restore(from string) {
	f.t.Helper()
	require.NoError(f.t, f.db.Close())
	for _, suffix := range []string{"-wal", "-shm"} {
		os.Remove(f.path + suffix)
	}
	data, err := os.ReadFile(from)
	require.NoError(f.t, err)
	require.NoError(f.t, os.WriteFile(f.path, data, 0o600))
}

func newService(
	t testing.TB, store auth.Store, key auth.SigningKey, clock *authtest.Clock,
	change ...func(*auth.Config),
) *auth.Service {
	t.Helper()
	cfg := auth.Config{
		Issuer: issuer, SigningKeys: []auth.SigningKey{key}, Now: clock.Now,
		Logger: slog.New(slog.DiscardHandler),
	}
	cfg.Throttling.Off = true
	for _, c := range change {
		c(&cfg)
	}
	svc, err := auth.New(store, cfg)
	require.NoError(t, err)
	return svc
}

func registerUser(t testing.TB, svc *auth.Service, name string, super bool) auth.Registration {
	t.Helper()
	r, err := svc.Register(context.Background(), authtest.ByHost, auth.UserParams{
		Username: name, IsSuperUser: super,
	})
	require.NoError(t, err)
	return r
}

func loginToken(t testing.TB, svc *auth.Service, pair auth.KeyPair) string {
	t.Helper()
	token, err := svc.Login(context.Background(), pair)
	require.NoError(t, err)
	return token.Bearer.Reveal()
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

// lostCommits restores a store to a backup that is older than a token. It returns a restarted
// instance and the token, which is ahead of the restored feed. The restored feed ends at 1.
func lostCommits(t testing.TB, before func(method string) error) (
	svc *auth.Service, ahead string, clock *authtest.Clock, store auth.Store,
) {
	f := &restorableFile{t: t, path: filepath.Join(t.TempDir(), "auth.db")}
	clock = authtest.NewClock()
	key := authtest.NewSigners(t)["HS256"].Key
	svc = newService(t, f.open(), key, clock)
	boss := registerUser(t, svc, "boss", true)
	alice := registerUser(t, svc, "alice", false)
	backup := f.backup()
	for range 5 { // these revocations will be lost
		require.NoError(t, svc.Tokens().RevokeToken(t.Context(), loginToken(t, svc, alice.Pair)))
	}
	ahead = loginToken(t, svc, boss.Pair)
	f.restore(backup)
	store = authtest.FaultyStore(f.open(), before)
	return newService(t, store, key, clock), ahead, clock, store
}

// The tests below change one thing in this setup.
func TestATokenAheadOfTheFeedIsRejected(t *testing.T) {
	t.Parallel()
	svc, ahead, _, _ := lostCommits(t, func(string) error { return nil })
	require.Equal(t, http.StatusUnauthorized, status(svc, ahead))
}

// If the store fails, a loss cannot be proven, and the token is accepted as long as the last read
// of the feed is recent enough. One failed read of the head must not make such a token valid
// forever.
func TestAFailedReadOfTheHeadDoesNotAcceptATokenAheadForever(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	svc, ahead, clock, _ := lostCommits(t, func(method string) error {
		if away.Load() && method == "RevocationHead" {
			return authtest.ErrStoreAway
		}
		return nil
	})
	away.Store(true)
	first := status(svc, ahead)
	away.Store(false) // the store works again
	for minute := range 120 {
		clock.Advance(time.Minute)
		if got := status(svc, ahead); got != http.StatusUnauthorized {
			require.Less(t, minute, 119,
				"accepted for two hours after one failed read, although the feed is read: %d, first %d", got, first)
			continue
		}
		return
	}
}

// A canceled request must not keep the instance from checking for lost commits.
func TestACanceledRequestDoesNotSkipTheCheckForLostCommits(t *testing.T) {
	t.Parallel()
	accepted := 0
	for range 10 {
		svc, ahead, clock, _ := lostCommits(t, func(string) error { return nil })
		require.NoError(t, func() error { // another request reads the feed
			_, err := svc.Tokens().Verify(t.Context(), "x")
			if errors.Is(err, auth.ErrTokenRejected) {
				return nil
			}
			return err
		}())
		// The request of another user keeps the read of the feed recent.
		r := registerUser(t, svc, "carol", false)
		require.Equal(t, http.StatusOK, status(svc, loginToken(t, svc, r.Pair)))
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		svc.Tokens().Verify(canceled, ahead)
		clock.Advance(time.Minute)
		if status(svc, ahead) == http.StatusOK {
			accepted++
		}
	}
	require.Zero(t, accepted, "tokens ahead of the feed were accepted after a canceled request")
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

// Authority.SuperUser requires that the acting user is a super user.
func TestAnAuthorityWithSuperUserIsCheckedWithHostUsers(t *testing.T) {
	t.Parallel()
	h := newHosted(t)
	h.issue("u-boss")
	theirs := h.issue("u-boss")
	token, err := h.svc.SignIn(t.Context(), "u-alice") // an ordinary user
	require.NoError(t, err)
	by := auth.Authority{SessionID: token.Session.ID, UserID: "u-alice", SuperUser: true}
	_, err = h.svc.Credentials().Issue(t.Context(), by, "u-boss", auth.KeyOptions{})
	t.Run("Issue", func(t *testing.T) {
		require.Error(t, err, "an ordinary user must not create a key for boss")
	})
	_, err = h.svc.Credentials().Rotate(t.Context(), by, theirs.AccessKey, 0)
	t.Run("Rotate", func(t *testing.T) { require.Error(t, err) })
	err = h.svc.RevokeEverybody(t.Context(), by)
	t.Run("RevokeEverybody", func(t *testing.T) { require.ErrorIs(t, err, auth.ErrSuperUserRequired) })
}

// A holder of a signing key can forge tokens until the key is dropped. Attack: a forged token with
// a high generation must not affect the service after that.
func TestAForgedGenerationHasNoEffectAfterItsKeyIsDropped(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		for _, generation := range []int64{1 << 40, 1<<53 - 1, math.MaxInt64 - 1, math.MaxInt64} {
			t.Run(fmt.Sprint(generation), func(t *testing.T) {
				store, clock, signers := open(t), authtest.NewClock(), authtest.NewSigners(t)
				leaked, fresh := signers["HS256"], signers["EdDSA"]
				svc := newService(t, store, leaked.Key, clock)
				alice := registerUser(t, svc, "alice", true)
				require.Equal(t, http.StatusOK, status(svc, loginToken(t, svc, alice.Pair)))
				now := clock.Now().Unix()
				forged := leaked.Forge(t, `{"typ":"JWT","alg":"HS256","kid":"hs"}`, fmt.Sprintf(
					`{"iss":%q,"aud":%q,"sub":%q,"jti":"x","iat":%d,"exp":%d,"gen":%d,"username":"alice","is_super_user":true}`,
					issuer, issuer, alice.User.ID, now, now+3600, generation))
				t.Log("status of the forged token:", status(svc, forged))

				// The key is dropped, and every instance is restarted.
				svc = newService(t, store, fresh.Key, clock)
				clock.Advance(time.Minute)
				token := loginToken(t, svc, alice.Pair)
				require.Equal(t, http.StatusOK, status(svc, token))
				require.NoError(t, svc.Tokens().RevokeToken(t.Context(), token), "log out")
				require.Equal(t, http.StatusUnauthorized, status(svc, token))
				token = loginToken(t, svc, alice.Pair)
				require.Equal(t, http.StatusOK, status(svc, token))
				require.NoError(t, svc.RevokeEverybody(t.Context(), authtest.ByHost))
				require.Equal(t, http.StatusUnauthorized, status(svc, token))
				_, err := svc.RevokeUser(t.Context(), authtest.ByHost, alice.User.ID)
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, status(svc, loginToken(t, svc, alice.Pair)))
			})
		}
	})
}
