package main

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// If the tables cannot be opened, doctor cannot check them. So the error must say what to do.
func TestDoctorSaysWhatToDoIfTheTablesCannotBeOpened(t *testing.T) {
	t.Parallel()
	for fault, statement := range map[string]string{
		"a column is missing":                    `ALTER TABLE auth_users DROP COLUMN audiences`,
		"a later version migrated the tables":    `UPDATE auth_schema_version SET version_id = 999`,
		"an earlier version has made the tables": `DELETE FROM auth_schema_version WHERE version_id > 0`,
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			onDatabases(t, func(t *testing.T, env []string) {
				execute(t, 0, env, "", "init", "root")
				execSQL(t, strings.TrimPrefix(env[0], "SALLYPORT_DSN="), statement)
				out, _ := execute(t, 3, env, "", "doctor")
				require.Contains(t, out, "use sallyport in the version of the library that the service has")
				_, problem := execute(t, 1, env, "", "user", "list")
				require.Contains(t, problem, "If a table was changed by hand, restore it from a backup")
				require.NotContains(t, problem, "Migrations")
			})
		})
	}
}

// SQLite decodes the data source name. If sallyport did not, SQLite would create another file, which every
// user of the machine can read.
func TestTheDatabaseIsTheFileThatSQLiteOpens(t *testing.T) {
	t.Parallel()
	for spelling, name := range map[string]string{
		"app.db": "app.db", "a%20b.db": "a b.db", "a b.db": "a b.db", "app.db#fragment": "app.db",
		"100%25%3f%23.db": "100%?#.db", "app.db?_pragma=busy_timeout(5000)": "app.db",
	} {
		for _, prefix := range []string{"file:", "file://", "file://localhost"} {
			dir := t.TempDir()
			env := []string{"SALLYPORT_DSN=" + prefix + filepath.Join(dir, spelling)}
			execute(t, 1, env, "", "user", "list")
			files, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Empty(t, files, env)
			execute(t, 0, env, "", "init", "root")
			execute(t, 0, env, "", "user", "list")
			files, err = os.ReadDir(dir)
			require.NoError(t, err)
			require.Len(t, files, 1, env)
			require.Equal(t, name, files[0].Name())
			info, err := files[0].Info()
			require.NoError(t, err)
			require.EqualValues(t, 0o600, info.Mode().Perm(), env)
		}
	}
	_, problem := execute(t, 1, []string{"SALLYPORT_DSN=file:a%zz.db"}, "", "init", "root")
	require.Contains(t, problem, "the data source name is not valid")
}

// After a failover, the first host of the data source name can be stuck.
func TestAStuckHostLeavesTimeForTheNextOne(t *testing.T) {
	t.Parallel()
	stuck, err := net.Listen("tcp", "127.0.0.1:0") // it accepts connections and does not answer
	require.NoError(t, err)
	t.Cleanup(func() { _ = stuck.Close() }) // after the parallel tests
	onDatabases(t, func(t *testing.T, env []string) {
		dsn := strings.TrimPrefix(env[0], "SALLYPORT_DSN=")
		if !strings.HasPrefix(dsn, "postgres") {
			return // only PostgreSQL has names with several hosts
		}
		execute(t, 0, env, "", "init", "root")
		several := strings.Replace(dsn, "@", "@"+stuck.Addr().String()+",", 1)
		require.NotEqual(t, dsn, several)
		out, _ := execute(t, 0, []string{"SALLYPORT_DSN=" + several}, "", "user", "list")
		require.Contains(t, out, "root")
	})
}

func TestDoctorSaysWhichRightsAreNeeded(t *testing.T) {
	t.Parallel()
	onDatabases(t, func(t *testing.T, env []string) {
		dsn := strings.TrimPrefix(env[0], "SALLYPORT_DSN=")
		if !strings.HasPrefix(dsn, "postgres") {
			return // SQLite has no rights, and an account of MariaDB depends on the name of the client
		}
		execute(t, 0, env, "", "init", "root")
		name := "limited_" + strings.ToLower(rand.Text()[:10])
		execSQL(t, dsn, `CREATE ROLE `+name+` LOGIN`,
			fmt.Sprintf(`GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO %s`, name))
		t.Cleanup(func() { execSQL(t, dsn, `DROP OWNED BY `+name, `DROP ROLE `+name) })
		limited, err := url.Parse(dsn)
		require.NoError(t, err)
		limited.User = url.User(name)
		out, _ := execute(t, 3, []string{"SALLYPORT_DSN=" + limited.String()}, "", "doctor")
		require.Contains(t, out, "grant SELECT, INSERT, UPDATE and DELETE on all tables of the service")
	})
}
