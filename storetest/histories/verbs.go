package histories

import (
	"slices"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

func (m *model) findUser(s *state, _ call, u int) []result {
	if !s.users[u].exists {
		return fails(s, "ErrNotFound")
	}
	return []result{{next: s, fits: func(a answer) bool { return m.isUser(s, u, a.User) }}}
}

// isUser reports whether the record is that of the user.
func (m *model) isUser(s *state, u int, user auth.User) bool {
	want := s.users[u].record(m.users[u])
	return user.ID == want.ID && user.Username == want.Username && user.IsActive == want.IsActive &&
		user.IsSuperUser == want.IsSuperUser && micros(user.LastLogin) == s.users[u].login
}

func (m *model) register(s *state, c call, u int) []result {
	if s.users[u].exists || s.users[u].retired {
		return fails(s, "ErrExists")
	}
	// Only the check of the names knows whether another user has the username.
	results := fails(s, "ErrExists")
	added := *s.users[u]
	added.exists, added.active, added.super, added.keys = true, true, c.IsSuperUser, []string{c.Key}
	return append(results, result{next: s.with(u, &added)})
}

// changeUser has the results of UpdateUser, ResetUser and DeleteUser.
func (m *model) changeUser(s *state, c call, u int, change auth.UserChange) []result {
	before := s.users[u]
	if !before.exists {
		return fails(s, "ErrNotFound")
	}
	after := storekit.ChangeUser(before.record(m.users[u]), change)
	power := c.Verb != deleteUser && after.IsActive && after.IsSuperUser
	if before.administers() && !power {
		if !slices.ContainsFunc(s.users, func(a *account) bool { return a != before && a.administers() }) {
			return fails(s, "ErrLastSuperUser")
		}
	}
	changed := *before
	changed.active, changed.super = after.IsActive, after.IsSuperUser
	var results []result
	if c.renames() {
		changed.name = after.Username
		results = fails(s, "ErrExists") // as in register
	}
	next := s.with(u, &changed)
	if c.Verb != updateUser || change.IsActive != nil && !*change.IsActive {
		if next = m.revokeAll(next, c, u); next == nil {
			return nil
		}
	}
	changed = *next.users[u]
	switch c.Verb {
	case resetUser:
		changed.keys = []string{c.Key}
	case deleteUser:
		changed.exists, changed.retired, changed.keys = false, true, nil
		changed.active, changed.super, changed.login = false, false, 0
		changed.name = ""
		return []result{{next: next.with(u, &changed)}}
	}
	next = next.with(u, &changed)
	return append(results, result{next: next, fits: func(a answer) bool { return m.isUser(next, u, a.User) }})
}

func (m *model) addKey(s *state, c call, u int) []result {
	if !s.users[u].exists {
		return fails(s, "ErrNotFound")
	}
	if slices.Contains(s.users[u].keys, c.Key) {
		return fails(s, "ErrExists")
	}
	added := *s.users[u]
	added.keys = append(slices.Clone(added.keys), c.Key)
	slices.Sort(added.keys)
	return []result{{next: s.with(u, &added)}}
}

// revokeKey adds an entry for each session of the key, in any order. The store may have kept the
// records of sessions that an entry for everybody revoked. It then adds entries for them, too.
func (m *model) revokeKey(s *state, c call, u int) []result {
	a := s.users[u]
	if !slices.Contains(a.keys, c.Key) {
		return fails(s, "ErrNotFound")
	}
	revoked := *a
	revoked.keys = slices.DeleteFunc(slices.Clone(a.keys), func(key string) bool { return key == c.Key })
	next := s.with(u, &revoked)
	required := 0
	for _, h := range a.sessions {
		if h.key == c.Key && h.sure() {
			required++
		}
	}
	var results []result
	add := func(s *state) {
		left := s.users[u].without(func(h held) bool { return h.key == c.Key })
		results = append(results, result{next: s.with(u, left)})
	}
	if required == 0 {
		add(next)
	}
	after := int64(0)
	for {
		e, ok := m.next(next, m.users[u], after)
		if !ok {
			return results
		}
		i := next.users[u].session(e.SessionID)
		if i < 0 || next.users[u].sessions[i].key != c.Key {
			return results
		}
		h := next.users[u].sessions[i]
		next = next.with(u, next.users[u].without(func(other held) bool { return other == h }))
		if next = m.addNamed(next, u, h.until(c.lastTokenEnd()), after); next == nil {
			return results
		}
		if after = e.Position; h.sure() {
			required--
		}
		if folded := m.fold(next, u); required == 0 && folded != nil {
			add(folded)
		}
	}
}

func (m *model) createSession(s *state, c call, u int) []result {
	a := s.users[u]
	switch {
	case !a.exists:
		return fails(s, "ErrNotFound")
	case !a.active:
		return fails(s, "ErrUserDisabled")
	case c.Key != "" && !slices.Contains(a.keys, c.Key):
		return fails(s, "ErrNotFound")
	case a.session(c.Session) >= 0: // never happens, because no two calls have the same ID
		return fails(s, "ErrExists")
	}
	var results []result
	for _, revoked := range evictions(a, micros(c.At), c.Limit) {
		results = append(results, m.addSession(s, c, u, revoked)...)
	}
	return results
}

// addSession has the result of CreateSession if the call revokes the given sessions to make room
// for the new one.
func (m *model) addSession(s *state, c call, u int, revoked []held) []result {
	next, after := s, int64(0)
	for range revoked {
		if next = m.addAny(next, u, revoked, micros(c.Expires), after); next == nil {
			return nil
		}
		after = m.feed[next.read-1].Position
		evicted := m.feed[next.read-1].SessionID
		next = next.with(u, next.users[u].without(func(h held) bool { return h.id == evicted }))
	}
	if after > 0 {
		if next = m.fold(next, u); next == nil {
			return nil
		}
	}
	h := held{id: c.Session, key: c.Key, generation: c.Generation, created: micros(c.At),
		expires: micros(c.Expires)}
	first, last := m.generations(next, u, after > 0)
	if c.Generation == unknownGeneration {
		h.generation, h.guessed = first, true
	}
	if h.generation < first || h.generation > last {
		return nil
	}
	if h.generation < next.everybody && !h.guessed {
		h.buried = next.everybody
	}
	changed := next.users[u].withSession(h)
	changed.login = h.created
	next = next.with(u, changed)
	return []result{{next: next, fits: func(a answer) bool {
		return m.isUser(next, u, a.User) && isSession(a.Sessions[0], h, m.users[u])
	}}}
}

// evictions returns the sessions that CreateSession can revoke to make room for a new session.
//
// RevokeEverybody does not wait for CreateSession. So it can revoke all sessions after
// CreateSession has counted them. CreateSession then revokes some of these sessions again, which
// does no harm.
func evictions(a *account, created int64, limit int) (possible [][]held) {
	if limit < 1 {
		return [][]held{nil}
	}
	since := []int64{0} // the count includes sessions that entries for everybody from here on revoked
	for _, h := range a.sessions {
		if h.buried > 0 && !slices.Contains(since, h.buried) {
			since = append(since, h.buried)
		}
		if h.buried == 0 { // created after the latest entry for everybody
			since = []int64{0}
			break
		}
	}
	for _, from := range since {
		live := slices.DeleteFunc(slices.Clone(a.sessions), func(h held) bool {
			return h.expires <= created || h.buried > 0 && (from == 0 || h.buried < from)
		})
		if revoked := live[:max(0, len(live)-limit+1)]; from == 0 || len(revoked) > 0 {
			possible = append(possible, revoked)
		}
	}
	return possible
}

// addAny adds the next entry, which must be for one of the sessions. The entry expires at the given time,
// or with the session if that is later.
func (m *model) addAny(s *state, u int, sessions []held, until, after int64) *state {
	e, ok := m.next(s, m.users[u], after)
	i := slices.IndexFunc(sessions, func(h held) bool { return h.id == e.SessionID })
	if !ok || i < 0 {
		return nil
	}
	return m.addNamed(s, u, sessions[i].until(until), after)
}

// generations returns the least and the greatest Generation that a new session of the user can
// have now. An entry for the user cannot be added while the session is created. If the call has
// added entries, no other call can have added an entry since.
//
// RevokeEverybody does not wait for CreateSession. So it can have added an entry since CreateSession
// read the Generation. The new session is then revoked from the beginning.
func (m *model) generations(s *state, u int, added bool) (first, last int64) {
	if added {
		position := m.feed[s.read-1].Position
		return position, position
	}
	for _, e := range m.feed[:s.read] {
		if e.UserID == m.users[u] {
			first = e.Position
		}
	}
	last = 1 << 62
	for _, e := range m.feed[s.read:] {
		if e.UserID == m.users[u] || e.UserID == "" {
			return first, e.Position - 1
		}
	}
	return first, last
}

func isSession(found auth.Session, h held, user string) bool {
	return found.ID == h.id && found.UserID == user && found.AccessKeyID == h.key &&
		(found.Generation == h.generation || h.guessed && found.Generation > h.generation) &&
		micros(found.CreatedAt) == h.created && micros(found.ExpiresAt) == h.expires
}

func (m *model) findSession(s *state, c call, u int) []result {
	i := s.users[u].session(c.Session)
	if i < 0 || s.users[u].sessions[i].buried > 0 {
		return fails(s, "ErrNotFound")
	}
	h := s.users[u].sessions[i]
	found := result{next: s, fits: func(a answer) bool { return isSession(a.Sessions[0], h, m.users[u]) }}
	if !h.perhaps {
		return []result{found}
	}
	gone := s.with(u, s.users[u].without(func(other held) bool { return other == h }))
	h.perhaps = false
	found.next = s.with(u, gone.users[u].withSession(h))
	h.perhaps = true
	return []result{found, {err: "ErrNotFound", next: gone}}
}

func (m *model) listSessions(s *state, c call, u int) []result {
	return []result{{next: s, fits: func(a answer) bool {
		listed := a.Sessions
		for _, h := range slices.Backward(s.users[u].sessions) {
			if !h.live(micros(c.At)) {
				continue
			}
			if len(listed) > 0 && isSession(listed[0], h, m.users[u]) {
				listed = listed[1:]
			} else if !h.perhaps {
				return false
			}
		}
		return len(listed) == 0
	}}}
}

func (m *model) revokeSession(s *state, c call, u int) []result {
	i := s.users[u].session(c.Session)
	if i < 0 {
		return fails(s, "ErrNotFound")
	}
	h := s.users[u].sessions[i]
	var results []result
	if !h.sure() {
		results = fails(s, "ErrNotFound")
	}
	next := s.with(u, s.users[u].without(func(other held) bool { return other == h }))
	if next = m.addNamed(next, u, h.until(c.lastTokenEnd()), 0); next != nil {
		if next = m.fold(next, u); next != nil {
			results = append(results, result{next: next})
		}
	}
	return results
}

func (m *model) revokeToken(s *state, c call, u int) []result {
	claims := held{id: c.Session, generation: c.Generation, expires: micros(c.Expires)}
	next := s
	if i := s.users[u].session(c.Session); i >= 0 {
		h := s.users[u].sessions[i]
		claims.expires = max(claims.expires, h.expires)
		next = s.with(u, s.users[u].without(func(other held) bool { return other == h }))
	}
	covered := s.everybody > claims.generation
	for e := range s.users[u].entries() {
		covered = covered || e.expires >= claims.expires &&
			(e.session == claims.id || e.session == "" && e.generation > claims.generation)
	}
	if covered {
		return []result{{next: next}}
	}
	if next = m.addNamed(next, u, claims, 0); next != nil {
		if next = m.fold(next, u); next != nil {
			return []result{{next: next}}
		}
	}
	return nil
}

func (m *model) revokeUserSessions(s *state, c call, u int) []result {
	if !s.users[u].exists {
		return fails(s, "ErrNotFound")
	}
	next := m.revokeAll(s, c, u)
	if next == nil {
		return nil
	}
	return []result{{next: next, fits: func(a answer) bool {
		least, most := 0, 0
		for _, h := range s.users[u].sessions {
			if h.live(micros(c.At)) {
				if most++; h.sure() {
					least++
				}
			}
		}
		return least <= a.Count && a.Count <= most
	}}}
}

func (m *model) revokeEverybody(s *state, c call) []result {
	if c.Above > 0 && s.everybody > c.Above {
		return fails(s, "ErrChanged")
	}
	e, ok := m.next(s, "", 0)
	least := max(micros(c.At), c.Above+storekit.SkippedPositions)
	if !ok || e.SessionID != "" || e.Generation != e.Position || e.Position <= least {
		return nil
	}
	next := s.withSessions(func(h *held) {
		if h.buried == 0 {
			h.buried = e.Generation
		}
	})
	next.read, next.everybody = s.read+1, e.Generation
	return []result{{next: next}}
}

func (m *model) pruneSessions(s *state, c call) []result {
	next := s.withSessions(func(h *held) { h.perhaps = h.perhaps || h.expires <= micros(c.At) })
	return []result{{next: next, fits: func(a answer) bool { return a.Count >= 0 && a.Count <= c.Limit }}}
}
