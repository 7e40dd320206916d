package sqlstore_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/sqlstore"
	"github.com/sallyport-go/auth/storetest"
)

func TestStoreInAFileSatisfiesTheContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) auth.Store {
		return mustOpen(t, openDB(t, newFile(t), impatient))
	})
}

func TestStoreInMemorySatisfiesTheContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) auth.Store { return mustOpen(t, openMemory(t, nil)) })
}

func TestAccountsSatisfyTheContract(t *testing.T) {
	t.Parallel()
	storetest.RunAccounts(t, func(t *testing.T) auth.AccountStore {
		accounts, err := sqlstore.OpenAccounts(t.Context(), openMemory(t, nil), config)
		require.NoError(t, err)
		return accounts
	})
}

func TestStoreOnAServerSatisfiesTheContract(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		db := on.open(t, nil, 30)
		storetest.Run(t, func(t *testing.T) auth.Store {
			store, err := sqlstore.Open(t.Context(), db, on.emptied(t))
			require.NoError(t, err)
			return store
		})
	})
}

func TestAccountsOnAServerSatisfyTheContract(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		db := on.open(t, nil, 20)
		storetest.RunAccounts(t, func(t *testing.T) auth.AccountStore {
			accounts, err := sqlstore.OpenAccounts(t.Context(), db, on.emptied(t))
			require.NoError(t, err)
			return accounts
		})
	})
}
