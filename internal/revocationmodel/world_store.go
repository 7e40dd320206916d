package revocationmodel

import "slices"

// list returns the entries of the feed.
func (d *database) list() []entry {
	n := 0
	for n < len(d.entries) && d.entries[n].position > 0 {
		n++
	}
	return d.entries[:n]
}

// isDead reports whether an entry of the feed revokes the session.
func (d *database) isDead(n int, generation uint8) bool {
	return slices.ContainsFunc(d.list(), func(e entry) bool { return e.revokes(n, generation) })
}

// revokes reports whether the entry revokes the session.
func (e entry) revokes(n int, generation uint8) bool {
	return e.about == uint8(n) || (e.about == aboutAll || e.about == aboutUser+ownerOf[n]) &&
		generation < e.generation
}

// belowAll returns the generation below which the sessions of all users are revoked.
func (d *database) belowAll() (generation uint8) {
	for _, e := range d.list() {
		if e.about == aboutAll {
			generation = max(generation, e.generation)
		}
	}
	return generation
}

// hasRoom reports whether the model may add n more entries.
func (m *World) hasRoom(s *worldState, n uint8) bool {
	return s.spent.entries+n <= m.Bounds.Entries && len(s.list())+int(n) <= mostEntries
}

// add adds an entry to the feed and marks the entries that it replaces. If an entry for a user or
// for all users has no generation, add uses its position as the generation. The entry then revokes
// every session that exists.
func (m *World) add(s *worldState, position uint8, e entry, replaces func(old entry) bool) {
	e.position, e.id = position, s.history
	if e.generation == 0 && e.about >= aboutUser {
		e.generation = position
	}
	list := s.list()
	for i := range list {
		if replaces(list[i]) {
			list[i].left = 0
		}
	}
	at := len(list)
	for at > 0 && list[at-1].position > position { // only in controls
		at--
	}
	copy(s.entries[at+1:], s.entries[at:len(list)])
	s.entries[at] = e
	s.head = max(s.head, position)
	s.peak = max(s.peak, position)
	s.spent.entries++
}

func nothing(entry) bool { return false }

// isCapped reports whether the entry names a session whose token had a generation above the head of
// the store. The generation of such an entry equals the position of the entry. An entry for the
// user revokes only sessions with a generation below its own generation, so it does not always
// revoke the named session. Therefore an entry for the user must not replace a capped entry.
func (e entry) isCapped() bool { return e.about < sessions && e.generation == e.position }

// isOf reports whether the entry is about the user or a session of the user.
func (e entry) isOf(user uint8) bool {
	return e.about == aboutUser+user || e.about < sessions && ownerOf[e.about] == user
}

// acknowledge records that the caller has learned of a revocation. The parameter position is the
// position of the revocation's entry. The function meant reports whether the revocation includes
// session n. If the store has lost the commits that created a session, the session's generation can
// be at or above the position. If no entry revokes such a session, acknowledge marks the revocation
// of the session as lost.
func (s *worldState) acknowledge(position uint8, meant func(n int, t token) bool) {
	for n := range s.tokens {
		t := &s.tokens[n]
		if t.issued && meant(n, *t) && (t.revoked == 0 || t.lost) {
			t.revoked, t.lost = 1, t.generation >= position && !s.isDead(n, t.generation)
		}
	}
}

// lifetime returns the value of the field left for a token that instance i issues now.
func (m *World) lifetime(s *worldState, i int) uint8 {
	return noTime + s.offset(i) + max(m.Bounds.Lifetime, 1)
}

// create adds session n. Its generation is the head of the feed.
func (m *World) create(s *worldState, i, n int) {
	s.rows |= bit(int8(n))
	s.tokens[n] = token{issued: true, generation: s.head, left: m.lifetime(s, i)}
	if s.head > s.instances[i].cursor && s.instances[i].age != m.never() {
		m.learn(s, i)
	}
}

// revoke revokes one session according to the claims of its token. If an entry already revokes the
// session until its token expires, revoke adds no entry. After it has added an entry, revoke calls
// fold.
func (m *World) revoke(s *worldState, i, n int) {
	t := s.tokens[n]
	position := s.head + 1
	s.rows &^= bit(int8(n))
	if !slices.ContainsFunc(s.list(),
		func(e entry) bool { return e.left >= t.left && e.revokes(n, t.generation) }) {
		m.add(s, position, entry{about: uint8(n), generation: min(t.generation, position),
			left: t.left},
			func(old entry) bool { return old.about == uint8(n) })
		m.fold(s, ownerOf[n])
	}
	s.acknowledge(position, func(other int, _ token) bool { return other == n })
}

// entriesOf returns the maximum number of entries that the revocation of one session of the user
// adds: two if the revocation can cause a fold, and one if not.
func (m *World) entriesOf(s *worldState, user uint8) uint8 {
	named := uint8(0)
	for _, e := range s.list() {
		if e.about < sessions && ownerOf[e.about] == user && e.left > 0 {
			named++
		}
	}
	if named >= m.Bounds.MaxNamed {
		return 2
	}
	return 1
}

// fold counts the user's entries that each revoke one session. If there are more than MaxNamed of
// them, fold keeps the newest half of that number, and replaces the others by one entry for the user.
func (m *World) fold(s *worldState, user uint8) {
	var named []*entry
	list := s.list()
	for i := range list {
		if e := &list[i]; e.about < sessions && ownerOf[e.about] == user && e.left > 0 &&
			!e.isCapped() {
			named = append(named, e)
		}
	}
	if len(named) <= int(m.Bounds.MaxNamed) {
		return
	}
	slices.SortFunc(named, func(a, b *entry) int { return int(b.generation) - int(a.generation) })
	folded := entry{about: aboutUser + user, generation: named[m.Bounds.MaxNamed/2].generation + 1}
	for _, e := range named {
		if e.generation < folded.generation {
			folded.left = max(folded.left, e.left)
			e.left = 0
		}
	}
	for n := range s.tokens {
		if t := &s.tokens[n]; ownerOf[n] == user && t.issued && t.generation < folded.generation {
			if s.rows&bit(int8(n)) != 0 {
				folded.left = max(folded.left, t.left)
			}
			t.folded = true
			s.rows &^= bit(int8(n))
		}
	}
	m.add(s, s.head+1, folded, func(old entry) bool {
		return old.about == folded.about && old.generation <= folded.generation
	})
}

// revokeUser revokes all sessions of a user with one entry.
func (m *World) revokeUser(s *worldState, i int, user uint8) {
	e := entry{about: aboutUser + user}
	position := s.head + 1
	rows := false
	for n, t := range s.tokens {
		if ownerOf[n] == user && s.rows&bit(int8(n)) != 0 {
			rows = true
			e.left = max(e.left, t.left)
			s.rows &^= bit(int8(n))
		}
	}
	if rows || m.Design.FromClaims {
		e.left = max(e.left, m.lifetime(s, i))
		m.add(s, position, e, func(old entry) bool {
			return old.isOf(user) && (!old.isCapped() || m.Design.ReplaceCapped)
		})
	}
	s.acknowledge(position, func(n int, _ token) bool { return ownerOf[n] == user })
}

// revokeAll revokes the sessions of all users with an entry at the position. The rows of the
// sessions stay.
func (m *World) revokeAll(s *worldState, i int, position uint8) {
	e := entry{about: aboutAll, left: m.lifetime(s, i)}
	for n, t := range s.tokens {
		if s.rows&bit(int8(n)) != 0 {
			e.left = max(e.left, t.left)
		}
	}
	m.add(s, position, e, func(old entry) bool { return old.about == aboutAll })
}

// repair models an instance that has proof of lost commits. The instance locks the head of the
// feed, and revokes the sessions of all users at a position above every position that was ever
// used. If another instance has repaired the store already, repair adds no entry.
func (m *World) repair(s *worldState, i int) {
	suspect := s.instances[i].suspect
	s.instances[i].suspect = 0
	// If this condition is false, another instance has repaired the store.
	if s.belowAll() <= suspect && !(m.Design.HeadIsEnough && s.head >= suspect) {
		m.revokeAll(s, i, m.repairAt(s, i, suspect))
		s.spent.entries-- // the bound does not count repairs
		s.acknowledge(s.head, func(n int, t token) bool { return s.isDead(n, t.generation) })
		s.repaired = true
	}
	m.learn(s, i)
}

func (m *World) repairAt(s *worldState, i int, suspect uint8) uint8 {
	if m.Design.NextPosition {
		return max(s.head, s.instances[i].cursor, suspect) + 1
	}
	return s.peak + 1
}

// prunable reports whether the instance may prune the entry.
func (m *World) prunable(s *worldState, i int, e entry) bool {
	return e.left+m.Design.Grace <= noTime+s.offset(i) && e.position+m.Bounds.Kept <= s.head
}

// prune removes all entries that the instance may prune.
func (m *World) prune(s *worldState, i int) {
	var kept [mostEntries]entry
	n := 0
	for _, e := range s.list() {
		if !m.prunable(s, i, e) {
			kept[n] = e
			n++
		}
	}
	s.entries = kept
	for i := range s.instances { // a read that sees the removal sees all earlier commits too
		if s.instances[i].reading {
			s.instances[i].readHead = s.head
		}
	}
}

// restore replaces the store by the backup.
func (m *World) restore(s *worldState) {
	s.database = s.backup
	s.history++
	s.proven, s.repaired, s.writing = 0, false, 0
	for i := range s.instances {
		in := &s.instances[i]
		in.outdated, in.reading, in.void, in.readAge, in.readHead = true, false, false, 0, 0
	}
	for n := range s.tokens {
		t := &s.tokens[n]
		dead := s.isDead(n, t.generation)
		t.lost = t.revoked > 0 && !dead
		t.folded = t.folded && dead
	}
}
