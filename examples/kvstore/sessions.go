package kvstore

import (
	"context"
	"time"

	"github.com/sallyport-go/auth"
)

// CreateSession implements [auth.SessionStore].
func (s *Store) CreateSession(ctx context.Context, session auth.Session) (opened auth.Session, user auth.User, err error) {
	if err := check(ctx, session); err != nil {
		return opened, user, err
	}
	err = s.update(ctx, func(t tx) error {
		return t.changeUser(session.UserID, func(a *account) (err error) {
			opened, err = a.open(session, t.head())
			user = a.User
			return err
		})
	})
	if err != nil {
		return auth.Session{}, auth.User{}, err
	}
	return opened, user, nil
}

// open adds the session, which ends with its key at the latest.
func (a *account) open(session auth.Session, generation int64) (auth.Session, error) {
	session.Generation = generation
	session.CreatedAt, session.ExpiresAt = kept(session.CreatedAt), kept(session.ExpiresAt)
	if !a.User.IsActive {
		return session, auth.ErrUserDisabled
	}
	if session.AccessKeyID != "" {
		key, there := a.Keys[session.AccessKeyID]
		if !there || !isGood(key, session.CreatedAt) {
			return session, auth.ErrNotFound
		}
		if !isGood(key, session.ExpiresAt) {
			session.ExpiresAt = key.ExpiresAt
		}
	}
	if _, taken := a.Sessions[session.ID]; taken {
		return session, auth.ErrExists
	}
	a.Sessions[session.ID] = session
	a.User.LastLogin = session.CreatedAt
	return session, nil
}

// FindSession implements [auth.SessionStore].
func (s *Store) FindSession(ctx context.Context, id string) (session auth.Session, err error) {
	err = s.view(ctx, func(t tx) error {
		a, err := t.accountOf(sessions, id)
		if err == nil {
			session = a.Sessions[id]
		}
		return err
	})
	return session, err
}

// EndSession implements [auth.SessionStore].
func (s *Store) EndSession(ctx context.Context, id string) error {
	return s.update(ctx, func(t tx) error {
		return t.change(sessions, id, func(a *account) error {
			return t.end(a, func(session auth.Session) bool { return session.ID == id })
		})
	})
}

// removeSession is for one that has expired, of which the feed has nothing.
func (t tx) removeSession(id string) error {
	return t.change(sessions, id, func(a *account) error { delete(a.Sessions, id); return nil })
}

// EndUserSessions implements [auth.SessionStore].
func (s *Store) EndUserSessions(ctx context.Context, userID string, now time.Time) (live int, err error) {
	err = s.update(ctx, func(t tx) error {
		return t.changeUser(userID, func(a *account) error {
			for _, session := range a.Sessions {
				if session.ExpiresAt.After(kept(now)) {
					live++
				}
			}
			return t.endAll(a)
		})
	})
	if err != nil {
		return 0, err
	}
	return live, nil
}

// PruneSessions implements [auth.SessionStore].
func (s *Store) PruneSessions(ctx context.Context, expired time.Time, limit int) (int, error) {
	return s.prune(ctx, sessionExpiry, expired, limit, tx.removeSession)
}
