package sqlstore

import (
	"cmp"
	"context"
	"time"

	"github.com/sallyport-go/auth"
)

const (
	insertSession = `
INSERT INTO auth_sessions (id, user_id, method, access_key_id, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)`
	updateLastLogin = `UPDATE auth_users SET last_login = ?, admitted_at = ? WHERE id = ?`
)

// CreateSession implements [auth.SessionStore].
func (s *Store) CreateSession(ctx context.Context, session auth.Session) (auth.Session, auth.User, error) {
	if err := cmp.Or(ctx.Err(), session.Validate()); err != nil {
		return auth.Session{}, auth.User{}, err
	}
	user, err := writeFor(ctx, s, "create session", func(ctx context.Context, t tx) (auth.User, error) {
		return addSession(ctx, t, &session, time.Time{})
	})
	if err != nil {
		return auth.Session{}, auth.User{}, err
	}
	return session, user, nil
}

// addSession returns the user as signed in, and leaves the session as it is in
// the database. Admitted is when GitHub let the user in again, zero if it did not.
func addSession(ctx context.Context, t tx, session *auth.Session, admitted time.Time) (auth.User, error) {
	session.CreatedAt, session.ExpiresAt = kept(session.CreatedAt), kept(session.ExpiresAt)
	user, err := admit(ctx, t, session)
	if err != nil {
		return user, err
	}
	err = t.insert(ctx, insertSession, session.ID, session.UserID, session.Method, session.AccessKeyID,
		toMicros(session.CreatedAt), toMicros(session.ExpiresAt))
	if err != nil {
		return user, err
	}
	user.LastLogin = session.CreatedAt
	if !admitted.IsZero() && !user.AdmittedAt.IsZero() {
		user.AdmittedAt = kept(admitted)
	}
	return user, t.change(ctx, updateLastLogin, toMicros(user.LastLogin), toMicros(user.AdmittedAt), user.ID)
}

// admit returns the user whom the session is for, if there may be such a
// session, and lowers its end to that of the key.
func admit(ctx context.Context, t tx, session *auth.Session) (auth.User, error) {
	user, keyEnds, err := findSignIn(ctx, t, *session)
	switch {
	case err != nil:
		return user, err
	case !user.IsActive:
		return user, auth.ErrUserDisabled
	case !keyEnds.IsZero() && keyEnds.Before(session.ExpiresAt):
		session.ExpiresAt = keyEnds
	}
	return user, nil
}

// findSignIn returns the session's user and, where a key opens it, when that key
// expires. It is one statement either way.
func findSignIn(ctx context.Context, t tx, session auth.Session) (auth.User, time.Time, error) {
	if session.AccessKeyID == "" {
		user, err := findUser(ctx, t, session.UserID)
		return user, time.Time{}, err
	}
	found, err := findKey(ctx, t, session.AccessKeyID)
	ends := found.Key.ExpiresAt
	expired := !ends.IsZero() && !ends.After(session.CreatedAt)
	if err == nil && (found.Key.UserID != session.UserID || expired) {
		err = auth.ErrNotFound
	}
	return found.User, ends, err
}

const selectSession = `SELECT ` + sessionColumns + ` FROM auth_sessions s WHERE s.id = ?`

// FindSession implements [auth.SessionStore].
func (s *Store) FindSession(ctx context.Context, id string) (auth.Session, error) {
	return read(ctx, s, "find session", func(q queryer) (session auth.Session, err error) {
		if !storable(id, auth.MaxIDLength) {
			return session, auth.ErrNotFound
		}
		err = scan(q.QueryRowContext(ctx, selectSession, id), sessionFields(&session)...)
		return session, err
	})
}

const deleteSession = `DELETE FROM auth_sessions WHERE id = ?`

// EndSession implements [auth.SessionStore].
func (s *Store) EndSession(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !storable(id, auth.MaxIDLength) {
		return auth.ErrNotFound
	}
	return s.write(ctx, "end session", func(ctx context.Context, t tx) error {
		return t.change(ctx, deleteSession, id)
	})
}

const pruneSessions = `
DELETE FROM auth_sessions WHERE id IN (
	SELECT id FROM (
		SELECT id FROM auth_sessions WHERE expires_at <= ? ORDER BY expires_at LIMIT ?
	) AS expired
)`

// PruneSessions implements [auth.SessionStore].
func (s *Store) PruneSessions(ctx context.Context, expired time.Time, limit int) (int, error) {
	if err := ctx.Err(); err != nil || limit < 1 {
		return 0, err
	}
	return writeFor(ctx, s, "prune sessions", func(ctx context.Context, t tx) (int, error) {
		return t.count(ctx, pruneSessions, toMicros(expired), limit)
	})
}

const deleteUserSessions = `DELETE FROM auth_sessions WHERE user_id = ?`

func endSessionsOf(ctx context.Context, t tx, userID string) error {
	_, err := t.count(ctx, deleteUserSessions, userID)
	return err
}
