package sqlstore

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sallyport-go/auth"
)

// ListUsers implements [auth.UserStore]. It makes one query, so that it finds every user whom the query
// matches all the time, even if the user is renamed meanwhile.
func (s *Store) ListUsers(ctx context.Context, query auth.UserQuery) ([]auth.User, error) {
	if err := cmp.Or(ctx.Err(), query.Validate()); err != nil {
		return nil, err
	}
	return read(ctx, &s.core, "list users", func(ctx context.Context, q querier) ([]auth.User, error) {
		switch {
		case query.Limit < 1:
			return nil, ctx.Err()
		case query.Search != "":
			return search(ctx, q, query)
		case query.After != "" && !storable(query.After, auth.MaxIDLength):
			return nil, auth.ErrNotFound
		}
		return collect(ctx, q, userFields, usersWhere+excluding(query)+`u.id > ? ORDER BY u.id LIMIT ?`,
			query.After, query.Limit)
	})
}

const usersWhere = `SELECT ` + userColumns + ` FROM auth_users u WHERE `

// excluding returns the conditions of the Kind and the State, each with AND at its end. The flags are part
// of the text, because SQLite and PostgreSQL use an index of some users only if the query contains the
// condition of the index.
func excluding(query auth.UserQuery) (conditions string) {
	conditions = map[auth.UserKind]string{
		auth.UserKindPerson:    `u.is_service = 0 AND `,
		auth.UserKindService:   `u.is_service = 1 AND `,
		auth.UserKindSuperUser: `u.is_super_user = 1 AND `,
	}[query.Kind]
	return conditions + map[auth.UserState]string{
		auth.UserStateActive:   `u.is_active = 1 AND `,
		auth.UserStateInactive: `u.is_active = 0 AND `,
	}[query.State]
}

// search returns a page of the users whose username begins with the text of the query, and then of the other
// users whose e-mail does. See [auth.UserQuery.Position] for the field After of the query.
func search(ctx context.Context, q querier, query auth.UserQuery) ([]auth.User, error) {
	if after, onlyEmails := strings.CutPrefix(query.After, "2:"); onlyEmails {
		statement, arguments := selectNames(query, "email", after)
		return collect(ctx, q, userFields, statement, arguments...)
	}
	byName, arguments := selectNames(query, "username", strings.TrimPrefix(query.After, "1:"))
	byEmail, more := selectNames(query, "email", "")
	page, err := collect(ctx, q, userFields,
		`SELECT * FROM (`+byName+`) names UNION ALL SELECT * FROM (`+byEmail+`) emails`,
		append(arguments, more...)...)
	slices.SortFunc(page, func(a, b auth.User) int {
		return strings.Compare(query.Position(a), query.Position(b))
	})
	return page[:min(len(page), query.Limit)], err
}

// selectNames returns a query for the users whose name of the given kind begins with the text of the search
// and is greater than the name after. They are sorted by that name, so the database reads as many rows of the
// index as the page has. Of the users who are found by e-mail, the query leaves out those whose username
// begins with the text, too: they are at an earlier position.
func selectNames(query auth.UserQuery, kind, after string) (statement string, arguments []any) {
	prefix := auth.FoldASCII(query.Search)
	condition, arguments := beginning(`u.`+kind+`_folded`, prefix, after)
	if kind == "email" {
		found, values := beginning(`u.username_folded`, prefix, "")
		condition += ` AND NOT (` + found + `)`
		arguments = append(arguments, values...)
	}
	return usersWhere + excluding(query) + condition + ` ORDER BY u.` + kind + `_folded LIMIT ?`,
		append(arguments, query.Limit)
}

// beginning returns a condition for the texts in the column that begin with the prefix and are greater than
// the text after, which is empty or begins with the prefix. The condition compares texts and does not use
// LIKE. So every database uses the index of the column, and no character has a special meaning.
func beginning(column, prefix, after string) (condition string, arguments []any) {
	condition, arguments = column+` >= ?`, []any{prefix}
	if after != "" {
		condition, arguments = column+` > ?`, []any{after}
	}
	if end := prefixEnd(prefix); end != "" {
		condition += ` AND ` + column + ` < ?`
		arguments = append(arguments, end)
	}
	return condition, arguments
}

// prefixEnd returns the first text that is greater than all texts that begin with the prefix, in the order of
// their bytes. It returns "" if there is no such text. The result is valid UTF-8, or PostgreSQL would refuse
// it. Its last character is therefore the code point after a character of the prefix.
func prefixEnd(prefix string) string {
	const afterSurrogates = '\uE000' // no text has a surrogate, U+D800 to U+DFFF
	for prefix != "" {
		last, size := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-size]
		switch next := last + 1; {
		case utf8.ValidRune(next):
			return prefix + string(next)
		case next < afterSurrogates:
			return prefix + string(afterSurrogates)
		}
	}
	return ""
}
