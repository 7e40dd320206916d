package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
)

// clock returns the time of byHost.
func clock() time.Time { return now }

// authorityOfEve returns the authority of the session "s-eve". Its user is a super user.
func authorityOfEve() auth.Authority { return bySession("s-eve", "eve").By }

// levels returns the isolation levels that a host may choose. SQLite has only one.
func levels(on *server) []sql.IsolationLevel {
	if on == nil {
		return []sql.IsolationLevel{sql.LevelDefault}
	}
	return []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable}
}

// ends are calls that end the authority of the session "s-eve". The field want is the error that
// HoldAuthority then returns.
var ends = []struct {
	name string
	call func(context.Context, *sqlstore.Store) error
	want error
}{
	{"RevokeSession", func(ctx context.Context, s *sqlstore.Store) error { return s.RevokeSession(ctx, byHost, "s-eve") }, auth.ErrTokenRejected},
	{"RevokeToken", func(ctx context.Context, s *sqlstore.Store) error {
		return s.RevokeToken(ctx, auth.SessionClaims{UserID: "eve", SessionID: "s-eve",
			ExpiresAt: now.Add(time.Hour)})
	}, auth.ErrTokenRejected},
	{"RevokeKey", func(ctx context.Context, s *sqlstore.Store) error { return s.RevokeKey(ctx, byHost, "k-eve") }, auth.ErrTokenRejected},
	{"SetKeyScopes", func(ctx context.Context, s *sqlstore.Store) error {
		_, err := s.SetKeyScopes(ctx, byHost, "k-eve", auth.NewScopes("a"))
		return err
	}, auth.ErrTokenRejected},
	{"RevokeUserSessions", func(ctx context.Context, s *sqlstore.Store) error {
		_, err := s.RevokeUserSessions(ctx, byHost, "eve")
		return err
	}, auth.ErrTokenRejected},
	{"RevokeEverybody", func(ctx context.Context, s *sqlstore.Store) error { return s.RevokeEverybody(ctx, byHost, 0) }, auth.ErrTokenRejected},
	{"UpdateUser that disables", func(ctx context.Context, s *sqlstore.Store) error {
		_, err := s.UpdateUser(ctx, byHost, "eve", auth.UserChange{IsActive: new(bool)})
		return err
	}, auth.ErrTokenRejected},
	{"UpdateUser that demotes", func(ctx context.Context, s *sqlstore.Store) error {
		_, err := s.UpdateUser(ctx, byHost, "eve", auth.UserChange{IsSuperUser: new(bool)})
		return err
	}, auth.ErrSuperUserRequired},
	{"ResetUser", func(ctx context.Context, s *sqlstore.Store) error {
		_, _, err := s.ResetUser(ctx, byHost, "eve", auth.UserChange{}, newKey("k-new", "eve"))
		return err
	}, auth.ErrTokenRejected},
	{"DeleteUser", func(ctx context.Context, s *sqlstore.Store) error {
		_, err := s.DeleteUser(ctx, byHost, "eve")
		return err
	}, auth.ErrTokenRejected},
}

// eachEnd runs the test for each call in ends and for each isolation level. The parameter n is the
// index in ends. The parameters store and host are two instances on the same tables. The pool of
// host also begins the transactions of the host.
func eachEnd(
	t *testing.T, test func(t *testing.T, store *sqlstore.Store, host *stage, level sql.IsolationLevel,
		n int),
) {
	onAll(t, func(t *testing.T, on *server) {
		for _, level := range levels(on) {
			t.Run(level.String(), func(t *testing.T) {
				t.Parallel()
				stores, host := twoStores(t, on, sqlstore.Open)
				host.store = stores[1]
				_, err := host.db.Exec(`CREATE TABLE ` + host.prefix + `host (id INTEGER NOT NULL PRIMARY KEY)`)
				require.NoError(t, err)
				for n, end := range ends {
					t.Run(end.name, func(t *testing.T) {
						host.seeded(t)
						_, err := host.db.Exec(`DELETE FROM ` + host.prefix + `host`)
						require.NoError(t, err)
						test(t, stores[0], host, level, n)
					})
				}
			})
		}
	})
}

func (s *stage) begin(t *testing.T, level sql.IsolationLevel) *sql.Tx {
	t.Helper()
	tx, err := s.db.BeginTx(context.Background(), &sql.TxOptions{Isolation: level})
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	return tx
}

func (s *stage) write(tx *sql.Tx) error {
	_, err := tx.Exec(`INSERT INTO ` + s.prefix + `host (id) VALUES (1)`)
	return err
}

func TestRevocationWaitsForHostTransaction(t *testing.T) {
	t.Parallel()
	eachEnd(t, func(t *testing.T, store *sqlstore.Store, host *stage, level sql.IsolationLevel, n int) {
		ctx := context.Background()
		tx := host.begin(t, level)
		require.NoError(t, host.store.HoldAuthority(ctx, tx, authorityOfEve(), clock))
		var ended atomic.Bool
		done := make(chan error)
		go func() {
			err := ends[n].call(ctx, store)
			ended.Store(true)
			done <- err
		}()
		soon, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
		defer cancel()
		require.Error(t, ends[n].call(soon, store), "the revocation must wait")
		require.NoError(t, host.write(tx))
		require.False(t, ended.Load())
		require.NoError(t, tx.Commit())
		require.NoError(t, <-done)
	})
}

func TestHoldAuthorityFailsAfterRevocation(t *testing.T) {
	t.Parallel()
	eachEnd(t, func(t *testing.T, store *sqlstore.Store, host *stage, level sql.IsolationLevel, n int) {
		ctx := context.Background()
		early := host.begin(t, level)
		// If the transaction is not READ COMMITTED, it continues to see the rows as they are now.
		var users int
		require.NoError(t, early.QueryRow(`SELECT COUNT(*) FROM `+host.prefix+`users WHERE id = 'nobody'`).Scan(&users))
		require.NoError(t, ends[n].call(ctx, store))

		err := host.store.HoldAuthority(ctx, early, authorityOfEve(), clock)
		require.Error(t, err)
		if level == sql.LevelReadCommitted {
			require.ErrorIs(t, err, ends[n].want)
		}
		require.NoError(t, early.Rollback())
		late := host.begin(t, level)
		require.ErrorIs(t, host.store.HoldAuthority(ctx, late, authorityOfEve(), clock), ends[n].want)
		require.NoError(t, late.Rollback())
	})
}

// A revocation has taken its locks and not yet committed when the host calls HoldAuthority.
// HoldAuthority must not use the rows that the transaction of the host saw before HoldAuthority
// waited.
func TestHoldAuthorityThatWaitsForRevocationFails(t *testing.T) {
	t.Parallel()
	eachEnd(t, func(t *testing.T, store *sqlstore.Store, host *stage, level sql.IsolationLevel, n int) {
		ctx := context.Background()
		tx, asked := host.begin(t, level), make(chan error, 1)
		host.spy.watch(func(_ context.Context, statement string) error {
			if statement == "COMMIT" {
				host.spy.watch(nil)
				go func() { asked <- host.store.HoldAuthority(ctx, tx, authorityOfEve(), clock) }()
				// Give HoldAuthority time to begin to wait. If HoldAuthority begins later, its
				// error must be the same.
				time.Sleep(20 * time.Millisecond)
			}
			return nil
		})
		require.NoError(t, ends[n].call(ctx, store))
		err := <-asked
		require.Error(t, err)
		if level == sql.LevelReadCommitted || level == sql.LevelDefault {
			require.ErrorIs(t, err, ends[n].want)
		}
	})
}

// A host transaction and a revocation run at the same time. Either the transaction commits before
// the revocation returns, or HoldAuthority returns an error.
func TestRacingHostAndRevocationNeverLeaveALateWrite(t *testing.T) {
	t.Parallel()
	eachEnd(t, func(t *testing.T, store *sqlstore.Store, host *stage, level sql.IsolationLevel, n int) {
		ctx := context.Background()
		for range testenv.Rounds(t, testenv.Counts{Small: 1, Moderate: 3, Full: 100}) {
			host.seeded(t)
			_, err := host.db.Exec(`DELETE FROM ` + host.prefix + `host`)
			require.NoError(t, err)
			tx := host.begin(t, level)
			var revoked atomic.Bool
			var lateWrite bool
			together(t, 2, func(i int) error {
				if i == 0 {
					err := ends[n].call(ctx, store)
					revoked.Store(true)
					return err
				}
				err := host.store.HoldAuthority(ctx, tx, authorityOfEve(), clock)
				if err != nil {
					return tx.Rollback()
				}
				lateWrite = revoked.Load()
				return errors.Join(host.write(tx), tx.Commit())
			})
			require.False(t, lateWrite, "the host wrote after the revocation had returned")
			late := host.begin(t, level)
			require.ErrorIs(t, host.store.HoldAuthority(ctx, late, authorityOfEve(), clock),
				ends[n].want)
			require.NoError(t, late.Rollback())
		}
	})
}

func TestHoldAuthorityRefusesInvalidAuthorities(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		s, ctx := newStage(t), context.Background()
		_, err := s.store.UpdateUser(ctx, byHost, "ada", auth.UserChange{IsSuperUser: new(bool)})
		require.NoError(t, err)
		for id, scopes := range map[string]*auth.ScopeSet{
			"limited": auth.NewScopes("invoices:read"), "empty": auth.NewScopes(),
		} {
			limited := newSession(id, "ada", "k-ada")
			limited.Scopes = scopes
			s.open(t, limited)
		}
		later := func() time.Time { return now.Add(time.Hour) }
		ended, cancel := context.WithCancel(ctx)
		cancel()
		for _, c := range []struct {
			ctx  context.Context
			by   auth.Authority
			now  func() time.Time
			want error
		}{
			{ctx, auth.Authority{}, clock, auth.ErrInvalid},
			{ctx, authorityOfEve(), nil, auth.ErrInvalid},
			{ended, authorityOfEve(), clock, context.Canceled},
			{ctx, authorityOfEve(), later, auth.ErrSessionTooOld},
			{ctx, auth.Authority{SessionID: "s-ada", UserID: "ada"}, later, auth.ErrTokenRejected},
			{ctx, auth.Authority{SessionID: "s-ada", UserID: "ada", SuperUser: true}, clock,
				auth.ErrSuperUserRequired},
			{ctx, auth.Authority{SessionID: "s-ada", UserID: "eve"}, clock, auth.ErrTokenRejected},
			{ctx, auth.Authority{SessionID: "s-bob", UserID: "bob"}, clock, auth.ErrTokenRejected},
			{ctx, auth.Authority{SessionID: "s-ada", UserID: "ada"}, clock, nil},
			{ctx, auth.Authority{SessionID: "s-ada", UserID: "ada", Scope: "invoices:write"}, clock, nil},
			{ctx, auth.Authority{SessionID: "limited", UserID: "ada", Scope: "invoices:read"}, clock, nil},
			{ctx, auth.Authority{SessionID: "limited", UserID: "ada", Scope: "invoices:write"}, clock,
				auth.ErrInsufficientScope},
			{ctx, auth.Authority{SessionID: "empty", UserID: "ada", Scope: "invoices:read"}, clock,
				auth.ErrInsufficientScope},
			{ctx, auth.Authority{SessionID: "limited", UserID: "ada", Scope: `"`}, clock, auth.ErrInvalid},
			{ctx, auth.ByHost("billing"), clock, nil},
		} {
			tx := s.begin(t, sql.LevelDefault)
			require.ErrorIs(t, s.store.HoldAuthority(c.ctx, tx, c.by, c.now), c.want, "%+v", c.by)
			require.NoError(t, tx.Rollback())
		}
	})
}

// An Accounts has no users table. For each user, it locks a row of auth_host_users.
func TestHoldAuthorityWorksForAccounts(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, on *server) {
		stores, host := twoStores(t, on, sqlstore.OpenAccounts)
		for i, level := range levels(on) {
			ctx, user := context.Background(), fmt.Sprintf("u-%d", i)
			session := newSession("s-"+user, user, "")
			_, _, err := stores[0].CreateSession(ctx, session, 0)
			require.NoError(t, err)
			by := auth.Authority{SessionID: session.ID, UserID: user, SuperUser: true}
			tx := host.begin(t, level)
			require.NoError(t, stores[1].HoldAuthority(ctx, tx, by, clock))
			soon, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
			_, err = stores[0].RevokeUserSessions(soon, byHost, user)
			require.Error(t, err, "the revocation must wait")
			cancel()
			require.NoError(t, tx.Commit())
			_, err = stores[0].RevokeUserSessions(ctx, byHost, user)
			require.NoError(t, err)
			tx = host.begin(t, level)
			require.ErrorIs(t, stores[1].HoldAuthority(ctx, tx, by, clock), auth.ErrTokenRejected)
			require.NoError(t, tx.Rollback())
		}
	})
}

func ExampleStore_HoldAuthority() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	// Without this limit, each connection would have its own in-memory database.
	db.SetMaxOpenConns(1)
	store, err := sqlstore.Open(ctx, db, sqlstore.Config{Dialect: sqlstore.SQLite})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.ExecContext(ctx,
		`CREATE TABLE invoices (user_id TEXT, cents INTEGER)`); err != nil {
		log.Fatal(err)
	}

	// addInvoice adds an invoice on behalf of a session. addInvoice returns an error if the session
	// was revoked before the transaction commits.
	addInvoice := func(by auth.Authority, cents int) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		// This call comes before every other statement of the transaction.
		if err := store.HoldAuthority(ctx, tx, by, time.Now); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO invoices VALUES (?, ?)`, by.UserID, cents); err != nil {
			return err
		}
		return tx.Commit()
	}

	// A host calls identity.Authority() for the authority of a request. This example creates the
	// session directly.
	write := auth.Write{By: auth.ByHost("example"), Now: time.Now, MaxTokenLifetime: time.Hour}
	ada := auth.User{ID: "u1", Username: "ada", IsActive: true, CreatedAt: time.Now()}
	key := auth.AccessKey{ID: "k1", UserID: "u1", Hash: "hash", CreatedAt: time.Now()}
	session := auth.Session{
		ID: "s1", UserID: "u1", Method: auth.MethodHost, CreatedAt: time.Now(),
		ExpiresAt: time.Now().Add(time.Hour),
	}
	if err := store.Register(ctx, write, ada, key); err != nil {
		log.Fatal(err)
	}
	if _, _, err := store.CreateSession(ctx, session, 0); err != nil {
		log.Fatal(err)
	}
	by := auth.Authority{SessionID: "s1", UserID: "u1"}
	fmt.Println(addInvoice(by, 1200))
	if err := store.RevokeSession(ctx, write, "s1"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(errors.Is(addInvoice(by, 1200), auth.ErrTokenRejected))
	// Output:
	// <nil>
	// true
}
