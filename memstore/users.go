package memstore

import (
	"context"
	"fmt"
	"time"

	"github.com/sallyport-go/auth"
)

// Register implements [auth.UserStore].
func (s *Store) Register(ctx context.Context, user auth.User, key auth.AccessKey) error {
	if err := checkNewUser(ctx, user, key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.register(user, key)
}

// Bootstrap implements [auth.UserStore].
//
// A user who is not an active super user is [auth.ErrInvalid]: the one call
// would be spent, and nobody could administer.
func (s *Store) Bootstrap(ctx context.Context, user auth.User, key auth.AccessKey) error {
	if err := checkNewUser(ctx, user, key); err != nil {
		return err
	}
	if !administers(user) {
		return invalid("is_super_user", "must be true, and the user active")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bootstrapped {
		return fmt.Errorf("memstore: %w", auth.ErrBootstrapped)
	}
	if err := s.register(user, key); err != nil {
		return err
	}
	s.bootstrapped = true
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

// UpdateUser implements [auth.UserStore].
func (s *Store) UpdateUser(ctx context.Context, id string, change auth.UserChange) (auth.User, error) {
	if err := check(ctx); err != nil {
		return auth.User{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.user(id)
	if err != nil {
		return auth.User{}, err
	}
	changed, err := s.changed(u, change)
	if err != nil {
		return auth.User{}, err
	}
	s.setUser(u, changed)
	return u.record, nil
}

// ResetUser implements [auth.UserStore].
func (s *Store) ResetUser(ctx context.Context, id string, change auth.UserChange, key auth.AccessKey) (auth.User, error) {
	if err := check(ctx, key); err != nil {
		return auth.User{}, err
	}
	if err := checkOwner(key, id); err != nil {
		return auth.User{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.user(id)
	if err != nil {
		return auth.User{}, err
	}
	changed, err := s.changed(u, change)
	if err != nil {
		return auth.User{}, err
	}
	if err := s.checkKeyIsNew(key.ID); err != nil {
		return auth.User{}, err
	}

	for old := range u.keys {
		s.removeKey(old)
	}
	for _, old := range u.links {
		s.removeLink(u, old)
	}
	s.endAll(u.sessions)
	changed.AdmittedAt = time.Time{}
	s.setUser(u, changed)
	s.addKey(u, key)
	return u.record, nil
}

// checkNewUser returns an error if ctx is done, or if this user and first key
// cannot be kept.
func checkNewUser(ctx context.Context, user auth.User, key auth.AccessKey) error {
	if err := check(ctx, user, key); err != nil {
		return err
	}
	return checkOwner(key, user.ID)
}

// register adds the user and the key, or returns ErrExists. The caller holds
// the lock and has checked both.
func (s *Store) register(record auth.User, key auth.AccessKey) error {
	added, err := s.newUser(record)
	if err != nil {
		return err
	}
	if err := s.checkKeyIsNew(key.ID); err != nil {
		return err
	}
	s.addUser(added)
	s.addKey(added, key)
	return nil
}

// newUser returns a user to add, or ErrExists. It changes nothing. The caller
// holds the lock.
func (s *Store) newUser(record auth.User) (*user, error) {
	switch {
	case s.users[record.ID] != nil:
		return nil, fmt.Errorf("memstore: user id: %w", auth.ErrExists)
	case s.usernames.has(auth.FoldASCII(record.Username)):
		return nil, fmt.Errorf("memstore: username: %w", auth.ErrExists)
	case s.emails.has(auth.FoldASCII(record.Email)):
		return nil, fmt.Errorf("memstore: email: %w", auth.ErrExists)
	}
	record.CreatedAt = instant(record.CreatedAt)
	record.LastLogin = instant(record.LastLogin)
	record.AdmittedAt = instant(record.AdmittedAt)
	return &user{
		record:   record,
		keys:     make(set[*accessKey]),
		sessions: make(set[*session]),
		links:    make(map[string]*githubLink),
	}, nil
}

// addUser adds what newUser returned. The caller has held the lock since.
func (s *Store) addUser(added *user) {
	s.users[added.record.ID] = added
	s.usernames.add(auth.FoldASCII(added.record.Username))
	if added.record.Email != "" {
		s.emails.add(auth.FoldASCII(added.record.Email))
	}
	if administers(added.record) {
		s.administrators++
	}
}

// user returns the user with this ID, or ErrNotFound. The caller holds the lock.
func (s *Store) user(id string) (*user, error) {
	u := s.users[id]
	if u == nil {
		return nil, fmt.Errorf("memstore: user: %w", auth.ErrNotFound)
	}
	return u, nil
}

// checkActive returns ErrUserDisabled if the user is not active.
func checkActive(u *user) error {
	if u.record.IsActive {
		return nil
	}
	return fmt.Errorf("memstore: %w", auth.ErrUserDisabled)
}

// changed returns what u's record is to be after the change, or
// ErrLastSuperUser. It changes nothing. The caller holds the lock.
func (s *Store) changed(u *user, change auth.UserChange) (auth.User, error) {
	record := u.record
	if change.IsSuperUser != nil {
		record.IsSuperUser = *change.IsSuperUser
	}
	if change.IsActive != nil {
		record.IsActive = *change.IsActive
	}
	if administers(u.record) && !administers(record) && s.administrators == 1 {
		return auth.User{}, fmt.Errorf("memstore: %w", auth.ErrLastSuperUser)
	}
	return record, nil
}

// setUser is the only way that the flags of a user who has been added change, so
// that the count of administrators stays right and nobody disabled keeps a
// session. The caller holds the lock.
func (s *Store) setUser(u *user, record auth.User) {
	if administers(u.record) {
		s.administrators--
	}
	if administers(record) {
		s.administrators++
	}
	u.record = record
	if !record.IsActive {
		s.endAll(u.sessions)
	}
}

// administers reports whether the user counts as a super user: one who is
// disabled cannot help anybody.
func administers(u auth.User) bool { return u.IsActive && u.IsSuperUser }
