package memstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// CreateSession implements [auth.SessionStore].
func (s *accounts) CreateSession(
	ctx context.Context, record auth.Session, limit int,
) (auth.Session, auth.User, error) {
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
	s.revokeOldest(added, limit, record.ExpiresAt)
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
func (s *accounts) ListSessions(
	ctx context.Context, userID string, now time.Time,
) ([]auth.Session, error) {
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

// liveSessions returns the user's sessions that have not expired at the given time, the newest
// first. A nil user has no sessions.
func (u *user) liveSessions(now time.Time) (live []*session) {
	if u == nil {
		return nil
	}
	for _, found := range slices.Backward(u.sessions) {
		if found.record.ExpiresAt.After(storedTime(now)) {
			live = append(live, found)
		}
	}
	return live
}

// sessionsByAge contains sessions in the order in which they were created.
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
	s.revokeSessions(ownerID, lastTokenEnd(w, now), found)
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

// RevokeOtherSessions implements [auth.SessionStore].
func (s *accounts) RevokeOtherSessions(ctx context.Context, w auth.Write) (int, error) {
	if err := check(ctx, bySession{w}); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.authorize(w, w.By.UserID)
	if err != nil {
		return 0, err
	}
	acting := s.sessions[w.By.SessionID]
	live := len(acting.owner.liveSessions(now)) - 1
	s.devices.removeApproved(w.By.SessionID)
	if others := without(acting.owner.sessions, acting); len(others) > 0 {
		s.revokeSessions(w.By.UserID, lastTokenEnd(w, now), others...)
	}
	s.addEvent(w, now, subject{userID: w.By.UserID})
	return live, nil
}

// without returns the sessions except one.
func without(sessions sessionsByAge, except *session) []*session {
	return slices.DeleteFunc(slices.Clone(sessions), func(s *session) bool { return s == except })
}

// ExtendSession implements [auth.SessionStore].
func (s *accounts) ExtendSession(
	ctx context.Context, w auth.Write, until time.Time,
) (auth.Session, auth.User, error) {
	if err := check(ctx, bySession{w}); err != nil {
		return auth.Session{}, auth.User{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.authorize(w, w.By.UserID); err != nil {
		return auth.Session{}, auth.User{}, err
	}
	acting := s.sessions[w.By.SessionID]
	var key auth.AccessKey
	if acting.key != nil {
		key = acting.key.record
	}
	extended, err := storekit.ExtendSession(acting.record, storedTime(until), key)
	if err != nil {
		return auth.Session{}, auth.User{}, fmt.Errorf("memstore: extending a session: %w", err)
	}
	s.sessionsByExpiry.remove(acting.expiry)
	acting.record = extended
	acting.expiry = s.sessionsByExpiry.add(acting, extended.ExpiresAt)
	return extended, acting.owner.record, nil
}

// bySession validates a change that only a session can make.
type bySession struct{ auth.Write }

func (w bySession) Validate() error { return storekit.ValidateBySession(w.Write) }

// PruneSessions implements [auth.SessionStore]. It holds the lock while it removes up to limit
// sessions.
func (s *accounts) PruneSessions(ctx context.Context, expired time.Time, limit int) (int, error) {
	if err := check(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessionsByExpiry.prune(expired, limit, s.removeSession), nil
}

// session returns the session with this ID, or ErrNotFound. The caller holds the lock.
func (s *accounts) session(id string) (*session, error) {
	found := s.sessions[id]
	if found == nil {
		return nil, fmt.Errorf("memstore: session: %w", auth.ErrNotFound)
	}
	return found, nil
}

// newSession returns a session that addSession can add. It returns an error if the owner cannot
// have this session. It changes nothing. The owner can be a user who is not in the store yet. The
// caller holds the lock.
func (s *accounts) newSession(owner *user, record auth.Session) (*session, error) {
	record.CreatedAt = storedTime(record.CreatedAt)
	record.ExpiresAt = storedTime(record.ExpiresAt)
	if err := s.checkActive(owner); err != nil {
		return nil, err
	}
	var key *accessKey
	if record.AccessKeyID != "" {
		var err error
		if key, err = s.key(record.AccessKeyID); err != nil {
			return nil, err
		}
		if record, err = storekit.OpenSession(record, key.record); err != nil {
			return nil, fmt.Errorf("memstore: opening a session: %w", err)
		}
	}
	if s.sessions[record.ID] != nil {
		return nil, fmt.Errorf("memstore: session id: %w", auth.ErrExists)
	}
	return &session{record: record, owner: owner, key: key}, nil
}

// checkActive returns ErrUserDisabled if the user is not active.
func (s *accounts) checkActive(u *user) error {
	if s.withoutUsers || u.record.IsActive {
		return nil
	}
	return fmt.Errorf("memstore: %w", auth.ErrUserDisabled)
}

// revokeOldest makes room for the new session. It revokes the owner's oldest live sessions, so that
// the owner has at most the given number of live sessions after the new one is added. A limit below
// 1 means no limit. The feed entries expire as those of revokeSessions. The caller holds the lock.
func (s *accounts) revokeOldest(added *session, limit int, until time.Time) {
	if limit < 1 || len(added.owner.sessions) < limit {
		return
	}
	if live := added.owner.liveSessions(added.record.CreatedAt); len(live) >= limit {
		s.revokeSessions(added.record.UserID, until, live[limit-1:]...)
	}
}

// addSession adds a session that newSession returned. The caller must hold the lock from the call
// of newSession until addSession returns.
func (s *accounts) addSession(added *session) {
	added.record.Generation = s.feed.head
	added.expiry = s.sessionsByExpiry.add(added, added.record.ExpiresAt)
	s.sessions[added.record.ID] = added
	added.owner.sessions.add(added)
	if added.key != nil {
		added.key.sessions.add(added)
		added.key.recordUse(added.record.CreatedAt)
	}
	if !s.withoutUsers {
		added.owner.record.LastLogin = added.record.CreatedAt
	}
	s.ownerGained(added.owner)
}

// removeSession removes the session from every index. The caller holds the lock.
func (s *accounts) removeSession(old *session) {
	s.sessionsByExpiry.remove(old.expiry)
	delete(s.sessions, old.record.ID)
	old.owner.sessions.remove(old)
	if old.key != nil {
		delete(old.key.sessions, old)
	}
	s.ownerLost(old.owner)
}

// revokeAllOf revokes all sessions of the user with one feed entry. The entry expires at the given
// time, or later if one of the sessions or a replaced entry expires later. The caller holds the
// lock.
func (s *accounts) revokeAllOf(u *user, until time.Time) {
	until = storedTime(until)
	for len(u.sessions) > 0 {
		old := u.sessions[len(u.sessions)-1] // removing the last session moves no other
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
