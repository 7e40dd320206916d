package sqlstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
)

const selectRevocations = `
SELECT ` + revocationColumns + ` FROM auth_revocations r WHERE r.position >= ? ORDER BY r.position LIMIT ?`

// ListRevocations implements [auth.SessionStore].
func (s *core) ListRevocations(ctx context.Context, from int64, limit int) ([]auth.Revocation, error) {
	return read(ctx, s, "list revocations", func(q querier) ([]auth.Revocation, error) {
		if limit < 1 {
			return nil, ctx.Err()
		}
		entries, err := collect(ctx, q, revocationFields, selectRevocations, from, limit)
		if err != nil {
			return nil, err
		}
		return untilHidden(ctx, q, from, entries)
	})
}

// untilHidden returns the entries up to where one is missing that has not been pruned.
// MariaDB shows a statement the end of one transaction and not that of another
// which was before it, if both end while the statement looks which are at work. The
// entry is there the next time; who had gone on would never see it.
func untilHidden(ctx context.Context, q querier, from int64, entries []auth.Revocation) ([]auth.Revocation, error) {
	newest := int64(-1)
	next := max(from, 1)
	for i, e := range entries {
		if e.Position > next {
			if newest < 0 { // now, when whatever has been pruned was behind it
				if err := q.row(ctx, selectHead).Scan(&newest); err != nil {
					return nil, err
				}
			}
			if e.Position-1 > newest-auth.KeptRevocations { // so new that it is never pruned
				return entries[:i], nil
			}
		}
		next = e.Position + 1
	}
	return entries, nil
}

const (
	expiredRevocations = `
SELECT position FROM auth_revocations WHERE expires_at <= ?
	AND position <= (SELECT h.position FROM auth_revocation_head h WHERE h.id = 1) - ?
ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED`
	deleteRevocations = `DELETE FROM auth_revocations WHERE position `
)

// PruneRevocations implements [auth.SessionStore].
func (s *core) PruneRevocations(ctx context.Context, expired time.Time, limit int) (int, error) {
	due := query{expiredRevocations, []any{toMicros(expired), auth.KeptRevocations}}
	return prune[int64](ctx, s, "prune revocations", limit, due, deleteRevocations)
}

const selectHead = `SELECT position FROM auth_revocation_head WHERE id = 1`

// head returns the position of the feed's newest entry. It is a statement of its
// own: one that waits for a lock besides sees what was there before it waited.
func head(ctx context.Context, t tx) (position int64, err error) {
	err = t.row(ctx, selectHead).Scan(&position)
	return position, err
}

const (
	lockHead         = selectHead + ` FOR UPDATE`
	updateHead       = `UPDATE auth_revocation_head SET position = ? WHERE id = 1`
	insertRevocation = `
INSERT INTO auth_revocations (position, id, user_id, session_id, generation, expires_at) VALUES (?, ?, ?, ?, ?, ?)`
	revocationValues = `, (?, ?, ?, ?, ?, ?)` // of each entry after the first in one statement
)

// revoke adds the entries to the feed. The row with its head is held from here to
// the end of the transaction, so that positions are in the order of commits: this
// comes after whatever else a transaction has to wait for.
//
// An entry without a generation is about all sessions from before it.
func revoke(ctx context.Context, t tx, entries ...auth.Revocation) error {
	var position int64
	if err := t.row(ctx, lockHead).Scan(&position); err != nil {
		return fmt.Errorf("hold the head of the feed: %w", err)
	}
	for some := range slices.Chunk(entries, chunk) {
		var arguments []any
		for _, e := range some {
			position++
			if e.SessionID == "" && e.Generation == 0 {
				e.Generation = position
			}
			arguments = append(arguments, position, rand.Text(), e.UserID, e.SessionID, e.Generation, toMicros(e.ExpiresAt))
		}
		more := strings.Repeat(revocationValues, len(some)-1)
		if err := t.change(ctx, insertRevocation+more, arguments...); err != nil {
			return err
		}
	}
	return t.change(ctx, updateHead, position)
}

// revokeSessions adds an entry for each of the sessions of one user, which have been
// removed, and folds if there are too many then.
func revokeSessions(ctx context.Context, t tx, sessions []auth.Session) error {
	if len(sessions) == 0 {
		return nil
	}
	entries := make([]auth.Revocation, len(sessions))
	for i, s := range sessions {
		entries[i] = auth.Revocation{UserID: s.UserID, SessionID: s.ID, Generation: s.Generation, ExpiresAt: s.ExpiresAt}
	}
	if err := revoke(ctx, t, entries...); err != nil {
		return err
	}
	return fold(ctx, t, sessions[0].UserID)
}

const (
	countNamed = `
SELECT COUNT(*) FROM auth_revocations WHERE user_id = ? AND session_id <> '' AND expires_at > 0`
	selectOldestKept = `
SELECT generation FROM auth_revocations WHERE user_id = ? AND session_id <> '' AND expires_at > 0
ORDER BY generation DESC LIMIT 1 OFFSET ?`
	selectLastOfFolded = `
SELECT MAX(expires_at) FROM auth_revocations WHERE user_id = ? AND session_id <> '' AND generation < ?`
	foldNamed = `
UPDATE auth_revocations SET expires_at = 0 WHERE user_id = ? AND session_id <> '' AND generation < ?`
	selectLastOfOlder = `SELECT MAX(expires_at) FROM auth_sessions WHERE user_id = ? AND generation < ?`
	lockOlderSessions = `
SELECT ` + sessionColumns + ` FROM auth_sessions s WHERE s.user_id = ? AND s.generation < ? FOR UPDATE SKIP LOCKED`
)

// fold makes one entry of all but the newest that name sessions of the user, where
// there are too many, and revokes the sessions that are as old as those.
//
// The user is held: a session that is being created meanwhile might be as old. It
// leaves out sessions that others hold, who are removing them: they may be waiting
// for the head of the feed, which is held already.
func fold(ctx context.Context, t tx, userID string) error {
	var named int
	err := t.row(ctx, countNamed, userID).Scan(&named)
	if err != nil || named <= auth.MaxNamedRevocations {
		return err
	}
	folded := auth.Revocation{UserID: userID}
	if err := t.row(ctx, selectOldestKept, userID, auth.MaxNamedRevocations/2).Scan(&folded.Generation); err != nil {
		return err
	}
	folded.Generation++
	for _, last := range []string{selectLastOfFolded, selectLastOfOlder} {
		var expires time.Time
		if err := t.row(ctx, last, userID, folded.Generation).Scan(micros{&expires}); err != nil {
			return err
		}
		if expires.After(folded.ExpiresAt) {
			folded.ExpiresAt = expires
		}
	}
	return inOrder(
		func() error { return endOlderSessions(ctx, t, folded) },
		func() error { return t.change(ctx, foldNamed, userID, folded.Generation) },
		func() error { return revoke(ctx, t, folded) },
	)
}

// endOlderSessions removes the sessions that the entry stands for.
func endOlderSessions(ctx context.Context, t tx, folded auth.Revocation) error {
	sessions, err := collect(ctx, t.querier, sessionFields, lockOlderSessions, folded.UserID, folded.Generation)
	if err != nil {
		return err
	}
	return deleteListed(ctx, t, deleteSessions, idsOf(sessions))
}

const lockUserSessions = `SELECT ` + sessionColumns + ` FROM auth_sessions s WHERE s.user_id = ? FOR UPDATE`

// revokeSessionsOf removes all sessions of the user, who is held, and adds the one
// entry for them, if there are any. It returns them as they were. It comes last in
// its transaction: see [revoke].
//
// Without users nothing keeps a session from being created meanwhile. It stays, and
// is dead by the entry.
func revokeSessionsOf(ctx context.Context, t tx, userID string) ([]auth.Session, error) {
	sessions, err := collect(ctx, t.querier, sessionFields, lockUserSessions, userID)
	if err != nil || len(sessions) == 0 {
		return nil, err
	}
	entry := auth.Revocation{UserID: userID}
	for _, session := range sessions {
		if session.ExpiresAt.After(entry.ExpiresAt) {
			entry.ExpiresAt = session.ExpiresAt
		}
	}
	if err := deleteListed(ctx, t, deleteSessions, idsOf(sessions)); err != nil {
		return nil, err
	}
	return sessions, revoke(ctx, t, entry)
}

func idsOf(sessions []auth.Session) []string {
	ids := make([]string, len(sessions))
	for i, session := range sessions {
		ids[i] = session.ID
	}
	return ids
}
