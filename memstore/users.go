package memstore

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
	if err := checkNewUser(ctx, w, user, key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.authorize(w, user.ID)
	if err != nil {
		return err
	}
	if err := s.checkNewUser(w, user, key); err != nil {
		return err
	}
	if err := s.register(user, key); err != nil {
		return err
	}
	s.addEvent(w, now, subject{userID: user.ID})
	return nil
}

// RegisterUsers implements [auth.UserStore]. It holds the lock while it adds all users.
func (s *Store) RegisterUsers(
	ctx context.Context, w auth.Write, users []auth.UserWithKeys,
) ([]error, error) {
	if err := check(ctx, w); err != nil {
		return nil, err
	}
	for _, user := range users {
		if err := user.Validate(); err != nil {
			return nil, fmt.Errorf("memstore: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.authorize(w, "")
	if err != nil {
		return nil, err
	}
	for _, user := range users {
		if err := s.checkNewUser(w, user.User, user.Keys...); err != nil {
			return nil, err
		}
	}
	added := false
	refusals := make([]error, len(users))
	for i, user := range users {
		refusals[i] = s.register(user.User, user.Keys...)
		if exists, ok := errors.AsType[*auth.ExistsError](refusals[i]); ok {
			exists.SameUserID = s.sameUser(user)
		}
		added = added || refusals[i] == nil
	}
	if added {
		s.addEvent(w, now, subject{})
	}
	return refusals, nil
}

// sameUser returns the ID of the user who has the username and all keys of the given record. It
// returns "" if there is no such user. The caller holds the lock.
func (s *accounts) sameUser(wanted auth.UserWithKeys) string {
	var same *user
	for i, key := range wanted.Keys {
		switch found := s.keys[key.ID]; {
		case found == nil, i > 0 && found.owner != same:
			return ""
		default:
			same = found.owner
		}
	}
	if auth.FoldASCII(same.record.Username) != auth.FoldASCII(wanted.User.Username) {
		return ""
	}
	return same.record.ID
}

// Bootstrap implements [auth.UserStore].
//
// Only one call of Bootstrap can succeed in a store, and that call must create a super user. Therefore,
// Bootstrap returns [auth.ErrInvalid] if the user is not an active super user, or is a service user.
func (s *Store) Bootstrap(ctx context.Context, w auth.Write, user auth.User, key auth.AccessKey) error {
	if err := checkNewUser(ctx, w, user, key); err != nil {
		return err
	}
	if !administers(user) {
		return invalid("is_super_user", "must be true, and the user an active person")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.authorize(w, user.ID)
	if err != nil {
		return err
	}
	if err := s.checkNewUser(w, user, key); err != nil {
		return err
	}
	if s.bootstrapped {
		return fmt.Errorf("memstore: %w", auth.ErrBootstrapped)
	}
	if err := s.register(user, key); err != nil {
		return err
	}
	s.bootstrapped = true
	s.addEvent(w, now, subject{userID: user.ID})
	return nil
}

// FindUser implements [auth.UserStore].
func (s *Store) FindUser(ctx context.Context, id string) (auth.User, error) {
	if err := check(ctx); err != nil {
		return auth.User{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	u, err := s.user(id)
	if err != nil {
		return auth.User{}, err
	}
	return u.record, nil
}

// ListUsers implements [auth.UserStore]. It finds the first user in logarithmic time, and holds the lock
// while it copies up to Limit users. It also passes over the users between them whom the Kind or the State
// excludes. But a list of service users without a Search passes over no persons.
func (s *Store) ListUsers(ctx context.Context, query auth.UserQuery) ([]auth.User, error) {
	if err := check(ctx, query); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if query.Search != "" {
		return s.search(query), nil
	}
	inOrder := s.usersByID
	if query.Kind == auth.UserKindService {
		inOrder = s.servicesByID
	}
	var page []auth.User
	for u := range inOrder.after(query.After) {
		if len(page) >= query.Limit {
			break
		}
		if query.Matches(u.record) {
			page = append(page, u.record)
		}
	}
	return page, nil
}

// UpdateUser implements [auth.UserStore].
func (s *Store) UpdateUser(
	ctx context.Context, w auth.Write, id string, change auth.UserChange,
) (auth.User, error) {
	if err := check(ctx, w, change); err != nil {
		return auth.User{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.authorize(w, id)
	if err != nil {
		return auth.User{}, err
	}
	u, err := s.user(id)
	if err != nil {
		return auth.User{}, err
	}
	if err := s.acting(w).CheckUserChange(u.record, change); err != nil {
		return auth.User{}, fmt.Errorf("memstore: %w", err)
	}
	changed, err := s.changedRecord(u, change)
	if err != nil {
		return auth.User{}, err
	}
	if err := s.checkNames(u, changed); err != nil {
		return auth.User{}, err
	}
	s.rename(u, changed, now)
	s.setUser(u, changed)
	if change.IsActive != nil && !*change.IsActive {
		s.revokeAllOf(u, now.Add(w.MaxTokenLifetime))
	}
	if change.IsSuperUser != nil && !*change.IsSuperUser {
		u.spendGrants()
	}
	s.addEvent(w, now, subject{userID: id})
	return u.record, nil
}

// ResetUser implements [auth.UserStore].
func (s *Store) ResetUser(
	ctx context.Context, w auth.Write, id string, change auth.UserChange, key auth.AccessKey,
) (auth.User, []auth.GitHubToken, error) {
	if err := check(ctx, w, key); err != nil {
		return auth.User{}, nil, err
	}
	if err := checkOwner(key, id); err != nil {
		return auth.User{}, nil, err
	}
	if change.Username != nil || change.Email != nil {
		return auth.User{}, nil, invalid("username", "and email must not be changed together with the key")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.authorize(w, id)
	if err != nil {
		return auth.User{}, nil, err
	}
	u, err := s.user(id)
	if err != nil {
		return auth.User{}, nil, err
	}
	if err := s.acting(w).CheckReset(u.record, change, key); err != nil {
		return auth.User{}, nil, fmt.Errorf("memstore: %w", err)
	}
	changed, err := s.changedRecord(u, change)
	if err = cmp.Or(err, s.checkKeyIsNew(key.ID)); err != nil {
		return auth.User{}, nil, err
	}

	tokens := s.removeWaysIn(u, now.Add(w.MaxTokenLifetime))
	changed.AdmittedAt = time.Time{}
	s.setUser(u, changed)
	u.spendGrants()
	s.addKey(u, key)
	s.addEvent(w, now, subject{userID: id})
	return u.record, tokens, nil
}

// DeleteUser implements [auth.UserStore].
func (s *Store) DeleteUser(ctx context.Context, w auth.Write, id string) ([]auth.GitHubToken, error) {
	if err := check(ctx, w); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.authorize(w, id)
	if err != nil {
		return nil, err
	}
	u, err := s.user(id)
	if err != nil {
		return nil, err
	}
	if administers(u.record) && s.administrators == 1 {
		return nil, fmt.Errorf("memstore: %w", auth.ErrLastSuperUser)
	}
	tokens := s.removeWaysIn(u, now.Add(w.MaxTokenLifetime))
	u.spendGrants()
	for account := range u.remembered {
		s.forget(account, now)
	}
	s.removeUser(u, now)
	s.removeClientsOf(id)
	s.addEvent(w, now, subject{userID: id})
	s.trail.blankClients(id) // including the event that was just added
	return tokens, nil
}

// checkNewUser returns an error if ctx is done or if the write, the user or the key is invalid.
func checkNewUser(ctx context.Context, w auth.Write, user auth.User, key auth.AccessKey) error {
	return check(ctx, w, auth.UserWithKeys{User: user, Keys: []auth.AccessKey{key}})
}
