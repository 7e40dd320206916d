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
// Only one call of Bootstrap can succeed in a store, and that call must create a super user.
// Therefore, Bootstrap returns [auth.ErrInvalid] if the user is not an active super user.
func (s *Store) Bootstrap(ctx context.Context, w auth.Write, user auth.User, key auth.AccessKey) error {
	if err := checkNewUser(ctx, w, user, key); err != nil {
		return err
	}
	if !administers(user) {
		return invalid("is_super_user", "must be true, and the user active")
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

// ListUsers implements [auth.UserStore]. It finds the first user in logarithmic time, and holds the
// lock while it copies up to limit users.
func (s *Store) ListUsers(ctx context.Context, after string, limit int) ([]auth.User, error) {
	if err := check(ctx); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var page []auth.User
	for u := range s.usersByID.after(after) {
		if len(page) >= limit {
			break
		}
		page = append(page, u.record)
	}
	return page, nil
}

// UpdateUser implements [auth.UserStore].
func (s *Store) UpdateUser(
	ctx context.Context, w auth.Write, id string, change auth.UserChange,
) (auth.User, error) {
	if err := check(ctx, w); err != nil {
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
	changed, err := s.changedRecord(u, change)
	if err != nil {
		return auth.User{}, err
	}
	if change.GivesPower() {
		if err := s.checkGrant(w, nil); err != nil {
			return auth.User{}, err
		}
	}
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
	changed, err := s.changedRecord(u, change)
	if err != nil {
		return auth.User{}, nil, err
	}
	granted := key.Scopes
	if change.IsSuperUser != nil && *change.IsSuperUser {
		granted = nil
	}
	if err := cmp.Or(s.checkGrant(w, granted), s.checkKeyIsNew(key.ID)); err != nil {
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
		account.rememberedFor = ""
	}
	s.removeUser(u)
	s.addEvent(w, now, subject{userID: id})
	s.trail.blankClients(id) // including the event that was just added
	return tokens, nil
}

// checkNewUser returns an error if ctx is done or if the write, the user or the key is invalid.
func checkNewUser(ctx context.Context, w auth.Write, user auth.User, key auth.AccessKey) error {
	return check(ctx, w, auth.UserWithKeys{User: user, Keys: []auth.AccessKey{key}})
}

// register adds the user and the keys, or returns ErrExists and adds nothing. The caller has
// validated the records and holds the lock.
func (s *accounts) register(record auth.User, keys ...auth.AccessKey) error {
	added, err := s.newUser(record)
	if err != nil {
		return err
	}
	ids := make(set[string], len(keys))
	for _, key := range keys {
		if err := s.checkKeyIsNew(key.ID); err != nil {
			return err
		}
		ids.add(key.ID)
	}
	if len(ids) < len(keys) {
		return taken("access_key")
	}
	s.addUser(added)
	for _, key := range keys {
		s.addKey(added, key)
	}
	return nil
}

// newUser returns a user that addUser can add. It returns ErrExists if the ID, the username or the
// email is taken. It changes nothing. The caller holds the lock.
func (s *accounts) newUser(record auth.User) (*user, error) {
	switch {
	case s.users[record.ID] != nil:
		return nil, taken("user_id")
	case s.usernames.has(auth.FoldASCII(record.Username)):
		return nil, taken("username")
	case s.emails.has(auth.FoldASCII(record.Email)):
		return nil, taken("email")
	}
	record.CreatedAt = storedTime(record.CreatedAt)
	record.LastLogin = storedTime(record.LastLogin)
	record.AdmittedAt = storedTime(record.AdmittedAt)
	return newOwner(record), nil
}

// newOwner returns a user who has no keys, sessions or links.
func newOwner(record auth.User) *user {
	return &user{
		record:     record,
		keys:       make(set[*accessKey]),
		links:      make(map[string]*githubLink),
		remembered: make(set[*githubAccount]),
	}
}

// addUser adds a user that newUser returned. The caller must hold the lock from the call of newUser
// until addUser returns.
func (s *accounts) addUser(added *user) {
	s.users[added.record.ID] = added
	s.usersByID.add(added)
	s.usernames.add(auth.FoldASCII(added.record.Username))
	if added.record.Email != "" {
		s.emails.add(auth.FoldASCII(added.record.Email))
	}
	if administers(added.record) {
		s.administrators++
	}
}

// removeUser removes a user who has no keys, sessions or links left. The username stays taken. The
// caller holds the lock.
func (s *accounts) removeUser(old *user) {
	delete(s.users, old.record.ID)
	s.usersByID.remove(old)
	delete(s.emails, auth.FoldASCII(old.record.Email))
	if administers(old.record) {
		s.administrators--
	}
}

// removeWaysIn removes all keys, sessions and links of the user, and returns the tokens of the
// links. The feed entry for the sessions expires at the given time, or later: see revokeAllOf. The
// caller holds the lock.
func (s *accounts) removeWaysIn(u *user, until time.Time) (tokens []auth.GitHubToken) {
	s.revokeAllOf(u, until)
	for old := range u.keys {
		s.removeKey(old)
	}
	for _, old := range u.links {
		if old.token != nil {
			tokens = append(tokens, old.token.copy())
		}
		s.removeLink(u, old)
	}
	return tokens
}

// user returns the user with this ID. The caller holds the lock.
//
// A store with users returns ErrNotFound if there is no such user. In a store without users, every
// valid ID belongs to an active user. If such a store has no record of the user, the method returns
// a new record, and ownerGained later adds this record to the store. The method returns ErrNotFound
// if the ID is not valid. The empty ID is not valid, because in the feed it stands for all users.
func (s *accounts) user(id string) (*user, error) {
	u := s.users[id]
	switch {
	case u != nil:
		return u, nil
	case s.withoutUsers && id != "" && len(id) <= auth.MaxIDLength:
		return newOwner(auth.User{ID: id}), nil
	}
	return nil, fmt.Errorf("memstore: user: %w", auth.ErrNotFound)
}

// ownerGained must be called after u has gained a key, a session or a link. In a store without
// users, it makes sure that the store contains u. The caller holds the lock.
func (s *accounts) ownerGained(u *user) {
	if s.withoutUsers && s.users[u.record.ID] == nil {
		s.users[u.record.ID] = u
		s.usersByID.add(u)
	}
}

// ownerLost must be called after u has lost a key, a session or a link. In a store without users,
// it removes u if u has none of these records left. The caller holds the lock.
func (s *accounts) ownerLost(u *user) {
	kept := s.users[u.record.ID] == u
	if s.withoutUsers && kept && len(u.keys)+len(u.sessions)+len(u.links) == 0 {
		delete(s.users, u.record.ID)
		s.usersByID.remove(u)
	}
}

// changedRecord returns the record that u would have after the change, and does not modify u. It returns
// ErrLastSuperUser if the change would leave no active super user. The caller holds the lock.
func (s *accounts) changedRecord(u *user, change auth.UserChange) (auth.User, error) {
	record := change.Apply(u.record)
	if administers(u.record) && !administers(record) && s.administrators == 1 {
		return auth.User{}, fmt.Errorf("memstore: %w", auth.ErrLastSuperUser)
	}
	return record, nil
}

// setUser replaces the record of a user who is in the store, and updates the number of
// administrators. Every change of IsActive or IsSuperUser must use setUser. The caller holds the
// lock.
func (s *accounts) setUser(u *user, record auth.User) {
	if administers(u.record) {
		s.administrators--
	}
	if administers(record) {
		s.administrators++
	}
	u.record = record
}

// administers reports whether the user is an active super user. A disabled super user does not
// count, because a disabled user cannot sign in.
func administers(u auth.User) bool { return u.IsActive && u.IsSuperUser }
