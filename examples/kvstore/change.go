package kvstore

import (
	"context"
	"errors"
	"time"

	"github.com/sallyport-go/auth"
)

// change is a transaction on behalf of an authority, which holds.
type change struct {
	tx
	write  auth.Write
	now    time.Time
	github auth.GitHubAccount // that the change is about; zero if there is none
}

// write changes something on behalf of the write's authority. There is one writer, so nothing
// can end the authority between the check and the change.
func (s *Store) write(ctx context.Context, w auth.Write, do func(*change) error) error {
	return s.update(ctx, func(t tx) error {
		now := kept(w.Now())
		if err := t.authorize(w.By, now); err != nil {
			return err
		}
		return do(&change{tx: t, write: w, now: now})
	})
}

// authorize returns an error unless the authority holds. An entry of the feed for one user
// removes the sessions that it revokes, but an entry for everybody leaves them.
func (t tx) authorize(by auth.Authority, now time.Time) error {
	actor, err := t.account(by.UserID)
	if errors.Is(err, auth.ErrNotFound) {
		actor, err = &account{}, nil
	}
	if err != nil {
		return err
	}
	revokedBelow, err := t.everybodyRevoked()
	if err != nil {
		return err
	}
	return by.Check(now, actor.Sessions[by.SessionID], actor.User, revokedBelow)
}

// everybodyRevoked returns the generation below which the sessions of all users are revoked.
func (t tx) everybodyRevoked() (below int64, err error) {
	everybody, err := t.entriesInForce("", "")
	for _, e := range everybody {
		below = max(below, e.Generation)
	}
	return below, err
}

// user changes what is kept of the user with this ID.
func (c *change) user(id string, do func(*account) error) error {
	if err := c.write.By.CheckOwner(id); err != nil {
		return err
	}
	if err := c.changeUser(id, do); err != nil {
		return err
	}
	return c.addEvent(id)
}

// owner changes what is kept of the user whom the index has under the key.
func (c *change) owner(index, key string, do func(*account) error) error {
	a, err := c.accountOf(index, key)
	if err != nil {
		return err
	}
	return c.user(a.User.ID, do)
}

// latestEnd returns when the last token will have expired that was issued until now.
func (c *change) latestEnd() time.Time { return kept(c.now.Add(c.write.MaxTokenLifetime)) }
