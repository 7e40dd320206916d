package sqlstore_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
)

// shell runs the commands of docs/backup-and-restore.md, where the database has the name "app".
type shell struct {
	dir string
	env []string
	app string // replaces "app" in the commands
}

// block returns the commands below the marker on the page.
func (s shell) block(t *testing.T, marker string) string {
	t.Helper()
	return blockOf(t, "backup-and-restore.md", marker, "sh")
}

func blockOf(t *testing.T, page, marker, language string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../docs", page))
	require.NoError(t, err)
	_, after, found := strings.Cut(string(text), "<!-- "+marker+" -->\n```"+language+"\n")
	require.True(t, found, marker)
	commands, _, _ := strings.Cut(after, "```")
	return commands
}

// backUp runs the commands of a backup, and puts the name of the file into the variable of the shell
// that the commands of a restore use.
func (s *shell) backUp(t *testing.T, commands string) {
	t.Helper()
	s.mustRun(t, commands)
	files, err := filepath.Glob(filepath.Join(s.dir, "backup-*"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	began := regexp.MustCompile(`backup-(.*Z)\.`).FindStringSubmatch(files[0])
	require.NotNil(t, began, files[0])
	_, err = time.Parse(time.RFC3339, began[1])
	require.NoError(t, err, "the option -since of the restore has this form")
	s.env = append(s.env, "backup="+files[0])
}

// run runs commands, and returns their output and whether all of them succeeded.
func (s shell) run(t *testing.T, commands string) (output string, err error) {
	t.Helper()
	commands = regexp.MustCompile(`\bapp`).ReplaceAllString(commands, s.app)
	cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", commands)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), s.env...)
	text, err := cmd.CombinedOutput()
	return string(text), err
}

func (s shell) mustRun(t *testing.T, commands string) string {
	t.Helper()
	output, err := s.run(t, commands)
	require.NoError(t, err, "%s\n%s", commands, output)
	return output
}

func needTools(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			testenv.Skip(t, name+" is not installed")
		}
	}
}

func addUser(t *testing.T, store *sqlstore.Store, id string) {
	t.Helper()
	user := auth.User{ID: id, Username: id, IsActive: true, CreatedAt: now}
	require.NoError(t, store.Register(t.Context(), byHost, user,
		auth.AccessKey{ID: "ak-" + id, UserID: id, Hash: "hash", CreatedAt: now}))
}

func users(t *testing.T, store *sqlstore.Store) (ids []string) {
	t.Helper()
	list, err := store.ListUsers(t.Context(), auth.UserQuery{Limit: 100})
	require.NoError(t, err)
	for _, user := range list {
		ids = append(ids, user.ID)
	}
	return ids
}

// crash copies the files of an open database, as a machine that loses power leaves them.
func crash(t *testing.T, file string) string {
	t.Helper()
	dir := testenv.TempDir(t)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		text, err := os.ReadFile(file + suffix)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "app.db"+suffix), text, 0o600))
	}
	return dir
}

// crashedAfterBackup returns a directory with the files of a database after a crash, and with a
// backup that was made earlier. The backup has the user "before". The database also has the user
// "after".
func crashedAfterBackup(t *testing.T) shell {
	t.Helper()
	needTools(t, "sqlite3")
	file := filepath.Join(testenv.TempDir(t), "app.db")
	db := openDB(t, file, recommended)
	store := mustOpen(t, db)
	addUser(t, store, "before")
	open := shell{dir: filepath.Dir(file), app: "app"}
	open.backUp(t, open.block(t, "run: sqlite-backup"))
	addUser(t, store, "after")
	return shell{dir: crash(t, file), app: "app", env: open.env}
}

func TestTheDocumentedRestoreOfSQLiteRestoresTheBackup(t *testing.T) {
	t.Parallel()
	sh := crashedAfterBackup(t)
	require.Contains(t, sh.mustRun(t, sh.block(t, "run: sqlite-restore")), "ok")
	store := mustOpen(t, openDB(t, filepath.Join(sh.dir, "app.db"), recommended))
	require.Equal(t, []string{"before"}, users(t, store))
}

// The old database is the only record of the changes after the backup.
func TestASecondRestoreOfSQLiteKeepsTheOldDatabase(t *testing.T) {
	t.Parallel()
	sh := crashedAfterBackup(t)
	restore := sh.block(t, "run: sqlite-restore")
	before, err := sh.run(t, "backup=missing\n"+restore)
	require.Error(t, err, before)
	first := sh.mustRun(t, restore)
	sh.mustRun(t, restore)
	_, old, found := strings.Cut(strings.TrimSpace(first), "old database: ")
	require.True(t, found, first)
	store := mustOpen(t, openDB(t, old, recommended))
	require.ElementsMatch(t, []string{"before", "after"}, users(t, store))
}

// This test shows why the page removes the -wal file first. SQLite cannot detect that the file belongs
// to another database, because no field of a database's header is also in the header of its WAL.
func TestABackupCopiedOverADatabaseWithItsWALIsNotRestored(t *testing.T) {
	t.Parallel()
	sh := crashedAfterBackup(t)
	sh.mustRun(t, `cp "$backup" app.db`)
	store, err := open(openDB(t, filepath.Join(sh.dir, "app.db"), recommended))
	if err == nil {
		require.Contains(t, users(t, store), "after", "the changes after the backup are still there")
	}
}

// newApp returns a shell with a new, empty database on the server, and a function that opens a
// database of the server by its name in the commands.
func (s *server) newApp(t *testing.T) (sh shell, openApp func(name string) *sqlstore.Store) {
	t.Helper()
	s.need(t)
	sh = shell{dir: testenv.TempDir(t), app: s.schema + "_" + strings.ToLower(rand.Text()[:6])}
	dsn := os.Getenv(s.variable)
	switch s.dialect {
	case sqlstore.Postgres:
		needTools(t, "pg_dump", "pg_restore", "psql", "createdb")
		cfg, err := pgx.ParseConfig(dsn)
		require.NoError(t, err)
		sh.env = []string{"PGHOST=" + cfg.Host, fmt.Sprint("PGPORT=", cfg.Port), "PGUSER=" + cfg.User,
			"PGPASSWORD=" + cfg.Password}
	case sqlstore.MySQL:
		needTools(t, "mariadb", "mariadb-dump")
		cfg, err := mysql.ParseDSN(dsn)
		require.NoError(t, err)
		host, port, _ := strings.Cut(cfg.Addr, ":")
		marker := "checked by: TestTheDocumentedRestoreOnAServerRestoresTheBackup"
		options := strings.NewReplacer("db.example.com", host, "3306", port, "admin", cfg.User, "…",
			cfg.Passwd).Replace(blockOf(t, "backup-and-restore.md", marker, "ini"))
		require.NoError(t, os.WriteFile(filepath.Join(sh.dir, "client.cnf"), []byte(options), 0o600))
		sh.env = []string{"HOME=" + sh.dir, "MYSQL_HOST=other.example.com"}
	}
	require.NoError(t, s.admin("CREATE DATABASE "+sh.app))
	var open []*sql.DB
	t.Cleanup(func() {
		for _, db := range open {
			db.Close()
		}
		for _, name := range []string{sh.app, sh.app + "_restored"} {
			require.NoError(t, s.admin("DROP DATABASE IF EXISTS "+name))
		}
	})
	return sh, func(name string) *sqlstore.Store {
		db := s.database(t, dsn, strings.Replace(name, "app", sh.app, 1))
		open = append(open, db)
		store, err := sqlstore.Open(context.Background(), db, sqlstore.Config{Dialect: s.dialect})
		require.NoError(t, err)
		return store
	}
}

// database returns a pool for a database of the server.
func (s *server) database(t *testing.T, dsn, name string) *sql.DB {
	t.Helper()
	driver, source := "pgx", dsn
	switch s.dialect {
	case sqlstore.Postgres:
		source = regexp.MustCompile(`/[^/?]*(\?|$)`).ReplaceAllString(dsn, "/"+name+"$1")
	case sqlstore.MySQL:
		driver, source = "mysql", strings.Replace(dsn, "/", "/"+name, 1)
	}
	db, err := sql.Open(driver, source)
	require.NoError(t, err)
	db.SetMaxOpenConns(2)
	return db
}

func TestTheDocumentedRestoreOnAServerRestoresTheBackup(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		sh, open := on.newApp(t)
		store := open("app")
		addUser(t, store, "before")
		sh.backUp(t, sh.block(t, map[sqlstore.Dialect]string{
			sqlstore.Postgres: "run: postgres-backup", sqlstore.MySQL: "run: mysql-backup"}[on.dialect]))
		addUser(t, store, "after")
		restore := sh.block(t, map[sqlstore.Dialect]string{
			sqlstore.Postgres: "run: postgres-restore", sqlstore.MySQL: "run: mysql-restore"}[on.dialect])
		sh.mustRun(t, restore)
		require.Equal(t, []string{"before"}, users(t, open("app_restored")))
		require.Len(t, users(t, store), 2, "the old database is still there, for the list of later changes")
		_, err := sh.run(t, restore)
		require.Error(t, err, "a restore into a database that exists fails")
	})
}

// Without ON_ERROR_STOP, psql exits with 0 although most statements of the dump failed. A statement for
// an emptied table succeeds. With the commands of the page, the restore fails.
func TestAPlainDumpIntoAnExistingPostgresDatabaseRestoresOnlyDeletedRows(t *testing.T) {
	t.Parallel()
	sh, open := postgres.newApp(t)
	store := open("app")
	addUser(t, store, "before")
	sh.backUp(t, strings.ReplaceAll(strings.ReplaceAll(sh.block(t, "run: postgres-backup"),
		"--format=custom", ""), ".dump", ".sql"))
	require.NoError(t, store.RevokeKey(t.Context(), byHost, "ak-before"))
	require.Contains(t, sh.mustRun(t, `psql app < "$backup"`), "already exists")
	_, _, err := store.FindKey(t.Context(), "ak-before")
	require.NoError(t, err, "the key that was revoked after the backup works again")
	addUser(t, store, "after")
	plain := sh.block(t, "run: postgres-plain-restore")
	_, into, _ := strings.Cut(plain, "\n")
	output, err := sh.run(t, strings.ReplaceAll(into, "app_restored", "app"))
	require.Error(t, err)
	require.Contains(t, output, "already exists")
	sh.mustRun(t, plain)
	require.Equal(t, []string{"before"}, users(t, open("app_restored")))
}
