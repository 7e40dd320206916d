package revocationmodel

import (
	"cmp"
	"fmt"
)

// World models two instances of a service that read the revocation feed of one store. [NewFeed],
// [NewSlowFeed], [NewRestore] and [NewProduct] each return a World.
//
// Sessions 0, 1 and 2 belong to user 0, and session 3 belongs to user 1. Time passes in ticks. A
// tick is the interval at which an instance reads the feed. Between two ticks, any number of steps
// can happen in any order. The clock of instance A is the reference clock. The clock of instance B
// can be a tick ahead of the reference clock.
type World struct {
	Bounds Bounds
	Design Design
}

// Bounds limit which events can happen, and how often, so that the number of states is finite.
type Bounds struct {
	Sessions   uint8 // the set of sessions that exist at the start
	Creations  uint8 // the set of sessions that may be created
	Lifetime   uint8 // lifetime of a token, in ticks; zero means forever
	Staleness  uint8 // ticks for which an instance accepts tokens while it cannot read the feed
	Kept       uint8 // number of newest entries that are never pruned
	MaxNamed   uint8 // entries for single sessions of a user; a fold merges the excess
	Entries    uint8 // entries that are added to the feed, not counting repairs
	BehindBy   uint8 // maximum number of ticks by which clock A is behind clock B
	UserEnds   uint8 // how often all sessions of a user are revoked
	AllEnds    uint8 // how often the sessions of all users are revoked
	Others     uint8 // how often a session that the model does not follow is revoked
	Restarts   uint8
	Outages    uint8 // how often an instance loses its connection to the store
	SlowReads  bool  // reads of the feed take time
	Unread     bool  // after its own revocation, an instance may fail to read the feed
	Prunes     bool
	Snapshots  uint8
	Restores   uint8
	Writes     bool // requests that make lasting changes
	Presenting bool // a request with a token is a step even if it only makes the instance read
}

// Design is a design of the revocation feed. Its last fields are the controls: each of them makes
// the design wrong. In [Library], which is the design of the library, all controls are false.
type Design struct {
	// If FromClaims is true, a revocation makes its entry from the claims of the token. The
	// revocation then works even if the row of the session does not exist.
	FromClaims bool
	// If HeadCheck is true, an instance compares the generation of a token with the head of the
	// feed. A generation above the head proves that the store has lost commits.
	HeadCheck bool
	// If Repair is true, an instance that has proof of lost commits adds an entry that revokes the
	// sessions of all users. The position of the entry is above every position that was ever used,
	// including the positions of lost entries. Real instances use the time in microseconds as the
	// position. The time is above every earlier position, because there is never more than one
	// revocation in each microsecond.
	Repair bool
	// Grace is the number of ticks for which an entry is kept after its sessions have expired. It
	// must be twice the maximum difference of the clocks, because two clocks can be wrong. The
	// clock of the revoking instance can be behind, so the expiry of the entry is too early. The
	// clock of the pruning instance can be ahead, so the entry is pruned too early.
	Grace uint8

	// The controls. Each of them makes the design wrong.
	Timestamps    bool // a position is the time at which the transaction began
	AutoIncrement bool // a transaction takes its position when it begins, not when it commits
	PassHoles     bool // a reader does not wait for the entry of a missing position
	ReadAtEnd     bool // the age of a read counts from the end of the read, not its beginning
	ReplaceCapped bool // an entry for a user replaces entries for sessions that it does not revoke
	NextPosition  bool // a repair uses the position after the highest that its instance has seen
	HeadIsEnough  bool // no repair if the head has reached the generation that proved the loss
	Unlocked      bool // an entry for all users does not wait for transactions with lasting changes
}

const (
	users       = 2
	sessions    = 4
	mostEntries = 9
	noTime      = 3 // value of entry.left and token.left when no time remains
)

var ownerOf = [sessions]uint8{0, 0, 0, 1}

// The subject of an entry (entry.about) is the number of a session or one of these values.
const (
	aboutUser  uint8 = 8 // plus the number of the user
	aboutAll   uint8 = 16
	aboutOther uint8 = 17 // a session that the model does not follow
)

// entry is an entry of the feed. Position zero means no entry.
type entry struct {
	position   uint8
	about      uint8
	generation uint8
	left       uint8 // ticks until the sessions expire on clock A, plus noTime; zero if replaced
	id         uint8 // differs between histories of the store
}

// database is the part of the store that a backup contains.
type database struct {
	head    uint8
	rows    uint8 // sessions with a row
	entries [mostEntries]entry
}

// instance is what one instance of the service has in memory.
type instance struct {
	cursor, cursorID uint8 // the newest entry that the instance has read
	top              uint8 // the greatest head of the feed that the instance has seen
	named            uint8 // sessions that the instance knows to be revoked, because an entry names them
	below            [users]uint8
	belowAll         uint8
	age              uint8 // ticks since the last complete read began, up to Staleness; or never()
	away             bool  // cannot read the store
	outdated         bool  // has not read since the store was restored
	suspect          uint8 // the greatest generation that proves lost commits; zero after the repair

	reading  bool // a read is running
	void     bool // the running read began before a revocation by this instance and may miss it
	readAge  uint8
	readHead uint8
	pending  uint8 // for two controls: session of a revocation that has begun, plus one
	position uint8 // for two controls: position of that revocation
}

// token is the token of a session, and what happened to the token. The database does not contain
// this, so a restore of the store does not undo it.
type token struct {
	issued     bool
	generation uint8
	left       uint8 // ticks until the token expires on clock A, plus noTime
	revoked    uint8 // ticks since a revocation was acknowledged, plus one; zero before
	lost       bool  // a restore has undone the revocation
	folded     bool  // a fold has revoked it
}

type worldState struct {
	database
	backup    database
	instances [2]instance
	tokens    [sessions]token
	ahead     uint8 // offset of clock B
	clock     uint8 // number of ticks; counted only for the control Timestamps
	history   uint8
	peak      uint8 // the highest position that was ever used
	proven    uint8 // ticks since an instance got proof of lost commits, plus one
	repaired  bool  // whether the store was repaired since the last restore
	writing   uint8 // session whose lasting change holds its locks, plus one
	spent     spent
	broken    uint8
}

// spent counts the events that the bounds limit.
type spent struct{ entries, userEnds, allEnds, others, restarts, outages, snapshots, restores uint8 }

// NewFeed returns a model of the feed in which entries are folded and pruned. Reads take no time.
// The model allows a fold to revoke sessions whose revocation nobody requested.
func NewFeed(design Design) *World {
	return &World{Design: design, Bounds: Bounds{
		Sessions: 0b1011, Creations: 0b0100, Lifetime: 3, Staleness: 2, Kept: 1, MaxNamed: 1,
		BehindBy: 1,
		Entries:  4, Restarts: 1, Prunes: true,
	}}
}

// NewSlowFeed returns a model of the feed in which a read takes time. The read may see any subset
// of the entries that are committed while it runs. Nothing is pruned.
func NewSlowFeed(design Design) *World {
	return &World{Design: design, Bounds: Bounds{
		Sessions: 0b1001, Creations: 0b0010, Lifetime: 3, Staleness: 2, Kept: 2, MaxNamed: 1,
		Entries: 3, SlowReads: true, Unread: true,
	}}
}

// NewRestore returns a model in which the store is restored from a backup, so that commits are
// lost.
func NewRestore(design Design) *World {
	return &World{Design: design, Bounds: Bounds{
		Sessions: 0b1001, Creations: 0b0010, Staleness: 1, Kept: 8, MaxNamed: 9,
		Entries: 3, Restarts: 1, Others: 1, Snapshots: 1, Restores: 1, Writes: true,
	}}
}

// NewProduct returns a model in which every event of the other models can happen.
func NewProduct(design Design) *World {
	return &World{Design: design, Bounds: Bounds{
		Sessions: 0b1001, Creations: 0b0110, Lifetime: 4, Staleness: 2, Kept: 2, MaxNamed: 2,
		BehindBy: 1,
		Entries:  9, UserEnds: 2, AllEnds: 1, Others: 2, Restarts: 2, SlowReads: true, Unread: true,
		Prunes:    true,
		Snapshots: 2, Restores: 2, Writes: true,
	}}
}

// Library is the design of the library.
var Library = Design{FromClaims: true, HeadCheck: true, Repair: true, Grace: 2}

// Start implements [Model].
func (m *World) Start() (starts []worldState) {
	for ahead := range m.Bounds.BehindBy + 1 {
		s := worldState{ahead: ahead}
		s.rows = m.Bounds.Sessions
		for n := range s.tokens {
			if s.rows&bit(int8(n)) != 0 {
				s.tokens[n] = token{issued: true, left: m.lifetime(&s, 0)}
			}
		}
		for i := range s.instances {
			s.instances[i].age = m.never()
		}
		starts = append(starts, s)
	}
	return starts
}

// never is the value of instance.age for an instance that must not trust any of its reads. An
// example is an instance that has not completed a read yet.
func (m *World) never() uint8 { return m.Bounds.Staleness + 1 }

// Canonical implements [Model]. It clears values that can no longer influence any step or promise.
// If the clocks of the instances are equal, it puts the instances in a fixed order, so that
// equivalent states are equal.
func (m *World) Canonical(s worldState) worldState {
	if s.spent.restores >= m.Bounds.Restores {
		s.backup = database{}
	}
	if m.Bounds.Restores == 0 {
		m.forget(&s)
	}
	if !m.Bounds.Prunes {
		for i := range s.list() {
			s.entries[i].left = min(s.entries[i].left, 1) // only whether the entry was replaced
		}
	}
	if s.ahead == 0 && less(s.instances[1], s.instances[0]) {
		s.instances[0], s.instances[1] = s.instances[1], s.instances[0]
	}
	return s
}

// forget clears the records of expired tokens. Do not call forget if the store can be restored.
// After a restore, a new session can have a lower generation than earlier sessions. The cleared
// records can then matter for the new session.
func (m *World) forget(s *worldState) {
	for n := range s.tokens {
		if t := &s.tokens[n]; t.issued && t.left <= noTime { // expired on every clock
			*t = token{issued: true}
			s.rows &^= bit(int8(n))
			for i := range s.instances {
				s.instances[i].named &^= bit(int8(n))
			}
		}
	}
	for i := range s.instances {
		in := &s.instances[i]
		for user := range in.below {
			in.below[user] = s.leastBelow(uint8(user), in.below[user])
		}
	}
}

// less orders two instances whose clocks are equal.
func less(a, b instance) bool {
	return cmp.Or(cmp.Compare(a.cursor, b.cursor), cmp.Compare(a.age, b.age),
		cmp.Compare(a.named, b.named),
		cmp.Compare(a.top, b.top), cmp.Compare(a.readAge, b.readAge), cmp.Compare(a.readHead,
			b.readHead)) < 0
}

// leastBelow returns the lowest generation with the same effect as the parameter generation. Two
// generations have the same effect if the same sessions of the user are below them.
func (s *worldState) leastBelow(user, generation uint8) (least uint8) {
	for n, t := range s.tokens {
		if ownerOf[n] == user && t.left > noTime && t.generation < generation {
			least = max(least, t.generation+1)
		}
	}
	return least
}

// Idle implements [Model]. No step of the model waits for another, so the system may stop in every
// state.
func (m *World) Idle(worldState) bool { return true }

// Describe implements [Model].
func (m *World) Describe(step Step) string {
	where := ""
	if step.At >= 0 {
		where = fmt.Sprintf("instance %c ", 'A'+rune(step.At))
	}
	switch {
	case step.Verb == "start":
		return fmt.Sprintf("start; clock B is ahead by %d", step.Of)
	case step.Of >= 0:
		return fmt.Sprintf("%s%s %d", where, step.Verb, step.Of)
	}
	return where + step.Verb
}

// offset returns by how many ticks the instance's clock is ahead of the reference clock.
func (s *worldState) offset(i int) uint8 { return uint8(i) * s.ahead }

// expired reports whether a token or entry has expired by the clock of instance i. The parameter
// left is the value of the field token.left or entry.left.
func (s *worldState) expired(i int, left uint8) bool { return left <= noTime+s.offset(i) }
