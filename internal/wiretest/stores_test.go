package wiretest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/sallyport-go/auth"
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
		return openSQL(t, sqlstore.SQLite, "sqlite", dsn, "")
	},
	"PostgreSQL": func(t testing.TB) auth.Store {
		return openSQL(t, sqlstore.Postgres, "pgx", serverDSN(t, "AUTH_TEST_POSTGRES_DSN"), schemaName())
	},
	"MariaDB": func(t testing.TB) auth.Store {
		return openSQL(t, sqlstore.MySQL, "mysql", serverDSN(t, "AUTH_TEST_MYSQL_DSN"), schemaName())
	},
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

// serverDSN returns the DSN in the environment variable. If the variable is not set, it skips the
// test.
func serverDSN(t testing.TB, variable string) string {
	dsn := os.Getenv(variable)
	if dsn == "" {
		testenv.Skip(t, variable+" is not set")
	}
	return dsn
}

func schemaName() string { return "auth_wire_" + strings.ToLower(rand.Text()[:10]) }

func sqliteDSN(path string) string {
	return "file:" + path + "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)"
}

// openSQL opens a store with empty tables. If schema is not empty, openSQL creates this schema on
// the database server and drops it when the test ends.
func openSQL(t testing.TB, dialect sqlstore.Dialect, driver, dsn, schema string) auth.Store {
	t.Helper()
	if schema != "" {
		server, err := sql.Open(driver, dsn)
		require.NoError(t, err)
		_, err = server.Exec(`CREATE SCHEMA ` + schema)
		require.NoError(t, err)
		t.Cleanup(func() {
			drop := `DROP SCHEMA ` + schema
			if dialect == sqlstore.Postgres {
				drop += ` CASCADE`
			}
			_, err := server.Exec(drop)
			require.NoError(t, err)
			require.NoError(t, server.Close())
		})
		dsn = inSchema(dialect, dsn, schema)
	}
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	db.SetMaxOpenConns(8)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	store, err := sqlstore.Open(context.Background(), db, sqlstore.Config{Dialect: dialect})
	require.NoError(t, err)
	return store
}

// inSchema returns a DSN that makes schema the default schema.
func inSchema(dialect sqlstore.Dialect, dsn, schema string) string {
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
