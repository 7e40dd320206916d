package sqlstore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

const (
	// The text of a condition with session IDs follows, and a parenthesis.
	selectForce = `
SELECT ` + revocationColumns + ` FROM auth_revocations r
WHERE r.user_id IN (?, '') AND r.expires_at > 0 AND (r.session_id = '' OR r.session_id `
	// The text of a condition with session IDs follows.
	replaceNamed = `
UPDATE auth_revocations SET expires_at = 0 WHERE user_id = ? AND expires_at > 0 AND session_id `
	selectSessions = `SELECT ` + sessionColumns + ` FROM auth_sessions s WHERE s.id `
)

const revokeToken = "revoke token"

// RevokeToken implements [auth.SessionStore].
func (s *core) RevokeToken(ctx context.Context, claims auth.SessionClaims) error {
	if err := cmp.Or(ctx.Err(), claims.Validate()); err != nil {
		return err
	}
	var err error
	if s.signOutsOf.busy(claims.UserID) {
		_, err = s.revokeTokenOfUser(ctx, claims)
	} else {
		_, err = s.signOuts.do(ctx, s.timeout, verb[auth.SessionClaims, struct{}]{
			name: revokeToken, alone: s.revokeTokenOfUser, together: s.revokeTokensTogether}, claims)
	}
	return err
}

// revokeTokenOfUser revokes one session in a transaction that it shares only with calls of the same
// user.
func (s *core) revokeTokenOfUser(ctx context.Context, claims auth.SessionClaims) (struct{}, error) {
	return s.signOutsOf.do(ctx, s.timeout, verb[auth.SessionClaims, struct{}]{
		name: revokeToken, alone: s.revokeToken, together: s.revokeTokensOfUser}, claims.UserID, claims)
}

// revokeToken revokes one session in a transaction of its own.
func (s *core) revokeToken(ctx context.Context, claims auth.SessionClaims) (none struct{}, err error) {
	_, err = s.revokeTokensOfUser(ctx, []auth.SessionClaims{claims})
	return none, err
}

// revokeTokensOfUser revokes sessions of one user in one transaction. If several calls are for the same
// session, the entry of the first one makes those of the others unnecessary, unless their claims differ.
// Then the answer to these calls is "alone".
func (s *core) revokeTokensOfUser(
	ctx context.Context, claims []auth.SessionClaims,
) ([]answer[struct{}], error) {
	answers := make([]answer[struct{}], len(claims))
	var different []auth.SessionClaims
	for i, c := range claims {
		first := slices.IndexFunc(different, func(d auth.SessionClaims) bool {
			return d.SessionID == c.SessionID
		})
		if first < 0 {
			different = append(different, c)
			continue
		}
		d := different[first]
		answers[i].alone = d.Generation != c.Generation || d.ExpiresAt.Before(c.ExpiresAt)
	}
	return answers, s.write(ctx, revokeToken, func(ctx context.Context, t tx) error {
		return revokeDifferent(ctx, t, different)
	})
}

// revokeDifferent revokes different sessions of one user. It locks the head of the revocation feed
// before it reads the entries of the user. A lock of the user would not suffice, because the user may
// not exist.
func revokeDifferent(ctx context.Context, t tx, claims []auth.SessionClaims) error {
	userID := claims[0].UserID
	if _, err := holdUser(ctx, t, userID); zeroIfNone(err) != nil {
		return err
	}
	ids := fieldOf(claims, func(c auth.SessionClaims) string { return c.SessionID })
	// The lock of the user suffices. If the claims named a session of another user, the statement must
	// not lock it: see fold.
	found, err := collectListed(ctx, t.querier, sessionFields, selectSessions, ``, ids)
	if err != nil {
		return err
	}
	found = slices.DeleteFunc(found, func(s auth.Session) bool { return s.UserID != userID })
	if err := changeListed(ctx, t, deleteSessions, idsOf(found)); err != nil {
		return err
	}
	if _, err := holdHead(ctx, t); err != nil {
		return err
	}
	force, err := forceOf(ctx, t, userID, ids)
	if err != nil {
		return err
	}
	sessions := byID(found, func(s auth.Session) string { return s.ID })
	var entries []auth.Revocation
	for _, c := range claims {
		entry := entryOf(c)
		entry.ExpiresAt = later(entry.ExpiresAt, sessions[c.SessionID].ExpiresAt)
		if !coveredBy(force, entry) {
			entries = append(entries, entry)
		}
	}
	return addNamed(ctx, t, userID, entries, force, sessions)
}

// forceOf returns the entries in force that may revoke one of the sessions.
func forceOf(ctx context.Context, t tx, userID string, sessionIDs []string) ([]auth.Revocation, error) {
	list, listed := listOf(t.store.dialect, sessionIDs)
	return collect(ctx, t.querier, revocationFields, selectForce+list+`)`,
		append([]any{userID}, listed...)...)
}

// addNamed adds entries that each revoke one session of the user, and folds them as often as if they
// were added one by one. The given entries in force may name the same sessions. The sessions are those
// that the transaction has deleted, by ID.
func addNamed(
	ctx context.Context, t tx, userID string, entries, force []auth.Revocation,
	sessions map[string]auth.Session,
) error {
	for len(entries) > 0 {
		named, err := namedOf(ctx, t, userID)
		if err != nil {
			return err
		}
		// Only the last of the next n entries can make a fold necessary.
		n := min(max(storekit.MaxNamedRevocations+1-named, 1), len(entries))
		if err := replaceOlder(ctx, t, force, entries[:n]); err != nil {
			return err
		}
		if err := revoke(ctx, t, entries[:n]...); err != nil {
			return err
		}
		entries = entries[n:]
		if named+n <= storekit.MaxNamedRevocations {
			continue
		}
		// One by one, the fold would find the sessions of the other entries.
		var others []auth.Session
		for _, e := range entries {
			others = append(others, sessions[e.SessionID])
		}
		folded, err := fold(ctx, t, userID, others...)
		if err != nil {
			return err
		}
		entries = slices.DeleteFunc(entries, func(e auth.Revocation) bool {
			return coveredBy(folded, e)
		})
	}
	return nil
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

// replaceOlder ends the entries in force that name the sessions of the new entries, which are of one
// user.
func replaceOlder(ctx context.Context, t tx, force, entries []auth.Revocation) error {
	var ids []string
	for _, entry := range entries {
		if slices.ContainsFunc(force, func(e auth.Revocation) bool { return namesSession(e, entry) }) {
			ids = append(ids, entry.SessionID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	list, listed := listOf(t.store.dialect, ids)
	return t.change(ctx, replaceNamed+list, append([]any{entries[0].UserID}, listed...)...)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

const (
	lockFreeSessions = `
SELECT s.id, s.user_id, s.generation, s.expires_at,
	(SELECT h.position FROM auth_revocation_head h WHERE h.id = 1),
	(SELECT e.generation FROM auth_everybody e WHERE e.id = 1)`
	// This column costs a read of all entries in force of the user, for each session. It is the number of
	// entries, and an entry that revokes the session counts as 1,000,000: see heldSession.
	countEntries = `,
	(SELECT COALESCE(SUM(CASE WHEN r.session_id = s.id OR r.session_id = '' AND r.generation > s.generation
		THEN 1000000 ELSE 1 END), 0) FROM auth_revocations r WHERE r.user_id = s.user_id AND r.expires_at > 0)`
	fromFreeSessions = ` FROM auth_sessions s WHERE s.id `
)

// heldSession is a locked session, and what the batch must know about the revocation feed. Of the Session,
// only the ID, the UserID, the Generation and the ExpiresAt are set.
type heldSession struct {
	auth.Session
	head      int64 // the newest position of the feed
	everybody int64 // sessions with a lower Generation are revoked
	// entries is at least the number of entries in force that each revoke one session of the user. It is
	// at least revokedAlready if one of the user's entries revokes this session.
	entries int
}

// revokedAlready is more than the entries that a user can have. See [heldSession].
const revokedAlready = 1_000_000

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
	users, err := holdFreeIDs(ctx, t, fieldOf(claims, func(c auth.SessionClaims) string { return c.UserID }))
	if err != nil {
		return nil, false, err
	}
	sessions, err := holdFreeSessions(ctx, t, users, claims)
	if err != nil {
		return nil, false, err
	}
	for _, session := range sessions {
		if _, held := users[session.UserID]; !held {
			// The claims name a session of another user, who is not locked. The batch must not keep the
			// lock of the session: see fold.
			return nil, false, errAlone
		}
	}
	b := signOutBatch{users: users, sessions: sessions, added: map[string]int{}}
	answers := make([]answer[struct{}], len(claims))
	for i, c := range claims {
		answers[i].alone = !b.add(c)
	}
	return answers, len(b.entries) > 0, b.write(ctx, t)
}

// holdFreeSessions locks the sessions of the claims, except those that another transaction has locked.
// If the batch has several sessions of one user, holdFreeSessions reads the user's entries only once.
func holdFreeSessions(
	ctx context.Context, t tx, users map[string]auth.User, claims []auth.SessionClaims,
) (map[string]heldSession, error) {
	of := map[string][]string{} // the IDs of the sessions, by user ID
	for _, c := range claims {
		of[c.UserID] = append(of[c.UserID], c.SessionID)
	}
	var single, several []string
	for userID, ids := range of {
		if _, held := users[userID]; held && len(ids) == 1 {
			single = append(single, ids...)
		} else if held {
			several = append(several, ids...)
		}
	}
	fields := func(s *heldSession) []any {
		return []any{&s.ID, &s.UserID, &s.Generation, micros{&s.ExpiresAt}, &s.head, &s.everybody}
	}
	found, err := collectListed(ctx, t.querier, fields, lockFreeSessions+fromFreeSessions,
		` ORDER BY s.id`+skipLocked, distinct(several))
	if err != nil {
		return nil, err
	}
	for userID, ids := range of {
		if len(ids) > 1 {
			if err := readEntries(ctx, t, userID, found); err != nil {
				return nil, err
			}
		}
	}
	withEntries := func(s *heldSession) []any { return append(fields(s), &s.entries) }
	more, err := collectListed(ctx, t.querier, withEntries, lockFreeSessions+countEntries+fromFreeSessions,
		` ORDER BY s.id`+skipLocked, distinct(single))
	return byID(append(found, more...), func(s heldSession) string { return s.ID }), err
}

// readEntries sets the field entries of the user's sessions.
func readEntries(ctx context.Context, t tx, userID string, sessions []heldSession) error {
	var ids []string
	for _, s := range sessions {
		if s.UserID == userID {
			ids = append(ids, s.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	named, err := namedOf(ctx, t, userID)
	if err != nil {
		return err
	}
	entries, err := forceOf(ctx, t, userID, ids)
	for i := range sessions {
		if s := &sessions[i]; s.UserID == userID {
			s.entries = named
			for _, e := range entries {
				revokes := e.SessionID == s.ID || e.SessionID == "" && e.Generation > s.Generation
				if e.UserID == userID && revokes {
					s.entries = revokedAlready
				}
			}
		}
	}
	return err
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
	if !held || !userHeld || session.Generation < session.everybody ||
		session.UserID != claims.UserID || session.Generation != claims.Generation ||
		session.entries+b.added[claims.UserID] >= storekit.MaxNamedRevocations {
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
	if err == nil && last-b.head >= storekit.SkippedPositions {
		err = errAlone
	}
	return err
}
