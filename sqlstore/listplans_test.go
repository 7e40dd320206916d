package sqlstore_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/sqlstore"
)

// listVerbs are calls that list users. The seeds have two users, ada and eve, who are super users.
func listVerbs() []verb {
	var verbs []verb
	for name, list := range map[string]struct {
		query auth.UserQuery
		found int
	}{
		"ListUsers":                        {auth.UserQuery{After: "ada"}, 1},
		"ListUsers who are persons":        {auth.UserQuery{After: "ada", Kind: auth.UserKindPerson}, 1},
		"ListUsers who are service users":  {auth.UserQuery{Kind: auth.UserKindService}, 0},
		"ListUsers who are super users":    {auth.UserQuery{Kind: auth.UserKindSuperUser}, 2},
		"ListUsers who are active":         {auth.UserQuery{After: "ada", State: auth.UserStateActive}, 1},
		"ListUsers who are disabled":       {auth.UserQuery{State: auth.UserStateInactive}, 0},
		"ListUsers whose name begins so":   {auth.UserQuery{Search: "NAME OF ADA"}, 1},
		"ListUsers whose e-mail begins so": {auth.UserQuery{Search: "ada@"}, 1},
		"ListUsers after a username":       {auth.UserQuery{Search: "name", After: "1:name of ada"}, 1},
		"ListUsers after an e-mail":        {auth.UserQuery{Search: "ada", After: "2:ada@"}, 1},
		"ListUsers of a kind with this name": {auth.UserQuery{Search: "a", Kind: auth.UserKindService,
			State: auth.UserStateActive}, 0},
	} {
		list.query.Limit = 10
		verbs = append(verbs, verb{name, false, func(ctx context.Context, s *sqlstore.Store) error {
			users, err := s.ListUsers(ctx, list.query)
			return expect(list.found)(len(users), err)
		}})
	}
	return verbs
}

// fillNamed adds many users. All usernames begin with n, and all e-mails with m. Few of the users are
// disabled, super users or service users.
const fillNamed = `INSERT INTO auth_users (id, username, username_folded, email, email_folded, is_super_user, is_active, created_at, last_login, admitted_at, is_service, created_by, audiences)
	SELECT CONCAT('u', n), CONCAT('N', n), CONCAT('n', n), CONCAT('m', n), CONCAT('m', n), CASE n % 500 WHEN 1 THEN 1 ELSE 0 END, CASE n % 400 WHEN 2 THEN 0 ELSE 1 END, 1, 1, 0, CASE n % 1000 WHEN 3 THEN 1 ELSE 0 END, '', '' FROM TABLE`

const (
	pageOfUsers = 50
	fewUsers    = manyRows / 400 // disabled; there are fewer super users and fewer service users
)

// listQueries are queries that match all users with names, or few of them. The field index is a part of the
// names of the indexes that SQLite uses. A server can choose other indexes, so the number of rows counts.
var listQueries = map[string]struct {
	query auth.UserQuery
	index string
}{
	"the first page of disabled users":        {auth.UserQuery{State: auth.UserStateInactive}, "users_inactive"},
	"a later page of disabled users":          {auth.UserQuery{State: auth.UserStateInactive, After: "u4"}, "users_inactive"},
	"disabled persons":                        {auth.UserQuery{State: auth.UserStateInactive, Kind: auth.UserKindPerson}, "users_inactive"},
	"super users":                             {auth.UserQuery{Kind: auth.UserKindSuperUser}, "users_super"},
	"active super users":                      {auth.UserQuery{Kind: auth.UserKindSuperUser, State: auth.UserStateActive}, "users_super"},
	"a search of all usernames":               {auth.UserQuery{Search: "N"}, "username"},
	"a later page of all usernames":           {auth.UserQuery{Search: "n", After: "1:n4"}, "username"},
	"active persons by username":              {auth.UserQuery{Search: "n", Kind: auth.UserKindPerson, State: auth.UserStateActive}, "username"},
	"disabled users by username":              {auth.UserQuery{Search: "n", State: auth.UserStateInactive}, "users_inactive_by_username"},
	"service users by username":               {auth.UserQuery{Search: "n", Kind: auth.UserKindService}, "users_services_by_username"},
	"super users by username":                 {auth.UserQuery{Search: "n", Kind: auth.UserKindSuperUser}, "users_super_by_username"},
	"a search of all e-mails":                 {auth.UserQuery{Search: "M"}, "email"},
	"a later page of all e-mails":             {auth.UserQuery{Search: "m", After: "2:m4"}, "email"},
	"disabled users by e-mail":                {auth.UserQuery{Search: "m", State: auth.UserStateInactive}, "users_inactive_by_email"},
	"service users by e-mail":                 {auth.UserQuery{Search: "m", Kind: auth.UserKindService}, "users_services"},
	"super users by e-mail":                   {auth.UserQuery{Search: "m", Kind: auth.UserKindSuperUser}, "users_super_by_email"},
	"disabled super users by e-mail":          {auth.UserQuery{Search: "m", Kind: auth.UserKindSuperUser, State: auth.UserStateInactive}, "users_inactive_by_email|users_super"},
	"a search of one user":                    {auth.UserQuery{Search: "n49999"}, "username"},
	"a search that matches nobody":            {auth.UserQuery{Search: "x"}, "username"},
	"the last page of a search by name":       {auth.UserQuery{Search: "n", After: "1:n9999"}, "username"},
	"a search of one e-mail of an active one": {auth.UserQuery{Search: "m49999", State: auth.UserStateActive}, "email"},
}

// A page of users must not pass over all users, even if a search matches all of them, or if it matches few
// users of a kind.
func TestAPageOfUsersIsReadWithAnIndexOfItsOrder(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, on *server) {
		stores, s := twoStores(t, on, sqlstore.Open)
		dialect := sqlstore.SQLite
		if on != nil {
			dialect = on.dialect
		}
		s.fillWith(t, dialect, fillNamed)
		for _, analyzed := range []bool{false, true} { // many SQLite databases are never analyzed
			if analyzed {
				s.analyze(t, dialect, "users")
			} else if on != nil {
				continue // a server analyzes its tables
			}
			for name, list := range listQueries {
				s.spy.watch(nil)
				list.query.Limit = pageOfUsers
				page, err := stores[1].ListUsers(t.Context(), list.query)
				require.NoError(t, err)
				arguments := map[string][]any{}
				s.noteArguments(arguments)
				plans, read := "", 0
				for statement, values := range arguments {
					plan, rows := planAndRows(t, dialect, s.db, statement, values)
					plans, read = plans+plan+"\n", read+rows
				}
				if on == nil {
					require.Regexp(t, list.index, plans, name)
				}
				// A database may also read all users of a kind or state with few users, and sort them.
				t.Logf("%s: %d users, %d rows read", name, len(page), read)
				require.LessOrEqual(t, read, 3*pageOfUsers+2*fewUsers, "%s\n%s", name, plans)
			}
		}
	})
}

// planAndRows returns the plan of the statement, and on a server the number of rows that the statement reads.
func planAndRows(
	t *testing.T, dialect sqlstore.Dialect, db *sql.DB, statement string, args []any,
) (plan string, read int) {
	t.Helper()
	switch dialect {
	case sqlstore.SQLite:
		plan = queryPlan(t, db, statement)
		require.NotContains(t, plan, "TEMP B-TREE", statement)
		require.NotContains(t, plan, "SCAN u\n", statement)
		return plan, 0
	case sqlstore.Postgres:
		plan = strings.Join(column(t, db, `EXPLAIN (ANALYZE, FORMAT JSON) `+statement, args...), "\n")
		var nodes []struct{ Plan postgresNode }
		require.NoError(t, json.Unmarshal([]byte(plan), &nodes))
		return plan, nodes[0].Plan.rowsRead()
	}
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	rowsRead := func() (sum int) {
		rows, err := conn.QueryContext(t.Context(), `SHOW SESSION STATUS LIKE 'Handler_read%'`)
		require.NoError(t, err)
		defer rows.Close()
		for rows.Next() {
			var name string
			var n int
			require.NoError(t, rows.Scan(&name, &n))
			sum += n
		}
		require.NoError(t, rows.Err())
		return sum
	}
	before := rowsRead()
	rows, err := conn.QueryContext(t.Context(), statement, args...)
	require.NoError(t, err)
	for rows.Next() {
	}
	require.NoError(t, errors.Join(rows.Err(), rows.Close()))
	after := rowsRead()
	return strings.Join(column(t, db, `EXPLAIN FORMAT=JSON `+statement, args...), "\n"), after - before
}

// postgresNode is a node of a plan that PostgreSQL has executed.
type postgresNode struct {
	Relation string         `json:"Relation Name"`
	Index    string         `json:"Index Name"`
	Rows     float64        `json:"Actual Rows"`
	Removed  float64        `json:"Rows Removed by Filter"`
	Plans    []postgresNode `json:"Plans"`
}

// rowsRead returns the number of rows that the node has read from tables and indexes.
func (n postgresNode) rowsRead() (sum int) {
	if n.Relation != "" || n.Index != "" {
		sum = int(n.Rows + n.Removed)
	}
	for _, node := range n.Plans {
		sum += node.rowsRead()
	}
	return sum
}
