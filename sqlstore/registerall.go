package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/sallyport-go/auth"
)

// RegisterAll implements [auth.UserStore].
//
// It takes for granted that nothing is taken, which a fresh database and a list
// without repetitions make true, and asks only when the database says otherwise: to
// ask about every name first would take as long again as to add it.
func (s *Store) RegisterAll(ctx context.Context, users []auth.UserWithKeys) ([]error, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, user := range users {
		if err := user.Validate(); err != nil {
			return nil, err
		}
	}
	for attempt := range maxAttempts {
		refusals, err := writeUsers(ctx, s, "register all", func(ctx context.Context, t tx) ([]error, error) {
			inUse, err := newTaken(ctx, t, users, attempt > 0)
			if err != nil {
				return nil, err
			}
			refusals, accepted := inUse.decide(users)
			return refusals, insertAll(ctx, t, accepted)
		})
		// Somebody has been there before, or since they were asked about.
		if !errors.Is(err, auth.ErrExists) {
			return refusals, err
		}
	}
	return nil, wrap("register all", errors.New("others take the same names all the time"))
}

// taken is what is taken, of what the users of one call want, each with the ID of whose it
// is: "" for a username that was retired.
type taken struct {
	ids, usernames, emails, keys map[string]string
}

const (
	selectIDs       = `SELECT id, id FROM auth_users WHERE id `
	selectUsernames = `SELECT username_folded, id FROM auth_users WHERE username_folded `
	selectEmails    = `SELECT email_folded, id FROM auth_users WHERE email_folded `
	selectKeyIDs    = `SELECT id, user_id FROM auth_access_keys WHERE id `
	selectRetireds  = `SELECT username_folded, '' FROM auth_retired_usernames WHERE username_folded `
)

// newTaken returns what is taken as far as the database is asked, which it need not be.
func newTaken(ctx context.Context, t tx, users []auth.UserWithKeys, ask bool) (*taken, error) {
	inUse := &taken{map[string]string{}, map[string]string{}, map[string]string{}, map[string]string{}}
	if !ask {
		return inUse, nil
	}
	var ids, usernames, emails, keys []string
	for _, user := range users {
		ids = append(ids, user.User.ID)
		usernames = append(usernames, auth.FoldASCII(user.User.Username))
		if user.User.Email != "" {
			emails = append(emails, auth.FoldASCII(user.User.Email))
		}
		for _, key := range user.Keys {
			keys = append(keys, key.ID)
		}
	}
	return inUse, inOrder(
		func() error { return findOwners(ctx, t, selectIDs, ids, inUse.ids) },
		func() error { return findOwners(ctx, t, selectUsernames, usernames, inUse.usernames) },
		func() error { return findOwners(ctx, t, selectRetireds, usernames, inUse.usernames) },
		func() error { return findOwners(ctx, t, selectEmails, emails, inUse.emails) },
		func() error { return findOwners(ctx, t, selectKeyIDs, keys, inUse.keys) },
	)
}

// asked is how many values a question is about.
const asked = 100

// findOwners adds to the owners those of the values that the query finds. It ends in
// their list.
func findOwners(ctx context.Context, t tx, query string, values []string, owners map[string]string) error {
	type owned struct{ value, owner string }
	query += list(asked)
	for some := range slices.Chunk(values, asked) {
		found, err := collect(ctx, t.querier, func(o *owned) []any { return []any{&o.value, &o.owner} },
			query, padded(some, asked)...)
		if err != nil {
			return err
		}
		for _, o := range found {
			owners[o.value] = o.owner
		}
	}
	return nil
}

// decide takes the users in their order, and returns for each why not, and who is left.
func (u *taken) decide(users []auth.UserWithKeys) (refusals []error, accepted []auth.UserWithKeys) {
	refusals = make([]error, len(users))
	accepted = make([]auth.UserWithKeys, 0, len(users))
	for i, user := range users {
		if field := u.take(user); field != "" {
			refusals[i] = &auth.ExistsError{Field: field, SameUserID: u.same(user)}
		} else {
			accepted = append(accepted, user)
		}
	}
	return refusals, accepted
}

// take takes all that the user wants, or returns what is taken.
func (u *taken) take(user auth.UserWithKeys) (field string) {
	id, username, email := user.User.ID, auth.FoldASCII(user.User.Username), auth.FoldASCII(user.User.Email)
	has := func(owners map[string]string, value string) bool { _, is := owners[value]; return is }
	switch {
	case has(u.ids, id):
		return "user_id"
	case has(u.usernames, username):
		return "username"
	case email != "" && has(u.emails, email):
		return "email"
	}
	for i, key := range user.Keys {
		again := slices.ContainsFunc(user.Keys[:i], func(other auth.AccessKey) bool { return other.ID == key.ID })
		if has(u.keys, key.ID) || again {
			return "access_key"
		}
	}
	u.ids[id], u.usernames[username], u.emails[email] = id, id, id
	for _, key := range user.Keys {
		u.keys[key.ID] = id
	}
	return ""
}

// same returns the ID of the user who has the username and all the keys, or "".
func (u *taken) same(user auth.UserWithKeys) string {
	id := u.usernames[auth.FoldASCII(user.User.Username)]
	for _, key := range user.Keys {
		if u.keys[key.ID] != id {
			return ""
		}
	}
	return id
}

// insertAll adds the users and their keys, or returns [auth.ErrExists].
//
// The order is that of the names: it keeps together what goes to the same page of an
// index, which there is one of for each name, and lets two calls that want the same
// names wait for each other and not get in each other's way.
func insertAll(ctx context.Context, t tx, users []auth.UserWithKeys) error {
	type named struct {
		folded string
		user   auth.User
	}
	people := make([]named, len(users))
	var keys []auth.AccessKey
	for i, user := range users {
		people[i] = named{auth.FoldASCII(user.User.Username), user.User}
		keys = append(keys, user.Keys...)
	}
	slices.SortFunc(people, func(a, b named) int { return cmp.Compare(a.folded, b.folded) })
	slices.SortFunc(keys, func(a, b auth.AccessKey) int { return cmp.Compare(a.ID, b.ID) })
	return inOrder(
		func() error {
			return insertRows(ctx, t, insertUsers, userRow, people, func(n named) []any { return userValues(n.user) })
		},
		func() error { return insertRows(ctx, t, insertAccessKeys, accessKeyRow, keys, keyValues) },
		func() error { // last, for the reason that addUser has
			names := make([]string, len(people))
			for i, n := range people {
				names[i] = n.folded
			}
			retired := map[string]string{}
			err := findOwners(ctx, t, selectRetireds, names, retired)
			if err == nil && len(retired) > 0 {
				err = auth.ErrExists
			}
			return err
		},
	)
}

// insertRows adds the records, whose values are a row each, to a table. The number of
// rows in a statement is a power of two, so that there are few statements.
func insertRows[T any](ctx context.Context, t tx, insert, row string, records []T, values func(T) []any) error {
	for rows := t.store.dialect.rowsPerInsert; len(records) > 0; rows /= 2 {
		if rows > len(records) {
			continue
		}
		whole := len(records) / rows * rows
		if err := insertEach(ctx, t, insert+row+strings.Repeat(`, `+row, rows-1), rows, records[:whole], values); err != nil {
			return err
		}
		records = records[whole:]
	}
	return nil
}

// insertEach adds the records with a statement that takes so many rows at once.
func insertEach[T any](ctx context.Context, t tx, query string, rows int, records []T, values func(T) []any) error {
	statement, err := t.conn.PrepareContext(ctx, t.store.statement(query))
	if err != nil {
		return err
	}
	defer statement.Close()
	for some := range slices.Chunk(records, rows) {
		if err := t.callerErr(); err != nil {
			return err // now and not after the other statements, of which there may be thousands
		}
		var arguments []any
		for _, record := range some {
			arguments = append(arguments, values(record)...)
		}
		if _, err := statement.ExecContext(ctx, arguments...); err != nil {
			return t.store.existsOr(err)
		}
	}
	return nil
}
