package histories

import (
	"slices"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// model is the sequential specification of a store, as far as it concerns a few users. A model
// knows which entries the feed had at the end of the history. So each call that revokes sessions
// must add the next of these entries. This makes the order of these calls known, and the check
// fast.
type model struct {
	users   []string          // the subject and the super users
	feed    []auth.Revocation // entries for these users and for everybody, by Position
	older   []auth.Revocation // older entries for these users that were in force at the end
	expiry  map[int64]int64   // the ExpiresAt of entries that answers show, by Position
	initial state
}

// result is a possible result of a call.
type result struct {
	err  string
	next *state
	fits func(answer) bool // whether the rest of the answer fits; nil if there is no rest
}

// step returns the states in which the store can be after the call, if the call got the answer.
func (m *model) step(s *state, c call, a answer) (next []*state) {
	if s.ended {
		if a.Error == unknown {
			return []*state{s} // the call never took effect
		}
		return nil
	}
	if c.optional {
		next = append(next, s)
	}
	for _, r := range m.results(s, c) {
		if a.Error == unknown {
			// A call without an effect can also be placed after the end.
			if r.err == "" && !equalStates(r.next, s) {
				next = append(next, r.next)
			}
			continue
		}
		if r.err == a.Error && (r.fits == nil || a.Error != "" || r.fits(a)) {
			next = append(next, r.next)
		}
	}
	return next
}

func (m *model) results(s *state, c call) []result {
	u := slices.Index(m.users, c.User)
	switch c.Verb {
	case end:
		return m.end(s)
	case revokeEverybody:
		return m.authorized(s, c, "", func() []result { return m.revokeEverybody(s, c) })
	case pruneSessions:
		return m.pruneSessions(s, c)
	case pruneRevocations: // never removes an entry of the history
		return []result{{next: s, fits: func(a answer) bool { return a.Count >= 0 && a.Count <= c.Limit }}}
	case findUser:
		return m.findUser(s, c, u)
	case findSession:
		return m.findSession(s, c, u)
	case listSessions:
		return m.listSessions(s, c, u)
	case createSession:
		return m.createSession(s, c, u)
	case revokeToken:
		return m.revokeToken(s, c, u)
	}
	return m.authorized(s, c, c.User, func() []result {
		switch c.Verb {
		case register:
			return m.register(s, c, u)
		case updateUser, resetUser, deleteUser:
			return m.changeUser(s, c, u, c.Change)
		case addKey:
			return m.addKey(s, c, u)
		case revokeKey:
			return m.revokeKey(s, c, u)
		case revokeSession:
			return m.revokeSession(s, c, u)
		case revokeUserSessions:
			return m.revokeUserSessions(s, c, u)
		}
		panic("the model does not know " + string(c.Verb))
	})
}

func fails(s *state, name string) []result { return []result{{err: name, next: s}} }

// authorized returns the results of a change if the authority holds. If the authority does not
// hold, the result is an error.
func (m *model) authorized(s *state, c call, owner string, change func() []result) []result {
	if err := m.check(s, c); err != "" {
		refused := fails(s, err)
		// ErrNotFound for the changed record may come first.
		for _, r := range change() {
			if r.err == "ErrNotFound" {
				refused = append(refused, r)
			}
		}
		return refused
	}
	if err := nameOf(c.By.CheckOwner(owner)); err != "" {
		return fails(s, err)
	}
	return change()
}

// check returns the error of [storekit.Acting.Check].
func (m *model) check(s *state, c call) string {
	if c.By.Host != "" {
		return ""
	}
	var session auth.Session
	u := s.users[slices.Index(m.users, c.By.UserID)]
	if i := u.session(c.By.SessionID); i >= 0 && u.sessions[i].buried == 0 {
		h := u.sessions[i]
		session = auth.Session{ID: h.id, UserID: c.By.UserID, Generation: s.everybody,
			CreatedAt: time.UnixMicro(h.created), ExpiresAt: time.UnixMicro(h.expires)}
	}
	return nameOf(storekit.Acting{By: c.By, Now: c.At, Session: session, User: u.record(c.By.UserID),
		RevokedBelow: s.everybody}.Check())
}

// next returns the next entry of the feed. The entry must be about the user. If the call has
// already added entries, the parameter after is the Position of the latest, and the next entry must
// have the next Position.
func (m *model) next(s *state, user string, after int64) (auth.Revocation, bool) {
	if s.read >= len(m.feed) {
		return auth.Revocation{}, false
	}
	e := m.feed[s.read]
	return e, e.UserID == user && (after == 0 || e.Position == after+1)
}

// expires reports whether the entry had this ExpiresAt before a later entry replaced it. If no answer
// shows the ExpiresAt, expires returns true.
func (m *model) expires(e auth.Revocation, at int64) bool {
	known, ok := m.expiry[e.Position]
	return !ok || known == at
}

// revokeAll returns the state after all sessions of the user were revoked with one entry, or nil
// if the feed has no such entry.
func (m *model) revokeAll(s *state, c call, u int) *state {
	e, ok := m.next(s, m.users[u], 0)
	if !ok || e.SessionID != "" || e.Generation != e.Position {
		return nil
	}
	until := c.lastTokenEnd()
	a := s.users[u]
	for old := range a.entries() {
		if !old.capped() {
			until = max(until, old.expires)
		}
	}
	a = a.without(func(h held) bool { until = max(until, h.expires); return true })
	if !m.expires(e, until) {
		return nil
	}
	a = a.withEntry(inForce{position: e.Position, generation: e.Generation, expires: until},
		func(old inForce) bool { return !old.capped() })
	next := s.with(u, a)
	next.read++
	return next
}

// addNamed returns the state after an entry for the session was added, or nil if the feed has no
// such entry. The entry expires with the claims. The caller has removed the session.
func (m *model) addNamed(s *state, u int, claims held, after int64) *state {
	e, ok := m.next(s, m.users[u], after)
	generation := min(claims.generation, e.Position)
	switch {
	case !ok || e.SessionID != claims.id:
		return nil
	case claims.guessed && e.Generation >= generation:
		generation = e.Generation
	case e.Generation != generation:
		return nil
	}
	if !m.expires(e, claims.expires) {
		return nil
	}
	a := s.users[u].withEntry(
		inForce{position: e.Position, generation: generation, expires: claims.expires, session: e.SessionID},
		func(old inForce) bool { return old.session == e.SessionID })
	next := s.with(u, a)
	next.read++
	return next
}

// fold returns the state after the store has folded the entries of the user, if there are too many.
// It returns nil if the feed has no entry for that.
func (m *model) fold(s *state, u int) *state {
	a := s.users[u]
	if len(a.older)+len(a.force) <= storekit.MaxNamedRevocations {
		return s
	}
	var namedEntries []auth.Revocation
	for e := range a.entries() {
		if e.session != "" {
			namedEntries = append(namedEntries, auth.Revocation{Position: e.position, UserID: m.users[u],
				SessionID: e.session, Generation: e.generation, ExpiresAt: time.UnixMicro(e.expires)})
		}
	}
	folded, ok := storekit.FoldRevocations(namedEntries)
	if !ok {
		return s
	}
	e, ok := m.next(s, m.users[u], m.feed[s.read-1].Position)
	if !ok || e.SessionID != "" || e.Generation != folded.Generation {
		return nil
	}
	until := folded.ExpiresAt.UnixMicro()
	replaced := func(old inForce) bool {
		return old.generation < folded.Generation && !old.capped() ||
			old.session == "" && old.generation == folded.Generation
	}
	for old := range a.entries() {
		if replaced(old) {
			until = max(until, old.expires)
		}
	}
	a = a.without(func(h held) bool {
		gone := h.generation < folded.Generation && !h.guessed
		if gone {
			until = max(until, h.expires)
		}
		return gone
	})
	if !m.expires(e, until) {
		return nil
	}
	for i, h := range a.sessions {
		a.sessions[i].perhaps = h.perhaps || h.guessed
	}
	a = a.withEntry(inForce{position: e.Position, generation: e.Generation, expires: until}, replaced)
	next := s.with(u, a)
	next.read++
	return next
}

// end is the verb of the last call, which compares the state with the feed.
const end verb = "end of the history"

// end requires that calls have added all entries of the feed, and that the entries in force have
// the right ExpiresAt.
func (m *model) end(s *state) []result {
	if s.read != len(m.feed) {
		return nil
	}
	for u, id := range m.users {
		if !slices.Equal(forceOf(id, m.feed), s.users[u].force) ||
			!slices.Equal(forceOf(id, m.older), s.users[u].older) {
			return nil
		}
	}
	next := *s
	next.ended = true
	return []result{{next: &next}}
}

// forceOf returns the entries for the user that are in force.
func forceOf(user string, entries []auth.Revocation) (force []inForce) {
	for _, e := range entries {
		if e.UserID == user && !e.ExpiresAt.IsZero() {
			force = append(force, inForce{position: e.Position, generation: e.Generation,
				expires: e.ExpiresAt.UnixMicro(), session: e.SessionID})
		}
	}
	return force
}
