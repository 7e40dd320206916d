// Package sqlstore keeps users, access keys, sessions and GitHub accounts in an SQL database,
// over database/sql: SQLite, PostgreSQL, MariaDB or MySQL.
//
// Open a database with the driver of your choice and hand it over; this package
// imports none. [Open] checks the database's settings, creates or updates the
// tables, all of which are named auth_… unless Config.Prefix says otherwise, and
// leaves everything else alone:
//
//	db, err := sql.Open("pgx", "postgres://app@db.example.com/app")
//	…
//	store, err := sqlstore.Open(ctx, db, sqlstore.Config{Dialect: sqlstore.Postgres})
//
// A host that has a users table of its own calls [OpenAccounts] instead. The first of the two
// functions to open the tables decides for ever what they keep, and the other one refuses them.
// The table auth_contents records the decision: to correct it while the tables are empty and no
// program uses them, delete its row.
//
// The database and its pool may be shared with the rest of the program, but a
// program that keeps every connection of the pool busy keeps the store waiting.
//
// The store must see what has been written, at once and from every instance: name
// the primary server, never a replica, and no proxy that sends reads to one.
//
// A host whose own tables are in the same database writes to them on behalf of a caller's session
// with [Store.HoldAuthority] or [Accounts.HoldAuthority].
//
// # What it was run on
//
// The tests run on PostgreSQL 15 with github.com/jackc/pgx/v5, on MariaDB 10.11
// with github.com/go-sql-driver/mysql, and on SQLite with modernc.org/sqlite.
// MySQL 8 and CockroachDB were not run: nothing is used that their documentation
// does not have, but for the lock under which migrations run, which CockroachDB
// takes without waiting; there, let one instance migrate first.
//
// # PostgreSQL
//
// The encoding of the database must be UTF8. Transactions are READ COMMITTED with
// row locks, whatever the default is. With synchronous_commit=off, commits of the
// last moment may be forgotten when the server fails: a session that was revoked, or
// a key that was revoked, is good again then. Nothing is kept in a connection from
// one transaction to the next; whether a pooler that hands out connections by
// transaction will do is a question of how the driver prepares statements.
//
// # MariaDB and MySQL
//
// The recommended data source name for github.com/go-sql-driver/mysql is
//
//	app:…@tcp(db.example.com)/app?interpolateParams=true
//
// where interpolateParams saves the driver a round trip for each statement.
// autocommit must be on and STRICT_TRANS_TABLES or STRICT_ALL_TABLES in sql_mode, as it is by
// default, or values would be cut off where they do not fit. The tables use
// InnoDB; with innodb_flush_log_at_trx_commit other than 1, the last commits may
// be forgotten as above. Text is kept as VARBINARY, so the character set and the
// collation of the connection do not matter.
//
// # SQLite
//
// The recommended data source name for modernc.org/sqlite is
//
//	file:app.db?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)
//
// SQLite's settings belong to a connection, and a pool opens connections when it
// likes, so they belong in the data source name:
//
//   - journal_mode=WAL lets sign-ins read while something is written. It is
//     required of a file, and Open switches it on where it is not.
//   - synchronous=FULL, which is SQLite's default, makes every commit survive a
//     power cut. NORMAL is faster and never damages the database, but the last
//     commits before a power cut may be forgotten, as above. OFF is refused.
//   - busy_timeout is how patiently SQLite itself waits for another process. The
//     store waits on top of it, see Config.Timeout, so that any value will do.
//
// Any number of processes on one machine may open the same file, all at once if
// need be: migrations are one transaction, and the writers queue. An SQLite file
// on a network file system is not safe, whatever the settings.
//
// A database in memory exists once per connection. Open refuses it unless the
// pool has been limited with db.SetMaxOpenConns(1), and it is gone when that
// connection is closed, so leave SetConnMaxLifetime, SetConnMaxIdleTime and
// SetMaxIdleConns at their defaults.
//
// Back a file up with VACUUM INTO, or with the driver's backup API; a copy of the
// file alone lacks what is still in the -wal file.
//
// # Errors
//
// A deadlock, or a transaction that the database undid for another's sake, is
// tried again, ten times at most. A commit that was cut off may have taken effect
// or not; the error says so, and nothing is assumed.
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

// Config says how to use a database.
type Config struct {
	// Dialect is the SQL dialect of the database. It is required.
	Dialect Dialect

	// Prefix begins the names of the tables: at most 24 lower-case letters, digits and
	// underscores, a letter first. Default "auth_".
	Prefix string

	// SkipMigrations is for a team that applies the files of [Migrations] itself. Opening
	// then creates and changes no tables. It checks that the tables can be used, and the
	// first call writes to one of them what they keep.
	SkipMigrations bool

	// IsConflict reports whether an error of the driver means that a primary key or a unique
	// constraint was violated. It is called for errors that this package does not recognize,
	// and most drivers do not need it.
	IsConflict func(error) bool

	// Timeout is how long a call waits for locks that other calls hold and, once it has them,
	// how long its statements may take, and then the commit. The caller's context may end
	// the call earlier. Default 10 seconds.
	Timeout time.Duration
}

const defaultTimeout = 10 * time.Second

// Store is an [auth.Store] in an SQL database. It is safe for concurrent use.
type Store struct{ core }

// Accounts is an [auth.AccountStore] in an SQL database, for a host that has a users table of
// its own: see [auth.NewWithUsers]. It is safe for concurrent use.
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

	// statements are the queries of this package as the database runs them, by the query in
	// this package. There are as many as the package has.
	statements sync.Map

	// writer has room for one: see [core.transact]. It is nil if the database takes many
	// writers.
	writer chan struct{}
}

// Open checks the settings of the database, applies the migrations that it lacks, and returns
// a store in it. While another process migrates, Open waits for that process, for minutes if
// ctx allows.
//
// Open fails if the tables are newer than this package knows, so that an older program cannot
// harm them. It also fails if [OpenAccounts] was the first to open these tables, or if they are of
// before that was recorded and have keys, sessions or GitHub links, but no users.
//
// The caller keeps db, and closes it after the last call to the store.
func Open(ctx context.Context, db *sql.DB, cfg Config) (*Store, error) {
	s := &Store{}
	if err := s.open(ctx, db, cfg, usersAndAccounts); err != nil {
		return nil, err
	}
	return s, nil
}

// OpenAccounts is [Open] for a host that has a users table of its own. It fails if Open was
// the first to open these tables, or if they have users.
func OpenAccounts(ctx context.Context, db *sql.DB, cfg Config) (*Accounts, error) {
	s := &Accounts{}
	if err := s.open(ctx, db, cfg, accountsOnly); err != nil {
		return nil, err
	}
	return s, nil
}

// open makes the zero core a store of these contents.
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

func (s *core) openWith(ctx context.Context, db *sql.DB, cfg Config, contents contents, migrations fs.FS) error {
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

// keepsUsers reports whether the core is that of a [Store].
func (s *core) keepsUsers() bool { return s.contents == usersAndAccounts }

const selectBootstrapped = `SELECT COUNT(*) FROM auth_bootstrap`

// Ping reads from the tables, which proves more than a living connection does.
func (s *core) Ping(ctx context.Context) error {
	_, err := read(ctx, s, "ping", func(q querier) (bootstrapped int, err error) {
		err = q.row(ctx, selectBootstrapped).Scan(&bootstrapped)
		return bootstrapped, err
	})
	return err
}

// statement returns the query as the database has it.
func (s *core) statement(query string) string {
	if text, ok := s.statements.Load(query); ok {
		return text.(string)
	}
	text := s.dialect.statement(query, s.prefix)
	s.statements.Store(query, text)
	return text
}

// tableChecks read nothing from every column that this package uses.
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
	`SELECT name FROM auth_locks WHERE 1 = 0 FOR UPDATE SKIP LOCKED`, // which an old server does not know
}

// checkTables fails now and not at the first sign-in if tables that others have
// made are not as they should be.
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
