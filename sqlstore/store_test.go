package sqlstore_test

import (
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/sqlstore"
	"github.com/sallyport-go/auth/storetest"
)

func TestStoreInAFileKeepsTheContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) auth.Store { return mustOpen(t, openDB(t, newFile(t), impatient)) })
}

func TestStoreInMemoryKeepsTheContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) auth.Store { return mustOpen(t, openMemory(t, nil)) })
}

func TestStoreWithoutUsersKeepsTheContract(t *testing.T) {
	t.Parallel()
	storetest.RunWithoutUsers(t, func(t *testing.T) auth.Store {
		cfg := config
		cfg.WithoutUsers = true
		store, err := sqlstore.Open(t.Context(), openMemory(t, nil), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return store
	})
}

func TestStoreOnAServerKeepsTheContract(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		db := on.open(t, nil, 30)
		storetest.Run(t, func(t *testing.T) auth.Store { return on.store(t, db) })
	})
}

func TestStoreWithoutUsersOnAServerKeepsTheContract(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		db := on.open(t, nil, 20)
		storetest.RunWithoutUsers(t, func(t *testing.T) auth.Store {
			return on.store(t, db, func(cfg *sqlstore.Config) { cfg.WithoutUsers = true })
		})
	})
}
