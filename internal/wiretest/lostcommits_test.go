package wiretest

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/sqlstore"
)

// backedUp is a service over an SQLite file that can be set back to a backup. Each time, the store is
// opened anew, behind the same value, as a program sees a restored database.
type backedUp struct {
	*fixture
	store      *swapped
	path, copy string
	config     auth.Config
	unreadable atomic.Bool
	calls      atomic.Int64 // that the store was asked
}

func newBackedUp(t *testing.T) *backedUp {
	t.Helper()
	dir := t.TempDir()
	b := &backedUp{store: &swapped{}, path: filepath.Join(dir, "auth.db"), copy: filepath.Join(dir, "backup.db")}
	b.open(t)
	b.fixture = newFixture(t, func(f *fixture, cfg *auth.Config) {
		f.store = b.store
		cfg.SigningKeys = []auth.SigningKey{f.signer.Key}
		b.config = *cfg
	})
	return b
}

func (b *backedUp) open(t *testing.T) {
	opened := openSQL(t, sqlstore.SQLite, "sqlite", sqliteDSN(b.path), "")
	b.store.Store = authtest.FaultyStore(opened, func(string) error {
		b.calls.Add(1)
		if b.unreadable.Load() {
			return authtest.ErrStoreAway
		}
		return nil
	})
}

// instance returns another service over the same store.
func (b *backedUp) instance() *auth.Service {
	b.t.Helper()
	svc, err := auth.New(b.store, b.config)
	require.NoError(b.t, err)
	return svc
}

func (b *backedUp) backUp(t *testing.T) {
	t.Helper()
	files(t, b.path, b.copy)
}

func (b *backedUp) restore(t *testing.T) {
	t.Helper()
	b.path += "-restored"
	files(t, b.copy, b.path)
	b.open(t)
}

// files copies a database with what is in its log.
func files(t *testing.T, from, to string) {
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

// revokeOnce makes the feed longer by one entry.
func (b *backedUp) revokeOnce(svc *auth.Service) {
	b.t.Helper()
	_, err := svc.RevokeUser(b.t.Context(), authtest.ByHost, b.admin.ID)
	require.NoError(b.t, err)
}

// A token that is ahead of the feed proves that commits were lost, also to an instance that has
// just started, and also if its own session is not among what was lost.
func TestATokenAheadOfTheFeedRevokesEverybodyOnce(t *testing.T) {
	t.Parallel()
	b := newBackedUp(t)
	old := b.signIn(b.user)
	b.backUp(t)
	b.revokeOnce(b.svc)
	ahead := b.signIn(b.user)
	b.restore(t)

	first, second := b.instance(), b.instance()
	require.Equal(t, http.StatusOK, status(first, old), "nothing proves the loss yet")
	require.Equal(t, http.StatusUnauthorized, status(first, ahead))
	require.Equal(t, http.StatusUnauthorized, status(first, old), "revocations may have been lost too")
	b.clock.Advance(5 * time.Second)
	require.Equal(t, http.StatusUnauthorized, status(second, old))
	require.Contains(t, b.log.String(), "the store has lost commits")

	fresh, err := first.SignIn(t.Context(), b.user.ID)
	require.NoError(t, err)
	for range 3 {
		for _, svc := range []*auth.Service{first, second, b.instance()} {
			require.Equal(t, http.StatusOK, status(svc, fresh.Bearer.Reveal()))
			require.Equal(t, http.StatusUnauthorized, status(svc, ahead), "proving it again proves nothing new")
		}
		b.clock.Advance(5 * time.Second)
	}
}

// The head climbs past the lost tokens' generations by ordinary revocations. Without the entry for
// everybody, the lost tokens would be accepted then.
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

// An instance that went on through the restore has read more of the feed than is left.
func TestAnInstanceAheadOfTheFeedRevokesEverybody(t *testing.T) {
	t.Parallel()
	for name, later := range map[string]int{"shorter": 0, "as long": 1, "longer": 4} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBackedUp(t)
			revived := b.signIn(b.user)
			b.backUp(t)
			_, err := b.svc.RevokeUser(t.Context(), authtest.ByHost, b.user.ID)
			require.NoError(t, err)
			require.Equal(t, http.StatusUnauthorized, status(b.svc, revived))
			b.restore(t)
			other := b.instance()
			for range later { // another course of the feed
				b.revokeOnce(other)
			}
			require.Equal(t, http.StatusOK, status(other, revived), "the backup has the session, and nothing proves the loss here")
			b.clock.Advance(5 * time.Second)
			fresh := b.signIn(b.user)
			require.Equal(t, http.StatusUnauthorized, status(b.svc, revived))
			require.Equal(t, http.StatusUnauthorized, status(b.svc, fresh), "of before the repair")
			require.Equal(t, http.StatusOK, status(b.svc, b.signIn(b.user)))
			b.clock.Advance(5 * time.Second)
			require.Equal(t, http.StatusUnauthorized, status(other, revived))
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
					t.Errorf("a token of the lost history got %d", got)
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

// While the store does not answer, nothing proves anything, and a token is accepted for as long as
// what is known is still good. A flood of such tokens asks the store once.
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
	// One call to GET /auth/user reads the user; the rest is the feed.
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
	require.Error(t, identify(), "nothing is known for too long")
}
