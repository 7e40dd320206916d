package sqlstore_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/sqltest"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
)

// server is a database server. The field variable is the name of an environment variable, and the
// tests use the server if this variable is set. The tests create a schema or database on the
// server, with separate tables for each store. They remove the schema or database at the end.
type server struct {
	dialect  sqlstore.Dialect
	variable string

	// connector returns a connector to the schema. If the name of the schema is empty, the
	// connector is to no schema.
	connector func(dsn, schema string) (driver.Connector, error)

	once   sync.Once
	schema string
	err    error

	emptier *sql.DB // the pool of tables
	tables  *sqltest.Tables
}

var (
	postgres = &server{
		dialect: sqlstore.Postgres, variable: "AUTH_TEST_POSTGRES_DSN",
		connector: postgresConnector,
	}
	mariadb = &server{
		dialect: sqlstore.MySQL, variable: "AUTH_TEST_MYSQL_DSN",
		connector: func(dsn, schema string) (driver.Connector, error) {
			cfg, err := mysql.ParseDSN(dsn)
			if err != nil {
				return nil, err
			}
			cfg.DBName = schema
			return mysql.NewConnector(cfg)
		},
	}
	servers = []*server{postgres, mariadb}
)

func postgresConnector(dsn, schema string) (driver.Connector, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	if schema != "" {
		cfg.RuntimeParams["search_path"] = schema
	}
	return stdlib.GetConnector(*cfg), nil
}

// onServers runs the test with each available server.
func onServers(t *testing.T, test func(t *testing.T, on *server)) {
	for _, on := range servers {
		t.Run(string(on.dialect), func(t *testing.T) {
			t.Parallel()
			on.need(t)
			test(t, on)
		})
	}
}

// need skips the test if the server is not available. The first call of need creates the schema.
func (s *server) need(t testing.TB) {
	t.Helper()
	dsn := os.Getenv(s.variable)
	if dsn == "" {
		testenv.Skip(t, s.variable+" is not set")
	}
	s.once.Do(func() {
		s.schema = "auth_test_" + strings.ToLower(rand.Text()[:10])
		s.err = errors.Join(s.admin(`CREATE SCHEMA `+s.schema), s.makeTables())
	})
	require.NoError(t, s.err)
}

// makeTables sets the fields emptier and tables.
func (s *server) makeTables() error {
	connector, err := s.connector(os.Getenv(s.variable), s.schema)
	if err != nil {
		return err
	}
	const conns = 2
	s.emptier = sql.OpenDB(connector)
	s.emptier.SetMaxOpenConns(conns)
	s.emptier.SetMaxIdleConns(conns)
	s.tables = sqltest.NewTables(s.dialect, s.emptier)
	return nil
}

// outside calls the function do with a pool whose connections have no schema.
func (s *server) outside(do func(*sql.DB) error) error {
	connector, err := s.connector(os.Getenv(s.variable), "")
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	return do(db)
}

// admin runs a statement on a connection without a schema.
func (s *server) admin(statement string) error {
	return s.outside(func(db *sql.DB) error {
		_, err := db.Exec(statement)
		return err
	})
}

// remove removes the tables and then the schema. It removes a limited number of tables at a time,
// because PostgreSQL cannot lock all of them at once.
func (s *server) remove() error {
	return s.outside(func(db *sql.DB) error {
		rows, err := db.Query(`SELECT table_name FROM information_schema.tables WHERE table_schema = '` + s.schema + `'`)
		if err != nil {
			return err
		}
		defer rows.Close()
		var names []string
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return err
			}
			names = append(names, s.schema+"."+name)
		}
		for some := range slices.Chunk(names, 100) {
			if _, err := db.Exec(`DROP TABLE ` + strings.Join(some, ", ")); err != nil {
				return err
			}
		}
		_, err = db.Exec(`DROP SCHEMA ` + s.schema)
		return errors.Join(err, rows.Err())
	})
}

// open returns a pool for the schema. The pool has few connections, because the server allows few.
func (s *server) open(t testing.TB, spied *spy, conns int) *sql.DB {
	t.Helper()
	s.need(t)
	connector, err := s.connector(os.Getenv(s.variable), s.schema)
	require.NoError(t, err)
	if spied != nil {
		spied.Connector = connector
		connector = spied
	}
	return openConnector(t, connector, conns)
}

func openConnector(t testing.TB, connector driver.Connector, conns int) *sql.DB {
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// config returns the configuration of a store whose tables do not exist yet.
func (s *server) config() sqlstore.Config {
	return sqlstore.Config{Dialect: s.dialect, Prefix: sqltest.NewPrefix(), Timeout: time.Minute}
}

// emptied returns the configuration of a store whose tables are empty. An earlier test may have used the
// tables: see [sqltest.Tables.Prefix].
func (s *server) emptied(t testing.TB) sqlstore.Config {
	t.Helper()
	cfg := s.config()
	cfg.Prefix = s.tables.Prefix(t)
	return cfg
}

// store opens a store with separate, empty tables.
func (s *server) store(t testing.TB, db *sql.DB, edit ...func(*sqlstore.Config)) *sqlstore.Store {
	t.Helper()
	cfg := s.config()
	for _, e := range edit {
		e(&cfg)
	}
	store, err := sqlstore.Open(context.Background(), db, cfg)
	require.NoError(t, err)
	return store
}

// runAndRemove runs the tests, and then removes what they created on the servers.
func runAndRemove(m *testing.M) (code int) {
	code = m.Run()
	for _, s := range servers {
		if s.schema != "" {
			_ = s.emptier.Close()
			if err := s.remove(); err != nil {
				println("the schema", s.schema, "was not removed:", err.Error())
				code = 1
			}
		}
	}
	return code
}
