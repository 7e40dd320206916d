package histories_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/sqlstore"
	"github.com/sallyport-go/auth/storetest/histories"
)

// placeVariable names the database of a worker process. If it is set, the test binary runs no
// tests, but serves the store: see [histories.Serve]. The value has the parts of a [place],
// separated by spaces.
const placeVariable = "AUTH_HISTORIES_PLACE"

func TestMain(m *testing.M) {
	if where := os.Getenv(placeVariable); where != "" {
		if err := serve(where); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func serve(where string) error {
	p, err := parsePlace(where)
	if err != nil {
		return err
	}
	store, err := p.open()
	if err != nil {
		return err
	}
	return histories.Serve(context.Background(), store, os.Stdin, os.Stdout)
}

// place is a database that several processes can open.
type place struct {
	dialect sqlstore.Dialect
	path    string // of the SQLite file, or the schema on a server
	address string // of the proxy in front of a server; "-" if there is none
}

func (p place) String() string {
	return strings.Join([]string{string(p.dialect), p.path, p.address}, " ")
}

func parsePlace(text string) (p place, err error) {
	parts := strings.Fields(text)
	if len(parts) != 3 {
		return p, fmt.Errorf("%q has %d parts; 3 are needed", text, len(parts))
	}
	return place{sqlstore.Dialect(parts[0]), parts[1], parts[2]}, nil
}

// dsnVariables are the environment variables with the data source names of the servers.
var dsnVariables = map[sqlstore.Dialect]string{
	sqlstore.Postgres: "AUTH_TEST_POSTGRES_DSN", sqlstore.MySQL: "AUTH_TEST_MYSQL_DSN",
}

// connector returns a connector to the database. It dials the proxy if there is one.
func (p place) connector() (driver.Connector, error) {
	dsn := os.Getenv(dsnVariables[p.dialect])
	if p.dialect == sqlstore.Postgres {
		cfg, err := pgx.ParseConfig(dsn)
		if err != nil {
			return nil, err
		}
		if p.path != "" {
			cfg.RuntimeParams["search_path"] = p.path
		}
		if p.address != "-" {
			cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "tcp", p.address)
			}
		}
		return stdlib.GetConnector(*cfg), nil
	}
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, err
	}
	cfg.DBName = p.path
	cfg.Logger = &mysql.NopLogger{}
	if p.address != "-" {
		cfg.Net, cfg.Addr = "tcp", p.address
	}
	return mysql.NewConnector(cfg)
}

func (p place) openDB() (*sql.DB, error) {
	if p.dialect == sqlstore.SQLite {
		return sql.Open("sqlite", "file:"+p.path+"?_pragma=busy_timeout(10000)&_pragma=synchronous(NORMAL)")
	}
	connector, err := p.connector()
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

func (p place) open() (*sqlstore.Store, error) {
	db, err := p.openDB()
	if err != nil {
		return nil, err
	}
	const conns = 8
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return sqlstore.Open(context.Background(), db, sqlstore.Config{Dialect: p.dialect})
}

// worker returns a process that opens the same database.
func (p place) worker() *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), placeVariable+"="+p.String())
	return cmd
}

// withProcesses returns the number of histories with worker processes. With the race detector it is
// 1, because each process then takes seconds to start. Zero means the default.
func withProcesses() int {
	if testenv.Race {
		return 1
	}
	return 0
}

// timeout returns the maximum time for the check of one history. In full rounds, it is long enough for a
// search on a machine that other programs keep busy.
func timeout(t *testing.T) time.Duration {
	return time.Duration(testenv.Rounds(t, testenv.Counts{Small: 1, Moderate: 1, Full: 20})) * time.Minute
}

func TestHistoriesOfAStoreInMemoryAreLinearizable(t *testing.T) {
	t.Parallel()
	histories.Run(t, func(*testing.T) auth.Store { return memstore.New() },
		histories.Config{Timeout: timeout(t)})
}

func TestHistoriesOfSQLiteAreLinearizableWhileProcessesAreKilled(t *testing.T) {
	t.Parallel()
	p := place{sqlstore.SQLite, filepath.Join(testenv.TempDir(t), "auth.db"), "-"}
	histories.Run(t, func(t *testing.T) auth.Store {
		store, err := p.open()
		require.NoError(t, err)
		return store
	}, histories.Config{Worker: p.worker, Histories: withProcesses(), Timeout: timeout(t)})
}

func TestHistoriesOfServersAreLinearizableWhileConnectionsAreCut(t *testing.T) {
	for _, dialect := range []sqlstore.Dialect{sqlstore.Postgres, sqlstore.MySQL} {
		t.Run(string(dialect), func(t *testing.T) {
			t.Parallel()
			if os.Getenv(dsnVariables[dialect]) == "" {
				testenv.Skip(t, dsnVariables[dialect]+" is not set")
			}
			outside := place{dialect: dialect, address: "-"}
			schema := "auth_histories_" + strings.ToLower(rand.Text()[:10])
			admin, err := outside.openDB()
			require.NoError(t, err)
			t.Cleanup(func() { _ = admin.Close() })
			_, err = admin.Exec(`CREATE SCHEMA ` + schema)
			require.NoError(t, err)
			t.Cleanup(func() {
				statement := `DROP SCHEMA ` + schema
				if dialect == sqlstore.Postgres {
					statement += ` CASCADE`
				}
				_, err := admin.Exec(statement)
				require.NoError(t, err)
			})
			cut := newProxy(t, serverAddress(t, dialect))
			p := place{dialect, schema, cut.address()}
			histories.Run(t, func(t *testing.T) auth.Store {
				store, err := p.open()
				require.NoError(t, err)
				return store
			}, histories.Config{Worker: p.worker, Histories: withProcesses(), Timeout: timeout(t),
				Disturb: cut.cut})
		})
	}
}

// serverAddress returns the address of the server in its data source name.
func serverAddress(t *testing.T, dialect sqlstore.Dialect) string {
	dsn := os.Getenv(dsnVariables[dialect])
	if dialect == sqlstore.Postgres {
		cfg, err := pgx.ParseConfig(dsn)
		require.NoError(t, err)
		return fmt.Sprintf("%s:%d", cfg.Host, cfg.Port)
	}
	cfg, err := mysql.ParseDSN(dsn)
	require.NoError(t, err)
	return cfg.Addr
}
