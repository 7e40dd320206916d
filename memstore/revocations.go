package memstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"slices"
	"sort"
	"time"

	"github.com/sallyport-go/auth"
)

// feed is the feed of revocations.
type feed struct {
	head    int64             // the position of the newest entry there has been
	entries []auth.Revocation // by position, without those that were pruned

	// named counts the entries of each user that name a session and are not part of
	// another.
	named map[string]int
}

// ListRevocations implements [auth.SessionStore].
func (s *accounts) ListRevocations(ctx context.Context, from int64, limit int) ([]auth.Revocation, error) {
	if err := check(ctx); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	entries := s.feed.entries
	first := sort.Search(len(entries), func(i int) bool { return entries[i].Position >= from })
	entries = entries[first:]
	return slices.Clone(entries[:max(0, min(limit, len(entries)))]), nil
}

// PruneRevocations implements [auth.SessionStore]. It holds the lock for as long as
// it takes to look at the entries up to the last that it removes, and to move those
// behind it.
func (s *accounts) PruneRevocations(ctx context.Context, expired time.Time, limit int) (int, error) {
	if err := check(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &s.feed
	pruned := 0
	f.entries = slices.DeleteFunc(f.entries, func(e auth.Revocation) bool {
		if pruned >= limit || e.ExpiresAt.After(expired) || e.Position > f.head-auth.KeptRevocations {
			return false
		}
		pruned++
		if isNamed(e) {
			f.forgetName(e.UserID)
		}
		return true
	})
	return pruned, nil
}

// isNamed reports whether the entry counts among those that name a session.
func isNamed(e auth.Revocation) bool { return e.SessionID != "" && !e.ExpiresAt.IsZero() }

func (f *feed) forgetName(userID string) {
	f.named[userID]--
	if f.named[userID] == 0 {
		delete(f.named, userID)
	}
}

// add gives the entry its position. Where it has no generation, that is it.
func (f *feed) add(e auth.Revocation) {
	f.head++
	e.Position, e.ID = f.head, rand.Text()
	if e.SessionID == "" && e.Generation == 0 {
		e.Generation = f.head
	}
	f.entries = append(f.entries, e)
	if isNamed(e) {
		f.named[e.UserID]++
	}
}

// revokeSessions revokes these sessions of one user, each by its name. The caller holds
// the lock.
func (s *accounts) revokeSessions(userID string, ended ...*session) {
	for _, old := range ended {
		s.removeSession(old)
		s.feed.add(auth.Revocation{
			UserID: userID, SessionID: old.record.ID, Generation: old.record.Generation, ExpiresAt: old.record.ExpiresAt,
		})
	}
	if s.feed.named[userID] > auth.MaxNamedRevocations {
		s.fold(userID)
	}
}

// addEntryForAllOf adds the entry for the end of all of the user's sessions, if there are
// any, which the caller is about to remove. The caller holds the lock.
func (s *accounts) addEntryForAllOf(u *user) {
	if len(u.sessions) == 0 {
		return
	}
	e := auth.Revocation{UserID: u.record.ID}
	for _, ended := range u.sessions {
		e.ExpiresAt = latest(e.ExpiresAt, ended.record.ExpiresAt)
	}
	s.feed.add(e)
}

// fold makes one entry of all but the newest that name sessions of the user, and
// revokes the sessions that are as old as those. The caller holds the lock.
func (s *accounts) fold(userID string) {
	var named []*auth.Revocation
	for i := range s.feed.entries {
		if e := &s.feed.entries[i]; e.UserID == userID && isNamed(*e) {
			named = append(named, e)
		}
	}
	slices.SortFunc(named, func(a, b *auth.Revocation) int { return cmp.Compare(b.Generation, a.Generation) })
	folded := auth.Revocation{UserID: userID, Generation: named[auth.MaxNamedRevocations/2].Generation + 1}
	for _, e := range named {
		if e.Generation < folded.Generation {
			folded.ExpiresAt = latest(folded.ExpiresAt, e.ExpiresAt)
			e.ExpiresAt = time.Time{}
			s.feed.forgetName(userID)
		}
	}
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

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
