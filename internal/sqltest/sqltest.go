// Package sqltest gives tests empty tables on a database server. Creating the tables of a store takes a
// server longer than most tests take, so tests use the same tables one after another.
package sqltest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-go/auth/sqlstore"
)

// InSchema returns the DSN with schema as the default schema. DSNs for PostgreSQL are for pgx, and those for
// MySQL are for go-sql-driver.
func InSchema(dialect sqlstore.Dialect, dsn, schema string) string {
	if dialect == sqlstore.MySQL {
		head, query, _ := strings.Cut(dsn, "?")
		return head[:strings.LastIndex(head, "/")+1] + schema + "?" + query
	}
	separator := "?"
	if strings.Contains(dsn, "?") {
		separator = "&"
	}
	return dsn + separator + "search_path=" + schema
}

// Tables hands out tables in one schema of a server. Create it with [NewTables]. It is safe for concurrent
// use.
type Tables struct {
	dialect sqlstore.Dialect
	db      *sql.DB

	mu   sync.Mutex
	free []string // prefixes of empty tables that no test uses
}

// NewTables returns a Tables for a schema of a PostgreSQL or MySQL server. The connections of db must be
// to the schema. The caller closes db after the last test, and removes the schema.
func NewTables(dialect sqlstore.Dialect, db *sql.DB) *Tables {
	return &Tables{dialect: dialect, db: db}
}

// NewPrefix returns a value for [sqlstore.Config.Prefix] for which there are no tables yet.
func NewPrefix() string { return "t" + strings.ToLower(rand.Text()[:12]) + "_" }

// Prefix returns a value for [sqlstore.Config.Prefix]. The tables with this prefix are empty, or
// [sqlstore.Open] must create them. No other test uses them at the same time. They are no different from
// new tables, except that the versions were recorded earlier.
//
// When the test ends, the tables are emptied for a later test. If the test failed, or if a transaction
// still uses one of the tables, no later test gets them. Before it ends, the test must wait for all calls
// of the store. It must change nothing but rows, and not those of the version table.
func (x *Tables) Prefix(t testing.TB) string {
	t.Helper()
	prefix := x.take()
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		if err := x.Empty(context.Background(), prefix); err != nil {
			t.Logf("no other test will use the tables %s…: %v", prefix, err)
			return
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		x.free = append(x.free, prefix)
	})
	return prefix
}

func (x *Tables) take() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	last := len(x.free) - 1
	if last < 0 {
		return NewPrefix()
	}
	prefix := x.free[last]
	x.free = x.free[:last]
	return prefix
}

// Empty gives the tables with the prefix the rows that they have after the migrations. The version table
// keeps its rows. If a transaction uses one of the tables, Empty does not wait, but returns an error and
// changes nothing.
func (x *Tables) Empty(ctx context.Context, prefix string) error {
	names, inserts, err := migrated(x.dialect, prefix)
	if err != nil {
		return err
	}
	conn, err := x.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	lock := `LOCK TABLE ` + strings.Join(names, ", ") + ` IN ACCESS EXCLUSIVE MODE NOWAIT`
	if x.dialect == sqlstore.MySQL {
		lock = `LOCK TABLES ` + strings.Join(names, " WRITE, ") + ` WRITE NOWAIT`
		if err := run(ctx, conn, lock); err != nil {
			return err
		}
		// The inserts use some tables by another name, for which the server would want another lock. So
		// the lock only shows that no transaction uses the tables.
		lock = `UNLOCK TABLES`
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	statements := []string{lock}
	for _, name := range names {
		statements = append(statements, `DELETE FROM `+name)
	}
	if err := run(ctx, tx, append(statements, inserts...)...); err != nil {
		return err
	}
	return tx.Commit()
}

func run(ctx context.Context, on interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, statements ...string) error {
	for _, statement := range statements {
		if _, err := on.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

var (
	createdTable = regexp.MustCompile(`(?m)^CREATE TABLE (?:IF NOT EXISTS )?(\w+)`)
	insertedRow  = regexp.MustCompile(`(?ms)^INSERT INTO .+?;$`)
)

// migrated returns the names of the tables that the migrations create, and the statements with which they
// insert rows.
func migrated(dialect sqlstore.Dialect, prefix string) (tables, inserts []string, err error) {
	files, err := sqlstore.Migrations(dialect, prefix)
	if err != nil {
		return nil, nil, err
	}
	err = fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, path)
		for _, match := range createdTable.FindAllStringSubmatch(string(text), -1) {
			tables = append(tables, match[1])
		}
		inserts = append(inserts, insertedRow.FindAllString(string(text), -1)...)
		return err
	})
	return tables, inserts, err
}
