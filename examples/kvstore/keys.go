package kvstore

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// AddKey implements [auth.CredentialStore].
func (s *Store) AddKey(ctx context.Context, w auth.Write, key auth.AccessKey) error {
	if err := check(ctx, w, key); err != nil {
		return err
	}
	return s.write(ctx, w, func(c *change) error {
		return c.user(key.UserID, func(a *account) error {
			if err := cmp.Or(c.grantKey(a, key.Scopes), a.addKey(key)); err != nil {
				return err
			}
			if len(a.Keys) > auth.MaxKeys {
				return auth.ErrTooManyKeys
			}
			return nil
		})
	})
}

// ListKeys implements [auth.CredentialStore].
func (s *Store) ListKeys(ctx context.Context, userID string) (found []auth.AccessKey, err error) {
	err = s.view(ctx, func(t tx) error {
		a, err := t.account(userID)
		if errors.Is(err, auth.ErrNotFound) {
			return nil
		}
		if err == nil {
			found = slices.SortedFunc(maps.Values(a.Keys), func(a, b auth.AccessKey) int {
				return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
			})
		}
		return err
	})
	return found, err
}

// ListAllKeys implements [auth.CredentialStore]. The index of the keys is sorted by their IDs.
func (s *Store) ListAllKeys(
	ctx context.Context, after string, limit int,
) (found []auth.AccessKey, err error) {
	err = s.view(ctx, func(t tx) error {
		for id, userID := range t.after(keys, after) {
			if len(found) >= limit {
				break
			}
			a, err := t.account(string(userID))
			if err != nil {
				return err
			}
			found = append(found, a.Keys[id])
		}
		return nil
	})
	return found, err
}

// addKey adds the key to the account. It returns [auth.ErrExists] if the account already has a key
// with this ID. If another account has a key with this ID, addKey returns nil, and the method save
// later returns [auth.ErrExists].
func (a *account) addKey(key auth.AccessKey) error {
	if _, taken := a.Keys[key.ID]; taken {
		return entry{keys, key.ID}.taken()
	}
	key.CreatedAt, key.ExpiresAt = kept(key.CreatedAt), kept(key.ExpiresAt)
	key.PreviousUntil, key.LastUsedAt = kept(key.PreviousUntil), kept(key.LastUsedAt)
	key.ExpiryNoticeAt = kept(key.ExpiryNoticeAt)
	a.Keys[key.ID] = key
	return nil
}

// isGood reports whether the key is not expired at the given time. A key without ExpiresAt never
// expires.
func isGood(key auth.AccessKey, at time.Time) bool {
	return key.ExpiresAt.IsZero() || key.ExpiresAt.After(at)
}

// FindKey implements [auth.CredentialStore].
func (s *Store) FindKey(
	ctx context.Context, id string,
) (key auth.AccessKey, owner auth.User, err error) {
	err = s.view(ctx, func(t tx) error {
		a, err := t.accountOf(keys, id)
		if err == nil {
			key, owner = a.Keys[id], a.User
		}
		return err
	})
	return key, owner, err
}

// SwapHash implements [auth.CredentialStore].
func (s *Store) SwapHash(ctx context.Context, id, old, new string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := storekit.ValidateHash(new); err != nil {
		return err
	}
	return s.update(ctx, func(t tx) error {
		return t.change(keys, id, func(a *account) error {
			key := a.Keys[id]
			if key.Hash != old {
				return auth.ErrNotFound
			}
			key.Hash = new
			a.Keys[id] = key
			return nil
		})
	})
}

// RotateKey implements [auth.CredentialStore].
func (s *Store) RotateKey(
	ctx context.Context, w auth.Write, id string, rotation auth.KeyRotation,
) (key auth.AccessKey, err error) {
	if err := check(ctx, w, rotation); err != nil {
		return key, err
	}
	err = s.write(ctx, w, func(c *change) error {
		return c.owner(keys, id, func(a *account) error {
			old := a.Keys[id]
			if err := c.acting.CheckRotation(a.User, old); err != nil {
				return err
			}
			rotated, err := storekit.RotateKey(old, rotation, c.now)
			if err != nil {
				return err
			}
			rotated.PreviousUntil = kept(rotated.PreviousUntil)
			a.Keys[id], key = rotated, rotated
			if !old.MustRotate {
				return nil
			}
			return c.endOpenedBy(a, id)
		})
	})
	if err != nil {
		return auth.AccessKey{}, err
	}
	return key, nil
}

// SetKeyScopes implements [auth.CredentialStore].
func (s *Store) SetKeyScopes(
	ctx context.Context, w auth.Write, id string, scopes *auth.ScopeSet,
) (key auth.AccessKey, err error) {
	if err := cmp.Or(check(ctx, w), scopes.Validate()); err != nil {
		return key, err
	}
	err = s.write(ctx, w, func(c *change) error {
		return c.key(id, func(a *account) error {
			if err := c.grantKey(a, scopes); err != nil {
				return err
			}
			key = a.Keys[id]
			key.Scopes = scopes
			a.Keys[id] = key
			return c.endOpenedBy(a, id)
		})
	})
	if err != nil {
		return auth.AccessKey{}, err
	}
	return key, nil
}

// key calls the callback do with the account of the key's user, if the authority may change the key. Then
// it saves the account and adds the event.
func (c *change) key(id string, do func(*account) error) error {
	return c.owner(keys, id, func(a *account) error {
		if err := c.grant(a.Keys[id].Scopes); err != nil {
			return err
		}
		return do(a)
	})
}

// TouchKey implements [auth.CredentialStore].
func (s *Store) TouchKey(ctx context.Context, id string, at time.Time) error {
	return s.update(ctx, func(t tx) error {
		return t.change(keys, id, func(a *account) error { a.use(id, kept(at)); return nil })
	})
}

// use sets the time of the key's last use to the given time, if at least storekit.KeyUsePrecision has
// passed since the last recorded use.
func (a *account) use(id string, at time.Time) {
	key := a.Keys[id]
	if !at.Before(key.LastUsedAt.Add(storekit.KeyUsePrecision)) {
		key.LastUsedAt = at
		a.Keys[id] = key
	}
}

// RevokeKey implements [auth.CredentialStore].
func (s *Store) RevokeKey(ctx context.Context, w auth.Write, id string) error {
	if err := check(ctx, w); err != nil {
		return err
	}
	return s.write(ctx, w, func(c *change) error {
		return c.key(id, func(a *account) error {
			delete(a.Keys, id)
			return c.endOpenedBy(a, id)
		})
	})
}

// removeKey deletes the key and the sessions that the key opened. The key must have expired.
func (t tx) removeKey(id string) error {
	return t.change(keys, id, func(a *account) error {
		delete(a.Keys, id)
		maps.DeleteFunc(a.Sessions, func(_ string, session auth.Session) bool {
			return session.AccessKeyID == id
		})
		return nil
	})
}

// PruneKeys implements [auth.CredentialStore].
func (s *Store) PruneKeys(ctx context.Context, expired time.Time, limit int) (int, error) {
	return s.prune(ctx, keyExpiry, expired, limit, tx.removeKey)
}

// PrunePreviousHashes implements [auth.CredentialStore].
func (s *Store) PrunePreviousHashes(ctx context.Context, ended time.Time, limit int) (int, error) {
	return s.prune(ctx, overlapEnd, ended, limit, tx.removePreviousHash)
}

func (t tx) removePreviousHash(id string) error {
	return t.change(keys, id, func(a *account) error {
		key := a.Keys[id]
		key.PreviousHash, key.PreviousUntil = "", time.Time{}
		a.Keys[id] = key
		return nil
	})
}

// ListExpiringKeys implements [auth.CredentialStore]. The index is sorted by the time of the expiry.
func (s *Store) ListExpiringKeys(
	ctx context.Context, now time.Time, lead time.Duration, limit int,
) (found []auth.AccessKey, err error) {
	now = kept(now)
	err = s.view(ctx, func(t tx) error {
		for entry, userID := range t.after(keyExpiry, timeKey(now)) {
			if len(found) >= limit || timeOf(entry).After(now.Add(lead)) {
				break
			}
			a, err := t.account(string(userID))
			if err != nil {
				return err
			}
			if key := a.Keys[entry[timeLength:]]; storekit.ExpiryNoticeDue(key, now, lead) {
				found = append(found, key)
			}
		}
		return nil
	})
	return found, err
}

// RecordExpiryNotice implements [auth.CredentialStore].
func (s *Store) RecordExpiryNotice(
	ctx context.Context, w auth.Write, id string, lead time.Duration,
) error {
	if err := check(ctx, w); err != nil {
		return err
	}
	return s.write(ctx, w, func(c *change) error {
		return c.key(id, func(a *account) error {
			key := a.Keys[id]
			if !storekit.ExpiryNoticeDue(key, c.now, lead) {
				return auth.ErrChanged
			}
			key.ExpiryNoticeAt = c.now
			a.Keys[id] = key
			return nil
		})
	})
}

// prune calls the callback remove for each expired record that the method due finds. All calls are
// in one transaction. prune returns the number of these records.
func (s *Store) prune(
	ctx context.Context, index string, expired time.Time, limit int, remove func(tx, string) error,
) (pruned int, err error) {
	err = s.update(ctx, func(t tx) error {
		ids := t.due(index, expired, limit)
		for _, id := range ids {
			if err := remove(t, id); err != nil {
				return err
			}
		}
		pruned = len(ids)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return pruned, nil
}
