package sqlstore_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
)

// frozen lists the migrations with their hashes, in the format of sha256sum. Lines are only added. To add
// those of a new migration, run in this directory:
//
//	sha256sum migrations/*/NAME.sql >>testdata/migrations.sha256
const frozen = "testdata/migrations.sha256"

// A database has recorded which migrations were applied, and never applies one again. So a changed
// migration would give old databases other tables than new ones.
func TestMigrationsAreThoseThatAreFrozen(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(frozen)
	require.NoError(t, err)
	var lines []string
	for _, dialect := range []sqlstore.Dialect{sqlstore.MySQL, sqlstore.Postgres, sqlstore.SQLite} {
		files, err := sqlstore.Migrations(dialect, "")
		require.NoError(t, err)
		names, err := fs.Glob(files, "*")
		require.NoError(t, err)
		for _, name := range names {
			migration, err := fs.ReadFile(files, name)
			require.NoError(t, err)
			lines = append(lines,
				fmt.Sprintf("%x  migrations/%s/%s", sha256.Sum256(migration), dialect, name))
		}
	}
	require.ElementsMatch(t, lines, strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"),
		"a released migration never changes; if this one is new, see the constant frozen")
}

func TestAReleaseOnlyAddsMigrations(t *testing.T) {
	t.Parallel()
	tag := testenv.LastRelease(t)
	released, err := exec.Command("git", "show", tag+":./"+frozen).Output()
	require.NoError(t, err)
	text, err := os.ReadFile(frozen)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(text), string(released)),
		"%s must begin with the lines that it has in %s", frozen, tag)
}

// Programs from before the first release recorded the versions 2 to 19, so a database with one of them
// must stay recognizable.
func TestNewMigrationsHaveVersionsThatNoProgramEverUsed(t *testing.T) {
	t.Parallel()
	for _, dialect := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.Postgres, sqlstore.MySQL} {
		p := place{cfg: sqlstore.Config{Dialect: dialect}}
		versions := versionsOf(p.migrations(t, len(embeddedMigrations())))
		require.Equal(t, versionsOf(embeddedMigrations()), versions, "those of all dialects")
		require.Equal(t, "1", versions[0])
		for _, version := range versions[1:] {
			number, err := strconv.Atoi(version)
			require.NoError(t, err)
			require.GreaterOrEqual(t, number, 20)
		}
	}
}
