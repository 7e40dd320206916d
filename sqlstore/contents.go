package sqlstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/sallyport-go/auth"
)

// contents says what the tables keep. A [Store] and [Accounts] must never share tables: a Store
// would miss the users of keys and sessions, and Accounts would open sessions for users who are
// disabled in auth_users.
type contents string

// The contents, as the column auth_contents.keeps has them.
const (
	usersAndAccounts contents = "users"
	accountsOnly     contents = "accounts"
)

// opener returns the function that opens tables with these contents.
func (c contents) opener() string {
	if c == usersAndAccounts {
		return "Open"
	}
	return "OpenAccounts"
}

// claim records the contents of the tables if they have no record yet, and returns an error
// if the record is of other contents.
func (s *core) claim(ctx context.Context) error {
	recorded, err := s.recordedContents(ctx)
	if errors.Is(err, auth.ErrNotFound) {
		err = s.recordContents(ctx)
		if !errors.Is(err, auth.ErrExists) {
			return err
		}
		recorded, err = s.recordedContents(ctx) // which another process has just written
	}
	switch {
	case errors.Is(err, auth.ErrNotFound):
		return fmt.Errorf("sqlstore: %scontents takes no row and has none: check Config.IsConflict", s.prefix)
	case err != nil:
		return err
	case recorded != s.contents:
		return fmt.Errorf("sqlstore: the tables %s… were first opened with %s: call %[2]s, or set Config.Prefix to use other tables",
			s.prefix, recorded.opener())
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

// recordedContents returns [auth.ErrNotFound] if there is no record yet.
func (s *core) recordedContents(ctx context.Context) (contents, error) {
	return read(ctx, s, "read what the tables keep", func(q querier) (recorded contents, err error) {
		return recorded, scan(q.row(ctx, selectContents), &recorded)
	})
}

// recordContents returns [auth.ErrExists] if there is a record already. Its primary key decides
// which of several processes is the first.
//
// Tables of an earlier version of this package may have rows and no record. The order matters: if
// another process records users and registers some after the question, the insertion fails.
func (s *core) recordContents(ctx context.Context) error {
	return s.write(ctx, "record what the tables keep", func(ctx context.Context, t tx) error {
		if err := s.checkUnrecorded(ctx, t); err != nil {
			return err
		}
		return t.insert(ctx, insertContents, string(s.contents))
	})
}

// checkUnrecorded returns an error if the tables have rows that show them to be of the other kind.
func (s *core) checkUnrecorded(ctx context.Context, t tx) error {
	users, err := t.ask(ctx, selectAnyUser)
	switch {
	case err != nil:
		return err
	case users && !s.keepsUsers():
		return fmt.Errorf("%susers has users: call Open, or set Config.Prefix to use other tables", s.prefix)
	case users || !s.keepsUsers():
		return nil
	}
	accounts, err := t.ask(ctx, selectAnyAccount)
	if err == nil && accounts {
		return fmt.Errorf("%susers has no users, but there are keys, sessions or GitHub links: call OpenAccounts, "+
			"or set Config.Prefix to use other tables", s.prefix)
	}
	return err
}
