package kvstore

import (
	"bytes"
	"context"
	"time"

	"github.com/sallyport-go/auth"
)

// Register implements [auth.UserStore].
func (s *Store) Register(ctx context.Context, user auth.User, key auth.AccessKey) error {
	if err := check(ctx, withKey(user, key)); err != nil {
		return err
	}
	return s.update(ctx, func(t tx) error { return t.register(user, key) })
}

// RegisterUsers implements [auth.UserStore]. A user is registered whole or not at all, so it reads
// before it writes.
func (s *Store) RegisterUsers(ctx context.Context, users []auth.UserWithKeys) ([]error, error) {
	records := make([]interface{ Validate() error }, len(users))
	for i, user := range users {
		records[i] = user
	}
	if err := check(ctx, records...); err != nil {
		return nil, err
	}
	refusals := make([]error, len(users))
	err := s.update(ctx, func(t tx) error {
		for i, user := range users {
			if field := t.taken(user); field != "" {
				refusals[i] = &auth.ExistsError{Field: field, SameUserID: t.sameUser(user)}
				continue
			}
			if err := t.register(user.User, user.Keys...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return refusals, nil
}

// taken returns the first field of the user's that is, or "".
func (t tx) taken(user auth.UserWithKeys) (field string) {
	has := func(bucket, key string) bool { return key != "" && t.bucket(bucket).Get([]byte(key)) != nil }
	switch {
	case has(accounts, user.User.ID):
		return "user_id"
	case has(usernames, auth.FoldASCII(user.User.Username)):
		return "username"
	case has(emails, auth.FoldASCII(user.User.Email)):
		return "email"
	}
	ids := map[string]bool{}
	for _, key := range user.Keys {
		if has(keys, key.ID) || ids[key.ID] {
			return "access_key"
		}
		ids[key.ID] = true
	}
	return ""
}

// sameUser returns the ID of the user who has the username and all the keys, or "".
func (t tx) sameUser(user auth.UserWithKeys) string {
	id := t.bucket(usernames).Get([]byte(auth.FoldASCII(user.User.Username)))
	for _, key := range user.Keys {
		if owner := t.bucket(keys).Get([]byte(key.ID)); owner == nil || !bytes.Equal(owner, id) {
			return ""
		}
	}
	return string(id)
}

// Bootstrap implements [auth.UserStore].
func (s *Store) Bootstrap(ctx context.Context, user auth.User, key auth.AccessKey) error {
	if err := check(ctx, withKey(user, key)); err != nil {
		return err
	}
	if !administers(user) {
		return &auth.InvalidError{Field: "is_super_user", Reason: "must be true, and the user active"}
	}
	return s.update(ctx, func(t tx) error {
		once := []byte("once")
		if t.bucket(bootstrapped).Get(once) != nil {
			return auth.ErrBootstrapped
		}
		if err := t.bucket(bootstrapped).Put(once, []byte(user.ID)); err != nil {
			return err
		}
		return t.register(user, key)
	})
}

func withKey(user auth.User, key auth.AccessKey) auth.UserWithKeys {
	return auth.UserWithKeys{User: user, Keys: []auth.AccessKey{key}}
}

func (t tx) register(user auth.User, keys ...auth.AccessKey) error {
	a := newAccount(user)
	for _, key := range keys {
		if err := a.addKey(key); err != nil {
			return err
		}
	}
	return t.add(a)
}

// FindUser implements [auth.UserStore].
func (s *Store) FindUser(ctx context.Context, id string) (user auth.User, err error) {
	err = s.view(ctx, func(t tx) error {
		a, err := t.account(id)
		if err == nil {
			user = a.User
		}
		return err
	})
	return user, err
}

// ListUsers implements [auth.UserStore]. The database sorts keys by their bytes.
func (s *Store) ListUsers(ctx context.Context, after string, limit int) (users []auth.User, err error) {
	err = s.view(ctx, func(t tx) error {
		cursor := t.bucket(accounts).Cursor()
		key, text := cursor.Seek([]byte(after))
		if string(key) == after {
			key, text = cursor.Next()
		}
		for ; key != nil && len(users) < limit; key, text = cursor.Next() {
			a, err := decode(text)
			if err != nil {
				return err
			}
			users = append(users, a.User)
		}
		return nil
	})
	return users, err
}

// UpdateUser implements [auth.UserStore].
func (s *Store) UpdateUser(ctx context.Context, id string, change auth.UserChange) (user auth.User, err error) {
	err = s.update(ctx, func(t tx) error {
		return t.changeUser(id, func(a *account) error {
			err := t.set(a, change)
			user = a.User
			return err
		})
	})
	return userUnless(err, user)
}

// ResetUser implements [auth.UserStore].
func (s *Store) ResetUser(ctx context.Context, id string, change auth.UserChange, key auth.AccessKey) (user auth.User, tokens []auth.GitHubToken, err error) {
	if err := check(ctx, key); err != nil {
		return user, nil, err
	}
	if err := checkSame("user_id", key.UserID == id); err != nil {
		return user, nil, err
	}
	err = s.update(ctx, func(t tx) error {
		return t.changeUser(id, func(a *account) error {
			if err := t.set(a, change); err != nil {
				return err
			}
			if err := a.addKey(key); err != nil { // beside the old ones, whose IDs count
				return err
			}
			a.Keys = map[string]auth.AccessKey{key.ID: a.Keys[key.ID]}
			tokens = a.tokens()
			clear(a.GitHub)
			a.User.AdmittedAt = time.Time{}
			user = a.User
			return t.endAll(a)
		})
	})
	if err != nil {
		return auth.User{}, nil, err
	}
	return user, tokens, nil
}

// tokens returns the GitHub tokens that are the user's.
func (a *account) tokens() (tokens []auth.GitHubToken) {
	for _, c := range a.GitHub {
		if c.Token != nil {
			tokens = append(tokens, *c.Token)
		}
	}
	return tokens
}

// DeleteUser implements [auth.UserStore].
func (s *Store) DeleteUser(ctx context.Context, id string) (tokens []auth.GitHubToken, err error) {
	err = s.update(ctx, func(t tx) error {
		a, err := t.account(id)
		if err != nil {
			return err
		}
		if t.isLastAdministrator(a.User) {
			return auth.ErrLastSuperUser
		}
		tokens = a.tokens()
		if err := t.endAll(a); err != nil {
			return err
		}
		return t.remove(a)
	})
	if err != nil {
		return nil, err
	}
	return tokens, nil
}

func userUnless(err error, user auth.User) (auth.User, error) {
	if err != nil {
		return auth.User{}, err
	}
	return user, nil
}

// set changes the user's flags, and revokes the sessions of one who is disabled.
func (t tx) set(a *account, change auth.UserChange) error {
	last := t.isLastAdministrator(a.User)
	a.User = change.Apply(a.User)
	if last && !administers(a.User) {
		return auth.ErrLastSuperUser
	}
	if !a.User.IsActive {
		return t.endAll(a)
	}
	return nil
}

func administers(user auth.User) bool { return user.IsSuperUser && user.IsActive }

// isLastAdministrator reports whether the user administers and nobody else does.
func (t tx) isLastAdministrator(user auth.User) bool {
	cursor := t.bucket(administrators).Cursor()
	first, _ := cursor.First()
	second, _ := cursor.Next()
	return string(first) == user.ID && second == nil
}
