package sqlstore_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
)

// place is where a test creates tables: in an SQLite file, or in a schema of a server. On a server,
// the table names have a prefix.
type place struct {
	cfg  sqlstore.Config
	open func(*testing.T, *spy) *sql.DB
}

// inEach runs the test with an SQLite file and with each available server. Each call of newPlace
// returns a new, empty place.
func inEach(t *testing.T, test func(t *testing.T, newPlace func(*testing.T) place)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, func(t *testing.T) place {
			file := newFile(t)
			return place{config, func(t *testing.T, s *spy) *sql.DB {
				return openSpied(t, "file:"+file+impatient, s)
			}}
		})
	})
	onServers(t, func(t *testing.T, on *server) {
		test(t, func(*testing.T) place {
			return place{on.config(), func(t *testing.T, s *spy) *sql.DB { return on.open(t, s, 2) }}
		})
	})
}

func (p place) prefix() string {
	if p.cfg.Prefix == "" {
		return "auth_"
	}
	return p.cfg.Prefix
}

// stage returns a stage for the opened store, with the records of seed.
func (p place) stage(t *testing.T, store *sqlstore.Store, db *sql.DB, s *spy) *stage {
	t.Helper()
	return (&stage{store: store, db: db, spy: s, prefix: p.prefix()}).seeded(t)
}

// nextVersion is the version of a migration that only tests have.
const nextVersion = "99999"

// chain returns the embedded migrations and the migration that only tests have.
func (p place) chain(t *testing.T) fstest.MapFS { return p.migrations(t, len(embeddedMigrations())+1) }

// migrations returns the first n migrations of the chain.
func (p place) migrations(t *testing.T, n int) fstest.MapFS {
	t.Helper()
	embedded, err := sqlstore.Migrations(p.cfg.Dialect, p.cfg.Prefix)
	require.NoError(t, err)
	names, err := fs.Glob(embedded, "*.sql")
	require.NoError(t, err)
	files := fstest.MapFS{}
	for _, name := range names[:min(n, len(names))] {
		text, err := fs.ReadFile(embedded, name)
		require.NoError(t, err)
		files[name] = &fstest.MapFile{Data: text}
	}
	if n > len(names) {
		files[nextVersion+"_last.sql"] = &fstest.MapFile{Data: fmt.Appendf(nil,
			"-- +goose Up\nCREATE TABLE IF NOT EXISTS %slast (id INTEGER);", p.prefix())}
	}
	return files
}

func TestTenInstancesStartAtOnceOnAnEmptyServer(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		for range testenv.Rounds(t, testenv.Counts{Small: 1, Moderate: 3, Full: 50}) {
			cfg := on.config()
			pools := make([]*sql.DB, 10)
			for i := range pools {
				pools[i] = on.open(t, nil, 2)
			}
			together(t, len(pools), func(i int) error {
				store, err := sqlstore.Open(context.Background(), pools[i], cfg)
				if err != nil {
					return err
				}
				return store.Ping(context.Background())
			})
			require.Equal(t, everyVersion(),
				column(t, pools[0], `SELECT version_id FROM `+cfg.Prefix+`schema_version ORDER BY id`))
			for _, pool := range pools {
				require.NoError(t, pool.Close())
			}
		}
	})
}

// The connection is lost at each statement of the migrations in turn. The next call of Open must
// complete the migrations.
func TestInterruptedMigrationsAreFinishedByTheNextStart(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, newPlace func(*testing.T) place) {
		for n, done := 1, false; !done; n++ {
			p, s := newPlace(t), &spy{}
			db := p.open(t, s)
			moment := connectionLost{afterwards: n%2 == 1}
			s.watch(at(n, func(context.Context) error { return moment }))
			_, err := sqlstore.OpenWithMigrations(context.Background(), db, p.cfg, p.chain(t))
			done = len(s.statements()) < n
			if err != nil {
				requireNoAnswer(t, err)
			}
			s.watch(nil)

			store, err := sqlstore.OpenWithMigrations(context.Background(), db, p.cfg, p.chain(t))
			require.NoError(t, err, "statement %d", n)
			require.Equal(t, append(everyVersion(), nextVersion), column(t, db, `SELECT version_id FROM `+p.prefix()+`schema_version ORDER BY id`))
			p.stage(t, store, db, s)
			require.NoError(t, store.RevokeSession(context.Background(), byHost, "s-ada"))
			require.NoError(t, db.Close())
		}
	})
}

// On MySQL, migrations do not run in a transaction. So a migration may have been applied but not
// recorded.
func TestMigrationAppliedButNotRecordedIsAppliedAgain(t *testing.T) {
	t.Parallel()
	mariadb.need(t)
	for n, version := range append(versionsOf(embeddedMigrations()), nextVersion) {
		p := place{cfg: mariadb.config()}
		db := mariadb.open(t, nil, 2)
		_, _ = sqlstore.OpenWithMigrations(context.Background(), db, p.cfg, p.migrations(t, n+1))
		result, err := db.Exec(`DELETE FROM `+p.prefix()+`schema_version WHERE version_id = ?`, version)
		require.NoError(t, err)
		deleted, err := result.RowsAffected()
		require.NoError(t, err)
		require.EqualValues(t, 1, deleted)
		store, err := sqlstore.OpenWithMigrations(context.Background(), db, p.cfg, p.chain(t))
		require.NoError(t, err)
		p.stage(t, store, db, &spy{})
	}
}

// addsTables reports whether one of the migrations that are not yet applied adds a table.
func addsTables(applied fstest.MapFS) bool {
	for name, file := range embeddedMigrations() {
		if applied[name] == nil && bytes.Contains(file.Data, []byte("CREATE TABLE")) {
			return true
		}
	}
	return false
}

func TestEachMigrationKeepsExistingRows(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, newPlace func(*testing.T) place) {
		for n := 1; n <= len(embeddedMigrations()); n++ { // before the first migration there are no rows
			p := newPlace(t)
			db := p.open(t, nil)
			applied := p.migrations(t, n)
			_, err := sqlstore.OpenWithMigrations(context.Background(), db, p.cfg, applied)
			if addsTables(applied) {
				require.ErrorContains(t, err, "check the tables", "the rest is missing")
			} else {
				require.NoError(t, err)
			}

			filled := 0
			for _, statement := range fill {
				_, table, _ := strings.Cut(statement, "auth_")
				table, _, _ = strings.Cut(table, " ")
				if _, err := db.Exec(`SELECT 1 FROM ` + p.prefix() + table); err != nil {
					// A later migration creates this table.
					continue
				}
				statement = strings.ReplaceAll(strings.ReplaceAll(statement, "auth_", p.prefix()), "TABLE", `(SELECT 1 AS n) AS g`)
				if p.cfg.Dialect == sqlstore.SQLite {
					statement = strings.ReplaceAll(statement, `'sealed'`, `x'01'`)
				}
				_, err := db.Exec(statement)
				require.NoError(t, err)
				filled++
			}
			require.NotZero(t, filled)
			store, err := sqlstore.OpenWithMigrations(context.Background(), db, p.cfg, p.chain(t))
			require.NoError(t, err)
			require.Len(t, (&stage{db: db, prefix: p.prefix()}).rows(t), filled)
			user, err := store.FindUser(context.Background(), "u1")
			require.NoError(t, err)
			require.Equal(t, "N1", user.Username)
		}
	})
}

func TestNewerTablesAreRefusedOnAServer(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		s := &spy{}
		db, cfg := on.open(t, s, 2), on.config()
		p := place{cfg: cfg}
		_, err := sqlstore.OpenWithMigrations(context.Background(), db, cfg, p.chain(t))
		require.NoError(t, err)
		s.watch(nil)
		_, err = sqlstore.Open(context.Background(), db, cfg)
		requireNoAnswer(t, err)
		require.ErrorContains(t, err, "the tables have version "+nextVersion+" and this program knows only")
		for _, verb := range []string{"CREATE", "INSERT", "UPDATE", "DELETE"} {
			require.Zero(t, s.count(verb), "%q", s.statements())
		}
	})
}

// gooseDialects has goose's name for each dialect.
var gooseDialects = map[sqlstore.Dialect]goose.Dialect{
	sqlstore.SQLite: goose.DialectSQLite3, sqlstore.Postgres: goose.DialectPostgres,
	sqlstore.MySQL: goose.DialectMySQL,
}

// ownGoose returns the goose of a host that applies the first n files itself.
func ownGoose(t *testing.T, p place, db *sql.DB, n int, table string) *goose.Provider {
	t.Helper()
	provider, err := goose.NewProvider(gooseDialects[p.cfg.Dialect], db, p.migrations(t, n),
		goose.WithTableName(table))
	require.NoError(t, err)
	return provider
}

func TestTablesMigratedByTheTeamAreUsedUnchanged(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, newPlace func(*testing.T) place) {
		p, s := newPlace(t), &spy{}
		p.cfg.SkipMigrations = true
		db := p.open(t, s)
		open := func() (*sqlstore.Store, error) {
			return sqlstore.OpenWithMigrations(context.Background(), db, p.cfg, p.chain(t))
		}
		_, err := open()
		require.ErrorContains(t, err, "there is no table "+p.prefix()+"schema_version")
		require.ErrorIs(t, err, sqlstore.ErrNoTables)

		of := len(p.chain(t))
		for _, n := range []int{of - 1, of} {
			team := ownGoose(t, p, db, n, p.prefix()+"schema_version")
			_, err = team.Up(context.Background())
			require.NoError(t, err)
			s.watch(nil)
			_, err = open()
			if n < of {
				newest := everyVersion()[n]
				require.ErrorContains(t, err,
					"the tables have version "+newest+" and this program needs "+nextVersion)
				require.Empty(t, s.changes())
				continue
			}
			require.NoError(t, err)
			require.Len(t, s.changes(), 1)
			require.Contains(t, s.changes()[0], "INSERT INTO "+p.prefix()+"contents")

			s.watch(nil)
			store, err := open()
			require.NoError(t, err)
			require.Empty(t, s.changes())
			p.stage(t, store, db, s)
			require.NoError(t, store.RevokeSession(context.Background(), byHost, "s-ada"))
		}
	})
}

func TestSkipMigrationsAcceptsOnlyTheVersionOfTheProgram(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, newPlace func(*testing.T) place) {
		p := newPlace(t)
		db := p.open(t, &spy{})
		_, err := sqlstore.OpenWithMigrations(context.Background(), db, p.cfg, p.chain(t))
		require.NoError(t, err)
		p.cfg.SkipMigrations = true
		_, err = sqlstore.Open(context.Background(), db, p.cfg)
		require.ErrorContains(t, err, "the tables have version "+nextVersion+" and this program knows only")
	})
}

// If goose uses its default table, the library does not see which files were applied.
func TestAVersionTableWithAnotherNameIsRefused(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, newPlace func(*testing.T) place) {
		p := newPlace(t)
		db := p.open(t, &spy{})
		team := ownGoose(t, p, db, len(embeddedMigrations()), p.prefix()+"db_version")
		_, err := team.Up(context.Background())
		require.NoError(t, err)
		p.cfg.SkipMigrations = true
		_, err = sqlstore.Open(context.Background(), db, p.cfg)
		require.ErrorContains(t, err, "-table "+p.prefix()+"schema_version")
	})
}

// A host that has migrated with its own goose can later let Open migrate, and the reverse.
func TestOpenAndTheGooseOfTheHostShareOneVersionTable(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, newPlace func(*testing.T) place) {
		p := newPlace(t)
		db, of := p.open(t, &spy{}), len(p.chain(t))
		team := ownGoose(t, p, db, of-1, p.prefix()+"schema_version")
		_, err := team.Up(context.Background())
		require.NoError(t, err)
		_, err = sqlstore.OpenWithMigrations(context.Background(), db, p.cfg, p.chain(t))
		require.NoError(t, err)
		applied, err := ownGoose(t, p, db, of, p.prefix()+"schema_version").Up(context.Background())
		require.NoError(t, err)
		require.Empty(t, applied)
	})
}

func TestGooseDownFailsAndChangesNothing(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, newPlace func(*testing.T) place) {
		p, s := newPlace(t), &spy{}
		db, of := p.open(t, s), len(embeddedMigrations())
		store, err := sqlstore.Open(context.Background(), db, p.cfg)
		require.NoError(t, err)
		p.stage(t, store, db, s)
		team := ownGoose(t, p, db, of, p.prefix()+"schema_version")
		_, err = team.Down(context.Background())
		require.ErrorContains(t, err, p.prefix()+"has_no_way_back_restore_a_backup")
		for name, file := range p.migrations(t, of) { // each was the newest file of some version
			_, down, found := strings.Cut(string(file.Data), "-- +goose Down\n")
			require.True(t, found, name)
			_, err := db.Exec(down)
			require.ErrorContains(t, err, p.prefix()+"has_no_way_back_restore_a_backup", name)
		}
		store, err = sqlstore.Open(context.Background(), db, p.cfg)
		require.NoError(t, err)
		require.NoError(t, store.RevokeSession(context.Background(), byHost, "s-ada"))
	})
}

func TestTheLongestPrefixFits(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, newPlace func(*testing.T) place) {
		p := newPlace(t)
		p.cfg.Prefix = strings.Repeat("p", 23) + "_"
		db, s := p.open(t, nil), &spy{}
		store, err := sqlstore.Open(context.Background(), db, p.cfg)
		require.NoError(t, err)
		p.stage(t, store, db, s)
	})
}
