package auth

import (
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// revocations is what an instance knows of the sessions that have ended before
// they expired.
//
// Whoever has looked up a session remembers the version at which that was, and
// need not look again while it is the same. So the locks are taken once for each
// live token when something has been added, and otherwise not at all.
type revocations struct {
	version atomic.Uint64 // greater after each addition; never 0

	// everybody is the generation below which the sessions of all users are revoked.
	everybody atomic.Int64

	seed   maphash.Seed
	shards [revocationShards]revocationShard

	count atomic.Int64 // of entries
	sweep int64        // at how many entries to look for expired ones; whoever adds has it
}

const (
	revocationShards = 64

	// leastSweep is how many entries are not worth a look for expired ones.
	leastSweep = 1024

	// revocationGrace is for how long after its tokens' expiry an entry is kept, here
	// and in the store: for clocks that differ, or are set back.
	revocationGrace = 2 * time.Hour
)

type revocationShard struct {
	sync.RWMutex
	users map[string]*userRevocations
}

// userRevocations is what is known of one user's sessions.
type userRevocations struct {
	below int64 // sessions of a generation below this one have ended
	until int64 // when the last of those would have expired, in Unix time
	named []revokedSession
}

type revokedSession struct {
	id         string
	generation int64
	until      int64 // in Unix time
}

func newRevocations() *revocations {
	r := &revocations{seed: maphash.MakeSeed(), sweep: leastSweep}
	r.version.Store(1)
	for i := range r.shards {
		r.shards[i].users = map[string]*userRevocations{}
	}
	return r
}

func (r *revocations) shard(userID string) *revocationShard {
	return &r.shards[maphash.String(r.seed, userID)%revocationShards]
}

// isRevoked reports whether the session was revoked. It takes one lock of many, and as
// long as there are entries that name sessions of the user.
func (r *revocations) isRevoked(userID, sessionID string, generation int64) bool {
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
	return generation < u.below || slices.ContainsFunc(u.named, func(s revokedSession) bool { return s.id == sessionID })
}

// add adds entries of the feed. One caller may add at a time.
func (r *revocations) add(entries []Revocation, now time.Time) {
	if len(entries) == 0 {
		return
	}
	dead := now.Add(-revocationGrace).Unix()
	for _, entry := range entries {
		if entry.ExpiresAt.Unix() > dead {
			r.addEntry(entry)
		}
	}
	r.version.Add(1) // and not before all of them can be found
	if r.count.Load() > r.sweep {
		r.removeExpired(dead)
		r.sweep = max(leastSweep, 2*r.count.Load())
	}
}

func (r *revocations) addEntry(entry Revocation) {
	if entry.UserID == "" {
		r.everybody.Store(max(r.everybody.Load(), entry.Generation))
		return
	}
	shard := r.shard(entry.UserID)
	shard.Lock()
	defer shard.Unlock()
	u := shard.users[entry.UserID]
	if u == nil {
		u = &userRevocations{}
		shard.users[entry.UserID] = u
	}
	before := u.size()
	until := entry.ExpiresAt.Unix()
	if entry.SessionID != "" {
		generation := entry.Generation
		if entry.Capped() { // which no entry for the user covers
			generation = math.MaxInt64
		}
		if generation >= u.below { // or it has ended already
			u.named = append(u.named, revokedSession{entry.SessionID, generation, until})
		}
	} else {
		u.below, u.until = max(u.below, entry.Generation), max(u.until, until)
		u.named = slices.DeleteFunc(u.named, func(s revokedSession) bool { return s.generation < u.below })
	}
	r.count.Add(int64(u.size() - before))
}

// size is how many entries it has.
func (u *userRevocations) size() int {
	if u.below > 0 {
		return len(u.named) + 1
	}
	return len(u.named)
}

// removeExpired removes the entries whose tokens had expired by the given time.
func (r *revocations) removeExpired(by int64) {
	r.edit(func(u *userRevocations) {
		if u.until <= by {
			u.below, u.until = 0, 0
		}
		u.named = slices.DeleteFunc(u.named, func(s revokedSession) bool { return s.until <= by })
	})
}

// forgetGenerations leaves the entries that name a session: of another history of
// the store, numbers are about something else.
func (r *revocations) forgetGenerations() {
	r.everybody.Store(0)
	r.edit(func(u *userRevocations) { u.below, u.until = 0, 0 })
	r.version.Add(1)
}

// edit changes what is known of each user, and forgets those of whom nothing is.
func (r *revocations) edit(change func(*userRevocations)) {
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
