package memstore

import (
	"context"
	"fmt"
	"time"

	"github.com/sallyport-go/auth"
)

// CreateSession implements [auth.SessionStore].
func (s *Store) CreateSession(ctx context.Context, record auth.Session) (auth.Session, auth.User, error) {
	if err := check(ctx, record); err != nil {
		return auth.Session{}, auth.User{}, err
	}
	record.CreatedAt = instant(record.CreatedAt)
	record.ExpiresAt = instant(record.ExpiresAt)

	s.mu.Lock()
	defer s.mu.Unlock()
	owner, key, err := s.opener(record)
	if err != nil {
		return auth.Session{}, auth.User{}, err
	}
	if s.sessions[record.ID] != nil {
		return auth.Session{}, auth.User{}, fmt.Errorf("memstore: session id: %w", auth.ErrExists)
	}

	if key != nil && key.expiry != nil && key.expiry.at.Before(record.ExpiresAt) {
		record.ExpiresAt = key.expiry.at
	}
	s.addSession(owner, key, record)
	owner.record.LastLogin = record.CreatedAt
	return record, owner.record, nil
}

// FindSession implements [auth.SessionStore].
func (s *Store) FindSession(ctx context.Context, id string) (auth.Session, error) {
	if err := check(ctx); err != nil {
		return auth.Session{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	found, err := s.session(id)
	if err != nil {
		return auth.Session{}, err
	}
	return found.record, nil
}

// EndSession implements [auth.SessionStore].
func (s *Store) EndSession(ctx context.Context, id string) error {
	if err := check(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found, err := s.session(id)
	if err != nil {
		return err
	}
	s.removeSession(found)
	return nil
}

// PruneSessions implements [auth.SessionStore]. It holds the lock for as long
// as it takes to remove limit sessions.
func (s *Store) PruneSessions(ctx context.Context, expired time.Time, limit int) (int, error) {
	if err := check(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessionsByExpiry.prune(expired, limit, s.removeSession), nil
}

// session returns the session with this ID, or ErrNotFound. The caller holds
// the lock.
func (s *Store) session(id string) (*session, error) {
	found := s.sessions[id]
	if found == nil {
		return nil, fmt.Errorf("memstore: session: %w", auth.ErrNotFound)
	}
	return found, nil
}

// opener returns the user whom the session is for and the key that opens it,
// nil if none does, or an error if they may not open one. The caller holds the
// lock.
func (s *Store) opener(record auth.Session) (*user, *accessKey, error) {
	owner, err := s.user(record.UserID)
	if err != nil {
		return nil, nil, err
	}
	if !owner.record.IsActive {
		return nil, nil, fmt.Errorf("memstore: %w", auth.ErrUserDisabled)
	}
	if record.AccessKeyID == "" {
		return owner, nil, nil
	}
	key, err := s.key(record.AccessKeyID)
	if err != nil {
		return nil, nil, err
	}
	if key.owner != owner {
		return nil, nil, fmt.Errorf("memstore: access key of this user: %w", auth.ErrNotFound)
	}
	if key.expiry != nil && !key.expiry.at.After(record.CreatedAt) {
		return nil, nil, fmt.Errorf("memstore: access key has expired: %w", auth.ErrNotFound)
	}
	return owner, key, nil
}

// addSession adds a session that has been checked; key is nil if none opened
// it. The caller holds the lock.
func (s *Store) addSession(owner *user, key *accessKey, record auth.Session) {
	added := &session{record: record, owner: owner, key: key}
	added.expiry = s.sessionsByExpiry.add(added, record.ExpiresAt)
	s.sessions[record.ID] = added
	owner.sessions.add(added)
	if key != nil {
		key.sessions.add(added)
	}
}

// removeSession removes the session wherever it is known. The caller holds the
// lock.
func (s *Store) removeSession(old *session) {
	s.sessionsByExpiry.remove(old.expiry)
	delete(s.sessions, old.record.ID)
	delete(old.owner.sessions, old)
	if old.key != nil {
		delete(old.key.sessions, old)
	}
}

// endAll removes all of a user's or a key's sessions. The set is empty
// afterwards. The caller holds the lock.
func (s *Store) endAll(sessions set[*session]) {
	for old := range sessions {
		s.removeSession(old)
	}
}
