package kvstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// Register implements [auth.UserStore].
func (s *Store) Register(ctx context.Context, w auth.Write, user auth.User, key auth.AccessKey) error {
	if err := check(ctx, w, withKey(user, key)); err != nil {
		return err
	}
	return s.write(ctx, w, func(c *change) error {
		if err := c.mayRegister(user, key); err != nil {
			return err
		}
		return c.registerFirst(user, key)
	})
}

// RegisterUsers implements [auth.UserStore]. It checks all values of a user before it writes any of
// them, so that no user is registered in part.
func (s *Store) RegisterUsers(
	ctx context.Context, w auth.Write, users []auth.UserWithKeys,
) ([]error, error) {
	records := []interface{ Validate() error }{w}
	for _, user := range users {
		records = append(records, user)
	}
	if err := check(ctx, records...); err != nil {
		return nil, err
	}
	refusals := make([]error, len(users))
	err := s.write(ctx, w, func(c *change) error {
		if err := w.By.CheckOwner(""); err != nil {
			return err
		}
		for _, user := range users {
			if err := c.acting.CheckNewUser(user.User, user.Keys...); err != nil {
				return err
			}
		}
		added := false
		for i, user := range users {
			if field := c.taken(user); field != "" {
				refusals[i] = &auth.ExistsError{Field: field, SameUserID: c.sameUser(user)}
				continue
			}
			if err := c.register(user.User, user.Keys...); err != nil {
				return err
			}
			added = true
		}
		if !added {
			return nil
		}
		return c.addEvent("")
	})
	if err != nil {
		return nil, err
	}
	return refusals, nil
}

// taken returns the name of the first field of the user whose value is already in use. If there is
// no such field, taken returns "".
func (t tx) taken(user auth.UserWithKeys) (field string) {
	has := func(bucket, key string) bool {
		return key != "" && t.bucket(bucket).Get([]byte(key)) != nil
	}
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

// sameUser returns the ID of the stored user who has this username and all of these keys. It
// returns "" if there is no such user.
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
func (s *Store) Bootstrap(ctx context.Context, w auth.Write, user auth.User, key auth.AccessKey) error {
	if err := check(ctx, w, withKey(user, key)); err != nil {
		return err
	}
	if !administers(user) {
		return &auth.InvalidError{Field: "is_super_user",
			Reason: "must be true, and the user an active person"}
	}
	return s.write(ctx, w, func(c *change) error {
		if err := c.mayRegister(user, key); err != nil {
			return err
		}
		once := []byte("once")
		if c.bucket(bootstrapped).Get(once) != nil {
			return auth.ErrBootstrapped
		}
		if err := c.bucket(bootstrapped).Put(once, []byte(user.ID)); err != nil {
			return err
		}
		return c.registerFirst(user, key)
	})
}

func withKey(user auth.User, key auth.AccessKey) auth.UserWithKeys {
	return auth.UserWithKeys{User: user, Keys: []auth.AccessKey{key}}
}

// mayRegister returns an error unless the authority may register the user with this first key.
func (c *change) mayRegister(user auth.User, key auth.AccessKey) error {
	return cmp.Or(c.write.By.CheckOwner(user.ID), c.acting.CheckNewUser(user, key))
}

// registerFirst registers a user with a first key, and adds the event. The caller has called mayRegister.
func (c *change) registerFirst(user auth.User, key auth.AccessKey) error {
	if err := c.register(user, key); err != nil {
		return err
	}
	return c.addEvent(user.ID)
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

// UpdateUser implements [auth.UserStore].
func (s *Store) UpdateUser(
	ctx context.Context, w auth.Write, id string, to auth.UserChange,
) (user auth.User, err error) {
	if err := check(ctx, w, to); err != nil {
		return user, err
	}
	err = s.write(ctx, w, func(c *change) error {
		return c.user(id, func(a *account) error {
			old := a.User
			if err := cmp.Or(c.acting.CheckUserChange(old, to), c.set(a, to)); err != nil {
				return err
			}
			if err := c.rename(a, old); err != nil {
				return err
			}
			user = a.User
			if to.IsSuperUser != nil && !*to.IsSuperUser {
				if err := c.spendGrants(a); err != nil {
					return err
				}
			}
			if to.IsActive != nil && !*to.IsActive {
				return c.endAll(a, c.latestEnd())
			}
			return nil
		})
	})
	return userUnless(err, user)
}

// ResetUser implements [auth.UserStore].
func (s *Store) ResetUser(
	ctx context.Context, w auth.Write, id string, to auth.UserChange, key auth.AccessKey,
) (user auth.User, tokens []auth.GitHubToken, err error) {
	if err := check(ctx, w, key); err != nil {
		return user, nil, err
	}
	if err := cmp.Or(checkSame("user_id", key.UserID == id),
		checkSame("username", to.Username == nil && to.Email == nil)); err != nil {
		return user, nil, err
	}
	err = s.write(ctx, w, func(c *change) error {
		return c.user(id, func(a *account) error {
			if err := cmp.Or(c.acting.CheckReset(a.User, to, key), c.set(a, to)); err != nil {
				return err
			}
			// The new key is added before the old keys are removed. So it cannot reuse the ID of an
			// old key.
			if err := a.addKey(key); err != nil {
				return err
			}
			a.Keys = map[string]auth.AccessKey{key.ID: a.Keys[key.ID]}
			tokens = a.tokens()
			clear(a.GitHub)
			a.User.AdmittedAt = time.Time{}
			user = a.User
			if err := c.spendGrants(a); err != nil {
				return err
			}
			return c.endAll(a, c.latestEnd())
		})
	})
	if err != nil {
		return auth.User{}, nil, err
	}
	return user, tokens, nil
}

// tokens returns the user's GitHub tokens.
func (a *account) tokens() (tokens []auth.GitHubToken) {
	for _, c := range a.GitHub {
		if c.Token != nil {
			tokens = append(tokens, *c.Token)
		}
	}
	return tokens
}

// DeleteUser implements [auth.UserStore].
func (s *Store) DeleteUser(
	ctx context.Context, w auth.Write, id string,
) (tokens []auth.GitHubToken, err error) {
	if err := check(ctx, w); err != nil {
		return nil, err
	}
	err = s.write(ctx, w, func(c *change) error {
		if err := w.By.CheckOwner(id); err != nil {
			return err
		}
		a, err := c.account(id)
		if err != nil {
			return err
		}
		if c.isLastAdministrator(a.User) {
			return auth.ErrLastSuperUser
		}
		tokens = a.tokens()
		for _, of := range a.Remembered {
			if err := c.markForgotten(of); err != nil {
				return err
			}
		}
		if err := errors.Join(c.spendGrants(a), c.endAll(a, c.latestEnd()), c.remove(a),
			c.addEvent(id)); err != nil {
			return err
		}
		return c.blankClients(id) // including the event that was just added
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

// set applies the change to the user. It returns [auth.ErrLastSuperUser] if no active super user
// would be left.
func (t tx) set(a *account, to auth.UserChange) error {
	last := t.isLastAdministrator(a.User)
	a.User = storekit.ChangeUser(a.User, to)
	if last && !administers(a.User) {
		return auth.ErrLastSuperUser
	}
	return nil
}

// administers reports whether the user is an active super user and a person.
func administers(user auth.User) bool { return user.IsSuperUser && user.IsActive && !user.IsService }

// isLastAdministrator reports whether the user is the only active super user.
func (t tx) isLastAdministrator(user auth.User) bool {
	cursor := t.bucket(administrators).Cursor()
	first, _ := cursor.First()
	second, _ := cursor.Next()
	return string(first) == user.ID && second == nil
}
