package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport-go/auth"
)

// Register implements [auth.UserStore].
func (s *Store) Register(ctx context.Context, w auth.Write, user auth.User, key auth.AccessKey) error {
	if err := cmp.Or(ctx.Err(), w.Validate(), checkUserWithKey(user, key)); err != nil {
		return err
	}
	return s.write(ctx, "register", func(ctx context.Context, t tx) error {
		a, err := holdNobody(ctx, t, w, user.ID)
		if err != nil {
			return err
		}
		return inOrder(
			func() error { return insertUserWithKey(ctx, t, user, key) },
			func() error { return a.addEvent(ctx, about{userID: user.ID}) },
		)
	})
}

const insertBootstrap = `INSERT INTO auth_bootstrap (id, user_id) VALUES (1, ?)`

// Bootstrap implements [auth.UserStore]. A user who is not an active super user
// is [auth.ErrInvalid]: the one call would be spent, and nobody could administer.
func (s *Store) Bootstrap(ctx context.Context, w auth.Write, user auth.User, key auth.AccessKey) error {
	if err := cmp.Or(ctx.Err(), w.Validate(), checkUserWithKey(user, key), checkAdministers(user)); err != nil {
		return err
	}
	return s.write(ctx, "bootstrap", func(ctx context.Context, t tx) error {
		a, err := holdNobody(ctx, t, w, user.ID)
		if err != nil {
			return err
		}
		err = t.insert(ctx, insertBootstrap, user.ID)
		if errors.Is(err, auth.ErrExists) {
			err = auth.ErrBootstrapped
		}
		if err != nil {
			return err
		}
		return inOrder(
			func() error { return insertUserWithKey(ctx, t, user, key) },
			func() error { return a.addEvent(ctx, about{userID: user.ID}) },
		)
	})
}

// FindUser implements [auth.UserStore].
func (s *Store) FindUser(ctx context.Context, id string) (auth.User, error) {
	return read(ctx, &s.core, "find user", func(q querier) (auth.User, error) {
		return findUser(ctx, q, selectUser, id)
	})
}

const selectUsers = `SELECT ` + userColumns + ` FROM auth_users u WHERE u.id > ? ORDER BY u.id LIMIT ?`

// ListUsers implements [auth.UserStore].
func (s *Store) ListUsers(ctx context.Context, after string, limit int) ([]auth.User, error) {
	return read(ctx, &s.core, "list users", func(q querier) ([]auth.User, error) {
		switch {
		case limit < 1:
			return nil, ctx.Err()
		case after != "" && !storable(after, auth.MaxIDLength):
			return nil, auth.ErrNotFound
		}
		return collect(ctx, q, userFields, selectUsers, after, limit)
	})
}

// UpdateUser implements [auth.UserStore].
func (s *Store) UpdateUser(ctx context.Context, w auth.Write, id string, change auth.UserChange) (auth.User, error) {
	if err := cmp.Or(ctx.Err(), w.Validate()); err != nil {
		return auth.User{}, err
	}
	return writeFor(ctx, &s.core, "update user", func(ctx context.Context, t tx) (auth.User, error) {
		a, user, err := changeUser(ctx, t, w, id, change)
		if err != nil {
			return user, err
		}
		return user, inOrder(
			func() error {
				if !takes(change.IsSuperUser) {
					return nil
				}
				return t.change(ctx, spendGrants, id)
			},
			func() error { return a.addEvent(ctx, about{userID: id}) },
			func() error {
				if !takes(change.IsActive) {
					return nil
				}
				_, err := a.revokeSessionsOf(ctx, id)
				return err
			},
		)
	})
}

const clearAdmitted = `UPDATE auth_users SET admitted_at = 0 WHERE id = ?`

// ResetUser implements [auth.UserStore].
func (s *Store) ResetUser(
	ctx context.Context, w auth.Write, id string, change auth.UserChange, key auth.AccessKey,
) (auth.User, []auth.GitHubToken, error) {
	if err := cmp.Or(ctx.Err(), w.Validate(), key.Validate(), checkKeyOwner(key, id)); err != nil {
		return auth.User{}, nil, err
	}
	var user auth.User
	tokens, err := writeFor(ctx, &s.core, "reset user", func(ctx context.Context, t tx) (tokens []auth.GitHubToken, err error) {
		var a acting
		if a, user, err = changeUser(ctx, t, w, id, change); err != nil {
			return nil, err
		}
		user.AdmittedAt = time.Time{}
		err = inOrder(
			func() error { return t.change(ctx, clearAdmitted, id) },
			func() error { return replaceKeys(ctx, t, key) },
			func() error { return t.change(ctx, spendGrants, id) },
			func() (err error) { tokens, err = forgetGitHubOf(ctx, t, id); return err },
			func() error { return a.addEvent(ctx, about{userID: id}) },
			func() error { _, err := a.revokeSessionsOf(ctx, id); return err },
		)
		return tokens, err
	})
	if err != nil {
		return auth.User{}, nil, err
	}
	return user, tokens, nil
}

const deleteUser = `DELETE FROM auth_users WHERE id = ?`

// DeleteUser implements [auth.UserStore]. The event of the deletion loses its client too if the
// user is the one who deletes.
func (s *Store) DeleteUser(ctx context.Context, w auth.Write, id string) ([]auth.GitHubToken, error) {
	if err := cmp.Or(ctx.Err(), w.Validate()); err != nil {
		return nil, err
	}
	return writeFor(ctx, &s.core, "delete user", func(ctx context.Context, t tx) (tokens []auth.GitHubToken, err error) {
		a, user, err := changeUser(ctx, t, w, id, auth.UserChange{IsSuperUser: new(bool), IsActive: new(bool)})
		if err != nil {
			return nil, err
		}
		err = inOrder(
			func() error { return retireUsername(ctx, t, user) },
			func() error { return t.remove(ctx, deleteUser, id) },
			func() error { return t.change(ctx, deleteUserKeys, id) },
			func() error { return t.change(ctx, forgetUser, id) },
			func() (err error) { tokens, err = forgetGitHubOf(ctx, t, id); return err },
			func() error { return a.addEvent(ctx, about{userID: id}) },
			func() error { return t.change(ctx, blankClient, id) },
			func() error { _, err := a.revokeSessionsOf(ctx, id); return err },
		)
		return tokens, err
	})
}

// inOrder returns the first error of the steps, and takes none after it.
func inOrder(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

const (
	selectUser = `SELECT ` + userColumns + ` FROM auth_users u WHERE u.id = ?`
	lockUser   = selectUser + ` FOR UPDATE`
)

// findUser finds the user with selectUser or lockUser.
func findUser(ctx context.Context, q querier, query, id string) (user auth.User, err error) {
	if !storable(id, auth.MaxIDLength) {
		return user, auth.ErrNotFound
	}
	err = scan(q.row(ctx, query, id), userFields(&user)...)
	return user, err
}

// holdUser returns the user, and locks the user's record until the transaction ends. It is for
// transactions without an authority: see [holdUsers].
func holdUser(ctx context.Context, t tx, id string) (auth.User, error) {
	users, err := holdUsers(ctx, t, id)
	if err != nil {
		return auth.User{}, err
	}
	user, ok := users[id]
	if !ok {
		return user, auth.ErrNotFound
	}
	return user, nil
}

// hostUser returns a user of the host's table as a store of accounts returns users.
func hostUser(id string) auth.User { return auth.User{ID: id} }

// holdActive is holdUser for who must be active.
func holdActive(ctx context.Context, t tx, id string) (auth.User, error) {
	user, err := holdUser(ctx, t, id)
	if err != nil {
		return user, err
	}
	return user, checkActive(t, user)
}

// checkActive returns [auth.ErrUserDisabled] if the user is not active. A store of accounts takes
// every user for active.
func checkActive(t tx, user auth.User) error {
	if t.store.keepsUsers() && !user.IsActive {
		return auth.ErrUserDisabled
	}
	return nil
}

// checkUserWithKey returns an error if the two cannot be kept, or not together.
func checkUserWithKey(user auth.User, key auth.AccessKey) error {
	return auth.UserWithKeys{User: user, Keys: []auth.AccessKey{key}}.Validate()
}

func checkKeyOwner(key auth.AccessKey, userID string) error {
	if key.UserID != userID {
		return &auth.InvalidError{Field: "user_id", Reason: "must be that of the user whom the key is for"}
	}
	return nil
}

func checkAdministers(user auth.User) error {
	if !administers(user) {
		return &auth.InvalidError{Field: "is_super_user", Reason: "must be true, and the user active"}
	}
	return nil
}

// administers reports whether the user can administer others.
func administers(user auth.User) bool { return user.IsSuperUser && user.IsActive }

const (
	insertUsers = `
INSERT INTO auth_users
	(id, username, username_folded, email, email_folded, is_super_user, is_active, created_at, last_login, admitted_at)
VALUES `
	userRow    = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	insertUser = insertUsers + userRow
)

func userValues(user auth.User) []any {
	var emailFolded any // NULL, of which there may be many
	if user.Email != "" {
		emailFolded = auth.FoldASCII(user.Email)
	}
	return []any{
		user.ID, user.Username, auth.FoldASCII(user.Username), user.Email, emailFolded,
		flag(user.IsSuperUser), flag(user.IsActive),
		toMicros(user.CreatedAt), toMicros(user.LastLogin), toMicros(user.AdmittedAt),
	}
}

func insertUserWithKey(ctx context.Context, t tx, user auth.User, key auth.AccessKey) error {
	if err := addUser(ctx, t, user); err != nil {
		return err
	}
	return insertKey(ctx, t, key)
}

const (
	insertRetired = `INSERT INTO auth_retired_usernames (username_folded) VALUES (?)`
	selectRetired = `SELECT EXISTS (SELECT 1 FROM auth_retired_usernames WHERE username_folded = ?)`
)

func retireUsername(ctx context.Context, t tx, user auth.User) error {
	return t.insert(ctx, insertRetired, auth.FoldASCII(user.Username))
}

// addUser looks for a retired name after it has added the user: if somebody of
// that name was being deleted, the insertion has waited for the end of it.
func addUser(ctx context.Context, t tx, user auth.User) error {
	if err := t.insert(ctx, insertUser, userValues(user)...); err != nil {
		return err
	}
	retired, err := t.ask(ctx, selectRetired, auth.FoldASCII(user.Username))
	if err == nil && retired {
		err = auth.ErrExists
	}
	return err
}

const updateUser = `UPDATE auth_users SET is_super_user = ?, is_active = ? WHERE id = ?`

// changeUser changes the user on behalf of the authority and returns the user as changed, whose
// record it locks. The caller revokes the sessions.
func changeUser(ctx context.Context, t tx, w auth.Write, id string, change auth.UserChange) (acting, auth.User, error) {
	mayTakePower := takes(change.IsSuperUser) || takes(change.IsActive)
	a, err := holdOwnerWith(ctx, t, w, id, locks{superUsers: mayTakePower})
	if err != nil {
		return a, auth.User{}, err
	}
	user := a.users[id]
	administered := administers(user)
	user = change.Apply(user)
	if administered && !administers(user) {
		if err := requireSuperUserBeside(ctx, t, id); err != nil {
			return a, user, err
		}
	}
	return a, user, t.change(ctx, updateUser, flag(user.IsSuperUser), flag(user.IsActive), id)
}

// takes reports whether the change sets the flag to false.
func takes(flag *bool) bool { return flag != nil && !*flag }

const lockSuperUsers = `SELECT name FROM auth_locks WHERE name = 'super users' FOR UPDATE`

// holdSuperUsers lets one transaction at a time take power away: of two that each
// see the other's user remain, nobody would.
func holdSuperUsers(ctx context.Context, t tx) error {
	if t.store.dialect.oneWriter {
		return nil
	}
	var name string
	if err := t.row(ctx, lockSuperUsers).Scan(&name); err != nil {
		return fmt.Errorf("hold the row 'super users' of the table of locks: %w", err)
	}
	return nil
}

const selectOtherSuperUsers = `
SELECT EXISTS (SELECT 1 FROM auth_users WHERE is_super_user = 1 AND is_active = 1 AND id <> ?)`

// requireSuperUserBeside returns [auth.ErrLastSuperUser] if there is no active
// super user but this one.
func requireSuperUserBeside(ctx context.Context, t tx, id string) error {
	another, err := t.ask(ctx, selectOtherSuperUsers, id)
	if err == nil && !another {
		return auth.ErrLastSuperUser
	}
	return err
}
