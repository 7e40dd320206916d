package kvstore

import (
	"context"
	"strings"

	"github.com/sallyport-go/auth"
)

// ListUsers implements [auth.UserStore]. The database sorts the user IDs and the names by their bytes.
func (s *Store) ListUsers(ctx context.Context, query auth.UserQuery) (users []auth.User, err error) {
	if err := check(ctx, query); err != nil {
		return nil, err
	}
	list := tx.listUsers
	if query.Search != "" {
		list = tx.search
	}
	err = s.view(ctx, func(t tx) error {
		users, err = list(t, query)
		return err
	})
	return users, err
}

// listUsers returns a page of users in the order of their IDs.
func (t tx) listUsers(query auth.UserQuery) (users []auth.User, err error) {
	index := accounts
	switch query.Kind {
	case auth.UserKindPerson:
		index = persons
	case auth.UserKindService:
		index = services
	}
	for id := range t.after(index, query.After) {
		if len(users) >= query.Limit {
			break
		}
		a, err := t.account(id)
		if err != nil {
			return nil, err
		}
		if query.Matches(a.User) {
			users = append(users, a.User)
		}
	}
	return users, nil
}

// search returns a page of the users whose username begins with the text of the query, and then of the other
// users whose e-mail does. See [auth.UserQuery.Position] for the field After of the query.
func (t tx) search(query auth.UserQuery) (users []auth.User, err error) {
	text := auth.FoldASCII(query.Search)
	for _, part := range []struct{ index, position string }{{usernames, "1:"}, {emails, "2:"}} {
		first, isHere := strings.CutPrefix(query.After, part.position)
		switch {
		case isHere:
		case query.After > part.position:
			continue // the earlier pages have all users of this part
		default:
			first = text
		}
		for name, id := range t.from(part.index, first) {
			if len(users) >= query.Limit || !strings.HasPrefix(name, text) {
				break
			}
			if len(id) == 0 {
				continue // the username is retired
			}
			a, err := t.account(string(id))
			if err != nil {
				return nil, err
			}
			// A user who is found with both names is only in the first part.
			position := part.position + name
			if position > query.After && position == query.Position(a.User) && query.Matches(a.User) {
				users = append(users, a.User)
			}
		}
	}
	return users, nil
}
