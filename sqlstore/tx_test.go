package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/sqlstore"
)

// statementsOf returns the statements of a call on a store with the records of seed.
func statementsOf(t testing.TB, v verb) []string {
	store, _, s := spiedStore(t)
	require.NoError(t, v.call(context.Background(), store))
	return s.statements()
}

// eachStatement runs the test for each statement of each call in verbs. The parameter n is the
// position of the statement in the call, from 1. The parameter of is the number of statements in
// the call.
func eachStatement(t *testing.T, test func(t *testing.T, v verb, n, of int)) {
	for _, v := range verbs() {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			statements := statementsOf(t, v)
			for n := 1; n <= len(statements); n++ {
				// A connection that cannot roll back is discarded, and an in-memory database with it.
				if statements[n-1] != "ROLLBACK" {
					test(t, v, n, len(statements))
				}
			}
		})
	}
}

func TestReadsAreOneStatementAndWritesOneTransaction(t *testing.T) {
	t.Parallel()
	// ROLLBACK TO SAVEPOINT is allowed inside the transaction.
	const control = `^(BEGIN|START|SET TRANSACTION|COMMIT|ROLLBACK$|PRAGMA)`
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		s := newStage(t)
		for _, v := range verbs() {
			s.seeded(t)
			require.NoError(t, v.call(context.Background(), s.store))
			statements := afterRollback(s.spy.statements())
			if !v.writes {
				require.Len(t, statements, 1, v.name)
				continue
			}
			if v.name == "PollDevice" { // it reads first, so that a flood of unknown codes writes nothing
				require.Regexp(t, `^SELECT`, statements[0])
				statements = statements[1:]
			}
			// On MySQL, this statement comes before the BEGIN and applies to the next transaction.
			if strings.HasPrefix(statements[0], "SET TRANSACTION") {
				statements = statements[1:]
			}
			last := len(statements) - 1
			require.Regexp(t, `^(BEGIN|START TRANSACTION)`, statements[0], v.name)
			require.Equal(t, "COMMIT", statements[last], v.name)
			for _, statement := range statements[1:last] {
				require.NotRegexp(t, control, statement, v.name)
			}
		}
	})
}

// afterRollback returns the statements after the first ROLLBACK, or all statements if there is none.
// Some calls begin in a transaction for several calls, and find out there that they must run alone.
func afterRollback(statements []string) []string {
	return statements[slices.Index(statements, "ROLLBACK")+1:]
}

func TestSignInTakesFewStatements(t *testing.T) {
	t.Parallel()
	store, _, s := spiedStore(t)
	_, _, err := store.FindKey(context.Background(), "k-ada")
	require.NoError(t, err)
	_, _, err = store.CreateSession(context.Background(), newSession("s-new", "ada", "k-ada"), 0)
	require.NoError(t, err)
	require.Equal(t, []string{"SELECT", "BEGIN", "SELECT", "SELECT", "INSERT", "UPDATE", "COMMIT"}, s.verbs())
}

func TestNoStatementReadsAWholeTable(t *testing.T) {
	t.Parallel()
	for _, v := range verbs() {
		if v.name == "Ping" {
			// Ping reads auth_bootstrap, which has at most one row.
			continue
		}
		store, db, s := spiedStore(t)
		require.NoError(t, v.call(context.Background(), store))
		requireIndexOnSQLite(t, db, s.statements())
	}
	store, db, s := spiedStore(t)
	(&stage{store: store, db: db, spy: s, prefix: "auth_"}).nameMany(t)
	require.NoError(t, store.RevokeSession(context.Background(), byHost, "s-ada"))
	requireIndexOnSQLite(t, db, s.statements())
	store, db, s = spiedStore(t)
	listBefore(t, store)
	requireIndexOnSQLite(t, db, s.statements())
}

func requireIndexOnSQLite(t *testing.T, db *sql.DB, statements []string) {
	t.Helper()
	for _, statement := range statements {
		switch verb, _, _ := strings.Cut(statement, " "); verb {
		case "SELECT", "INSERT", "UPDATE", "DELETE":
		default:
			continue
		}
		plan := queryPlan(t, db, statement)
		plan = strings.NewReplacer("SCAN names\n", "", "SCAN emails\n", "").Replace(plan) // see search
		require.NotRegexp(t, `(?m)^SCAN \w+$`, plan, statement)
		require.NotContains(t, plan, "TEMP B-TREE", statement)
	}
}

// queryPlan returns the plan of SQLite for the statement, with one step per line.
func queryPlan(t testing.TB, db *sql.DB, statement string) string {
	rows, err := db.Query("EXPLAIN QUERY PLAN "+statement,
		make([]any, strings.Count(statement, "?"))...)
	require.NoError(t, err)
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var id, parent, unused int
		var detail string
		require.NoError(t, rows.Scan(&id, &parent, &unused, &detail))
		plan.WriteString(detail + "\n")
	}
	require.NoError(t, rows.Err())
	return plan.String()
}

func TestAStatementThatFailsLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is on fire")
	eachStatement(t, func(t *testing.T, v verb, n, of int) {
		store, db, s := spiedStore(t)
		before := dump(t, db)
		s.watch(at(n, func(context.Context) error { return broken }))

		err := v.call(context.Background(), store)
		requireNoAnswer(t, err)
		require.ErrorIs(t, err, broken)
		if v.writes && n == of {
			require.ErrorContains(t, err, "may or may not have taken effect")
		}
		s.watch(nil)
		require.Equal(t, before, dump(t, db))
		requireNoTransaction(t, db)
		require.NoError(t, v.call(context.Background(), store))
	})
}

func TestCanceledContextNeverLeavesAPartialWrite(t *testing.T) {
	t.Parallel()
	eachStatement(t, func(t *testing.T, v verb, n, of int) {
		store, db, s := spiedStore(t)
		before := dump(t, db)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		ended := at(n, func(context.Context) error { cancel(); return nil })
		inside := v.writes && !(v.name == "PollDevice" && n == 1) // it reads before its transaction
		s.watch(func(ctx context.Context, statement string) error {
			err := ended(ctx, statement)
			if inside && !strings.HasPrefix(statement, "BEGIN") && ctx.Err() != nil {
				t.Error("the driver sees the caller's context inside the transaction")
			}
			return err
		})

		err := v.call(ctx, store)
		s.watch(nil)
		requireNoTransaction(t, db)
		if v.writes && n == of { // the context ended during the COMMIT, which continued
			require.NoError(t, err)
			// The newest entries of the feed stay, and no account is forgotten.
			if v.name != "PruneRevocations" && v.name != "PruneGitHubAccounts" {
				require.NotEqual(t, before, dump(t, db))
			}
			return
		}
		require.ErrorIs(t, err, context.Canceled)
		requireNoAnswer(t, err)
		require.Equal(t, before, dump(t, db))
		require.NoError(t, v.call(context.Background(), store))
	})
}

func TestAContextThatHasEndedChangesNothing(t *testing.T) {
	t.Parallel()
	store, db, s := spiedStore(t)
	before := dump(t, db)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.watch(nil)
	for _, v := range verbs() {
		err := v.call(ctx, store)
		require.ErrorIs(t, err, context.Canceled, v.name)
		requireNoAnswer(t, err)
	}
	require.ErrorIs(t, store.Register(ctx, byHost, auth.User{}, auth.AccessKey{}), context.Canceled)
	require.ErrorIs(t, store.RevokeSession(ctx, byHost, "\x00"), context.Canceled)
	_, err := store.FindUser(ctx, "\x00")
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, s.statements())
	require.Equal(t, before, dump(t, db))
}

func TestBeginThatTookEffectButFailedIsRolledBack(t *testing.T) {
	t.Parallel()
	store, db, s := spiedStore(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.watch(func(_ context.Context, statement string) error {
		if statement != "BEGIN IMMEDIATE" {
			return nil
		}
		return afterwards(func() error { cancel(); return ctx.Err() })
	})
	require.ErrorIs(t, store.RevokeSession(ctx, byHost, "s-ada"), context.Canceled)
	s.watch(nil)
	requireNoTransaction(t, db)
	require.NoError(t, store.RevokeSession(context.Background(), byHost, "s-ada"))
}

func TestAnErrorComesWithoutARecord(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	store, _, s := spiedStore(t)
	s.watch(func(_ context.Context, statement string) error {
		if statement == "COMMIT" {
			return errors.New("broken")
		}
		return nil
	})
	user, err := store.UpdateUser(ctx, byHost, "ada", auth.UserChange{IsActive: new(bool)})
	require.Error(t, err)
	require.Zero(t, user)
	session, user, err := store.CreateSession(ctx, newSession("s-new", "ada", "k-ada"), 0)
	require.Error(t, err)
	require.Zero(t, session)
	require.Zero(t, user)
	pruned, err := store.PruneSessions(ctx, now.Add(time.Hour), 1)
	require.Error(t, err)
	require.Zero(t, pruned)
}

func TestFailedCommitIsReportedAsUnknownOutcome(t *testing.T) {
	t.Parallel()
	store, db, s := spiedStore(t)
	s.watch(func(_ context.Context, statement string) error {
		if statement != "COMMIT" {
			return nil
		}
		return afterwards(func() error { return errors.New("no reply") })
	})
	err := store.RevokeSession(context.Background(), byHost, "s-ada")
	requireNoAnswer(t, err)
	require.ErrorContains(t, err, "may or may not have taken effect: no reply")
	s.watch(nil)
	requireNoTransaction(t, db)
	require.ErrorIs(t, store.RevokeSession(context.Background(), byHost, "s-ada"), auth.ErrNotFound)
}

func TestAPanicLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	store, db, _ := spiedStore(t)
	before := dump(t, db)
	require.PanicsWithValue(t, "oops", func() {
		_ = store.Transact(context.Background(), func(ctx context.Context, conn *sql.Conn) error {
			_, err := conn.ExecContext(ctx, `DELETE FROM auth_sessions`)
			require.NoError(t, err)
			panic("oops")
		})
	})
	require.Equal(t, before, dump(t, db))
	requireNoTransaction(t, db)
	require.NoError(t, store.RevokeSession(context.Background(), byHost, "s-ada"))
}

func TestATransactionThatTakesTooLongIsRolledBack(t *testing.T) {
	t.Parallel()
	s := &spy{}
	db := openMemory(t, s)
	store, err := sqlstore.Open(context.Background(), db,
		sqlstore.Config{Dialect: sqlstore.SQLite, Timeout: 20 * time.Millisecond})
	require.NoError(t, err)
	before := dump(t, db)
	s.watch(func(ctx context.Context, statement string) error {
		if strings.HasPrefix(statement, "INSERT") {
			<-ctx.Done()
		}
		return nil
	})
	requireNoAnswer(t, store.Register(context.Background(), byHost, newUser("ada"),
		newKey("k-ada", "ada")))
	s.watch(nil)
	require.Equal(t, before, dump(t, db))
	requireNoTransaction(t, db)
}

func TestAConnectionThatCannotRollBackIsDiscarded(t *testing.T) {
	t.Parallel()
	s := &spy{}
	db := openSpied(t, "file:"+newFile(t)+recommended, s)
	store := mustOpen(t, db)
	seed(t, store)
	before, closed := dump(t, db), s.closedConns()
	broken := errors.New("broken")
	s.watch(func(_ context.Context, statement string) error {
		if strings.HasPrefix(statement, "DELETE") || statement == "ROLLBACK" || statement == "BEGIN" {
			return broken
		}
		return nil
	})
	require.ErrorIs(t, store.RevokeSession(context.Background(), byHost, "s-ada"), broken)
	s.watch(nil)
	require.Equal(t, closed+1, s.closedConns())
	require.Equal(t, before, dump(t, db))
	require.NoError(t, store.RevokeSession(context.Background(), byHost, "s-ada"))
}

func TestClosedDatabaseIsAFailureNotAnAnswer(t *testing.T) {
	t.Parallel()
	store, db, _ := spiedStore(t)
	require.NoError(t, db.Close())
	for _, v := range verbs() {
		requireNoAnswer(t, v.call(context.Background(), store))
	}
}
