package auth

import (
	"context"
	"time"
)

// CredentialStore has the methods of a store that are about access keys. See [AccountStore] for the
// rules that all methods follow.
type CredentialStore interface {
	// AddKey adds an access key to a user. The user can be disabled. AddKey returns ErrNotFound if there is
	// no such user, ErrExists if the key's ID is taken, and ErrTooManyKeys if the user already has MaxKeys
	// keys, including expired ones. It locks the user's record, so that concurrent calls cannot exceed
	// MaxKeys. It calls CheckKeyGrant of storekit.Acting.
	AddKey(ctx context.Context, w Write, key AccessKey) error

	// ListKeys returns all keys of the user, sorted by CreatedAt, the oldest first, and then by ID. It
	// returns no keys if there is no such user.
	ListKeys(ctx context.Context, userID string) ([]AccessKey, error)

	// ListAllKeys returns one page of the keys of all users, including expired keys, sorted by the bytes of
	// their IDs: at most limit keys, with IDs greater than the parameter after, as in [UserStore.ListUsers].
	ListAllKeys(ctx context.Context, after string, limit int) ([]AccessKey, error)

	// FindKey reads the key with this ID, and the key's owner, in one query. The key may have expired, and
	// the owner may be disabled. It returns ErrNotFound if there is no such key.
	FindKey(ctx context.Context, id string) (AccessKey, User, error)

	// SwapHash replaces the key's Hash with the parameter new if the Hash is equal to the parameter old. It
	// returns ErrNotFound if there is no such key or the Hash is different.
	SwapHash(ctx context.Context, id, old, new string) error

	// RotateKey replaces the key's Hash and returns the changed key, as storekit.RotateKey says. If the
	// key's MustRotate was set, RotateKey also revokes the sessions that the key opened. It calls
	// CheckRotation of storekit.Acting in place of CheckGrant. RotateKey returns ErrNotFound if the key
	// does not exist, and the errors of storekit.RotateKey. Of two concurrent calls with an Overlap, one
	// fails.
	RotateKey(ctx context.Context, w Write, id string, rotation KeyRotation) (AccessKey, error)

	// SetKeyScopes sets the key's Scopes, revokes the sessions that the key opened, and returns the changed
	// key. CheckKeyGrant of storekit.Acting must allow the earlier and the new Scopes. SetKeyScopes returns
	// ErrNotFound if there is no such key.
	SetKeyScopes(ctx context.Context, w Write, id string, scopes *ScopeSet) (AccessKey, error)

	// TouchKey sets LastUsedAt to the given time if this time is at least storekit.KeyUsePrecision after
	// the present LastUsedAt. It returns ErrNotFound if there is no such key.
	TouchKey(ctx context.Context, id string, at time.Time) error

	// RevokeKey removes the key and revokes its sessions. It returns ErrNotFound if there is no such key.
	RevokeKey(ctx context.Context, w Write, id string) error

	// PruneKeys removes keys that had expired at the given time, and the sessions that these keys opened. It
	// returns the number of removed keys, which is at most limit. If the number is below limit, the only
	// expired keys left are those that concurrent calls have locked. If limit is below one, PruneKeys removes
	// nothing.
	PruneKeys(ctx context.Context, expired time.Time, limit int) (int, error)

	// PrunePreviousHashes clears the PreviousHash and the PreviousUntil of at most limit keys that have a
	// previous hash and a PreviousUntil that is not after the given time. The keys stay. It returns the
	// number of changed keys, as PruneKeys does.
	PrunePreviousHashes(ctx context.Context, ended time.Time, limit int) (int, error)

	// ListExpiringKeys returns at most limit keys for which storekit.ExpiryNoticeDue returns true, sorted
	// by ExpiresAt. It does not read keys that expire later. If limit is below one, ListExpiringKeys
	// returns no keys.
	ListExpiringKeys(ctx context.Context, now time.Time, lead time.Duration, limit int) ([]AccessKey, error)

	// RecordExpiryNotice sets the key's ExpiryNoticeAt to the time of the Write, whose Event tells of the
	// expiry. It returns ErrNotFound if there is no such key, and ErrChanged if storekit.ExpiryNoticeDue
	// returns false for this time. So of several concurrent calls, one succeeds.
	RecordExpiryNotice(ctx context.Context, w Write, id string, lead time.Duration) error
}
