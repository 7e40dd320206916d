package revocation

import (
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Revoked is the set of sessions of which an instance knows that they were revoked before they
// expired. It is safe for concurrent use, but only one goroutine at a time may add entries.
//
// A caller that has looked up a session remembers the version of the set at that time. It need not
// look the session up again while the version is the same. So each live token takes a lock once
// after entries were added, and no lock while none are added.
type Revoked struct {
	version atomic.Uint64 // grows after each change; never 0

	// everybody is the generation below which the sessions of all users are revoked.
	everybody atomic.Int64

	seed   maphash.Seed
	shards [shardCount]shard

	count atomic.Int64 // of entries
	sweep int64        // the count at which Add removes expired entries
}

const (
	shardCount = 64

	// leastSweep is a number of entries. Up to this number, Add does not look for expired entries.
	leastSweep = 1024
)

type shard struct {
	sync.RWMutex
	users map[string]*userSessions
}

// userSessions contains the revocations of one user's sessions.
type userSessions struct {
	below int64 // sessions of a generation below this one are revoked; 0 for none
	until int64 // when the last of those sessions would have expired, in Unix time
	named []namedSession
}

// namedSession is a revoked session that an entry names.
type namedSession struct {
	id         string
	generation int64
	until      int64 // in Unix time
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

// Len returns the number of entries that are kept in memory. It does not count an entry that
// revokes the sessions of all users.
func (r *Revoked) Len() int { return int(r.count.Load()) }

// Contains reports whether the session is known to be revoked. It takes the lock of the user's
// shard only. Its duration is proportional to the number of entries that name sessions of the user.
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

// Add adds entries of the feed, except those that had expired [Grace] ago at the time now. One
// goroutine at a time may call it.
func (r *Revoked) Add(entries []Entry, now time.Time) {
	if len(entries) == 0 {
		return
	}
	expired := now.Add(-Grace).Unix()
	for i := range entries {
		if entries[i].ExpiresAt.Unix() > expired {
			r.addEntry(&entries[i])
		}
	}
	r.version.Add(1) // only after all entries can be found
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
		if entry.IsCapped() { // an entry for the user may not revoke that session
			generation = math.MaxInt64
		}
		if generation >= u.below { // if not, the entry for the user revokes the session
			u.named = append(u.named, namedSession{entry.SessionID, generation, until})
		}
	} else {
		u.below, u.until = max(u.below, entry.Generation), max(u.until, until)
		u.named = slices.DeleteFunc(u.named, func(s namedSession) bool { return s.generation < u.below })
	}
	r.count.Add(int64(u.size() - before))
}

// size returns how many entries there are of the user.
func (u *userSessions) size() int {
	if u.below > 0 {
		return len(u.named) + 1
	}
	return len(u.named)
}

// removeExpired removes the entries that had expired at the given time.
func (r *Revoked) removeExpired(at int64) {
	r.edit(func(u *userSessions) {
		if u.until <= at {
			u.below, u.until = 0, 0
		}
		u.named = slices.DeleteFunc(u.named, func(s namedSession) bool { return s.until <= at })
	})
}

// forgetGenerations keeps only the entries that name a session. After the store was restored from a
// backup, a generation may stand for other revocations than before, but the ID of a session stays
// unique.
func (r *Revoked) forgetGenerations() {
	r.everybody.Store(0)
	r.edit(func(u *userSessions) { u.below, u.until = 0, 0 })
	r.version.Add(1)
}

// edit calls change for each user, and removes the users who have no entries left.
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
