package sqlstore

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

const updateLastLogin = `UPDATE auth_users SET last_login = ?, admitted_at = ? WHERE id = ?`

// addSession adds the session, and sets *session to the stored record. addSession returns the user
// with the new LastLogin. The caller has locked the user. If the sign-in renews the user's
// admission by GitHub, the parameter admitted is the time of the renewal. If not, admitted is zero.
func addSession(
	ctx context.Context, t tx, session *auth.Session, limit int, user auth.User, admitted time.Time,
) (auth.User, error) {
	session.CreatedAt, session.ExpiresAt = storedTime(session.CreatedAt), storedTime(session.ExpiresAt)
	asked := session.ExpiresAt
	if err := limitToKey(ctx, t, session); err != nil {
		return user, err
	}
	if err := revokeOldest(ctx, t, session, limit, asked); err != nil {
		return user, err
	}
	generation, err := head(ctx, t)
	if err != nil {
		return user, err
	}
	session.Generation = generation
	insert := insertBatch(t.store.dialect, `auth_sessions`, sessionTable, [][]any{sessionValues(*session)})
	err = t.insert(ctx, insert.text, insert.arguments...)
	if err != nil || !t.store.keepsUsers() {
		return user, err
	}
	user.LastLogin = session.CreatedAt
	if !admitted.IsZero() && !user.AdmittedAt.IsZero() {
		user.AdmittedAt = storedTime(admitted)
	}
	return user, t.change(ctx, updateLastLogin, toMicros(user.LastLogin), toMicros(user.AdmittedAt),
		user.ID)
}

const (
	// notRevokedForEverybody is a condition that excludes sessions which RevokeEverybody revoked.
	// The condition is needed because RevokeEverybody does not delete sessions.
	notRevokedForEverybody = ` AND s.generation >= (SELECT e.generation FROM auth_everybody e WHERE e.id = 1)`

	liveSessions = `
SELECT ` + sessionColumns + ` FROM auth_sessions s WHERE s.user_id = ? AND s.expires_at > ?` + notRevokedForEverybody + `
ORDER BY s.created_at DESC, s.generation DESC, s.id DESC`
	tooManySessions = liveSessions + ` LIMIT ? OFFSET ?`
)

// revokeOldest revokes the oldest sessions of the session's user, so that the user has at most
// limit sessions after the new session is added. The entries expire as those of revokeSessions. The caller
// has locked the user.
func revokeOldest(
	ctx context.Context, t tx, session *auth.Session, limit int, until time.Time,
) error {
	if limit < 1 {
		return nil
	}
	ended, err := collect(ctx, t.querier, sessionFields, tooManySessions,
		session.UserID, toMicros(session.CreatedAt), math.MaxInt32, limit-1)
	if err != nil || len(ended) == 0 {
		return err
	}
	if slices.Contains(idsOf(ended), session.ID) {
		return auth.ErrExists
	}
	if err := changeListed(ctx, t, deleteSessions, idsOf(ended)); err != nil {
		return err
	}
	return revokeSessions(ctx, t, ended, until)
}

// ListSessions implements [auth.SessionStore].
func (s *core) ListSessions(ctx context.Context, userID string, now time.Time) ([]auth.Session, error) {
	return read(ctx, s, "list sessions", func(ctx context.Context, q querier) ([]auth.Session, error) {
		if !storable(userID, auth.MaxIDLength) {
			return nil, ctx.Err()
		}
		return collect(ctx, q, sessionFields, liveSessions, userID, toMicros(now))
	})
}

// limitToKey locks the access key that opens the session, limits the session as the key says, and records
// that the key was used. If no key opens the session, limitToKey does nothing.
func limitToKey(ctx context.Context, t tx, session *auth.Session) error {
	if session.AccessKeyID == "" {
		return nil
	}
	key, err := findKey(ctx, t.querier, lockKey, session.AccessKeyID)
	if err != nil {
		return err
	}
	if *session, err = storekit.OpenSession(*session, key); err != nil {
		return err
	}
	return useKey(ctx, t, key, session.CreatedAt)
}

const (
	selectSession = `SELECT ` + sessionColumns + ` FROM auth_sessions s WHERE s.id = ?`
	lockSession   = selectSession + ` FOR UPDATE`

	selectLiveSession = selectSession + notRevokedForEverybody
)

// FindSession implements [auth.SessionStore].
func (s *core) FindSession(ctx context.Context, id string) (auth.Session, error) {
	return read(ctx, s, "find session", func(
		ctx context.Context, q querier,
	) (session auth.Session, err error) {
		if !storable(id, auth.MaxIDLength) {
			return session, auth.ErrNotFound
		}
		return findSession(ctx, q, selectLiveSession, id)
	})
}

// findSession finds the session with the query selectSession, lockSession or selectLiveSession.
func findSession(ctx context.Context, q querier, query, id string) (session auth.Session, err error) {
	err = scan(q.row(ctx, query, id), sessionFields(&session)...)
	return session, err
}

const deleteSession = `DELETE FROM auth_sessions WHERE id = ?`

// RevokeSession implements [auth.SessionStore]. RevokeSession locks the user before the session,
// because [revokeSessions] requires the lock of the user.
func (s *core) RevokeSession(ctx context.Context, w auth.Write, id string) error {
	if err := cmp.Or(ctx.Err(), w.Validate()); err != nil {
		return err
	}
	if !storable(id, auth.MaxIDLength) {
		return auth.ErrNotFound
	}
	return s.write(ctx, "revoke session", func(ctx context.Context, t tx) error {
		session, err := findSession(ctx, t.querier, selectSession, id)
		if err != nil {
			return err
		}
		owner := session.UserID
		a, err := holdOwner(ctx, t, w, owner)
		if err != nil {
			return err
		}
		session, err = findSession(ctx, t.querier, lockSession, id)
		if err == nil && session.UserID != owner {
			err = auth.ErrNotFound
		}
		if err != nil {
			return err
		}
		return runInOrder(
			func() error { return t.remove(ctx, deleteSession, id) },
			func() error { return a.addEvent(ctx, about{userID: owner}) },
			func() error { return revokeSessions(ctx, t, []auth.Session{session}, a.lastTokenEnd()) },
		)
	})
}

// RevokeUserSessions implements [auth.SessionStore].
func (s *core) RevokeUserSessions(ctx context.Context, w auth.Write, userID string) (int, error) {
	if err := cmp.Or(ctx.Err(), w.Validate()); err != nil {
		return 0, err
	}
	return writeFor(ctx, s, "revoke sessions", func(ctx context.Context, t tx) (int, error) {
		a, err := holdOwner(ctx, t, w, userID)
		if err != nil {
			return 0, err
		}
		if err := a.addEvent(ctx, about{userID: userID}); err != nil {
			return 0, err
		}
		revokedBelow, err := a.revokedForEverybody(ctx)
		if err != nil {
			return 0, err
		}
		revoked, err := a.revokeSessionsOf(ctx, userID)
		live := slices.DeleteFunc(revoked, func(s auth.Session) bool {
			return !s.ExpiresAt.After(a.now) || s.Generation < revokedBelow
		})
		return len(live), err
	})
}

// RevokeOtherSessions implements [auth.SessionStore].
func (s *core) RevokeOtherSessions(ctx context.Context, w auth.Write) (int, error) {
	if err := cmp.Or(ctx.Err(), storekit.ValidateBySession(w)); err != nil {
		return 0, err
	}
	return writeFor(ctx, s, "revoke other sessions", func(ctx context.Context, t tx) (int, error) {
		a, err := holdOwner(ctx, t, w, w.By.UserID)
		if err != nil {
			return 0, err
		}
		if err := withdrawDevices(ctx, t, w.By.SessionID); err != nil {
			return 0, err
		}
		revokedBelow, err := a.revokedForEverybody(ctx)
		if err != nil {
			return 0, err
		}
		others, err := collect(ctx, t.querier, sessionFields, lockUserSessions, w.By.UserID)
		if err != nil {
			return 0, err
		}
		live := 0
		others = slices.DeleteFunc(others, func(s auth.Session) bool {
			kept := s.ID == w.By.SessionID || s.Generation < revokedBelow
			if !kept && s.ExpiresAt.After(a.now) {
				live++
			}
			return kept
		})
		return live, runInOrder(
			func() error { return changeListed(ctx, t, deleteSessions, idsOf(others)) },
			func() error { return a.addEvent(ctx, about{userID: w.By.UserID}) },
			func() error { return revokeSessions(ctx, t, others, a.lastTokenEnd()) },
		)
	})
}

const extendSession = `UPDATE auth_sessions SET expires_at = ? WHERE id = ?`

// ExtendSession implements [auth.SessionStore].
func (s *core) ExtendSession(
	ctx context.Context, w auth.Write, until time.Time,
) (auth.Session, auth.User, error) {
	if err := cmp.Or(ctx.Err(), storekit.ValidateBySession(w)); err != nil {
		return auth.Session{}, auth.User{}, err
	}
	done, err := writeFor(ctx, s, "extend session", func(ctx context.Context, t tx) (signedIn, error) {
		a, err := holdOwner(ctx, t, w, w.By.UserID)
		if err != nil {
			return signedIn{}, err
		}
		var key auth.AccessKey
		if id := a.session.AccessKeyID; id != "" {
			if key, err = findKey(ctx, t.querier, lockKey, id); err != nil {
				return signedIn{}, err
			}
		}
		// The lock of the user does not stop PruneSessions.
		session, err := findSession(ctx, t.querier, lockSession, w.By.SessionID)
		if err != nil {
			return signedIn{}, err
		}
		extended, err := storekit.ExtendSession(session, storedTime(until), key)
		if err == nil && !extended.ExpiresAt.Equal(session.ExpiresAt) {
			err = t.change(ctx, extendSession, toMicros(extended.ExpiresAt), session.ID)
		}
		return signedIn{extended, a.users[w.By.UserID]}, err
	})
	if err != nil {
		return auth.Session{}, auth.User{}, err
	}
	return done.session, done.user, nil
}

const (
	expiredSessions = `
SELECT id FROM auth_sessions WHERE expires_at <= ? ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED`
	deleteSessions = `DELETE FROM auth_sessions WHERE id `
)

// PruneSessions implements [auth.SessionStore].
func (s *core) PruneSessions(ctx context.Context, expired time.Time, limit int) (int, error) {
	return prune[string](ctx, s, "prune sessions", limit, dueBy(expiredSessions, expired),
		deleteSessions)
}
