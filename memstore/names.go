package memstore

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
)

// takeUsername records that the user has the username of the record. The caller holds the lock.
func (s *accounts) takeUsername(record auth.User) {
	folded := auth.FoldASCII(record.Username)
	if old := s.usernames[folded]; old != nil && old.retired != nil {
		s.unretire(old)
	}
	s.usernames[folded] = &username{folded: folded, userID: record.ID}
}

// retireUsername keeps the username of the record from other users until it is pruned. The caller holds the
// lock.
func (s *accounts) retireUsername(record auth.User, now time.Time) {
	name := s.usernames[auth.FoldASCII(record.Username)]
	name.retired = s.retiredByTime.add(name, now)
	if s.retiredByUser[name.userID] == nil {
		s.retiredByUser[name.userID] = make(set[*username])
	}
	s.retiredByUser[name.userID].add(name)
}

// unretire makes a retired username available. The caller holds the lock.
func (s *accounts) unretire(name *username) {
	delete(s.usernames, name.folded)
	s.retiredByTime.remove(name.retired)
	delete(s.retiredByUser[name.userID], name)
	if len(s.retiredByUser[name.userID]) == 0 {
		delete(s.retiredByUser, name.userID)
	}
}

// checkNames returns an error if the user cannot change the names to those of the record. The caller holds
// the lock.
func (s *accounts) checkNames(u *user, record auth.User) error {
	name := s.usernames[auth.FoldASCII(record.Username)]
	email := auth.FoldASCII(record.Email)
	switch {
	case name != nil && name.userID != record.ID:
		return taken("username")
	case email != auth.FoldASCII(u.record.Email) && s.emails.has(email):
		return taken("email")
	}
	return nil
}

// rename updates the names that are taken, before the names of the user become those of the record. The
// caller has called checkNames, and holds the lock.
func (s *accounts) rename(u *user, record auth.User, now time.Time) {
	if auth.FoldASCII(record.Username) != auth.FoldASCII(u.record.Username) {
		s.retireUsername(u.record, now)
		s.takeUsername(record)
		s.byUsername.remove(nameOf(u, u.record.Username))
		s.byUsername.add(nameOf(u, record.Username))
	}
	s.removeEmail(u)
	s.addEmail(u, record.Email)
}

// addEmail records that the user has the e-mail address. It does nothing if the address is empty. The caller
// holds the lock.
func (s *accounts) addEmail(u *user, email string) {
	if email != "" {
		s.emails.add(auth.FoldASCII(email))
		s.byEmail.add(nameOf(u, email))
	}
}

// removeEmail makes the present e-mail address of the user available. The caller holds the lock.
func (s *accounts) removeEmail(u *user) {
	if u.record.Email != "" {
		delete(s.emails, auth.FoldASCII(u.record.Email))
		s.byEmail.remove(nameOf(u, u.record.Email))
	}
}

// named is a user in an order by a name.
type named struct {
	folded string // the result of auth.FoldASCII
	user   *user
}

func (n named) id() string { return n.folded }

func nameOf(u *user, name string) named { return named{auth.FoldASCII(name), u} }

// search returns the users of [auth.UserStore.ListUsers] for a query with a Search. It finds the first user
// in logarithmic time, and passes over the users whom the Kind or the State excludes. The caller holds the
// lock.
func (s *accounts) search(query auth.UserQuery) (page []auth.User) {
	search := auth.FoldASCII(query.Search)
	for _, part := range []struct {
		names    *order[named]
		position string // of a user who is found with one of these names, before the name
	}{{&s.byUsername, "1:"}, {&s.byEmail, "2:"}} {
		begin, isHere := strings.CutPrefix(query.After, part.position)
		switch {
		case isHere:
		case query.After > part.position:
			continue // the earlier pages have all users of this part
		default:
			begin = search
		}
		for found := range part.names.from(begin) {
			if len(page) >= query.Limit || !strings.HasPrefix(found.folded, search) {
				break
			}
			record, position := found.user.record, part.position+found.folded
			// A user who is found with both names is only in the first part.
			if position > query.After && position == query.Position(record) && query.Matches(record) {
				page = append(page, record)
			}
		}
	}
	return page
}

// PruneRetiredUsernames implements [auth.UserStore].
func (s *Store) PruneRetiredUsernames(ctx context.Context, retired time.Time, limit int) (int, error) {
	if err := check(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retiredByTime.prune(retired, limit, s.unretire), nil
}

// ListRetiredUsernames implements [auth.UserStore].
func (s *Store) ListRetiredUsernames(ctx context.Context, userID string) ([]string, error) {
	if err := check(ctx); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var names []string
	for name := range s.retiredByUser[userID] {
		names = append(names, name.folded)
	}
	slices.Sort(names)
	return names, nil
}
