package histories

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// feedCheck checks the answers that show Positions of the feed. This part of the contract is about
// all users, and the answers show where in the feed each call took place. So no search for an order
// of the calls is necessary.
type feedCheck struct {
	base    int64             // head of the feed before the history
	older   []auth.Revocation // the latest entries before the history, without those that were pruned
	entries []auth.Revocation // entries that the history has added, as they are at the end
	records []record
}

// observation is what an answer shows about the head of the feed: at a moment between begin and
// end, the head was at least low and at most high.
type observation struct {
	begin, end time.Duration
	low, high  int64
	what       string
}

const noLimit = int64(1 << 62)

func (f *feedCheck) check() error {
	if err := f.checkPositions(); err != nil {
		return err
	}
	seen, err := f.observations()
	if err != nil {
		return err
	}
	acknowledged, err := f.acknowledged()
	if err != nil {
		return err
	}
	if err := f.checkCauses(seen); err != nil {
		return err
	}
	return checkOrder(append(seen, acknowledged...))
}

func (f *feedCheck) checkPositions() error {
	ids := map[string]bool{}
	last := f.base
	for _, e := range f.entries {
		forEverybody := e.UserID == "" && e.SessionID == ""
		switch {
		case ids[e.ID] || e.ID == "":
			return fmt.Errorf("the feed has two entries with the ID %q", e.ID)
		case forEverybody && e.Position <= last+storekit.SkippedPositions:
			return fmt.Errorf("the entry for everybody has Position %d, after %d", e.Position, last)
		case !forEverybody && e.Position != last+1:
			return fmt.Errorf("the feed has Position %d after %d", e.Position, last)
		case e.Generation > e.Position:
			return fmt.Errorf("the entry at Position %d has Generation %d", e.Position, e.Generation)
		}
		ids[e.ID], last = true, e.Position
	}
	return nil
}

// observations returns what the answers of reads and of CreateSession show.
func (f *feedCheck) observations() (seen []observation, err error) {
	for _, r := range f.records {
		if r.answer.Error != "" {
			continue
		}
		o := observation{begin: r.begin, end: r.end, what: describe(r)}
		switch r.call.Verb {
		case revocationHead:
			o.low, o.high = r.answer.Head, r.answer.Head
		case createSession:
			o.low = r.answer.Sessions[0].Generation
			o.high = o.low
		case listRevocations:
			if o.low, o.high, err = f.page(r); err != nil {
				return nil, fmt.Errorf("%w\n%s", err, o.what)
			}
		default:
			continue
		}
		if o.low != f.base && f.index(o.low) < 0 {
			return nil, fmt.Errorf("no entry has the Position %d\n%s", o.low, o.what)
		}
		seen = append(seen, o)
	}
	return seen, nil
}

func (f *feedCheck) index(position int64) int {
	i, found := slices.BinarySearchFunc(f.entries, position, func(e auth.Revocation, p int64) int {
		return cmp.Compare(e.Position, p)
	})
	if !found {
		return -1
	}
	return i
}

// page returns what the answer of ListRevocations shows about the head.
func (f *feedCheck) page(r record) (low, high int64, err error) {
	first := sort.Search(len(f.entries), func(i int) bool { return f.entries[i].Position >= r.call.From })
	low = f.base
	if first > 0 {
		low = f.entries[first-1].Position
	}
	returned := r.answer.Entries
	if r.call.From <= f.base {
		if returned, err = f.olderPage(r); err != nil {
			return 0, 0, err
		}
	}
	switch {
	case len(returned) == 0 && len(r.answer.Entries) == r.call.Limit:
		return f.base, noLimit, nil
	case len(returned) == 0:
		return f.base, low, nil
	}
	for i, got := range returned {
		if first+i >= len(f.entries) {
			return 0, 0, fmt.Errorf("entry %+v was never written", got)
		}
		want := f.entries[first+i]
		if want.ExpiresAt.IsZero() {
			want.ExpiresAt = got.ExpiresAt // a later entry has replaced it
		}
		if want != got {
			return 0, 0, fmt.Errorf("ListRevocations returned %+v in place of %+v", got, want)
		}
		low = got.Position
	}
	switch n := len(r.answer.Entries); {
	case n > r.call.Limit:
		return 0, 0, fmt.Errorf("ListRevocations returned %d entries, more than %d", n, r.call.Limit)
	case n == r.call.Limit:
		return low, noLimit, nil
	}
	return low, low, nil
}

// olderPage checks the entries of the answer that were added before the history, and returns the
// others. An entry can only be missing if it may have been pruned.
func (f *feedCheck) olderPage(r record) (newer []auth.Revocation, err error) {
	first, _ := slices.BinarySearchFunc(f.older, r.call.From, func(e auth.Revocation, p int64) int {
		return cmp.Compare(e.Position, p)
	})
	left := r.answer.Entries
	for len(f.older) > 0 && len(left) > 0 && left[0].Position < f.older[0].Position {
		left = left[1:]
	}
	for i, want := range f.older[first:] {
		if len(left) > 0 && left[0].ID == want.ID {
			if left[0].Position != want.Position || left[0].Generation != want.Generation {
				return nil, fmt.Errorf("ListRevocations returned %+v in place of %+v", left[0], want)
			}
			left = left[1:]
			continue
		}
		if len(left) == 0 && len(r.answer.Entries) == r.call.Limit {
			return nil, nil
		}
		// At most all entries of the history were added before the call.
		behind := len(f.older) - first - i - 1 + len(f.entries)
		mayBePruned := want.ExpiresAt.IsZero() || !want.ExpiresAt.After(pruneBefore) ||
			slices.ContainsFunc(f.entries, func(e auth.Revocation) bool { return mayReplace(e, want) })
		if !mayBePruned || behind < storekit.KeptRevocations {
			return nil, fmt.Errorf("ListRevocations did not return %+v", want)
		}
	}
	return left, nil
}

// revokesAll reports whether the call adds an entry for all sessions of its user, or of everybody.
func (c call) revokesAll() bool {
	switch c.Verb {
	case revokeUserSessions, resetUser, deleteUser, revokeEverybody:
		return true
	case updateUser:
		return c.Change.IsActive != nil && !*c.Change.IsActive
	}
	return false
}

// mayReplace reports whether the store can have added the entry in place of an older one.
func mayReplace(e, older auth.Revocation) bool {
	return e.UserID == older.UserID && (e.SessionID == "" || e.SessionID == older.SessionID)
}

// isFull reports whether the entry is for all sessions of a user or of everybody, and was not added
// by a fold.
func isFull(e auth.Revocation) bool { return e.SessionID == "" && e.Generation == e.Position }

// positions returns the Positions of the entries for all sessions of each user, and, under the key
// "", those for everybody.
func (f *feedCheck) positions() (full map[string][]int64, first map[string]int64) {
	full, first = map[string][]int64{}, map[string]int64{}
	for _, e := range f.entries {
		if isFull(e) {
			full[e.UserID] = append(full[e.UserID], e.Position)
		}
		if _, ok := first[e.SessionID]; !ok && e.SessionID != "" {
			first[e.SessionID] = e.Position
		}
	}
	return full, first
}

// acknowledged returns what successful writes show. After n calls have revoked all sessions of a
// user, the head is at least the Position of the n-th entry for all sessions of the user.
func (f *feedCheck) acknowledged() (seen []observation, err error) {
	full, first := f.positions()
	count := map[string]int{}
	byEnd := sorted(f.records, func(r record) time.Duration { return r.end })
	for _, r := range byEnd {
		if r.answer.Error != "" {
			continue
		}
		o := observation{begin: r.begin, end: r.end, high: noLimit, what: describe(r)}
		switch {
		case r.call.revokesAll():
			n := count[r.call.User]
			count[r.call.User]++
			if n >= len(full[r.call.User]) {
				return nil, fmt.Errorf("the feed has no entry for a successful call:\n%s", o.what)
			}
			o.low = full[r.call.User][n]
		case r.call.Verb == revokeSession:
			if o.low = first[r.call.Session]; o.low == 0 {
				return nil, fmt.Errorf("the feed has no entry for a successful call:\n%s", o.what)
			}
		default:
			continue
		}
		seen = append(seen, o)
	}
	return seen, nil
}

// checkCauses returns an error if an answer shows an entry before a call began that can have added
// it.
func (f *feedCheck) checkCauses(seen []observation) error {
	full := map[string][]time.Duration{} // begins of the calls that revoke all sessions
	other := map[string]time.Duration{}  // the first begin of another call, by user
	for _, r := range f.records {
		switch r.call.Verb {
		case createSession, revokeSession, revokeToken, revokeKey:
			if begin, ok := other[r.call.User]; !ok || r.begin < begin {
				other[r.call.User] = r.begin
			}
		}
		if r.call.revokesAll() {
			full[r.call.User] = append(full[r.call.User], r.begin)
		}
	}
	for _, begins := range full {
		slices.Sort(begins)
	}
	count := map[string]int{}
	began := make([]time.Duration, len(f.entries)) // when the latest cause of the entries so far began
	for i, e := range f.entries {
		begin, ok := other[e.UserID]
		if isFull(e) {
			n := count[e.UserID]
			count[e.UserID]++
			if ok = n < len(full[e.UserID]); ok {
				begin = full[e.UserID][n]
			}
		}
		if !ok {
			return fmt.Errorf("no call can have added the entry %+v", e)
		}
		began[i] = begin
		if i > 0 {
			began[i] = max(began[i-1], begin)
		}
	}
	for _, o := range seen {
		if i := f.index(o.low); i >= 0 && o.end < began[i] {
			return fmt.Errorf("an answer shows Position %d before the call that added it:\n%s", o.low, o.what)
		}
	}
	return nil
}

// sorted returns a sorted copy of the list.
func sorted[T any](list []T, at func(T) time.Duration) []T {
	return slices.SortedFunc(slices.Values(list), func(a, b T) int { return cmp.Compare(at(a), at(b)) })
}

// checkOrder returns an error if the head was greater before a call than the call has shown.
func checkOrder(seen []observation) error {
	byEnd := sorted(seen, func(o observation) time.Duration { return o.end })
	byBegin := sorted(seen, func(o observation) time.Duration { return o.begin })
	var greatest observation
	for _, o := range byBegin {
		for len(byEnd) > 0 && byEnd[0].end < o.begin {
			if byEnd[0].low > greatest.low {
				greatest = byEnd[0]
			}
			byEnd = byEnd[1:]
		}
		if o.high < greatest.low {
			return fmt.Errorf("the head of the feed was %d, and later %d:\n%s\n%s",
				greatest.low, o.high, greatest.what, o.what)
		}
	}
	return nil
}
