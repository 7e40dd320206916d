package sqlstore_test

import (
	"context"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/sqlstore"
)

func TestOpenNamesTheInvalidConfigField(t *testing.T) {
	t.Parallel()
	db := openMemory(t, nil)
	for want, cfg := range map[string]sqlstore.Config{
		"use sqlstore.SQLite":  {},
		`unknown dialect "x"`:  {Dialect: "x"},
		"must not be negative": {Dialect: sqlstore.SQLite, Timeout: -1},
		"Prefix must be":       {Dialect: sqlstore.SQLite, Prefix: "auth; DROP TABLE x"},
	} {
		_, err := sqlstore.Open(context.Background(), db, cfg)
		require.ErrorContains(t, err, want)
	}
	_, err := open(nil)
	require.ErrorContains(t, err, "the database is nil")
	require.Empty(t, tables(t, db))
}

func TestOpenRefusesMemoryDatabaseWithUnlimitedPool(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{":memory:", "file::memory:?cache=shared", ""} {
		for _, conns := range []int{0, 2} {
			db := openSpied(t, dsn, nil)
			db.SetMaxOpenConns(conns)
			_, err := open(db)
			require.ErrorContains(t, err, "db.SetMaxOpenConns(1)")
			require.Empty(t, tables(t, db))
		}
	}
}

func TestOpenSwitchesAFileToWAL(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	for range 2 {
		db := openDB(t, file, "")
		mustOpen(t, db)
		require.Equal(t, []string{"wal"}, column(t, db, `PRAGMA journal_mode`))
	}
}

func TestOpenRefusesAFileThatCannotHaveWAL(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("unix-none is for Unix")
	}
	file := newFile(t)
	_, err := openDB(t, file, "").Exec(`CREATE TABLE host (id)`)
	require.NoError(t, err)

	// This VFS has no locks and so no shared memory, as on some network file systems. WAL needs
	// shared memory.
	_, err = open(openDB(t, file, "?vfs=unix-none"))
	require.ErrorContains(t, err, "journal_mode is delete and cannot be made WAL")
}

func TestOpenRefusesSynchronousOffAndNothingElse(t *testing.T) {
	t.Parallel()
	for level, want := range map[string]string{
		"OFF": "_pragma=synchronous(FULL)", "NORMAL": "", "FULL": "", "EXTRA": "",
	} {
		_, err := open(openDB(t, newFile(t), "?_pragma=synchronous("+level+")"))
		if want == "" {
			require.NoError(t, err, level)
		} else {
			require.ErrorContains(t, err, want)
		}
	}
}

func TestOpenRefusesAReadOnlySQLite(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	mustOpen(t, openDB(t, file, recommended))
	for settings, want := range map[string]string{
		"?mode=ro":                "remove mode=ro",
		"?_pragma=query_only(ON)": "query_only is on",
	} {
		_, err := open(openDB(t, file, settings))
		require.ErrorContains(t, err, want, settings)
	}
}

// Closing the only connection deletes a database in memory.
func TestOpenNeverClosesAnUnsafeConnectionToMemory(t *testing.T) {
	t.Parallel()
	db := openMemory(t, nil)
	store := mustOpen(t, db)
	seed(t, store)
	_, err := db.Exec(`PRAGMA query_only = ON`)
	require.NoError(t, err)
	_, err = open(db)
	require.ErrorContains(t, err, "query_only is on")
	_, err = store.FindUser(context.Background(), "ada")
	require.NoError(t, err)
}

func TestOpenLeavesTheFilesPermissions(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has other permissions")
	}
	file := newFile(t)
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	db := openDB(t, file, recommended)
	seed(t, mustOpen(t, db))
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(file + suffix)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode(), suffix)
	}
}

// If Open waited for the lock, the test would not end before the time limit of go test.
func TestOpenNeedsNoLockWhenThereIsNothingToMigrate(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	first := openDB(t, file, impatient)
	mustOpen(t, first)
	unlock := lock(t, first)
	second := openDB(t, file, "?_pragma=synchronous(NORMAL)&_pragma=busy_timeout(3600000)")
	second.SetMaxOpenConns(1)
	mustOpen(t, second)
	require.Equal(t, []string{"3600000"}, column(t, second, `PRAGMA busy_timeout`))
	unlock()
}

func TestOpenEndsWithItsContext(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	first := openDB(t, file, impatient)
	_, err := first.Exec(`PRAGMA journal_mode = WAL`)
	require.NoError(t, err)
	unlock := lock(t, first)

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	second := openDB(t, file, recommended)
	_, err = sqlstore.Open(ctx, second, sqlstore.Config{Dialect: sqlstore.SQLite})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	requireNoTransaction(t, second)
	unlock()
	mustOpen(t, second)
}

func TestOpenNeverClosesTheDatabase(t *testing.T) {
	t.Parallel()
	db := openMemory(t, nil)
	_, err := db.Exec(`CREATE TABLE host (id)`)
	require.NoError(t, err)
	for range 2 {
		mustOpen(t, db)
	}
	require.Contains(t, tables(t, db), "host")
}
