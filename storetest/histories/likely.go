package histories

import "time"

// evidence says which calls with an unknown outcome took effect, according to the answers of other
// calls and to the feed.
type evidence struct {
	session map[string]time.Duration // when the first answer that shows the session returned
	key     map[string]time.Duration // when the first answer that shows the key returned
	login   map[loginAt]time.Duration
	name    map[string]time.Duration // when the first answer that shows the username returned: see rename
	named   map[string]bool          // sessions that an entry of the feed names
	surplus map[string]int           // entries for all sessions of a user, minus successful calls
}

type loginAt struct {
	user string
	at   int64
}

func see[K comparable](seen map[K]time.Duration, what K, at time.Duration) {
	if first, ok := seen[what]; !ok || at < first {
		seen[what] = at
	}
}

func (h *history) evidence() evidence {
	e := evidence{map[string]time.Duration{}, map[string]time.Duration{}, map[loginAt]time.Duration{},
		map[string]time.Duration{}, map[string]bool{}, map[string]int{}}
	for _, entry := range h.feed {
		e.named[entry.SessionID] = true
		if isFull(entry) {
			e.surplus[entry.UserID]++
		}
	}
	for _, r := range h.records {
		if r.answer.Error != "" {
			continue
		}
		for _, session := range r.answer.Sessions {
			see(e.session, session.ID, r.end)
		}
		for _, entry := range r.answer.Entries {
			see(e.session, entry.SessionID, r.end)
		}
		if r.answer.User.ID != "" {
			see(e.login, loginAt{r.answer.User.ID, micros(r.answer.User.LastLogin)}, r.end)
			see(e.name, r.answer.User.Username, r.end)
		}
		switch r.call.Verb {
		case revokeSession:
			see(e.session, r.call.Session, r.end)
		case createSession, revokeKey:
			see(e.key, r.call.Key, r.end)
		}
		if r.call.revokesAll() {
			e.surplus[r.call.User]--
		}
	}
	return e
}

// likely returns the records without those calls with an unknown outcome that probably had no
// effect. If other answers show the effect of such a call, it ends before the first of them does.
// An order of the calls that likely returns is also a possible order of all calls: the other calls
// then never took effect.
func (h *history) likely() (records []record) {
	e := h.evidence()
	for _, r := range h.records {
		if r.answer.Error == unknown {
			var probable bool
			if r.end, probable = e.end(r); !probable {
				continue
			}
		}
		records = append(records, r)
	}
	return records
}

// soon is the time in which a call with an unknown outcome probably takes effect, if it ever does.
const soon = 500 * time.Millisecond

// bounded returns the records, with an end for each call with an unknown outcome. If no other
// answer shows the effect of such a call, the call can also have had no effect.
func (h *history) bounded() (records []record) {
	e := h.evidence()
	for _, r := range h.records {
		if r.answer.Error == unknown {
			if r.end, _ = e.end(r); r.end == infinity {
				r.end, r.call.optional = r.begin+soon, true
			}
		}
		records = append(records, r)
	}
	return records
}

// end returns when the call ended at the latest, or infinity, and whether the call probably took
// effect.
func (e evidence) end(r record) (end time.Duration, probable bool) {
	end, probable = infinity, true
	switch r.call.Verb {
	case createSession:
		first, seen := e.session[r.call.Session]
		login, seenLogin := e.login[loginAt{r.call.User, micros(r.call.At)}]
		switch {
		case seenLogin && (!seen || login < first):
			end = login
		case seen:
			end = first
		default:
			probable = e.named[r.call.Session]
		}
	case addKey:
		if first, seen := e.key[r.call.Key]; seen {
			return first, true
		}
		return infinity, false
	case updateUser:
		if !r.call.renames() {
			break
		}
		if first, seen := e.name[*r.call.Change.Username]; seen && isSpelled(*r.call.Change.Username) {
			return first, true
		}
		return infinity, false
	case revokeSession, revokeToken:
		probable = e.named[r.call.Session]
	case pruneSessions, pruneRevocations:
		return infinity, false
	}
	if r.call.revokesAll() {
		probable = e.surplus[r.call.User] > 0
	}
	return end, probable
}
