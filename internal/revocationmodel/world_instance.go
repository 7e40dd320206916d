package revocationmodel

// allVisible is the set of all entries, for a read that sees every entry.
const allVisible = uint16(1<<mostEntries - 1)

// read models a read of the feed by instance i. The read begins after the instance's cursor. If the
// store no longer has the entry at the cursor, the read starts from the beginning. The parameter
// visible is the set of entries that the read sees: bit n stands for the entry with index n. The
// read stops at a missing position, with two exceptions: the missing entry may have been pruned, or
// a repair has skipped the position.
func (m *World) read(s *worldState, i int, visible uint16) {
	in := &s.instances[i]
	if in.cursor > 0 && !m.Design.Timestamps && !m.hasCursor(s, in) {
		in.below, in.belowAll = [users]uint8{}, 0
		in.cursor, in.cursorID, in.top = 0, 0, 0
	}
	for at, e := range s.list() {
		if visible>>at&1 == 0 || e.position < in.cursor ||
			e.position == in.cursor && !m.Design.Timestamps {
			continue
		}
		hole := e.position > in.cursor+1 && e.position-1+m.Bounds.Kept > s.head && e.about != aboutAll
		if hole && m.stopsAtHoles() {
			return
		}
		in.note(e)
	}
}

func (m *World) stopsAtHoles() bool {
	return !m.Design.PassHoles && !m.Design.AutoIncrement && !m.Design.Timestamps
}

// hasCursor reports whether the store still has the last entry that the instance read. If the entry
// is missing and cannot have been pruned, commits were lost.
func (m *World) hasCursor(s *worldState, in *instance) bool {
	lost := in.cursor > s.head
	for _, e := range s.list() {
		if e.position == in.cursor {
			if e.id == in.cursorID {
				return true
			}
			lost = true
		}
	}
	if lost {
		s.proves(in, in.cursor)
	}
	return false
}

// proves records that the instance has proof of lost commits. The parameter generation is a
// position or generation that the instance has seen, and that the store no longer has.
func (s *worldState) proves(in *instance, generation uint8) {
	in.suspect = max(in.suspect, generation)
	s.proven = max(s.proven, 1)
}

// note adds an entry to the knowledge of the instance.
func (in *instance) note(e entry) {
	in.cursor, in.cursorID = e.position, e.id
	in.top = max(in.top, e.position)
	switch {
	case e.about < sessions:
		in.named |= bit(int8(e.about))
	case e.about == aboutAll:
		in.belowAll = max(in.belowAll, e.generation)
	case e.about < aboutAll:
		below := &in.below[e.about-aboutUser]
		*below = max(*below, e.generation)
	}
}

// knows reports whether the instance has read an entry that revokes session n. The parameter
// generation is the generation of the session.
func (in *instance) knows(n int, generation uint8) bool {
	return in.named&bit(int8(n)) != 0 || generation < in.below[ownerOf[n]] || generation < in.belowAll
}

// readNow is a read that takes no time.
func (m *World) readNow(s *worldState, i int) {
	m.read(s, i, allVisible)
	s.instances[i].age, s.instances[i].outdated = 0, false
}

// learn models what an instance does after it has changed the store. The instance reads the feed.
// If it cannot, it accepts no token until a later read has ended.
func (m *World) learn(s *worldState, i int) {
	in := &s.instances[i]
	if in.away || in.reading {
		m.distrust(s, i)
		return
	}
	m.readNow(s, i)
}

// distrust models an instance that has changed the store and cannot read the feed afterwards. The
// instance accepts no token until it has ended a read that began after the change.
func (m *World) distrust(s *worldState, i int) {
	in := &s.instances[i]
	in.age = m.never()
	in.void = in.reading
}

// begin begins a read that takes time.
func (m *World) begin(s *worldState, i int) {
	in := &s.instances[i]
	in.reading, in.void, in.readAge, in.readHead = true, false, 0, s.head
}

// finish ends a read.
func (m *World) finish(s *worldState, i int, visible uint16) {
	m.read(s, i, visible)
	in := &s.instances[i]
	if !in.void {
		in.age = in.readAge
		if m.Design.ReadAtEnd {
			in.age = 0
		}
		in.outdated = false
	}
	in.reading, in.void, in.readAge, in.readHead = false, false, 0, 0
}

// views passes to the function yield, one after another, the sets of entries that a running read
// may see. Each set contains all entries that were committed before the read began, and any subset
// of the entries that were committed since. A database may show a later entry without showing an
// earlier one.
func (m *World) views(s *worldState, i int, yield func(uint16)) {
	list := s.list()
	first := len(list)
	for first > 0 && list[first-1].position > s.instances[i].readHead &&
		list[first-1].position+m.Bounds.Kept > s.head {
		first--
	}
	before := uint16(1<<first - 1)
	for some := range uint16(1) << (len(list) - first) {
		yield(before | some<<first)
	}
}

// Verdict is an instance's answer to a request with a token.
type Verdict uint8

// The verdicts.
const (
	Accepted Verdict = iota
	Stale            // accepted while the store does not answer, from an earlier read
	Refused          // revoked
	Lost             // issued by commits that the store has lost
	Expired
	Unavailable // the latest read of the instance is too old, or commits were lost
)

// answer models the answer of instance i to a request with the token of session n. If reachable is
// true, the instance can reach the store during the request. The instance then reads the feed
// before it answers, in two cases. In the first case, its last read began a tick ago or earlier. In
// the second case, the token's generation is above every head that the instance has seen.
func (m *World) answer(s *worldState, i, n int, reachable bool) Verdict {
	in := &s.instances[i]
	t := &s.tokens[n]
	if s.expired(i, t.left) {
		return Expired
	}
	fresh := in.age < 1
	if !fresh && reachable {
		m.readNow(s, i)
		fresh = true
	}
	trusted := in.age < m.Bounds.Staleness && (in.suspect == 0 || !m.Design.Repair)
	if trusted && reachable && m.Design.HeadCheck && t.generation > in.top && !in.knows(n, t.generation) {
		m.readNow(s, i)
		fresh = true
	}
	switch {
	case !fresh && in.age >= m.Bounds.Staleness, in.suspect > 0 && m.Design.Repair:
		return Unavailable
	case in.knows(n, t.generation):
		return Refused
	case m.Design.HeadCheck && reachable && t.generation > in.top && m.headIsBelow(s, i, t.generation):
		return Lost
	case !fresh:
		return Stale
	}
	return Accepted
}

// headIsBelow reads the head of the feed and reports whether it is below the generation. If it is,
// the store has lost commits.
func (m *World) headIsBelow(s *worldState, i int, generation uint8) bool {
	in := &s.instances[i]
	in.top = s.head
	if generation <= s.head {
		return false
	}
	s.proves(in, generation)
	return true
}
