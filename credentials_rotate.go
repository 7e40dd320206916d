package auth

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// maxOverlap is how long the previous secret of a rotated key can keep working.
const maxOverlap = 7 * 24 * time.Hour

// List returns the access keys of the user, the oldest first, without their hashes, and also
// expired ones until they are pruned. It returns none if there is no such user.
func (v *CredentialVerifier) List(ctx context.Context, userID string) ([]AccessKey, error) {
	keys, err := v.store.ListKeys(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("auth: listing access keys: %w", err)
	}
	for i := range keys {
		keys[i] = keys[i].withoutHashes()
	}
	return keys, nil
}

// Rotate gives the key a new secret and returns the pair, with the same access key. The
// previous secret keeps working until the overlap has passed, at most 7 days. Label and expiry
// stay, and so do the sessions that the key opened: for a secret that has leaked, use Revoke or
// RevokeLeaked.
//
// It returns ErrNotFound if there is no such key or it has expired, ErrRotating if a previous
// secret still works, and an *InvalidError for an overlap that is out of range and for an
// imported key, because a generated secret contains its key's name. It also returns ErrNotFound if
// the key belongs to another user than the authority's session and SuperUser is not set, and the
// errors of [Authority.Check].
func (v *CredentialVerifier) Rotate(
	ctx context.Context, by Authority, accessKey string, overlap time.Duration,
) (KeyPair, error) {
	if err := v.tokens.admit(ctx, by); err != nil {
		return KeyPair{}, err
	}
	pair, _, err := v.rotate(ctx, by, accessKey, overlap)
	return pair, err
}

func (v *CredentialVerifier) rotate(
	ctx context.Context, by Authority, accessKey string, overlap time.Duration,
) (KeyPair, AccessKey, error) {
	if overlap < 0 || overlap > maxOverlap {
		return KeyPair{}, AccessKey{}, invalidf("overlap_seconds", "must be from 0 to %d",
			int(maxOverlap.Seconds()))
	}
	found, _, err := v.store.FindKey(ctx, accessKey)
	if err != nil {
		return KeyPair{}, AccessKey{}, fmt.Errorf("auth: rotating an access key: %w", err)
	}
	if !v.format.IsKey(accessKey) {
		return KeyPair{}, AccessKey{}, invalidf("access_key",
			"was made elsewhere and cannot be rotated: make a new key instead")
	}
	pair := KeyPair{AccessKey: accessKey, AccessSecret: NewSecret(v.format.NewSecret(accessKey))}
	rotation := KeyRotation{
		Hash:    v.hasher.Fast.Hash(found.UserID, accessKey, pair.AccessSecret.Reveal()),
		Overlap: overlap,
	}
	c := v.newChange(ctx, by, Event{Kind: EventKeyRotated, UserID: found.UserID, AccessKey: accessKey,
		Reason: "overlap " + overlap.String()})
	key, err := v.store.RotateKey(ctx, c.write, accessKey, rotation)
	if err != nil {
		return KeyPair{}, AccessKey{}, fmt.Errorf("auth: rotating an access key: %w", err)
	}
	c.recordEvent(ctx)
	return pair, key, nil
}

// SecretPattern returns a regular expression for access secrets of this service in any text,
// in the syntax of [regexp], RE2 and PCRE, for secret scanners. RevokeLeaked tells which of its
// matches are secrets.
func (v *CredentialVerifier) SecretPattern() string {
	return v.format.SecretPattern()
}

// RevokeLeaked revokes the key of an access secret that was found in a place where it should
// not be, with the sessions that the key opened. It returns the key, without its hashes, so
// that its owner can be told. The secret must be one that works, or would work if its owner
// were not disabled. An access key alone revokes nothing, because it is public.
//
// It returns ErrInvalidCredentials for everything else, including secrets of imported keys.
func (v *CredentialVerifier) RevokeLeaked(ctx context.Context, secret Secret) (AccessKey, error) {
	text := secret.Reveal()
	if !v.format.IsSecret(text) {
		return AccessKey{}, ErrInvalidCredentials
	}
	key, _, err := v.store.FindKey(ctx, v.format.KeyOf(text))
	switch {
	case errors.Is(err, ErrNotFound):
		return AccessKey{}, ErrInvalidCredentials
	case err != nil:
		return AccessKey{}, fmt.Errorf("auth: looking for a leaked access key: %w", err)
	}
	if matches, _ := v.matchSecret(v.hasher.Fast, key, key.ID, text); !matches || v.expired(key) {
		return AccessKey{}, ErrInvalidCredentials
	}
	if err := v.revoke(ctx, ByHost("auth.RevokeLeaked"), key.ID, key.UserID, EventKeyLeaked); err != nil &&
		!errors.Is(err, ErrNotFound) {
		return AccessKey{}, err
	}
	return key.withoutHashes(), nil
}
