package storekit

import (
	"fmt"
	"time"

	"github.com/sallyport-go/auth"
)

// OpenSession returns the session as the access key may open it. A store calls it in
// [auth.SessionStore.CreateSession], after it has locked the key, and stores the returned session.
//
// If the key expires before the session, the returned session has the ExpiresAt of the key. If the Scopes of
// the session are nil, the returned session has the [auth.AccessKey.SessionScopes] of the key. If the key's
// MustRotate is set, OpenSession accepts no other Scopes.
//
// OpenSession returns ErrNotFound if the key belongs to another user or has expired at the session's
// CreatedAt. It returns an *[auth.InsufficientScopeError] if the Scopes of the session are not within those
// of the key.
func OpenSession(session auth.Session, key auth.AccessKey) (auth.Session, error) {
	if key.UserID != session.UserID || !key.ExpiresAt.IsZero() && !key.ExpiresAt.After(session.CreatedAt) {
		return session, auth.ErrNotFound
	}
	if !key.ExpiresAt.IsZero() && key.ExpiresAt.Before(session.ExpiresAt) {
		session.ExpiresAt = key.ExpiresAt
	}
	if session.Scopes == nil {
		session.Scopes = key.SessionScopes()
	}
	// They differ, for example, after a sign-in with a secret that was just rotated.
	if session.Scopes.Equal(rotateOnly) != key.MustRotate {
		return session, &auth.InsufficientScopeError{Scope: auth.ScopeRotate}
	}
	return session, session.Scopes.CheckWithin(key.SessionScopes())
}

// ExtendSession returns the session with a later end. A store calls it in [auth.SessionStore.ExtendSession],
// after it has locked the access key that opened the session, and stores the returned session. The key
// argument is zero if no key opened the session.
//
// If the key expires before the given time, the session ends with the key. The returned session never ends
// earlier than before. ExtendSession returns an *[auth.InvalidError] if the time is out of range, and the
// errors of [OpenSession] if the key could no longer open a session with the same scopes.
func ExtendSession(session auth.Session, until time.Time, key auth.AccessKey) (auth.Session, error) {
	longer := session
	longer.ExpiresAt = until
	if session.AccessKeyID != "" {
		opened, err := OpenSession(longer, key)
		if err == nil && !opened.Scopes.Equal(session.Scopes) { // the key was limited meanwhile
			err = &auth.InsufficientScopeError{}
		}
		if err != nil {
			return session, err
		}
		longer = opened
	}
	if !longer.ExpiresAt.After(session.ExpiresAt) {
		return session, nil
	}
	return longer, longer.Validate()
}

// RotateKey returns the key after the rotation, whose MustRotate is false. The parameter now is the time of
// the rotation, truncated to the precision of the store. A store calls RotateKey in
// [auth.CredentialStore.RotateKey], after [Acting.CheckRotation].
//
// RotateKey returns ErrNotFound if the key has expired, and ErrRotating if the key's PreviousHash still
// works. It returns an *[auth.InvalidError] if MustRotate is set and the rotation has an Overlap, because the
// previous secret must stop working.
func RotateKey(key auth.AccessKey, rotation auth.KeyRotation, now time.Time) (auth.AccessKey, error) {
	switch {
	case !key.ExpiresAt.IsZero() && !key.ExpiresAt.After(now):
		return auth.AccessKey{}, fmt.Errorf("auth: the access key has expired: %w", auth.ErrNotFound)
	case key.PreviousUntil.After(now):
		return auth.AccessKey{}, auth.ErrRotating
	case key.MustRotate && rotation.Overlap > 0:
		return auth.AccessKey{}, &auth.InvalidError{Field: "overlap_seconds",
			Reason: "must be 0, because the key must be rotated"}
	}
	key.MustRotate = false
	key.PreviousHash, key.PreviousUntil = "", time.Time{}
	if rotation.Overlap > 0 {
		key.PreviousHash, key.PreviousUntil = key.Hash, now.Add(rotation.Overlap)
	}
	key.Hash = rotation.Hash
	return key, nil
}

// ExpiryNoticeDue reports whether the key needs an event, because it expires soon: at the given time, it has
// not expired and expires within the duration lead. There must have been no event since the time at which the
// key began to expire within lead. If the key was created after that time, no event is due, because the
// person who chose the expiry knows it.
//
// A store calls it in [auth.CredentialStore.ListExpiringKeys] and in
// [auth.CredentialStore.RecordExpiryNotice].
func ExpiryNoticeDue(key auth.AccessKey, now time.Time, lead time.Duration) bool {
	begin := key.ExpiresAt.Add(-lead)
	return !key.ExpiresAt.IsZero() && key.ExpiresAt.After(now) && !begin.After(now) &&
		key.CreatedAt.Before(begin) && key.ExpiryNoticeAt.Before(begin)
}

// ChangeUser returns the user after the change. A store calls it in [auth.UserStore.UpdateUser] and in
// [auth.UserStore.ResetUser].
func ChangeUser(user auth.User, change auth.UserChange) auth.User {
	if change.IsSuperUser != nil {
		user.IsSuperUser = *change.IsSuperUser
	}
	if change.IsActive != nil {
		user.IsActive = *change.IsActive
	}
	if change.Username != nil {
		user.Username = *change.Username
	}
	if change.Email != nil {
		user.Email = *change.Email
	}
	return user
}
