package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/secrethash"
	"github.com/sallyport-go/auth/internal/text"
)

// maxOverlap is the longest time for which the previous secret of a key can keep working.
const maxOverlap = 7 * 24 * time.Hour

// List returns the access keys of the user without their hashes, the oldest first. The list
// includes expired keys that have not been pruned. If the user does not exist, the list is empty.
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

// Rotate gives the access key a new secret and returns the pair. The previous secret keeps working
// for the overlap, which is at most 7 days. The label and the expiry of the key do not change, and
// the sessions that the key opened are not revoked. If the secret has leaked, use
// [CredentialVerifier.Revoke] or [CredentialVerifier.RevokeLeaked] instead.
//
// Rotate returns ErrNotFound if the key does not exist or has expired. It also returns ErrNotFound if the
// authority is a session without SuperUser and the key belongs to another user. It returns ErrRotating if a
// previous secret still works, and an *[InvalidError] if the overlap is out of range or the key was
// imported. It also returns the errors of an [Authority]. An imported key cannot be rotated, because a
// generated secret works only with a generated access key.
//
// If [AccessKey.MustRotate] is set, the overlap must be zero. Rotate then revokes the sessions that the key
// opened, because they can do nothing but rotate the key: the client signs in again with the new secret. For
// such a session, the Scope of the authority must be [ScopeRotate].
func (v *CredentialVerifier) Rotate(
	ctx context.Context, by Authority, accessKey string, overlap time.Duration,
) (KeyPair, error) {
	if err := v.tokens.checkAuthority(ctx, by); err != nil {
		return KeyPair{}, err
	}
	pair, _, err := v.rotate(ctx, by, accessKey, overlap)
	return pair, err
}

// rotate is Rotate without the check of the authority. It also returns the record of the key.
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
	if err := v.tokens.checkHostOwner(ctx, by, found.UserID); err != nil {
		return KeyPair{}, AccessKey{}, err
	}
	pair := KeyPair{AccessKey: accessKey, AccessSecret: NewSecret(v.format.NewSecret(accessKey))}
	rotation := KeyRotation{
		Hash:    v.hasher.Fast.Hash(found.UserID, accessKey, pair.AccessSecret.Reveal()),
		Overlap: overlap,
	}
	reason := "overlap " + overlap.String()
	if found.MustRotate {
		reason = "the key had to be rotated"
	}
	c := v.newChange(ctx, by, Event{Kind: eventkind.KeyRotated, UserID: found.UserID, AccessKey: accessKey,
		Reason: reason})
	key, err := v.store.RotateKey(ctx, c.write, accessKey, rotation)
	if err != nil {
		return KeyPair{}, AccessKey{}, fmt.Errorf("auth: rotating an access key: %w", err)
	}
	if found.MustRotate {
		v.tokens.learnRevocations(ctx)
	}
	c.recordEvent(ctx)
	return pair, key, nil
}

// SetScopes replaces the scopes of the access key. nil removes the limit. The secret of the key does not
// change. SetScopes also revokes the sessions that the key opened, because their tokens have the earlier
// scopes: clients must sign in again.
//
// SetScopes returns ErrNotFound if the key does not exist, or if the authority is a session without
// SuperUser and the key belongs to another user. It returns an *[InvalidError] if a scope is neither in
// [TokenConfig.Scopes] nor one of this package. It also returns the errors of an [Authority], which must be
// allowed to give both the earlier and the new scopes.
func (v *CredentialVerifier) SetScopes(
	ctx context.Context, by Authority, accessKey string, scopes *ScopeSet,
) error {
	if err := cmp.Or(v.tokens.checkAuthority(ctx, by), v.tokens.checkScopes(scopes)); err != nil {
		return err
	}
	if v.hostUsers { // only the host's table has the Audiences of the key's owner
		if found, _, err := v.store.FindKey(ctx, accessKey); err == nil {
			if err := v.tokens.checkHostOwner(ctx, by, found.UserID); err != nil {
				return err
			}
		}
	}
	c := v.newChange(ctx, by, Event{Kind: eventkind.KeyChanged, AccessKey: v.loggableName(accessKey),
		Reason: text.Readable("scopes: "+scopes.String(), maxReasonLength)})
	if _, err := v.store.SetKeyScopes(ctx, c.write, accessKey, scopes); err != nil {
		return fmt.Errorf("auth: changing the scopes of an access key: %w", err)
	}
	v.tokens.learnRevocations(ctx)
	c.recordEvent(ctx)
	return nil
}

// PepperCounts is the result of [CredentialVerifier.CountByPepper].
type PepperCounts struct {
	// ByPepper maps the ID of a pepper to the number of access keys whose hashes need the pepper. The
	// ID "" stands for hashes that this package made without a pepper. If the previous secret of a key
	// still works, the key can count under two IDs.
	ByPepper map[string]int

	// Imported is the number of access keys whose hash another system made. Such a hash has no
	// pepper. The next sign-in with the key replaces the hash.
	Imported int

	// Unreadable is the number of access keys with a hash of an unknown form, which no secret
	// matches.
	Unreadable int
}

// storedPage is the number of records that one query of a count reads.
const storedPage = 1000

// CountByPepper counts the access keys of all users by the pepper that their hashes need. It ignores
// keys that have expired, and previous secrets that no longer work. If no key needs a pepper, the
// pepper can be removed from [CredentialConfig.Peppers]. [NoPepper] can be removed if both
// ByPepper[""] and Imported are zero.
//
// CountByPepper reads all keys, one page at a time. If a key is added, removed or renewed during the
// call, CountByPepper may or may not see the change. The only errors are those of the store and of
// ctx.
func (v *CredentialVerifier) CountByPepper(ctx context.Context) (PepperCounts, error) {
	counts := PepperCounts{ByPepper: map[string]int{}}
	for after := ""; ; {
		page, err := v.store.ListAllKeys(ctx, after, storedPage)
		if err != nil {
			return PepperCounts{}, fmt.Errorf("auth: counting access keys by pepper: %w", err)
		}
		for _, key := range page {
			if !v.expired(key) {
				counts.add(key, v.now())
			}
		}
		if len(page) < storedPage {
			return counts, nil
		}
		after = page[len(page)-1].ID
	}
}

func (c *PepperCounts) add(key AccessKey, now time.Time) {
	form, err := secrethash.Parse(key.Hash)
	switch {
	case err != nil:
		c.Unreadable++
	case form.Kind.IsImported():
		c.Imported++
	default:
		c.ByPepper[form.Pepper]++
	}
	if !key.PreviousUntil.After(now) {
		return
	}
	// Only generated keys are rotated, so a previous hash is never imported.
	previous, errPrevious := secrethash.Parse(key.PreviousHash)
	if errPrevious == nil && (err != nil || previous.Pepper != form.Pepper) {
		c.ByPepper[previous.Pepper]++
	}
}

// Revoke revokes the access key and the sessions that the key opened. It returns ErrNotFound if the key
// does not exist, or if the authority is a session without SuperUser and the key belongs to another user.
// It also returns the errors of an [Authority].
func (v *CredentialVerifier) Revoke(ctx context.Context, by Authority, accessKey string) error {
	if err := v.tokens.checkAuthority(ctx, by); err != nil {
		return err
	}
	return v.revoke(ctx, by, accessKey, "", eventkind.KeyRevoked)
}

// revoke is Revoke without the check of the authority. The event has the given kind and user. If
// the user is not known, the caller passes an empty userID.
func (v *CredentialVerifier) revoke(
	ctx context.Context, by Authority, accessKey, userID string, kind eventkind.Kind,
) error {
	c := v.newChange(ctx, by, Event{Kind: kind, UserID: userID, AccessKey: v.loggableName(accessKey)})
	if err := v.store.RevokeKey(ctx, c.write, accessKey); err != nil {
		return fmt.Errorf("auth: revoking an access key: %w", err)
	}
	v.tokens.learnRevocations(ctx)
	c.recordEvent(ctx)
	return nil
}

// SecretPattern returns a regular expression that finds access secrets of this service in any text.
// The expression is for secret scanners, and is valid in the syntax of [regexp], RE2 and PCRE. A
// match need not be a working secret. To check a match, and to revoke the access key of a working
// secret, call [CredentialVerifier.RevokeLeaked].
func (v *CredentialVerifier) SecretPattern() string {
	return v.format.SecretPattern()
}

// RevokeLeaked revokes the access key of a leaked secret, and the sessions that the key opened. It
// returns the record of the key without its hashes, so that the host can notify the owner.
//
// RevokeLeaked accepts only a secret that this package generated and that still works. If the text
// is not such a secret, RevokeLeaked returns ErrInvalidCredentials. In particular, an access key
// without its secret revokes nothing, because access keys are not secret. RevokeLeaked does not
// check whether the owner of the key is disabled.
//
// If the stored hash needs a pepper that is not in [CredentialConfig.Peppers], RevokeLeaked cannot
// tell whether the secret works. It then revokes nothing and returns [ErrUnknownPepper]. So a
// program that calls RevokeLeaked needs the same CredentialConfig as the service.
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
	_, err = v.matchSecret(v.hasher.Fast, key, key.ID, text)
	pepper, unknown := errors.AsType[*pepperRejection](err)
	switch {
	case v.expired(key):
		return AccessKey{}, ErrInvalidCredentials
	case unknown: // not err, because err matches ErrInvalidCredentials
		return AccessKey{}, fmt.Errorf("auth: the access key %s is not revoked: %w", key.ID,
			&pepper.unknownPepperError)
	case err != nil:
		return AccessKey{}, ErrInvalidCredentials
	}
	by := ByHost("auth.RevokeLeaked")
	if err := v.revoke(ctx, by, key.ID, key.UserID, eventkind.KeyLeaked); err != nil &&
		!errors.Is(err, ErrNotFound) {
		return AccessKey{}, err
	}
	return key.withoutHashes(), nil
}
