package revocationmodel

import (
	"fmt"
	"slices"
	"strings"
)

// row is a row of the database. All transactions lock rows in the order of the constants below.
type row uint8

const (
	everybody row = iota
	superUsers
	user0
	user1
	accessKey
	session0
	session1
	session2
	head
)

var rowNames = [...]string{
	"everybody", "the super users", "user 0", "user 1", "the key", "session 0", "session 1", "session 2", "the head",
}

func (r row) String() string { return rowNames[r] }

func (r row) user() (int8, bool)    { return int8(r) - int8(user0), r == user0 || r == user1 }
func (r row) session() (int8, bool) { return int8(r) - int8(session0), r >= session0 && r <= session2 }

type lock struct {
	row    row
	shared bool
}

// operation is a method of the store with its arguments.
type operation struct {
	name       string
	by         int8 // acting session; negative if none
	needsPower bool // needs the rights of a super user
	target     int8 // user that the operation changes; negative if none
	locks      []lock

	// impossible, if not nil, reports whether the operation must fail even for a valid session.
	impossible func(s authorityState, op *operation) bool
	prepare    func(m *Authority, s authorityState, i int) uint8  // runs after the locks; may be nil
	commit     func(s *authorityState, r *request, op *operation) // changes the database
}

// NewAuthority returns a model of the design. The parameter requests is the number of requests that
// run at the same time, at most 4. If hostUsers is true, users are in a table of the host, not in
// the store. The store then has no flags of users, and the creation of a session locks no user. The
// names select the operations to explore. Without names, all operations are explored.
func NewAuthority(design AuthorityDesign, requests int, hostUsers bool, names ...string) *Authority {
	m := &Authority{design: design, requests: requests, hostUsers: hostUsers}
	for _, op := range append(lastingWrites(), endings()...) {
		if hostUsers && slices.ContainsFunc(op.locks, func(l lock) bool { return l.row == superUsers }) {
			continue
		}
		if hostUsers && strings.HasPrefix(op.name, "create session") {
			op.locks = op.locks[1:]
		}
		if design.SharedEverybody {
			op.locks[0].shared = op.locks[0].row == everybody
		}
		if i := slices.IndexFunc(op.locks,
			func(l lock) bool { return l.row == user0 }); design.OwnerBeforeOther && op.by == 1 && i >= 0 {
			op.locks[i], op.locks[i+1] = op.locks[i+1], op.locks[i]
		}
		if len(names) == 0 || slices.Contains(names, op.name) {
			m.operations = append(m.operations, op)
		}
	}
	return m
}

// lastingWrites returns the operations that make a lasting change for a session.
func lastingWrites() (ops []operation) {
	for by := range int8(authoritySessions) {
		owner := sessionOwner[by]
		other := 1 - owner
		ops = append(ops, operation{
			name: fmt.Sprintf("add a key by session %d", by), by: by, target: -1,
			locks:  locks(everybody, userRow(owner), sessionRow(by)),
			commit: func(*authorityState, *request, *operation) {},
		}, operation{
			name: fmt.Sprintf("promote user %d by session %d", other, by), by: by, target: other,
			needsPower: true,
			locks:      locks(everybody, superUsers, user0, user1, sessionRow(by)),
			commit:     func(s *authorityState, _ *request, op *operation) { s.super |= bit(op.target) },
		}, operation{
			name: fmt.Sprintf("disable user %d by session %d", other, by), by: by, target: other,
			needsPower: true,
			locks: locks(append([]row{everybody, superUsers, user0, user1, head,
				sessionRow(by)}, sessionsOf(other)...)...),
			impossible: leavesNoSuperUser,
			commit:     disable,
		}, operation{
			name: fmt.Sprintf("revoke sessions of user %d by session %d", other, by), by: by,
			target: other, needsPower: true,
			locks: locks(append([]row{everybody, user0, user1, head, sessionRow(by)},
				sessionsOf(other)...)...),
			commit: revokeAll,
		})
	}
	return ops
}

// endings returns the operations that end a session or take rights away from a user. The host
// starts some of these operations. With the others, a client ends sessions of its own user. None of
// these operations has an acting session that the model checks.
func endings() (ops []operation) {
	for n := range int8(authoritySessions) {
		ops = append(ops, operation{
			name: fmt.Sprintf("log out session %d", n), by: -1, target: -1,
			locks: locks(userRow(sessionOwner[n]), sessionRow(n), head),
			commit: func(s *authorityState, _ *request, _ *operation) {
				s.rows, s.dead = s.rows&^bit(n), s.dead|bit(n)
			},
		})
	}
	for u := range int8(2) {
		about := func(name string, rows []row, commit func(*authorityState, *request, *operation)) operation {
			op := operation{name: fmt.Sprintf("%s user %d", name, u), by: -1, target: u, commit: commit}
			op.locks = locks(append(append(rows, userRow(u)), sessionsOf(u)...)...)
			return op
		}
		ops = append(ops,
			about("revoke sessions of", []row{head}, revokeAll),
			about("disable", []row{superUsers, head}, disable),
			about("delete", []row{superUsers, accessKey, head},
				func(s *authorityState, r *request, op *operation) {
					s.exists &^= bit(op.target)
					s.key = s.key && op.target != 0
					revokeAll(s, r, op)
				}),
			about("reset", []row{superUsers, accessKey, head},
				func(s *authorityState, r *request, op *operation) {
					s.key = s.key && op.target != 0
					revokeAll(s, r, op)
				}),
			operation{
				name: fmt.Sprintf("demote user %d", u), by: -1, target: u,
				locks:      locks(superUsers, userRow(u)),
				impossible: leavesNoSuperUser,
				commit: func(s *authorityState, _ *request, op *operation) {
					s.super &^= bit(op.target)
				},
			})
		for i := range ops[len(ops)-4 : len(ops)-2] { // disable and delete
			ops[len(ops)-4+i].impossible = leavesNoSuperUser
		}
	}
	return append(ops, otherEndings()...)
}

// otherEndings returns the operations that revoke sessions as part of another change, and the
// operation that prunes the row of a session.
func otherEndings() []operation {
	none := operation{by: -1, target: -1}
	key, create, atCap, fold, all, prune := none, none, none, none, none, none

	key.name, key.locks = "revoke the key", locks(user0, accessKey, session0, head)
	key.impossible = func(s authorityState, _ *operation) bool { return !s.key }
	key.commit = func(s *authorityState, r *request, op *operation) {
		s.key = false
		evict(s, r, op)
	}

	create.name, create.locks = "create session 2", locks(user0, accessKey)
	create.impossible = func(s authorityState, _ *operation) bool {
		return !s.key || s.issued&bit(2) != 0 || s.exists&s.active&bit(0) == 0
	}
	create.prepare = func(*Authority, authorityState, int) uint8 { return generationRead }
	create.commit = func(s *authorityState, r *request, _ *operation) {
		s.rows, s.issued = s.rows|bit(2), s.issued|bit(2)
		if r.note == generationOld {
			s.dead |= bit(2)
		}
	}

	// User 0 already has the maximum number of sessions, so the new session displaces session 0.
	atCap = create
	atCap.name, atCap.locks = "create session 2 at the cap", locks(user0, accessKey, session0, head)
	atCap.commit = func(s *authorityState, r *request, op *operation) {
		evict(s, r, op)
		create.commit(s, r, op)
	}

	// A fold replaces the entries for single sessions of a user by one entry, which revokes all
	// sessions of the user below a generation. Here, the revocation of another session of user 0,
	// which the model does not represent, makes a fold necessary. The generation of session 0 is
	// below the generation of the new entry, so the fold revokes session 0 too. Session 2 has a
	// higher generation and stays valid.
	fold.name, fold.locks = "fold user 0", locks(user0, head)
	fold.prepare = func(m *Authority, s authorityState, i int) (unlocked uint8) {
		for j := range s.requests {
			if j != i && m.holds(s.requests[j], lock{session0, false}) {
				return 0 // the fold does not remove a row that another request has locked
			}
		}
		return foldRemoves
	}
	fold.commit = func(s *authorityState, r *request, _ *operation) {
		s.dead |= bit(0)
		if r.note == foldRemoves {
			s.rows &^= bit(0)
		}
	}

	all.name, all.locks = "revoke everybody", []lock{{everybody, false}, {head, false}}
	all.commit = func(s *authorityState, _ *request, _ *operation) {
		s.dead |= s.issued // the rows stay
		s.outdateGenerations()
	}

	// The clock of the pruning instance is fast, so the instance considers session 0 expired.
	prune.name, prune.locks = "prune session 0", locks(session0)
	prune.commit = func(s *authorityState, _ *request, _ *operation) { s.rows &^= bit(0) }
	return []operation{key, create, atCap, fold, all, prune}
}

// The values of request.note.
const (
	generationRead uint8 = iota + 1 // the new session's generation is the head of the feed
	generationOld                   // an entry that was committed later revokes the new session
	foldRemoves                     // the fold has locked the row of session 0
)

// outdateGenerations models the commit of an entry that revokes all sessions of user 0. Another
// request may be creating a session at this time. If that request has read the generation of the
// new session but has not committed yet, the entry revokes the new session too.
func (s *authorityState) outdateGenerations() {
	for i := range s.requests {
		if s.requests[i].note == generationRead {
			s.requests[i].note = generationOld
		}
	}
}

func leavesNoSuperUser(s authorityState, op *operation) bool {
	return s.exists&s.active&s.super == bit(op.target)
}

func disable(s *authorityState, r *request, op *operation) {
	s.active &^= bit(op.target)
	revokeAll(s, r, op)
}

// revokeAll adds the entry that revokes all sessions of the target user. It removes the rows of the
// sessions, except rows that did not exist when the request tried to lock them.
func revokeAll(s *authorityState, r *request, op *operation) {
	for n, owner := range sessionOwner {
		if owner == op.target {
			s.dead |= s.issued & bit(int8(n))
			s.rows &^= bit(int8(n)) &^ r.missed
		}
	}
	if op.target == 0 {
		s.outdateGenerations()
	}
}

// evict revokes session 0. It does nothing if the row of session 0 did not exist when the request
// tried to lock the row.
func evict(s *authorityState, r *request, _ *operation) {
	if ended := bit(0) &^ r.missed; ended != 0 {
		s.rows, s.dead = s.rows&^ended, s.dead|ended
	}
}

func userRow(u int8) row    { return user0 + row(u) }
func sessionRow(n int8) row { return session0 + row(n) }

func sessionsOf(user int8) (rows []row) {
	for n, owner := range sessionOwner {
		if owner == user {
			rows = append(rows, sessionRow(int8(n)))
		}
	}
	return rows
}

// locks returns the locks for the rows, in the order that all transactions use. The lock on the row
// named "everybody" is shared. All other locks are exclusive.
func locks(rows ...row) (list []lock) {
	slices.Sort(rows)
	for _, r := range slices.Compact(rows) {
		list = append(list, lock{r, r == everybody})
	}
	return list
}
