package sqlstore_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"os"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/sqlstore"
)

// openPostgres opens a pool. The function edit changes the settings of its connections.
func openPostgres(t *testing.T, edit func(*pgx.ConnConfig)) *sql.DB {
	t.Helper()
	postgres.need(t)
	cfg, err := pgx.ParseConfig(os.Getenv(postgres.variable))
	require.NoError(t, err)
	cfg.RuntimeParams["search_path"] = postgres.schema
	edit(cfg)
	db := stdlib.OpenDB(*cfg)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func requireOpenRefuses(t *testing.T, db *sql.DB, on *server, want string) {
	t.Helper()
	_, err := sqlstore.Open(context.Background(), db, on.config())
	requireNoAnswer(t, err)
	require.ErrorContains(t, err, want)
}

func TestOpenRefusesAReadOnlyPostgreSQL(t *testing.T) {
	t.Parallel()
	db := openPostgres(t, func(cfg *pgx.ConnConfig) {
		cfg.RuntimeParams["default_transaction_read_only"] = "on"
	})
	requireOpenRefuses(t, db, postgres, "name the primary")
}

func TestOpenRefusesAPostgreSQLDatabaseThatIsNotUTF8(t *testing.T) {
	t.Parallel()
	postgres.need(t)
	name := "auth_test_" + strings.ToLower(rand.Text()[:10])
	require.NoError(t,
		postgres.admin(`CREATE DATABASE `+name+` ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`))
	t.Cleanup(func() { require.NoError(t, postgres.admin(`DROP DATABASE `+name+` WITH (FORCE)`)) })
	db := openPostgres(t, func(cfg *pgx.ConnConfig) { cfg.Database = name })
	requireOpenRefuses(t, db, postgres, "ENCODING 'UTF8'")
}

func TestOpenRefusesMySQLThatTruncatesOrReadsStaleRows(t *testing.T) {
	t.Parallel()
	mariadb.need(t)
	for setting, test := range map[string]struct{ value, want string }{
		"sql_mode":   {"''", "STRICT_TRANS_TABLES"},
		"autocommit": {"0", "autocommit is off"},
	} {
		cfg, err := mysql.ParseDSN(os.Getenv(mariadb.variable))
		require.NoError(t, err)
		cfg.DBName, cfg.Params = mariadb.schema, map[string]string{setting: test.value}
		connector, err := mysql.NewConnector(cfg)
		require.NoError(t, err)
		db := sql.OpenDB(connector)
		t.Cleanup(func() { _ = db.Close() })
		requireOpenRefuses(t, db, mariadb, test.want)
	}
}

// Each statement in a transaction of the store sees everything that was committed before the
// statement. This is true for every default isolation level of the server or of the connection.
func TestTransactionsIgnoreTheDefaultIsolationLevel(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		// The default isolation level of MariaDB is REPEATABLE READ.
		db := on.open(t, nil, 5)
		if on == postgres {
			db = openPostgres(t, func(cfg *pgx.ConnConfig) {
				cfg.RuntimeParams["default_transaction_isolation"] = "serializable"
			})
		}
		_, err := db.Exec(`CREATE TABLE isolation (id INT)`)
		require.NoError(t, err)
		ctx := context.Background()
		err = on.store(t, db).Transact(ctx, func(ctx context.Context, conn *sql.Conn) error {
			for want := range 3 {
				var rows int
				if err := conn.QueryRowContext(ctx, `SELECT COUNT(*) FROM isolation`).Scan(&rows); err != nil {
					return err
				}
				require.Equal(t, want, rows)
				if _, err := db.Exec(`INSERT INTO isolation VALUES (1)`); err != nil {
					return err
				}
			}
			return nil
		})
		require.NoError(t, err)
	})
}
