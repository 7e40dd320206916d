package memstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
)

// CreateSession implements [auth.SessionStore].
func (s *accounts) CreateSession(ctx context.Context, record auth.Session, limit int) (auth.Session, auth.User, error) {
	if err := check(ctx, record); err != nil {
		return auth.Session{}, auth.User{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	owner, err := s.user(record.UserID)
	if err != nil {
		return auth.Session{}, auth.User{}, err
	}
	added, err := s.newSession(owner, record)
	if err != nil {
		return auth.Session{}, auth.User{}, err
	}
	s.makeRoom(added, limit)
	s.addSession(added)
	return added.record, owner.record, nil
}

// FindSession implements [auth.SessionStore].
func (s *accounts) FindSession(ctx context.Context, id string) (auth.Session, error) {
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

// ListSessions implements [auth.SessionStore].
func (s *accounts) ListSessions(ctx context.Context, userID string, now time.Time) ([]auth.Session, error) {
	if err := check(ctx); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var live []auth.Session
	for _, found := range s.users[userID].liveSessions(now) {
		live = append(live, found.record)
	}
	return live, nil
}

// liveSessions returns the user's sessions that have not expired at the given time,
// the newest first. A nil user has none.
func (u *user) liveSessions(now time.Time) (live []*session) {
	if u == nil {
		return nil
	}
	for _, found := range slices.Backward(u.sessions) {
		if found.record.ExpiresAt.After(instant(now)) {
			live = append(live, found)
		}
	}
	return live
}

// sessionsByAge is sessions, the oldest first.
type sessionsByAge []*session

func (l sessionsByAge) place(s *session) (int, bool) {
	return slices.BinarySearchFunc(l, s, func(a, b *session) int {
		return cmp.Or(
			a.record.CreatedAt.Compare(b.record.CreatedAt),
			cmp.Compare(a.record.Generation, b.record.Generation),
			cmp.Compare(a.record.ID, b.record.ID),
		)
	})
}

func (l *sessionsByAge) add(s *session) {
	i, _ := l.place(s)
	*l = slices.Insert(*l, i, s)
}

func (l *sessionsByAge) remove(s *session) {
	if i, found := l.place(s); found {
		*l = slices.Delete(*l, i, i+1)
	}
}

// RevokeSession implements [auth.SessionStore].
func (s *accounts) RevokeSession(ctx context.Context, w auth.Write, id string) error {
	if err := check(ctx, w); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ownerID := ""
	if found := s.sessions[id]; found != nil {
		ownerID = found.record.UserID
	}
	now, err := s.authorize(w, ownerID)
	if err != nil {
		return err
	}
	found, err := s.session(id)
	if err != nil {
		return err
	}
	s.revokeSessions(ownerID, found)
	s.addEvent(w, now, subject{userID: ownerID})
	return nil
}

// RevokeUserSessions implements [auth.SessionStore].
func (s *accounts) RevokeUserSessions(ctx context.Context, w auth.Write, userID string) (int, error) {
	if err := check(ctx, w); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.authorize(w, userID)
	if err != nil {
		return 0, err
	}
	u, err := s.user(userID)
	if err != nil {
		return 0, err
	}
	live := len(u.liveSessions(now))
	s.revokeAllOf(u, now.Add(w.MaxTokenLifetime))
	s.addEvent(w, now, subject{userID: userID})
	return live, nil
}

// PruneSessions implements [auth.SessionStore]. It holds the lock for as long
// as it takes to remove limit sessions.
func (s *accounts) PruneSessions(ctx context.Context, expired time.Time, limit int) (int, error) {
	if err := check(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessionsByExpiry.prune(expired, limit, s.removeSession), nil
}

// session returns the session with this ID, or ErrNotFound. The caller holds
// the lock.
func (s *accounts) session(id string) (*session, error) {
	found := s.sessions[id]
	if found == nil {
		return nil, fmt.Errorf("memstore: session: %w", auth.ErrNotFound)
	}
	return found, nil
}

// newSession returns a session to add, or an error if there can be none for this
// owner, who need not have been added yet. It changes nothing. The caller holds
// the lock.
func (s *accounts) newSession(owner *user, record auth.Session) (*session, error) {
	record.CreatedAt = instant(record.CreatedAt)
	record.ExpiresAt = instant(record.ExpiresAt)
	if err := s.checkActive(owner); err != nil {
		return nil, err
	}
	key, err := s.opener(owner, record)
	if err != nil {
		return nil, err
	}
	if s.sessions[record.ID] != nil {
		return nil, fmt.Errorf("memstore: session id: %w", auth.ErrExists)
	}
	if key != nil && key.expiry != nil && key.expiry.at.Before(record.ExpiresAt) {
		record.ExpiresAt = key.expiry.at
	}
	return &session{record: record, owner: owner, key: key}, nil
}

// opener returns the key that opens the session, nil if none does, or
// ErrNotFound if it does not open one. The caller holds the lock.
func (s *accounts) opener(owner *user, record auth.Session) (*accessKey, error) {
	if record.AccessKeyID == "" {
		return nil, nil
	}
	key, err := s.key(record.AccessKeyID)
	if err != nil {
		return nil, err
	}
	if key.owner != owner {
		return nil, fmt.Errorf("memstore: access key of this user: %w", auth.ErrNotFound)
	}
	if !key.goodAt(record.CreatedAt) {
		return nil, fmt.Errorf("memstore: access key has expired: %w", auth.ErrNotFound)
	}
	return key, nil
}

// makeRoom ends the oldest sessions of the owner that are too many when there is
// one more. The caller holds the lock.
func (s *accounts) makeRoom(added *session, limit int) {
	if limit < 1 || len(added.owner.sessions) < limit {
		return
	}
	if live := added.owner.liveSessions(added.record.CreatedAt); len(live) >= limit {
		s.revokeSessions(added.record.UserID, live[limit-1:]...)
	}
}

// addSession adds what newSession returned. The caller has held the lock since.
func (s *accounts) addSession(added *session) {
	added.record.Generation = s.feed.head
	added.expiry = s.sessionsByExpiry.add(added, added.record.ExpiresAt)
	s.sessions[added.record.ID] = added
	added.owner.sessions.add(added)
	if added.key != nil {
		added.key.sessions.add(added)
		added.key.use(added.record.CreatedAt)
	}
	if !s.withoutUsers {
		added.owner.record.LastLogin = added.record.CreatedAt
	}
	s.owns(added.owner)
}

// removeSession removes the session wherever it is known. The caller holds the
// lock.
func (s *accounts) removeSession(old *session) {
	s.sessionsByExpiry.remove(old.expiry)
	delete(s.sessions, old.record.ID)
	old.owner.sessions.remove(old)
	if old.key != nil {
		delete(old.key.sessions, old)
	}
	s.lost(old.owner)
}

// revokeAllOf revokes all of the user's sessions, in one entry of the feed, which lives until
// they have expired, and at least until the given time. The caller holds the lock.
func (s *accounts) revokeAllOf(u *user, until time.Time) {
	until = instant(until)
	for len(u.sessions) > 0 {
		old := u.sessions[len(u.sessions)-1] // from the end, where nothing has to move
		until = latest(until, old.record.ExpiresAt)
		s.removeSession(old)
	}
	s.feed.addForUser(u.record.ID, until)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
