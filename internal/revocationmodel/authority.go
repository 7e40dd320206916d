package revocationmodel

import (
	"cmp"
	"fmt"
	"slices"
)

// Authority models transactions on the rows of one database. Some transactions make lasting changes
// for a session, and others revoke sessions. [NewAuthority] returns an Authority.
//
// There are two users, both super users at first. Session 0 belongs to user 0 and was opened with
// an access key. Session 1 belongs to user 1. Session 2 belongs to user 0 and does not exist at
// first. Several requests run at the same time, on one or more instances. An instance that has not
// read the feed yet may accept a revoked token. Therefore the model assumes that a request reaches
// the database with any token that was ever issued. The model does not represent what each instance
// knows, so the results hold for every number of instances.
//
// A revocation counts as acknowledged as soon as its transaction commits, because no caller gets an
// acknowledgment before the commit. The model represents an entry of the feed as the set of
// sessions that the entry revokes.
type Authority struct {
	design     AuthorityDesign
	requests   int
	hostUsers  bool
	operations []operation
}

// AuthorityDesign says when and how a request checks that the acting session is still valid. The
// acting session is the session of the token in the request. The zero value is the design of the
// library. If a field is true, the design is a control: a design that is known to be wrong.
type AuthorityDesign struct {
	AtTheDoor        bool // checks only when the request arrives
	BeforeLocking    bool // checks in the transaction, before it locks rows
	RowsOnly         bool // after locking, checks the session's row but not the feed
	SharedEverybody  bool // the lock of RevokeEverybody on the row "everybody" is shared
	OwnerBeforeOther bool // locks the acting user's row before the row of a lower ID
}

const (
	authoritySessions = 3
	mostRequests      = 4
)

// sessionOwner is the user of each session.
var sessionOwner = [authoritySessions]int8{0, 1, 0}

// authorityState is a state of the database and of the requests. Sets are bit sets.
type authorityState struct {
	requests [mostRequests]request
	rows     uint8 // sessions whose rows exist
	dead     uint8 // sessions that an entry of the feed revokes
	issued   uint8 // sessions whose tokens exist
	exists   uint8 // users that exist
	active   uint8
	super    uint8
	key      bool // whether the access key of session 0 exists
	broken   uint8
}

// request is an operation and its progress.
type request struct {
	operation uint8 // index of the operation plus one; zero if the request is waiting or finished
	stage     uint8
	locks     uint8 // number of locks taken
	missed    uint8 // sessions whose rows did not exist when the request tried to lock them
	note      uint8 // what the operation's prepare function returned
}

// The stages of a request.
const (
	waiting  uint8 = iota // not arrived yet
	arrived               // arrived; the body is still held back
	begun                 // the transaction takes its locks
	checked               // the transaction is about to commit
	finished              // finished; all other fields are zero
)

// The values of authorityState.broken. Each value is the index of a promise in authorityPromises.
// Zero means that no promise is broken.
const (
	wroteDead uint8 = iota + 1
	wroteInactive
	wroteWithoutPower
	refusedLive
)

var authorityPromises = [...]string{
	wroteDead:         "a session made a lasting change after its revocation was acknowledged",
	wroteInactive:     "a user made a lasting change after being disabled or deleted was acknowledged",
	wroteWithoutPower: "a user acted as a super user after the demotion was acknowledged",
	refusedLive:       "a valid session with the needed rights was refused",
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
	return []authorityState{{rows: 0b011, issued: 0b011, exists: 0b11, active: 0b11, super: 0b11,
		key: true}}
}

// Idle implements [Model].
func (m *Authority) Idle(s authorityState) bool {
	return !slices.ContainsFunc(s.requests[:], func(r request) bool {
		return r.stage != waiting && r.stage != finished
	})
}

// Canonical implements [Model]. It sorts the requests, because requests are interchangeable.
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
	idle := false // whether one waiting request was offered; waiting requests are interchangeable
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

// arrive passes to the function yield the steps in which request i arrives. There is one step for
// each operation that the request can have. A session can make requests only after its token was
// issued.
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

// proceed passes to the function yield the possible next steps of request i. If the request waits
// for a lock that another request holds, no step is possible.
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

// lock takes the next lock of request i, and passes this step to the function yield. If another
// request holds a conflicting lock, no step is possible. If the locked row shows that the operation
// must fail, the request is refused.
func (m *Authority) lock(
	s authorityState, i int, op *operation, step Step, yield func(Step, authorityState),
) {
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

// holds reports whether the request holds a lock that conflicts with the wanted lock. A row that
// does not exist cannot be locked. So if a row did not exist when the request tried to lock the
// row, the request holds no lock on the row.
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

// rowRefuses reports whether the row that was just locked makes the operation fail.
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

// check lets request i read the feed, and passes this step to the function yield. The request has
// already taken all its locks. If an entry of the feed revokes the acting session, the request is
// refused. It is also refused if the operation is impossible.
func (m *Authority) check(
	s authorityState, i int, op *operation, step Step, yield func(Step, authorityState),
) {
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

// mayAct reports whether the acting session is valid and its user has the needed rights, according
// to the current rows of the database.
func (m *Authority) mayAct(s authorityState, op operation) bool {
	owner := bit(sessionOwner[op.by])
	return s.rows&^s.dead&bit(op.by) != 0 && s.exists&s.active&owner != 0 &&
		(!op.needsPower || s.super&owner != 0)
}

// refuse ends request i without an effect, and passes this step to the function yield. If the
// session is valid, its user has the needed rights, and the operation is possible, the refusal
// breaks a promise.
func (m *Authority) refuse(
	s authorityState, i int, op *operation, step Step, yield func(Step, authorityState),
) {
	impossible := op.target >= 0 && s.exists&bit(op.target) == 0 ||
		op.impossible != nil && op.impossible(s, op)
	if op.by >= 0 && !impossible && m.mayAct(s, *op) {
		s.broken = refusedLive
	}
	s.requests[i] = request{stage: finished}
	step.Verb = "is refused"
	yield(step, s)
}

// audit records the promise that the commit breaks, if any.
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

// bit returns the set that contains only n.
func bit(n int8) uint8 { return 1 << n }
