package main

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/url"
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
