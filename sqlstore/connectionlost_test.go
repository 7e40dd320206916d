package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/sqlstore"
)

func TestVerbsCoverAllMethodsOfAStore(t *testing.T) {
	t.Parallel()
	var called []string
	for _, v := range verbs() {
		name, _, _ := strings.Cut(v.name, " ")
		called = append(called, name)
	}
	for _, role := range []reflect.Type{reflect.TypeFor[auth.Store](),
		reflect.TypeFor[auth.EventStore]()} {
		for i := range role.NumMethod() {
			require.Contains(t, called, role.Method(i).Name)
		}
	}
}

// stage is a store with the records that seed adds, and a spy between the store and the database.
type stage struct {
	store  *sqlstore.Store
	db     *sql.DB
	spy    *spy
	prefix string
}

// onEach runs the test with an SQLite file and with each available server. Each call of newStage
// returns a stage with its own tables.
func onEach(t *testing.T, test func(t *testing.T, newStage func(*testing.T) *stage)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, func(t *testing.T) *stage {
			s := &spy{}
			db := openSpied(t, "file:"+newFile(t)+impatient, s)
			return (&stage{mustOpen(t, db), db, s, "auth_"}).seeded(t)
		})
	})
	onServers(t, func(t *testing.T, on *server) {
		test(t, on.stage)
	})
}

// sqlite reports whether the database is SQLite, which never loses a connection.
func (s *stage) sqlite() bool { return s.prefix == "auth_" }

func (s *server) stage(t *testing.T) *stage {
	t.Helper()
	spied := &spy{}
	db := s.open(t, spied, 4)
	cfg := s.config()
	store, err := sqlstore.Open(context.Background(), db, cfg)
	require.NoError(t, err)
	return (&stage{store, db, spied, cfg.Prefix}).seeded(t)
}

// recordTables are the tables that methods of the store can change.
var recordTables = []string{
	"users", "access_keys", "sessions", "bootstrap",
	"github_links", "github_tokens", "github_states", "retired_usernames", "revocations",
	"github_accounts", "events", "host_users",
}

// seeded empties the tables and adds the records of seed again.
func (s *stage) seeded(t *testing.T) *stage {
	t.Helper()
	s.spy.watch(nil)
	for _, table := range recordTables {
		_, err := s.db.Exec(`DELETE FROM ` + s.prefix + table)
		require.NoError(t, err)
	}
	for _, counter := range []string{"revocation_head SET position = 0",
		"everybody SET generation = 0"} {
		_, err := s.db.Exec(`UPDATE ` + s.prefix + counter)
		require.NoError(t, err)
	}
	seed(t, s.store)
	s.nameEvent(t)
	s.spy.watch(nil)
	return s
}

// nameEvent sets the ID of the only event, which is random, to "event".
func (s *stage) nameEvent(t testing.TB) {
	_, err := s.db.Exec(`UPDATE ` + s.prefix + `events SET id = 'event'`)
	require.NoError(t, err)
}

// rows returns every row of recordTables, without the columns that have random values.
func (s *stage) rows(t *testing.T) (all []string) {
	t.Helper()
	for _, table := range recordTables {
		columns := `*`
		switch table {
		case "revocations":
			columns = `position, user_id, session_id, generation, expires_at`
		case "events":
			columns = `at, kind, user_id, actor_id, by_host, session_id, access_key, method, github_host, github_id, reason,
				address, user_agent, request_id, pending, claimed_until, attempts`
		}
		rows, err := s.db.Query(`SELECT ` + columns + ` FROM ` + s.prefix + table)
		require.NoError(t, err)
		names, err := rows.Columns()
		require.NoError(t, err)
		values := make([]any, len(names))
		for i := range values {
			values[i] = new(sql.RawBytes)
		}
		for rows.Next() {
			require.NoError(t, rows.Scan(values...))
			row := table + ":"
			for _, value := range values {
				row += fmt.Sprintf(" %q", *value.(*sql.RawBytes))
			}
			all = append(all, row)
		}
		require.NoError(t, rows.Err())
		require.NoError(t, rows.Close())
	}
	slices.Sort(all)
	return all
}

// A connection can be lost before the server has received a statement, or after the server has run
// it. The client cannot tell the two cases apart. In both cases, a method must change either
// everything or nothing. An error can say that the outcome is unknown. After any other error, the
// method must have changed nothing.
func TestLostConnectionNeverLeavesAPartialWriteOrAFalseAnswer(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		for _, v := range verbs() {
			t.Run(v.name, func(t *testing.T) {
				t.Parallel()
				s := newStage(t)
				before := s.rows(t)
				s.spy.watch(nil)
				require.NoError(t, v.call(context.Background(), s.store))
				of := len(s.spy.statements())
				after := s.rows(t)
				for n := 1; n <= of; n++ {
					for _, moment := range []connectionLost{{afterwards: false}, {afterwards: true}} {
						loseConnection(t, s.seeded(t), v, n, of, moment, before, after)
					}
				}
			})
		}
	})
}

func loseConnection(
	t *testing.T, s *stage, v verb, n, of int, moment connectionLost, before, after []string,
) {
	t.Helper()
	s.spy.watch(at(n, func(context.Context) error { return moment }))
	err := v.call(context.Background(), s.store)
	statement := s.spy.statements()[n-1]
	s.spy.watch(nil)
	about := fmt.Sprintf("statement %d of %d, %s, afterwards: %v: %v", n, of, statement,
		moment.afterwards, err)

	now := s.rows(t)
	switch {
	// The transaction was repeated on another connection.
	case err == nil:
		require.False(t, v.writes && n == of, about)
		require.Equal(t, after, now, about)
		return
	case v.writes && n == of:
		require.Equal(t, "COMMIT", statement)
		require.ErrorContains(t, err, "may or may not have taken effect", about)
	}
	requireNoAnswer(t, err)
	// A repeated Prune method, and ClaimEvent, skip the rows that the lost transaction still locks.
	skips := strings.HasPrefix(v.name, "Prune") || v.name == "ClaimEvent"
	require.True(t, s.sqlite() || skips || v.writes && n == of, about)
	if v.writes && n == of && moment.afterwards {
		require.Equal(t, after, now, about)
		return
	}
	require.Equal(t, before, now, about)
	// The server may not have ended the transaction yet. Most methods wait for that, but the Prune
	// methods skip locked rows.
	require.Eventually(t, func() bool {
		err = v.call(context.Background(), s.store)
		return err == nil || !strings.HasPrefix(v.name, "Prune")
	}, time.Minute, time.Millisecond)
	require.NoError(t, err, about)
	require.Equal(t, after, s.rows(t), about)
}
