package sqlstore

import (
	"cmp"
	"context"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// AddKey implements [auth.CredentialStore].
func (s *core) AddKey(ctx context.Context, w auth.Write, key auth.AccessKey) error {
	if err := cmp.Or(ctx.Err(), w.Validate(), key.Validate()); err != nil {
		return err
	}
	return s.write(ctx, "add key", func(ctx context.Context, t tx) error {
		a, err := holdOwner(ctx, t, w, key.UserID)
		if err == nil {
			err = a.grantKey(key.UserID, key.Scopes)
		}
		if err != nil {
			return err
		}
		var keys int
		if err := t.row(ctx, countKeys, key.UserID).Scan(&keys); err != nil {
			return err
		}
		if err := insertKey(ctx, t, key); err != nil {
			return err
		}
		if keys >= auth.MaxKeys {
			return auth.ErrTooManyKeys
		}
		return a.addEvent(ctx, about{userID: key.UserID})
	})
}

const (
	countKeys      = `SELECT COUNT(*) FROM auth_access_keys WHERE user_id = ?`
	selectUserKeys = `SELECT ` + keyColumns + ` FROM auth_access_keys k WHERE k.user_id = ? ORDER BY k.created_at, k.id`
)

// ListKeys implements [auth.CredentialStore].
func (s *core) ListKeys(ctx context.Context, userID string) ([]auth.AccessKey, error) {
	return read(ctx, s, "list keys", func(ctx context.Context, q querier) ([]auth.AccessKey, error) {
		if !storable(userID, auth.MaxIDLength) {
			return nil, ctx.Err()
		}
		return collect(ctx, q, keyFields, selectUserKeys, userID)
	})
}

const selectAllKeys = `SELECT ` + keyColumns + ` FROM auth_access_keys k WHERE k.id > ? ORDER BY k.id LIMIT ?`

// ListAllKeys implements [auth.CredentialStore].
func (s *core) ListAllKeys(ctx context.Context, after string, limit int) ([]auth.AccessKey, error) {
	return read(ctx, s, "list all keys", func(ctx context.Context, q querier) ([]auth.AccessKey, error) {
		switch {
		case limit < 1:
			return nil, ctx.Err()
		case after != "" && !storable(after, storekit.MaxAccessKeyLength):
			return nil, auth.ErrNotFound
		}
		return collect(ctx, q, keyFields, selectAllKeys, after, limit)
	})
}

const (
	lockKeyOfHash = `SELECT id FROM auth_access_keys WHERE id = ? AND hash = ? FOR UPDATE`
	updateHash    = `UPDATE auth_access_keys SET hash = ? WHERE id = ?`
)

// SwapHash implements [auth.CredentialStore].
func (s *core) SwapHash(ctx context.Context, id, oldHash, newHash string) error {
	if err := cmp.Or(ctx.Err(), storekit.ValidateHash(newHash)); err != nil {
		return err
	}
	if !storable(id, storekit.MaxAccessKeyLength) || storekit.ValidateHash(oldHash) != nil {
		return auth.ErrNotFound
	}
	return s.write(ctx, "replace hash", func(ctx context.Context, t tx) error {
		var found string
		if err := scan(t.row(ctx, lockKeyOfHash, id, oldHash), &found); err != nil {
			return err
		}
		return t.change(ctx, updateHash, newHash, id)
	})
}

const rotateKey = `
UPDATE auth_access_keys SET hash = ?, previous_hash = ?, previous_until = ?, must_rotate = 0 WHERE id = ?`

// RotateKey implements [auth.CredentialStore].
func (s *core) RotateKey(
	ctx context.Context, w auth.Write, id string, rotation auth.KeyRotation,
) (auth.AccessKey, error) {
	if err := cmp.Or(ctx.Err(), w.Validate(), rotation.Validate()); err != nil {
		return auth.AccessKey{}, err
	}
	return writeFor(ctx, s, "rotate key", func(ctx context.Context, t tx) (auth.AccessKey, error) {
		a, old, err := holdAnyKey(ctx, t, w, id)
		if err == nil {
			err = a.facts().CheckRotation(a.users[old.UserID], old)
		}
		if err != nil {
			return old, err
		}
		key, err := storekit.RotateKey(old, rotation, a.now)
		if err != nil {
			return key, err
		}
		key.PreviousUntil = storedTime(key.PreviousUntil)
		return key, runInOrder(
			func() error {
				return t.change(ctx, rotateKey, key.Hash, key.PreviousHash,
					toMicros(key.PreviousUntil), id)
			},
			func() error {
				if old.MustRotate {
					return a.revokeSessionsOfKey(ctx, key)
				}
				return a.addEvent(ctx, about{userID: key.UserID})
			},
		)
	})
}

const updateLastUsed = `UPDATE auth_access_keys SET last_used_at = ? WHERE id = ?`

// TouchKey implements [auth.CredentialStore].
func (s *core) TouchKey(ctx context.Context, id string, at time.Time) error {
	return s.write(ctx, "use key", func(ctx context.Context, t tx) error {
		key, err := findKey(ctx, t.querier, lockKey, id)
		if err != nil {
			return err
		}
		return useKey(ctx, t, key, storedTime(at))
	})
}

// useKey updates LastUsedAt of the locked key if at least [storekit.KeyUsePrecision] has passed since
// the stored time.
func useKey(ctx context.Context, t tx, key auth.AccessKey, at time.Time) error {
	if !mustRecordUse(key, at) {
		return nil
	}
	return t.change(ctx, updateLastUsed, toMicros(at), key.ID)
}

func mustRecordUse(key auth.AccessKey, at time.Time) bool {
	return !at.Before(key.LastUsedAt.Add(storekit.KeyUsePrecision))
}

const (
	deleteKey         = `DELETE FROM auth_access_keys WHERE id = ? AND user_id = ?`
	lockKeySessions   = `SELECT ` + sessionColumns + ` FROM auth_sessions s WHERE s.access_key_id = ? FOR UPDATE`
	deleteKeySessions = `DELETE FROM auth_sessions WHERE access_key_id = ?`
)

// RevokeKey implements [auth.CredentialStore]. RevokeKey locks the user, because [revokeSessions]
// requires this lock.
func (s *core) RevokeKey(ctx context.Context, w auth.Write, id string) error {
	if err := cmp.Or(ctx.Err(), w.Validate()); err != nil {
		return err
	}
	if !storable(id, storekit.MaxAccessKeyLength) {
		return auth.ErrNotFound
	}
	return s.write(ctx, "revoke key", func(ctx context.Context, t tx) error {
		a, key, err := holdKey(ctx, t, w, id)
		if err != nil {
			return err
		}
		if err := t.remove(ctx, deleteKey, id, key.UserID); err != nil {
			return err
		}
		return a.revokeSessionsOfKey(ctx, key)
	})
}

// revokeSessionsOfKey revokes the sessions that the locked key opened, and stores the event of the change.
func (a acting) revokeSessionsOfKey(ctx context.Context, key auth.AccessKey) error {
	sessions, err := collect(ctx, a.querier, sessionFields, lockKeySessions, key.ID)
	if err != nil {
		return err
	}
	return runInOrder(
		func() error {
			if len(sessions) == 0 {
				return nil
			}
			return a.change(ctx, deleteKeySessions, key.ID)
		},
		func() error { return a.addEvent(ctx, about{userID: key.UserID}) },
		func() error { return revokeSessions(ctx, a.tx, sessions, a.lastTokenEnd()) },
	)
}

const setKeyScopes = `UPDATE auth_access_keys SET scopes = ? WHERE id = ?`

// SetKeyScopes implements [auth.CredentialStore].
func (s *core) SetKeyScopes(
	ctx context.Context, w auth.Write, id string, scopes *auth.ScopeSet,
) (auth.AccessKey, error) {
	if err := cmp.Or(ctx.Err(), w.Validate(), scopes.Validate()); err != nil {
		return auth.AccessKey{}, err
	}
	return writeFor(ctx, s, "set scopes of key", func(ctx context.Context, t tx) (auth.AccessKey, error) {
		a, key, err := holdKey(ctx, t, w, id)
		if err != nil {
			return key, err
		}
		key.Scopes = scopes
		return key, runInOrder(
			func() error { return a.grantKey(key.UserID, scopes) },
			func() error { return t.change(ctx, setKeyScopes, scopesValue(scopes), id) },
			func() error { return a.revokeSessionsOfKey(ctx, key) },
		)
	})
}

// holdKey locks the key and its user, and checks that the authority may change the key. It first reads
// the key without a lock, to learn which user to lock. This is safe, because a key never changes its
// owner.
func holdKey(ctx context.Context, t tx, w auth.Write, id string) (a acting, key auth.AccessKey, err error) {
	a, key, err = holdAnyKey(ctx, t, w, id)
	if err == nil {
		err = a.grant(key.Scopes)
	}
	return a, key, err
}

// holdAnyKey is holdKey without the check of the key's scopes.
func holdAnyKey(
	ctx context.Context, t tx, w auth.Write, id string,
) (a acting, key auth.AccessKey, err error) {
	if key, err = findKey(ctx, t.querier, selectKey, id); err != nil {
		return a, key, err
	}
	if a, err = holdOwner(ctx, t, w, key.UserID); err != nil {
		return a, key, err
	}
	owner := key.UserID
	key, err = findKey(ctx, t.querier, lockKey, id)
	if err == nil && key.UserID != owner {
		err = auth.ErrNotFound
	}
	return a, key, err
}

const (
	expiredKeys = `
SELECT id FROM auth_access_keys WHERE expires_at > 0 AND expires_at <= ?
ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED`
	deleteKeys           = `DELETE FROM auth_access_keys WHERE id `
	deleteSessionsOfKeys = `DELETE FROM auth_sessions WHERE access_key_id `
)

// PruneKeys implements [auth.CredentialStore].
func (s *core) PruneKeys(ctx context.Context, expired time.Time, limit int) (int, error) {
	return prune[string](ctx, s, "prune keys", limit, dueBy(expiredKeys, expired), deleteKeys,
		deleteSessionsOfKeys)
}

const (
	endedOverlaps = `
SELECT id FROM auth_access_keys WHERE previous_until > 0 AND previous_until <= ?
ORDER BY previous_until LIMIT ? FOR UPDATE SKIP LOCKED`
	clearPreviousHashes = `UPDATE auth_access_keys SET previous_hash = '', previous_until = 0 WHERE id `
)

// PrunePreviousHashes implements [auth.CredentialStore].
func (s *core) PrunePreviousHashes(ctx context.Context, ended time.Time, limit int) (int, error) {
	return prune[string](ctx, s, "prune previous hashes", limit, dueBy(endedOverlaps, ended),
		clearPreviousHashes)
}

const (
	// expiringKeys has the conditions of [auth.AccessKey.ExpiryNoticeDue]. The first is that of the index.
	expiringKeys = `
SELECT ` + keyColumns + ` FROM auth_access_keys k
WHERE k.expires_at > 0 AND k.expires_at > ? AND k.expires_at <= ?
	AND k.created_at < k.expires_at - ? AND k.expiry_notice_at < k.expires_at - ?
ORDER BY k.expires_at LIMIT ?`
	recordNotice = `UPDATE auth_access_keys SET expiry_notice_at = ? WHERE id = ?`
)

// ListExpiringKeys implements [auth.CredentialStore].
func (s *core) ListExpiringKeys(
	ctx context.Context, now time.Time, lead time.Duration, limit int,
) ([]auth.AccessKey, error) {
	return read(ctx, s, "list expiring keys", func(
		ctx context.Context, q querier,
	) ([]auth.AccessKey, error) {
		if limit < 1 {
			return nil, ctx.Err()
		}
		micros := lead.Microseconds()
		return collect(ctx, q, keyFields, expiringKeys,
			toMicros(now), toMicros(now.Add(lead)), micros, micros, limit)
	})
}

// RecordExpiryNotice implements [auth.CredentialStore].
func (s *core) RecordExpiryNotice(
	ctx context.Context, w auth.Write, id string, lead time.Duration,
) error {
	if err := cmp.Or(ctx.Err(), w.Validate()); err != nil {
		return err
	}
	return s.write(ctx, "record notice of expiry", func(ctx context.Context, t tx) error {
		a, key, err := holdKey(ctx, t, w, id)
		if err == nil && !storekit.ExpiryNoticeDue(key, a.now, lead) {
			err = auth.ErrChanged
		}
		if err != nil {
			return err
		}
		return runInOrder(
			func() error { return t.change(ctx, recordNotice, toMicros(a.now), id) },
			func() error { return a.addEvent(ctx, about{userID: key.UserID}) },
		)
	})
}

const (
	selectKey = `SELECT ` + keyColumns + ` FROM auth_access_keys k WHERE k.id = ?`
	lockKey   = selectKey + ` FOR UPDATE`
)

// findKey finds the key with the query selectKey or lockKey.
func findKey(ctx context.Context, q querier, query, id string) (key auth.AccessKey, err error) {
	if !storable(id, storekit.MaxAccessKeyLength) {
		return key, auth.ErrNotFound
	}
	err = scan(q.row(ctx, query, id), keyFields(&key)...)
	return key, err
}

const (
	insertAccessKeys = `
INSERT INTO auth_access_keys
	(id, user_id, hash, label, created_at, expires_at, previous_hash, previous_until, last_used_at,
	scopes, must_rotate, expiry_notice_at)
VALUES `
	accessKeyRow    = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	insertAccessKey = insertAccessKeys + accessKeyRow
)

func keyValues(key auth.AccessKey) []any {
	return []any{
		key.ID, key.UserID, key.Hash, key.Label, toMicros(key.CreatedAt), toMicros(key.ExpiresAt),
		key.PreviousHash, toMicros(key.PreviousUntil), toMicros(key.LastUsedAt),
		scopesValue(key.Scopes), flag(key.MustRotate), toMicros(key.ExpiryNoticeAt),
	}
}

func insertKey(ctx context.Context, t tx, key auth.AccessKey) error {
	return t.insert(ctx, insertAccessKey, keyValues(key)...)
}

const (
	deleteUserKeys  = `DELETE FROM auth_access_keys WHERE user_id = ?`
	deleteOtherKeys = deleteUserKeys + ` AND id <> ?`
)

// replaceKeys makes the key the user's only key. replaceKeys inserts the new key before it deletes
// the old keys. So the insertion fails if the new key has the ID of an old key.
func replaceKeys(ctx context.Context, t tx, key auth.AccessKey) error {
	if err := insertKey(ctx, t, key); err != nil {
		return err
	}
	return t.change(ctx, deleteOtherKeys, key.UserID, key.ID)
}
