package sqlstore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/sqlstore"
	"github.com/sallyport-go/auth/storekit"
)

// A batch of several calls has statements of its own: conditions with several IDs, and statements that
// insert or update several rows. Each of their texts must have a plan that uses indexes.
func TestNoStatementOfABatchReadsAWholeTable(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, on *server) {
		t.Run("users", func(t *testing.T) {
			stores, s := twoStores(t, on, sqlstore.Open)
			requirePlansOfBatches(t, on, s, stores[1])
		})
		t.Run("accounts", func(t *testing.T) {
			stores, s := twoStores(t, on, sqlstore.OpenAccounts)
			requirePlansOfBatches(t, on, s, stores[1])
		})
	})
}

// accountBatches is the part of a store whose calls run in batches.
type accountBatches interface {
	batchStore
	auth.CredentialStore
}

// batchTexts are parts of the statements of batches. Each must occur in a statement that the test has
// seen. If not, the calls did not run in batches.
var batchTexts = map[sqlstore.Dialect][]string{
	sqlstore.Postgres: {"k.id = ANY (", "s.id = ANY (", "WHERE id = ANY (", "session_id = ANY (",
		"expires_at, user_agent, address, generation, scopes, audience) SELECT * FROM unnest(",
		"AS v (id, value)", "WITH ORDINALITY AS v"},
	sqlstore.MySQL:  listTexts,
	sqlstore.SQLite: listTexts,
}

var listTexts = []string{"k.id" + in(8), "k.id" + in(64), "s.id" + in(8), "s.id" + in(64),
	"session_id" + in(8), "session_id" + in(64), "WHERE id" + in(8), "WHERE id" + in(64),
	"CASE id" + strings.Repeat(" WHEN ? THEN ?", 2), "CASE id" + strings.Repeat(" WHEN ? THEN ?", 64),
	"(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	"(?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?)"}

func in(n int) string { return " IN (?" + strings.Repeat(", ?", n-1) + ")" }

// requirePlansOfBatches fills the tables, runs batches, and checks the plan of each statement.
func requirePlansOfBatches(t *testing.T, on *server, s *stage, store accountBatches) {
	t.Helper()
	dialect := sqlstore.SQLite
	if on != nil {
		dialect = on.dialect
	}
	s.fill(t, dialect)
	arguments := map[string][]any{} // by statement
	for _, calls := range []int{2, 64} {
		s.runBatches(t, store, calls, func() { s.noteArguments(arguments) })
	}
	var all strings.Builder
	for statement, args := range arguments {
		all.WriteString(statement + "\n")
		if readsRows(dialect, statement) && !strings.Contains(statement, s.prefix+"locks") {
			explains[dialect](t, s.db, statement, args)
		}
	}
	for _, text := range batchTexts[dialect] {
		require.True(t, strings.Contains(all.String(), text), "no statement contains %s", text)
	}
}

// readsRows reports whether the statement can read rows of a table. On MariaDB, an INSERT with values
// has no plan.
func readsRows(dialect sqlstore.Dialect, statement string) bool {
	switch verb, _, _ := strings.Cut(statement, " "); verb {
	case "SELECT", "UPDATE", "DELETE", "WITH":
		return true
	case "INSERT":
		return dialect != sqlstore.MySQL
	default:
		return false
	}
}

// runBatches runs batches of the given number of calls with records of fill, and calls note after each
// batch. Each call of runBatches needs other records, so it uses those with numbers from 200 * calls.
func (s *stage) runBatches(t *testing.T, store accountBatches, calls int, note func()) {
	t.Helper()
	run := func(busy func() error, batch []func() error) {
		require.NoError(t, errors.Join(runBatch(t, s.spy, store, busy, nil, batch...)...))
		note()
	}
	enter := func(id string, n int) func() error {
		session := newSession(id, fmt.Sprint("u", n), fmt.Sprint("k", n))
		session.CreatedAt = now.Add(storekit.KeyUsePrecision)
		return signIn(store, session, 0)
	}
	leave := func(id string) func() error {
		session, err := store.FindSession(background, id)
		require.NoError(t, err, id)
		return signOut(store, claimsOf(session))
	}
	busy, one, another := 200*calls, 200*calls+100, 200*calls+101
	var reads, signIns, more, ofMany, ofOne, ofAnother []func() error
	for i := 1; i <= calls; i++ {
		n := busy + i
		reads = append(reads, findKey(store, fmt.Sprint("k", n)))
		signIns = append(signIns, enter(fmt.Sprint("in-", n), n))
		more = append(more, enter(fmt.Sprint("one-", n), one), enter(fmt.Sprint("another-", n), another))
		ofMany = append(ofMany, leave(fmt.Sprint("s", n)))
	}
	require.NoError(t, errors.Join(runReads(t, s.spy, store, reads[0], reads...)...))
	note()
	run(enter(fmt.Sprint("busy-", busy), busy), signIns)
	run(enter(fmt.Sprint("busy-more-", busy), busy), more)
	run(leave(fmt.Sprint("s", busy)), ofMany)
	for i := 1; i <= calls; i++ {
		ofOne = append(ofOne, leave(fmt.Sprint("one-", busy+i)))
		ofAnother = append(ofAnother, leave(fmt.Sprint("another-", busy+i)))
	}
	run(leave(fmt.Sprint("busy-", busy)), ofOne)
	// The session is missing. So its call runs in a transaction that only calls of its user can join.
	run(signOut(store, auth.SessionClaims{UserID: fmt.Sprint("u", another), SessionID: "none",
		ExpiresAt: now.Add(time.Hour)}), ofAnother)
}

func findKey(store auth.CredentialStore, id string) func() error {
	return func() error { _, _, err := store.FindKey(background, id); return err }
}
