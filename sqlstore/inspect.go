package sqlstore

import (
	"context"
	"fmt"
	"time"
)

// The methods in this file tell an operator's program, such as the command doctor of package authcmd,
// about the database.

// CheckTables returns an error unless the tables have the version that this package needs, and have all
// columns. It changes nothing. [Open] makes the same check. Call CheckTables in a program that has been
// running for a while, because a later version of the host can have migrated the tables.
func (s *core) CheckTables(ctx context.Context) error {
	if err := s.checkVersion(ctx); err != nil {
		return fmt.Errorf("sqlstore: check the version of the tables: %w", err)
	}
	if err := s.checkTables(ctx); err != nil {
		return fmt.Errorf("sqlstore: check the tables: %w", err)
	}
	return nil
}

// CheckRights returns an error that names the missing right and the table if the user of the database
// lacks a right that the store needs. Its statements change no row. SQLite has no users, so there
// CheckRights returns nil. [Open] makes the same check.
func (s *core) CheckRights(ctx context.Context) error { return s.checkRights(ctx) }

// DatabaseTime returns the time of the database server's clock. For SQLite, this is the clock of the
// machine.
func (s *core) DatabaseTime(ctx context.Context) (time.Time, error) {
	return read(ctx, s, "read the clock", func(ctx context.Context, q querier) (now time.Time, err error) {
		err = q.row(ctx, s.dialect.clock).Scan(micros{&now})
		return now, err
	})
}

// Settings returns settings of the database and of a connection of the pool, by their names in the
// database, such as "synchronous_commit". It returns those that decide which commits survive a failure
// of the server, and which commits a read sees. The set of names can grow in a later version.
func (s *core) Settings(ctx context.Context) (map[string]string, error) {
	type setting struct{ name, value string }
	settings, err := read(ctx, s, "read the settings", func(
		ctx context.Context, q querier,
	) ([]setting, error) {
		return collect(ctx, q, func(s *setting) []any { return []any{&s.name, &s.value} }, s.dialect.settings)
	})
	if err != nil {
		return nil, err
	}
	byName := map[string]string{}
	for _, setting := range settings {
		byName[setting.name] = setting.value
	}
	return byName, nil
}

// The queries of [core.DatabaseTime].
const (
	sqliteClock   = `SELECT CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)`
	postgresClock = `SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint)`
	mysqlClock    = `SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)`
)

// The queries of [core.Settings].
const (
	sqliteReport = `SELECT 'journal_mode', CAST(journal_mode AS TEXT) FROM pragma_journal_mode
		UNION ALL SELECT 'synchronous', CAST(synchronous AS TEXT) FROM pragma_synchronous
		UNION ALL SELECT 'read_uncommitted', CAST(read_uncommitted AS TEXT) FROM pragma_read_uncommitted
		UNION ALL SELECT 'file', COALESCE(file, '') FROM pragma_database_list WHERE name = 'main'`

	postgresReport = `SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN ('fsync',
		'full_page_writes', 'synchronous_commit', 'transaction_read_only', 'server_version')`

	mysqlReport = `SHOW VARIABLES WHERE Variable_name IN ('innodb_flush_log_at_trx_commit', 'innodb_doublewrite',
		'log_bin', 'sync_binlog', 'tx_isolation', 'transaction_isolation', 'read_only', 'version')`
)
