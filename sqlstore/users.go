package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// Register implements [auth.UserStore].
func (s *Store) Register(ctx context.Context, w auth.Write, user auth.User, key auth.AccessKey) error {
	if err := cmp.Or(ctx.Err(), w.Validate(), checkUserWithKey(user, key)); err != nil {
		return err
	}
	return s.write(ctx, "register", func(ctx context.Context, t tx) error {
		a, err := holdForNewUser(ctx, t, w, user.ID)
		if err != nil {
			return err
		}
		return runInOrder(
			func() error { return a.grantNewUser(user, key) },
			func() error { return insertUserWithKey(ctx, t, user, key) },
			func() error { return a.addEvent(ctx, about{userID: user.ID}) },
		)
	})
}

const insertBootstrap = `INSERT INTO auth_bootstrap (id, user_id) VALUES (1, ?)`

// Bootstrap implements [auth.UserStore]. Bootstrap returns [auth.ErrInvalid] unless the user is an
// active super user and a person. Without this check, Bootstrap could add a user who cannot administer other
// users. No later call could repair this, because Bootstrap succeeds only once for each store.
func (s *Store) Bootstrap(ctx context.Context, w auth.Write, user auth.User, key auth.AccessKey) error {
	if err := cmp.Or(ctx.Err(), w.Validate(), checkUserWithKey(user, key),
		checkAdministers(user)); err != nil {
		return err
	}
	return s.write(ctx, "bootstrap", func(ctx context.Context, t tx) error {
		a, err := holdForNewUser(ctx, t, w, user.ID)
		if err != nil {
			return err
		}
		if err := a.grantNewUser(user, key); err != nil {
			return err
		}
		err = t.insert(ctx, insertBootstrap, user.ID)
		if errors.Is(err, auth.ErrExists) {
			err = auth.ErrBootstrapped
		}
		if err != nil {
			return err
		}
		return runInOrder(
			func() error { return insertUserWithKey(ctx, t, user, key) },
			func() error { return a.addEvent(ctx, about{userID: user.ID}) },
		)
	})
}

// FindUser implements [auth.UserStore].
func (s *Store) FindUser(ctx context.Context, id string) (auth.User, error) {
	return read(ctx, &s.core, "find user", func(ctx context.Context, q querier) (auth.User, error) {
		return findUser(ctx, q, selectUser, id)
	})
}

// UpdateUser implements [auth.UserStore].
func (s *Store) UpdateUser(
	ctx context.Context, w auth.Write, id string, change auth.UserChange,
) (auth.User, error) {
	if err := cmp.Or(ctx.Err(), w.Validate(), change.Validate()); err != nil {
		return auth.User{}, err
	}
	return writeFor(ctx, &s.core, "update user", func(ctx context.Context, t tx) (auth.User, error) {
		a, user, err := changeUser(ctx, t, w, id, change, func(a acting) error {
			return a.facts().CheckUserChange(a.users[id], change)
		})
		if err != nil {
			return user, err
		}
		return user, runInOrder(
			func() error { return a.rename(ctx, a.users[id], user) },
			func() error {
				if !setsFalse(change.IsSuperUser) {
					return nil
				}
				return t.change(ctx, spendGrants, id)
			},
			func() error { return a.addEvent(ctx, about{userID: id}) },
			func() error {
				if !setsFalse(change.IsActive) {
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
	if err := cmp.Or(ctx.Err(), w.Validate(), key.Validate(), checkKeyOwner(key, id),
		checkNoNames(change)); err != nil {
		return auth.User{}, nil, err
	}
	var user auth.User
	tokens, err := writeFor(ctx, &s.core, "reset user",
		func(ctx context.Context, t tx) (tokens []auth.GitHubToken, err error) {
			var a acting
			a, user, err = changeUser(ctx, t, w, id, change, func(a acting) error {
				return a.facts().CheckReset(a.users[id], change, key)
			})
			if err != nil {
				return nil, err
			}
			user.AdmittedAt = time.Time{}
			err = runInOrder(
				func() error { return t.change(ctx, clearAdmitted, id) },
				func() error { return replaceKeys(ctx, t, key) },
				func() error { return t.change(ctx, spendGrants, id) },
				func() (err error) { tokens, err = removeGitHubOf(ctx, t, id); return err },
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

// DeleteUser implements [auth.UserStore]. DeleteUser removes the client address and the other
// client information from all events whose actor is the user. If users delete themselves, this
// includes the event of the deletion.
func (s *Store) DeleteUser(ctx context.Context, w auth.Write, id string) ([]auth.GitHubToken, error) {
	if err := cmp.Or(ctx.Err(), w.Validate()); err != nil {
		return nil, err
	}
	return writeFor(ctx, &s.core, "delete user",
		func(ctx context.Context, t tx) (tokens []auth.GitHubToken, err error) {
			a, user, err := changeUser(ctx, t, w, id,
				auth.UserChange{IsSuperUser: new(bool), IsActive: new(bool)}, nil)
			if err != nil {
				return nil, err
			}
			err = runInOrder(
				func() error { return a.retireUsername(ctx, user) },
				func() error { return t.remove(ctx, deleteUser, id) },
				func() error { return t.change(ctx, deleteUserKeys, id) },
				func() error { return t.change(ctx, deleteUserClients, id) },
				func() error { return t.change(ctx, forgetUser, toMicros(a.now), id) },
				func() (err error) { tokens, err = removeGitHubOf(ctx, t, id); return err },
				func() error { return a.addEvent(ctx, about{userID: id}) },
				func() error { return t.change(ctx, blankClient, id) },
				func() error { _, err := a.revokeSessionsOf(ctx, id); return err },
			)
			return tokens, err
		})
}

// runInOrder runs the steps until one returns an error, and returns that error.
func runInOrder(steps ...func() error) error {
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

// findUser finds the user with the query selectUser or lockUser.
func findUser(ctx context.Context, q querier, query, id string) (user auth.User, err error) {
	if !storable(id, auth.MaxIDLength) {
		return user, auth.ErrNotFound
	}
	err = scan(q.row(ctx, query, id), userFields(&user)...)
	return user, err
}

// holdUser returns the user, and locks the user's record until the transaction ends. holdUser is
// for transactions without an authority. All other transactions lock users with [hold].
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

// hostUser returns the record that an [Accounts] returns for a user in the host's users table. Only
// the ID is set.
func hostUser(id string) auth.User { return auth.User{ID: id} }

// holdActive does the same as holdUser, but returns [auth.ErrUserDisabled] if the user is not
// active.
func holdActive(ctx context.Context, t tx, id string) (auth.User, error) {
	user, err := holdUser(ctx, t, id)
	if err != nil {
		return user, err
	}
	return user, checkActive(t, user)
}

// checkActive returns [auth.ErrUserDisabled] if the user is not active. In a store
// without users, checkActive returns nil, because an [Accounts] does not know whether a user is
// active.
func checkActive(t tx, user auth.User) error {
	if t.store.keepsUsers() && !user.IsActive {
		return auth.ErrUserDisabled
	}
	return nil
}

// checkUserWithKey returns an error if the user or the key is invalid, or if the key belongs to
// another user.
func checkUserWithKey(user auth.User, key auth.AccessKey) error {
	return auth.UserWithKeys{User: user, Keys: []auth.AccessKey{key}}.Validate()
}

func checkKeyOwner(key auth.AccessKey, userID string) error {
	if key.UserID != userID {
		return &auth.InvalidError{Field: "user_id",
			Reason: "must be the ID of the user to whom the key belongs"}
	}
	return nil
}

func checkAdministers(user auth.User) error {
	if !administers(user) {
		return &auth.InvalidError{Field: "is_super_user",
			Reason: "must be true, and the user an active person"}
	}
	return nil
}

// administers reports whether the user is an active super user and a person.
func administers(user auth.User) bool { return user.IsSuperUser && user.IsActive && !user.IsService }

const (
	insertUsers = `
INSERT INTO auth_users
	(id, username, username_folded, email, email_folded, is_super_user, is_active,
	created_at, last_login, admitted_at, is_service, created_by, audiences)
VALUES `
	userRow    = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	insertUser = insertUsers + userRow
)

func userValues(user auth.User) []any {
	return []any{
		user.ID, user.Username, auth.FoldASCII(user.Username), user.Email, foldedEmail(user),
		flag(user.IsSuperUser), flag(user.IsActive),
		toMicros(user.CreatedAt), toMicros(user.LastLogin), toMicros(user.AdmittedAt),
		flag(user.IsService), user.CreatedBy, user.Audiences,
	}
}

func insertUserWithKey(ctx context.Context, t tx, user auth.User, key auth.AccessKey) error {
	if err := addUser(ctx, t, user); err != nil {
		return err
	}
	return insertKey(ctx, t, key)
}

const updateUser = `UPDATE auth_users SET is_super_user = ?, is_active = ? WHERE id = ?`

// changeUser locks the record of the user, applies the change on behalf of the authority, and
// returns the changed user. If the change disables the user, the caller revokes the sessions. If permit is
// not nil, changeUser calls it after the check of the authority, and before all other checks of the change.
func changeUser(
	ctx context.Context, t tx, w auth.Write, id string, change auth.UserChange, permit func(acting) error,
) (acting, auth.User, error) {
	mayTakePower := setsFalse(change.IsSuperUser) || setsFalse(change.IsActive)
	a, err := holdOwnerWith(ctx, t, w, id, locks{superUsers: mayTakePower})
	if err == nil && permit != nil {
		err = permit(a)
	}
	if err != nil {
		return a, auth.User{}, err
	}
	user := a.users[id]
	administered := administers(user)
	user = storekit.ChangeUser(user, change)
	if administered && !administers(user) {
		if err := requireSuperUserBeside(ctx, t, id); err != nil {
			return a, user, err
		}
	}
	return a, user, t.change(ctx, updateUser, flag(user.IsSuperUser), flag(user.IsActive), id)
}

// setsFalse reports whether the change sets the flag to false.
func setsFalse(flag *bool) bool { return flag != nil && !*flag }

const lockSuperUsers = `SELECT name FROM auth_locks WHERE name = 'super users' FOR UPDATE`

// holdSuperUsers lets only one transaction at a time disable, demote or delete a super user.
// Without this lock, two transactions could change different super users at the same time. Each
// would find that another super user remains, and in the end none would remain.
func holdSuperUsers(ctx context.Context, t tx) error {
	if t.store.dialect.oneWriter {
		return nil
	}
	var name string
	if err := t.row(ctx, lockSuperUsers).Scan(&name); err != nil {
		return fmt.Errorf("lock the row 'super users' of auth_locks: %w", err)
	}
	return nil
}

const selectOtherSuperUsers = `
SELECT EXISTS (SELECT 1 FROM auth_users WHERE is_super_user = 1 AND is_active = 1 AND is_service = 0 AND id <> ?)`

// requireSuperUserBeside returns [auth.ErrLastSuperUser] unless a person with another ID is an active
// super user.
func requireSuperUserBeside(ctx context.Context, t tx, id string) error {
	another, err := t.queryBool(ctx, selectOtherSuperUsers, id)
	if err == nil && !another {
		return auth.ErrLastSuperUser
	}
	return err
}
