//go:build unix

package sqlstore_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
)

// startPooler starts PgBouncer, and returns its port. PgBouncer assigns one of two connections to
// each transaction, so consecutive statements of a client can run on different connections.
func startPooler(t *testing.T) int {
	t.Helper()
	postgres.need(t)
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		testenv.Skip(t, "there is no pgbouncer")
	}
	server, err := pgx.ParseConfig(os.Getenv(postgres.variable))
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "auth-pgbouncer-") // the program may run under another account
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := listener.Addr().(*net.TCPAddr).Port
	require.NoError(t, listener.Close())
	password := ""
	if server.Password != "" {
		password = " password='" + server.Password + "'"
	}
	settings := fmt.Sprintf("[databases]\n%s = host=%s port=%d user=%s%s\n"+
		"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\nauth_type = any\n"+
		"pool_mode = transaction\ndefault_pool_size = 2\nignore_startup_parameters = search_path\n",
		server.Database, server.Host, server.Port, server.User, password, port)
	file := filepath.Join(dir, "pgbouncer.ini")
	require.NoError(t, os.WriteFile(file, []byte(settings), 0o600))
	cmd := exec.Command(program, "-q", file)
	cmd.Dir = dir
	if os.Getuid() == 0 { // PgBouncer refuses to run as root
		account := accountOf(t, "postgres")
		require.NoError(t, os.Chown(dir, int(account.Uid), int(account.Gid)))
		require.NoError(t, os.Chown(file, int(account.Uid), int(account.Gid)))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account}
	}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, time.Minute, 10*time.Millisecond)
	return port
}

// openThrough opens a pool of connections to the pooler.
func openThrough(t *testing.T, port int, mode pgx.QueryExecMode) *sql.DB {
	cfg, err := pgx.ParseConfig(os.Getenv(postgres.variable))
	require.NoError(t, err)
	cfg.Host, cfg.Port, cfg.TLSConfig, cfg.Fallbacks = "127.0.0.1", uint16(port), nil, nil
	cfg.DefaultQueryExecMode = mode
	return openConnector(t, stdlib.GetConnector(*cfg), 8)
}

func TestStoreWorksThroughATransactionPooler(t *testing.T) {
	t.Parallel()
	port := startPooler(t)
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeExec, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			db := openThrough(t, port, mode)
			cfg := postgres.config()
			store, err := sqlstore.Open(context.Background(), db, cfg)
			require.NoError(t, err)
			dropLater(t, cfg.Prefix)
			seed(t, store)
			var calls errgroup.Group
			for range 8 {
				calls.Go(func() error { return signInRepeatedly(store, 20) })
			}
			require.NoError(t, calls.Wait())
		})
	}
}

// The driver's default mode prepares statements on a connection and later runs them, possibly on
// another one.
func TestPreparedStatementsThroughATransactionPoolerNameTheSetting(t *testing.T) {
	t.Parallel()
	db := openThrough(t, startPooler(t), pgx.QueryExecModeCacheStatement)
	cfg := postgres.config()
	dropLater(t, cfg.Prefix)
	store, err := sqlstore.Open(context.Background(), db, cfg)
	for attempt := 0; err == nil && attempt < 100; attempt++ {
		var calls errgroup.Group
		for range 8 {
			calls.Go(func() error { return store.Ping(context.Background()) })
		}
		err = calls.Wait()
	}
	require.ErrorContains(t, err, "default_query_exec_mode=exec")
}

func signInRepeatedly(store *sqlstore.Store, times int) error {
	for range times {
		session := newSession(rand.Text(), "ada", "k-ada")
		if _, _, err := store.CreateSession(context.Background(), session, 0); err != nil {
			return err
		}
		if err := store.RevokeSession(context.Background(), byHost, session.ID); err != nil {
			return err
		}
	}
	return nil
}

// dropLater drops the tables with the prefix at the end of the test. PgBouncer ignores the search
// path, so these tables are outside the schema of the tests.
func dropLater(t *testing.T, prefix string) {
	t.Cleanup(func() {
		require.NoError(t, postgres.outside(func(db *sql.DB) error {
			for _, table := range column(t, db, `SELECT tablename FROM pg_tables WHERE tablename LIKE '`+prefix+`%'`) {
				if _, err := db.Exec(`DROP TABLE ` + table); err != nil {
					return err
				}
			}
			return nil
		}))
	})
}
