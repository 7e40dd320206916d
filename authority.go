package auth

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/scope"
)

// Authority says who makes a lasting change: a part of the host program, or the session of a user.
// It also says which conditions the user and the session must meet when the change commits. A store
// checks the authority inside the transaction of the change. The zero Authority is never accepted.
//
// [ByHost] returns the authority of a part of the host. [Identity.Authority] returns the authority
// of a caller's session.
type Authority struct {
	// Host is the name of the part of the host program that makes the change without a session,
	// such as "billing". It can also be the name of an operator. If Host is set, the other fields
	// must be zero. Host is at most 64 bytes long. Names that begin with "auth." are reserved for
	// this package.
	Host string

	// SessionID is the ID of the session that makes the change, and UserID is the ID of its user.
	// The session must be neither revoked nor expired, it must not have an Audience, and the user must
	// be active.
	SessionID string
	UserID    string

	// SuperUser requires that the user is a super user. If SuperUser is false, the session can
	// change only records of its own user.
	//
	// A store that keeps no users cannot check whether the user is a super user. The methods of
	// this package therefore ask the [UserSource] before the transaction of the change. If a user
	// loses the role in the host's table, the host must call [Service.RevokeUser]. After that call
	// has returned, the user's old sessions can make no change.
	SuperUser bool

	// MaxAge, if positive, is the maximum age of the session. Zero means any age.
	MaxAge time.Duration

	// Scope is the scope that a limited session needs for the change: see [ScopeSet]. If Scope is empty, a
	// method of this package uses the scope of the corresponding HTTP call, such as [ScopeKeys]. If Scope
	// is set, the method requires this scope instead.
	//
	// If Scope is empty, [Authority.Check] accepts every session, except one that has only [ScopeRotate].
	Scope string

	// Actor is the ID of the service user that a delegated token names, or empty: see
	// [TokenIssuer.Delegate]. Delegated tokens are for other services, so [Authority.Check] never accepts
	// an authority with an Actor.
	Actor string
}

// ByHost returns the authority of a part of the host program that needs no session, such as
// ByHost("billing"). [Authority.Check] always accepts this authority, because a store trusts the
// host.
func ByHost(name string) Authority { return Authority{Host: name} }

// Validate returns an [InvalidError] unless the authority names either a part of the host program,
// or both a session and the session's user.
func (a Authority) Validate() error {
	switch {
	case a.Host != "" && a != ByHost(a.Host):
		return invalidf("authority", "must be of the host or of a session, not of both")
	case a.Host != "":
		return checkID("authority", a.Host, MaxIDLength)
	case a.MaxAge < 0:
		return invalidf("authority", "must not have a negative MaxAge")
	case a.Scope != "" && !scope.IsName(a.Scope):
		return invalidf("authority", "must have a valid Scope")
	}
	return cmp.Or(checkID("session_id", a.SessionID, MaxIDLength), checkID("user_id", a.UserID, MaxIDLength),
		checkText("actor", a.Actor, MaxIDLength))
}

// reservedHostPrefix is the beginning of Host names that only this package may use.
const reservedHostPrefix = "auth."

// requireSession returns an [InvalidError] if the authority is that of a host.
func (a Authority) requireSession() error {
	if a.SessionID == "" {
		return invalidf("authority", "must be that of a session")
	}
	return nil
}

// checkHost returns an [InvalidError] if the authority is not valid or if its Host is reserved.
func (a Authority) checkHost() error {
	if strings.HasPrefix(a.Host, reservedHostPrefix) {
		return invalidf("authority", "must not begin with %q", reservedHostPrefix)
	}
	return a.Validate()
}

// Check returns an error unless the authority holds at the given time. An authority with a Host
// always holds. A store calls Check inside the transaction of the change, after it has locked the
// user's record. If Check returns an error, the store must change nothing.
//
// The store reads the other parameters from its records:
//
//   - The parameter session is the session with the ID SessionID, or zero if there is none.
//   - The parameter user is the user with the ID UserID, or zero if there is none. A store that
//     keeps no users passes User{ID: UserID}.
//   - The parameter revokedBelow is the greatest Generation of those entries of the revocation feed
//     that revoke all sessions of this user or of all users. It is zero if there is no such entry.
//     The store must first lock the user's record, and then read this Generation in a separate
//     statement.
//
// Check returns ErrDelegated if the authority has an Actor, whatever else holds. Otherwise, it returns
// ErrTokenRejected if the session does not exist, is revoked, has expired or has an Audience, or if the
// user is not active. It returns ErrSuperUserRequired if the user must be a super user and is not,
// ErrSessionTooOld if the session is older than MaxAge, or if MaxAge is set and the session is that of a
// device, at which nobody has signed in. It returns an *[InsufficientScopeError] if the session lacks the
// Scope. A session that has only [ScopeRotate] also lacks an empty Scope, because it can only
// rotate an access key.
func (a Authority) Check(now time.Time, session Session, user User, revokedBelow int64) error {
	if a.Host != "" {
		return nil
	}
	switch {
	case a.Actor != "":
		return ErrDelegated
	case a.SessionID == "" || session.ID != a.SessionID || session.UserID != a.UserID ||
		session.Generation < revokedBelow:
		return errRevoked
	case !session.ExpiresAt.After(now):
		return errSessionExpired
	case session.Audience != "":
		return errOtherAudience
	}
	if keptByHost := user == (User{ID: a.UserID}); !keptByHost {
		switch {
		case user.ID != a.UserID || !user.IsActive:
			return errCallerDisabled
		case a.SuperUser && !user.IsSuperUser:
			return ErrSuperUserRequired
		}
	}
	switch {
	case a.Scope != "" && !session.Scopes.Allows(a.Scope):
		return &InsufficientScopeError{Scope: a.Scope}
	case a.Scope == "" && session.Scopes.Equal(rotateOnly):
		return &InsufficientScopeError{Scope: ScopeRotate}
	case a.MaxAge > 0 && (session.Method == MethodDevice || !now.Before(session.CreatedAt.Add(a.MaxAge))):
		return ErrSessionTooOld
	}
	return nil
}

// CheckOwner returns ErrNotFound if the authority is not allowed to change a record of the given
// user. If SuperUser is false, a session is allowed to change only records of its own user. A store
// passes the UserID of the record to be changed. If the change is not about exactly one user, the
// store passes "".
func (a Authority) CheckOwner(userID string) error {
	if a.Host == "" && !a.SuperUser && userID != a.UserID {
		return fmt.Errorf("auth: Authority.SuperUser must be set to change another user's record: %w",
			ErrNotFound)
	}
	return nil
}

// CheckGrant returns an *[InsufficientScopeError] if the authority is a limited session and the granted
// scopes are not within the scopes of the session. So a session cannot give itself or others more power
// than it has. An authority with a Host can grant everything.
//
// A store calls CheckGrant after Check, with the same session, in these cases:
//
//   - If a change revokes an access key, granted is the Scopes of the key. If a change adds a key or sets its
//     Scopes, the store calls [Authority.CheckKeyGrant] instead. If a change rotates a key, the store calls
//     [Authority.CheckRotation] instead.
//   - If a change links a GitHub account or forgets one, granted is nil, because somebody can then sign in
//     without a limit. Only a session without a limit can grant nil.
//   - If a change adds a user, the store calls [Authority.CheckNewUser] instead. If [UserStore.UpdateUser]
//     changes a user, the store calls [Authority.CheckUserChange] instead. [UserStore.ResetUser] calls
//     [Authority.CheckReset] instead.
func (a Authority) CheckGrant(session Session, granted *ScopeSet) error {
	if a.Host != "" || granted.Within(session.Scopes) {
		return nil
	}
	if granted == nil {
		return &InsufficientScopeError{}
	}
	return &InsufficientScopeError{Scope: scope.Missing(granted.text, session.Scopes.text)}
}

// CheckKeyGrant does the same as [Authority.CheckGrant] for the Scopes of an access key, and also returns an
// *[InsufficientScopeError] if the authority is the limited session of another user and the owner is a
// service user with Audiences. With a key of the service user, the session could get delegated tokens for
// services that it cannot call itself. So it must not get or change such a key, whatever the Scopes are.
//
// A store calls CheckKeyGrant after Check and CheckOwner, with the same session, if a change adds a key, or
// sets the Scopes of one. For such a key, it calls CheckKeyGrant for the earlier and for the new Scopes. The
// owner argument is the record of the key's user, which the store has locked. A store that keeps no users
// passes User{ID: key.UserID}.
func (a Authority) CheckKeyGrant(session Session, owner User, granted *ScopeSet) error {
	if owner.Audiences != "" && owner.ID != a.UserID {
		granted = nil
	}
	return a.CheckGrant(session, granted)
}

// CheckUserChange returns an *[InsufficientScopeError] if the authority is a limited session that must not
// make the change. The user argument is the user before the change. A limited session cannot make a change
// that gives power: see [UserChange.GivesPower]. It also cannot change the username of a super user, because
// other people know the super user by this name. It can change the username of every other user, and it can
// remove an e-mail address.
func (a Authority) CheckUserChange(session Session, user User, change UserChange) error {
	if change.GivesPower() || change.Username != nil && user.IsSuperUser {
		return a.CheckGrant(session, nil)
	}
	return nil
}

// CheckReset returns an *[InsufficientScopeError] if the authority is a limited session that must not reset
// the user and add the key. It calls [Authority.CheckKeyGrant] for the Scopes of the key, because the user
// cannot sign in with anything else. A limited session cannot make the user a super user. It also cannot
// enable a user who has an e-mail address: see [UserChange.GivesPower]. The user argument is the user before
// the change.
func (a Authority) CheckReset(session Session, user User, change UserChange, key AccessKey) error {
	granted := key.Scopes
	if change.IsSuperUser != nil && *change.IsSuperUser ||
		change.IsActive != nil && *change.IsActive && !user.IsActive && user.Email != "" {
		granted = nil
	}
	return a.CheckKeyGrant(session, user, granted)
}

// CheckNewUser calls [Authority.CheckGrant] for the Scopes of each key of a new user, and returns the first
// error. Whatever the keys are, a limited session cannot add a super user, or a user with an e-mail address:
// see [UserChange.GivesPower]. It also cannot add a service user with Audiences, because with delegated
// tokens, the service user could act where the session cannot.
func (a Authority) CheckNewUser(session Session, user UserWithKeys) error {
	if user.User.IsSuperUser || user.User.Email != "" || user.User.Audiences != "" {
		return a.CheckGrant(session, nil)
	}
	for _, key := range user.Keys {
		if err := a.CheckGrant(session, key.Scopes); err != nil {
			return err
		}
	}
	return nil
}

// CheckRotation returns an *[InsufficientScopeError] if the authority may not rotate the key. A store calls
// it in [CredentialStore.RotateKey] instead of [Authority.CheckGrant], after Check, with the same session.
//
// If [AccessKey.MustRotate] is set, only a session that this key opened, and an authority with a Host, may
// rotate the key. Otherwise, somebody else than the owner would know the new secret, too. A session with
// [ScopeRotate] can rotate no other key. In all other cases, CheckRotation does the same as CheckKeyGrant for
// the Scopes of the key. The owner argument is the record of the key's user.
func (a Authority) CheckRotation(session Session, owner User, key AccessKey) error {
	switch {
	case a.Host != "":
		return nil
	case key.MustRotate && session.AccessKeyID == key.ID && session.Scopes.Equal(rotateOnly):
		return nil
	case key.MustRotate, session.Scopes.Equal(rotateOnly):
		return &InsufficientScopeError{Scope: ScopeRotate}
	}
	return a.CheckKeyGrant(session, owner, key.Scopes)
}

// OpenedBy returns the session as the access key may open it. If the key expires before the session, the
// returned session has the ExpiresAt of the key. If the Scopes of the session are nil, the returned session
// has the Scopes of the key. If the key's MustRotate is set, OpenedBy uses [ScopeRotate] in place of the
// Scopes of the key, and accepts no other Scopes. A store calls OpenedBy in [SessionStore.CreateSession],
// after it has locked the key, and stores the returned session.
//
// OpenedBy returns ErrNotFound if the key belongs to another user or has expired at the session's CreatedAt.
// It returns an *[InsufficientScopeError] if the Scopes of the session are not within those of the key.
func (s Session) OpenedBy(key AccessKey) (Session, error) {
	if key.UserID != s.UserID || !key.ExpiresAt.IsZero() && !key.ExpiresAt.After(s.CreatedAt) {
		return s, ErrNotFound
	}
	if !key.ExpiresAt.IsZero() && key.ExpiresAt.Before(s.ExpiresAt) {
		s.ExpiresAt = key.ExpiresAt
	}
	scopes := key.sessionScopes()
	if s.Scopes == nil {
		s.Scopes = scopes
	}
	if s.Scopes.Equal(rotateOnly) != key.MustRotate { // such as a sign-in with a secret that was just rotated
		return s, &InsufficientScopeError{Scope: ScopeRotate}
	}
	if !s.Scopes.Within(scopes) {
		return s, &InsufficientScopeError{Scope: scope.Missing(s.Scopes.text, scopes.text)}
	}
	return s, nil
}

// ExtendedTo returns the session with a later end. A store calls it in [SessionStore.ExtendSession], after it
// has locked the access key that opened the session, and stores the returned session. The key argument is
// zero if no key opened the session.
//
// If the key expires before the given time, the session ends with the key. The returned session never ends
// earlier than before. ExtendedTo returns an *[InvalidError] if the time is out of range, and the errors of
// [Session.OpenedBy] if the key could no longer open a session with the same scopes.
func (s Session) ExtendedTo(until time.Time, key AccessKey) (Session, error) {
	longer := s
	longer.ExpiresAt = until
	if s.AccessKeyID != "" {
		opened, err := longer.OpenedBy(key)
		if err == nil && !opened.Scopes.Equal(s.Scopes) { // the key was limited meanwhile
			err = &InsufficientScopeError{}
		}
		if err != nil {
			return s, err
		}
		longer = opened
	}
	if !longer.ExpiresAt.After(s.ExpiresAt) {
		return s, nil
	}
	return longer, longer.Validate()
}
