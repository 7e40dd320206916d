package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// prepareSQLite turns on write-ahead logging for a file, and returns an error if the database cannot
// be written.
func prepareSQLite(ctx context.Context, conn *sql.Conn, maxConns int) error {
	var file string
	err := conn.QueryRowContext(ctx, `SELECT COALESCE(file, '') FROM pragma_database_list WHERE name = 'main'`).Scan(&file)
	if err != nil {
		return err
	}
	if file == "" {
		return checkSQLiteMemory(maxConns)
	}
	if err := requireSQLiteWAL(ctx, conn); err != nil {
		return err
	}
	return checkSQLiteWritable(ctx, conn)
}

// checkSQLiteMemory returns an error unless the pool has only one connection. Each further
// connection would have its own empty database.
func checkSQLiteMemory(maxConns int) error {
	if maxConns != 1 {
		return unsafeSettingError("an SQLite database in memory exists once per connection: " +
			"call db.SetMaxOpenConns(1) before Open, or use a file")
	}
	return nil
}

// requireSQLiteWAL turns on write-ahead logging if it is off. SQLite stores this setting in the
// file.
func requireSQLiteWAL(ctx context.Context, conn *sql.Conn) error {
	var mode string
	for _, pragma := range []string{`PRAGMA journal_mode`, `PRAGMA journal_mode = WAL`} {
		if err := conn.QueryRowContext(ctx, pragma).Scan(&mode); err != nil {
			return err
		}
		if strings.EqualFold(mode, "wal") {
			return nil
		}
	}
	return unsafeSettingError(fmt.Sprintf("SQLite's journal_mode is %s and cannot be made WAL: "+
		"the file must be writable, and on a local disk", mode))
}

// checkSQLiteWritable returns an error if the connection cannot write, for example because the data
// source name contains mode=ro. It makes a change and rolls the change back. It does not wait for the
// write lock. If another process has the lock, SQLite reports SQLITE_BUSY only to a connection that can
// write, so checkSQLiteWritable returns nil.
func checkSQLiteWritable(ctx context.Context, conn *sql.Conn) error {
	var patience int
	if err := conn.QueryRowContext(ctx, `PRAGMA busy_timeout`).Scan(&patience); err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, `PRAGMA busy_timeout = 0`); err != nil {
		return err
	}
	_, err := conn.ExecContext(ctx, `BEGIN IMMEDIATE`)
	if err == nil { // SQLite also begins a transaction that can only read
		_, err = conn.ExecContext(ctx, `PRAGMA user_version = 0`)
		_, rollbackErr := conn.ExecContext(ctx, `ROLLBACK`)
		err = errors.Join(err, rollbackErr)
	}
	restore := fmt.Sprintf(`PRAGMA busy_timeout = %d`, patience)
	if _, restoreErr := conn.ExecContext(ctx, restore); restoreErr != nil {
		discardConn(conn)
		return restoreErr
	}
	switch {
	case err == nil || isSQLiteBusy(err):
		return nil
	case sqliteCode(err)&0xff == sqliteReadOnly:
		return unsafeSettingError("the SQLite database is read-only: remove mode=ro and immutable from the " +
			"data source name, and give the program the right to write the file and its directory")
	}
	return err
}

const sqliteSettings = `SELECT s.synchronous, q.query_only
FROM pragma_synchronous s, pragma_query_only q`

// checkSQLiteConn checks the settings of a connection.
func checkSQLiteConn(ctx context.Context, conn *sql.Conn) error {
	const off = 0
	var level int
	var queryOnly bool
	err := conn.QueryRowContext(ctx, sqliteSettings).Scan(&level, &queryOnly)
	switch {
	case err != nil:
		return err
	case level == off:
		return unsafeSettingError("SQLite's synchronous is OFF, so a power cut can destroy the database: " +
			"set it to FULL in the data source name, such as file:app.db?_pragma=synchronous(FULL)")
	case queryOnly:
		return unsafeSettingError("SQLite's query_only is on, so the store cannot write: remove it from " +
			"the data source name")
	}
	return nil
}

// SQLite's result codes from https://sqlite.org/rescode.html. The lowest byte of an extended code
// is the primary code.
const (
	sqliteBusy     = 5
	sqliteReadOnly = 8
	sqliteFull     = 13
	// sqliteBusySnapshot means that another transaction has changed the database since this
	// transaction read from it. Waiting does not help, because this transaction can no longer
	// write.
	sqliteBusySnapshot         = 517
	sqliteConstraintPrimaryKey = 1555
	sqliteConstraintUnique     = 2067
)

func isSQLiteConflict(err error) bool {
	code := sqliteCode(err)
	return code == sqliteConstraintPrimaryKey || code == sqliteConstraintUnique ||
		strings.Contains(err.Error(), "UNIQUE constraint failed")
}

func isSQLiteBusy(err error) bool {
	if sqliteCode(err) == sqliteBusySnapshot {
		return false
	}
	return sqliteCode(err)&0xff == sqliteBusy || strings.Contains(err.Error(), "database is locked")
}

// isSQLiteNotCommitted reports whether the error of a COMMIT means that nothing was committed. If the
// disk is full, SQLite has not written the frame that completes the transaction.
func isSQLiteNotCommitted(err error) bool { return sqliteCode(err) == sqliteFull }

// sqliteCode returns the result code of the error, or 0 if the error has no result code.
func sqliteCode(err error) int {
	var coded interface{ Code() int }
	if !errors.As(err, &coded) {
		return 0
	}
	return coded.Code()
}
