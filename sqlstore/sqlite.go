package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// checkSQLite checks the settings of one connection and assumes that all connections of the pool
// have the same settings. The assumption is true if the settings are in the data source name.
func checkSQLite(ctx context.Context, db *sql.DB) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()

	var file string
	err = conn.QueryRowContext(ctx, `SELECT COALESCE(file, '') FROM pragma_database_list WHERE name = 'main'`).Scan(&file)
	if err != nil {
		return err
	}
	if file == "" {
		return checkSQLiteMemory(db)
	}
	if err := requireSQLiteWAL(ctx, conn); err != nil {
		return err
	}
	return checkSQLiteSync(ctx, conn)
}

// checkSQLiteMemory returns an error unless the pool has only one connection. Each further
// connection would have its own empty database.
func checkSQLiteMemory(db *sql.DB) error {
	if db.Stats().MaxOpenConnections != 1 {
		return errors.New("an SQLite database in memory exists once per connection: " +
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
	return fmt.Errorf("SQLite's journal_mode is %s and cannot be made WAL: "+
		"the file must be writable, and on a local disk", mode)
}

func checkSQLiteSync(ctx context.Context, conn *sql.Conn) error {
	const off = 0
	var level int
	if err := conn.QueryRowContext(ctx, `PRAGMA synchronous`).Scan(&level); err != nil {
		return err
	}
	if level == off {
		return errors.New("SQLite's synchronous is OFF, so a power cut can destroy the database: " +
			"set it to FULL in the data source name, such as file:app.db?_pragma=synchronous(FULL)")
	}
	return nil
}

// SQLite's result codes from https://sqlite.org/rescode.html. The lowest byte of an extended code
// is the primary code.
const (
	sqliteBusy = 5
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

// sqliteCode returns the result code of the error, or 0 if the error has no result code.
func sqliteCode(err error) int {
	var coded interface{ Code() int }
	if !errors.As(err, &coded) {
		return 0
	}
	return coded.Code()
}
