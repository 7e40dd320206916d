package revocationmodel

import (
	"cmp"
	"fmt"
	"slices"
)

// Authority models transactions that leave something lasting, and transactions that end access, over
// the rows of one database. [NewAuthority] makes one.
//
// There are two users, both super users at first. Session 0 is of user 0 and was opened by an access
// key, session 1 is of user 1, and session 2 of user 0 is created during the run. Several requests
// run at a time, on any instances. What an instance knows plays no part: the model lets each instance
// accept every token that was ever issued, as an instance might that has not read the feed yet. So
// the model holds for every number of instances.
//
// A revocation counts as acknowledged from the moment when its transaction commits, the earliest
// moment at which its caller can be told. An entry of the feed is the set of sessions that it
// revokes.
type Authority struct {
	design     AuthorityDesign
	requests   int
	hostUsers  bool
	operations []operation
}

// AuthorityDesign is where and how a transaction finds out whether the session that acts is live. The
// zero value is the design of the library; each field is a control.
type AuthorityDesign struct {
	AtTheDoor        bool // when the request arrives, perfectly, and never again
	BeforeLocking    bool // in the transaction, before it locks
	RowsOnly         bool // after locking, by the session's row and without the feed
	SharedEverybody  bool // RevokeEverybody takes the lock of all users shared
	OwnerBeforeOther bool // the acting user's row is locked first, instead of the lowest ID
}

const (
	authoritySessions = 3
	mostRequests      = 4
)

// sessionOwner is the user of each session.
var sessionOwner = [authoritySessions]int8{0, 1, 0}

// authorityState is a state of the database and of the requests. Sets are bits.
type authorityState struct {
	requests [mostRequests]request
	rows     uint8 // sessions whose rows exist
	dead     uint8 // sessions that an entry of the feed revokes
	issued   uint8 // sessions whose tokens exist
	exists   uint8 // users
	active   uint8
	super    uint8
	key      bool // the access key that opened session 0
	broken   uint8
}

// request is an operation and how far it is.
type request struct {
	operation uint8 // index plus one; zero while it waits and when it is finished
	stage     uint8
	locks     uint8 // how many it has taken
	missed    uint8 // sessions whose rows did not exist when it wanted to lock them
	note      uint8 // what the operation found out: see its prepare
}

// The stages of a request.
const (
	waiting  uint8 = iota // it has not arrived
	arrived               // the body is held back
	begun                 // the transaction takes its locks
	checked               // the transaction is about to commit
	finished              // everything else is forgotten
)

// What a transaction does that the design must not allow.
const (
	wroteDead uint8 = iota + 1
	wroteInactive
	wroteWithoutPower
	refusedLive
)

var authorityPromises = [...]string{
	wroteDead:         "a session left something lasting after its revocation was acknowledged",
	wroteInactive:     "a user left something lasting after being disabled or deleted was acknowledged",
	wroteWithoutPower: "a user used the power of a super user after the demotion was acknowledged",
	refusedLive:       "a live session that may do so was refused",
}

// Broken implements [Model].
func (m *Authority) Broken(s authorityState) string {
	if s.broken == 0 && !m.hostUsers && s.exists&s.active&s.super == 0 {
		return "no active super user is left"
	}
	return authorityPromises[s.broken]
}

// Start implements [Model].
func (m *Authority) Start() []authorityState {
	return []authorityState{{rows: 0b011, issued: 0b011, exists: 0b11, active: 0b11, super: 0b11, key: true}}
}

// Idle implements [Model].
func (m *Authority) Idle(s authorityState) bool {
	return !slices.ContainsFunc(s.requests[:], func(r request) bool { return r.stage != waiting && r.stage != finished })
}

// Canonical implements [Model]. Requests are interchangeable.
func (m *Authority) Canonical(s authorityState) authorityState {
	slices.SortFunc(s.requests[:], func(a, b request) int {
		return cmp.Or(cmp.Compare(a.operation, b.operation), cmp.Compare(a.stage, b.stage),
			cmp.Compare(a.locks, b.locks), cmp.Compare(a.missed, b.missed), cmp.Compare(a.note, b.note))
	})
	return s
}

// Describe implements [Model].
func (m *Authority) Describe(step Step) string {
	if step.At < 0 {
		return "two super users; session 0 of user 0, by the key; session 1 of user 1"
	}
	return fmt.Sprintf("request %d (%s) %s", step.At, m.operations[step.Of].name, step.Verb)
}

// Next implements [Model].
func (m *Authority) Next(s authorityState, yield func(Step, authorityState)) {
	idle := false // requests that wait are interchangeable
	for i, r := range s.requests[:m.requests] {
		switch r.stage {
		case waiting:
			if !idle {
				m.arrive(s, i, yield)
			}
			idle = true
		case finished:
		default:
			m.proceed(s, i, yield)
		}
	}
}

// arrive is the arrival of a request for one of the operations whose tokens exist.
func (m *Authority) arrive(s authorityState, i int, yield func(Step, authorityState)) {
	for n, op := range m.operations {
		if op.by >= 0 && (s.issued&bit(op.by) == 0 || m.design.AtTheDoor && !m.mayAct(s, op)) {
			continue
		}
		after := s
		after.requests[i] = request{operation: uint8(n + 1), stage: arrived}
		yield(Step{"arrives", int8(i), int8(n)}, after)
	}
}

// proceed is the next step of a request, unless another request's lock keeps it waiting.
func (m *Authority) proceed(s authorityState, i int, yield func(Step, authorityState)) {
	r := &s.requests[i]
	step := Step{At: int8(i), Of: int8(r.operation - 1)}
	op := &m.operations[step.Of]
	switch {
	case r.stage == arrived && m.design.BeforeLocking && op.by >= 0 && !m.mayAct(s, *op):
		m.refuse(s, i, op, step, yield)
	case r.stage == arrived && m.design.BeforeLocking && op.by >= 0:
		r.stage, step.Verb = begun, "checks"
		yield(step, s)
	case r.stage == checked:
		after := s
		op.commit(&after, r, op)
		m.audit(s, op, &after)
		after.requests[i] = request{stage: finished}
		step.Verb = "commits"
		yield(step, after)
		s.requests[i] = request{stage: finished}
		step.Verb = "is rolled back"
		yield(step, s)
	case int(r.locks) < len(op.locks):
		m.lock(s, i, op, step, yield)
	default:
		m.check(s, i, op, step, yield)
	}
}

// lock takes the next lock if nobody holds it, and looks at the row as far as the check needs it.
func (m *Authority) lock(s authorityState, i int, op *operation, step Step, yield func(Step, authorityState)) {
	want := op.locks[s.requests[i].locks]
	for j := range s.requests {
		if j != i && m.holds(s.requests[j], want) {
			return
		}
	}
	r := &s.requests[i]
	r.stage = begun
	r.locks++
	if n, ok := want.row.session(); ok && s.rows&bit(n) == 0 {
		r.missed |= bit(n)
	}
	if m.rowRefuses(s, op, want.row) {
		m.refuse(s, i, op, step, yield)
		return
	}
	step.Verb = "locks " + want.row.String()
	yield(step, s)
}

// holds reports whether the request has a lock that keeps others from the lock that they want.
func (m *Authority) holds(r request, want lock) bool {
	if r.operation == 0 || r.locks == 0 {
		return false
	}
	for _, held := range m.operations[r.operation-1].locks[:r.locks] {
		if held.row == want.row {
			n, ok := held.row.session()
			return !(held.shared && want.shared) && !(ok && r.missed&bit(n) != 0)
		}
	}
	return false
}

// rowRefuses reports whether the row that has just been locked ends the operation.
func (m *Authority) rowRefuses(s authorityState, op *operation, row row) bool {
	if u, ok := row.user(); ok && !m.hostUsers {
		if op.target == u && s.exists&bit(u) == 0 {
			return true
		}
		if op.by >= 0 && m.checksAfterLocking() && u == sessionOwner[op.by] {
			return s.exists&s.active&bit(u) == 0 || op.needsPower && s.super&bit(u) == 0
		}
	}
	n, ok := row.session()
	return ok && op.by == n && m.checksAfterLocking() && s.rows&bit(n) == 0
}

// check finds out from the feed whether the session that acts is live, in a statement after the
// locks.
func (m *Authority) check(s authorityState, i int, op *operation, step Step, yield func(Step, authorityState)) {
	r := &s.requests[i]
	dead := op.by >= 0 && m.checksAfterLocking() && !m.design.RowsOnly && s.dead&bit(op.by) != 0
	if dead || op.impossible != nil && op.impossible(s, op) {
		m.refuse(s, i, op, step, yield)
		return
	}
	r.stage, step.Verb = checked, "checks"
	if op.prepare != nil {
		r.note = op.prepare(m, s, i)
	}
	yield(step, s)
}

func (m *Authority) checksAfterLocking() bool { return !m.design.AtTheDoor && !m.design.BeforeLocking }

// mayAct reports whether the session that acts is live and its user may do so, as the database is
// now.
func (m *Authority) mayAct(s authorityState, op operation) bool {
	owner := bit(sessionOwner[op.by])
	return s.rows&^s.dead&bit(op.by) != 0 && s.exists&s.active&owner != 0 && (!op.needsPower || s.super&owner != 0)
}

// refuse ends the request without an effect. It must not happen to a session that may act, unless
// the operation itself is impossible.
func (m *Authority) refuse(s authorityState, i int, op *operation, step Step, yield func(Step, authorityState)) {
	impossible := op.target >= 0 && s.exists&bit(op.target) == 0 || op.impossible != nil && op.impossible(s, op)
	if op.by >= 0 && !impossible && m.mayAct(s, *op) {
		s.broken = refusedLive
	}
	s.requests[i] = request{stage: finished}
	step.Verb = "is refused"
	yield(step, s)
}

// audit notes the promise that the commit breaks.
func (m *Authority) audit(before authorityState, op *operation, after *authorityState) {
	if op.by < 0 {
		return
	}
	owner := bit(sessionOwner[op.by])
	switch {
	case before.dead&bit(op.by) != 0:
		after.broken = wroteDead
	case before.exists&before.active&owner == 0:
		after.broken = wroteInactive
	case op.needsPower && before.super&owner == 0:
		after.broken = wroteWithoutPower
	}
}

// bit returns the set that has only n.
func bit(n int8) uint8 { return 1 << n }
