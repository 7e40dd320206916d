package authcmd_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/sqlstore"
)

func TestDoctorNamesUnsafeSettingsOfServers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dialect        sqlstore.Dialect
		name, value    string
		check, problem string
	}{
		{sqlstore.Postgres, "synchronous_commit", "off", "durability", `synchronous_commit of the database is "off"`},
		{sqlstore.MySQL, "tx_isolation", "'READ-UNCOMMITTED'", "isolation", `"READ-UNCOMMITTED"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			store, db := openServer(t, c.dialect, map[string]string{c.name: c.value})
			var problems []string
			for _, found := range newPatient(t, store, db).findings() {
				if found["check"] == c.check {
					problems = append(problems, found["problem"].(string))
				} else {
					require.Equal(t, "durability", found["check"])
				}
			}
			require.Contains(t, strings.Join(problems, "\n"), c.problem)
		})
	}
}

func TestDoctorReportsDurabilityOnlyOfServersThatLackIt(t *testing.T) {
	t.Parallel()
	for dialect, settings := range map[sqlstore.Dialect]map[string]string{
		sqlstore.Postgres: {
			"fsync":              `SELECT setting <> 'on' FROM pg_settings WHERE name = 'fsync'`,
			"full_page_writes":   `SELECT setting <> 'on' FROM pg_settings WHERE name = 'full_page_writes'`,
			"synchronous_commit": `SELECT setting = 'off' FROM pg_settings WHERE name = 'synchronous_commit'`,
		},
		sqlstore.MySQL: {
			"innodb_flush_log_at_trx_commit": `SELECT @@innodb_flush_log_at_trx_commit <> 1`,
			"innodb_doublewrite":             `SELECT @@innodb_doublewrite = 0`,
			"sync_binlog":                    `SELECT @@log_bin = 1 AND @@sync_binlog <> 1`,
		},
	} {
		t.Run(string(dialect), func(t *testing.T) {
			t.Parallel()
			store, db := openServer(t, dialect, nil)
			wanted := map[string]bool{}
			for name, query := range settings {
				var bad bool
				require.NoError(t, db.QueryRow(query).Scan(&bad))
				if bad {
					wanted[name] = true
				}
			}
			reported := map[string]bool{}
			for _, found := range newPatient(t, store, db).findings() {
				require.Equal(t, "durability", found["check"], found)
				reported[strings.Fields(found["problem"].(string))[2]] = true
			}
			require.Equal(t, wanted, reported)
		})
	}
}

func TestDoctorNamesAMissingRight(t *testing.T) {
	t.Parallel()
	for _, dialect := range []sqlstore.Dialect{sqlstore.Postgres, sqlstore.MySQL} {
		t.Run(string(dialect), func(t *testing.T) {
			t.Parallel()
			store, db := openServer(t, dialect, nil)
			p := newPatient(t, store, db)
			limited, revoke := asLimitedUser(t, dialect, db)
			var err error
			p.store, err = sqlstore.Open(t.Context(), limited, sqlstore.Config{Dialect: dialect,
				SkipMigrations: true})
			require.NoError(t, err)
			p.host.Store = p.store
			plantIn(p, fault{check: "rights", problem: "no right to DELETE in " +
				"auth_sessions", plant: func(*patient) {
				revoke("DELETE", "auth_sessions")
			}}, "durability")
		})
	}
}

// asLimitedUser returns a pool of a new user who has all rights that a store needs, in the schema of db.
// The returned function revokes one of them.
func asLimitedUser(t *testing.T, dialect sqlstore.Dialect, db *sql.DB) (*sql.DB, func(right, table string)) {
	t.Helper()
	name := "limited_" + strings.ToLower(rand.Text()[:10])
	exec := func(format string, args ...any) {
		t.Helper()
		_, err := db.ExecContext(context.Background(), fmt.Sprintf(format, args...))
		require.NoError(t, err)
	}
	var schema string
	if dialect == sqlstore.Postgres {
		require.NoError(t, db.QueryRow(`SELECT current_schema()`).Scan(&schema))
		exec(`CREATE ROLE %s LOGIN`, name)
		t.Cleanup(func() { exec(`DROP OWNED BY %s`, name); exec(`DROP ROLE %s`, name) })
		exec(`GRANT USAGE ON SCHEMA %s TO %s`, schema, name)
		exec(`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %s TO %s`, schema, name)
		cfg, err := pgx.ParseConfig(requireDSN(t, dialect))
		require.NoError(t, err)
		cfg.User, cfg.RuntimeParams["search_path"] = name, schema
		limited := stdlib.OpenDB(*cfg)
		t.Cleanup(func() { _ = limited.Close() })
		return limited, func(right, table string) { exec(`REVOKE %s ON %s FROM %s`, right, table, name) }
	}
	require.NoError(t, db.QueryRow(`SELECT DATABASE()`).Scan(&schema))
	var from string // a new server has accounts without a name, which come before one that has no host
	require.NoError(t, db.QueryRow(`SELECT SUBSTRING_INDEX(USER(), '@', -1)`).Scan(&from))
	account := name + `@'` + from + `'`
	exec(`CREATE USER %s IDENTIFIED BY 'limited'`, account)
	t.Cleanup(func() { exec(`DROP USER %s`, account) })
	rows, err := db.Query(`SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()`)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var table string
		require.NoError(t, rows.Scan(&table))
		exec(`GRANT SELECT, INSERT, UPDATE, DELETE ON %s.%s TO %s`, schema, table, account)
	}
	require.NoError(t, rows.Err())
	cfg, err := mysql.ParseDSN(requireDSN(t, dialect))
	require.NoError(t, err)
	cfg.User, cfg.Passwd, cfg.DBName = name, "limited", schema
	connector, err := mysql.NewConnector(cfg)
	require.NoError(t, err)
	limited := sql.OpenDB(connector)
	t.Cleanup(func() { _ = limited.Close() })
	return limited, func(right, table string) {
		exec(`REVOKE %s ON %s.%s FROM %s`, right, schema, table, account)
	}
}
