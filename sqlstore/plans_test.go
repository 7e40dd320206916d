package sqlstore_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/sqlstore"
)

// manyRows is the number of rows in a large table. A database then uses a suitable index if there
// is one.
const manyRows = 50_000

// fill are statements that add many users, each with one key, session, link, token and state. TABLE
// stands for a table with a column n of numbers.
var fill = []string{
	`INSERT INTO auth_users (id, username, username_folded, email, email_folded, is_super_user, is_active, created_at, last_login, admitted_at, is_service, created_by, audiences)
		SELECT CONCAT('u', n), CONCAT('N', n), CONCAT('n', n), '', NULL, 0, CASE n % 1000 WHEN 7 THEN 0 ELSE 1 END, 1, 1, 0, CASE n % 1000 WHEN 0 THEN 1 ELSE 0 END, '', '' FROM TABLE`,
	`INSERT INTO auth_access_keys (id, user_id, hash, label, created_at, expires_at, previous_hash, previous_until, last_used_at, scopes, must_rotate, expiry_notice_at)
		SELECT CONCAT('k', n), CONCAT('u', n), 'hash', '', 1, 9000000000000000 + n, '', 0, 0, CASE n % 2 WHEN 0 THEN 'reports:read' END, 0, 0 FROM TABLE`,
	fillSessions,
	`INSERT INTO auth_revocations (position, id, user_id, session_id, generation, expires_at)
		SELECT 1000 + n, CONCAT('r', n), CONCAT('u', n), CONCAT('e', n), n, 9000000000000000 + n FROM TABLE`,
	`INSERT INTO auth_github_links (host, account_id, user_id, login, name, avatar_url, created_at, seen_at)
		SELECT 'github.com', 1000 + n, CONCAT('u', n), 'login', '', '', 1, 1 FROM TABLE`,
	`INSERT INTO auth_github_tokens (user_id, host, account_id, version, scopes, sealed, lease_until, updated_at)
		SELECT CONCAT('u', n), 'github.com', 1000 + n, 'v', '', 'sealed', 0, 1 FROM TABLE`,
	`INSERT INTO auth_github_states (id, expires_at) SELECT CONCAT('st', n), 9000000000000000 + n FROM TABLE`,
	`INSERT INTO auth_github_accounts (host, account_id, user_id, grant_spent, forgotten_at)
		SELECT 'github.com', 1000 + n, CONCAT('u', n), 1, CASE n % 2 WHEN 0 THEN 9000000000000000 + n ELSE 0 END FROM TABLE`,
	`INSERT INTO auth_events (id, at, kind, user_id, actor_id, by_host, session_id, access_key, method, github_host, github_id,
			reason, address, user_agent, request_id, pending, claimed_until, attempts)
		SELECT CONCAT('ev', n), 9000000000000000 + n, CASE n % 2 WHEN 0 THEN 'test' ELSE 'other' END, CASE n % 100 WHEN 0 THEN 'ada' ELSE CONCAT('u', n) END, CONCAT('u', n), '', '', '', '', '', 0,
			'', '', '', '', CASE WHEN n % 500 = 0 THEN 1 ELSE 0 END, 0, 0 FROM TABLE`,
	`INSERT INTO auth_retired_usernames (username_folded, user_id, retired_at) SELECT CONCAT('r', n), CONCAT('u', n), 9000000000000000 + n FROM TABLE`,
	`INSERT INTO auth_spent_grants (digest) SELECT CONCAT('d', n) FROM TABLE`,
	`INSERT INTO auth_clients (user_id, hash, seen_at) SELECT CONCAT('u', n), 'hash', 9000000000000000 + n FROM TABLE`,
	`INSERT INTO auth_device_codes (code_hash, user_code_hash, client_id, scopes, address, user_agent, created_at, expires_at, poll_interval, polled_at, session_id, user_id, approved_at, denied_at)
		SELECT CONCAT('dc', n), CONCAT('uc', n), 'cli', 'reports:read', '', '', 1, 9000000000000000 + n, 5000000, 0, '', '', 0, 0 FROM TABLE`,
	`INSERT INTO auth_host_users (id) SELECT CONCAT('u', n) FROM TABLE`,
}

const fillSessions = `INSERT INTO auth_sessions (id, user_id, method, access_key_id, created_at, expires_at, user_agent, address, generation, scopes, audience)
		SELECT CONCAT('s', n), CONCAT('u', n), 'access_key', CONCAT('k', n), 1, 9000000000000000 + n, '', '', n, CASE n % 2 WHEN 0 THEN 'reports:read' END, '' FROM TABLE`

var numbers = map[sqlstore.Dialect]string{
	sqlstore.Postgres: fmt.Sprintf(`generate_series(1, %d) AS g (n)`, manyRows),
	sqlstore.MySQL:    fmt.Sprintf(`(SELECT seq AS n FROM seq_1_to_%d) AS g`, manyRows),
	sqlstore.SQLite: fmt.Sprintf(`(WITH RECURSIVE g (n) AS
		(SELECT 1 UNION ALL SELECT n + 1 FROM g LIMIT %d) SELECT n FROM g) AS g`, manyRows),
}

var analyze = map[sqlstore.Dialect]string{sqlstore.Postgres: `ANALYZE `,
	sqlstore.MySQL: `ANALYZE TABLE `, sqlstore.SQLite: `ANALYZE `}

func (s *stage) fill(t *testing.T, on sqlstore.Dialect) {
	t.Helper()
	for _, statement := range fill {
		s.fillWith(t, on, statement)
	}
	_, err := s.db.Exec(`UPDATE ` + s.prefix + `revocation_head SET position = (SELECT MAX(position) FROM ` + s.prefix + `revocations)`)
	require.NoError(t, err)
	s.analyze(t, on, recordTables...)
}

// fillWith runs one of the statements in fill and updates the statistics of the given tables.
func (s *stage) fillWith(t *testing.T, on sqlstore.Dialect, statement string, tables ...string) {
	t.Helper()
	statement = strings.ReplaceAll(strings.ReplaceAll(statement, "TABLE", numbers[on]), "auth_",
		s.prefix)
	if on == sqlstore.SQLite {
		statement = strings.ReplaceAll(statement, "'sealed'", "X'00'") // the column rejects a text
	}
	_, err := s.db.Exec(statement)
	require.NoError(t, err)
	s.analyze(t, on, tables...)
}

func (s *stage) analyze(t *testing.T, on sqlstore.Dialect, tables ...string) {
	t.Helper()
	for _, table := range tables {
		rows, err := s.db.Query(analyze[on] + s.prefix + table)
		require.NoError(t, err)
		require.NoError(t, rows.Close())
	}
}

// explains are functions that fail the test if the plan of a statement reads a whole table.
var explains = map[sqlstore.Dialect]func(t *testing.T, db *sql.DB, statement string, args []any){
	sqlstore.Postgres: requireIndexOnPostgres, sqlstore.MySQL: requireIndexOnMySQL,
	sqlstore.SQLite: func(t *testing.T, db *sql.DB, statement string, _ []any) {
		t.Helper()
		requireIndexOnSQLite(t, db, []string{statement})
	},
}

// This test does the same as TestNoStatementReadsAWholeTable, but on the servers.
func TestNoStatementReadsAWholeTableOnAServer(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		s := on.stageIn(t, on.config()) // the test adds too many rows to remove them
		arguments := map[string][]any{} // by statement
		for _, v := range verbs() {
			if v.name == "Ping" {
				// Ping reads auth_bootstrap, which has at most one row.
				continue
			}
			s.seeded(t)
			require.NoError(t, v.call(context.Background(), s.store))
			s.noteArguments(arguments)
		}
		s.seeded(t).nameMany(t)
		require.NoError(t, s.store.RevokeSession(context.Background(), byHost, "s-ada"))
		s.noteArguments(arguments)
		listBefore(t, s.seeded(t).store)
		s.noteArguments(arguments)
		s.seeded(t).fill(t, on.dialect)
		explained := 0
		for statement, args := range arguments {
			switch verb, _, _ := strings.Cut(statement, " "); verb {
			case "SELECT", "UPDATE", "DELETE":
				// The table auth_locks has one row.
				if !strings.Contains(statement, s.prefix+"locks") {
					explains[on.dialect](t, s.db, statement, args)
					explained++
				}
			}
		}
		require.Greater(t, explained, 30)
	})
}

// A page of service users must not pass over all persons between them.
func TestAPageOfServiceUsersIsReadWithTheirIndexOnAServer(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		s := on.stage(t)
		_, err := s.store.ListUsers(t.Context(), auth.UserQuery{Limit: 50, Kind: auth.UserKindService})
		require.NoError(t, err)
		arguments := map[string][]any{}
		s.noteArguments(arguments)
		s.fill(t, on.dialect)
		for statement, args := range arguments {
			if on.dialect == sqlstore.MySQL {
				statement = "FORMAT=JSON " + statement
			}
			plan := strings.Join(column(t, s.db, "EXPLAIN "+statement, args...), "\n")
			require.Regexp(t, "users_services|users_by_kind", plan)
		}
		require.Len(t, arguments, 1)
	})
}

// noteArguments adds the arguments of each statement that the spy saw.
func (s *stage) noteArguments(arguments map[string][]any) {
	for i, statement := range s.spy.statements() {
		arguments[statement] = nil
		for _, arg := range s.spy.args[i] {
			arguments[statement] = append(arguments[statement], arg.Value)
		}
	}
}

type postgresPlan struct {
	Node     string         `json:"Node Type"`
	Relation string         `json:"Relation Name"`
	Rows     int            `json:"Plan Rows"`
	Plans    []postgresPlan `json:"Plans"`
}

func requireIndexOnPostgres(t *testing.T, db *sql.DB, statement string, args []any) {
	t.Helper()
	var text string
	require.NoError(t, db.QueryRow(`EXPLAIN (FORMAT JSON) `+statement, args...).Scan(&text), statement)
	var plans []struct{ Plan postgresPlan }
	require.NoError(t, json.Unmarshal([]byte(text), &plans))
	var check func(postgresPlan)
	check = func(p postgresPlan) {
		// These tables have one row.
		if !strings.HasSuffix(p.Relation, "revocation_head") &&
			!strings.HasSuffix(p.Relation, "everybody") {
			require.NotEqual(t, "Seq Scan", p.Node, "%s of %s\n%s", statement, p.Relation, text)
		}
		// A batch locks its records in the order of their IDs, and a list can be of the few users of a kind.
		// So they may sort the few records that they have found with an index.
		sortsFew := strings.Contains(statement, " = ANY (") || strings.Contains(statement, " ORDER BY u.")
		if !sortsFew || p.Rows > 64 {
			require.NotContains(t, p.Node, "Sort", "%s\n%s", statement, text)
		}
		for _, sub := range p.Plans {
			check(sub)
		}
	}
	require.NotEmpty(t, plans)
	check(plans[0].Plan)
}

func requireIndexOnMySQL(t *testing.T, db *sql.DB, statement string, args []any) {
	t.Helper()
	rows, err := db.Query(`EXPLAIN `+statement, args...)
	require.NoError(t, err, statement)
	defer rows.Close()
	for rows.Next() {
		var id, selectType, table, kind, possible, key, keyLength, ref, count, extra sql.NullString
		require.NoError(t, rows.Scan(&id, &selectType, &table, &kind, &possible, &key, &keyLength,
			&ref, &count, &extra))
		about := fmt.Sprintf("%s\n%s: type %s, key %s, rows %s, %s", statement, table.String,
			kind.String, key.String, count.String, extra.String)
		if rows, _, _ := strings.Cut(count.String, " "); strings.Contains(extra.String, "filesort") {
			// A list may sort the few users of a kind that it has found with an index.
			found, err := strconv.Atoi(rows)
			require.NoError(t, err)
			require.True(t, table.String == "u" && found <= 64, about)
		}
		if table.String == "" || strings.HasPrefix(table.String, "<") {
			// The row is not about a table, but for example about "SELECT EXISTS (…)" or a union of queries.
			continue
		}
		if kind.String == "index" && strings.Contains(statement, " LIMIT ?") {
			read, err := strconv.Atoi(count.String)
			require.NoError(t, err)
			require.LessOrEqual(t, read, 10, about) // reads an index in order, up to the limit
			continue
		}
		require.NotContains(t, []string{"ALL", "index"}, kind.String, about)
		require.NotEmpty(t, key.String, about)
	}
	require.NoError(t, rows.Err())
}
