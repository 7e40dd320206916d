package kvstore

import (
	"context"
	"errors"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// change is the transaction of an [auth.Write]. The authority of the write has been checked.
type change struct {
	tx
	write  auth.Write
	now    time.Time
	acting storekit.Acting    // what is known about the authority
	github auth.GitHubAccount // account that the change is about; zero if there is none
}

// write checks the authority of w and then calls the callback do. Both happen in one transaction.
// Only one transaction writes at a time, so no other call can revoke the authority between the
// check and the change.
func (s *Store) write(ctx context.Context, w auth.Write, do func(*change) error) error {
	return s.update(ctx, func(t tx) error {
		now := kept(w.Now())
		acting, err := t.authorize(w.By, now)
		if err != nil {
			return err
		}
		return do(&change{tx: t, write: w, now: now, acting: acting})
	})
}

// authorize returns what is known about the authority, and an error unless the authority is valid. A revoked
// session is usually deleted, so authorize does not find the session. But RevokeEverybody deletes no
// sessions. So authorize also compares the Generation of the session with the newest revocation of all users.
func (t tx) authorize(by auth.Authority, now time.Time) (storekit.Acting, error) {
	actor, err := t.account(by.UserID)
	if errors.Is(err, auth.ErrNotFound) {
		actor, err = &account{}, nil
	}
	if err != nil {
		return storekit.Acting{}, err
	}
	revokedBelow, err := t.everybodyRevoked()
	if err != nil {
		return storekit.Acting{}, err
	}
	acting := storekit.Acting{By: by, Now: now, Session: actor.Sessions[by.SessionID], User: actor.User,
		RevokedBelow: revokedBelow}
	return acting, acting.Check()
}

// grant returns an error unless the authority may grant the scopes: see [storekit.Acting.CheckGrant].
func (c *change) grant(scopes *auth.ScopeSet) error { return c.acting.CheckGrant(scopes) }

// grantKey returns an error unless the authority may give a key of the account these scopes: see
// [storekit.Acting.CheckKeyGrant].
func (c *change) grantKey(a *account, scopes *auth.ScopeSet) error {
	return c.acting.CheckKeyGrant(a.User, scopes)
}

// everybodyRevoked returns the Generation below which the sessions of all users are revoked.
func (t tx) everybodyRevoked() (below int64, err error) {
	everybody, err := t.entriesInForce("", "")
	for _, e := range everybody {
		below = max(below, e.Generation)
	}
	return below, err
}

// user calls the callback do with the account of the user with this ID. Then it saves the account
// and adds the event.
func (c *change) user(id string, do func(*account) error) error {
	if err := c.write.By.CheckOwner(id); err != nil {
		return err
	}
	if err := c.changeUser(id, do); err != nil {
		return err
	}
	return c.addEvent(id)
}

// owner finds a user with the method accountOf. Then it calls the method user with the ID of this
// user and with the callback do.
func (c *change) owner(index, key string, do func(*account) error) error {
	a, err := c.accountOf(index, key)
	if err != nil {
		return err
	}
	return c.user(a.User.ID, do)
}

// latestEnd returns a time at which all tokens that were issued before the change have expired.
func (c *change) latestEnd() time.Time { return kept(c.now.Add(c.write.MaxTokenLifetime)) }

// endOpenedBy revokes the sessions of the account that the access key has opened.
func (c *change) endOpenedBy(a *account, keyID string) error {
	return c.end(a, c.latestEnd(), func(session auth.Session) bool { return session.AccessKeyID == keyID })
}
