package histories

import (
	"fmt"
	"hash/maphash"
	"maps"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/sallyport-go/auth"
)

// names is the state of the usernames of a store, for all users of a history. The [model] knows only a few
// users at a time, so it cannot say whether a username is taken. The methods never change a names. They
// return changed copies.
type names struct {
	holder map[string]string // the user who has or has retired a username, by the result of auth.FoldASCII
	users  map[string]string // the username of each user who exists
}

func (h *history) names() *names {
	n := &names{map[string]string{}, map[string]string{}}
	for user := range h.keys { // the users who existed before the history
		n.holder[auth.FoldASCII(user)], n.users[user] = user, user
	}
	return n
}

// naming returns a copy in which the user has the username.
func (n *names) naming(user, name string) *names {
	next := &names{maps.Clone(n.holder), maps.Clone(n.users)}
	next.holder[auth.FoldASCII(name)], next.users[user] = user, name
	return next
}

func (n *names) deleting(user string) *names {
	next := &names{n.holder, maps.Clone(n.users)}
	delete(next.users, user)
	return next
}

// step returns the states after the call, if the call got the answer. It knows nothing of authorities and of
// the last super user, so it accepts every error that does not depend on names.
func (n *names) step(c call, a answer) []*names {
	name, exists := n.users[c.User]
	switch c.Verb {
	case findUser:
		if a.Error == "" && a.User.Username == name && exists || a.Error == "ErrNotFound" && !exists {
			return []*names{n}
		}
		return nil
	case deleteUser:
		return n.changed(c, a, exists, false, func() *names { return n.deleting(c.User) })
	case register:
		_, taken := n.holder[auth.FoldASCII(c.User)]
		return n.changed(c, a, !exists && !taken, exists || taken, func() *names {
			return n.naming(c.User, c.User)
		})
	}
	holder, held := n.holder[auth.FoldASCII(*c.Change.Username)]
	taken := held && holder != c.User
	return n.changed(c, a, exists && !taken, exists && taken, func() *names {
		return n.naming(c.User, *c.Change.Username)
	})
}

// changed returns the states after a change that can succeed if may is true, and can fail with ErrExists if
// taken is true.
func (n *names) changed(c call, a answer, may, taken bool, change func() *names) (next []*names) {
	unsure := a.Error == unknown
	if unsure || c.optional || a.Error != "" && (a.Error != "ErrExists" || taken) {
		next = append(next, n)
	}
	if may && (unsure || a.Error == "") {
		next = append(next, change())
	}
	return next
}

var namesSeed = maphash.MakeSeed()

func (n *names) hash() (sum uint64) {
	for user, name := range n.users {
		sum += maphash.String(namesSeed, user+" "+name)
	}
	return sum
}

func (h *history) porcupineOfNames() porcupine.Model {
	nondeterministic := porcupine.NondeterministicModel{
		Init: func() []any { return []any{h.names()} },
		Step: func(s, input, output any) (next []any) {
			for _, n := range s.(*names).step(input.(call), output.(answer)) {
				next = append(next, n)
			}
			return next
		},
		Equal: func(a, b any) bool {
			x, y := a.(*names), b.(*names)
			return maps.Equal(x.users, y.users) && maps.Equal(x.holder, y.holder)
		},
		Hash: func(s any) uint64 { return s.(*names).hash() },
	}
	return nondeterministic.ToModel()
}

// aboutNames returns those of the records that concern the usernames.
func aboutNames(records []record) (operations []porcupine.Operation) {
	for _, r := range records {
		switch {
		case r.call.Verb == findUser && r.answer.Error != unknown, r.call.renames(),
			r.call.Verb == register, r.call.Verb == deleteUser:
			operations = append(operations, operation(r))
		}
	}
	return operations
}

// checkNames returns an error unless the calls that concern the usernames are linearizable.
func (h *history) checkNames(deadline time.Time) error {
	return h.linearizable("the usernames", h.porcupineOfNames(), aboutNames, listNames, deadline)
}

// listNames returns the calls that change usernames.
func listNames(operations []porcupine.Operation) string {
	var text strings.Builder
	for _, o := range operations {
		if r := o.Metadata.(record); r.call.Verb != findUser {
			fmt.Fprintln(&text, describe(r))
		}
	}
	return text.String()
}

// renames reports whether the call changes a username.
func (c call) renames() bool { return c.Verb == updateUser && c.Change.Username != nil }

// rename returns a change of the username. The calls of some time share a few names, and spell each of them
// in their own way, because a planner plans at most about 1000 calls. So an answer with the username shows
// which call set it.
// A few calls choose the first username of another user instead.
func (p *planner) rename() auth.UserChange {
	if p.IntN(6) == 0 {
		return auth.UserChange{Username: new(p.users[p.IntN(len(p.users))])}
	}
	const letters, names, share = "abcdefghij", 3, 25
	spelled := []byte(letters)
	for i := range spelled {
		if p.number>>i&1 == 1 {
			spelled[i] -= 'a' - 'A'
		}
	}
	name := fmt.Sprintf("%s-%s%d", p.name, spelled, p.number/share+p.IntN(names))
	return auth.UserChange{Username: &name}
}

// isSpelled reports whether only one call of the history sets this username.
func isSpelled(name string) bool { return name != auth.FoldASCII(name) }
