// Package sqlstore keeps users, access keys, sessions and GitHub accounts in an SQL database. It
// supports SQLite, PostgreSQL, MariaDB and MySQL through database/sql.
//
// [Open] checks the settings of the database, and creates or updates the tables of this package. By
// default, the names of these tables begin with "auth_": see Config.Prefix. Open changes no other
// table.
//
// This package imports no driver. Open the database with a driver of your choice, and pass it to
// Open:
//
//	db, err := sql.Open("pgx", "postgres://app@db.example.com/app")
//	…
//	store, err := sqlstore.Open(ctx, db, sqlstore.Config{Dialect: sqlstore.Postgres})
//
// The host is the program that uses this package. If the host has its own users table, it calls
// [OpenAccounts] instead of Open. The table auth_contents records which of the two functions opened
// the tables first. The other function then returns an error for these tables. To change from one
// function to the other, delete the row of auth_contents while the other tables are empty and no
// program uses them.
//
// The rest of the program can use the same *sql.DB. If the rest of the program keeps every
// connection busy, the store waits for a connection.
//
// Each instance of the host must immediately see what the other instances commit. So connect to the
// primary server. Never connect to a replica, or to a proxy that sends reads to replicas.
//
// The host can have its own tables in the same database. Before it writes to its tables on behalf
// of a signed-in user, the host can call [Store.HoldAuthority] or [Accounts.HoldAuthority] in the
// same transaction. The transaction then writes nothing after the user's session was revoked.
//
// # Tested databases
//
// The tests run on PostgreSQL 15 with github.com/jackc/pgx/v5, on MariaDB 10.11 with
// github.com/go-sql-driver/mysql, and on SQLite with modernc.org/sqlite. The tests have not been
// run on MySQL 8 or CockroachDB. The package uses only features that the documentation of MySQL and
// CockroachDB describes, with one exception. On CockroachDB, the lock for migrations does not make
// other instances wait. So on CockroachDB, let one instance migrate before the others start.
//
// # PostgreSQL
//
// The encoding of the database must be UTF8. Its collation does not matter. The store's transactions
// always use READ COMMITTED and row locks, whatever the default isolation level is. If
// synchronous_commit is off, a server failure can lose the latest commits. A session or key that was
// revoked just before the failure is then valid again.
//
// The store keeps no state in a connection between transactions. So the store also works with a
// pooler that assigns a connection to each transaction, such as PgBouncer. With such a pooler, add
// default_query_exec_mode=exec to the data source name of pgx, so that pgx prepares no statements.
//
// # MariaDB and MySQL
//
// The recommended data source name for github.com/go-sql-driver/mysql is
//
//	app:…@tcp(db.example.com)/app?interpolateParams=true
//
// With interpolateParams, the driver saves a round trip for each statement.
//
// The data source name must have a database. autocommit and unique_checks must be on, and
// sql_safe_updates must be off. sql_mode must contain STRICT_TRANS_TABLES or STRICT_ALL_TABLES. If
// both are missing, the server truncates values that do not fit. The default settings of the server
// meet these requirements.
//
// The tables use InnoDB. If innodb_flush_log_at_trx_commit is not 1, a server failure can lose the
// latest commits, as described for PostgreSQL. Text is stored as VARBINARY, so the character set
// and the collation of the connection do not matter.
//
// # SQLite
//
// [OpenFile] opens a file with the recommended settings, which apply to one connection each. In a
// data source name for modernc.org/sqlite, the same settings are
//
//	file:app.db?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)
//
// A pool opens connections at any time. So without OpenFile, put the settings into the data source
// name:
//
//   - journal_mode=WAL lets sign-ins read while another connection writes. A database file needs
//     this setting, so Open turns it on if it is off.
//   - synchronous=FULL, SQLite's default, makes every commit survive a power cut. NORMAL is faster
//     and never damages the database, but a power cut can lose the latest commits, as described for
//     PostgreSQL. Open refuses OFF.
//   - busy_timeout is how long SQLite waits while another process locks the database. Any value
//     works, because the store then continues to wait, up to Config.Timeout.
//
// Any number of processes on one machine may open the same file, even at the same time. Each
// process runs the migrations as one transaction, and only one process writes at a time. A file on
// a network file system is unsafe with any settings.
//
// If the database is in memory, each connection has its own empty database. So limit the pool to
// one connection with db.SetMaxOpenConns(1). Without this limit, Open returns an error. Closing the
// connection deletes the database, so leave SetConnMaxLifetime, SetConnMaxIdleTime and
// SetMaxIdleConns at their defaults.
//
// Back up a file with VACUUM INTO or with the backup API of the driver. A plain copy of the file
// lacks the changes that are still in the -wal file.
//
// # Connections
//
// Many settings of a database belong to a connection, and a pool opens connections at any time. So
// the store checks the settings on each connection before it uses the connection for the first time.
// If a setting is unsafe, the call returns an error that says what to change. On a server, the
// connection also leaves the pool, so that a fail-over does not leave connections to the old server.
//
// The check costs a round trip for each new connection, and a pool keeps only two idle connections by
// default. Set db.SetMaxIdleConns to the number of connections that the program uses most of the time.
// If a driver's connections are not pointers, the store checks a connection before each use.
//
// # Calls at the same time
//
// A transaction with many changes costs a database much less than many transactions. So if several
// calls of CreateSession, RevokeToken or FindKey are waiting, one of the callers runs them together,
// each kind of call apart. A call never waits for others to arrive, and a call about a record that
// another transaction has locked runs alone. If the COMMIT of a shared transaction fails with an
// unknown outcome, each of its callers gets that error.
//
// If the context of a caller ends while another caller runs the transaction, the call returns at
// once, and the change may or may not be made. The caller that runs the transaction completes it
// first, for at most Config.Timeout before the COMMIT. If the server does not answer on the
// connection of a shared transaction, the next calls of that kind wait for this time, too.
//
// # Errors
//
// The database can roll a transaction back because of a deadlock or a conflict with another
// transaction. The store then runs the transaction again, and makes at most ten attempts in all. If
// a connection is lost, the store runs a read, or a transaction before its COMMIT, again on another
// connection, and makes at most three attempts in all. If a COMMIT is interrupted, the transaction
// may or may not have taken effect. The store then returns an error that says so, and does not run
// the transaction again.
package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/sallyport-go/auth"
)

// Config configures a store. Only Dialect is required.
type Config struct {
	// Dialect is the SQL dialect of the database. Required.
	Dialect Dialect

	// Prefix is the beginning of every table name. It has at most 24 lower-case letters, digits and
	// underscores, and begins with a letter. Default "auth_".
	Prefix string

	// SkipMigrations is for a host that applies the files of [Migrations] itself, with
	// github.com/pressly/goose and the version table auth_schema_version. If SkipMigrations is true,
	// [Open] and [OpenAccounts] neither create nor change tables. They return an error unless
	// auth_schema_version records exactly the newest migration that this package knows, and all
	// tables and columns exist. The first call of Open or OpenAccounts also inserts a row into
	// auth_contents. The row records whether a [Store] or an [Accounts] uses the tables.
	SkipMigrations bool

	// IsConflict reports whether an error of the driver means that a primary key or a unique
	// constraint was violated. The store calls IsConflict for errors that this package does not
	// recognize. Most drivers do not need IsConflict.
	IsConflict func(error) bool

	// Timeout limits each of these phases of a call separately: waiting while another process locks
	// an SQLite database, checking a new connection, beginning a transaction, running the statements,
	// and committing. Running a statement includes waiting for rows that another transaction has
	// locked. Timeout does not limit a read and a COMMIT of SQLite, which runs in the process. Only the
	// caller's context limits the wait for a free connection of the pool. That context can end the call
	// earlier. Default 10 seconds.
	Timeout time.Duration
}

const defaultTimeout = 10 * time.Second

// Store is an [auth.Store] in an SQL database. Create one with [Open]. It is safe for concurrent
// use.
type Store struct{ core }

// Accounts is an [auth.AccountStore] in an SQL database, for a host that has its own users table:
// see [auth.NewWithUsers]. Create one with [OpenAccounts]. It is safe for concurrent use.
type Accounts struct{ core }

var (
	_ auth.Store        = (*Store)(nil)
	_ auth.AccountStore = (*Accounts)(nil)
	_ auth.EventStore   = (*Store)(nil)
	_ auth.EventStore   = (*Accounts)(nil)
	_ auth.DeviceStore  = (*Store)(nil)
	_ auth.DeviceStore  = (*Accounts)(nil)
)

// core has the methods that [Store] and [Accounts] have in common.
type core struct {
	db         *sql.DB
	dialect    dialect
	prefix     string
	migrations fs.FS
	contents   contents
	isConflict func(error) bool
	timeout    time.Duration
	conns      checkedConns

	// statements caches the results of [core.statement], by query. The package has a fixed number
	// of queries, so the cache does not grow without limit.
	statements sync.Map

	// writer is a semaphore with one slot. A transaction holds the slot from its beginning to its
	// end: see [core.transact]. The field writer is nil if the database allows several writers at a
	// time.
	writer chan struct{}

	// Calls that arrive at the same time share a transaction, or a read.
	signIns  group[signIn, signedIn]
	signOuts group[auth.SessionClaims, struct{}]
	keyReads group[string, keyWithOwner]

	signInsOf  userGroups[signIn, signedIn]
	signOutsOf userGroups[auth.SessionClaims, struct{}]
}

// Open checks the settings of the database and the rights of its user, applies pending migrations,
// and returns a store. If another process is migrating the tables, Open waits until that process is
// done. This can take minutes. The wait ends if ctx ends.
//
// Open returns an error if a later version of this package has migrated the tables, because the
// version in use could damage such tables. Open also returns an error if the table auth_contents
// records that [OpenAccounts] opened the tables first.
//
// If auth_contents has no record, Open returns an error if the tables have access keys, sessions or
// GitHub links, but no users.
//
// The caller keeps ownership of db, and closes it after the last call to the store.
func Open(ctx context.Context, db *sql.DB, cfg Config) (*Store, error) {
	s := &Store{}
	if err := s.open(ctx, db, cfg, usersAndAccounts); err != nil {
		return nil, err
	}
	return s, nil
}

// OpenAccounts does the same as [Open], but for a host that has its own users table. OpenAccounts
// returns an error if Open opened the tables first, or if the tables have users.
func OpenAccounts(ctx context.Context, db *sql.DB, cfg Config) (*Accounts, error) {
	s := &Accounts{}
	if err := s.open(ctx, db, cfg, accountsOnly); err != nil {
		return nil, err
	}
	return s, nil
}

// open initializes s. The parameter contents says what the tables contain.
func (s *core) open(ctx context.Context, db *sql.DB, cfg Config, contents contents) error {
	files, err := Migrations(cfg.Dialect, cfg.Prefix)
	switch {
	case err != nil:
		return err
	case db == nil:
		return errors.New("sqlstore: the database is nil: pass the *sql.DB of sql.Open")
	case cfg.Timeout < 0:
		return errors.New("sqlstore: Config.Timeout must not be negative")
	}
	return s.openWith(ctx, db, cfg, contents, files)
}

func (s *core) openWith(
	ctx context.Context, db *sql.DB, cfg Config, contents contents, migrations fs.FS,
) error {
	s.db = db
	s.dialect = dialects[cfg.Dialect]
	s.prefix = cmp.Or(cfg.Prefix, defaultPrefix)
	s.migrations = migrations
	s.contents = contents
	s.isConflict = cfg.IsConflict
	s.timeout = cmp.Or(cfg.Timeout, defaultTimeout)
	s.signIns.maxLeaders, s.signOuts.maxLeaders = 1, 1 // so that the calls of the next batch gather
	s.keyReads.maxLeaders = 2
	if s.dialect.oneWriter {
		s.writer = make(chan struct{}, 1)
	}
	if err := s.checkDatabase(ctx); err != nil {
		return fmt.Errorf("sqlstore: check the database: %w", err)
	}
	if cfg.SkipMigrations {
		if err := s.checkVersion(ctx); err != nil {
			return fmt.Errorf("sqlstore: check the version of the tables: %w", err)
		}
	} else if err := s.migrate(ctx); err != nil {
		return fmt.Errorf("sqlstore: migrate: %w", err)
	}
	if err := s.checkTables(ctx); err != nil {
		return fmt.Errorf("sqlstore: check the tables: %w", err)
	}
	if err := s.checkRights(ctx); err != nil {
		return err
	}
	return s.claim(ctx)
}

// keepsUsers reports whether s is the core of a [Store], whose tables contain the users.
func (s *core) keepsUsers() bool { return s.contents == usersAndAccounts }

const selectBootstrapped = `SELECT COUNT(*) FROM auth_bootstrap`

// Ping implements [auth.AccountStore]. Ping reads a table. So it also fails if the connection works
// but the table cannot be read.
func (s *core) Ping(ctx context.Context) error {
	_, err := read(ctx, s, "ping", func(ctx context.Context, q querier) (bootstrapped int, err error) {
		err = q.row(ctx, selectBootstrapped).Scan(&bootstrapped)
		return bootstrapped, err
	})
	return err
}

// statement returns the query in the dialect of the database and with the prefix of the tables.
func (s *core) statement(query string) string {
	if text, ok := s.statements.Load(query); ok {
		return text.(string)
	}
	text := s.dialect.statement(query, s.prefix)
	s.statements.Store(query, text)
	return text
}

// tableChecks are queries that name every column that this package uses, but return no rows.
var tableChecks = []string{
	`SELECT ` + userColumns + `, u.username_folded, u.email_folded FROM auth_users u WHERE 1 = 0`,
	`SELECT ` + keyColumns + ` FROM auth_access_keys k WHERE 1 = 0`,
	`SELECT ` + sessionColumns + ` FROM auth_sessions s WHERE 1 = 0`,
	`SELECT ` + revocationColumns + ` FROM auth_revocations r WHERE 1 = 0`,
	`SELECT h.id, h.position FROM auth_revocation_head h WHERE 1 = 0`,
	`SELECT e.id, e.generation FROM auth_everybody e WHERE 1 = 0`,
	`SELECT h.id FROM auth_host_users h WHERE 1 = 0`,
	`SELECT b.id, b.user_id FROM auth_bootstrap b WHERE 1 = 0`,
	`SELECT ` + linkColumns + ` FROM auth_github_links l WHERE 1 = 0`,
	`SELECT ` + tokenColumns + `, t.lease_until FROM auth_github_tokens t WHERE 1 = 0`,
	`SELECT a.host, a.account_id, a.user_id, a.grant_spent, a.forgotten_at FROM auth_github_accounts a WHERE 1 = 0`,
	`SELECT g.digest FROM auth_spent_grants g WHERE 1 = 0`,
	`SELECT ` + eventColumns + `, e.pending, e.claimed_until, e.attempts FROM auth_events e WHERE 1 = 0`,
	`SELECT st.id, st.expires_at FROM auth_github_states st WHERE 1 = 0`,
	`SELECT c.user_id, c.hash, c.seen_at FROM auth_clients c WHERE 1 = 0`,
	`SELECT ` + deviceColumns + ` FROM auth_device_codes d WHERE 1 = 0`,
	`SELECT r.username_folded, r.user_id, r.retired_at FROM auth_retired_usernames r WHERE 1 = 0`,
	`SELECT c.id, c.keeps FROM auth_contents c WHERE 1 = 0`,
	// An old server, which this package does not support, returns an error for SKIP LOCKED.
	`SELECT name FROM auth_locks WHERE 1 = 0 FOR UPDATE SKIP LOCKED`,
}

// checkTables returns an error if a table or a column is missing. This can happen if another
// program created the tables. Without this check, Open would succeed and the first sign-in would
// fail.
func (s *core) checkTables(ctx context.Context) error {
	for _, query := range tableChecks {
		rows, err := s.db.QueryContext(ctx, s.statement(query))
		if err != nil {
			return err
		}
		if err := errors.Join(rows.Close(), rows.Err()); err != nil {
			return err
		}
	}
	return nil
}
