package kvstore

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// CreateSession implements [auth.SessionStore].
func (s *Store) CreateSession(
	ctx context.Context, session auth.Session, limit int,
) (opened auth.Session, user auth.User, err error) {
	if err := check(ctx, session); err != nil {
		return opened, user, err
	}
	err = s.update(ctx, func(t tx) error {
		return t.changeUser(session.UserID, func(a *account) (err error) {
			opened, err = t.open(a, session, limit)
			user = a.User
			return err
		})
	})
	if err != nil {
		return auth.Session{}, auth.User{}, err
	}
	return opened, user, nil
}

// open adds the session to the account. The parameter limit is the maximum number of live sessions
// of the user. Zero means no limit. If the limit is already reached, open first revokes the oldest
// live sessions. The new session expires no later than its key.
func (t tx) open(a *account, session auth.Session, limit int) (auth.Session, error) {
	session.CreatedAt, session.ExpiresAt = kept(session.CreatedAt), kept(session.ExpiresAt)
	asked := session.ExpiresAt
	if !a.User.IsActive {
		return session, auth.ErrUserDisabled
	}
	if session.AccessKeyID != "" {
		key, there := a.Keys[session.AccessKeyID]
		if !there {
			return session, auth.ErrNotFound
		}
		limited, err := storekit.OpenSession(session, key)
		if err != nil {
			return session, err
		}
		session = limited
	}
	if _, taken := a.Sessions[session.ID]; taken {
		return session, auth.ErrExists
	}
	live, err := t.live(a, session.CreatedAt)
	if err != nil {
		return session, err
	}
	if limit > 0 && len(live) >= limit {
		tooMany := live[limit-1:]
		err := t.end(a, asked, func(s auth.Session) bool {
			return slices.ContainsFunc(tooMany, func(old auth.Session) bool { return old.ID == s.ID })
		})
		if err != nil {
			return session, err
		}
	}
	if session.AccessKeyID != "" {
		a.use(session.AccessKeyID, session.CreatedAt)
	}
	session.Generation = t.head()
	a.Sessions[session.ID] = session
	a.User.LastLogin = session.CreatedAt
	return session, nil
}

// live returns the sessions that are live at the given time, the newest first. A session is not
// live if it has expired or if RevokeEverybody has revoked it. RevokeEverybody deletes no sessions.
func (t tx) live(a *account, now time.Time) ([]auth.Session, error) {
	revokedBelow, err := t.everybodyRevoked()
	live := slices.SortedFunc(maps.Values(a.Sessions), func(a, b auth.Session) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.Generation, a.Generation),
			cmp.Compare(b.ID, a.ID))
	})
	return slices.DeleteFunc(live, func(s auth.Session) bool {
		return !s.ExpiresAt.After(kept(now)) || s.Generation < revokedBelow
	}), err
}

// ListSessions implements [auth.SessionStore].
func (s *Store) ListSessions(
	ctx context.Context, userID string, now time.Time,
) (live []auth.Session, err error) {
	err = s.view(ctx, func(t tx) error {
		a, err := t.account(userID)
		if errors.Is(err, auth.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		live, err = t.live(a, now)
		return err
	})
	return live, err
}

// FindSession implements [auth.SessionStore].
func (s *Store) FindSession(ctx context.Context, id string) (session auth.Session, err error) {
	err = s.view(ctx, func(t tx) error {
		a, err := t.accountOf(sessions, id)
		if err != nil {
			return err
		}
		revokedBelow, err := t.everybodyRevoked()
		session = a.Sessions[id]
		if err == nil && session.Generation < revokedBelow {
			session, err = auth.Session{}, auth.ErrNotFound
		}
		return err
	})
	return session, err
}

// RevokeSession implements [auth.SessionStore].
func (s *Store) RevokeSession(ctx context.Context, w auth.Write, id string) error {
	if err := check(ctx, w); err != nil {
		return err
	}
	return s.write(ctx, w, func(c *change) error {
		return c.owner(sessions, id, func(a *account) error {
			return c.end(a, c.latestEnd(), func(session auth.Session) bool { return session.ID == id })
		})
	})
}

// removeSession deletes an expired session. An expired session needs no entry in the feed.
func (t tx) removeSession(id string) error {
	return t.change(sessions, id, func(a *account) error { delete(a.Sessions, id); return nil })
}

// RevokeUserSessions implements [auth.SessionStore].
func (s *Store) RevokeUserSessions(
	ctx context.Context, w auth.Write, userID string,
) (live int, err error) {
	if err := check(ctx, w); err != nil {
		return 0, err
	}
	err = s.write(ctx, w, func(c *change) error {
		return c.user(userID, func(a *account) error {
			found, err := c.live(a, c.now)
			if err != nil {
				return err
			}
			live = len(found)
			return c.endAll(a, c.latestEnd())
		})
	})
	if err != nil {
		return 0, err
	}
	return live, nil
}

// RevokeOtherSessions implements [auth.SessionStore].
func (s *Store) RevokeOtherSessions(ctx context.Context, w auth.Write) (live int, err error) {
	if err := check(ctx, bySession{w}); err != nil {
		return 0, err
	}
	err = s.write(ctx, w, func(c *change) error {
		return c.user(w.By.UserID, func(a *account) error {
			found, err := c.live(a, c.now)
			if err != nil {
				return err
			}
			live = len(found) - 1 // without the session of the authority
			revokedBelow, err := c.everybodyRevoked()
			if err != nil {
				return err
			}
			return c.end(a, c.latestEnd(), func(session auth.Session) bool {
				return session.ID != w.By.SessionID && session.Generation >= revokedBelow
			})
		})
	})
	if err != nil {
		return 0, err
	}
	return live, nil
}

// ExtendSession implements [auth.SessionStore].
func (s *Store) ExtendSession(
	ctx context.Context, w auth.Write, until time.Time,
) (extended auth.Session, user auth.User, err error) {
	if err := check(ctx, bySession{w}); err != nil {
		return extended, user, err
	}
	err = s.write(ctx, w, func(c *change) error {
		return c.changeUser(w.By.UserID, func(a *account) error {
			key, there := a.Keys[c.acting.Session.AccessKeyID]
			if c.acting.Session.AccessKeyID != "" && !there {
				return auth.ErrNotFound
			}
			longer, err := storekit.ExtendSession(c.acting.Session, kept(until), key)
			if err != nil {
				return err
			}
			a.Sessions[longer.ID] = longer
			extended, user = longer, a.User
			return nil
		})
	})
	if err != nil {
		return auth.Session{}, auth.User{}, err
	}
	return extended, user, nil
}

// bySession validates a change that only a session can make.
type bySession struct{ auth.Write }

func (w bySession) Validate() error { return storekit.ValidateBySession(w.Write) }

// PruneSessions implements [auth.SessionStore].
func (s *Store) PruneSessions(ctx context.Context, expired time.Time, limit int) (int, error) {
	return s.prune(ctx, sessionExpiry, expired, limit, tx.removeSession)
}
