package sqlstore

import (
	"cmp"
	"context"
	"time"

	"github.com/sallyport-go/auth"
)

// AddKey implements [auth.CredentialStore].
func (s *Store) AddKey(ctx context.Context, key auth.AccessKey) error {
	if err := cmp.Or(ctx.Err(), key.Validate()); err != nil {
		return err
	}
	return s.write(ctx, "add key", func(ctx context.Context, t tx) error {
		if _, err := findUser(ctx, t, key.UserID); err != nil {
			return err
		}
		return insertKey(ctx, t, key)
	})
}

// FindKey implements [auth.CredentialStore].
func (s *Store) FindKey(ctx context.Context, id string) (auth.Credential, error) {
	return read(ctx, s, "find key", func(q queryer) (auth.Credential, error) {
		return findKey(ctx, q, id)
	})
}

const updateHash = `UPDATE auth_access_keys SET hash = ? WHERE id = ? AND hash = ?`

// ReplaceHash implements [auth.CredentialStore].
func (s *Store) ReplaceHash(ctx context.Context, id, oldHash, newHash string) error {
	if err := cmp.Or(ctx.Err(), auth.ValidateHash(newHash)); err != nil {
		return err
	}
	if !storable(id, auth.MaxAccessKeyLength) || auth.ValidateHash(oldHash) != nil {
		return auth.ErrNotFound
	}
	return s.write(ctx, "replace hash", func(ctx context.Context, t tx) error {
		return t.change(ctx, updateHash, newHash, id, oldHash)
	})
}

const (
	deleteKey        = `DELETE FROM auth_access_keys WHERE id = ?`
	deleteKeySession = `DELETE FROM auth_sessions WHERE access_key_id = ?`
)

// RevokeKey implements [auth.CredentialStore].
func (s *Store) RevokeKey(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !storable(id, auth.MaxAccessKeyLength) {
		return auth.ErrNotFound
	}
	return s.write(ctx, "revoke key", func(ctx context.Context, t tx) error {
		if err := t.change(ctx, deleteKey, id); err != nil {
			return err
		}
		_, err := t.count(ctx, deleteKeySession, id)
		return err
	})
}

// Which keys a limit takes is the same in both statements, because the order is
// complete. The derived table is for databases that take no LIMIT inside IN.
const (
	expiredKeys = `
SELECT id FROM (
	SELECT id FROM auth_access_keys WHERE expires_at > 0 AND expires_at <= ? ORDER BY expires_at, id LIMIT ?
) AS expired`
	pruneKeySessions = `DELETE FROM auth_sessions WHERE access_key_id IN (` + expiredKeys + `)`
	pruneKeys        = `DELETE FROM auth_access_keys WHERE id IN (` + expiredKeys + `)`
)

// PruneKeys implements [auth.CredentialStore].
func (s *Store) PruneKeys(ctx context.Context, expired time.Time, limit int) (int, error) {
	if err := ctx.Err(); err != nil || limit < 1 {
		return 0, err
	}
	return writeFor(ctx, s, "prune keys", func(ctx context.Context, t tx) (int, error) {
		if _, err := t.count(ctx, pruneKeySessions, toMicros(expired), limit); err != nil {
			return 0, err
		}
		return t.count(ctx, pruneKeys, toMicros(expired), limit)
	})
}

const selectCredential = `
SELECT ` + keyColumns + `, ` + userColumns + `
FROM auth_access_keys k JOIN auth_users u ON u.id = k.user_id
WHERE k.id = ?`

// findKey returns the key and its owner in one statement, so that they belong
// to the same moment.
func findKey(ctx context.Context, q queryer, id string) (c auth.Credential, err error) {
	if !storable(id, auth.MaxAccessKeyLength) {
		return c, auth.ErrNotFound
	}
	fields := append(keyFields(&c.Key), userFields(&c.User)...)
	return c, scan(q.QueryRowContext(ctx, selectCredential, id), fields...)
}

const insertAccessKey = `
INSERT INTO auth_access_keys (id, user_id, hash, label, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)`

func insertKey(ctx context.Context, t tx, key auth.AccessKey) error {
	return t.insert(ctx, insertAccessKey,
		key.ID, key.UserID, key.Hash, key.Label, toMicros(key.CreatedAt), toMicros(key.ExpiresAt))
}

const deleteOtherKeys = `DELETE FROM auth_access_keys WHERE user_id = ? AND id <> ?`

// replaceKeys makes the key the only one of its user. It adds before it removes,
// so that the id of an old key is taken.
func replaceKeys(ctx context.Context, t tx, key auth.AccessKey) error {
	if err := insertKey(ctx, t, key); err != nil {
		return err
	}
	_, err := t.count(ctx, deleteOtherKeys, key.UserID, key.ID)
	return err
}
