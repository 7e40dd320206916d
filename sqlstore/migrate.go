package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

// migrationPatience is how long migrate waits while another process migrates the same tables.
const migrationPatience = 5 * time.Minute

// migrationLock says how processes that migrate at the same time wait for each other.
type migrationLock struct {
	// inTransaction is true if the database can create tables in a transaction. All migrations then
	// run in one transaction, which also takes the lock.
	inTransaction bool

	// lock is a query that takes the lock and returns 1 if it succeeded. The field lock is empty if
	// the beginning of the transaction takes the lock.
	//
	// unlock is a statement that releases the lock. The field unlock is empty if the end of the
	// transaction releases the lock.
	//
	// The statements in lock and unlock have one parameter each. The field argument is a function
	// that returns the value of this parameter for a version table.
	lock, unlock string
	argument     func(table string) any
}

// migrate applies all pending migrations. If no migration is pending, migrate only reads.
//
// If the database can create tables in a transaction, all migrations run in one transaction. If it
// cannot, the statements run one after another. A process can then be killed between two statements, or
// before it has recorded a migration. So each statement must be safe to run twice.
//
// The migration library goose reads which migrations have been applied. goose does this before it
// waits for the lock, and again after it has the lock. If goose does not get the lock, migrate runs
// goose again from the beginning.
func (s *core) migrate(ctx context.Context) error {
	m, err := newMigrator(s)
	if err != nil {
		return err
	}
	return s.retry(ctx, migrationPatience, func() error {
		if _, err := m.goose.Up(ctx); err != nil {
			return err
		}
		current, err := m.version(ctx, s.db)
		if err == nil && current > m.newest {
			err = m.newerError(current)
		}
		return err
	})
}

// ErrNoTables matches the error of [Open] and [OpenAccounts] if Config.SkipMigrations is set and the database
// has no tables with the prefix yet.
var ErrNoTables = errors.New("sqlstore: there are no tables yet")

// noTableError names the table with the version of the tables, which does not exist.
type noTableError string

func (e noTableError) Error() string {
	return fmt.Sprintf("there is no table %s: with SkipMigrations, apply the files of Migrations with goose "+
		"and the option -table %s", string(e), string(e))
}

// Is reports whether the target is ErrNoTables.
func (noTableError) Is(target error) bool { return target == ErrNoTables }

// checkVersion is for tables that the host migrates itself. It returns an error unless the version
// table records exactly the newest migration of this program.
func (s *core) checkVersion(ctx context.Context) error {
	m, err := newMigrator(s)
	if err != nil {
		return err
	}
	return s.retry(ctx, s.timeout, func() error {
		table := m.versions.Tablename()
		exists, err := m.hasVersionTable(ctx, s.db)
		if err != nil {
			return err
		}
		if !exists {
			return noTableError(table)
		}
		current, err := m.version(ctx, s.db)
		switch {
		case err != nil:
			return err
		case current > m.newest:
			return m.newerError(current)
		case current < m.newest:
			return fmt.Errorf("the tables have version %d and this program needs %d: apply the later files "+
				"of Migrations", current, m.newest)
		}
		return nil
	})
}

// Tables with one of these versions are from before the first release, and lack what the migrations assume.
// No migration of a release has one of these versions, so every program recognizes such tables.
const firstUnreleased, lastUnreleased = 2, 19

// checkReleased returns an error if the version is from before the first release.
func checkReleased(version int64) error {
	if version < firstUnreleased || version > lastUnreleased {
		return nil
	}
	return fmt.Errorf("the tables have version %d, from before the first release, and cannot be migrated: "+
		"set Config.Prefix to use new tables, and register or import the users there", version)
}

// newerError returns the error for tables with a version that this program does not know.
func (m *migrator) newerError(current int64) error {
	return fmt.Errorf("the tables have version %d and this program knows only %d: "+
		"an older program cannot use tables that a newer one migrated", current, m.newest)
}

// migrator makes goose do everything under the lock of this package. The locks of goose are
// unsuitable:
//   - goose would create its version table before it takes a lock.
//   - goose has no lock for SQLite.
//   - The lock of goose for PostgreSQL polls every five seconds.
//   - The lock of goose for MySQL is a lease that a goroutine renews.
//
// With the option goose.WithIsolateDDL, goose begins no transactions. So [migrator.SessionLock] can
// begin one transaction for all migrations. SessionLock also creates the version table.
type migrator struct {
	store    *core
	versions database.Store
	goose    *goose.Provider
	newest   int64
}

func newMigrator(s *core) (*migrator, error) {
	versions, err := database.NewStore(s.dialect.goose, s.prefix+"schema_version")
	if err != nil {
		return nil, err
	}
	m := &migrator{store: s, versions: versions}
	m.goose, err = goose.NewProvider(goose.DialectCustom, s.db, s.migrations,
		goose.WithStore(versionTable{versions, m}),
		goose.WithSessionLocker(m),
		goose.WithIsolateDDL(true),
		goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, err
	}
	sources := m.goose.ListSources()
	m.newest = sources[len(sources)-1].Version
	return m, nil
}

// SessionLock takes the lock and creates the version table if it does not exist. goose calls
// SessionLock before it applies migrations.
func (m *migrator) SessionLock(ctx context.Context, conn *sql.Conn) error {
	err := m.lock(ctx, conn)
	if err == nil {
		err = m.createVersionTable(ctx, conn)
	}
	if err != nil {
		return errors.Join(err, m.unlock(ctx, conn, false))
	}
	return nil
}

func (m *migrator) lock(ctx context.Context, conn *sql.Conn) error {
	locks := m.store.dialect.migrations
	if locks.inTransaction {
		if err := m.store.beginOn(ctx, conn); err != nil {
			return err
		}
	}
	if locks.lock == "" {
		return nil
	}
	var got sql.Null[int64]
	row := conn.QueryRowContext(ctx, m.store.statement(locks.lock),
		locks.argument(m.versions.Tablename()))
	err := row.Scan(&got)
	if err == nil && got.V != 1 {
		err = errors.New("timed out while another process migrates")
	}
	return err
}

// SessionUnlock releases the lock. goose calls SessionUnlock after the migrations. If the
// migrations ran in a transaction, SessionUnlock ends the transaction. SessionUnlock commits if
// every migration has been applied, and rolls back if not.
func (m *migrator) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	current, err := m.version(ctx, conn)
	return errors.Join(err, m.unlock(ctx, conn, err == nil && current == m.newest))
}

func (m *migrator) unlock(ctx context.Context, conn *sql.Conn, keep bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.store.timeout)
	defer cancel()
	locks := m.store.dialect.migrations
	if locks.inTransaction {
		if keep {
			err := m.store.commit(ctx, conn)
			if err == nil {
				return nil
			}
			m.store.rollBack(ctx, conn)
			return err
		}
		m.store.rollBack(ctx, conn)
		return nil
	}
	if _, err := conn.ExecContext(ctx, m.store.statement(locks.unlock),
		locks.argument(m.versions.Tablename())); err != nil {
		discardConn(conn) // closing the connection releases the lock
	}
	return nil
}

// createVersionTable creates the version table and inserts version 0. An earlier process may have
// been killed between these two steps. The table then exists without a version, and
// createVersionTable only inserts version 0.
func (m *migrator) createVersionTable(ctx context.Context, conn *sql.Conn) error {
	exists, err := m.hasVersionTable(ctx, conn)
	if err != nil {
		return err
	}
	if !exists {
		if err := m.versions.CreateVersionTable(ctx, conn); err != nil {
			return err
		}
	}
	_, err = m.versions.GetLatestVersion(ctx, conn)
	if errors.Is(err, database.ErrVersionNotFound) {
		err = m.versions.Insert(ctx, conn, database.InsertRequest{Version: 0})
	}
	return err
}

// version returns the number of the newest applied migration, or 0 if none was applied. It returns an
// error if the number is from before the first release.
func (m *migrator) version(ctx context.Context, db database.DBTxConn) (int64, error) {
	exists, err := m.hasVersionTable(ctx, db)
	if err != nil || !exists {
		return 0, err
	}
	version, err := m.versions.GetLatestVersion(ctx, db)
	if errors.Is(err, database.ErrVersionNotFound) {
		return 0, nil
	}
	return version, cmp.Or(err, checkReleased(version))
}

func (m *migrator) hasVersionTable(ctx context.Context, db database.DBTxConn) (bool, error) {
	var tables int
	query := m.store.statement(m.store.dialect.hasTable)
	err := db.QueryRowContext(ctx, query, m.versions.Tablename()).Scan(&tables)
	return tables > 0, err
}

// versionTable gives goose access to the version table, but keeps goose from creating the table
// without the lock.
type versionTable struct {
	database.Store
	migrator *migrator
}

// TableExists always returns true. goose calls TableExists without the lock, and would then create
// the table if the result were false. Instead, SessionLock creates the table under the lock.
func (versionTable) TableExists(context.Context, database.DBTxConn) (bool, error) { return true, nil }

// ListMigrations returns the applied migrations, or none if the version table does not exist. goose calls
// it before it applies a migration. It returns an error if a version is from before the first release.
func (v versionTable) ListMigrations(
	ctx context.Context, db database.DBTxConn,
) ([]*database.ListMigrationsResult, error) {
	exists, err := v.migrator.hasVersionTable(ctx, db)
	if err != nil || !exists {
		return nil, err
	}
	applied, err := v.Store.ListMigrations(ctx, db)
	for _, one := range applied {
		err = cmp.Or(err, checkReleased(one.Version))
	}
	return applied, err
}
