package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/sqlstore"
)

// stage is a store with the records that seed adds, and a spy between the store and the database.
type stage struct {
	store  *sqlstore.Store
	db     *sql.DB
	spy    *spy
	prefix string

	seeds []insertion // the records of seed
}

// insertion is a statement that inserts all rows of a table.
type insertion struct {
	statement string
	values    []any
}

// onEach runs the test with an SQLite file and with each available server. Each call of newStage
// returns a stage with its own tables.
func onEach(t *testing.T, test func(t *testing.T, newStage func(*testing.T) *stage)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, func(t *testing.T) *stage {
			s := &spy{}
			db := openSpied(t, "file:"+newFile(t)+impatient, s)
			return (&stage{store: mustOpen(t, db), db: db, spy: s, prefix: "auth_"}).seeded(t)
		})
	})
	onServers(t, func(t *testing.T, on *server) {
		test(t, on.stage)
	})
}

// sqlite reports whether the database is SQLite, which never loses a connection.
func (s *stage) sqlite() bool { return s.prefix == "auth_" }

// stage returns a stage whose tables an earlier test may have used: see [server.emptied].
func (s *server) stage(t *testing.T) *stage {
	t.Helper()
	return s.stageIn(t, s.emptied(t))
}

// stageIn returns a stage with the empty tables of the configuration.
func (s *server) stageIn(t *testing.T, cfg sqlstore.Config) *stage {
	t.Helper()
	spied := &spy{}
	db := s.open(t, spied, 4)
	store, err := sqlstore.Open(context.Background(), db, cfg)
	require.NoError(t, err)
	return (&stage{store: store, db: db, spy: spied, prefix: cfg.Prefix}).seeded(t)
}

// recordTables are the tables that methods of the store can change.
var recordTables = []string{
	"users", "access_keys", "sessions", "bootstrap",
	"github_links", "github_tokens", "github_states", "retired_usernames", "revocations",
	"github_accounts", "spent_grants", "events", "host_users", "clients", "device_codes",
}

// countedTables are the tables that methods of the store can change, with those that count.
var countedTables = append(slices.Clone(recordTables), "revocation_head", "everybody")

// seeded gives the tables the rows that seed adds to an empty store. The first call calls seed. Later
// calls insert the same rows, because the tests call seeded thousands of times, and each call of seed
// takes many transactions.
func (s *stage) seeded(t *testing.T) *stage {
	t.Helper()
	s.spy.watch(nil)
	if s.seeds == nil {
		seed(t, s.store)
		s.nameEvent(t)
		for _, table := range countedTables {
			s.remember(t, table)
		}
		s.spy.watch(nil)
		return s
	}
	tx, err := s.db.Begin()
	require.NoError(t, err)
	defer func() { _ = tx.Rollback() }()
	for _, table := range countedTables {
		_, err := tx.Exec(`DELETE FROM ` + s.prefix + table)
		require.NoError(t, err)
	}
	for _, seed := range s.seeds {
		_, err := tx.Exec(seed.statement, seed.values...)
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit())
	s.spy.watch(nil)
	return s
}

// remember adds the rows of the table to s.seeds.
func (s *stage) remember(t *testing.T, table string) {
	t.Helper()
	rows, err := s.db.Query(`SELECT * FROM ` + s.prefix + table)
	require.NoError(t, err)
	defer rows.Close()
	names, err := rows.Columns()
	require.NoError(t, err)
	var all []any
	for rows.Next() {
		values := make([]any, len(names))
		pointers := make([]any, len(names))
		for i := range values {
			pointers[i] = &values[i]
		}
		require.NoError(t, rows.Scan(pointers...))
		all = append(all, values...)
	}
	require.NoError(t, rows.Err())
	if len(all) == 0 {
		return
	}
	row := `(?` + strings.Repeat(`, ?`, len(names)-1) + `)`
	others := strings.Repeat(`, `+row, len(all)/len(names)-1)
	statement := `INSERT INTO auth_` + table + ` VALUES ` + row + others
	s.seeds = append(s.seeds, insertion{s.store.Statement(statement), all})
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
		for _, row := range tableRows(t, s.db, `SELECT `+columns+` FROM `+s.prefix+table) {
			all = append(all, table+":"+row)
		}
	}
	slices.Sort(all)
	return all
}

// tableRows returns the rows of a query as texts, each with the values of its columns.
func tableRows(t *testing.T, db *sql.DB, query string) (all []string) {
	t.Helper()
	rows, err := db.Query(query)
	require.NoError(t, err)
	defer rows.Close()
	names, err := rows.Columns()
	require.NoError(t, err)
	values := make([]any, len(names))
	for i := range values {
		values[i] = new(sql.RawBytes)
	}
	for rows.Next() {
		require.NoError(t, rows.Scan(values...))
		row := ""
		for _, value := range values {
			row += fmt.Sprintf(" %q", *value.(*sql.RawBytes))
		}
		all = append(all, row)
	}
	require.NoError(t, rows.Err())
	return all
}
