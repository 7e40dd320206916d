package sqlstore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
)

const (
	selectForce = `
SELECT ` + revocationColumns + ` FROM auth_revocations r
WHERE r.user_id IN (?, '') AND r.session_id IN (?, '') AND r.expires_at > 0`
	replaceNamed = `
UPDATE auth_revocations SET expires_at = 0 WHERE user_id = ? AND session_id = ? AND expires_at > 0`
)

const revokeToken = "revoke token"

// RevokeToken implements [auth.SessionStore].
func (s *core) RevokeToken(ctx context.Context, claims auth.SessionClaims) error {
	if err := cmp.Or(ctx.Err(), claims.Validate()); err != nil {
		return err
	}
	_, err := s.signOuts.do(ctx, s.timeout, verb[auth.SessionClaims, struct{}]{
		name: revokeToken, alone: s.revokeToken, together: s.revokeTokensTogether}, claims)
	return err
}

// revokeToken revokes one session in a transaction of its own. revokeToken locks the head of the
// revocation feed before it reads the entries of the user. A lock of the user would not suffice,
// because the user may not exist.
func (s *core) revokeToken(ctx context.Context, claims auth.SessionClaims) (none struct{}, err error) {
	return none, s.write(ctx, revokeToken, func(ctx context.Context, t tx) error {
		entry := entryOf(claims)
		if _, err := holdUser(ctx, t, claims.UserID); zeroIfNone(err) != nil {
			return err
		}
		session, err := findSession(ctx, t.querier, lockSession, claims.SessionID)
		if err == nil && session.UserID == claims.UserID {
			entry.ExpiresAt = later(entry.ExpiresAt, session.ExpiresAt)
			err = t.change(ctx, deleteSession, session.ID)
		}
		if err := zeroIfNone(err); err != nil {
			return err
		}
		head, err := holdHead(ctx, t)
		if err != nil {
			return err
		}
		force, err := collect(ctx, t.querier, revocationFields, selectForce, claims.UserID,
			claims.SessionID)
		if err != nil || coveredBy(force, entry) {
			return err
		}
		return runInOrder(
			func() error { return replaceOlder(ctx, t, force, entry) },
			func() error { return addEntry(ctx, t, head, entry) },
			func() error { return fold(ctx, t, claims.UserID) },
		)
	})
}

// entryOf returns the entry that revokes the session of the claims.
func entryOf(claims auth.SessionClaims) auth.Revocation {
	return auth.Revocation{
		UserID: claims.UserID, SessionID: claims.SessionID,
		Generation: claims.Generation, ExpiresAt: storedTime(claims.ExpiresAt),
	}
}

// coveredBy reports whether an entry in force makes the new entry unnecessary. The new entry revokes
// one session. It is unnecessary if an entry in force revokes the same session and does not expire
// earlier.
func coveredBy(force []auth.Revocation, entry auth.Revocation) bool {
	return slices.ContainsFunc(force, func(e auth.Revocation) bool {
		ofUser := e.SessionID == "" && (e.UserID == entry.UserID || e.UserID == "")
		revokes := namesSession(e, entry) || ofUser && e.Generation > entry.Generation
		return revokes && !e.ExpiresAt.Before(entry.ExpiresAt)
	})
}

// namesSession reports whether the entry e revokes only the session that the new entry revokes.
func namesSession(e, entry auth.Revocation) bool {
	return e.UserID == entry.UserID && e.SessionID == entry.SessionID
}

// replaceOlder ends the entries in force that name the session of the new entry.
func replaceOlder(ctx context.Context, t tx, force []auth.Revocation, entry auth.Revocation) error {
	if !slices.ContainsFunc(force, func(e auth.Revocation) bool { return namesSession(e, entry) }) {
		return nil
	}
	return t.change(ctx, replaceNamed, entry.UserID, entry.SessionID)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

const lockFreeSessions = `
SELECT ` + sessionColumns + `, (SELECT h.position FROM auth_revocation_head h WHERE h.id = 1),
	(SELECT COUNT(*) FROM auth_revocations r WHERE r.user_id = s.user_id AND r.session_id <> ''
		AND r.expires_at > 0 AND r.generation < r.position),
	(SELECT COUNT(*) FROM auth_revocations r WHERE r.user_id = s.user_id AND r.expires_at > 0
		AND (r.session_id = s.id OR r.session_id = '' AND r.generation > s.generation)),
	(SELECT e.generation FROM auth_everybody e WHERE e.id = 1)
FROM auth_sessions s WHERE s.id `

// heldSession is a locked session, and what the batch must know about the revocation feed.
type heldSession struct {
	auth.Session
	head      int64 // the newest position of the feed
	named     int   // number of entries in force that each revoke one session of the user
	force     int   // number of entries in force, of the user, that revoke this session
	everybody int64 // sessions with a lower Generation are revoked
}

// revokeTokensTogether revokes the sessions of a batch in one transaction. The answer to a call is
// "alone" if the user or the session is missing or locked, if the feed already has an entry for the
// session, and if the user has so many entries that they must be folded.
func (s *core) revokeTokensTogether(
	ctx context.Context, claims []auth.SessionClaims,
) ([]answer[struct{}], error) {
	return writeTogether(ctx, s, revokeToken, func(
		ctx context.Context, t tx,
	) ([]answer[struct{}], bool, error) {
		return revokeTokens(ctx, t, claims)
	})
}

func revokeTokens(
	ctx context.Context, t tx, claims []auth.SessionClaims,
) (_ []answer[struct{}], changed bool, err error) {
	users, err := holdFree(ctx, t, fieldOf(claims, func(c auth.SessionClaims) string { return c.UserID }))
	if err != nil {
		return nil, false, err
	}
	fields := func(s *heldSession) []any {
		return append(sessionFields(&s.Session), &s.head, &s.named, &s.force, &s.everybody)
	}
	found, err := collectListed(ctx, t.querier, fields, lockFreeSessions, ` ORDER BY s.id`+skipLocked,
		fieldOf(claims, func(c auth.SessionClaims) string { return c.SessionID }))
	if err != nil {
		return nil, false, err
	}
	sessions := byID(found, func(s heldSession) string { return s.ID })
	b := signOutBatch{users: users, sessions: sessions, added: map[string]int{}}
	answers := make([]answer[struct{}], len(claims))
	for i, c := range claims {
		answers[i].alone = !b.add(c)
	}
	return answers, len(b.entries) > 0, b.write(ctx, t)
}

// signOutBatch decides the answers of a batch, and collects the entries to add.
type signOutBatch struct {
	users    map[string]auth.User   // locked users, by ID
	sessions map[string]heldSession // locked sessions, by ID
	added    map[string]int         // number of entries that the batch adds, by user ID

	entries []auth.Revocation
	ids     []string // of the sessions to delete
	head    int64
}

// add adds the session to the batch, or returns false.
func (b *signOutBatch) add(claims auth.SessionClaims) bool {
	session, held := b.sessions[claims.SessionID]
	_, userHeld := b.users[claims.UserID]
	revoked := session.Generation < session.everybody || session.force > 0
	if !held || !userHeld || revoked ||
		session.UserID != claims.UserID || session.Generation != claims.Generation ||
		session.named+b.added[claims.UserID] >= auth.MaxNamedRevocations {
		return false
	}
	delete(b.sessions, claims.SessionID) // so that a second call for the session runs alone
	b.added[claims.UserID]++
	entry := entryOf(claims)
	entry.ExpiresAt = later(entry.ExpiresAt, session.ExpiresAt)
	b.entries = append(b.entries, entry)
	b.ids = append(b.ids, session.ID)
	b.head = session.head
	return true
}

// write deletes the sessions and adds the entries.
//
// RevokeEverybody can commit between the statement that locks the sessions and the statement that
// locks the head. Its entry may then make those of the batch unnecessary. RevokeEverybody skips so
// many positions that write notices it.
func (b *signOutBatch) write(ctx context.Context, t tx) error {
	if len(b.entries) == 0 {
		return nil
	}
	list, listed := listOf(t.store.dialect, b.ids)
	last, err := revokeAnd(ctx, t, b.entries, query{deleteSessions + list, listed})
	if err == nil && last-b.head >= auth.SkippedPositions {
		err = errAlone
	}
	return err
}
