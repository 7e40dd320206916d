package sqlstore_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/sqlstore"
)

// TestTheDocumentedGrantsAreEnough runs the statements of docs/running.md. On PostgreSQL, these are the
// blocks "run: grant-postgres" and "run: grant-postgres-migrated". On MariaDB, this is the block
// "run: grant-mysql".
func TestTheDocumentedGrantsAreEnough(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		app := "auth_" + strings.ToLower(rand.Text()[:10])
		migrated := app + "_m" // may not create tables
		account := func(user string) string {
			if on == mariadb { // it may have an account without a name for the host of the test
				return user + "@'" + column(t, on.open(t, nil, 1), `SELECT SUBSTRING_INDEX(USER(), '@', -1)`)[0] + "'"
			}
			return user
		}
		run := func(db *sql.DB, statements, user string) {
			t.Helper()
			statements = strings.NewReplacer(" app.", " "+app+".", "DATABASE app", "DATABASE "+app).
				Replace(statements)
			statements = regexp.MustCompile(`\bapp\b`).ReplaceAllString(statements, user)
			for statement := range strings.SplitSeq(strings.TrimSpace(statements), ";\n") {
				_, err := db.Exec(statement)
				require.NoError(t, err, statement)
			}
		}
		page := func(marker string) string { return blockOf(t, "running.md", "run: "+marker, "sql") }
		drop := `DROP USER IF EXISTS `
		t.Cleanup(func() {
			require.NoError(t, on.admin(`DROP DATABASE IF EXISTS `+app))
			require.NoError(t, on.admin(drop+account(app)))
			require.NoError(t, on.admin(drop+account(migrated)))
		})
		openApp := func(user string, skip bool) error {
			db := openDatabaseAs(t, on, app, user)
			defer db.Close()
			_, err := sqlstore.Open(context.Background(), db,
				sqlstore.Config{Dialect: on.dialect, SkipMigrations: skip})
			return err
		}

		if on == postgres {
			require.NoError(t, on.outside(func(db *sql.DB) error {
				run(db, page("grant-postgres"), app)
				return nil
			}))
			require.NoError(t, openApp(app, false))
			require.NoError(t, on.admin(`CREATE ROLE `+migrated+` LOGIN`))
			require.Error(t, openApp(migrated, true))
			inApp := on.database(t, os.Getenv(on.variable), app)
			run(inApp, page("grant-postgres-migrated"), migrated)
			require.NoError(t, inApp.Close())
			require.NoError(t, openApp(migrated, true))
			return
		}
		all := page("grant-mysql")
		require.NoError(t, on.outside(func(db *sql.DB) error {
			run(db, all, account(app))
			require.NoError(t, openApp(app, false))
			_, user, _ := strings.Cut(all, "\n")
			run(db, strings.ReplaceAll(user, ", CREATE, ALTER, INDEX", ""), account(migrated))
			return nil
		}))
		require.NoError(t, openApp(migrated, true))
	})
}

// openDatabaseAs opens a pool for the database of this name, with the password of the page.
func openDatabaseAs(t *testing.T, on *server, database, user string) *sql.DB {
	t.Helper()
	if on == postgres {
		return openPostgres(t, func(cfg *pgx.ConnConfig) {
			cfg.Database, cfg.User, cfg.RuntimeParams["search_path"] = database, user, "public"
		})
	}
	return openMariaDB(t, func(cfg *mysql.Config) {
		cfg.DBName, cfg.User, cfg.Passwd = database, user, "…"
	})
}
