package auth

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// MaxOverlap is how long the earlier secret of a rotated key may still work.
const MaxOverlap = 7 * 24 * time.Hour

// List returns the access keys of the user, the oldest first, without their hashes:
// those that have expired too, for as long as they are kept. It returns none if there
// is no such user.
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

func (k AccessKey) withoutHashes() AccessKey {
	k.Hash, k.PreviousHash = "", ""
	return k
}

// Rotate gives the key a new secret and returns the pair, with the same access key.
// The earlier secret works until the overlap has passed, at most MaxOverlap; label
// and expiry stay, and so do the sessions that were opened with it: for a secret that
// has leaked, use Revoke or RevokeLeaked.
//
// It returns ErrNotFound if there is no such key or it has expired, ErrRotating if an
// earlier secret still works, and an *InvalidError for an overlap that cannot be and
// for an imported key, whose name a generated secret could not have in it.
func (v *CredentialVerifier) Rotate(ctx context.Context, accessKey string, overlap time.Duration) (KeyPair, error) {
	pair, _, err := v.rotate(ctx, accessKey, overlap)
	return pair, err
}

func (v *CredentialVerifier) rotate(ctx context.Context, accessKey string, overlap time.Duration) (KeyPair, AccessKey, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return KeyPair{}, AccessKey{}, invalidf("overlap_seconds", "must be from 0 to %d", int(MaxOverlap.Seconds()))
	}
	found, err := v.store.FindKey(ctx, accessKey)
	if err != nil {
		return KeyPair{}, AccessKey{}, fmt.Errorf("auth: rotating an access key: %w", err)
	}
	if !v.format.isKey(accessKey) {
		return KeyPair{}, AccessKey{}, invalidf("access_key", "was made elsewhere and cannot be rotated: make a new key instead")
	}
	pair := KeyPair{AccessKey: accessKey, AccessSecret: v.format.secretOf(accessKey)}
	rotation := KeyRotation{
		Hash: v.hasher.fast(found.Key.UserID, accessKey, pair.AccessSecret.Reveal()),
		At:   v.now(),
	}
	if overlap > 0 {
		rotation.PreviousUntil = rotation.At.Add(overlap)
	}
	key, err := v.store.RotateKey(ctx, accessKey, rotation)
	if err != nil {
		return KeyPair{}, AccessKey{}, fmt.Errorf("auth: rotating an access key: %w", err)
	}
	v.events.emit(ctx, Event{Kind: EventKeyRotated, UserID: key.UserID, AccessKey: accessKey, Reason: "overlap " + overlap.String()})
	return pair, key, nil
}

// SecretPattern returns a regular expression for access secrets of this service in
// any text, in the syntax of [regexp], RE2 and PCRE, for secret scanners. Of what it
// matches, RevokeLeaked knows which are secrets.
func (v *CredentialVerifier) SecretPattern() string {
	return fmt.Sprintf(`\b%s[0-9A-Za-z]{%d}\b`, regexp.QuoteMeta(v.format.secretPrefix), keyIDLength+secretLength+checksumLength)
}

// RevokeLeaked revokes the key of an access secret that has been found where it ought
// not to be, with the sessions that it opened, and returns the key, without its
// hashes, so that its owner can be told. The secret is all it needs, and it must be
// one that works, or would if its owner were not disabled: an access key is public,
// and whoever knows one must not be able to end it.
//
// It returns ErrInvalidCredentials for everything else, secrets of imported keys
// included.
func (v *CredentialVerifier) RevokeLeaked(ctx context.Context, secret Secret) (AccessKey, error) {
	text := secret.Reveal()
	if !v.format.isSecret(text) {
		return AccessKey{}, ErrInvalidCredentials
	}
	found, err := v.store.FindKey(ctx, v.format.keyOf(text))
	switch {
	case errors.Is(err, ErrNotFound):
		return AccessKey{}, ErrInvalidCredentials
	case err != nil:
		return AccessKey{}, fmt.Errorf("auth: looking for a leaked access key: %w", err)
	}
	key := found.Key
	if matches, _ := v.matchKey(v.hasher.fastScheme(), key, key.ID, text); !matches || v.expired(key) {
		return AccessKey{}, ErrInvalidCredentials
	}
	if err := v.revoke(ctx, key.ID, key.UserID, EventKeyLeaked); err != nil && !errors.Is(err, ErrNotFound) {
		return AccessKey{}, err
	}
	return key.withoutHashes(), nil
}
