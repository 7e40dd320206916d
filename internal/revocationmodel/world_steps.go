package revocationmodel

// stepping is one call of [World.Next]. It has the state and the function yield of this call. The
// methods of stepping offer steps: they call the function yield with each step that is possible in
// the state, and with the state after the step.
type stepping struct {
	m     *World
	s     worldState
	yield func(Step, worldState)
}

// take is the method that offers a single step. The function change turns the state before the step
// into the state after the step. The parameters verb, at and of are the fields of the Step.
func (p *stepping) take(verb string, at, of int, change func(s *worldState)) {
	after := p.s
	change(&after)
	p.yield(Step{verb, int8(at), int8(of)}, after)
}

// Next implements [Model].
func (m *World) Next(s worldState, yield func(Step, worldState)) {
	p := &stepping{m, s, yield}
	p.time()
	for i := range s.instances {
		p.reads(i)
		p.changes(i)
		p.ends(i)
		p.repairs(i)
		p.presents(i)
	}
	p.backups()
	p.writes()
}

// time is the method that offers a tick of all clocks. If an instance has proof of lost commits and
// can reach the store, the instance must repair the store at once. In such a state, time offers no
// tick.
func (p *stepping) time() {
	for _, in := range p.s.instances {
		if in.suspect > 0 && !in.away && p.m.Design.Repair {
			return
		}
	}
	p.take("a tick passes", -1, -1, func(s *worldState) {
		older := func(age *uint8) {
			if *age < p.m.Bounds.Staleness {
				*age++
			}
		}
		for i := range s.instances {
			older(&s.instances[i].age)
			if s.instances[i].reading {
				older(&s.instances[i].readAge)
			}
		}
		if p.m.Bounds.Lifetime > 0 {
			s.age()
		}
		for n := range s.tokens {
			if t := &s.tokens[n]; t.revoked > 0 {
				t.revoked = min(t.revoked+1, p.m.Bounds.Staleness+1)
			}
		}
		if s.proven > 0 {
			s.proven = min(s.proven+1, p.m.Bounds.Staleness+1)
		}
		if p.m.Design.Timestamps {
			s.clock++
		}
	})
}

// age is the part of a tick that shortens the remaining time of tokens and entries.
func (s *worldState) age() {
	for _, d := range []*database{&s.database, &s.backup} {
		for i := range d.list() {
			d.entries[i].left = max(d.entries[i].left, 1) - 1
		}
	}
	for n := range s.tokens {
		s.tokens[n].left = max(s.tokens[n].left, 1) - 1
	}
}

// reads is the method that offers the steps in which instance i reads the feed, loses the store,
// reaches the store again, or restarts.
func (p *stepping) reads(i int) {
	in := p.s.instances[i]
	b := p.m.Bounds
	switch {
	case in.reading:
		p.m.views(&p.s, i, func(visible uint16) {
			p.take("finishes reading the feed", i, -1, func(s *worldState) {
				p.m.finish(s, i, visible)
			})
		})
	case !in.away && b.SlowReads:
		p.take("begins to read the feed", i, -1, func(s *worldState) { p.m.begin(s, i) })
	case !in.away && !b.Presenting:
		p.take("reads the feed", i, -1, func(s *worldState) { p.m.readNow(s, i) })
	}
	if in.away {
		p.take("reaches the store again", i, -1, func(s *worldState) { s.instances[i].away = false })
	} else if !in.reading && p.s.spent.outages < b.Outages {
		p.take("loses the store", i, -1, func(s *worldState) {
			s.spent.outages++
			s.instances[i].away = true
		})
	}
	if p.s.spent.restarts < b.Restarts {
		p.take("restarts", i, -1, func(s *worldState) {
			s.spent.restarts++
			if in.suspect > 0 && !s.repaired { // the restart loses the proof of lost commits
				s.proven = 0
			}
			s.instances[i] = instance{age: p.m.never(), away: in.away}
		})
	}
}

// changes is the method that offers three kinds of steps of instance i: the creation of a session,
// the pruning of sessions, and the pruning of the feed.
func (p *stepping) changes(i int) {
	for n := range p.s.tokens {
		if p.m.Bounds.Creations&bit(int8(n)) != 0 && !p.s.tokens[n].issued {
			p.take("creates session", i, n, func(s *worldState) { p.m.create(s, i, n) })
			break // one is enough, because sessions that do not exist yet are interchangeable
		}
	}
	if !p.m.Bounds.Prunes {
		return
	}
	expired := uint8(0)
	for n, t := range p.s.tokens {
		if p.s.expired(i, t.left) {
			expired |= bit(int8(n))
		}
	}
	if p.s.rows&expired != 0 {
		p.take("prunes sessions", i, -1, func(s *worldState) { s.rows &^= expired })
	}
	for _, e := range p.s.list() {
		if p.m.prunable(&p.s, i, e) {
			p.take("prunes the feed", i, -1, func(s *worldState) { p.m.prune(s, i) })
			break
		}
	}
}

// held reports whether the row of the user is locked by a lasting change that has not committed
// yet.
func (s *worldState) held(user uint8) bool { return s.writing > 0 && ownerOf[s.writing-1] == user }

// ends offers revocations.
func (p *stepping) ends(i int) {
	s, b := &p.s, p.m.Bounds
	if p.m.Design.AutoIncrement || p.m.Design.Timestamps {
		p.outOfOrder(i)
		return
	}
	for n, t := range s.tokens {
		dead := t.revoked > 0 && !t.lost && s.instances[i].knows(n, t.generation)
		row := s.rows&bit(int8(n)) != 0
		if t.issued && !dead && !s.expired(i, t.left) && (row || p.m.Design.FromClaims) &&
			p.m.hasRoom(s, p.m.entriesOf(s, ownerOf[n])) && !s.held(ownerOf[n]) {
			p.revoke("revokes session", i, n, func(s *worldState) { p.m.revoke(s, i, n) })
		}
	}
	for user := range uint8(users) {
		if s.spent.userEnds < b.UserEnds && p.m.hasRoom(s, 1) && !s.held(user) {
			p.revoke("revokes the sessions of user", i, int(user), func(s *worldState) {
				s.spent.userEnds++
				p.m.revokeUser(s, i, user)
			})
		}
	}
	if s.spent.others < b.Others && p.m.hasRoom(s, 1) {
		p.revoke("revokes a session of another user", i, -1, func(s *worldState) {
			s.spent.others++
			p.m.add(s, s.head+1, entry{about: aboutOther, left: p.m.lifetime(s, i)}, nothing)
		})
	}
	if s.spent.allEnds < b.AllEnds && p.m.hasRoom(s, 1) && (s.writing == 0 || p.m.Design.Unlocked) {
		p.revoke("revokes everybody's sessions", i, -1, func(s *worldState) {
			s.spent.allEnds++
			p.m.revokeAll(s, i, p.m.repairAt(s, i, 0))
			s.acknowledge(s.head, func(int, token) bool { return true })
		})
	}
}

// revoke is the method that offers a revocation by instance i. The function change applies the
// revocation to a state. After the revocation, the instance reads the feed, or fails to read the
// feed. If the read proves that commits were lost, the instance repairs the store before it
// acknowledges the revocation.
func (p *stepping) revoke(verb string, i, of int, change func(s *worldState)) {
	if in := &p.s.instances[i]; !in.away && !in.reading && p.m.Bounds.Unread {
		p.take(verb+" and cannot read that back, which was", i, of, func(s *worldState) {
			change(s)
			p.m.distrust(s, i)
		})
	}
	after := p.s
	change(&after)
	p.m.learn(&after, i)
	if after.instances[i].suspect > 0 && p.m.Design.Repair {
		if !p.m.canRepair(&after, i) {
			return
		}
		p.m.repair(&after, i)
	}
	p.yield(Step{verb, int8(i), int8(of)}, after)
}

// outOfOrder is the method that offers revocations in the controls Timestamps and AutoIncrement. In
// these two designs, a revocation has two steps. The first step takes the position, and a later
// step commits the entry.
func (p *stepping) outOfOrder(i int) {
	in := &p.s.instances[i]
	if in.pending > 0 {
		p.take("commits the revocation of session", i, int(in.pending-1), func(s *worldState) {
			in := &s.instances[i]
			n, t := int(in.pending-1), s.tokens[in.pending-1]
			s.rows &^= bit(int8(n))
			p.m.add(s, in.position, entry{about: uint8(n), generation: t.generation, left: t.left},
				nothing)
			in.pending, in.position = 0, 0
			s.acknowledge(s.head, func(other int, _ token) bool { return other == n })
			p.m.learn(s, i)
		})
		return
	}
	for n, t := range p.s.tokens {
		if !t.issued || t.revoked > 0 || p.s.instances[1-i].pending == uint8(n+1) ||
			!p.m.hasRoom(&p.s, 2) {
			continue
		}
		p.take("begins to revoke session", i, n, func(s *worldState) {
			in := &s.instances[i]
			in.pending, in.position = uint8(n+1), max(s.head, s.instances[1-i].position)+1
			if p.m.Design.Timestamps {
				in.position = 1 + s.clock + s.offset(i)
			}
		})
	}
}

// repairs offers repairs of lost commits.
func (p *stepping) repairs(i int) {
	if p.m.Design.Repair && p.s.instances[i].suspect > 0 && p.m.canRepair(&p.s, i) {
		p.take("repairs the store", i, -1, func(s *worldState) { p.m.repair(s, i) })
	}
}

// canRepair reports whether the instance can repair the store. The instance must reach the store,
// no lasting change may hold locks, and the feed must have space for another entry.
func (m *World) canRepair(s *worldState, i int) bool {
	in := &s.instances[i]
	return !in.away && (s.writing == 0 || m.Design.Unlocked) && len(s.list()) < mostEntries
}

// presents is the method that offers the steps in which instance i gets a request with a token.
func (p *stepping) presents(i int) {
	for n, t := range p.s.tokens {
		if !t.issued {
			continue
		}
		after := p.s
		p.m.answer(&after, i, n, !p.s.instances[i].away)
		if p.m.Bounds.Presenting || after.instances[i].suspect != p.s.instances[i].suspect {
			p.yield(Step{"is shown the token of session", int8(i), int8(n)}, after)
		}
	}
}

// backups offers backups of the store and its restore.
func (p *stepping) backups() {
	if p.s.spent.snapshots < p.m.Bounds.Snapshots {
		p.take("the store is backed up", -1, -1, func(s *worldState) {
			s.spent.snapshots++
			s.backup = s.database
		})
	}
	if p.s.spent.snapshots > 0 && p.s.spent.restores < p.m.Bounds.Restores {
		p.take("the store is restored", -1, -1, func(s *worldState) {
			s.spent.restores++
			p.m.restore(s)
		})
	}
}

// writes offers requests that make lasting changes.
func (p *stepping) writes() {
	if !p.m.Bounds.Writes || p.s.spent.restores == 0 { // Authority models the cases without a restore
		return
	}
	if n := p.s.writing; n > 0 {
		p.take("a lasting write commits for session", -1, int(n-1), func(s *worldState) {
			s.writing = 0
			if s.isDead(int(n-1), s.tokens[n-1].generation) {
				s.broken = 1
			}
		})
		return
	}
	for n, t := range p.s.tokens {
		if t.issued && p.s.rows&bit(int8(n)) != 0 && !p.s.isDead(n, t.generation) {
			p.take("a lasting write locks and checks session", -1, n, func(s *worldState) {
				s.writing = uint8(n + 1)
			})
		}
	}
}
