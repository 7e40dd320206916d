package storekit

import (
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/scope"
	"github.com/sallyport-go/auth/internal/token"
)

// rotateOnly are the scopes of a session that a key opened which must be rotated.
var rotateOnly = auth.NewScopes(auth.ScopeRotate)

// Acting is what a store knows about the authority of a change. A store reads it inside the transaction of
// the change, after it has locked the record of the user.
//
// The methods return an error if the authority may not make the change. The store must then change nothing.
// An authority with a Host may make every change. [auth.Authority] lists the errors.
type Acting struct {
	By auth.Authority // the By of the [auth.Write]

	// Now is the time of the change: the Now of the [auth.Write], truncated to the microsecond.
	Now time.Time

	// Session is the session with the ID By.SessionID, or zero if there is none.
	Session auth.Session

	// User is the user with the ID By.UserID, or zero if there is none. A store that keeps no users sets
	// only the ID of the User, to By.UserID.
	User auth.User

	// RevokedBelow is the greatest Generation of those entries of the revocation feed that revoke all
	// sessions of this user or of all users. It is zero if there is no such entry. The store must first lock
	// the user's record, and then read this Generation in a separate statement.
	RevokedBelow int64
}

// Check returns an error unless the authority holds. Every method with an [auth.Write] calls it.
func (a Acting) Check() error {
	if a.By.Host != "" {
		return nil
	}
	switch {
	case a.By.Actor != "":
		return auth.ErrDelegated
	case a.By.SessionID == "" || a.Session.ID != a.By.SessionID || a.Session.UserID != a.By.UserID ||
		a.Session.Generation < a.RevokedBelow:
		return token.ErrRevoked
	case !a.Session.ExpiresAt.After(a.Now):
		return token.ErrSessionExpired
	case a.Session.Audience != "":
		return token.ErrSessionAudience
	}
	if keptByHost := a.User == (auth.User{ID: a.By.UserID}); !keptByHost {
		switch {
		case a.User.ID != a.By.UserID || !a.User.IsActive:
			return token.ErrUserDisabled
		case a.By.SuperUser && !a.User.IsSuperUser:
			return auth.ErrSuperUserRequired
		}
	}
	switch {
	case a.By.Scope != "" && !a.Session.Scopes.Allows(a.By.Scope):
		return &auth.InsufficientScopeError{Scope: a.By.Scope}
	case a.By.Scope == "" && a.Session.Scopes.Equal(rotateOnly):
		return &auth.InsufficientScopeError{Scope: auth.ScopeRotate}
	case a.By.MaxAge > 0 && a.isTooOld():
		return auth.ErrSessionTooOld
	}
	return nil
}

// isTooOld reports whether the session is older than the MaxAge of the authority. Nobody has signed in at a
// device, so its session has no age.
func (a Acting) isTooOld() bool {
	return a.Session.Method == auth.MethodDevice || !a.Now.Before(a.Session.CreatedAt.Add(a.By.MaxAge))
}

// CheckGrant returns an *[auth.InsufficientScopeError] if the authority is a limited session and the granted
// scopes are not within the scopes of the session. So a session cannot give itself or others more power
// than it has.
//
// A store calls CheckGrant after [Acting.Check] and [auth.Authority.CheckOwner] in these cases:
//
//   - If a change revokes an access key, granted is the Scopes of the key.
//   - If a change links a GitHub account or forgets one, granted is nil, because somebody can then sign in
//     without a limit. Only a session without a limit can grant nil.
//
// Other changes that give power call another method in place of CheckGrant.
func (a Acting) CheckGrant(granted *auth.ScopeSet) error {
	if a.By.Host != "" {
		return nil
	}
	return granted.CheckWithin(a.Session.Scopes)
}

// CheckKeyGrant does the same as [Acting.CheckGrant] for the Scopes of an access key, and also returns an
// *[auth.InsufficientScopeError] if the authority is the limited session of another user and the owner is a
// service user with Audiences. With a key of the service user, the session could get delegated tokens for
// services that it cannot call itself. So it must not get or change such a key, whatever the Scopes are.
//
// [auth.CredentialStore.AddKey] calls CheckKeyGrant. [auth.CredentialStore.SetKeyScopes] calls it for the
// earlier and for the new Scopes. The owner argument is the record of the key's user, which the store has
// locked. A store that keeps no users passes User{ID: key.UserID}.
func (a Acting) CheckKeyGrant(owner auth.User, granted *auth.ScopeSet) error {
	if scope.GivesDelegation(owner.Audiences, owner.ID, a.By.UserID) {
		granted = nil
	}
	return a.CheckGrant(granted)
}

// CheckUserChange returns an *[auth.InsufficientScopeError] if the authority is a limited session that must
// not make the change. The user argument is the user before the change. [auth.UserStore.UpdateUser] calls it.
//
// A limited session cannot make a change that gives power: see [auth.UserChange.GivesPower]. It also cannot
// change the username of a super user, because other people know the super user by this name. It can change
// the username of every other user, and it can remove an e-mail address.
func (a Acting) CheckUserChange(user auth.User, change auth.UserChange) error {
	if change.GivesPower() || change.Username != nil && user.IsSuperUser {
		return a.CheckGrant(nil)
	}
	return nil
}

// CheckReset returns an *[auth.InsufficientScopeError] if the authority is a limited session that must not
// reset the user and add the key. The user argument is the user before the change. [auth.UserStore.ResetUser]
// calls it.
//
// CheckReset calls [Acting.CheckKeyGrant] for the Scopes of the key, because the user cannot sign in with
// anything else. A limited session cannot make the user a super user. It also cannot enable a user who has an
// e-mail address: see [auth.UserChange.GivesPower].
func (a Acting) CheckReset(user auth.User, change auth.UserChange, key auth.AccessKey) error {
	granted := key.Scopes
	if change.IsSuperUser != nil && *change.IsSuperUser ||
		change.IsActive != nil && *change.IsActive && !user.IsActive && user.Email != "" {
		granted = nil
	}
	return a.CheckKeyGrant(user, granted)
}

// CheckNewUser calls [Acting.CheckGrant] for the Scopes of each key of a new user, and returns the first
// error. The methods that add users call it, such as [auth.UserStore.Register].
//
// Whatever the keys are, a limited session cannot add a super user, or a user with an e-mail address: see
// [auth.UserChange.GivesPower]. It also cannot add a service user with Audiences, because with delegated
// tokens, the service user could act where the session cannot.
func (a Acting) CheckNewUser(user auth.User, keys ...auth.AccessKey) error {
	if user.IsSuperUser || user.Email != "" || user.Audiences != "" {
		return a.CheckGrant(nil)
	}
	for _, key := range keys {
		if err := a.CheckGrant(key.Scopes); err != nil {
			return err
		}
	}
	return nil
}

// CheckRotation returns an *[auth.InsufficientScopeError] if the authority may not rotate the key.
// [auth.CredentialStore.RotateKey] calls it in place of [Acting.CheckGrant]. The owner argument is the record
// of the key's user.
//
// If [auth.AccessKey.MustRotate] is set, only a session that this key opened, and an authority with a Host,
// may rotate the key. Otherwise, somebody else than the owner would know the new secret, too. A session with
// [auth.ScopeRotate] can rotate no other key. In all other cases, CheckRotation does the same as
// [Acting.CheckKeyGrant] for the Scopes of the key.
func (a Acting) CheckRotation(owner auth.User, key auth.AccessKey) error {
	mayOnlyRotate := a.Session.Scopes.Equal(rotateOnly)
	switch {
	case a.By.Host != "":
		return nil
	case key.MustRotate && a.Session.AccessKeyID == key.ID && mayOnlyRotate:
		return nil
	case key.MustRotate, mayOnlyRotate:
		return &auth.InsufficientScopeError{Scope: auth.ScopeRotate}
	}
	return a.CheckKeyGrant(owner, key.Scopes)
}
