package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/keyfile"
	"github.com/sallyport-go/auth/sqlstore"
)

// onDatabases runs the test with a new database of each kind. The servers are those of the tests of
// package sqlstore.
func onDatabases(t *testing.T, test func(t *testing.T, env []string)) {
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, newSQLite(t))
	})
	for _, server := range []struct{ name, driver, variable string }{
		{"PostgreSQL", "pgx", "AUTH_TEST_POSTGRES_DSN"},
		{"MariaDB", "mysql", "AUTH_TEST_MYSQL_DSN"},
	} {
		t.Run(server.name, func(t *testing.T) {
			t.Parallel()
			dsn := os.Getenv(server.variable)
			if dsn == "" {
				testenv.Skip(t, server.variable+" is not set")
			}
			db, err := sql.Open(server.driver, dsn)
			require.NoError(t, err)
			t.Cleanup(func() { _ = db.Close() })
			name := "sallyport_test_" + strings.ToLower(rand.Text()[:10])
			exec := func(statement string) {
				_, err := db.ExecContext(context.Background(), statement)
				require.NoError(t, err)
			}
			exec(`CREATE DATABASE ` + name)
			t.Cleanup(func() { exec(`DROP DATABASE ` + name) })
			if server.driver == "pgx" {
				dsn = dsn[:strings.LastIndex(dsn, "/")+1] + name
			} else {
				before, after, _ := strings.Cut(dsn, ")/")
				dsn = before + ")/" + name + after
			}
			test(t, []string{"SALLYPORT_DSN=" + dsn})
		})
	}
}

func TestALostSuperUserIsRecoveredOnEachDatabase(t *testing.T) {
	t.Parallel()
	onDatabases(t, func(t *testing.T, env []string) {
		_, problem := execute(t, 1, env, "", "user", "list")
		require.NotContains(t, problem, "panic", "only init creates tables")
		lost, _ := execute(t, 0, env, "", "init", "root")
		_, problem = execute(t, 4, env, "yes\n", "recover", "root")
		require.Contains(t, problem, "-yes")
		found, _ := execute(t, 0, env, "", "recover", "root", "-yes")
		require.NotEqual(t, lost, found)
		out, _ := execute(t, 0, env, lost, "key", "find-leaked", "-revoke", "-json")
		require.Contains(t, out, `"unknown"`, "the lost key is gone")
		out, _ = execute(t, 0, env, found, "key", "find-leaked", "-revoke", "-json")
		require.Contains(t, out, `"revoked"`, "the new one works")
	})
}

func TestHelpNeedsNoDatabaseAndCreatesNone(t *testing.T) {
	t.Parallel()
	out, _ := execute(t, 0, nil, "", "help")
	require.Contains(t, out, "sallyport help <command>")
	env := newSQLite(t)
	for _, args := range [][]string{{"init", "-h"}, {"help", "init"}} {
		execute(t, 0, env, "", args...)
	}
	execute(t, 2, env, "", "init")
	execute(t, 1, env, "", "user", "list")
	require.NoFileExists(t, strings.TrimPrefix(env[0], "SALLYPORT_DSN=file:"))
	execute(t, 0, env, "", "init", "root")
	info, err := os.Stat(strings.TrimPrefix(env[0], "SALLYPORT_DSN=file:"))
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())
}

func TestThePasswordOfTheDatabaseIsInNoError(t *testing.T) {
	t.Parallel()
	const password = "canary-password"
	for _, dsn := range []string{
		"postgres://app:" + password + "@127.0.0.1:1/app",
		"postgres://app:" + password + "@127.0.0.1:port/app",
		"postgres://app:" + password + "@[::1/app?x=%zz",
		"app:" + password + "@tcp(127.0.0.1:1)/app",
		"app:" + password + "@tcp(127.0.0.1:1)",
		"app:" + password + "@tcp(127.0.0.1:1)/app?timeout=x",
		"app:" + password + "@db.example.com",
	} {
		for _, args := range [][]string{{"user", "list"}, {"doctor"}, {"doctor", "-json"}} {
			code := 1
			if args[0] == "doctor" {
				code = 3
			}
			out, problem := execute(t, code, []string{"SALLYPORT_DSN=" + dsn}, "", args...)
			require.NotContains(t, out+problem, password, dsn)
		}
	}
}

// A new database would hide the users of the old one, so doctor names init only if there are no tables.
func TestDoctorNamesInitOnlyForANewDatabase(t *testing.T) {
	t.Parallel()
	onDatabases(t, func(t *testing.T, env []string) {
		out, _ := execute(t, 3, env, "", "doctor")
		require.Contains(t, out, "For a new service, 'sallyport init' makes the")
		require.Contains(t, out, "\n\tMake the change that the error names.\n")
	})
	for _, dsn := range []string{"postgres://app@127.0.0.1:1/app", "app@tcp(127.0.0.1:1)/app"} {
		out, _ := execute(t, 3, []string{"SALLYPORT_DSN=" + dsn}, "", "doctor")
		require.Contains(t, out, "\n\tCheck the server, the network and the data source name.\n")
		require.NotContains(t, out, "init")
		require.NotContains(t, out, "?", "a line break of an error")
		require.Equal(t, 2, strings.Count(out, "\n"), out)
	}
}

func TestAServerThatIsStuckDoesNotKeepTheOperatorWaiting(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections, and never answers
	require.NoError(t, err)
	defer listener.Close()
	address := listener.Addr().String()
	for driver, dsn := range map[string]string{
		"pgx": "postgres://app@" + address + "/app", "mysql": "app@tcp(" + address + ")/app",
	} {
		db, err := sql.Open(driver, dsn)
		require.NoError(t, err)
		defer db.Close()
		err = connect(t.Context(), db, 10*time.Millisecond)
		require.ErrorContains(t, err, "connect to the database: no answer in 10ms: ", driver)
		require.ErrorIs(t, err, context.DeadlineExceeded, "doctor then says: check the server")
	}
}

func TestKeysOfSallyportWorkInAServiceWithPeppers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	pepper := make([]byte, 32)
	rand.Read(pepper)
	dsn := "file:" + filepath.Join(dir, "app.db")
	write := func(peppers string) []string {
		return []string{"SALLYPORT_CONFIG=" + file("sallyport.json", `{"dsn_file":"`+file("dsn", dsn+"\n")+
			`","access_secret_prefix":"shop_secret","access_key_prefix":"shop_key","peppers":`+peppers+`}`)}
	}
	text := base64.StdEncoding.EncodeToString(pepper) + "\n"
	env := write(`[{"id":"2026","file":"` + file("pepper", text) + `"}]`)
	out, _ := execute(t, 0, env, "", "init", "root", "-json")
	var made struct {
		AccessKey    string `json:"access_key"`
		AccessSecret string `json:"access_secret"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &made))
	execute(t, 0, env, "", "doctor")

	// The service of the host has the same pepper.
	key, err := auth.NewSymmetricKey("2026", pepper)
	require.NoError(t, err)
	opened, db, err := open(t.Context(), config{DSN: dsn, AccessSecretPrefix: "shop_secret",
		AccessKeyPrefix: "shop_key", Peppers: []keyFile{{ID: key.Info().ID, File: filepath.Join(dir,
			"pepper")}}}, false)
	require.NoError(t, err)
	defer db.Close()
	_, err = opened.Service.Login(t.Context(), auth.KeyPair{AccessKey: made.AccessKey,
		AccessSecret: auth.NewSecret(made.AccessSecret)}, auth.LoginOptions{})
	require.NoError(t, err)

	// Without the pepper, a leaked secret cannot be checked, and doctor says why.
	env = write(`[]`)
	_, problem := execute(t, 1, env, made.AccessSecret, "key", "find-leaked", "-revoke")
	require.Contains(t, problem, `"2026"`)
	require.NotContains(t, problem, made.AccessSecret)
	found, _ := execute(t, 3, env, "", "doctor")
	require.Contains(t, found, `the pepper with the ID "2026"`)
}

// With the file of package keyfile, sallyport makes keys that work in the service, and doctor knows the ages
// of the keys.
func TestOneFileHasAllKeysOfTheService(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	database := filepath.Join(dir, "quickstart.db")
	keys, err := keyfile.ReadOrCreate(database+".keys", nil)
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```json\n(.*?)}\n```").FindAllStringSubmatch(commandLinePage(t), -1)
	ofThePage := strings.ReplaceAll(blocks[len(blocks)-1][1], "quickstart.db", database)
	write := func(more string) []string {
		path := filepath.Join(dir, "sallyport.json")
		require.NoError(t, os.WriteFile(path, []byte(ofThePage+more+"}"), 0o600))
		return []string{"SALLYPORT_CONFIG=" + path}
	}
	env := write("")
	out, _ := execute(t, 0, env, "", "init", "root", "-json")
	var made struct {
		AccessKey    string `json:"access_key"`
		AccessSecret string `json:"access_secret"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &made))
	db, err := sqlstore.OpenFile("sqlite", database)
	require.NoError(t, err)
	defer db.Close()
	store, err := sqlstore.Open(t.Context(), db, sqlstore.Config{Dialect: sqlstore.SQLite})
	require.NoError(t, err)
	svc, err := auth.New(store, auth.Config{Issuer: "https://example.com", SigningKeys: keys.Signing,
		Credentials: auth.CredentialConfig{Peppers: keys.Peppers}, Proxies: auth.NoProxies()})
	require.NoError(t, err)
	_, err = svc.Login(t.Context(), auth.KeyPair{AccessKey: made.AccessKey,
		AccessSecret: auth.NewSecret(made.AccessSecret)}, auth.LoginOptions{})
	require.NoError(t, err)

	execute(t, 0, env, "", "doctor")
	content, err := os.ReadFile(database + ".keys")
	require.NoError(t, err)
	old := regexp.MustCompile(`"created_at": "20\d\d`).ReplaceAll(content, []byte(`"created_at": "2020`))
	require.NoError(t, os.WriteFile(database+".keys", old, 0o600))
	found, _ := execute(t, 3, env, "", "doctor")
	require.Contains(t, found, "signing-keys: The signing key "+keys.Signing[0].ID()+" is in use")
	require.Contains(t, found, "sealing-keys: The sealing key "+keys.Sealing[0].Info().ID+" is in use")

	_, problem := execute(t, 1, write(`,"peppers":[{"none":true}]`), "", "user", "list")
	require.Contains(t, problem, "keys_file has all keys")
}

func TestAWrongConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	for text, problem := range map[string]string{
		`{"dsn":"file:a.db","peper":[]}`:     `unknown field "peper"`,
		`{}`:                                 "exactly one of dsn and dsn_file",
		`{"dsn":"file:a.db","dsn_file":"b"}`: "exactly one of dsn and dsn_file",
		`{"dsn":"app.db"}`:                   "must begin with file:",
		`{"dsn":"file:missing.db"}`:          "/missing.db: correct the data source name",
		`not JSON`:                           "invalid character",
	} {
		path := filepath.Join(t.TempDir(), "sallyport.json")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, got := execute(t, 1, []string{"SALLYPORT_CONFIG=" + path}, "", "user", "list")
		require.Contains(t, got, problem, text)
	}
	_, got := execute(t, 1, nil, "", "user", "list")
	require.Contains(t, got, "set SALLYPORT_DSN")
	_, got = execute(t, 1, []string{"SALLYPORT_DSN=file:a.db", "SALLYPORT_CONFIG=b"}, "", "user", "list")
	require.Contains(t, got, "both set")
}
