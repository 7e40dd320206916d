package wiretest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/sqltest"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/sqlstore"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"
)

// testStores maps each kind of store to a function that opens an empty store.
var testStores = map[string]func(t testing.TB) auth.Store{
	"memory": func(testing.TB) auth.Store { return memstore.New() },
	"SQLite": func(t testing.TB) auth.Store {
		dsn := sqliteDSN(filepath.Join(testenv.TempDir(t), "auth.db"))
		return openSQL(t, "sqlite", dsn, sqlstore.Config{Dialect: sqlstore.SQLite})
	},
	"PostgreSQL": postgres.store,
	"MariaDB":    mariadb.store,
}

// onStores runs the test with each kind of store, in parallel.
func onStores(t *testing.T, test func(t *testing.T, open func(testing.TB) auth.Store)) {
	for name, open := range testStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open)
		})
	}
}

// server is a database server. The tests use it if the environment variable has a DSN. They create a
// schema on the server, and remove it at the end.
type server struct {
	dialect          sqlstore.Dialect
	driver, variable string

	once   sync.Once
	err    error
	schema string
	dsn    string // with the schema
	db     *sql.DB
	tables *sqltest.Tables
}

var (
	postgres = &server{dialect: sqlstore.Postgres, driver: "pgx", variable: "AUTH_TEST_POSTGRES_DSN"}
	mariadb  = &server{dialect: sqlstore.MySQL, driver: "mysql", variable: "AUTH_TEST_MYSQL_DSN"}
)

// store opens an empty store. If the environment variable is not set, it skips the test.
func (s *server) store(t testing.TB) auth.Store {
	t.Helper()
	dsn := os.Getenv(s.variable)
	if dsn == "" {
		testenv.Skip(t, s.variable+" is not set")
	}
	s.once.Do(func() { s.err = s.createSchema(dsn) })
	require.NoError(t, s.err)
	return openSQL(t, s.driver, s.dsn, sqlstore.Config{Dialect: s.dialect, Prefix: s.tables.Prefix(t)})
}

func (s *server) createSchema(dsn string) (err error) {
	s.schema = "auth_wire_" + strings.ToLower(rand.Text()[:10])
	s.dsn = sqltest.InSchema(s.dialect, dsn, s.schema)
	if err := s.outside(`CREATE SCHEMA ` + s.schema); err != nil {
		return err
	}
	s.db, err = sql.Open(s.driver, s.dsn)
	if err != nil {
		return err
	}
	s.db.SetMaxOpenConns(2)
	s.tables = sqltest.NewTables(s.dialect, s.db)
	return nil
}

// outside runs a statement on a connection without a schema.
func (s *server) outside(statement string) error {
	db, err := sql.Open(s.driver, os.Getenv(s.variable))
	if err != nil {
		return err
	}
	_, err = db.Exec(statement)
	return errors.Join(err, db.Close())
}

// removeSchema removes the schema if a test has created it.
func (s *server) removeSchema() error {
	if s.db == nil {
		return nil
	}
	drop := `DROP SCHEMA ` + s.schema
	if s.dialect == sqlstore.Postgres {
		drop += ` CASCADE`
	}
	return errors.Join(s.db.Close(), s.outside(drop))
}

func sqliteDSN(path string) string {
	return "file:" + path + "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)"
}

// openSQL opens a store.
func openSQL(t testing.TB, driver, dsn string, cfg sqlstore.Config) auth.Store {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	db.SetMaxOpenConns(8)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	store, err := sqlstore.Open(context.Background(), db, cfg)
	require.NoError(t, err)
	return store
}
