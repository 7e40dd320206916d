// Package sqlstore keeps users, access keys, sessions and GitHub accounts in an SQL database. It
// works on database/sql with SQLite, PostgreSQL, MariaDB or MySQL.
//
// Open a database with the driver of your choice and pass it to [Open]; this package imports no
// driver. Open checks the settings of the database and creates or updates the tables. Their names
// begin with "auth_" by default; see Config.Prefix. Open leaves everything else in the database
// alone:
//
//	db, err := sql.Open("pgx", "postgres://app@db.example.com/app")
//	…
//	store, err := sqlstore.Open(ctx, db, sqlstore.Config{Dialect: sqlstore.Postgres})
//
// A host that has its own users table calls [OpenAccounts] instead. The first of the two functions
// to open the tables decides permanently what the tables contain, and the other function then
// refuses to open them. The table auth_contents records the decision. To correct the decision,
// delete the row of auth_contents while the other tables are empty and no program uses them.
//
// The rest of the program may use the same database and pool. But if the rest of the program keeps
// every connection of the pool busy, the store waits.
//
// The store must see every committed write at once, from every instance. So name the primary server
// in the data source name, never a replica or a proxy that sends reads to replicas.
//
// A host with its own tables in the same database uses [Store.HoldAuthority] or
// [Accounts.HoldAuthority] to write to its tables on behalf of a caller's session.
//
// # Tested databases
//
// The tests run on PostgreSQL 15 with github.com/jackc/pgx/v5, on MariaDB 10.11 with
// github.com/go-sql-driver/mysql, and on SQLite with modernc.org/sqlite. They have not been run on
// MySQL 8 or CockroachDB. The package uses only features that the documentation of both databases
// describes, with one exception: CockroachDB grants the lock for migrations without waiting. So on
// CockroachDB, let one instance migrate before the other instances start.
//
// # PostgreSQL
//
// The encoding of the database must be UTF8. Transactions are READ COMMITTED with row locks,
// whatever the default of the database is. With synchronous_commit=off, a server failure can lose
// the latest commits; a session or key that was just revoked is then valid again. The store keeps
// no state in a connection between transactions. Whether a pooler that assigns connections per
// transaction works depends on how the driver prepares statements.
//
// # MariaDB and MySQL
//
// The recommended data source name for github.com/go-sql-driver/mysql is
//
//	app:…@tcp(db.example.com)/app?interpolateParams=true
//
// With interpolateParams, the driver saves a round trip for each statement. autocommit must be on,
// and sql_mode must contain STRICT_TRANS_TABLES or STRICT_ALL_TABLES, because without these modes
// the server truncates values that do not fit. Both settings are the default. The tables use
// InnoDB. If innodb_flush_log_at_trx_commit is not 1, a server failure can lose the latest commits,
// as described for PostgreSQL. Text is stored as VARBINARY, so the character set and the collation
// of the connection do not matter.
//
// # SQLite
//
// The recommended data source name for modernc.org/sqlite is
//
//	file:app.db?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)
//
// SQLite's settings apply to one connection, and a pool opens connections at any time. So put the
// settings into the data source name:
//
//   - journal_mode=WAL lets sign-ins read during a write. A file needs it; Open turns it on if it
//     is off.
//   - synchronous=FULL, SQLite's default, makes every commit survive a power cut. NORMAL is faster
//     and never damages the database, but a power cut can lose the latest commits, as described for
//     PostgreSQL. Open refuses OFF.
//   - busy_timeout is how long SQLite itself waits for another process. The store waits in
//     addition, up to Config.Timeout, so any value works.
//
// Any number of processes on one machine may open the same file, even at the same time: migrations
// are one transaction, and writers queue. A file on a network file system is unsafe with any
// settings.
//
// An in-memory database exists once per connection. Open refuses it unless db.SetMaxOpenConns(1)
// limits the pool. The database is lost when that connection is closed, so leave
// SetConnMaxLifetime, SetConnMaxIdleTime and SetMaxIdleConns at their defaults.
//
// Back up a file with VACUUM INTO or with the backup API of the driver. A plain copy of the file
// lacks the content of the -wal file.
//
// # Errors
//
// If a transaction deadlocks, or if the database rolls it back so that others can proceed, the
// store tries it again, up to ten attempts in all. If a COMMIT is interrupted, it may or may not
// have taken effect. The error then says that the outcome is unknown, and the store assumes neither
// outcome.
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

	// Prefix begins the names of the tables. It has at most 24 lower-case letters, digits and
	// underscores, and begins with a letter. Default "auth_".
	Prefix string

	// SkipMigrations is for a team that applies the files of [Migrations] itself. [Open] and
	// [OpenAccounts] then neither create nor change tables. They still check that the tables can be
	// used. The first call also records in auth_contents whether a [Store] or an [Accounts] uses
	// the tables.
	SkipMigrations bool

	// IsConflict reports whether an error of the driver means that a primary key or a unique
	// constraint was violated. It is called for errors that this package does not recognize. Most
	// drivers do not need it.
	IsConflict func(error) bool

	// Timeout limits each of three phases of a call separately: waiting for locks that other calls
	// hold, running the statements, and committing. The caller's context may end the call earlier.
	// Default 10 seconds.
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
)

// core implements [auth.AccountStore] for both types.
type core struct {
	db         *sql.DB
	dialect    dialect
	prefix     string
	migrations fs.FS
	contents   contents
	isConflict func(error) bool
	timeout    time.Duration

	// statements is a cache. It maps each query of this package to the query that the database
	// runs. The package has a fixed number of queries, so the cache is bounded.
	statements sync.Map

	// writer is a one-slot semaphore; its holder may write. See [core.transact]. It is nil if the
	// database allows several writers.
	writer chan struct{}
}

// Open checks the settings of the database, applies pending migrations, and returns a store. While
// another process migrates, Open waits for that process, for minutes if ctx allows it.
//
// Open fails if the tables are newer than this package, so that an older program cannot damage
// them. It fails if the table auth_contents records that [OpenAccounts] opened the tables first. If
// auth_contents has no record, because the tables were created by an earlier version, Open fails if
// they have keys, sessions or GitHub links, but no users.
//
// The caller keeps ownership of db, and closes it after the last call to the store.
func Open(ctx context.Context, db *sql.DB, cfg Config) (*Store, error) {
	s := &Store{}
	if err := s.open(ctx, db, cfg, usersAndAccounts); err != nil {
		return nil, err
	}
	return s, nil
}

// OpenAccounts is [Open] for a host that has its own users table. It fails if Open was the first to
// open the tables, or if the tables have users.
func OpenAccounts(ctx context.Context, db *sql.DB, cfg Config) (*Accounts, error) {
	s := &Accounts{}
	if err := s.open(ctx, db, cfg, accountsOnly); err != nil {
		return nil, err
	}
	return s, nil
}

// open makes the zero core a store with these contents.
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
	if s.dialect.oneWriter {
		s.writer = make(chan struct{}, 1)
	}
	err := s.retry(ctx, s.timeout, func() error { return s.dialect.check(ctx, db) })
	if err != nil {
		return fmt.Errorf("sqlstore: check the database: %w", err)
	}
	if !cfg.SkipMigrations {
		if err := s.migrate(ctx); err != nil {
			return fmt.Errorf("sqlstore: migrate: %w", err)
		}
	}
	if err := s.checkTables(ctx); err != nil {
		return fmt.Errorf("sqlstore: check the tables: %w", err)
	}
	return s.claim(ctx)
}

// keepsUsers reports whether the core belongs to a [Store].
func (s *core) keepsUsers() bool { return s.contents == usersAndAccounts }

const selectBootstrapped = `SELECT COUNT(*) FROM auth_bootstrap`

// Ping reads from the tables. So it also fails if the connection is alive but the tables cannot be
// read.
func (s *core) Ping(ctx context.Context) error {
	_, err := read(ctx, s, "ping", func(q querier) (bootstrapped int, err error) {
		err = q.row(ctx, selectBootstrapped).Scan(&bootstrapped)
		return bootstrapped, err
	})
	return err
}

// statement returns the query as the database runs it.
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
	`SELECT a.host, a.account_id, a.user_id, a.grant_spent FROM auth_github_accounts a WHERE 1 = 0`,
	`SELECT ` + eventColumns + `, e.pending, e.claimed_until, e.attempts FROM auth_events e WHERE 1 = 0`,
	`SELECT st.id, st.expires_at FROM auth_github_states st WHERE 1 = 0`,
	`SELECT r.username_folded FROM auth_retired_usernames r WHERE 1 = 0`,
	`SELECT c.id, c.keeps FROM auth_contents c WHERE 1 = 0`,
	// An old server, which this package does not support, returns an error for SKIP LOCKED.
	`SELECT name FROM auth_locks WHERE 1 = 0 FOR UPDATE SKIP LOCKED`,
}

// checkTables returns an error if a table or a column is missing, which can happen if the tables
// were created by other means. Without this check, opening would succeed and the first sign-in
// would fail.
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
