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
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/sqlstore"
)

// While the store fails, the loss cannot be proven, and a token is accepted as long as the last
// read of the feed is recent enough. Many such tokens cost one read.
func TestManyTokensAheadOfTheFeedCostOneRead(t *testing.T) {
	t.Parallel()
	b := newBackedUp(t)
	other := b.instance()
	require.Equal(t, http.StatusOK, status(other, b.signIn(b.user)))
	b.revokeOnce(b.svc)
	tokens := []string{b.signIn(b.user), b.signIn(b.user), b.signIn(b.user)}
	before := b.calls.Load()
	for _, token := range append(tokens, tokens...) {
		require.Equal(t, http.StatusOK, status(other, token))
	}
	// The six requests may each read once; the feed is read at most twice more.
	require.LessOrEqual(t, b.calls.Load()-before-6, int64(2))

	b.revokeOnce(b.svc)
	token := b.signIn(b.user)
	b.unreadable.Store(true)
	identify := func() error {
		_, err := other.Tokens().Verify(t.Context(), token)
		return err
	}
	require.NoError(t, identify())
	b.clock.Advance(61 * time.Second)
	require.Error(t, identify(), "the last read of the feed is too old")
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

// Several requests with a token ahead of the feed arrive at once. The first one proves that commits
// were lost and revokes everybody. The others wait for it and must be rejected too.
func TestConcurrentTokensAheadOfTheFeedAreAllRejected(t *testing.T) {
	t.Parallel()
	var accepted, rejected atomic.Int64
	for range 5 {
		var slow atomic.Bool
		svc, ahead, clock, _ := lostCommits(t, func(method string) error {
			if slow.Load() && (method == "RevocationHead" || method == "ListRevocations") {
				time.Sleep(5 * time.Millisecond) // as slow as a database
			}
			return nil
		})
		// Another request has just read the feed.
		r := registerUser(t, svc, "carol", false)
		require.Equal(t, 200, status(svc, loginToken(t, svc, r.Pair)))
		slow.Store(true)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if status(svc, ahead) == 200 {
					accepted.Add(1)
				} else {
					rejected.Add(1)
				}
			})
		}
		wg.Wait()
		clock.Advance(time.Minute)
		require.Equal(t, 401, status(svc, ahead))
	}
	require.Zero(t, accepted.Load(),
		"requests with a token ahead of the feed were accepted; %d were rejected", rejected.Load())
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
