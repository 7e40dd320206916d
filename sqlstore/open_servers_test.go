package sqlstore_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
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
	db := createPostgresDatabase(t, `ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'`)
	requireOpenRefuses(t, db, postgres, "ENCODING 'UTF8'")
}

// createPostgresDatabase creates a database with the given options, and opens a pool on it.
func createPostgresDatabase(t *testing.T, options string) *sql.DB {
	t.Helper()
	postgres.need(t)
	name := "auth_test_" + strings.ToLower(rand.Text()[:10])
	require.NoError(t, postgres.admin(`CREATE DATABASE `+name+` `+options+` TEMPLATE template0`))
	t.Cleanup(func() { require.NoError(t, postgres.admin(`DROP DATABASE `+name+` WITH (FORCE)`)) })
	return openPostgres(t, func(cfg *pgx.ConnConfig) {
		cfg.Database, cfg.RuntimeParams["search_path"] = name, "public"
	})
}

// In the order of a language, "a" comes before "B". An update of the operating system can change such
// an order. The indexes of the database then miss records, so an operator would remove a pepper that
// is still needed.
func TestTheCollationOfAPostgreSQLDatabaseDoesNotMatter(t *testing.T) {
	t.Parallel()
	db := createPostgresDatabase(t, `ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C.UTF-8'`)
	store, ids := postgres.store(t, db), []string{"B", "_", "a"}
	for i, id := range []string{"_", "a", "B"} {
		require.NoError(t, store.Register(t.Context(), byHost, newUser(id), newKey(id, id)))
		link := newLink(int64(i+1), id)
		connect := auth.GitHubConnectWrite{Link: link, Token: newToken(link, "v1")}
		require.NoError(t, store.ConnectGitHub(t.Context(), byHost, connect))
	}
	for i := range ids {
		users, err := store.ListUsers(t.Context(), auth.UserQuery{After: ids[i], Limit: len(ids)})
		require.NoError(t, err)
		keys, err := store.ListAllKeys(t.Context(), ids[i], len(ids))
		require.NoError(t, err)
		tokens, err := store.ListGitHubTokens(t.Context(), host, ids[i], len(ids))
		require.NoError(t, err)
		var listed [3][]string
		for _, user := range users {
			listed[0] = append(listed[0], user.ID)
		}
		for _, key := range keys {
			listed[1] = append(listed[1], key.ID)
		}
		for _, token := range tokens {
			listed[2] = append(listed[2], token.UserID)
		}
		later := append([]string(nil), ids[i+1:]...)
		require.Equal(t, [3][]string{later, later, later}, listed)
	}
	require.NoError(t, store.AddKey(t.Context(), byHost, newKey("b", "_")))
	require.NoError(t, store.AddKey(t.Context(), byHost, newKey("Z", "_")))
	keys, err := store.ListKeys(t.Context(), "_")
	require.NoError(t, err)
	require.Equal(t, []string{"Z", "_", "b"}, []string{keys[0].ID, keys[1].ID, keys[2].ID})

	require.Empty(t, column(t, db, `
SELECT i.indexrelid::regclass::text FROM pg_index i, unnest(i.indcollation) c
WHERE c NOT IN (0, '"C"'::regcollation) AND i.indrelid::regclass::text LIKE 't%'`),
		"indexes of text with another collation")
}

// openMariaDB opens a pool. The function edit changes the settings of its connections.
func openMariaDB(t *testing.T, edit func(*mysql.Config)) *sql.DB {
	t.Helper()
	mariadb.need(t)
	cfg, err := mysql.ParseDSN(os.Getenv(mariadb.variable))
	require.NoError(t, err)
	cfg.DBName = mariadb.schema
	edit(cfg)
	connector, err := mysql.NewConnector(cfg)
	require.NoError(t, err)
	return openConnector(t, connector, 2)
}

func TestOpenRefusesUnsafeSettingsOfMySQL(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ setting, value, want string }{
		{"sql_mode", "''", "STRICT_TRANS_TABLES"},
		{"autocommit", "0", "autocommit is off"},
		{"unique_checks", "0", "unique_checks is off"},
		{"sql_safe_updates", "1", "sql_safe_updates is on"},
	} {
		db := openMariaDB(t, func(cfg *mysql.Config) {
			cfg.Params = map[string]string{test.setting: test.value}
		})
		requireOpenRefuses(t, db, mariadb, test.want)
	}
}

func TestOpenRefusesMySQLWithoutADatabase(t *testing.T) {
	t.Parallel()
	db := openMariaDB(t, func(cfg *mysql.Config) { cfg.DBName = "" })
	requireOpenRefuses(t, db, mariadb, "add the name of the database to the data source name")
}

func TestOpenNamesTheDialectOfTheDatabase(t *testing.T) {
	t.Parallel()
	opened := map[sqlstore.Dialect]*sql.DB{sqlstore.SQLite: openMemory(t, nil)}
	for _, on := range servers {
		if os.Getenv(on.variable) != "" {
			opened[on.dialect] = on.open(t, nil, 1)
		}
	}
	for actual, db := range opened {
		for _, configured := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.Postgres, sqlstore.MySQL} {
			_, err := sqlstore.Open(context.Background(), db, sqlstore.Config{Dialect: configured})
			if configured != actual {
				require.ErrorContains(t, err, fmt.Sprintf("set Config.Dialect to %q", actual), configured)
			}
		}
	}
}

// An administrator may have granted the database user only some of the rights.
func TestOpenNamesAMissingRight(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		cfg := on.config()
		owner := on.open(t, nil, 1)
		_, err := sqlstore.Open(context.Background(), owner, cfg)
		require.NoError(t, err)
		name, tables := "auth_"+strings.ToLower(rand.Text()[:10]), on.schema+".*"
		account, create := name, `CREATE ROLE `+name+` LOGIN`
		if on == postgres {
			tables = `ALL TABLES IN SCHEMA ` + on.schema
		} else {
			from := column(t, owner, `SELECT SUBSTRING_INDEX(USER(), '@', -1)`)[0]
			account = name + `@'` + from + `'`
			create = `CREATE USER ` + account + ` IDENTIFIED BY 'secret'`
		}
		for _, statement := range []string{create, grantUsage(on, account),
			`GRANT SELECT, INSERT, UPDATE ON ` + tables + ` TO ` + account} {
			require.NoError(t, on.admin(statement), statement)
		}
		t.Cleanup(func() {
			for _, statement := range dropUser(on, account) {
				require.NoError(t, on.admin(statement), statement)
			}
		})
		_, err = sqlstore.Open(context.Background(), openAs(t, on, name), cfg)
		require.ErrorContains(t, err, "no right to DELETE in "+cfg.Prefix+"users")

		require.NoError(t, on.admin(`GRANT DELETE ON `+tables+` TO `+account))
		_, err = sqlstore.Open(context.Background(), openAs(t, on, name), cfg)
		require.NoError(t, err)
	})
}

func openAs(t *testing.T, on *server, name string) *sql.DB {
	if on == postgres {
		return openPostgres(t, func(cfg *pgx.ConnConfig) { cfg.User = name })
	}
	return openMariaDB(t, func(cfg *mysql.Config) { cfg.User, cfg.Passwd = name, "secret" })
}

// grantUsage returns the statement that lets the user find the tables.
func grantUsage(on *server, name string) string {
	if on == postgres {
		return `GRANT USAGE ON SCHEMA ` + on.schema + ` TO ` + name
	}
	return `GRANT USAGE ON *.* TO ` + name
}

func dropUser(on *server, name string) []string {
	if on == postgres {
		return []string{`DROP OWNED BY ` + name, `DROP ROLE ` + name}
	}
	return []string{`DROP USER ` + name}
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
