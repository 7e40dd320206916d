package kvstore

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
)

// retirement says which user has retired a username, and when. Only this user can take it again.
type retirement struct {
	UserID string
	At     time.Time
}

// retire keeps the username of the user from other users. The caller must not save an account with this
// username afterwards.
func (c *change) retire(user auth.User) error {
	folded := auth.FoldASCII(user.Username)
	if err := c.bucket(usernames).Put([]byte(folded), nil); err != nil {
		return err
	}
	if err := c.bucket(retiredTimes).Put([]byte(expiryKey(c.now, folded)), nil); err != nil {
		return err
	}
	if err := c.bucket(retiredBy).Put([]byte(userPrefix(user.ID)+folded), nil); err != nil {
		return err
	}
	return c.put(retired, folded, retirement{user.ID, c.now})
}

// unretire makes the retired username available.
func (t tx) unretire(folded string, r retirement) error {
	for _, e := range []entry{
		{usernames, folded}, {retired, folded}, {retiredTimes, expiryKey(r.At, folded)},
		{retiredBy, userPrefix(r.UserID) + folded},
	} {
		if err := t.bucket(e.bucket).Delete([]byte(e.key)); err != nil {
			return err
		}
	}
	return nil
}

// retirementOf returns the retirement of the username, or false if the username is not retired.
func (t tx) retirementOf(folded string) (r retirement, is bool, err error) {
	text := t.bucket(retired).Get([]byte(folded))
	if text == nil {
		return r, false, nil
	}
	err = json.Unmarshal(text, &r)
	return r, err == nil, err
}

// rename prepares the account to be saved with its new names. The parameter old is the user before the
// change. If a new name is taken, save returns [auth.ErrExists], because the name has an index entry.
func (c *change) rename(a *account, old auth.User) error {
	before, folded := auth.FoldASCII(old.Username), auth.FoldASCII(a.User.Username)
	if before == folded {
		return nil
	}
	r, is, err := c.retirementOf(folded)
	if err != nil {
		return err
	}
	if is && r.UserID == a.User.ID {
		if err := c.unretire(folded, r); err != nil {
			return err
		}
	}
	delete(a.indexed, entry{usernames, before}) // so that save does not delete the entry
	return c.retire(old)
}

// ListRetiredUsernames implements [auth.UserStore].
func (s *Store) ListRetiredUsernames(ctx context.Context, userID string) (names []string, err error) {
	err = s.view(ctx, func(t tx) error {
		for _, key := range t.keysUnder(retiredBy, userPrefix(userID)) {
			names = append(names, strings.TrimPrefix(key, userPrefix(userID)))
		}
		return nil
	})
	return names, err
}

// PruneRetiredUsernames implements [auth.UserStore].
func (s *Store) PruneRetiredUsernames(ctx context.Context, before time.Time, limit int) (n int, err error) {
	err = s.update(ctx, func(t tx) error {
		n = 0
		for _, folded := range t.due(retiredTimes, before, limit) {
			r, _, err := t.retirementOf(folded)
			if err != nil {
				return err
			}
			if err := t.unretire(folded, r); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}
