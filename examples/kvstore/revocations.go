package kvstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
)

// ListRevocations implements [auth.SessionStore]. The feed's keys are positions.
func (s *Store) ListRevocations(ctx context.Context, from int64, limit int) (entries []auth.Revocation, err error) {
	err = s.view(ctx, func(t tx) error {
		return t.walkFeed(from, func(e auth.Revocation) (bool, error) {
			if len(entries) >= limit {
				return false, nil
			}
			entries = append(entries, e)
			return true, nil
		})
	})
	return entries, err
}

// PruneRevocations implements [auth.SessionStore]. It passes over what has expired
// among the newest, which is not more than are kept.
func (s *Store) PruneRevocations(ctx context.Context, expired time.Time, limit int) (pruned int, err error) {
	err = s.update(ctx, func(t tx) error {
		last := t.head() - auth.KeptRevocations
		most := min(limit, math.MaxInt-auth.KeptRevocations) + auth.KeptRevocations
		for _, key := range t.due(feedExpiry, expired, most) {
			if pruned >= limit || positionOf(key) > last {
				continue
			}
			if err := t.removeRevocation(key); err != nil {
				return err
			}
			pruned++
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return pruned, nil
}

func positionKey(position int64) string {
	return string(binary.BigEndian.AppendUint64(nil, uint64(position)))
}

func positionOf(key string) int64 { return int64(binary.BigEndian.Uint64([]byte(key))) }

// head returns the newest position, which is never pruned.
func (t tx) head() int64 {
	key, _ := t.bucket(revocations).Cursor().Last()
	if key == nil {
		return 0
	}
	return positionOf(string(key))
}

// walkFeed calls visit with each entry from the position on, until that says no.
func (t tx) walkFeed(from int64, visit func(auth.Revocation) (more bool, err error)) error {
	cursor := t.bucket(revocations).Cursor()
	for key, text := cursor.Seek([]byte(positionKey(max(from, 0)))); key != nil; key, text = cursor.Next() {
		var e auth.Revocation
		if err := json.Unmarshal(text, &e); err != nil {
			return err
		}
		if more, err := visit(e); err != nil || !more {
			return err
		}
	}
	return nil
}

func (t tx) putRevocation(e auth.Revocation) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	key := positionKey(e.Position)
	if err := t.bucket(feedExpiry).Put([]byte(expiryKey(e.ExpiresAt, key)), nil); err != nil {
		return err
	}
	return t.bucket(revocations).Put([]byte(key), text)
}

func (t tx) removeRevocation(key string) error {
	var e auth.Revocation
	if err := json.Unmarshal(t.bucket(revocations).Get([]byte(key)), &e); err != nil {
		return err
	}
	if err := t.bucket(feedExpiry).Delete([]byte(expiryKey(e.ExpiresAt, key))); err != nil {
		return err
	}
	return t.bucket(revocations).Delete([]byte(key))
}

// revoke adds an entry to the feed. There is one writer, so positions are in the
// order of the commits. Without a generation it is about all sessions from before.
func (t tx) revoke(e auth.Revocation) error {
	e.Position, e.ID = t.head()+1, rand.Text()
	if e.SessionID == "" && e.Generation == 0 {
		e.Generation = e.Position
	}
	return t.putRevocation(e)
}

// endAll ends all of the account's sessions, in one entry.
func (t tx) endAll(a *account) error {
	if len(a.Sessions) == 0 {
		return nil
	}
	e := auth.Revocation{UserID: a.User.ID}
	for _, session := range a.Sessions {
		e.ExpiresAt = latest(e.ExpiresAt, session.ExpiresAt)
	}
	clear(a.Sessions)
	return t.revoke(e)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// end ends some of the account's sessions, each by its name.
func (t tx) end(a *account, ended func(auth.Session) bool) error {
	for id, session := range a.Sessions {
		if !ended(session) {
			continue
		}
		delete(a.Sessions, id)
		a.Named++
		err := t.revoke(auth.Revocation{
			UserID: a.User.ID, SessionID: id, Generation: session.Generation, ExpiresAt: session.ExpiresAt,
		})
		if err != nil {
			return err
		}
	}
	if a.Named <= auth.MaxNamedRevocations {
		return nil
	}
	return t.fold(a)
}

// fold makes one entry of all but the newest that name sessions of the account, if
// there are too many. Of those that the account has counted some may be pruned.
func (t tx) fold(a *account) error {
	var named []auth.Revocation
	err := t.walkFeed(0, func(e auth.Revocation) (bool, error) {
		if e.UserID == a.User.ID && e.SessionID != "" && !e.ExpiresAt.IsZero() {
			named = append(named, e)
		}
		return true, nil
	})
	a.Named = len(named)
	if err != nil || a.Named <= auth.MaxNamedRevocations {
		return err
	}
	slices.SortFunc(named, func(a, b auth.Revocation) int { return cmp.Compare(b.Generation, a.Generation) })
	folded := auth.Revocation{UserID: a.User.ID, Generation: named[auth.MaxNamedRevocations/2].Generation + 1}
	for _, e := range named {
		if e.Generation >= folded.Generation {
			continue
		}
		a.Named--
		folded.ExpiresAt = latest(folded.ExpiresAt, e.ExpiresAt)
		if err := t.removeRevocation(positionKey(e.Position)); err != nil {
			return err
		}
		e.ExpiresAt = time.Time{}
		if err := t.putRevocation(e); err != nil {
			return err
		}
	}
	maps.DeleteFunc(a.Sessions, func(_ string, session auth.Session) bool {
		if session.Generation >= folded.Generation {
			return false
		}
		folded.ExpiresAt = latest(folded.ExpiresAt, session.ExpiresAt)
		return true
	})
	return t.revoke(folded)
}
