package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3/database"
)

// Dialect is the SQL dialect of a database.
type Dialect string

// The supported dialects.
const (
	SQLite   Dialect = "sqlite"   // SQLite 3.37 (2021) or later
	Postgres Dialect = "postgres" // PostgreSQL 15 or later
	MySQL    Dialect = "mysql"    // MariaDB 10.11 or MySQL 8, or later
)

// dialect describes how one kind of database differs from the others.
type dialect struct {
	// goose is the name of the dialect in the migration library.
	goose database.Dialect

	// hasTable is a query that counts the tables with a given name.
	hasTable string

	// begin is the list of statements that begin a transaction. Each later statement of the
	// transaction must see everything that was committed before that later statement began. If
	// oneWriter is true, begin also takes the write lock of the database. The later statements
	// then never wait for this lock.
	begin []string

	// oneWriter is true if a transaction that writes locks the whole database. If oneWriter is
	// false, transactions lock rows with FOR UPDATE.
	oneWriter bool

	// shareMode is the clause that makes a SELECT take shared locks on its rows. Empty means FOR
	// SHARE.
	shareMode string

	// locksUnread is true if a SELECT with FOR UPDATE can return rows that were committed after the
	// SELECT began. The subqueries of the same SELECT do not see these rows.
	locksUnread bool

	// dollars is true if parameters are written $1, $2 instead of ?.
	dollars bool

	// arrays is true if a parameter can be an array, and if one statement can make several changes,
	// each in a WITH clause.
	arrays bool

	// advanceHead is a statement that adds a number to the position of the head. It locks the head.
	// If lastInsertID is false, the statement returns the new position as a row. It is empty if arrays
	// is true.
	advanceHead string

	// lastInsertID is true if the driver returns the position of advanceHead as
	// [sql.Result.LastInsertId].
	lastInsertID bool

	// unlessExists returns the clause that ends an INSERT of one row. With the clause, the INSERT
	// changes nothing if the row exists. If a concurrent transaction is inserting the same row, the
	// INSERT first waits until that transaction ends. The parameter column names a column of the
	// primary key.
	unlessExists func(column string) string

	// shareTurn and lockTurn are queries that take an advisory lock. A transaction runs one of them
	// before it locks the row of auth_everybody: shareTurn before a shared lock, and lockTurn
	// before an exclusive lock. Their argument is a number that identifies the set of tables. Both
	// queries are empty if the database needs no advisory lock.
	//
	// PostgreSQL needs advisory locks, because it lets new transactions share a row lock while an
	// earlier transaction waits for the exclusive lock. The earlier transaction might then wait
	// forever. Advisory locks are granted in the order of the requests.
	shareTurn, lockTurn string

	// rowsPerInsert is the maximum number of rows that [insertRows] inserts with one statement. The
	// values in the map dialects were the fastest in measurements.
	rowsPerInsert int

	// beforeQuestions is a statement that a transaction runs before large queries. These queries
	// find out which of many new values are taken, for example usernames. Empty means that no such
	// statement is needed.
	beforeQuestions string

	// clock is a query that returns the time of the server, in microseconds since 1970.
	clock string

	// settings is a query that returns the names and values of settings: see [core.Settings].
	settings string

	// migrations says how processes that migrate at the same time wait for each other.
	migrations migrationLock

	// prepare makes the settings of the database safe for a store, or returns an error. [Open] calls
	// prepare once, with the maximum number of connections of the pool. nil means that there is
	// nothing to prepare.
	prepare func(ctx context.Context, conn *sql.Conn, maxConns int) error

	// checkConn returns an [unsafeSettingError] if a setting of the connection is unsafe for a
	// store. The store calls checkConn before it uses a connection for the first time. checkConn
	// runs one statement.
	checkConn func(context.Context, *sql.Conn) error

	// isConflict reports whether the error means that a primary key or a unique constraint was
	// violated. If the driver's error has a method that returns a code, isConflict uses the code.
	// If not, it examines the text of the error.
	isConflict func(error) bool

	// isBusy reports whether the error means that another process holds a lock and that the
	// database did not wait for this lock.
	isBusy func(error) bool

	// isDenied reports whether the error means that the user of the database lacks a right.
	isDenied func(error) bool

	// isRolledBack reports whether the error means that the database rolled the whole transaction
	// back because of a conflict with other transactions. The store can then run the transaction
	// again.
	isRolledBack func(error) bool

	// isNotCommitted reports whether the error of a COMMIT means that nothing was committed. After
	// any other error of a COMMIT, the transaction may or may not have taken effect.
	isNotCommitted func(error) bool
}

var dialects = map[Dialect]dialect{
	SQLite: {
		goose:          database.DialectSQLite3,
		hasTable:       `SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?`,
		begin:          []string{`BEGIN IMMEDIATE`},
		oneWriter:      true,
		advanceHead:    advanceReturning,
		unlessExists:   onConflictDoNothing,
		rowsPerInsert:  1,
		clock:          sqliteClock,
		settings:       sqliteReport,
		migrations:     migrationLock{inTransaction: true},
		prepare:        prepareSQLite,
		checkConn:      checkSQLiteConn,
		isConflict:     isSQLiteConflict,
		isBusy:         isSQLiteBusy,
		isDenied:       never,
		isRolledBack:   never,
		isNotCommitted: isSQLiteNotCommitted,
	},
	Postgres: {
		goose:         database.DialectPostgres,
		hasTable:      `SELECT COUNT(*) FROM pg_catalog.pg_class WHERE oid = to_regclass(?)`,
		begin:         []string{`BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE`},
		dollars:       true,
		arrays:        true,
		shareTurn:     `SELECT COUNT(*) FROM pg_advisory_xact_lock_shared(?)`,
		lockTurn:      `SELECT COUNT(*) FROM pg_advisory_xact_lock(?)`,
		unlessExists:  onConflictDoNothing,
		rowsPerInsert: 512,
		clock:         postgresClock,
		settings:      postgresReport,
		// Starting parallel workers would take ten times as long as the query itself.
		beforeQuestions: `SET LOCAL max_parallel_workers_per_gather = 0`,
		migrations: migrationLock{
			inTransaction: true,
			lock:          `SELECT COUNT(*) FROM pg_advisory_xact_lock(?)`,
			argument:      postgresLockID,
		},
		checkConn:      checkPostgresConn,
		isConflict:     isPostgresConflict,
		isBusy:         never,
		isDenied:       func(err error) bool { return sqlState(err) == stateInsufficientPrivilege },
		isRolledBack:   isPostgresRolledBack,
		isNotCommitted: isPostgresNotCommitted,
	},
	MySQL: {
		goose:        database.DialectMySQL,
		locksUnread:  true,
		advanceHead:  `UPDATE auth_revocation_head SET position = LAST_INSERT_ID(position + ?) WHERE id = 1`,
		lastInsertID: true,
		shareMode:    ` LOCK IN SHARE MODE`, // MariaDB does not support FOR SHARE
		unlessExists: onDuplicateKeyKeep,
		hasTable:     `SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?`,
		begin: []string{`SET TRANSACTION ISOLATION LEVEL READ COMMITTED`,
			`START TRANSACTION READ WRITE`},
		rowsPerInsert: 512,
		clock:         mysqlClock,
		settings:      mysqlReport,
		migrations: migrationLock{
			lock:     `SELECT GET_LOCK(MD5(CONCAT(DATABASE(), '.', ?)), 300)`,
			unlock:   `SELECT RELEASE_LOCK(MD5(CONCAT(DATABASE(), '.', ?)))`,
			argument: func(table string) any { return table },
		},
		checkConn:      checkMySQLConn,
		isConflict:     isMySQLConflict,
		isBusy:         never,
		isDenied:       func(err error) bool { return mysqlNumber(err) == mysqlTableAccessDenied },
		isRolledBack:   isMySQLRolledBack,
		isNotCommitted: isMySQLRolledBack,
	},
}

const advanceReturning = `UPDATE auth_revocation_head SET position = position + ? WHERE id = 1 RETURNING position`

func onConflictDoNothing(string) string { return ` ON CONFLICT DO NOTHING` }

// onDuplicateKeyKeep is unlessExists for MySQL. INSERT IGNORE is unsuitable, because it also
// truncates values that do not fit.
func onDuplicateKeyKeep(column string) string {
	return ` ON DUPLICATE KEY UPDATE ` + column + ` = ` + column
}

func never(error) bool { return false }

// defaultPrefix is the prefix of all table names in the queries and migrations of this package. If
// Config.Prefix is set, the store replaces defaultPrefix with Config.Prefix in these names.
const defaultPrefix = "auth_"

// statement translates a query of this package to the dialect, for tables whose names begin with
// the prefix. The translation replaces parts of the text. This is safe, because queries of this
// package contain no text from outside, and a question mark is always a parameter.
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

// sqlState returns the SQLSTATE of the error, or "" if the error has none. The errors of the
// drivers pgx and lib/pq have an SQLSTATE.
func sqlState(err error) string {
	var stated interface{ SQLState() string }
	if !errors.As(err, &stated) {
		return ""
	}
	return stated.SQLState()
}
