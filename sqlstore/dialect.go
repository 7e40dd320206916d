package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3/database"
)

// Dialect names the SQL dialect of a database.
type Dialect string

// The supported dialects.
const (
	SQLite   Dialect = "sqlite"   // SQLite 3.37 (2021) or later
	Postgres Dialect = "postgres" // PostgreSQL 15 or later
	MySQL    Dialect = "mysql"    // MariaDB 10.11 or MySQL 8, or later
)

// dialect holds what differs between the kinds of databases.
type dialect struct {
	// goose is the name of the dialect in the migration library.
	goose database.Dialect

	// hasTable is a query that counts the tables with a given name.
	hasTable string

	// begin are the statements that start a transaction in which every statement sees all that was
	// committed before the statement. If only one process at a time may write the database, the
	// statements also wait for the right to write, so that no later statement of the transaction
	// waits for it.
	begin []string

	// oneWriter is true if a transaction locks the whole database. Otherwise transactions lock
	// rows, with FOR UPDATE.
	oneWriter bool

	// shareMode is the clause with which a statement takes shared row locks. Empty means FOR SHARE.
	shareMode string

	// locksUnread is true if a statement with FOR UPDATE can return rows that were committed after
	// the statement began. The subqueries of the statement may not see these rows, nor rows that
	// were committed before them.
	locksUnread bool

	// dollars is true if parameters are written $1, $2 instead of ?.
	dollars bool

	// unlessExists returns the last clause of a statement that inserts one row. If a concurrent
	// transaction inserts the same row, the statement waits until that transaction ends, and
	// changes nothing if the row then exists. The column is part of the primary key.
	unlessExists func(column string) string

	// shareTurn and lockTurn, if set, are queries that take an advisory lock. shareTurn runs before
	// a shared lock on the row of everybody is taken, lockTurn before an exclusive lock. The
	// argument of both queries identifies the set of tables. PostgreSQL needs them because it lets
	// later transactions share a row lock while an earlier transaction waits for the exclusive
	// lock, which might then wait forever. It grants advisory locks in the order of the requests.
	shareTurn, lockTurn string

	// rowsPerInsert is the number of rows that one statement inserts if there are many rows to
	// insert. It is the number that was fastest in measurements.
	rowsPerInsert int

	// beforeQuestions, if set, is run before a transaction queries many values.
	beforeQuestions string

	// migrations says how processes that migrate at the same time wait for each other.
	migrations migrationLock

	// check returns an error if the settings of the database are unsafe for a store.
	check func(context.Context, *sql.DB) error

	// isConflict reports whether the error is a violated primary key or unique constraint. It asks
	// the methods of the driver's error. If the error has no such methods, it examines the error's
	// text.
	isConflict func(error) bool

	// isBusy reports whether another process holds a lock that the database does not wait for.
	isBusy func(error) bool

	// isRolledBack reports whether the database rolled back the whole transaction so that others
	// could proceed. The transaction may then be tried again.
	isRolledBack func(error) bool
}

var dialects = map[Dialect]dialect{
	SQLite: {
		goose:         database.DialectSQLite3,
		hasTable:      `SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?`,
		begin:         []string{`BEGIN IMMEDIATE`},
		oneWriter:     true,
		unlessExists:  onConflictDoNothing,
		rowsPerInsert: 1,
		migrations:    migrationLock{inTransaction: true},
		check:         checkSQLite,
		isConflict:    isSQLiteConflict,
		isBusy:        isSQLiteBusy,
		isRolledBack:  never,
	},
	Postgres: {
		goose:         database.DialectPostgres,
		hasTable:      `SELECT COUNT(*) FROM pg_catalog.pg_class WHERE oid = to_regclass(?)`,
		begin:         []string{`BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE`},
		dollars:       true,
		shareTurn:     `SELECT COUNT(*) FROM pg_advisory_xact_lock_shared(?)`,
		lockTurn:      `SELECT COUNT(*) FROM pg_advisory_xact_lock(?)`,
		unlessExists:  onConflictDoNothing,
		rowsPerInsert: 512,
		// Starting parallel workers for a query takes ten times as long as answering it.
		beforeQuestions: `SET LOCAL max_parallel_workers_per_gather = 0`,
		migrations: migrationLock{
			inTransaction: true,
			lock:          `SELECT COUNT(*) FROM pg_advisory_xact_lock(?)`,
			argument:      postgresLockID,
		},
		check:        checkPostgres,
		isConflict:   isPostgresConflict,
		isBusy:       never,
		isRolledBack: isPostgresRolledBack,
	},
	MySQL: {
		goose:        database.DialectMySQL,
		locksUnread:  true,
		shareMode:    ` LOCK IN SHARE MODE`, // MariaDB does not support FOR SHARE
		unlessExists: onDuplicateKeyKeep,
		hasTable:     `SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?`,
		begin: []string{`SET TRANSACTION ISOLATION LEVEL READ COMMITTED`,
			`START TRANSACTION READ WRITE`},
		rowsPerInsert: 512,
		migrations: migrationLock{
			lock:     `SELECT GET_LOCK(MD5(CONCAT(DATABASE(), '.', ?)), 300)`,
			unlock:   `SELECT RELEASE_LOCK(MD5(CONCAT(DATABASE(), '.', ?)))`,
			argument: func(table string) any { return table },
		},
		check:        checkMySQL,
		isConflict:   isMySQLConflict,
		isBusy:       never,
		isRolledBack: isMySQLRolledBack,
	},
}

func onConflictDoNothing(string) string { return ` ON CONFLICT DO NOTHING` }

// onDuplicateKeyKeep is for MySQL. INSERT IGNORE would also truncate values.
func onDuplicateKeyKeep(column string) string {
	return ` ON DUPLICATE KEY UPDATE ` + column + ` = ` + column
}

func never(error) bool { return false }

// defaultPrefix begins the names of all tables in the statements and migrations of this package. If
// Config.Prefix is different, statement replaces defaultPrefix by Config.Prefix.
const defaultPrefix = "auth_"

// statement returns a query of this package in the dialect, for tables whose names begin with the
// prefix.
//
// The queries contain no text from outside, and a question mark is always a parameter.
func (d dialect) statement(query, prefix string) string {
	if prefix != defaultPrefix {
		query = strings.ReplaceAll(query, defaultPrefix, prefix)
	}
	if d.oneWriter {
		query = strings.ReplaceAll(query, ` FOR UPDATE SKIP LOCKED`, ``)
		query = strings.ReplaceAll(query, ` FOR UPDATE`, ``)
		query = strings.ReplaceAll(query, ` FOR SHARE`, ``)
	}
	if d.shareMode != "" {
		query = strings.ReplaceAll(query, ` FOR SHARE`, d.shareMode)
	}
	if !d.dollars {
		return query
	}
	var text strings.Builder
	parts := strings.Split(query, `?`)
	for i, part := range parts[:len(parts)-1] {
		text.WriteString(part + `$` + strconv.Itoa(i+1))
	}
	text.WriteString(parts[len(parts)-1])
	return text.String()
}

// sqlState returns the SQLSTATE of the error, or "" if the error has no SQLSTATE. The errors of pgx
// and lib/pq have an SQLSTATE.
func sqlState(err error) string {
	var stated interface{ SQLState() string }
	if !errors.As(err, &stated) {
		return ""
	}
	return stated.SQLState()
}
