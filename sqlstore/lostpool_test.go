package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/sallyport-go/auth/sqlstore"
)

// unaware is a connector of a driver that does not find out that a connection is lost.
type unaware struct{ driver.Connector }

func (u unaware) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := u.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &unawareConn{conn.(driverConn)}, nil
}

type unawareConn struct{ driverConn }

func (*unawareConn) ResetSession(context.Context) error { return nil }

func (c *unawareConn) Ping(ctx context.Context) error { return notBad(c.driverConn.Ping(ctx)) }

func (c *unawareConn) QueryContext(
	ctx context.Context, query string, args []driver.NamedValue,
) (driver.Rows, error) {
	rows, err := c.driverConn.QueryContext(ctx, query, args)
	return rows, notBad(err)
}

func (c *unawareConn) ExecContext(
	ctx context.Context, query string, args []driver.NamedValue,
) (driver.Result, error) {
	result, err := c.driverConn.ExecContext(ctx, query, args)
	return result, notBad(err)
}

// notBad returns another error than [driver.ErrBadConn], so that the connection stays in the pool.
func notBad(err error) error {
	if errors.Is(err, driver.ErrBadConn) {
		return errors.New("broken pipe")
	}
	return err
}

// useAll makes the store use this number of connections at the same time.
func useAll(t *testing.T, store *sqlstore.Store, number int) {
	var began sync.WaitGroup
	began.Add(number)
	var all errgroup.Group
	for range number {
		all.Go(func() error {
			return store.Transact(context.Background(), func(context.Context, *sql.Conn) error {
				began.Done()
				began.Wait()
				return nil
			})
		})
	}
	require.NoError(t, all.Wait())
}

// A restart or a fail-over of the server breaks all connections of the pool at once. Every call must
// succeed as soon as the server answers again, whatever the size of the pool, and even if the driver
// does not find out that a connection is lost.
func TestNoCallFailsAfterAllConnectionsWereLost(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		const conns = 12
		on.need(t)
		connector, err := on.connector(os.Getenv(on.variable), on.schema)
		require.NoError(t, err)
		db := openConnector(t, unaware{connector}, conns)
		store := on.store(t, db)
		ctx := context.Background()
		for _, call := range map[string]func() error{
			"read": func() error { return store.Ping(ctx) },
			"write": func() error {
				_, err := store.PruneStates(ctx, now, 1)
				return err
			},
		} {
			useAll(t, store, conns)
			on.terminate(t, occupy(t, db, on, conns))
			for range 2 * conns {
				require.NoError(t, call())
			}
		}
	})
}

// occupy opens the given number of connections, and returns the IDs that the server has given them.
// Afterwards, all of these connections are idle.
func occupy(t *testing.T, db *sql.DB, on *server, number int) (ids []int) {
	query := `SELECT CONNECTION_ID()`
	if on == postgres {
		query = `SELECT pg_backend_pid()`
	}
	var conns []*sql.Conn
	for range number {
		conn, err := db.Conn(context.Background())
		require.NoError(t, err)
		var id int
		require.NoError(t, conn.QueryRowContext(context.Background(), query).Scan(&id))
		ids, conns = append(ids, id), append(conns, conn)
	}
	for _, conn := range conns {
		require.NoError(t, conn.Close())
	}
	return ids
}

// terminate makes the server close the connections, as a restart does.
func (s *server) terminate(t *testing.T, ids []int) {
	statement := `KILL CONNECTION %d`
	if s == postgres {
		statement = `SELECT pg_terminate_backend(%d, 5000)`
	}
	for _, id := range ids {
		require.NoError(t, s.admin(fmt.Sprintf(statement, id)))
	}
}
