package histories

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
)

// epoch is the time around which all times of the histories are. The clock of each call is at a
// random time in the two hours after epoch, so that it jumps by up to two hours from call to call.
var epoch = time.Date(2031, time.February, 3, 4, 0, 0, 0, time.UTC)

// pruneBefore is the time before which records are pruned. No clock is ever before it.
var pruneBefore = epoch.Add(-time.Hour)

// beforeAll is a time before every record expires.
var beforeAll = epoch.Add(-24 * time.Hour)

const (
	jump      = 2 * time.Hour // maximum jump of the clock
	longest   = 2 * time.Hour // longest life of a session
	patience  = 30 * time.Second
	superName = "super"
)

// A profile is a mix of calls.
type profile struct {
	users  int
	weight map[verb]int
	limits []int // the parameter limit of CreateSession
	folds  bool  // whether the only subject has so many entries that the feed folds them
}

var profiles = []profile{
	{users: 5, limits: []int{0, 2, 4}, weight: map[verb]int{
		createSession: 24, findSession: 14, listSessions: 8, revokeSession: 8, revokeToken: 5,
		revokeUserSessions: 5, updateUser: 10, findUser: 5, addKey: 4, revokeKey: 3, resetUser: 1,
		deleteUser: 1, register: 1, revokeEverybody: 1, pruneSessions: 2, pruneRevocations: 1,
		revocationHead: 6, listRevocations: 6,
	}},
	// Many revocations of single sessions of one user, so that the feed folds.
	{users: 1, folds: true, limits: []int{0, 3}, weight: map[verb]int{
		createSession: 20, findSession: 5, listSessions: 4, revokeSession: 14, revokeToken: 44,
		addKey: 2, revokeKey: 2, pruneSessions: 1, revocationHead: 3, listRevocations: 4,
	}},
	// Revocations of everybody among the sessions of super users.
	{users: 3, limits: []int{0, 3}, weight: map[verb]int{
		createSession: 30, findSession: 16, listSessions: 8, revokeSession: 8, revokeToken: 3,
		revokeUserSessions: 5, updateUser: 14, findUser: 4, revokeEverybody: 8, pruneSessions: 2,
		pruneRevocations: 2, revocationHead: 5, listRevocations: 5,
	}},
}

// planner chooses the calls of a history. The calls depend only on the seed and on the name of the
// history, and not on the answers.
type planner struct {
	*rand.Rand
	profile
	name     string
	users    []string // the subjects, and then the super users
	sessions map[string][]string
	keys     map[string][]string
	number   int // of planned calls
	verbs    []verb
}

// newPlanner returns a planner for the n-th history.
func newPlanner(random *rand.Rand, n int) *planner {
	p := &planner{Rand: random, profile: profiles[n%len(profiles)], name: fmt.Sprintf("h%d", n),
		sessions: map[string][]string{}, keys: map[string][]string{}}
	for i := range p.profile.users {
		p.users = append(p.users, p.id("u", i))
	}
	p.users = append(p.users, p.supers()...)
	for _, v := range allVerbs {
		for range p.weight[v] {
			p.verbs = append(p.verbs, v)
		}
	}
	return p
}

var allVerbs = []verb{register, findUser, updateUser, resetUser, deleteUser, addKey, revokeKey,
	createSession, findSession, listSessions, revokeSession, revokeToken, revokeUserSessions,
	revokeEverybody, pruneSessions, revocationHead, listRevocations, pruneRevocations}

func (p *planner) id(kind string, n int) string { return fmt.Sprintf("%s-%s%d", p.name, kind, n) }

func (p *planner) supers() []string { return []string{p.id(superName, 0), p.id(superName, 1)} }

// subjects returns the users who never become super users.
func (p *planner) subjects() []string { return p.users[:p.profile.users] }

// setup returns the calls that prepare the users. They are no part of the history.
func (p *planner) setup() (calls []call) {
	for i, user := range p.users {
		p.number++
		if i == 0 && !p.folds { // a call of the history can register this user
			continue
		}
		c := call{Verb: register, By: auth.ByHost("test"), User: user, Key: p.id("k", p.number), At: epoch,
			IsSuperUser: slices.Contains(p.supers(), user), Patience: patience}
		p.keys[user] = append(p.keys[user], c.Key)
		calls = append(calls, c)
	}
	return calls
}

// at returns a time on a clock that jumps. No two calls get the same time.
func (p *planner) at() time.Time {
	return epoch.Add(time.Duration(p.Int64N(int64(jump/time.Second)))*time.Second +
		time.Duration(p.number)*time.Microsecond)
}

// recent returns one of the latest IDs, or an ID that no record has.
func (p *planner) recent(ids []string) string {
	const window = 6
	if len(ids) == 0 {
		return p.id("none", 0)
	}
	return ids[len(ids)-1-p.IntN(min(window, len(ids)))]
}

func (p *planner) user() string {
	if p.IntN(6) == 0 {
		return p.users[p.IntN(len(p.users))]
	}
	return p.subjects()[p.IntN(len(p.subjects()))]
}

// by returns the authority of a change of the user: the host, a session of the user, or a session
// of a super user.
func (p *planner) by(user string) auth.Authority {
	actor := user
	switch p.IntN(4) {
	case 0:
		actor = p.supers()[p.IntN(2)]
	case 1:
	default:
		return auth.ByHost("test")
	}
	by := auth.Authority{SessionID: p.recent(p.sessions[actor]), UserID: actor, SuperUser: actor != user}
	if p.IntN(8) == 0 {
		by.MaxAge = time.Hour
	}
	return by
}

// next returns the next call.
func (p *planner) next() call {
	p.number++
	c := call{Verb: p.verbs[p.IntN(len(p.verbs))], User: p.user(), At: p.at(), Patience: patience}
	if p.IntN(40) == 0 {
		c.Patience = time.Duration(p.IntN(3000)) * time.Microsecond
	}
	c.By = p.by(c.User)
	switch c.Verb {
	case createSession:
		p.session(&c)
	case findSession, revokeSession:
		c.Session = p.recent(p.sessions[c.User])
	case revokeToken:
		c.Session = p.recent(p.sessions[c.User])
		if p.IntN(2) == 0 {
			c.Session = p.id("lost", p.number)
		}
		c.Expires = p.at().Add(time.Hour)
	case addKey, resetUser:
		c.Key = p.id("k", p.number)
		p.keys[c.User] = append(p.keys[c.User], c.Key)
	case register:
		c.User = p.subjects()[p.IntN(len(p.subjects()))]
		if p.IntN(2) == 0 {
			c.User = p.users[0]
		}
		c.By, c.Key = auth.ByHost("test"), p.id("k", p.number)
	case deleteUser:
		c.User = p.subjects()[p.IntN(len(p.subjects()))]
		c.By = p.by(c.User)
	case revokeKey:
		c.Key = p.recent(p.keys[c.User])
	case updateUser:
		p.change(&c)
	case revokeEverybody:
		c.User = ""
		c.By = p.by("")
		if c.By.UserID == "" {
			c.By = auth.ByHost("test")
		}
	case pruneSessions, pruneRevocations:
		c.User, c.At, c.Limit = "", pruneBefore, 1+p.IntN(20)
	case revocationHead:
		c.User = ""
	case listRevocations:
		c.User, c.Limit = "", 1+p.IntN(30)
		if p.IntN(2) == 0 {
			c.Limit = 2000
		}
	}
	if c.Verb.reads() || c.Verb == createSession || c.Verb == revokeToken ||
		c.Verb == pruneSessions || c.Verb == pruneRevocations {
		c.By = auth.Authority{}
	}
	return c
}

// session completes a call of CreateSession. A few of the sessions have expired before every other
// time of the history. PruneSessions removes only these.
func (p *planner) session(c *call) {
	c.Session = p.id("s", p.number)
	p.sessions[c.User] = append(p.sessions[c.User], c.Session)
	c.Limit = p.limits[p.IntN(len(p.limits))]
	c.Expires = c.At.Add(time.Minute + time.Duration(p.Int64N(int64(longest))))
	switch p.IntN(12) {
	case 0:
		c.At = c.At.Add(-3*time.Hour - jump)
		c.Expires, c.Limit = c.At.Add(time.Hour), 0
	case 1, 2, 3:
		if keys := p.keys[c.User]; len(keys) > 0 {
			c.Key = p.recent(keys)
		}
	}
}

// change completes a call of UpdateUser. Half of the calls change the username. Users are enabled more often
// than disabled, because nothing happens to a disabled user.
func (p *planner) change(c *call) {
	if p.IntN(2) == 0 {
		c.Change = p.rename()
		return
	}
	flag := p.IntN(3) > 0
	if slices.Contains(p.supers(), c.User) && p.IntN(2) == 0 {
		c.Change.IsSuperUser = &flag
		return
	}
	c.Change.IsActive = &flag
}
