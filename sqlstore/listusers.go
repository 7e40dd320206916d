package sqlstore

import (
	"cmp"
	"context"
	"strings"
	"unicode/utf8"

	"github.com/sallyport-go/auth"
)

// ListUsers implements [auth.UserStore]. A search reads the usernames and then the e-mails of the users whom
// it finds, in the order of an index, so it stops after Limit users.
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
	var page []auth.User
	after, onlyEmails := strings.CutPrefix(query.After, "2:")
	if !onlyEmails {
		name := strings.TrimPrefix(query.After, "1:")
		found, err := collectNames(ctx, q, query, "username", name, query.Limit)
		if err != nil || len(found) == query.Limit {
			return found, err
		}
		page, after = found, ""
	}
	found, err := collectNames(ctx, q, query, "email", after, query.Limit-len(page))
	return append(page, found...), err
}

// collectNames returns at most limit users whose name of the given kind begins with the text of the query and
// is greater than the name after, sorted by that name. Of the users who are found by e-mail, it leaves out
// those whose username begins with the text, too: they are at an earlier position.
func collectNames(
	ctx context.Context, q querier, query auth.UserQuery, kind, after string, limit int,
) ([]auth.User, error) {
	prefix := auth.FoldASCII(query.Search)
	condition, arguments := beginning(`u.`+kind+`_folded`, prefix, after)
	if kind == "email" {
		found, values := beginning(`u.username_folded`, prefix, "")
		condition += ` AND NOT (` + found + `)`
		arguments = append(arguments, values...)
	}
	statement := usersWhere + excluding(query) + condition + ` ORDER BY u.` + kind + `_folded LIMIT ?`
	return collect(ctx, q, userFields, statement, append(arguments, limit)...)
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
