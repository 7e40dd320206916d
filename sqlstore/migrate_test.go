package sqlstore_test

import (
	"context"
	"database/sql"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
)

// withMigration returns the embedded migrations and a last one with the given statements.
func withMigration(statements string) fs.FS {
	files := embeddedMigrations()
	files[nextVersion+"_last.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + statements)}
	return files
}

// embeddedMigrations returns the files that Open applies, by name.
func embeddedMigrations() fstest.MapFS {
	embedded, err := sqlstore.Migrations(sqlstore.SQLite, "")
	if err != nil {
		panic(err)
	}
	names, err := fs.Glob(embedded, "*.sql")
	if err != nil {
		panic(err)
	}
	files := make(fstest.MapFS)
	for _, name := range names {
		text, err := fs.ReadFile(embedded, name)
		if err != nil {
			panic(err)
		}
		files[name] = &fstest.MapFile{Data: text}
	}
	return files
}

func openWith(ctx context.Context, db *sql.DB, migrations fs.FS) (*sqlstore.Store, error) {
	return sqlstore.OpenWithMigrations(ctx, db, config, migrations)
}

// both calls the function test with an empty in-memory database and with an empty file.
func both(t *testing.T, test func(t *testing.T, db *sql.DB, s *spy)) {
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		s := &spy{}
		test(t, openMemory(t, s), s)
	})
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		s := &spy{}
		test(t, openSpied(t, "file:"+newFile(t)+impatient, s), s)
	})
}

func TestAllMigrationsAreOneTransaction(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, db *sql.DB, s *spy) {
		_, err := openWith(context.Background(), db, withMigration(`CREATE TABLE last (id);`))
		require.NoError(t, err)
		begin := func(statement string) bool { return strings.HasPrefix(statement, "BEGIN") }
		all := s.statements()
		last := slices.Index(all, "COMMIT")
		first := last // of a file, Open first checks with a BEGIN and a ROLLBACK that it can be written
		for !begin(all[first]) {
			first--
		}
		for _, statement := range all[:first] {
			require.NotRegexp(t, `^(CREATE|INSERT)`, statement, "before the transaction")
		}
		var after []string // the statements after the migrations, except queries
		for _, statement := range all[last+1:] {
			if !strings.HasPrefix(statement, "SELECT") {
				after = append(after, statement)
			}
		}
		require.Equal(t, []string{"BEGIN IMMEDIATE", `INSERT INTO auth_contents (id, keeps) VALUES (1, ?)`, "COMMIT"}, after)
		require.Contains(t, tables(t, db), "last")
	})
}

func TestAnOlderDatabaseKeepsItsRows(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, db *sql.DB, s *spy) {
		seed(t, mustOpen(t, db))
		store, err := openWith(context.Background(), db, withMigration(`CREATE TABLE last (id);`))
		require.NoError(t, err)
		_, err = store.FindSession(context.Background(), "s-ada")
		require.NoError(t, err)
		require.Contains(t, tables(t, db), "last")
	})
}

func TestAMigrationThatFailsLeavesNothingHalfDone(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, db *sql.DB, s *spy) {
		_, err := db.Exec(`CREATE TABLE host (id)`)
		require.NoError(t, err)
		_, err = openWith(context.Background(), db,
			withMigration(`CREATE TABLE last (id); CREATE TABLE last (id);`))
		requireNoAnswer(t, err)
		require.ErrorContains(t, err, "already exists")
		require.Equal(t, []string{"host"}, tables(t, db))
		requireNoTransaction(t, db)
		seed(t, mustOpen(t, db))
	})
}

func TestAContextThatEndsDuringAMigrationLeavesAllOrNothing(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, db *sql.DB, s *spy) {
		_, err := db.Exec(`CREATE TABLE host (id)`)
		require.NoError(t, err)
		var of int
		for n := 1; n == 1 || n <= of; n++ {
			ctx, cancel := context.WithCancel(context.Background())
			s.watch(at(n, func(context.Context) error { cancel(); return nil }))
			_, err := openWith(ctx, db, withMigration(`CREATE TABLE last (id);`))
			requireNoAnswer(t, err)
			require.ErrorIs(t, err, context.Canceled)
			cancel()
			s.watch(nil)
			requireNoTransaction(t, db)

			left := tables(t, db)
			if len(left) > 1 {
				require.Contains(t, left, "last")
				require.Contains(t, left, "auth_sessions")
				// The context ended after the commit, so all migrations were applied.
				return
			}
			require.Equal(t, []string{"host"}, left)
			of = n + 1
		}
	})
}

func TestANewerDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, db *sql.DB, s *spy) {
		_, err := openWith(context.Background(), db, withMigration(`CREATE TABLE last (id);`))
		require.NoError(t, err)
		before := dump(t, db)
		s.watch(nil)
		_, err = open(db)
		requireNoAnswer(t, err)
		require.ErrorContains(t, err, "the tables have version "+nextVersion+" and this program knows only")
		require.Zero(t, s.count("COMMIT"))
		require.Empty(t, s.changes())
		require.Equal(t, before, dump(t, db))
	})
}

// A newer program migrates the tables while an older program waits for the lock.
func TestDatabaseMigratedByNewerProgramDuringOpenIsRefused(t *testing.T) {
	t.Parallel()
	s, file := &spy{}, newFile(t)
	older, newer := openSpied(t, "file:"+file+impatient, s), openDB(t, file, impatient)
	migrated := false
	s.watch(func(_ context.Context, statement string) error {
		if statement == "BEGIN IMMEDIATE" && !migrated {
			migrated = true
			_, err := openWith(context.Background(), newer, withMigration(`CREATE TABLE last (id);`))
			return err
		}
		return nil
	})
	_, err := open(older)
	require.ErrorContains(t, err, "the tables have version "+nextVersion+" and this program knows only")
	requireNoTransaction(t, older)
}

func TestTenInstancesOpenAnEmptyFileAtOnce(t *testing.T) {
	t.Parallel()
	for _, settings := range []string{recommended, impatient} {
		for range testenv.Rounds(t, testenv.Counts{Small: 3, Moderate: 20, Full: 200}) {
			file := newFile(t)
			pools := make([]*sql.DB, 10)
			for i := range pools {
				pools[i] = openDB(t, file, settings)
			}
			together(t, len(pools), func(i int) error {
				store, err := open(pools[i])
				if err != nil {
					return err
				}
				return store.Ping(context.Background())
			})
			require.Equal(t, everyVersion(), column(t, pools[0], `SELECT version_id FROM auth_schema_version ORDER BY id`))
			for _, pool := range pools {
				require.NoError(t, pool.Close())
			}
		}
	}
}

// everyVersion returns the versions in the version table after all embedded migrations.
func everyVersion() []string { return append([]string{"0"}, versionsOf(embeddedMigrations())...) }

// versionsOf returns the versions of the migrations in ascending order.
func versionsOf(migrations fstest.MapFS) (versions []string) {
	for _, name := range slices.Sorted(maps.Keys(migrations)) {
		version, _, _ := strings.Cut(name, "_")
		versions = append(versions, strings.TrimLeft(version, "0"))
	}
	return versions
}

// A program from before the first release left the version table with versions up to 19.
func TestTablesFromBeforeTheFirstReleaseAreRefusedUnchanged(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, newPlace func(*testing.T) place) {
		for _, version := range []string{"2", "19"} {
			p, s := newPlace(t), &spy{}
			db := p.open(t, s)
			_, err := sqlstore.Open(context.Background(), db, p.cfg)
			require.NoError(t, err)
			_, err = db.Exec(`INSERT INTO ` + p.prefix() + `schema_version (version_id, is_applied)
				SELECT ` + version + `, is_applied FROM ` + p.prefix() + `schema_version WHERE version_id = 1`)
			require.NoError(t, err)
			for _, skip := range []bool{false, true} {
				for name, migrations := range map[string]fs.FS{
					"this program": p.migrations(t, len(embeddedMigrations())), "a later one": p.chain(t),
				} {
					p.cfg.SkipMigrations = skip
					s.watch(nil)
					_, err := sqlstore.OpenWithMigrations(context.Background(), db, p.cfg, migrations)
					requireNoAnswer(t, err)
					require.ErrorContains(t, err, "the tables have version "+version+
						", from before the first release, and cannot be migrated: set Config.Prefix", name)
					require.Empty(t, s.changes(), name)
				}
			}
		}
	})
}
