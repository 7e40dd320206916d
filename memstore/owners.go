package memstore

import (
	"fmt"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

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
	case s.usernames[auth.FoldASCII(record.Username)] != nil:
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
	if added.record.IsService {
		s.servicesByID.add(added)
	}
	s.takeUsername(added.record)
	s.byUsername.add(nameOf(added, added.record.Username))
	s.addEmail(added, added.record.Email)
	if administers(added.record) {
		s.administrators++
	}
}

// removeUser removes a user who has no keys, sessions or links left. It retires the username. The caller
// holds the lock.
func (s *accounts) removeUser(old *user, now time.Time) {
	s.retireUsername(old.record, now)
	delete(s.users, old.record.ID)
	s.usersByID.remove(old)
	if old.record.IsService {
		s.servicesByID.remove(old)
	}
	s.byUsername.remove(nameOf(old, old.record.Username))
	s.removeEmail(old)
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
	record := storekit.ChangeUser(u.record, change)
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

// administers reports whether the user is an active super user and a person. A disabled super user does not
// count, because a disabled user cannot sign in.
func administers(u auth.User) bool { return u.IsActive && u.IsSuperUser && !u.IsService }
