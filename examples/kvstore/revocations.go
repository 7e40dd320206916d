package kvstore

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// ListRevocations implements [auth.SessionStore]. The keys of the feed's bucket are positions, so
// the entries are already in order.
func (s *Store) ListRevocations(
	ctx context.Context, from int64, limit int,
) (entries []auth.Revocation, err error) {
	err = s.view(ctx, func(t tx) error {
		return t.walkFeed(from, func(e auth.Revocation) (bool, error) {
			if len(entries) >= limit {
				return false, nil
			}
			entries = append(entries, e)
			return true, nil
		})
	})
	return entries, err
}

// PruneRevocations implements [auth.SessionStore]. It keeps the newest storekit.KeptRevocations
// entries, even if they have expired.
func (s *Store) PruneRevocations(
	ctx context.Context, expired time.Time, limit int,
) (pruned int, err error) {
	err = s.update(ctx, func(t tx) error {
		oldestKept := t.oldestKept()
		most := min(limit, math.MaxInt-storekit.KeptRevocations) + storekit.KeptRevocations
		for _, key := range t.due(feedExpiry, expired, most) {
			if pruned >= limit || positionOf(key) >= oldestKept {
				continue
			}
			if err := t.removeRevocation(key); err != nil {
				return err
			}
			pruned++
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return pruned, nil
}

// oldestKept returns the position of the oldest entry that must be kept even if it has expired. The
// positions can have gaps, so oldestKept counts the entries, the newest first.
func (t tx) oldestKept() int64 {
	cursor := t.bucket(revocations).Cursor()
	oldest := int64(0)
	key, _ := cursor.Last()
	for n := 0; key != nil && n < storekit.KeptRevocations; n++ {
		oldest = positionOf(string(key))
		key, _ = cursor.Prev()
	}
	return oldest
}

// RevocationHead implements [auth.SessionStore].
func (s *Store) RevocationHead(ctx context.Context) (head int64, err error) {
	err = s.view(ctx, func(t tx) error {
		head = t.head()
		return nil
	})
	return head, err
}

// RevokeToken implements [auth.SessionStore]. The store need not contain the user or the session.
func (s *Store) RevokeToken(ctx context.Context, claims auth.SessionClaims) error {
	if err := check(ctx, claims); err != nil {
		return err
	}
	claims.ExpiresAt = kept(claims.ExpiresAt)
	return s.update(ctx, func(t tx) error {
		a, err := t.account(claims.UserID)
		if errors.Is(err, auth.ErrNotFound) {
			return t.endNamed(newAccount(auth.User{ID: claims.UserID}), claims)
		}
		if err != nil {
			return err
		}
		if err := t.endNamed(a, claims); err != nil {
			return err
		}
		return t.save(a)
	})
}

// endNamed deletes the session that the claims identify, and adds an entry for the session to the
// feed. It adds no entry if an older entry already revokes the session for long enough. For this,
// the older entry must not expire before the later ExpiresAt of the claims and the session.
func (t tx) endNamed(a *account, claims auth.SessionClaims) error {
	if session, there := a.Sessions[claims.SessionID]; there {
		claims.ExpiresAt = latest(claims.ExpiresAt, session.ExpiresAt)
		delete(a.Sessions, claims.SessionID)
	}
	var revoking []auth.Revocation
	for _, of := range []auth.Revocation{{UserID: claims.UserID, SessionID: claims.SessionID},
		{UserID: claims.UserID}, {}} {
		found, err := t.entriesInForce(of.UserID, of.SessionID)
		if err != nil {
			return err
		}
		revoking = append(revoking, found...)
	}
	for _, e := range revoking {
		if !e.ExpiresAt.Before(claims.ExpiresAt) &&
			(e.SessionID != "" || e.Generation > claims.Generation) {
			return nil
		}
	}
	if err := t.name(claims); err != nil {
		return err
	}
	return t.fold(a)
}

// RevokeEverybody implements [auth.SessionStore]. It does not delete the sessions. Other methods
// reject them because of their Generations: see [tx.authorize].
func (s *Store) RevokeEverybody(ctx context.Context, w auth.Write, above int64) error {
	if err := check(ctx, w); err != nil {
		return err
	}
	return s.write(ctx, w, func(c *change) error {
		if err := w.By.CheckOwner(""); err != nil {
			return err
		}
		below, err := c.everybodyRevoked()
		if err != nil {
			return err
		}
		if above > 0 && below > above {
			return auth.ErrChanged
		}
		head := max(max(c.head(), above)+storekit.SkippedPositions, c.now.UnixMicro())
		e := auth.Revocation{ExpiresAt: latest(c.latestEnd(), c.lastExpiry(sessionExpiry))}
		older, err := c.entriesInForce("", "")
		if err != nil {
			return err
		}
		for _, replaced := range older {
			e.ExpiresAt = latest(e.ExpiresAt, replaced.ExpiresAt)
		}
		if err := c.replaceAll(older); err != nil {
			return err
		}
		if err := c.revokeAt(head+1, e); err != nil {
			return err
		}
		return c.addEvent("")
	})
}

func positionKey(position int64) string {
	return string(binary.BigEndian.AppendUint64(nil, uint64(position)))
}

func positionOf(key string) int64 { return int64(binary.BigEndian.Uint64([]byte(key))) }

// head returns the position of the newest entry, or 0 if the feed is empty. The newest entry is
// never pruned.
func (t tx) head() int64 {
	key, _ := t.bucket(revocations).Cursor().Last()
	if key == nil {
		return 0
	}
	return positionOf(string(key))
}

// walkFeed calls the callback visit for each entry whose position is not less than the parameter
// from. It stops as soon as the callback returns false or an error.
func (t tx) walkFeed(from int64, visit func(auth.Revocation) (more bool, err error)) error {
	cursor := t.bucket(revocations).Cursor()
	for key, text := cursor.Seek([]byte(positionKey(max(from,
		0)))); key != nil; key, text = cursor.Next() {
		var e auth.Revocation
		if err := json.Unmarshal(text, &e); err != nil {
			return err
		}
		if more, err := visit(e); err != nil || !more {
			return err
		}
	}
	return nil
}

// entriesInForce returns entries that no newer entry has replaced. The IDs select the entries:
//
//   - If both IDs are set, the entries for the session
//   - If only userID is set, the entries that revoke all sessions of the user
//   - If both IDs are empty, the entries that revoke the sessions of all users
func (t tx) entriesInForce(userID, sessionID string) ([]auth.Revocation, error) {
	return t.entriesUnder(userPrefix(userID) + sessionID + "\x00")
}

// entriesUnder returns the entries whose keys in the bucket inForce begin with the prefix.
func (t tx) entriesUnder(prefix string) (entries []auth.Revocation, err error) {
	for _, key := range t.keysUnder(inForce, prefix) {
		var e auth.Revocation
		position := key[len(key)-positionLength:]
		if err := json.Unmarshal(t.bucket(revocations).Get([]byte(position)), &e); err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

const positionLength = 8

func inForceKey(e auth.Revocation) string {
	return userPrefix(e.UserID) + e.SessionID + "\x00" + positionKey(e.Position)
}

func (t tx) putRevocation(e auth.Revocation) error {
	if !e.ExpiresAt.IsZero() {
		if err := t.bucket(inForce).Put([]byte(inForceKey(e)), nil); err != nil {
			return err
		}
	}
	key := positionKey(e.Position)
	if err := t.bucket(feedExpiry).Put([]byte(expiryKey(e.ExpiresAt, key)), nil); err != nil {
		return err
	}
	return t.put(revocations, key, e)
}

func (t tx) removeRevocation(key string) error {
	var e auth.Revocation
	if err := json.Unmarshal(t.bucket(revocations).Get([]byte(key)), &e); err != nil {
		return err
	}
	return errors.Join(
		t.bucket(inForce).Delete([]byte(inForceKey(e))),
		t.bucket(feedExpiry).Delete([]byte(expiryKey(e.ExpiresAt, key))),
		t.bucket(revocations).Delete([]byte(key)),
	)
}

// replaceAll marks these entries as replaced. The caller then adds the entry that replaces them.
func (t tx) replaceAll(entries []auth.Revocation) error {
	for _, e := range entries {
		if err := t.removeRevocation(positionKey(e.Position)); err != nil {
			return err
		}
		e.ExpiresAt = time.Time{}
		if err := t.putRevocation(e); err != nil {
			return err
		}
	}
	return nil
}

// revoke adds the entry at the next position. Only one transaction can write at a time, so
// positions follow the order of commits. If the entry has neither a SessionID nor a Generation,
// revoke sets its Generation, so that the entry revokes all sessions that were created before it.
func (t tx) revoke(e auth.Revocation) error { return t.revokeAt(t.head()+1, e) }

func (t tx) revokeAt(position int64, e auth.Revocation) error {
	e.Position, e.ID = position, rand.Text()
	if e.SessionID == "" && e.Generation == 0 {
		e.Generation = e.Position
	}
	return t.putRevocation(e)
}

// name adds an entry for the session that the claims identify. The new entry replaces an older
// entry for the same session.
func (t tx) name(claims auth.SessionClaims) error {
	older, err := t.entriesInForce(claims.UserID, claims.SessionID)
	if err != nil {
		return err
	}
	if err := t.replaceAll(older); err != nil {
		return err
	}
	return t.revoke(auth.Revocation{
		UserID: claims.UserID, SessionID: claims.SessionID, ExpiresAt: claims.ExpiresAt,
		Generation: min(claims.Generation, t.head()+1),
	})
}

// endAll revokes all sessions of the account with one new entry, which it adds even if there are no
// sessions. The new entry replaces all other entries of the user, except entries that are capped
// (see [storekit.IsCapped]). The new entry expires at the time in the parameter until. If a
// session or a replaced entry expires later, the new entry expires at the latest of these times.
func (t tx) endAll(a *account, until time.Time) error {
	older, err := t.entriesUnder(userPrefix(a.User.ID))
	if err != nil {
		return err
	}
	older = slices.DeleteFunc(older, storekit.IsCapped)
	if err := t.replaceAll(older); err != nil {
		return err
	}
	e := auth.Revocation{UserID: a.User.ID, ExpiresAt: until}
	for _, replaced := range older {
		e.ExpiresAt = latest(e.ExpiresAt, replaced.ExpiresAt)
	}
	for _, session := range a.Sessions {
		e.ExpiresAt = latest(e.ExpiresAt, session.ExpiresAt)
	}
	clear(a.Sessions)
	return t.revoke(e)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// end revokes each session of the account for which the given function returns true. Each revoked
// session gets its own entry in the feed. The entries expire at the time in the parameter until, or later
// if the session expires later.
func (t tx) end(a *account, until time.Time, ended func(auth.Session) bool) error {
	for id, session := range a.Sessions {
		if !ended(session) {
			continue
		}
		delete(a.Sessions, id)
		err := t.name(auth.SessionClaims{
			UserID: a.User.ID, SessionID: id, Generation: session.Generation,
			ExpiresAt: latest(until, session.ExpiresAt),
		})
		if err != nil {
			return err
		}
	}
	return t.fold(a)
}

// fold limits the number of entries that name sessions of the user: see [storekit.FoldRevocations]. If
// too many such entries are in force, one new entry for the user replaces most of them. The new
// entry also revokes every other session of the user whose Generation is below that of the new
// entry.
func (t tx) fold(a *account) error {
	if len(t.keysUnder(inForce, userPrefix(a.User.ID))) <= storekit.MaxNamedRevocations {
		return nil
	}
	entries, err := t.entriesUnder(userPrefix(a.User.ID))
	if err != nil {
		return err
	}
	var named, replaced []auth.Revocation
	for _, e := range entries {
		if e.SessionID != "" {
			named = append(named, e)
		}
	}
	folded, ok := storekit.FoldRevocations(named)
	if !ok {
		return nil
	}
	for _, e := range entries {
		if e.Generation < folded.Generation && !storekit.IsCapped(e) ||
			e.SessionID == "" && e.Generation == folded.Generation {
			replaced = append(replaced, e)
			folded.ExpiresAt = latest(folded.ExpiresAt, e.ExpiresAt)
		}
	}
	for id, session := range a.Sessions {
		if session.Generation < folded.Generation {
			folded.ExpiresAt = latest(folded.ExpiresAt, session.ExpiresAt)
			delete(a.Sessions, id)
		}
	}
	if err := t.replaceAll(replaced); err != nil {
		return err
	}
	return t.revoke(folded)
}
