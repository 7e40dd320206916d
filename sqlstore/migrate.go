package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

// migrationPatience is how long to wait for another process that migrates.
const migrationPatience = 5 * time.Minute

// migrationLock is how those who migrate at the same time wait for each other.
type migrationLock struct {
	// inTransaction is set where tables are made in a transaction like anything
	// else. Then all migrations are one, which lock is a part of.
	inTransaction bool

	// lock asks for the lock and answers 1 if it was got; unlock gives it back,
	// where the end of a transaction does not. Their parameter is what argument
	// makes of the name of the version table. They may be empty.
	lock, unlock string
	argument     func(table string) any
}

// migrate applies all pending migrations: in one transaction, or none, where the
// database can do that, and else one after another, each of which can be run
// again. A database that has them all is only read.
//
// What goose reads before it waits for the lock it reads again when it has it;
// where it did not get the lock, it has to begin all over.
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
			err = fmt.Errorf("the tables have version %d and this program knows only %d: "+
				"it is older than the one that migrated them", current, m.newest)
		}
		return err
	})
}

// migrator makes goose run everything under our lock. Left alone, goose creates
// its table before it asks for the lock, and on SQLite has none; its lock for
// PostgreSQL asks every five seconds, and its lock for MySQL is a lease that a
// goroutine renews.
//
// With goose.WithIsolateDDL it begins no transactions, so the session lock can be
// the transaction; and the version table is ours to create, in
// [migrator.SessionLock].
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

// SessionLock takes the lock and creates the version table where there is none.
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
	row := conn.QueryRowContext(ctx, m.store.statement(locks.lock), locks.argument(m.versions.Tablename()))
	err := row.Scan(&got)
	if err == nil && got.V != 1 {
		err = errors.New("another process has been migrating for too long")
	}
	return err
}

// SessionUnlock keeps what was done in a transaction if every migration has been
// applied, and else leaves nothing of any.
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
	if _, err := conn.ExecContext(ctx, m.store.statement(locks.unlock), locks.argument(m.versions.Tablename())); err != nil {
		discard(conn) // and with it the lock
	}
	return nil
}

// createVersionTable also ends what somebody began who was killed in between.
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

// version returns the newest migration that has been applied, 0 for none.
func (m *migrator) version(ctx context.Context, db database.DBTxConn) (int64, error) {
	exists, err := m.hasVersionTable(ctx, db)
	if err != nil || !exists {
		return 0, err
	}
	version, err := m.versions.GetLatestVersion(ctx, db)
	if errors.Is(err, database.ErrVersionNotFound) {
		return 0, nil
	}
	return version, err
}

func (m *migrator) hasVersionTable(ctx context.Context, db database.DBTxConn) (bool, error) {
	var tables int
	query := m.store.statement(m.store.dialect.hasTable)
	err := db.QueryRowContext(ctx, query, m.versions.Tablename()).Scan(&tables)
	return tables > 0, err
}

// versionTable keeps goose from creating its table without the lock.
type versionTable struct {
	database.Store
	migrator *migrator
}

// TableExists is asked before the lock is there; after it, the table always is.
func (versionTable) TableExists(context.Context, database.DBTxConn) (bool, error) { return true, nil }

// ListMigrations lists none where there is no table.
func (v versionTable) ListMigrations(ctx context.Context, db database.DBTxConn) ([]*database.ListMigrationsResult, error) {
	exists, err := v.migrator.hasVersionTable(ctx, db)
	if err != nil || !exists {
		return nil, err
	}
	return v.Store.ListMigrations(ctx, db)
}
