package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/sallyport-go/auth"
)

// Register implements [auth.UserStore].
func (s *Store) Register(ctx context.Context, user auth.User, key auth.AccessKey) error {
	if err := cmp.Or(ctx.Err(), checkUserWithKey(user, key)); err != nil {
		return err
	}
	return s.write(ctx, "register", func(ctx context.Context, t tx) error {
		return insertUserWithKey(ctx, t, user, key)
	})
}

const insertBootstrap = `INSERT INTO auth_bootstrap (id, user_id) VALUES (1, ?)`

// Bootstrap implements [auth.UserStore]. A user who is not an active super user
// is [auth.ErrInvalid]: the one call would be spent, and nobody could administer.
func (s *Store) Bootstrap(ctx context.Context, user auth.User, key auth.AccessKey) error {
	if err := cmp.Or(ctx.Err(), checkUserWithKey(user, key), checkAdministers(user)); err != nil {
		return err
	}
	return s.write(ctx, "bootstrap", func(ctx context.Context, t tx) error {
		err := t.insert(ctx, insertBootstrap, user.ID)
		if errors.Is(err, auth.ErrExists) {
			return auth.ErrBootstrapped
		}
		if err != nil {
			return err
		}
		return insertUserWithKey(ctx, t, user, key)
	})
}

// FindUser implements [auth.UserStore].
func (s *Store) FindUser(ctx context.Context, id string) (auth.User, error) {
	return read(ctx, s, "find user", func(q queryer) (auth.User, error) {
		return findUser(ctx, q, id)
	})
}

// UpdateUser implements [auth.UserStore].
func (s *Store) UpdateUser(ctx context.Context, id string, change auth.UserChange) (auth.User, error) {
	return writeFor(ctx, s, "update user", func(ctx context.Context, t tx) (auth.User, error) {
		user, err := changeUser(ctx, t, id, change)
		if err != nil || user.IsActive {
			return user, err
		}
		return user, endSessionsOf(ctx, t, id)
	})
}

// ResetUser implements [auth.UserStore].
func (s *Store) ResetUser(ctx context.Context, id string, change auth.UserChange, key auth.AccessKey) (auth.User, error) {
	if err := cmp.Or(ctx.Err(), key.Validate(), checkOwner(key, id)); err != nil {
		return auth.User{}, err
	}
	return writeFor(ctx, s, "reset user", func(ctx context.Context, t tx) (auth.User, error) {
		user, err := changeUser(ctx, t, id, change)
		if err != nil {
			return user, err
		}
		if err := endSessionsOf(ctx, t, id); err != nil {
			return user, err
		}
		if err := forgetGitHubOf(ctx, t, id); err != nil {
			return user, err
		}
		if _, err := t.count(ctx, clearAdmitted, id); err != nil {
			return user, err
		}
		user.AdmittedAt = time.Time{}
		return user, replaceKeys(ctx, t, key)
	})
}

const clearAdmitted = `UPDATE auth_users SET admitted_at = 0 WHERE id = ?`

const selectUser = `SELECT ` + userColumns + ` FROM auth_users u WHERE u.id = ?`

func findUser(ctx context.Context, q queryer, id string) (user auth.User, err error) {
	if !storable(id, auth.MaxIDLength) {
		return user, auth.ErrNotFound
	}
	err = scan(q.QueryRowContext(ctx, selectUser, id), userFields(&user)...)
	return user, err
}

// checkUserWithKey returns an error if the two cannot be kept, or not together.
func checkUserWithKey(user auth.User, key auth.AccessKey) error {
	return cmp.Or(user.Validate(), key.Validate(), checkOwner(key, user.ID))
}

func checkOwner(key auth.AccessKey, userID string) error {
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

const insertUser = `
INSERT INTO auth_users
	(id, username, username_folded, email, email_folded, is_super_user, is_active, created_at, last_login, admitted_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

func insertUserWithKey(ctx context.Context, t tx, user auth.User, key auth.AccessKey) error {
	if err := addUser(ctx, t, user); err != nil {
		return err
	}
	return insertKey(ctx, t, key)
}

func addUser(ctx context.Context, t tx, user auth.User) error {
	var emailFolded any // NULL, of which there may be many
	if user.Email != "" {
		emailFolded = auth.FoldASCII(user.Email)
	}
	return t.insert(ctx, insertUser,
		user.ID, user.Username, auth.FoldASCII(user.Username), user.Email, emailFolded,
		user.IsSuperUser, user.IsActive, toMicros(user.CreatedAt), toMicros(user.LastLogin), toMicros(user.AdmittedAt))
}

const updateUser = `UPDATE auth_users SET is_super_user = ?, is_active = ? WHERE id = ?`

// changeUser returns the user as changed. The sessions are the caller's to end.
func changeUser(ctx context.Context, t tx, id string, change auth.UserChange) (auth.User, error) {
	user, err := findUser(ctx, t, id)
	if err != nil {
		return user, err
	}
	administered := administers(user)
	if change.IsSuperUser != nil {
		user.IsSuperUser = *change.IsSuperUser
	}
	if change.IsActive != nil {
		user.IsActive = *change.IsActive
	}
	if administered && !administers(user) {
		if err := requireSuperUserBeside(ctx, t, id); err != nil {
			return user, err
		}
	}
	return user, t.change(ctx, updateUser, user.IsSuperUser, user.IsActive, id)
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
