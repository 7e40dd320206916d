package sqlstore_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"modernc.org/sqlite"

	"github.com/sallyport-go/auth/sqlstore"
)

// reconfigured is a connector to a server whose configuration changes while a program runs. The
// connections that are opened after the change have other settings.
type reconfigured struct {
	driver.Connector
	later   driver.Connector
	changed atomic.Bool
}

func (r *reconfigured) Connect(ctx context.Context) (driver.Conn, error) {
	if r.changed.Load() {
		return r.later.Connect(ctx)
	}
	return r.Connector.Connect(ctx)
}

// reconfiguration returns connectors to the server: one with safe settings and one with unsafe ones.
func reconfiguration(t *testing.T, dialect sqlstore.Dialect) (safe, unsafe driver.Connector, want string) {
	switch dialect {
	case sqlstore.Postgres:
		cfg, err := pgx.ParseConfig(os.Getenv(postgres.variable))
		require.NoError(t, err)
		cfg.RuntimeParams["search_path"] = postgres.schema
		readOnly := cfg.Copy()
		readOnly.RuntimeParams["default_transaction_read_only"] = "on"
		return stdlib.GetConnector(*cfg), stdlib.GetConnector(*readOnly), "name the primary"
	case sqlstore.MySQL:
		cfg, err := mysql.ParseDSN(os.Getenv(mariadb.variable))
		require.NoError(t, err)
		cfg.DBName = mariadb.schema
		safe, err = mysql.NewConnector(cfg)
		require.NoError(t, err)
		stale := cfg.Clone()
		stale.Params = map[string]string{"autocommit": "0"}
		unsafe, err = mysql.NewConnector(stale)
		require.NoError(t, err)
		return safe, unsafe, "autocommit is off"
	default:
		file := newFile(t)
		safe, err := sqlite.NewConnector("file:" + file + recommended)
		require.NoError(t, err)
		unsafe, err := sqlite.NewConnector("file:" + file + "?_pragma=synchronous(OFF)")
		require.NoError(t, err)
		return safe, unsafe, "synchronous is OFF"
	}
}

// A pool opens connections at any time, also after a restart of the server with other settings. A
// store that checked only its first connection would read old rows on the others, for example.
func TestEveryConnectionIsCheckedBeforeItIsUsed(t *testing.T) {
	t.Parallel()
	test := func(t *testing.T, cfg sqlstore.Config) {
		safe, unsafe, want := reconfiguration(t, cfg.Dialect)
		connector := &reconfigured{Connector: safe, later: unsafe}
		db := openConnector(t, connector, 2)
		store, err := sqlstore.Open(context.Background(), db, cfg)
		require.NoError(t, err)

		connector.changed.Store(true)
		require.NoError(t, store.Ping(context.Background()), "the idle connection has safe settings")
		db.SetMaxIdleConns(-1) // closes the idle connections
		for range 2 {
			require.ErrorContains(t, store.Ping(context.Background()), want)
			_, err = store.PruneStates(context.Background(), now, 1)
			require.ErrorContains(t, err, want)
		}
		connector.changed.Store(false)
		require.NoError(t, store.Ping(context.Background()))
		_, err = store.PruneStates(context.Background(), now, 1)
		require.NoError(t, err)
	}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, config)
	})
	onServers(t, func(t *testing.T, on *server) { test(t, on.config()) })
}

// After a fail-over, the pool has connections to a server that has become read-only. If they stayed in
// the pool, calls would fail long after the data source name leads to the new primary.
func TestConnectionsWithUnsafeSettingsLeaveThePool(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		const conns = 5
		safe, unsafe, want := reconfiguration(t, on.dialect)
		connector := &reconfigured{Connector: safe, later: unsafe}
		db := openConnector(t, connector, conns)
		store, err := sqlstore.Open(context.Background(), db, on.config())
		require.NoError(t, err)
		connector.changed.Store(true)
		db.SetMaxIdleConns(-1) // closes the idle connections
		db.SetMaxIdleConns(conns)
		occupy(t, db, on, conns)
		require.ErrorContains(t, store.Ping(context.Background()), want)

		occupy(t, db, on, conns)
		connector.changed.Store(false)
		require.NoError(t, store.Ping(context.Background()))
		_, err = store.PruneStates(context.Background(), now, 1)
		require.NoError(t, err)
	})
}

// shortLived is a connector to a server that closes this number of new connections at once.
type shortLived struct {
	driver.Connector
	left atomic.Int64
}

func (s *shortLived) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := s.Connector.Connect(ctx)
	if err == nil && s.left.Add(-1) >= 0 {
		err = conn.Close()
	}
	return conn, err
}

// If all connections of the pool are busy, a call waits for one of them. The connection that it gets
// may have been lost a moment ago.
func TestCallsSucceedWhenTheFirstConnectionsAreLost(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		on.need(t)
		safe, _, _ := reconfiguration(t, on.dialect)
		connector := &shortLived{Connector: safe}
		db := openConnector(t, connector, 1)
		store, err := sqlstore.Open(context.Background(), db, on.config())
		require.NoError(t, err)
		db.SetMaxIdleConns(-1)
		connector.left.Store(2)
		require.NoError(t, store.Ping(context.Background()))
		connector.left.Store(2)
		_, err = store.PruneStates(context.Background(), now, 1)
		require.NoError(t, err)
	})
}

// A server that has vanished never answers, and a caller may have no deadline.
func TestEveryStatementForAServerHasADeadline(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		s := on.stage(t)
		for _, v := range verbs() {
			s.seeded(t)
			s.spy.endless = nil
			require.NoError(t, v.call(context.Background(), s.store), v.name)
			require.Empty(t, s.spy.endless, v.name)
		}
		s.db.SetMaxIdleConns(-1)
		require.NoError(t, s.store.Ping(context.Background()))
		require.Empty(t, s.spy.endless, "the check of a new connection")
	})
}

// wrapping is a connector of a driver that wraps connections in values, such as a driver for traces.
type wrapping struct{ driver.Connector }

func (w wrapping) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := w.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return wrappedConn{driverConn: conn.(driverConn)}, nil
}

// wrappedConn cannot be compared.
type wrappedConn struct {
	driverConn
	_ []string
}

func TestADriverMayWrapConnectionsInValues(t *testing.T) {
	t.Parallel()
	test := func(t *testing.T, cfg sqlstore.Config) {
		safe, unsafe, want := reconfiguration(t, cfg.Dialect)
		connector := &reconfigured{Connector: wrapping{safe}, later: wrapping{unsafe}}
		db := openConnector(t, connector, 1)
		store, err := sqlstore.Open(context.Background(), db, cfg)
		require.NoError(t, err)
		require.NoError(t, store.Ping(context.Background()))
		require.NoError(t, store.CheckWritable(context.Background()))
		connector.changed.Store(true)
		db.SetMaxIdleConns(-1)
		require.ErrorContains(t, store.Ping(context.Background()), want)
	}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, config)
	})
	onServers(t, func(t *testing.T, on *server) { test(t, on.config()) })
}

// The memory of checked connections keeps them from being collected.
func TestClosedConnectionsAreForgotten(t *testing.T) {
	t.Parallel()
	db := openDB(t, newFile(t), recommended)
	store := mustOpen(t, db)
	db.SetMaxIdleConns(-1)
	for range 50 {
		require.NoError(t, store.Ping(context.Background()))
		require.Less(t, store.CheckedConns(), 12)
	}
}

// stated is an error of PostgreSQL with this SQLSTATE.
type stated string

func (s stated) Error() string    { return "SQLSTATE " + string(s) }
func (s stated) SQLState() string { return string(s) }

func TestFailedCommitSaysWhetherItMayHaveTakenEffect(t *testing.T) {
	t.Parallel()
	test := func(t *testing.T, store *sqlstore.Store, s *spy, failures map[error]bool) {
		for failure, unknown := range failures {
			s.watch(func(_ context.Context, statement string) error {
				if statement == "COMMIT" {
					return failure
				}
				return nil
			})
			_, err := store.PruneStates(context.Background(), now, 1)
			require.ErrorIs(t, err, failure)
			const doubt = "may or may not have taken effect"
			require.Equal(t, unknown, strings.Contains(err.Error(), doubt), err)
			s.watch(nil)
			require.NoError(t, store.Ping(context.Background()))
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		store, _, s := spiedStore(t)
		test(t, store, s, map[error]bool{
			coded(13):   false, // SQLITE_FULL
			coded(10):   true,  // SQLITE_IOERR
			coded(1034): true,  // SQLITE_IOERR_FSYNC
		})
	})
	onServers(t, func(t *testing.T, on *server) {
		s := on.stage(t)
		test(t, s.store, s.spy, map[sqlstore.Dialect]map[error]bool{
			sqlstore.Postgres: {
				stated("53100"): false, // disk_full
				stated("23503"): false, // foreign_key_violation of a deferred constraint
				stated("40003"): true,  // statement_completion_unknown
				stated("57P01"): true,  // admin_shutdown
				stated("08006"): true,  // connection_failure
			},
			sqlstore.MySQL: {
				errors.New("Error 1180 (HY000): Got error 28 during COMMIT"): true,
				errors.New("invalid connection"):                             true,
			},
		}[on.dialect])
	})
}

func TestCheckWritableCommitsAChange(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		s := newStage(t)
		for range 3 {
			require.NoError(t, s.store.CheckWritable(context.Background()))
		}
		written := column(t, s.db, `SELECT id FROM `+s.prefix+`github_states WHERE expires_at = 0`)
		require.Len(t, written, 1)

		full := errors.New("the disk is full")
		s.spy.watch(func(_ context.Context, statement string) error {
			if statement == "COMMIT" {
				return full
			}
			return nil
		})
		require.ErrorIs(t, s.store.CheckWritable(context.Background()), full)
		require.NoError(t, s.store.Ping(context.Background()))
	})
}

// Several instances, or several probes of one instance, can make the check at the same time.
func TestConcurrentChecksFindTheDatabaseWritable(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		store := on.store(t, on.open(t, nil, 8))
		var calls errgroup.Group
		for range 8 {
			calls.Go(func() error {
				for range 20 {
					if err := store.CheckWritable(context.Background()); err != nil {
						return err
					}
				}
				return nil
			})
		}
		require.NoError(t, calls.Wait())
	})
}
