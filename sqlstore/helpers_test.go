package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
	"github.com/sallyport-go/auth/storekit"
)

// recommended are the settings that the documentation of the package recommends. With impatient,
// SQLite does not wait for locks or for the disk, so only the store waits for locks.
const (
	recommended = "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)"
	impatient   = "?_pragma=synchronous(NORMAL)&_pragma=busy_timeout(0)"
)

var now = time.Date(2030, 1, 2, 3, 4, 5, 678901000, time.UTC)

// byHost is a write of the host, without an event. The time of the write is the variable now.
var byHost = auth.Write{By: auth.ByHost("test"), Now: func() time.Time { return now },
	MaxTokenLifetime: time.Hour}

// bySession returns a write like byHost, but with an event. The session is the authority of the
// write.
func bySession(session, userID string) auth.Write {
	w := byHost
	w.By = auth.Authority{SessionID: session, UserID: userID, SuperUser: true, MaxAge: time.Hour}
	w.Event = auth.Event{Kind: "test", ActorID: userID, SessionID: session}
	w.Deliver = true
	return w
}

// newFile returns the path of a file that does not exist yet.
func newFile(t testing.TB) string {
	return filepath.Join(testenv.TempDir(t), "auth.db")
}

// openDB opens a separate pool on the file.
func openDB(t testing.TB, file, settings string) *sql.DB {
	return openSpied(t, "file:"+file+settings, nil)
}

// openMemory opens an empty database in memory.
func openMemory(t testing.TB, s *spy) *sql.DB {
	db := openSpied(t, ":memory:", s)
	db.SetMaxOpenConns(1)
	return db
}

// openSpied opens a pool whose statements pass through the spy. The spy may be nil.
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

// config has a long timeout, because the machine may be busy. Tests of the timeout use another
// configuration.
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
	return auth.User{ID: id, Username: "Name of " + id, Email: id + "@example.com", IsActive: true,
		CreatedAt: now}
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

// seed adds the super users "ada" and "eve". The keys of "ada" are "k-ada" and "k-old". The key
// "k-old" expires in two hours, and its previous secret works for one hour. Each of the two keys has
// opened a session of one hour: "s-ada" and "s-old". The key of "eve" is "k-eve". It has opened the
// session "s-eve" of three hours. seed also calls functions that add more.
func seed(t testing.TB, store *sqlstore.Store) {
	seedAccounts(t, store)
	seedGitHub(t, store)
	seedClients(t, store)
	seedDevices(t, store)
}

func seedAccounts(t testing.TB, store *sqlstore.Store) {
	ctx := context.Background()
	old := newKey("k-old", "ada")
	old.ExpiresAt = now.Add(2 * time.Hour)
	old.PreviousHash, old.PreviousUntil = "older", now.Add(time.Hour)
	for _, name := range []string{"ada", "eve"} {
		user := newUser(name)
		user.IsSuperUser = true
		require.NoError(t, store.Register(ctx, byHost, user, newKey("k-"+name, name)))
	}
	for _, name := range []string{"Earlier Eve", newUser("eve").Username} { // eve has retired a username
		_, err := store.UpdateUser(ctx, byHost, "eve", auth.UserChange{Username: &name})
		require.NoError(t, err)
	}
	w := byHost // only this write has an event
	w.Event, w.Deliver = auth.Event{Kind: "test", ActorID: "ada"}, true
	require.NoError(t, store.AddKey(ctx, w, old))
	for _, name := range []string{"ada", "old"} {
		_, _, err := store.CreateSession(ctx, newSession("s-"+name, "ada", "k-"+name), 0)
		require.NoError(t, err)
	}
	long := newSession("s-eve", "eve", "k-eve")
	long.ExpiresAt = now.Add(3 * time.Hour)
	_, _, err := store.CreateSession(ctx, long, 0)
	require.NoError(t, err)
}

// verb is a call of one method of the store. The call succeeds if the store contains only the
// records that seed adds.
type verb struct {
	name   string
	writes bool
	call   func(context.Context, *sqlstore.Store) error
}

func verbs() []verb {
	all := slices.Concat(githubVerbs(), storeVerbs(), listVerbs(), eventVerbs(), clientVerbs(), deviceVerbs())
	all = append(all, lastingVerbs(byHost)...)
	for _, v := range lastingVerbs(bySession("s-eve", "eve")) {
		v.name += " by a session"
		all = append(all, v)
	}
	return append(all, verb{"DeleteUser of oneself", true,
		func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.DeleteUser(ctx, bySession("s-ada", "ada"), "ada")
			return err
		}})
}

// lastingVerbs are calls of the methods that take an [auth.Write].
func lastingVerbs(w auth.Write) []verb {
	disable := auth.UserChange{IsActive: new(bool), IsSuperUser: new(bool)}
	return append(lastingGitHubVerbs(w), []verb{
		{"Register", true, func(ctx context.Context, s *sqlstore.Store) error {
			return s.Register(ctx, w, newUser("bob"), newKey("k-bob", "bob"))
		}},
		{"RegisterUsers", true, func(ctx context.Context, s *sqlstore.Store) error {
			var list []auth.UserWithKeys
			for _, id := range []string{"bob", "dan", "ivy"} {
				keys := []auth.AccessKey{newKey("k-"+id, id)}
				list = append(list, auth.UserWithKeys{User: newUser(id), Keys: keys})
			}
			refusals, err := s.RegisterUsers(ctx, w, list)
			return errors.Join(append(refusals, err)...)
		}},
		{"RegisterUsers of some who are refused", true, func(ctx context.Context, s *sqlstore.Store) error {
			// The third user has the username of the first and the key of the second.
			list := people(4, "listed-")
			list[1].User.Username, list[2].User.Username = "NAME OF ADA", list[0].User.Username
			list[2].Keys[0].ID = list[1].Keys[0].ID
			refusals, err := s.RegisterUsers(ctx, w, list)
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
			return s.Bootstrap(ctx, w, bob, newKey("k-bob", "bob"))
		}},
		{"UpdateUser", true, func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.UpdateUser(ctx, w, "ada", disable)
			return err
		}},
		{"UpdateUser that renames", true, func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.UpdateUser(ctx, w, "ada", auth.UserChange{Username: new("New"), Email: new("x@y.z")})
			return err
		}},
		{"ResetUser", true, func(ctx context.Context, s *sqlstore.Store) error {
			_, _, err := s.ResetUser(ctx, w, "ada", disable, newKey("k-new", "ada"))
			return err
		}},
		{"RotateKey", true, func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.RotateKey(ctx, w, "k-ada", auth.KeyRotation{Hash: "new", Overlap: time.Hour})
			return err
		}},
		{"SetKeyScopes", true, func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.SetKeyScopes(ctx, w, "k-ada", auth.NewScopes("a"))
			return err
		}},
		{"DeleteUser", true, func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.DeleteUser(ctx, w, "ada")
			return err
		}},
		{"RevokeUserSessions", true, func(ctx context.Context, s *sqlstore.Store) error {
			return expect(2)(s.RevokeUserSessions(ctx, w, "ada"))
		}},
		{"RevokeOtherSessions", true, func(ctx context.Context, s *sqlstore.Store) error {
			own := bySession("s-ada", "ada")
			own.By.SuperUser, own.Event, own.Deliver = false, auth.Event{Kind: w.Event.Kind}, w.Deliver
			_, err := s.RevokeOtherSessions(ctx, own)
			return err
		}},
		{"AddKey", true, func(ctx context.Context, s *sqlstore.Store) error { return s.AddKey(ctx, w, newKey("k-new", "ada")) }},
		{"RevokeKey", true, func(ctx context.Context, s *sqlstore.Store) error { return s.RevokeKey(ctx, w, "k-ada") }},
		{"RevokeSession", true, func(ctx context.Context, s *sqlstore.Store) error { return s.RevokeSession(ctx, w, "s-ada") }},
		{"RevokeEverybody", true, func(ctx context.Context, s *sqlstore.Store) error { return s.RevokeEverybody(ctx, w, 0) }},
	}...)
}

func storeVerbs() []verb {
	return []verb{
		{"ExtendSession", true, func(ctx context.Context, s *sqlstore.Store) error {
			_, _, err := s.ExtendSession(ctx, bySession("s-ada", "ada"), now.Add(5*time.Hour))
			return err
		}},
		{"ListKeys", false, func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.ListKeys(ctx, "ada")
			return err
		}},
		{"ListAllKeys", false, func(ctx context.Context, s *sqlstore.Store) error {
			keys, err := s.ListAllKeys(ctx, "k-ada", 10)
			return expect(2)(len(keys), err)
		}},
		{"ListExpiringKeys", false, func(ctx context.Context, s *sqlstore.Store) error {
			keys, err := s.ListExpiringKeys(ctx, now.Add(90*time.Minute), time.Hour, 10)
			return expect(1)(len(keys), err)
		}},
		{"RecordExpiryNotice", true, func(ctx context.Context, s *sqlstore.Store) error {
			later := byHost
			later.Now = func() time.Time { return now.Add(90 * time.Minute) }
			return s.RecordExpiryNotice(ctx, later, "k-old", time.Hour)
		}},
		{"TouchKey", true, func(ctx context.Context, s *sqlstore.Store) error {
			return s.TouchKey(ctx, "k-ada", now.Add(storekit.KeyUsePrecision))
		}},
		// The limit is one session, so the new session replaces the others.
		{"CreateSession", true, func(ctx context.Context, s *sqlstore.Store) error {
			_, _, err := s.CreateSession(ctx, newSession("s-only", "ada", "k-ada"), 1)
			return err
		}},
		{"ListSessions", false, func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.ListSessions(ctx, "ada", now)
			return err
		}},
		{"SwapHash", true, func(ctx context.Context, s *sqlstore.Store) error {
			return s.SwapHash(ctx, "k-ada", "hash", "another")
		}},
		{"CreateSession", true, func(ctx context.Context, s *sqlstore.Store) error {
			_, _, err := s.CreateSession(ctx, newSession("s-new", "ada", "k-ada"), 0)
			return err
		}},
		{"PruneKeys", true, func(ctx context.Context, s *sqlstore.Store) error {
			return expect(1)(s.PruneKeys(ctx, now.Add(2*time.Hour), 10))
		}},
		{"PrunePreviousHashes", true, func(ctx context.Context, s *sqlstore.Store) error {
			return expect(1)(s.PrunePreviousHashes(ctx, now.Add(time.Hour), 10))
		}},
		{"PruneSessions", true, func(ctx context.Context, s *sqlstore.Store) error {
			return expect(2)(s.PruneSessions(ctx, now.Add(time.Hour), 10))
		}},
		{"PruneRevocations", true, func(ctx context.Context, s *sqlstore.Store) error {
			return expect(0)(s.PruneRevocations(ctx, now.Add(time.Hour), 10)) // the newest entries stay
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
		{"RevokeToken", true, func(ctx context.Context, s *sqlstore.Store) error {
			return s.RevokeToken(ctx, auth.SessionClaims{UserID: "ada", SessionID: "s-ada",
				ExpiresAt: now.Add(time.Hour)})
		}},
		{"RevokeToken of a session that is missing", true,
			func(ctx context.Context, s *sqlstore.Store) error {
				return s.RevokeToken(ctx, auth.SessionClaims{UserID: "bob", SessionID: "s-bob",
					ExpiresAt: now.Add(time.Hour)})
			}},
		{"RevocationHead", false, func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.RevocationHead(ctx)
			return err
		}},
		{"ListRetiredUsernames", false, func(ctx context.Context, s *sqlstore.Store) error {
			names, err := s.ListRetiredUsernames(ctx, "eve")
			return expect(1)(len(names), err)
		}},
		{"PruneRetiredUsernames", true, func(ctx context.Context, s *sqlstore.Store) error {
			return expect(1)(s.PruneRetiredUsernames(ctx, now, 10))
		}},
	}
}

func expect[T comparable](want T) func(T, error) error {
	return func(got T, err error) error {
		if err == nil && got != want {
			return fmt.Errorf("%v, not %v", got, want)
		}
		return err
	}
}

// requireNoAnswer fails the test unless the error is a failure of the store. An error that the
// contract of a store defines is no failure.
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

// column returns the values of a query with a single column.
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

// tables returns the names of the tables and indexes.
func tables(t testing.TB, db *sql.DB) []string {
	return column(t, db, `SELECT name FROM sqlite_master ORDER BY name`)
}

// requireNoTransaction begins a transaction on each connection of the pool. This fails if the
// connection has an open transaction.
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
