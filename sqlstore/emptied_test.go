package sqlstore_test

import (
	"database/sql"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/sqltest"
	"github.com/sallyport-go/auth/sqlstore"
)

// everyRow returns the rows of each table with the prefix, as texts in ascending order. It leaves out
// the times at which migrations were applied.
func (s *server) everyRow(t *testing.T, db *sql.DB, prefix string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	pattern := strings.ReplaceAll(prefix, "_", "!_") + "%"
	for _, name := range column(t, db, `SELECT table_name FROM information_schema.tables
		WHERE table_schema = '`+s.schema+`' AND table_name LIKE '`+pattern+`' ESCAPE '!'`) {
		table, columns := strings.TrimPrefix(name, prefix), `*`
		if table == "schema_version" {
			columns = `id, version_id, is_applied`
		}
		all[table] = tableRows(t, db, `SELECT `+columns+` FROM `+name)
		slices.Sort(all[table])
	}
	return all
}

// A new migration may insert a row with a statement that Empty does not repeat, or may create a table
// that the test does not fill.
func TestEmptiedTablesAreLikeNewOnes(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		db, cfg := on.open(t, nil, 2), on.config()
		for _, opening := range []opener{openUsers, openAccounts, openUsers} {
			fresh := on.config()
			_, err := opening.open(db, fresh)
			require.NoError(t, err)
			_, err = opening.open(db, cfg)
			require.NoError(t, err)
			want := on.everyRow(t, db, fresh.Prefix)
			require.Equal(t, want, on.everyRow(t, db, cfg.Prefix))

			on.dirty(t, db, cfg.Prefix)
			for table, rows := range on.everyRow(t, db, cfg.Prefix) {
				if table != "schema_version" {
					require.NotEmpty(t, rows, "dirty adds no row to %s", table)
					require.NotEqual(t, want[table], rows, "dirty does not change the row of %s", table)
				}
			}
			require.NoError(t, on.tables.Empty(t.Context(), cfg.Prefix))
		}
	})
}

// dirty changes the rows of each table that a store changes.
func (s *server) dirty(t *testing.T, db *sql.DB, prefix string) {
	t.Helper()
	for _, statement := range append(slices.Clone(fill),
		`INSERT INTO auth_bootstrap (id, user_id) SELECT 1, 'u1'`,
		`INSERT INTO auth_locks (name) SELECT 'another'`,
		`UPDATE auth_contents SET keeps = CASE keeps WHEN 'users' THEN 'accounts' ELSE 'users' END`,
		`UPDATE auth_revocation_head SET position = 7`,
		`UPDATE auth_everybody SET generation = 7`,
	) {
		statement = strings.ReplaceAll(statement, "TABLE", `(SELECT 1 AS n UNION ALL SELECT 2) AS g`)
		_, err := db.Exec(strings.ReplaceAll(statement, "auth_", prefix))
		require.NoError(t, err)
	}
}

// reuser is a test that ends when its function end is called.
type reuser struct {
	testing.TB
	failed   bool
	cleanups []func()
}

func (r *reuser) Cleanup(do func()) { r.cleanups = append(r.cleanups, do) }
func (r *reuser) Failed() bool      { return r.failed }

func (r *reuser) end() {
	for _, do := range slices.Backward(r.cleanups) {
		do()
	}
}

func TestTablesOfFailedAndUnfinishedTestsAreNotUsedAgain(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		db := on.open(t, nil, 4)
		tables := sqltest.NewTables(on.dialect, on.emptier) // no other test gets them

		// use runs a test that may fail, and returns the prefix of its tables.
		use := func(failed bool, test func(prefix string)) string {
			user, cfg := &reuser{TB: t, failed: failed}, on.config()
			cfg.Prefix = tables.Prefix(user)
			_, err := sqlstore.Open(t.Context(), db, cfg)
			require.NoError(t, err)
			test(cfg.Prefix)
			user.end()
			return cfg.Prefix
		}
		nothing := func(string) {}
		first := use(false, nothing)
		require.Equal(t, first, use(false, nothing))
		require.Equal(t, first, use(true, nothing))
		second := use(false, nothing)
		require.NotEqual(t, first, second)

		for _, statement := range []string{
			`SELECT keeps FROM auth_contents`, `UPDATE auth_everybody SET generation = 3`,
		} {
			var tx *sql.Tx
			busy := use(false, func(prefix string) {
				var err error
				tx, err = db.Begin()
				require.NoError(t, err)
				_, err = tx.Exec(strings.ReplaceAll(statement, "auth_", prefix))
				require.NoError(t, err)
			})
			require.NoError(t, tx.Rollback())
			require.NotEqual(t, busy, use(false, nothing), statement)
		}
	})
}

func TestASeededStageHasTheRowsOfANewOne(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		s := on.stage(t)
		want := on.everyRow(t, s.db, s.prefix)
		for _, v := range verbs() {
			require.NoError(t, v.call(t.Context(), s.store), v.name)
			s.seeded(t)
			require.Equal(t, want, on.everyRow(t, s.db, s.prefix), v.name)
		}
	})
}
