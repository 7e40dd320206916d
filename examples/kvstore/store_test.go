package kvstore_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/examples/kvstore"
	"github.com/sallyport-go/auth/storetest"
)

// open opens the store without waiting for the disk, because a test does not need durability.
func open(t *testing.T, path string) *kvstore.Store {
	t.Helper()
	store, err := kvstore.Open(path, &bolt.Options{NoSync: true, NoFreelistSync: true, Timeout: time.Minute})
	require.NoError(t, err)
	t.Cleanup(func() { store.Close() })
	return store
}

func TestTheStoreKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) auth.Store { return open(t, filepath.Join(t.TempDir(), "auth.db")) })
}

func TestRecordsSurviveReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "auth.db")
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	user := auth.User{ID: "u1", Username: "ada", IsSuperUser: true, IsActive: true, CreatedAt: now}
	key := auth.AccessKey{ID: "k1", UserID: "u1", Hash: "hash", CreatedAt: now}
	byHost := auth.Write{By: auth.ByHost("test"), Now: func() time.Time { return now }}
	first := open(t, path)
	require.NoError(t, first.Bootstrap(t.Context(), byHost, user, key))
	require.NoError(t, first.Close())

	second := open(t, path)
	found, owner, err := second.FindKey(t.Context(), "k1")
	require.NoError(t, err)
	require.Equal(t, key, found)
	require.Equal(t, user, owner)
	require.ErrorIs(t, second.Bootstrap(t.Context(), byHost, user, key), auth.ErrBootstrapped)
}
