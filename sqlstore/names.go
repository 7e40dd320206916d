package sqlstore

import (
	"context"
	"errors"
	"time"

	"github.com/sallyport-go/auth"
)

const (
	insertRetired = `INSERT INTO auth_retired_usernames (username_folded, user_id, retired_at) VALUES (?, ?, ?)`
	selectRetired = `SELECT EXISTS (SELECT 1 FROM auth_retired_usernames WHERE username_folded = ?)`

	selectRetiredByOther = `
SELECT EXISTS (SELECT 1 FROM auth_retired_usernames WHERE username_folded = ? AND user_id <> ?)`
	deleteRetired = `DELETE FROM auth_retired_usernames WHERE username_folded = ?`

	updateUsername = `UPDATE auth_users SET username = ?, username_folded = ? WHERE id = ?`
	updateEmail    = `UPDATE auth_users SET email = ?, email_folded = ? WHERE id = ?`
)

// retireUsername keeps the user's username from other users: see [auth.UserStore.UpdateUser].
func (a acting) retireUsername(ctx context.Context, user auth.User) error {
	return a.insert(ctx, insertRetired, auth.FoldASCII(user.Username), user.ID, toMicros(a.now))
}

// addUser inserts the user. addUser returns [auth.ErrExists] if a deleted user had the username.
// The check for this comes after the insertion. If another transaction is deleting a user with the
// same username, the insertion waits until that transaction ends. The check then sees the username
// of the deleted user.
func addUser(ctx context.Context, t tx, user auth.User) error {
	if err := t.insert(ctx, insertUser, userValues(user)...); err != nil {
		return err
	}
	retired, err := t.queryBool(ctx, selectRetired, auth.FoldASCII(user.Username))
	if err == nil && retired {
		err = auth.ErrExists
	}
	return err
}

// rename changes the username and the e-mail address of the user from those of the record old to those of
// the record user. The names of the user are unique indexes, so of two transactions that need one name, the
// second waits until the first ends.
func (a acting) rename(ctx context.Context, old, user auth.User) error {
	if user.Username != old.Username {
		err := a.insert(ctx, updateUsername, user.Username, auth.FoldASCII(user.Username), user.ID)
		if err != nil {
			return takenAs("username", err)
		}
	}
	if auth.FoldASCII(user.Username) != auth.FoldASCII(old.Username) {
		if err := a.exchangeUsernames(ctx, old, user); err != nil {
			return err
		}
	}
	if user.Email == old.Email {
		return nil
	}
	return takenAs("email", a.insert(ctx, updateEmail, user.Email, foldedEmail(user), user.ID))
}

// exchangeUsernames retires the username of the record old. It returns an [auth.ExistsError] if another user
// has retired the username of the record user. This check comes after the update, as in addUser. If the same
// user has retired the username, the username is no longer retired.
func (a acting) exchangeUsernames(ctx context.Context, old, user auth.User) error {
	folded := auth.FoldASCII(user.Username)
	byOther, err := a.queryBool(ctx, selectRetiredByOther, folded, user.ID)
	if err == nil && byOther {
		err = takenAs("username", auth.ErrExists)
	}
	if err != nil {
		return err
	}
	return runInOrder(
		func() error { return a.change(ctx, deleteRetired, folded) },
		func() error { return a.retireUsername(ctx, old) },
	)
}

// takenAs returns an [auth.ExistsError] with the field if err is [auth.ErrExists], and err otherwise.
func takenAs(field string, err error) error {
	if errors.Is(err, auth.ErrExists) {
		return &auth.ExistsError{Field: field}
	}
	return err
}

// foldedEmail returns the folded e-mail address. It returns nil for NULL if the user has no e-mail address,
// because the column is unique, and many users may have none.
func foldedEmail(user auth.User) any {
	if user.Email == "" {
		return nil
	}
	return auth.FoldASCII(user.Email)
}

// checkNoNames returns an error if the change sets a name.
func checkNoNames(change auth.UserChange) error {
	if change.Username != nil || change.Email != nil {
		return &auth.InvalidError{Field: "username",
			Reason: "and email must not be changed together with the key"}
	}
	return nil
}

const retiredUsernamesOf = `
SELECT username_folded FROM auth_retired_usernames WHERE user_id = ? ORDER BY username_folded`

// ListRetiredUsernames implements [auth.UserStore].
func (s *Store) ListRetiredUsernames(ctx context.Context, userID string) ([]string, error) {
	return read(ctx, &s.core, "list retired usernames", func(
		ctx context.Context, q querier,
	) ([]string, error) {
		if !storable(userID, auth.MaxIDLength) {
			return nil, ctx.Err()
		}
		return collect(ctx, q, func(name *string) []any { return []any{name} }, retiredUsernamesOf, userID)
	})
}

const (
	retiredUsernames = `
SELECT username_folded FROM auth_retired_usernames WHERE retired_at <= ? ORDER BY retired_at LIMIT ? FOR UPDATE SKIP LOCKED`
	deleteRetiredUsernames = `DELETE FROM auth_retired_usernames WHERE username_folded `
)

// PruneRetiredUsernames implements [auth.UserStore].
func (s *Store) PruneRetiredUsernames(ctx context.Context, retired time.Time, limit int) (int, error) {
	return prune[string](ctx, &s.core, "prune retired usernames", limit, dueBy(retiredUsernames, retired),
		deleteRetiredUsernames)
}
