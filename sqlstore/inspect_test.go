package sqlstore_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
)

// onEachDatabase runs the test with a store on each database.
func onEachDatabase(t *testing.T, test func(t *testing.T, db *sql.DB, store *sqlstore.Store, prefix string)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		db, err := sql.Open("sqlite", "file:"+filepath.Join(testenv.TempDir(t), "app.db"))
		require.NoError(t, err)
		t.Cleanup(func() { _ = db.Close() })
		store, err := sqlstore.Open(t.Context(), db, sqlstore.Config{Dialect: sqlstore.SQLite})
		require.NoError(t, err)
		test(t, db, store, "auth_")
	})
	onServers(t, func(t *testing.T, on *server) {
		cfg := on.config()
		db := on.open(t, nil, 2)
		store, err := sqlstore.Open(t.Context(), db, cfg)
		require.NoError(t, err)
		test(t, db, store, cfg.Prefix)
	})
}

func TestInspectingADatabaseFindsChangesAfterOpen(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, db *sql.DB, store *sqlstore.Store, prefix string) {
		ctx := t.Context()
		require.NoError(t, store.CheckTables(ctx))
		require.NoError(t, store.CheckRights(ctx))
		before := time.Now()
		at, err := store.DatabaseTime(ctx)
		require.NoError(t, err)
		require.WithinRange(t, at, before.Add(-time.Second), time.Now().Add(time.Second))
		settings, err := store.Settings(ctx)
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(settings), 4)

		_, err = db.ExecContext(ctx, `ALTER TABLE `+prefix+`users DROP COLUMN audiences`)
		require.NoError(t, err)
		require.ErrorContains(t, store.CheckTables(ctx), "sqlstore: check the tables")

		ended, cancel := context.WithCancel(ctx)
		cancel()
		_, err = store.DatabaseTime(ended)
		require.ErrorIs(t, err, context.Canceled)
		_, err = store.Settings(ended)
		require.ErrorIs(t, err, context.Canceled)
	})
}
