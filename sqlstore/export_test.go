package sqlstore

import (
	"context"
	"database/sql"
	"io/fs"
)

// OpenWithMigrations is Open with other migrations than the embedded ones.
func OpenWithMigrations(ctx context.Context, db *sql.DB, cfg Config, migrations fs.FS) (*Store, error) {
	return open(ctx, db, cfg, migrations)
}

// Transact runs do in a transaction, as every verb that writes.
func (s *Store) Transact(ctx context.Context, do func(context.Context, *sql.Conn) error) error {
	return s.write(ctx, "test", func(ctx context.Context, t tx) error { return do(ctx, t.conn) })
}

// Statement returns a query of the package's tables as the database has it.
func (s *Store) Statement(query string) string { return s.statement(query) }
