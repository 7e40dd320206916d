package memstore

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// feed is the revocation feed.
type feed struct {
	head    int64              // position of the newest entry, even if that entry was pruned
	entries []*auth.Revocation // in the order of their positions, without pruned entries

	// inForce contains, for each user, the entries that no newer entry has replaced. The entries under the
	// user ID "" revoke the sessions of all users. A user can have any number of entries for which
	// [storekit.IsCapped] is true. Of all other entries, a user has at most the following:
	//
	//   - storekit.MaxNamedRevocations entries that each name a session
	//   - one entry that revokes all sessions of the user
	//   - one entry that [accounts.fold] added
	inForce map[string][]*auth.Revocation
}

// ListRevocations implements [auth.SessionStore].
func (s *accounts) ListRevocations(
	ctx context.Context, from int64, limit int,
) ([]auth.Revocation, error) {
	if err := check(ctx); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	entries := s.feed.entries
	first := sort.Search(len(entries), func(i int) bool { return entries[i].Position >= from })
	var page []auth.Revocation
	for _, e := range entries[first:] {
		if len(page) >= limit {
			break
		}
		page = append(page, *e)
	}
	return page, nil
}

// RevocationHead implements [auth.SessionStore].
func (s *accounts) RevocationHead(ctx context.Context) (int64, error) {
	if err := check(ctx); err != nil {
		return 0, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.feed.head, nil
}

// PruneRevocations implements [auth.SessionStore]. It holds the lock while it scans all entries.
func (s *accounts) PruneRevocations(ctx context.Context, expired time.Time, limit int) (int, error) {
	if err := check(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &s.feed
	pruned, old := 0, len(f.entries)-storekit.KeptRevocations
	f.entries = slices.DeleteFunc(f.entries, func(e *auth.Revocation) bool {
		old--
		if pruned >= limit || e.ExpiresAt.After(expired) || old < 0 {
			return false
		}
		pruned++
		if !e.ExpiresAt.IsZero() {
			f.dropInForce(e.UserID, func(other *auth.Revocation) bool { return other == e })
		}
		return true
	})
	return pruned, nil
}

// RevokeToken implements [auth.SessionStore].
func (s *accounts) RevokeToken(ctx context.Context, claims auth.SessionClaims) error {
	if err := check(ctx, claims); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	claims.ExpiresAt = storedTime(claims.ExpiresAt)
	if found := s.sessions[claims.SessionID]; found != nil && found.record.UserID == claims.UserID {
		claims.ExpiresAt = latest(claims.ExpiresAt, found.record.ExpiresAt)
		s.removeSession(found)
	}
	if !s.feed.revokes(claims) {
		s.feed.addNamed(claims)
		s.fold(claims.UserID)
	}
	return nil
}

// RevokeEverybody implements [auth.SessionStore]. It holds the lock while it removes all sessions.
func (s *accounts) RevokeEverybody(ctx context.Context, w auth.Write, above int64) error {
	if err := check(ctx, w); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.authorize(w, "")
	if err != nil {
		return err
	}
	if above > 0 && slices.ContainsFunc(s.feed.inForce[""], func(e *auth.Revocation) bool {
		return e.Generation > above
	}) {
		return auth.ErrChanged
	}
	s.feed.head = max(max(s.feed.head, above)+storekit.SkippedPositions, now.UnixMicro())
	e := auth.Revocation{ExpiresAt: storedTime(now.Add(w.MaxTokenLifetime))}
	for n := len(s.sessionsByExpiry); n > 0; n = len(s.sessionsByExpiry) {
		old := s.sessionsByExpiry[n-1].record // removing the last record moves no other
		e.ExpiresAt = latest(e.ExpiresAt, old.record.ExpiresAt)
		s.removeSession(old)
	}
	e.Generation = s.feed.head + 1
	s.feed.supersede("", func(older *auth.Revocation) bool {
		e.ExpiresAt = latest(e.ExpiresAt, older.ExpiresAt)
		return true
	})
	s.feed.add(e)
	s.addEvent(w, now, subject{})
	return nil
}

// add appends the entry at the next position and adds it to inForce.
func (f *feed) add(e auth.Revocation) {
	f.head++
	e.Position, e.ID = f.head, rand.Text()
	f.entries = append(f.entries, &e)
	f.inForce[e.UserID] = append(f.inForce[e.UserID], &e)
}

// addNamed adds an entry that revokes one session. The new entry replaces an older entry for the
// same session.
func (f *feed) addNamed(claims auth.SessionClaims) {
	f.supersede(claims.UserID, func(e *auth.Revocation) bool { return e.SessionID == claims.SessionID })
	f.add(auth.Revocation{
		UserID: claims.UserID, SessionID: claims.SessionID, ExpiresAt: claims.ExpiresAt,
		Generation: min(claims.Generation, f.head+1),
	})
}

// addForUser adds an entry that revokes all current sessions of the user. The new entry replaces
// the user's other entries in force, except capped ones. The new entry expires at the given time,
// or later if a replaced entry expires later.
func (f *feed) addForUser(userID string, expiresAt time.Time) {
	f.supersede(userID, func(e *auth.Revocation) bool {
		if !storekit.IsCapped(*e) {
			expiresAt = latest(expiresAt, e.ExpiresAt)
		}
		return !storekit.IsCapped(*e)
	})
	f.add(auth.Revocation{UserID: userID, Generation: f.head + 1, ExpiresAt: expiresAt})
}

// revokes reports whether an entry in force revokes the session with these claims. An entry that
// expires before claims.ExpiresAt does not count, because it can be pruned too early.
func (f *feed) revokes(claims auth.SessionClaims) bool {
	long := func(e *auth.Revocation) bool { return !e.ExpiresAt.Before(claims.ExpiresAt) }
	return slices.ContainsFunc(f.inForce[claims.UserID], func(e *auth.Revocation) bool {
		return long(e) && (e.SessionID == claims.SessionID ||
			e.SessionID == "" && e.Generation > claims.Generation)
	}) || slices.ContainsFunc(f.inForce[""], func(e *auth.Revocation) bool {
		return long(e) && e.Generation > claims.Generation
	})
}

// supersede calls the given function for each of the user's entries in force. If the function
// returns true, supersede marks the entry as replaced and removes it from inForce. The caller then
// adds the new entry.
func (f *feed) supersede(userID string, replaced func(*auth.Revocation) bool) {
	f.dropInForce(userID, func(e *auth.Revocation) bool {
		if !replaced(e) {
			return false
		}
		e.ExpiresAt = time.Time{}
		return true
	})
}

// dropInForce calls the given function for each of the user's entries in inForce. If the function
// returns true, dropInForce removes the entry from inForce.
func (f *feed) dropInForce(userID string, drop func(*auth.Revocation) bool) {
	f.inForce[userID] = slices.DeleteFunc(f.inForce[userID], drop)
	if len(f.inForce[userID]) == 0 {
		delete(f.inForce, userID)
	}
}

// revokeSessions revokes the given sessions of one user, with one feed entry for each session. The
// entries expire at the given time, or later if the session expires later. The caller holds the lock.
func (s *accounts) revokeSessions(userID string, until time.Time, revoked ...*session) {
	until = storedTime(until)
	for _, old := range revoked {
		s.removeSession(old)
		s.feed.addNamed(auth.SessionClaims{
			UserID: userID, SessionID: old.record.ID, Generation: old.record.Generation,
			ExpiresAt: latest(until, old.record.ExpiresAt),
		})
	}
	s.fold(userID)
}

// revokeOpenedBy revokes the sessions that the access key has opened. The caller holds the lock.
func (s *accounts) revokeOpenedBy(w auth.Write, now time.Time, key *accessKey) {
	opened := slices.Collect(maps.Keys(key.sessions))
	s.revokeSessions(key.record.UserID, lastTokenEnd(w, now), opened...)
}

// lastTokenEnd returns a time at which all tokens that were issued before the change have expired. A store
// that has lost commits can have a record of a session that ends before the session's last token.
func lastTokenEnd(w auth.Write, now time.Time) time.Time { return now.Add(w.MaxTokenLifetime) }

// fold limits the number of the user's entries in force that revoke a single session. If there are
// too many, fold replaces older entries by one new entry: see [storekit.FoldRevocations]. The new entry
// revokes all sessions of the user with a lower Generation, and fold removes these sessions. The
// caller holds the lock.
func (s *accounts) fold(userID string) {
	if len(s.feed.inForce[userID]) <= storekit.MaxNamedRevocations {
		return
	}
	var named []auth.Revocation
	for _, e := range s.feed.inForce[userID] {
		if e.SessionID != "" {
			named = append(named, *e)
		}
	}
	folded, ok := storekit.FoldRevocations(named)
	if !ok {
		return
	}
	s.feed.supersede(userID, func(e *auth.Revocation) bool {
		replaced := e.Generation < folded.Generation && !storekit.IsCapped(*e) ||
			e.SessionID == "" && e.Generation == folded.Generation
		if replaced {
			folded.ExpiresAt = latest(folded.ExpiresAt, e.ExpiresAt)
		}
		return replaced
	})
	if u := s.users[userID]; u != nil {
		for _, old := range slices.Clone(u.sessions) {
			if old.record.Generation < folded.Generation {
				folded.ExpiresAt = latest(folded.ExpiresAt, old.record.ExpiresAt)
				s.removeSession(old)
			}
		}
	}
	s.feed.add(folded)
}
