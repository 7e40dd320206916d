package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/sqlstore"
)

// recommended is what the package documentation recommends. impatient leaves all
// the waiting to the store, and does not wait for the disk.
const (
	recommended = "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)"
	impatient   = "?_pragma=synchronous(NORMAL)&_pragma=busy_timeout(0)"
)

var now = time.Date(2030, 1, 2, 3, 4, 5, 678901000, time.UTC)

func newFile(t testing.TB) string { return filepath.Join(t.TempDir(), "auth.db") }

// openDB opens a pool of its own on the file.
func openDB(t testing.TB, file, settings string) *sql.DB {
	return openSpied(t, "file:"+file+settings, nil)
}

// openMemory opens an empty database in memory.
func openMemory(t testing.TB, s *spy) *sql.DB {
	db := openSpied(t, ":memory:", s)
	db.SetMaxOpenConns(1)
	return db
}

// openSpied opens a pool whose statements all pass the spy, if there is one.
func openSpied(t testing.TB, dsn string, s *spy) *sql.DB {
	connector, err := sqlite.NewConnector(dsn)
	require.NoError(t, err)
	if s != nil {
		s.Connector = connector
		connector = s
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// config is for tests that are not about the timeout, however busy the machine.
var config = sqlstore.Config{Dialect: sqlstore.SQLite, Timeout: 5 * time.Minute}

func open(db *sql.DB) (*sqlstore.Store, error) {
	return sqlstore.Open(context.Background(), db, config)
}

func mustOpen(t testing.TB, db *sql.DB) *sqlstore.Store {
	store, err := open(db)
	require.NoError(t, err)
	return store
}

// newUser returns a user who is not a super user.
func newUser(id string) auth.User {
	return auth.User{ID: id, Username: "Name of " + id, Email: id + "@example.com", IsActive: true, CreatedAt: now}
}

func newKey(id, userID string) auth.AccessKey {
	return auth.AccessKey{ID: id, UserID: userID, Hash: "hash", CreatedAt: now}
}

func newSession(id, userID, keyID string) auth.Session {
	return auth.Session{
		ID: id, UserID: userID, Method: auth.MethodAccessKey, AccessKeyID: keyID,
		CreatedAt: now, ExpiresAt: now.Add(time.Hour),
	}
}

// seed adds the super users "ada" and "eve". Ada has the keys "k-ada" and
// "k-old", which expires in two hours, and a session of each, "s-ada" and
// "s-old", which have one hour. On top of that comes what seedGitHub adds.
func seed(t testing.TB, store *sqlstore.Store) {
	seedAccounts(t, store)
	seedGitHub(t, store)
}

func seedAccounts(t testing.TB, store *sqlstore.Store) {
	ctx := context.Background()
	old := newKey("k-old", "ada")
	old.ExpiresAt = now.Add(2 * time.Hour)
	for _, name := range []string{"ada", "eve"} {
		user := newUser(name)
		user.IsSuperUser = true
		require.NoError(t, store.Register(ctx, user, newKey("k-"+name, name)))
	}
	require.NoError(t, store.AddKey(ctx, old))
	for _, name := range []string{"ada", "old"} {
		_, _, err := store.CreateSession(ctx, newSession("s-"+name, "ada", "k-"+name), 0)
		require.NoError(t, err)
	}
}

// verb is one method of the store, called so that it succeeds in a store with
// nothing but what seed adds.
type verb struct {
	name   string
	writes bool
	call   func(context.Context, *sqlstore.Store) error
}

func verbs() []verb {
	disable := auth.UserChange{IsActive: new(bool)}
	return append(githubVerbs(), []verb{
		{"Register", true, func(ctx context.Context, s *sqlstore.Store) error {
			return s.Register(ctx, newUser("bob"), newKey("k-bob", "bob"))
		}},
		{"RegisterUsers", true, func(ctx context.Context, s *sqlstore.Store) error {
			var list []auth.UserWithKeys
			for _, id := range []string{"bob", "dan", "ivy"} {
				list = append(list, auth.UserWithKeys{User: newUser(id), Keys: []auth.AccessKey{newKey("k-"+id, id)}})
			}
			refusals, err := s.RegisterUsers(ctx, list)
			return errors.Join(append(refusals, err)...)
		}},
		{"RegisterUsers of some who are refused", true, func(ctx context.Context, s *sqlstore.Store) error {
			list := people(4, "listed-") // the third wants what the second would have had
			list[1].User.Username, list[2].User.Username = "NAME OF ADA", list[0].User.Username
			list[2].Keys[0].ID = list[1].Keys[0].ID
			refusals, err := s.RegisterUsers(ctx, list)
			if err != nil {
				return err
			}
			for i, want := range []error{nil, auth.ErrExists, auth.ErrExists, nil} {
				if !errors.Is(refusals[i], want) {
					return fmt.Errorf("%d: %v", i, refusals[i])
				}
			}
			return nil
		}},
		{"Bootstrap", true, func(ctx context.Context, s *sqlstore.Store) error {
			bob := newUser("bob")
			bob.IsSuperUser = true
			return s.Bootstrap(ctx, bob, newKey("k-bob", "bob"))
		}},
		{"UpdateUser", true, func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.UpdateUser(ctx, "ada", disable)
			return err
		}},
		{"ResetUser", true, func(ctx context.Context, s *sqlstore.Store) error {
			_, _, err := s.ResetUser(ctx, "ada", disable, newKey("k-new", "ada"))
			return err
		}},
		{"ListKeys", false, func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.ListKeys(ctx, "ada")
			return err
		}},
		{"RotateKey", true, func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.RotateKey(ctx, "k-ada", auth.KeyRotation{Hash: "new", At: now, PreviousUntil: now.Add(time.Hour)})
			return err
		}},
		{"TouchKey", true, func(ctx context.Context, s *sqlstore.Store) error {
			return s.TouchKey(ctx, "k-ada", now.Add(auth.KeyUsePrecision))
		}},
		{"CreateSession", true, func(ctx context.Context, s *sqlstore.Store) error { // in place of the others
			_, _, err := s.CreateSession(ctx, newSession("s-only", "ada", "k-ada"), 1)
			return err
		}},
		{"ListSessions", false, func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.ListSessions(ctx, "ada", now)
			return err
		}},
		{"DeleteUser", true, func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.DeleteUser(ctx, "ada")
			return err
		}},
		{"RevokeUserSessions", true, func(ctx context.Context, s *sqlstore.Store) error {
			return expect(2)(s.RevokeUserSessions(ctx, "ada", now))
		}},
		{"ListUsers", false, func(ctx context.Context, s *sqlstore.Store) error {
			users, err := s.ListUsers(ctx, "ada", 10)
			return expect(1)(len(users), err)
		}},
		{"AddKey", true, func(ctx context.Context, s *sqlstore.Store) error {
			return s.AddKey(ctx, newKey("k-new", "ada"))
		}},
		{"SwapHash", true, func(ctx context.Context, s *sqlstore.Store) error {
			return s.SwapHash(ctx, "k-ada", "hash", "another")
		}},
		{"RevokeKey", true, func(ctx context.Context, s *sqlstore.Store) error { return s.RevokeKey(ctx, "k-ada") }},
		{"CreateSession", true, func(ctx context.Context, s *sqlstore.Store) error {
			_, _, err := s.CreateSession(ctx, newSession("s-new", "ada", "k-ada"), 0)
			return err
		}},
		{"RevokeSession", true, func(ctx context.Context, s *sqlstore.Store) error { return s.RevokeSession(ctx, "s-ada") }},
		{"PruneKeys", true, func(ctx context.Context, s *sqlstore.Store) error {
			return expect(1)(s.PruneKeys(ctx, now.Add(2*time.Hour), 10))
		}},
		{"PruneSessions", true, func(ctx context.Context, s *sqlstore.Store) error {
			return expect(2)(s.PruneSessions(ctx, now.Add(time.Hour), 10))
		}},
		{"PruneRevocations", true, func(ctx context.Context, s *sqlstore.Store) error {
			return expect(0)(s.PruneRevocations(ctx, now.Add(time.Hour), 10)) // the newest stay
		}},
		{"ListRevocations", false, func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.ListRevocations(ctx, 1, 10)
			return err
		}},
		{"FindUser", false, func(ctx context.Context, s *sqlstore.Store) error { _, err := s.FindUser(ctx, "ada"); return err }},
		{"FindKey", false, func(ctx context.Context, s *sqlstore.Store) error {
			_, _, err := s.FindKey(ctx, "k-ada")
			return err
		}},
		{"FindSession", false, func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.FindSession(ctx, "s-ada")
			return err
		}},
		{"Ping", false, func(ctx context.Context, s *sqlstore.Store) error { return s.Ping(ctx) }},
	}...)
}

func expect(want int) func(int, error) error {
	return func(n int, err error) error {
		if err == nil && n != want {
			return fmt.Errorf("%d records, not %d", n, want)
		}
		return err
	}
}

// requireNoAnswer checks that the error says that the store could not answer.
func requireNoAnswer(t testing.TB, err error) {
	t.Helper()
	require.Error(t, err)
	for _, answer := range []error{
		auth.ErrNotFound, auth.ErrExists, auth.ErrInvalid, auth.ErrUserDisabled,
		auth.ErrLastSuperUser, auth.ErrLastWayIn, auth.ErrChanged, auth.ErrBootstrapped, auth.ErrInvalidCredentials,
	} {
		require.NotErrorIs(t, err, answer)
	}
}

// dump returns every row of every table of the database.
func dump(t testing.TB, db *sql.DB) []string {
	t.Helper()
	var rows []string
	for _, table := range column(t, db, `SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name`) {
		columns := column(t, db, `SELECT group_concat(quote_name, ' || '' '' || ') FROM (
			SELECT 'quote("' || name || '")' AS quote_name FROM pragma_table_info(?) ORDER BY cid)`, table)
		for _, row := range column(t, db, `SELECT `+columns[0]+` FROM "`+table+`" ORDER BY 1`) {
			rows = append(rows, table+": "+row)
		}
	}
	return rows
}

// column returns the only column of the query's rows.
func column(t testing.TB, db *sql.DB, query string, args ...any) []string {
	t.Helper()
	rows, err := db.Query(query, args...)
	require.NoError(t, err)
	defer rows.Close()
	var values []string
	for rows.Next() {
		var value string
		require.NoError(t, rows.Scan(&value))
		values = append(values, value)
	}
	require.NoError(t, rows.Err())
	return values
}

// tables returns the names of the tables and indexes that are there.
func tables(t testing.TB, db *sql.DB) []string {
	return column(t, db, `SELECT name FROM sqlite_master ORDER BY name`)
}

// requireNoTransaction checks that no connection of the pool has a transaction
// open, by beginning one on each.
func requireNoTransaction(t testing.TB, db *sql.DB) {
	t.Helper()
	ctx := context.Background()
	var conns []*sql.Conn
	for range max(db.Stats().OpenConnections, 1) {
		conn, err := db.Conn(ctx)
		require.NoError(t, err)
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		_, err := conn.ExecContext(ctx, `BEGIN`)
		require.NoError(t, err)
		_, err = conn.ExecContext(ctx, `ROLLBACK`)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}
}
