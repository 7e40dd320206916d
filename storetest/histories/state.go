package histories

import (
	"cmp"
	"iter"
	"slices"

	"github.com/sallyport-go/auth"
)

// A state is the state of a store, as far as it concerns a few users: one subject, and the super
// users. The model never changes a state. It returns changed copies.
type state struct {
	// read is the number of entries of the feed that calls have added so far. The model knows the
	// whole feed: see [model].
	read int

	everybody int64 // the greatest Generation of an entry for everybody
	users     []*account
	ended     bool // the final read was made
}

// account is the state of one user.
type account struct {
	exists, active, super bool
	retired               bool   // the user was deleted
	name                  string // the username; empty if it is the ID of the user, as at first
	login                 int64  // LastLogin
	keys                  []string
	sessions              []held // by the order of [auth.SessionStore.CreateSession], the oldest first

	// older and force are the entries of the feed that are in force, by position: those from before
	// the history, and those of the history. They are separate, because there can be many older
	// entries, and they seldom change.
	older, force []inForce
}

// held is a session that the store may still have.
type held struct {
	id, key          string
	generation       int64
	created, expires int64
	guessed          bool  // the generation is only a lower bound
	perhaps          bool  // PruneSessions may have removed the session
	buried           int64 // Generation of the entry for everybody that revoked the session; 0 if none
}

type inForce struct {
	position, generation, expires int64
	session                       string
}

// live reports whether the methods of the store count the session at the given time.
func (h held) live(at int64) bool { return h.buried == 0 && h.expires > at }

// sure reports whether the store must have the session.
func (h held) sure() bool { return h.buried == 0 && !h.perhaps }

// until returns the session with a later expiry, unless it already expires later.
func (h held) until(expires int64) held {
	h.expires = max(h.expires, expires)
	return h
}

func byAge(a, b held) int {
	return cmp.Or(cmp.Compare(a.created, b.created), cmp.Compare(a.generation, b.generation),
		cmp.Compare(a.id, b.id))
}

func equalStates(a, b *state) bool {
	if a.read != b.read || a.everybody != b.everybody || a.ended != b.ended {
		return false
	}
	return slices.EqualFunc(a.users, b.users, func(a, b *account) bool { return a == b || a.equal(b) })
}

func (a *account) equal(b *account) bool {
	return a.exists == b.exists && a.active == b.active && a.super == b.super && a.retired == b.retired &&
		a.name == b.name && a.login == b.login &&
		slices.Equal(a.keys, b.keys) && slices.Equal(a.sessions, b.sessions) &&
		slices.Equal(a.force, b.force) && len(a.older) == len(b.older) && slices.Equal(a.older, b.older)
}

// hash returns equal numbers for equal states.
func (s *state) hash() uint64 {
	h := uint64(s.read)
	for _, u := range s.users {
		h = h*1_000_003 + uint64(u.login) + uint64(len(u.sessions)*31+len(u.keys)*7)
		if u.active {
			h++
		}
	}
	return h
}

// with returns a copy of the state in which the user with this number is another.
func (s *state) with(user int, u *account) *state {
	next := *s
	next.users = slices.Clone(s.users)
	next.users[user] = u
	return &next
}

// withSessions returns a copy of the state in which the function has changed each session.
func (s *state) withSessions(change func(*held)) *state {
	next := *s
	next.users = slices.Clone(s.users)
	for u, a := range next.users {
		changed := *a
		changed.sessions = slices.Clone(a.sessions)
		for i := range changed.sessions {
			change(&changed.sessions[i])
		}
		next.users[u] = &changed
	}
	return &next
}

func (a *account) session(id string) int {
	return slices.IndexFunc(a.sessions, func(h held) bool { return h.id == id })
}

// without returns a copy of the account without the sessions for which the function returns true.
func (a *account) without(removed func(held) bool) *account {
	next := *a
	next.sessions = slices.DeleteFunc(slices.Clone(a.sessions), removed)
	return &next
}

func (a *account) withSession(h held) *account {
	next := *a
	next.sessions = slices.Clone(a.sessions)
	i, _ := slices.BinarySearchFunc(next.sessions, h, byAge)
	next.sessions = slices.Insert(next.sessions, i, h)
	return &next
}

// withEntry returns a copy of the account with a new entry in force. The entry replaces those for
// which the function returns true.
func (a *account) withEntry(e inForce, replaced func(inForce) bool) *account {
	next := *a
	next.force = append(slices.DeleteFunc(slices.Clone(a.force), replaced), e)
	if slices.ContainsFunc(a.older, replaced) {
		next.older = slices.DeleteFunc(slices.Clone(a.older), replaced)
	}
	return &next
}

// entries returns all entries in force.
func (a *account) entries() iter.Seq[inForce] {
	return func(yield func(inForce) bool) {
		for _, entries := range [][]inForce{a.older, a.force} {
			for _, e := range entries {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// administers reports whether the user counts as a super user.
func (a *account) administers() bool { return a.exists && a.active && a.super }

// record returns the user for storekit.Acting.
func (a *account) record(id string) auth.User {
	if !a.exists {
		return auth.User{}
	}
	return auth.User{ID: id, Username: cmp.Or(a.name, id), IsActive: a.active, IsSuperUser: a.super}
}

// capped reports whether storekit.IsCapped returns true.
func (e inForce) capped() bool { return e.session != "" && e.generation == e.position }
