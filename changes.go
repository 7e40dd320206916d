package auth

import (
	"fmt"
	"strings"
	"time"
)

// UserChange says what to change of a user; a nil field stays as it is.
type UserChange struct {
	IsSuperUser *bool
	IsActive    *bool
}

// Apply returns the user with what is changed, for implementations of
// [UserStore.UpdateUser].
func (c UserChange) Apply(user User) User {
	if c.IsSuperUser != nil {
		user.IsSuperUser = *c.IsSuperUser
	}
	if c.IsActive != nil {
		user.IsActive = *c.IsActive
	}
	return user
}

// String returns what is changed, such as "is_super_user=true is_active=false".
func (c UserChange) String() string {
	var changes []string
	if c.IsSuperUser != nil {
		changes = append(changes, fmt.Sprintf("is_super_user=%t", *c.IsSuperUser))
	}
	if c.IsActive != nil {
		changes = append(changes, fmt.Sprintf("is_active=%t", *c.IsActive))
	}
	return strings.Join(changes, " ")
}

// KeyRotation gives an access key a new secret.
type KeyRotation struct {
	Hash string    // of the new secret
	At   time.Time // now

	// PreviousUntil is how long the secret of until now works too. The zero time
	// means no longer.
	PreviousUntil time.Time
}

// Apply returns the key as it is after the rotation, for implementations of
// [CredentialStore.RotateKey], which round its times to what they keep first. It
// returns ErrNotFound if the key has expired, and ErrRotating if its PreviousHash still
// works.
func (r KeyRotation) Apply(key AccessKey) (AccessKey, error) {
	switch {
	case !key.ExpiresAt.IsZero() && !key.ExpiresAt.After(r.At):
		return AccessKey{}, fmt.Errorf("auth: the access key has expired: %w", ErrNotFound)
	case key.PreviousUntil.After(r.At):
		return AccessKey{}, ErrRotating
	}
	key.PreviousHash, key.PreviousUntil = "", r.PreviousUntil
	if !r.PreviousUntil.IsZero() {
		key.PreviousHash = key.Hash
	}
	key.Hash = r.Hash
	return key, nil
}
