package sqlstore_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/sqlstore"
)

func TestEveryConnectionOfAFileHasTheSettingsOfAStore(t *testing.T) {
	t.Parallel()
	db, err := sqlstore.OpenFile("sqlite", filepath.Join(t.TempDir(), "app.db"))
	require.NoError(t, err)
	defer db.Close()
	for range 3 {
		conn, err := db.Conn(context.Background())
		require.NoError(t, err)
		defer conn.Close()
		for pragma, want := range map[string]string{
			"journal_mode": "wal", "synchronous": "2", "busy_timeout": "5000",
		} {
			var value string
			require.NoError(t, conn.QueryRowContext(context.Background(), "PRAGMA "+pragma).Scan(&value))
			require.Equal(t, want, value, pragma)
		}
	}
	store, err := sqlstore.Open(context.Background(), db, sqlstore.Config{Dialect: sqlstore.SQLite})
	require.NoError(t, err)
	require.NoError(t, store.Ping(context.Background()))
}

func TestOnlyTheOwnerCanReadANewFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.db")
	db, err := sqlstore.OpenFile("sqlite", path)
	require.NoError(t, err)
	defer db.Close()
	_, err = sqlstore.Open(context.Background(), db, sqlstore.Config{Dialect: sqlstore.SQLite})
	require.NoError(t, err)
	for _, file := range []string{path, path + "-wal"} {
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, file)
	}
}

// SQLite reads a data source name as a URI, in which a question mark begins parameters, and gives some names
// a meaning of their own.
func TestTheNameOfAFileIsTakenLiterally(t *testing.T) {
	for _, name := range []string{"a #b?mode=ro&c%20 é.db", ":memory:", "file:a?mode=memory", "%2e.db"} {
		path := filepath.Join(t.TempDir(), name)
		db, err := sqlstore.OpenFile("sqlite", path)
		require.NoError(t, err, name)
		requireFile(t, db, path)

		t.Chdir(t.TempDir())
		db, err = sqlstore.OpenFile("sqlite", name)
		require.NoError(t, err, name)
		requireFile(t, db, name)
	}
}

// requireFile requires that the database is in the file.
func requireFile(t *testing.T, db *sql.DB, path string) {
	t.Helper()
	_, err := db.Exec(`CREATE TABLE notes (id)`)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Positive(t, info.Size())
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func TestAPathThatIsNoFileIsRefused(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing", "app.db")
	for _, path := range []string{"", t.TempDir(), "/dev/null", missing} {
		_, err := sqlstore.OpenFile("sqlite", path)
		require.ErrorContains(t, err, "sqlstore: open the database file: ", path)
	}
	_, err := sqlstore.OpenFile("unknown", filepath.Join(t.TempDir(), "app.db"))
	require.ErrorContains(t, err, `unknown driver "unknown"`)
}

func TestAFileThatIsNoDatabaseStaysUnchanged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.db")
	require.NoError(t, os.WriteFile(path, []byte("this is a text and no database, and long enough"), 0o600))
	db, err := sqlstore.OpenFile("sqlite", path)
	require.NoError(t, err)
	defer db.Close()
	require.ErrorContains(t, db.Ping(), "not a database")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(content), "this is a text")
}
