package authcmd_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/authcmd"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/sqlstore"
)

// fixture is a service with the command over its store.
type fixture struct {
	t      testing.TB
	host   authcmd.Host
	log    *bytes.Buffer    // everything that the service has logged
	shown  *strings.Builder // everything that commands have written, apart from the results of take
	secret []string         // the secrets that commands have given out
}

func newFixture(t testing.TB, store auth.AccountStore, edit ...func(*auth.Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, log: &bytes.Buffer{}, shown: &strings.Builder{}}
	f.host = authcmd.Host{Name: "sp", Store: store, Config: auth.Config{
		Issuer:      authtest.Issuer,
		SigningKeys: []auth.SigningKey{authtest.NewSigners(t)["ES256"].Key},
		Proxies:     auth.NoProxies(),
		Logger:      slog.New(slog.NewTextHandler(f.log, nil)),
	}}
	for _, e := range edit {
		e(&f.host.Config)
	}
	var err error
	f.host.Service, err = auth.New(store.(auth.Store), f.host.Config)
	require.NoError(t, err)
	return f
}

// run runs a command in a pipe with the input, and requires its exit code. It returns what the command
// wrote to its standard output and error.
func (f *fixture) run(code int, input string, args ...string) (out, errOut string) {
	f.t.Helper()
	var stdout, stderr bytes.Buffer
	got := authcmd.Run(context.Background(), f.host, args,
		authcmd.Stdio{In: strings.NewReader(input), Out: &stdout, Err: &stderr})
	require.Equal(f.t, code, got, "%s\n%s%s", strings.Join(args, " "), &stdout, &stderr)
	f.shown.WriteString(stderr.String())
	if match := secretLine.FindStringSubmatch(stdout.String()); match != nil {
		f.secret = append(f.secret, match[1]) // the only place where the secret may be
	} else {
		f.shown.WriteString(stdout.String())
	}
	return stdout.String(), stderr.String()
}

var secretLine = regexp.MustCompile(`access_secret(?:=|":")(\w+)`)

// ok runs a command that must succeed, and returns its standard output.
func (f *fixture) ok(args ...string) string {
	f.t.Helper()
	out, _ := f.run(authcmd.ExitOK, "", args...)
	return out
}

// object runs a command with -json, and decodes its only object.
func (f *fixture) object(args ...string) map[string]any {
	f.t.Helper()
	objects := decodeLines(f.t, f.ok(append(args, "-json")...))
	require.Len(f.t, objects, 1)
	return objects[0]
}

// decodeLines decodes the objects of the output with -json.
func decodeLines(t testing.TB, out string) (objects []map[string]any) {
	t.Helper()
	for line := range strings.Lines(out) {
		var object map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &object), line)
		objects = append(objects, object)
	}
	return objects
}

// signIn opens a session with the pair in the output of a command, and returns the error.
func (f *fixture) signIn(made map[string]any) error {
	_, err := f.host.Service.Login(f.t.Context(), auth.KeyPair{
		AccessKey:    made["access_key"].(string),
		AccessSecret: auth.NewSecret(made["access_secret"].(string)),
	}, auth.LoginOptions{})
	return err
}

// openSQLite opens a store in a new file.
func openSQLite(t testing.TB, parameters string) (*sqlstore.Store, *sql.DB) {
	t.Helper()
	path := filepath.Join(testenv.TempDir(t), "app.db")
	dsn := "file:" + path + "?_pragma=busy_timeout(5000)" + parameters
	db, err := sql.Open("sqlite", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	store, err := sqlstore.Open(t.Context(), db, sqlstore.Config{Dialect: sqlstore.SQLite})
	require.NoError(t, err)
	return store, db
}

// openServer opens a store in a new schema of the server. The parameters are settings of the connections.
func openServer(
	t testing.TB, dialect sqlstore.Dialect, parameters map[string]string,
) (*sqlstore.Store, *sql.DB) {
	t.Helper()
	schema := "auth_test_" + strings.ToLower(rand.Text()[:10])
	admin := connect(t, dialect, "", nil)
	_, err := admin.Exec(`CREATE SCHEMA ` + schema)
	require.NoError(t, err)
	drop := map[sqlstore.Dialect]string{sqlstore.Postgres: ` CASCADE`}[dialect]
	t.Cleanup(func() { _, _ = admin.Exec(`DROP SCHEMA ` + schema + drop) })
	db := connect(t, dialect, schema, parameters)
	store, err := sqlstore.Open(t.Context(), db, sqlstore.Config{Dialect: dialect, Timeout: time.Minute})
	require.NoError(t, err)
	return store, db
}

func connect(t testing.TB, dialect sqlstore.Dialect, schema string, parameters map[string]string) *sql.DB {
	t.Helper()
	dsn := requireDSN(t, dialect)
	var db *sql.DB
	if dialect == sqlstore.Postgres {
		cfg, err := pgx.ParseConfig(dsn)
		require.NoError(t, err)
		if schema != "" {
			cfg.RuntimeParams["search_path"] = schema
		}
		for name, value := range parameters {
			cfg.RuntimeParams[name] = value
		}
		db = stdlib.OpenDB(*cfg)
	} else {
		cfg, err := mysql.ParseDSN(dsn)
		require.NoError(t, err)
		cfg.DBName, cfg.Params = schema, parameters
		connector, err := mysql.NewConnector(cfg)
		require.NoError(t, err)
		db = sql.OpenDB(connector)
	}
	db.SetMaxOpenConns(4)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// requireDSN returns the data source name of the server, or skips the test.
func requireDSN(t testing.TB, dialect sqlstore.Dialect) string {
	t.Helper()
	variable := map[sqlstore.Dialect]string{
		sqlstore.Postgres: "AUTH_TEST_POSTGRES_DSN", sqlstore.MySQL: "AUTH_TEST_MYSQL_DSN",
	}[dialect]
	dsn := os.Getenv(variable)
	if dsn == "" {
		testenv.Skip(t, variable+" is not set")
	}
	return dsn
}

// onStores runs the test on each store.
func onStores(t *testing.T, test func(t *testing.T, store auth.AccountStore)) {
	for name, open := range map[string]func(*testing.T) auth.AccountStore{
		"memory": func(*testing.T) auth.AccountStore { return memstore.New() },
		"SQLite": func(t *testing.T) auth.AccountStore {
			store, _ := openSQLite(t, "")
			return store
		},
		"PostgreSQL": func(t *testing.T) auth.AccountStore {
			store, _ := openServer(t, sqlstore.Postgres, nil)
			return store
		},
		"MariaDB": func(t *testing.T) auth.AccountStore {
			store, _ := openServer(t, sqlstore.MySQL, nil)
			return store
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}
