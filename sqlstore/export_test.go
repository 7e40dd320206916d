package sqlstore

import (
	"context"
	"database/sql"
	"io/fs"
)

// OpenWithMigrations is Open with other migrations than the embedded ones.
func OpenWithMigrations(ctx context.Context, db *sql.DB, cfg Config, migrations fs.FS) (*Store, error) {
	dialect := dialects[cfg.Dialect]
	dialect.migrations, dialect.folder = migrations, "."
	return open(ctx, db, cfg, dialect)
}

// EmbeddedMigrations returns the files that Open applies, by name.
func EmbeddedMigrations(d Dialect) map[string][]byte {
	files := make(map[string][]byte)
	folder := dialects[d].folder
	entries, err := migrations.ReadDir(folder)
	if err != nil {
		panic(err)
	}
	for _, entry := range entries {
		if files[entry.Name()], err = migrations.ReadFile(folder + "/" + entry.Name()); err != nil {
			panic(err)
		}
	}
	return files
}

// Transact runs do in a transaction, as every verb that writes.
func (s *Store) Transact(ctx context.Context, do func(context.Context, *sql.Conn) error) error {
	return s.write(ctx, "test", func(ctx context.Context, t tx) error { return do(ctx, t.Conn) })
}
