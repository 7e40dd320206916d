package revocation

import (
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Revoked is the set of revoked sessions that an instance knows. It drops sessions that have
// expired. It is safe for concurrent use, but only one goroutine at a time may add entries.
//
// The set has a version, which grows with each change. A caller that has looked up a session
// remembers the version. As long as the version stays the same, the caller need not look up the
// session again. This saves time, because each look-up takes a lock.
type Revoked struct {
	version atomic.Uint64 // grows after each change; never 0

	// everybody revokes sessions of all users: every session with a lower generation is revoked.
	// The generation of a session is the Position of the newest entry of the revocation feed when
	// the session was created.
	everybody atomic.Int64

	seed   maphash.Seed
	shards [shardCount]shard

	count atomic.Int64 // the number of entries
	sweep int64        // if count exceeds this number, Add removes expired entries

	// dropped is the latest expiry of an entry that was skipped or removed as expired, in Unix time. If the
	// clock was ahead then, the sessions of such an entry may still be valid. Only Add and
	// forgetGenerations change it.
	dropped int64
}

const (
	shardCount = 64

	// leastSweep is the number of entries up to which Add does not look for expired entries.
	leastSweep = 1024
)

type shard struct {
	sync.RWMutex
	users map[string]*userSessions
}

// userSessions contains the revocations of the sessions of one user.
type userSessions struct {
	below int64 // the user's sessions with a lower generation are revoked
	until int64 // when the last of these sessions expires, in Unix time
	named []namedSession
}

// namedSession is a session that an entry revokes by its ID.
type namedSession struct {
	id         string
	generation int64
	until      int64 // when the session expires, in Unix time
}

// NewRevoked returns an empty set.
func NewRevoked() *Revoked {
	r := &Revoked{seed: maphash.MakeSeed(), sweep: leastSweep}
	r.version.Store(1)
	for i := range r.shards {
		r.shards[i].users = map[string]*userSessions{}
	}
	return r
}

func (r *Revoked) shard(userID string) *shard {
	return &r.shards[maphash.String(r.seed, userID)%shardCount]
}

// Len returns the number of entries in the set. It does not count entries that revoke the sessions
// of all users.
func (r *Revoked) Len() int { return int(r.count.Load()) }

// Contains reports whether the session is known to be revoked. It locks only the shard of the user.
// It takes time proportional to the number of entries that name sessions of the user.
func (r *Revoked) Contains(userID, sessionID string, generation int64) bool {
	if generation < r.everybody.Load() {
		return true
	}
	shard := r.shard(userID)
	shard.RLock()
	defer shard.RUnlock()
	u := shard.users[userID]
	if u == nil {
		return false
	}
	return generation < u.below ||
		slices.ContainsFunc(u.named, func(s namedSession) bool { return s.id == sessionID })
}

// Add adds entries of the revocation feed. It skips each entry that expired at least [Grace] before
// now, except entries for all users: such an entry shows that a repair was made. Only one goroutine
// at a time may call Add.
func (r *Revoked) Add(entries []Entry, now time.Time) {
	if len(entries) == 0 {
		return
	}
	expired := now.Add(-Grace).Unix()
	for i := range entries {
		if until := entries[i].ExpiresAt.Unix(); entries[i].UserID == "" || until > expired {
			r.addEntry(&entries[i])
		} else {
			r.dropped = max(r.dropped, until)
		}
	}
	r.version.Add(1) // last, because a caller with the new version must find all entries
	if r.count.Load() > r.sweep {
		r.removeExpired(expired)
		r.sweep = max(leastSweep, 2*r.count.Load())
	}
}

func (r *Revoked) addEntry(entry *Entry) {
	if entry.UserID == "" {
		r.everybody.Store(max(r.everybody.Load(), entry.Generation))
		return
	}
	shard := r.shard(entry.UserID)
	shard.Lock()
	defer shard.Unlock()
	u := shard.users[entry.UserID]
	if u == nil {
		u = &userSessions{}
		shard.users[entry.UserID] = u
	}
	before := u.size()
	until := entry.ExpiresAt.Unix()
	if entry.SessionID != "" {
		generation := entry.Generation
		if entry.IsCapped() { // the session's own generation may be higher
			generation = math.MaxInt64
		}
		if generation >= u.below { // otherwise, below already revokes the session
			u.addNamed(namedSession{entry.SessionID, generation, until})
		}
	} else {
		u.below, u.until = max(u.below, entry.Generation), max(u.until, until)
		u.named = slices.DeleteFunc(u.named, func(s namedSession) bool { return s.generation < u.below })
	}
	r.count.Add(int64(u.size() - before))
}

// size returns the number of entries for the user.
func (u *userSessions) size() int {
	if u.below > 0 {
		return len(u.named) + 1
	}
	return len(u.named)
}

// addNamed adds an entry for one session. If there is such an entry already, addNamed merges both, because
// the whole feed can be read again and again.
func (u *userSessions) addNamed(added namedSession) {
	for i := range u.named {
		if s := &u.named[i]; s.id == added.id {
			s.generation, s.until = max(s.generation, added.generation), max(s.until, added.until)
			return
		}
	}
	u.named = append(u.named, added)
}

// removeExpired removes the entries that have expired at the given Unix time.
func (r *Revoked) removeExpired(at int64) {
	r.edit(func(u *userSessions) {
		if u.until <= at {
			r.dropped = max(r.dropped, u.until)
			u.below, u.until = 0, 0
		}
		u.named = slices.DeleteFunc(u.named, func(s namedSession) bool {
			if s.until > at {
				return false
			}
			r.dropped = max(r.dropped, s.until)
			return true
		})
	})
}

// isIncomplete reports whether an entry that the set does not have, because it seemed to have expired, has
// not expired by the given time. This happens after the clock was ahead by more than [Grace]. The feed must
// then be read again from the beginning. The caller must be allowed to call Add.
func (r *Revoked) isIncomplete(now time.Time) bool { return r.dropped > now.Unix() }

// forgetGenerations removes the entries that revoke sessions by their generation. A store that was
// restored from a backup may assign the same generations a second time. Entries that name a session
// stay, because the ID of a session is unique. The feed is then read again, so the entries that were dropped
// no longer matter.
func (r *Revoked) forgetGenerations() {
	r.everybody.Store(0)
	r.dropped = 0
	r.edit(func(u *userSessions) { u.below, u.until = 0, 0 })
	r.version.Add(1)
}

// edit calls the given function for each user, and then removes the users without entries.
func (r *Revoked) edit(change func(*userSessions)) {
	for i := range r.shards {
		shard := &r.shards[i]
		shard.Lock()
		for id, u := range shard.users {
			before := u.size()
			change(u)
			r.count.Add(int64(u.size() - before))
			if u.size() == 0 {
				delete(shard.users, id)
			}
		}
		shard.Unlock()
	}
}
