package sqlstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/clock"
	"github.com/sallyport-go/auth/storekit"
)

const selectRevocations = `
SELECT ` + revocationColumns + ` FROM auth_revocations r WHERE r.position >= ? ORDER BY r.position LIMIT ?`

const (
	hiddenReads = 10                    // maximum number of reads while an entry is missing
	hiddenPause = 10 * time.Millisecond // pause between two reads
)

// ListRevocations implements [auth.SessionStore]. If an entry is missing, ListRevocations returns
// only the entries before it. If it also returned later entries, the reader would never read the
// missing entry, and would accept a session that this entry revokes.
//
// On MariaDB an entry can be hidden for a moment. Two transactions can commit while a statement
// determines which transactions are active. The statement then sometimes sees the later commit but
// not the earlier one. So ListRevocations reads again, and returns an error only if the entry is
// still missing after several reads.
func (s *core) ListRevocations(
	ctx context.Context, from int64, limit int,
) (entries []auth.Revocation, err error) {
	if limit < 1 {
		return nil, ctx.Err()
	}
	for range hiddenReads {
		hidden := false
		entries, err = read(ctx, s, "list revocations", func(
			ctx context.Context, q querier,
		) ([]auth.Revocation, error) {
			all, err := collect(ctx, q, revocationFields, selectRevocations, from, limit)
			if err != nil {
				return nil, err
			}
			visible, err := beforeMissing(ctx, q, from, all)
			hidden = len(visible) < len(all)
			return visible, err
		})
		if err != nil || !hidden {
			return entries, err
		}
		_ = clock.Sleep(ctx, hiddenPause) // if ctx ends, the next read fails
	}
	return nil, wrap("list revocations",
		fmt.Errorf("an entry is missing behind the first %d from position %d", len(entries), from))
}

// beforeMissing returns the entries before the first gap in the positions. It ignores gaps that
// pruning or RevokeEverybody has left.
func beforeMissing(
	ctx context.Context, q querier, from int64, entries []auth.Revocation,
) ([]auth.Revocation, error) {
	newest := int64(-1)
	next := max(from, 1)
	for i, e := range entries {
		// RevokeEverybody can skip positions, so a gap before its entry is normal.
		if e.Position > next && !revokesEverybody(e) {
			// The head is read after the entries. So every entry that was pruned before the entries
			// were read is at least KeptRevocations positions before the head.
			if newest < 0 {
				if err := q.row(ctx, selectHead).Scan(&newest); err != nil {
					return nil, err
				}
			}
			// Pruning keeps the newest KeptRevocations entries. So it has not removed the entry
			// before e: this entry is missing.
			if e.Position-1 > newest-storekit.KeptRevocations {
				return entries[:i], nil
			}
		}
		next = e.Position + 1
	}
	return entries, nil
}

// revokesEverybody reports whether RevokeEverybody added the entry.
func revokesEverybody(e auth.Revocation) bool { return e.UserID == "" && e.SessionID == "" }

// RevocationHead implements [auth.SessionStore].
func (s *core) RevocationHead(ctx context.Context) (int64, error) {
	return read(ctx, s, "read the head of the feed", func(
		ctx context.Context, q querier,
	) (position int64, err error) {
		err = q.row(ctx, selectHead).Scan(&position)
		return position, err
	})
}

const (
	// The subquery counts entries, because RevokeEverybody skips positions. Every position is
	// greater than 0, but the condition makes each database use the index for the subquery.
	expiredRevocations = `
SELECT position FROM auth_revocations WHERE expires_at <= ? AND position <= (
	SELECT r.position FROM auth_revocations r WHERE r.position > 0 ORDER BY r.position DESC LIMIT 1 OFFSET ?)
ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED`
	deleteRevocations = `DELETE FROM auth_revocations WHERE position `
)

// PruneRevocations implements [auth.SessionStore].
func (s *core) PruneRevocations(ctx context.Context, expired time.Time, limit int) (int, error) {
	due := query{expiredRevocations, []any{toMicros(expired), storekit.KeptRevocations}}
	return prune[int64](ctx, s, "prune revocations", limit, due, deleteRevocations)
}

const selectHead = `SELECT position FROM auth_revocation_head WHERE id = 1`

// head returns the position of the newest entry of the revocation feed. head is a separate
// statement, because a statement that waits for a lock would see the head as it was before the
// wait.
func head(ctx context.Context, t tx) (position int64, err error) {
	err = t.row(ctx, selectHead).Scan(&position)
	return position, err
}

// revoke adds the entries to the revocation feed. revoke locks the head of the feed until the
// transaction ends. So the positions of the entries are in the order of the commits. The caller
// must take all other locks before it calls revoke.
//
// If an entry has neither a SessionID nor a Generation, revoke sets the Generation to the position
// of the entry. The entry then revokes all earlier sessions of its user. If the entry has no
// UserID, it revokes all earlier sessions of all users.
func revoke(ctx context.Context, t tx, entries ...auth.Revocation) error {
	_, err := revokeAnd(ctx, t, entries)
	return err
}

// revokeAnd is [revoke] that also runs other statements, and returns the position of the last entry.
// The other statements change other tables. Every other revocation waits until the head is no longer
// locked, so the head is locked in the last round trip before the COMMIT, or in the last two.
func revokeAnd(
	ctx context.Context, t tx, entries []auth.Revocation, also ...query,
) (last int64, err error) {
	if t.store.dialect.arrays {
		last, err = advanceAndInsert(ctx, t, entries, also)
	} else if err = t.changeAll(ctx, also...); err == nil {
		if last, err = advanceHead(ctx, t, len(entries)); err == nil {
			err = addEntries(ctx, t, last-int64(len(entries)), entries)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("add entries to the feed: %w", err)
	}
	return last, nil
}

// advanceHead locks the head of the feed, adds the number n to its position, and returns the new
// position.
func advanceHead(ctx context.Context, t tx, n int) (last int64, err error) {
	if !t.store.dialect.lastInsertID {
		err = t.row(ctx, t.store.dialect.advanceHead, n).Scan(&last)
		return last, err
	}
	result, err := t.exec.ExecContext(ctx, t.store.statement(t.store.dialect.advanceHead), n)
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

// Each entry gets the position head.position - n + nr. The numbers nr count the entries from 1.
const insertAfterHead = `
INSERT INTO auth_revocations (position, id, user_id, session_id, generation, expires_at)
SELECT head.position - ?::bigint + v.nr, v.id, v.user_id, v.session_id,
	LEAST(v.generation, head.position - ?::bigint + v.nr), v.expires_at
FROM head, `

// advanceAndInsert is revokeAnd in one statement.
func advanceAndInsert(
	ctx context.Context, t tx, entries []auth.Revocation, also []query,
) (last int64, err error) {
	clauses, arguments := asClauses(also)
	clauses = append(clauses, `head AS (`+advanceInTurn+`)`)
	arguments = append(arguments, len(entries), headTurn(t.store))
	rows := make([][]any, len(entries))
	for i, e := range entries {
		if ofUser(e) {
			e.Generation = math.MaxInt64 // the statement lowers it to the position
		}
		rows[i] = []any{rand.Text(), e.UserID, e.SessionID, e.Generation, toMicros(e.ExpiresAt)}
	}
	columns := revocationTable[1:]
	text := `WITH ` + strings.Join(clauses, `, `) + insertAfterHead + unnest(columns) +
		` WITH ORDINALITY AS v (` + namesOf(columns) + `, nr) RETURNING position`
	arguments = append(arguments, len(entries), len(entries))
	arguments = append(arguments, arraysOf(columns, rows)...)
	position := func(p *int64) []any { return []any{p} }
	positions, err := collect(ctx, t.querier, position, text, arguments...)
	if err != nil {
		return 0, err
	}
	return slices.Max(positions), nil
}

var revocationTable = []column{{name: "position", number: true}, {name: "id"}, {name: "user_id"},
	{name: "session_id"}, {name: "generation", number: true}, {name: "expires_at", number: true}}

// ofUser reports whether a new entry revokes all earlier sessions. Its Generation is not set yet.
func ofUser(e auth.Revocation) bool { return e.SessionID == "" && e.Generation == 0 }

// addEntries adds the entries after the given position. The caller has locked the head of the feed,
// and moves it.
func addEntries(ctx context.Context, t tx, position int64, entries []auth.Revocation) error {
	for some := range slices.Chunk(entries, chunk) {
		rows := make([][]any, 0, len(some))
		for _, e := range some {
			position++
			if ofUser(e) {
				e.Generation = position
			}
			e.Generation = min(e.Generation, position)
			rows = append(rows, []any{position, rand.Text(), e.UserID, e.SessionID, e.Generation,
				toMicros(e.ExpiresAt)})
		}
		insert := insertBatch(t.store.dialect, `auth_revocations`, revocationTable, rows)
		if err := t.change(ctx, insert.text, insert.arguments...); err != nil {
			return err
		}
	}
	return nil
}

const (
	lockHead       = selectHead + ` FOR UPDATE`
	lockHeadInTurn = selectHead + headInTurn + ` FOR UPDATE`
	updateHead     = `UPDATE auth_revocation_head SET position = ? WHERE id = 1`
)

func holdHead(ctx context.Context, t tx) (position int64, err error) {
	query, arguments := lockHead, []any(nil)
	if t.store.dialect.arrays {
		query, arguments = lockHeadInTurn, []any{headTurn(t.store)}
	}
	if err := t.row(ctx, query, arguments...).Scan(&position); err != nil {
		return 0, fmt.Errorf("lock the head of the feed: %w", err)
	}
	return position, nil
}

// addEntry adds one entry after the given position, and moves the head of the feed, which the caller
// has locked.
func addEntry(ctx context.Context, t tx, head int64, entry auth.Revocation) error {
	return runInOrder(
		func() error { return addEntries(ctx, t, head, []auth.Revocation{entry}) },
		func() error { return t.change(ctx, updateHead, head+1) },
	)
}

// revokeSessions adds an entry for each of the sessions. All sessions belong to one user. The entries
// expire at the given time, or later if the session expires later. The caller has locked the user and
// deleted the sessions. If the user now has too many entries that each revoke one session, revokeSessions
// reduces their number: see [fold].
func revokeSessions(ctx context.Context, t tx, sessions []auth.Session, until time.Time) error {
	if len(sessions) == 0 {
		return nil
	}
	entries := make([]auth.Revocation, len(sessions))
	for i, s := range sessions {
		entries[i] = auth.Revocation{UserID: s.UserID, SessionID: s.ID, Generation: s.Generation,
			ExpiresAt: later(s.ExpiresAt, until)}
	}
	if err := revoke(ctx, t, entries...); err != nil {
		return err
	}
	_, err := fold(ctx, t, sessions[0].UserID)
	return err
}

const (
	countNamed = `
SELECT COUNT(*) FROM auth_revocations
WHERE user_id = ? AND session_id <> '' AND expires_at > 0 AND generation < position`
	selectUserForce = `SELECT ` + revocationColumns + ` FROM auth_revocations r WHERE r.user_id = ? AND r.expires_at > 0`
	replaceFolded   = `
UPDATE auth_revocations SET expires_at = 0
WHERE user_id = ? AND expires_at > 0 AND (generation < ? AND generation < position OR generation <= ? AND session_id = '')`
	selectLastOfOlder = `SELECT MAX(expires_at) FROM auth_sessions WHERE user_id = ? AND generation < ?`
	lockOlderSessions = `
SELECT ` + sessionColumns + ` FROM auth_sessions s WHERE s.user_id = ? AND s.generation < ? FOR UPDATE SKIP LOCKED`
)

// fold limits the number of the user's entries that each revoke one session. If the user has too
// many such entries, fold replaces older ones by one new entry: see [storekit.FoldRevocations]. The new
// entry revokes all sessions of the user with a lower Generation. The caller has locked the user.
// Without this lock, the new entry might also revoke a session that is created at the same time.
//
// fold deletes the sessions that the new entry revokes. fold skips sessions that another
// transaction has locked, because that transaction deletes the sessions itself. Waiting could cause
// a deadlock: the other transaction may be waiting for the head of the feed, which this transaction
// has locked.
//
// The given sessions are no longer stored, but the new entry expires as if they were.
//
// fold returns the new entry, if it adds one.
func fold(
	ctx context.Context, t tx, userID string, deleted ...auth.Session,
) (added []auth.Revocation, err error) {
	count, err := namedOf(ctx, t, userID)
	if err != nil || count <= storekit.MaxNamedRevocations {
		return nil, err
	}
	force, err := collect(ctx, t.querier, revocationFields, selectUserForce, userID)
	if err != nil {
		return nil, err
	}
	named := slices.DeleteFunc(slices.Clone(force), func(e auth.Revocation) bool {
		return e.SessionID == ""
	})
	folded, ok := storekit.FoldRevocations(named)
	if !ok {
		return nil, nil
	}
	for _, e := range force {
		if e.SessionID == "" && e.Generation <= folded.Generation {
			folded.ExpiresAt = later(folded.ExpiresAt, e.ExpiresAt)
		}
	}
	var last time.Time
	if err := t.row(ctx, selectLastOfOlder, userID, folded.Generation).Scan(micros{&last}); err != nil {
		return nil, err
	}
	folded.ExpiresAt = later(folded.ExpiresAt, last)
	for _, s := range deleted {
		if s.Generation < folded.Generation {
			folded.ExpiresAt = later(folded.ExpiresAt, s.ExpiresAt)
		}
	}
	return []auth.Revocation{folded}, runInOrder(
		func() error { return deleteOlderSessions(ctx, t, folded) },
		func() error {
			return t.change(ctx, replaceFolded, userID, folded.Generation, folded.Generation)
		},
		func() error { return revoke(ctx, t, folded) },
	)
}

// namedOf returns the number of the user's entries in force that each revoke one session, without the
// capped ones.
func namedOf(ctx context.Context, t tx, userID string) (count int, err error) {
	err = t.row(ctx, countNamed, userID).Scan(&count)
	return count, err
}

// deleteOlderSessions deletes the sessions that the new entry of [fold] revokes.
func deleteOlderSessions(ctx context.Context, t tx, folded auth.Revocation) error {
	sessions, err := collect(ctx, t.querier, sessionFields, lockOlderSessions, folded.UserID,
		folded.Generation)
	if err != nil {
		return err
	}
	return changeListed(ctx, t, deleteSessions, idsOf(sessions))
}

const (
	lockUserSessions = `SELECT ` + sessionColumns + ` FROM auth_sessions s WHERE s.user_id = ? FOR UPDATE`
	selectLastOfUser = `SELECT MAX(expires_at) FROM auth_revocations WHERE user_id = ? AND expires_at > 0`
	replaceOfUser    = `
UPDATE auth_revocations SET expires_at = 0
WHERE user_id = ? AND expires_at > 0 AND (generation < position OR session_id = '')` // all but Capped entries
)

// revokeSessionsOf deletes all sessions of the locked user, and adds one entry that revokes them.
// revokeSessionsOf returns the deleted sessions. A transaction calls revokeSessionsOf last, after
// it has taken all other locks: see [revoke].
//
// The new entry has the greatest Generation. So it replaces all other entries of the user, except entries
// for which [storekit.IsCapped] is true. The new entry expires no earlier than the replaced entries,
// because these may revoke tokens from a time when MaxTokenLifetime was longer.
func (a acting) revokeSessionsOf(ctx context.Context, userID string) ([]auth.Session, error) {
	sessions, err := collect(ctx, a.querier, sessionFields, lockUserSessions, userID)
	if err != nil {
		return nil, err
	}
	var last time.Time
	if err := a.row(ctx, selectLastOfUser, userID).Scan(micros{&last}); err != nil {
		return nil, err
	}
	entry := auth.Revocation{UserID: userID,
		ExpiresAt: later(a.lastTokenEnd(), last)}
	for _, session := range sessions {
		entry.ExpiresAt = later(entry.ExpiresAt, session.ExpiresAt)
	}
	return sessions, runInOrder(
		func() error { return changeListed(ctx, a.tx, deleteSessions, idsOf(sessions)) },
		func() error {
			if last.IsZero() {
				return nil
			}
			return a.change(ctx, replaceOfUser, userID)
		},
		func() error { return revoke(ctx, a.tx, entry) },
	)
}

// lastTokenEnd returns a time at which all tokens that were issued before the change have expired. A store
// that has lost commits can have a record of a session that ends before the session's last token.
func (a acting) lastTokenEnd() time.Time { return storedTime(a.now.Add(a.w.MaxTokenLifetime)) }

func idsOf(sessions []auth.Session) []string {
	ids := make([]string, len(sessions))
	for i, session := range sessions {
		ids[i] = session.ID
	}
	return ids
}
