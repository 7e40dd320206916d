package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3/database"
)

// Dialect names what a database speaks.
type Dialect string

// The dialects.
const (
	SQLite   Dialect = "sqlite"   // SQLite 3.37 (2021) or later
	Postgres Dialect = "postgres" // PostgreSQL 15 or later
	MySQL    Dialect = "mysql"    // MariaDB 10.11 or MySQL 8, or later
)

// dialect is what differs from one kind of database to another.
type dialect struct {
	// goose is the migration library's name for the dialect.
	goose database.Dialect

	// hasTable counts the tables of a given name.
	hasTable string

	// begin are the statements that start a transaction in which every statement
	// sees what has been committed before it. In a file that one process at a time
	// may write it can then write without waiting any further.
	begin []string

	// oneWriter is set where a transaction locks the whole database. The others
	// lock rows, with FOR UPDATE.
	oneWriter bool

	// shareMode is how a statement locks rows that others may read with the same lock, if it
	// is not FOR SHARE.
	shareMode string

	// locksUnread is set if a statement with FOR UPDATE returns rows that were committed after it
	// began, of which its subqueries may not see what was committed before them.
	locksUnread bool

	// dollars is set where parameters are written $1, $2 and not ?.
	dollars bool

	// unlessExists ends the insertion of one row that a concurrent transaction may add as well:
	// the statement then waits for the end of that transaction and changes nothing. The column is
	// part of the primary key.
	unlessExists func(column string) string

	// shareTurn and lockTurn, if set, are run before the record of everybody is shared or locked alone, with
	// an argument of their own for each set of tables. Row locks of PostgreSQL are shared by any
	// number of transactions that come later than one that waits to have the row alone, so it might
	// wait for ever; advisory locks are given in turn.
	shareTurn, lockTurn string

	// rowsPerInsert is how many rows a statement inserts where there are many: what was
	// fastest.
	rowsPerInsert int

	// beforeQuestions, if it is set, is run in a transaction that asks about many values.
	beforeQuestions string

	// migrations is how those who migrate at the same time wait for each other.
	migrations migrationLock

	// check returns an error if the database is not set up as a store needs it.
	check func(context.Context, *sql.DB) error

	// isConflict recognizes a violated primary key or unique constraint, by the
	// methods of the driver's error, or else by its text.
	isConflict func(error) bool

	// isBusy recognizes that another process holds a lock that is not waited for.
	isBusy func(error) bool

	// isRolledBack recognizes that the database has undone the transaction, all of
	// it, so that others could go on, and that it may be tried again.
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
		// Starting workers for a question takes ten times as long as its answer.
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
		goose:         database.DialectMySQL,
		locksUnread:   true,
		shareMode:     ` LOCK IN SHARE MODE`, // MariaDB does not know FOR SHARE
		unlessExists:  onDuplicateKeyKeep,
		hasTable:      `SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?`,
		begin:         []string{`SET TRANSACTION ISOLATION LEVEL READ COMMITTED`, `START TRANSACTION READ WRITE`},
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

// onDuplicateKeyKeep is for MySQL, whose INSERT IGNORE would also cut values off.
func onDuplicateKeyKeep(column string) string {
	return ` ON DUPLICATE KEY UPDATE ` + column + ` = ` + column
}

func never(error) bool { return false }

// defaultPrefix is what the names of all tables begin with in the statements and
// migrations of this package, until they are written for another.
const defaultPrefix = "auth_"

// statement writes a query of this package in the dialect, for tables whose names
// begin with the prefix.
//
// The queries have no text in them that comes from outside, and no question mark
// but for parameters.
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

// sqlState returns the SQLSTATE that the error has, as those of pgx and lib/pq
// do, and "" if it has none.
func sqlState(err error) string {
	var stated interface{ SQLState() string }
	if !errors.As(err, &stated) {
		return ""
	}
	return stated.SQLState()
}
