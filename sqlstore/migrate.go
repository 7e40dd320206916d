package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

// migrationPatience is how long to wait for another process that migrates: as
// long as goose's own locks do.
const migrationPatience = 5 * time.Minute

// migrate applies all pending migrations in one transaction, or none. A database
// that has them all is only read.
//
// What goose reads before it waits for the lock it reads again when it has it;
// where it did not get the lock, it has to begin all over.
func (s *Store) migrate(ctx context.Context) error {
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

// migrator makes goose run everything in one transaction, which is SQLite's own
// lock too. Left alone, goose begins a transaction for each migration, and
// creates its table before it asks for the lock. With goose.WithIsolateDDL it
// begins none, so the session lock can be the transaction; and the version table
// is ours to create, in [migrator.SessionLock].
type migrator struct {
	store    *Store
	versions database.Store
	goose    *goose.Provider
	newest   int64
}

func newMigrator(s *Store) (*migrator, error) {
	versions, err := database.NewStore(s.dialect.goose, "auth_schema_version")
	if err != nil {
		return nil, err
	}
	folder, err := fs.Sub(s.dialect.migrations, s.dialect.folder)
	if err != nil {
		return nil, err
	}
	m := &migrator{store: s, versions: versions}
	m.goose, err = goose.NewProvider(goose.DialectCustom, s.db, folder,
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

// SessionLock begins the transaction and creates the version table where there
// is none.
func (m *migrator) SessionLock(ctx context.Context, conn *sql.Conn) error {
	if err := m.store.beginOn(ctx, conn); err != nil {
		return err
	}
	err := m.createVersionTable(ctx, conn)
	if err != nil {
		m.store.rollBack(ctx, conn)
	}
	return err
}

// SessionUnlock commits if every migration has been applied, and else leaves
// nothing of any.
func (m *migrator) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	current, err := m.version(ctx, conn)
	if err == nil && current == m.newest {
		if err = m.store.commit(ctx, conn); err == nil {
			return nil
		}
	}
	m.store.rollBack(ctx, conn)
	return err
}

func (m *migrator) createVersionTable(ctx context.Context, conn *sql.Conn) error {
	exists, err := m.hasVersionTable(ctx, conn)
	if err != nil || exists {
		return err
	}
	if err := m.versions.CreateVersionTable(ctx, conn); err != nil {
		return err
	}
	return m.versions.Insert(ctx, conn, database.InsertRequest{Version: 0})
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
	err := db.QueryRowContext(ctx, m.store.dialect.hasTable, m.versions.Tablename()).Scan(&tables)
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
