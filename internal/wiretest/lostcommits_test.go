package wiretest

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// backedUp is a service with an SQLite database that can be restored from a backup. A restore
// replaces the inner store of the field store, so that the service goes on with the restored
// database.
type backedUp struct {
	*fixture
	store        *replaceableStore
	path, backup string
	config       auth.Config
	fault        atomic.Pointer[func(method string) error] // fails calls of the store
	calls        atomic.Int64                              // number of calls of the store
}

func newBackedUp(t *testing.T) *backedUp {
	t.Helper()
	b := newBackedUpStore(t)
	b.fixture = newFixture(t, func(f *fixture, cfg *auth.Config) {
		f.store = b.store
		cfg.SigningKeys = []auth.SigningKey{f.signer.Key}
		b.config = *cfg
	})
	return b
}

// newBackedUpStore does the same as newBackedUp, but without the service.
func newBackedUpStore(t *testing.T) *backedUp {
	t.Helper()
	dir := testenv.TempDir(t)
	b := &backedUp{
		store: &replaceableStore{}, path: filepath.Join(dir, "auth.db"),
		backup: filepath.Join(dir, "backup.db"),
	}
	b.open(t)
	return b
}

func (b *backedUp) open(t *testing.T) {
	opened := openSQL(t, "sqlite", sqliteDSN(b.path), sqlstore.Config{Dialect: sqlstore.SQLite})
	b.store.Store = authtest.FaultyStore(opened, func(method string) error {
		b.calls.Add(1)
		if fault := b.fault.Load(); fault != nil {
			return (*fault)(method)
		}
		return nil
	})
}

// inject makes the store call the function fault at the start of each later method call. If fault
// returns an error, the method fails with this error.
func (b *backedUp) inject(fault func(method string) error) { b.fault.Store(&fault) }

// instance returns another service with the same store.
func (b *backedUp) instance() *auth.Service {
	b.t.Helper()
	svc, err := auth.New(b.store, b.config)
	require.NoError(b.t, err)
	return svc
}

func (b *backedUp) backUp(t *testing.T) {
	t.Helper()
	copyDatabase(t, b.path, b.backup)
}

func (b *backedUp) restore(t *testing.T) {
	t.Helper()
	b.path += "-restored"
	copyDatabase(t, b.backup, b.path)
	b.open(t)
}

// copyDatabase copies a database file together with its write-ahead log.
func copyDatabase(t *testing.T, from, to string) {
	t.Helper()
	for _, suffix := range []string{"", "-wal"} {
		source, err := os.Open(from + suffix)
		if os.IsNotExist(err) {
			continue
		}
		require.NoError(t, err)
		target, err := os.Create(to + suffix)
		require.NoError(t, err)
		_, err = io.Copy(target, source)
		require.NoError(t, err)
		require.NoError(t, target.Close())
		require.NoError(t, source.Close())
	}
}

// logOut signs the user in and out n times. This adds n entries to the revocation feed.
func (b *backedUp) logOut(svc *auth.Service, n int) {
	b.t.Helper()
	for range n {
		token, err := svc.Login(b.t.Context(), b.userPair, auth.LoginOptions{})
		require.NoError(b.t, err)
		require.NoError(b.t, svc.Tokens().RevokeToken(b.t.Context(), token.Bearer.Reveal()))
	}
}

// signInAt signs the user in at the service svc and returns the token.
func (b *backedUp) signInAt(svc *auth.Service, user auth.User) string {
	b.t.Helper()
	token, err := svc.SignIn(b.t.Context(), user.ID, auth.LoginOptions{})
	require.NoError(b.t, err)
	return token.Bearer.Reveal()
}

// revokeOnce adds one entry to the revocation feed.
func (b *backedUp) revokeOnce(svc *auth.Service) {
	b.t.Helper()
	_, err := svc.Tokens().RevokeUser(b.t.Context(), authtest.ByHost, b.admin.ID)
	require.NoError(b.t, err)
}

// A token whose generation is above the head of the feed proves that the store has lost commits.
// This also holds for an instance that has just started, and for a token whose session was not
// lost.
func TestATokenAheadOfTheFeedRevokesEverybodyOnce(t *testing.T) {
	t.Parallel()
	b := newBackedUp(t)
	old := b.signIn(b.user)
	b.backUp(t)
	b.revokeOnce(b.svc)
	ahead := b.signIn(b.user)
	b.restore(t)

	first, second := b.instance(), b.instance()
	require.Equal(t, http.StatusOK, status(first, old), "nothing has proven the loss yet")
	require.Equal(t, http.StatusUnauthorized, status(first, ahead))
	require.Equal(t, http.StatusUnauthorized, status(first, old), "revocations may be among the lost commits")
	b.clock.Advance(5 * time.Second)
	require.Equal(t, http.StatusUnauthorized, status(second, old))
	require.Contains(t, b.log.String(), "auth: the store has lost commits, after a restored backup or "+
		"a fail-over: all sessions are revoked, because revocations may have been lost too; "+
		"repeat the other lost changes, such as revoked access keys")

	fresh, err := first.SignIn(t.Context(), b.user.ID, auth.LoginOptions{})
	require.NoError(t, err)
	for range 3 {
		for _, svc := range []*auth.Service{first, second, b.instance()} {
			require.Equal(t, http.StatusOK, status(svc, fresh.Bearer.Reveal()))
			require.Equal(t, http.StatusUnauthorized, status(svc, ahead),
				"the same proof does not revoke everybody again")
		}
		b.clock.Advance(5 * time.Second)
	}
}

// Later revocations raise the head of the feed above the generation of a lost token. The token
// would then be accepted, if the sessions of all users had not been revoked.
func TestATokenOfALostCommitStaysRejectedAfterTheFeedCatchesUp(t *testing.T) {
	t.Parallel()
	b := newBackedUp(t)
	b.backUp(t)
	b.revokeOnce(b.svc)
	ahead := b.signIn(b.user)
	b.restore(t)
	svc := b.instance()
	require.Equal(t, http.StatusUnauthorized, status(svc, ahead))
	for range 5 {
		b.revokeOnce(svc)
		require.Equal(t, http.StatusUnauthorized, status(svc, ahead))
		require.Equal(t, http.StatusUnauthorized, status(b.instance(), ahead))
	}
}

// An instance that runs during the restore has read entries that the feed no longer has.
func TestAnInstanceAheadOfTheFeedRevokesEverybody(t *testing.T) {
	t.Parallel()
	for name, later := range map[string]int{"a shorter feed": 0, "a feed as long": 1, "a longer feed": 4} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBackedUp(t)
			revoked := b.signIn(b.user)
			b.backUp(t)
			_, err := b.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, b.user.ID)
			require.NoError(t, err)
			require.Equal(t, http.StatusUnauthorized, status(b.svc, revoked))
			b.restore(t)
			other := b.instance()
			for range later { // the restored feed gets other entries
				b.revokeOnce(other)
			}
			require.Equal(t, http.StatusOK, status(other, revoked),
				"the backup has the session, and this instance cannot know of the loss")
			b.clock.Advance(5 * time.Second)
			fresh := b.signIn(b.user)
			require.Equal(t, http.StatusUnauthorized, status(b.svc, revoked))
			require.Equal(t, http.StatusUnauthorized, status(b.svc, fresh),
				"a token issued before the repair")
			require.Equal(t, http.StatusOK, status(b.svc, b.signIn(b.user)))
			b.clock.Advance(5 * time.Second)
			require.Equal(t, http.StatusUnauthorized, status(other, revoked))
		})
	}
}

func TestInstancesThatDetectLostCommitsAtOnceRevokeEverybodyOnce(t *testing.T) {
	t.Parallel()
	b := newBackedUp(t)
	b.backUp(t)
	b.revokeOnce(b.svc)
	ahead := b.signIn(b.user)
	b.restore(t)
	var group errgroup.Group
	for range 8 {
		svc := b.instance()
		group.Go(func() error {
			for range 16 {
				if got := status(svc, ahead); got != http.StatusUnauthorized {
					t.Errorf("a token of a lost commit got %d", got)
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	entries, err := b.store.ListRevocations(t.Context(), 0, 100)
	require.NoError(t, err)
	everybody := 0
	for _, e := range entries {
		if e.UserID == "" {
			everybody++
		}
	}
	require.Equal(t, 1, everybody)
}
