package sqlstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/sallyport-go/auth"
)

// contents says whether the tables belong to a [Store] or to an [Accounts]. The two must never
// share tables. If they did, the Store would find keys and sessions whose users it does not have.
// The Accounts would open sessions for users who are disabled in auth_users.
type contents string

// The values of the column auth_contents.keeps.
const (
	usersAndAccounts contents = "users"
	accountsOnly     contents = "accounts"
)

// openFunc returns the name of the function that opens tables with these contents.
func (c contents) openFunc() string {
	if c == usersAndAccounts {
		return "Open"
	}
	return "OpenAccounts"
}

// claim records what the tables contain. claim returns an error if other contents are already
// recorded.
func (s *core) claim(ctx context.Context) error {
	recorded, err := s.recordedContents(ctx)
	if errors.Is(err, auth.ErrNotFound) {
		err = s.recordContents(ctx)
		if !errors.Is(err, auth.ErrExists) {
			return err
		}
		recorded, err = s.recordedContents(ctx) // another process has just recorded them
	}
	switch {
	case errors.Is(err, auth.ErrNotFound):
		return fmt.Errorf("sqlstore: inserting into %scontents failed as a conflict, but it has no row: "+
			"check Config.IsConflict", s.prefix)
	case err != nil:
		return err
	case recorded != s.contents:
		return fmt.Errorf("sqlstore: the tables %s… were first opened with %s: call %[2]s, or set "+
			"Config.Prefix to use other tables",
			s.prefix, recorded.openFunc())
	}
	return nil
}

const (
	selectContents = `SELECT c.keeps FROM auth_contents c WHERE c.id = 1`
	insertContents = `INSERT INTO auth_contents (id, keeps) VALUES (1, ?)`
	selectAnyUser  = `SELECT EXISTS (SELECT 1 FROM auth_users)`

	selectAnyAccount = `
SELECT EXISTS (SELECT 1 FROM auth_access_keys) OR EXISTS (SELECT 1 FROM auth_sessions)
	OR EXISTS (SELECT 1 FROM auth_github_links)`
)

// recordedContents returns the contents that are recorded in auth_contents, or [auth.ErrNotFound]
// if there are none.
func (s *core) recordedContents(ctx context.Context) (contents, error) {
	return read(ctx, s, "read what the tables keep", func(
		ctx context.Context, q querier,
	) (recorded contents, err error) {
		err = scan(q.row(ctx, selectContents), &recorded)
		return recorded, err
	})
}

// recordContents records s.contents, or returns [auth.ErrExists] if contents are already recorded.
// If several processes open the tables at the same time, the primary key lets only the first one
// insert.
//
// Tables that another program has filled may have rows but no recorded contents, so recordContents
// checks the rows first. After this check, another process can register users only
// if that process has recorded its own contents. The insertion by recordContents then fails.
func (s *core) recordContents(ctx context.Context) error {
	return s.write(ctx, "record what the tables keep", func(ctx context.Context, t tx) error {
		if err := s.checkUnrecorded(ctx, t); err != nil {
			return err
		}
		return t.insert(ctx, insertContents, string(s.contents))
	})
}

// checkUnrecorded returns an error if the rows in the tables contradict s.contents.
func (s *core) checkUnrecorded(ctx context.Context, t tx) error {
	users, err := t.queryBool(ctx, selectAnyUser)
	switch {
	case err != nil:
		return err
	case users && !s.keepsUsers():
		return fmt.Errorf("%susers has users: call Open, or set Config.Prefix to use other tables",
			s.prefix)
	case users || !s.keepsUsers():
		return nil
	}
	accounts, err := t.queryBool(ctx, selectAnyAccount)
	if err == nil && accounts {
		return fmt.Errorf("%susers has no users, but there are keys, sessions or GitHub links: call "+
			"OpenAccounts, "+
			"or set Config.Prefix to use other tables", s.prefix)
	}
	return err
}
