package auth

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/limits"
	"github.com/sallyport-go/auth/internal/scope"
)

// Authority says who makes a lasting change: a part of the host program, or the session of a user.
// It also says which conditions the user and the session must meet when the change commits. A store
// checks the authority inside the transaction of the change. The zero Authority is never accepted.
//
// [ByHost] returns the authority of a part of the host. [Identity.Authority] returns the authority
// of a caller's session.
//
// # Errors
//
// An authority with a Host, and no other field, may make every change. A change for a session returns, if
// several errors apply, the first of these:
//
//   - ErrDelegated, if the authority has an Actor
//   - ErrTokenRejected, if the session does not exist, is revoked, has expired or has an Audience, or if the
//     user is not active
//   - ErrSuperUserRequired, if SuperUser is set and the user is no super user
//   - an *[InsufficientScopeError], if the session lacks the Scope; a session that has only [ScopeRotate]
//     also lacks an empty Scope, because it can only rotate an access key
//   - ErrSessionTooOld, if MaxAge is set, and the session is older or is that of a device, at which
//     nobody has signed in
//   - ErrNotFound, if SuperUser is not set and the change is about another user; this error may also come
//     first
//   - an *[InsufficientScopeError], if the session is limited, and the change would give somebody power that
//     the session does not have: see [ScopeSet]
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
	// A store that keeps no users cannot check whether the user is a super user. The methods of this
	// package therefore ask the [UserSource] before the transaction of the change. If a user loses the role
	// in the host's table, the host must call [TokenIssuer.RevokeUser]. After that call has returned, the
	// user's old sessions can make no change.
	SuperUser bool

	// MaxAge, if positive, is the maximum age of the session. Zero means any age.
	MaxAge time.Duration

	// Scope is the scope that a limited session needs for the change: see [ScopeSet]. If Scope is empty, a
	// method of this package uses the scope of the corresponding HTTP call, such as [ScopeKeys]. If Scope
	// is set, the method requires this scope instead.
	//
	// If Scope is empty, every session is accepted, except one that has only [ScopeRotate].
	Scope string

	// Actor is the ID of the service user that a delegated token names, or empty: see
	// [TokenIssuer.Delegate]. Delegated tokens are for other services, so an authority with an Actor is
	// never accepted.
	Actor string
}

// ByHost returns the authority of a part of the host program that needs no session, such as
// ByHost("billing"). This authority is always accepted, because a store trusts the host.
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
	if flaw := limits.SessionFlaw(a.SessionID); flaw != "" {
		return &InvalidError{Field: "authority", Reason: flaw}
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

// needing returns the authority with the scope, unless the caller has set one.
func (a Authority) needing(name string) Authority {
	if a.Host == "" && a.Scope == "" {
		a.Scope = name
	}
	return a
}

// neededScope returns the scope that a limited session needs for a change with an event of this kind. For
// a change of another user's records, it is the scope for administration.
func neededScope(by Authority, kind eventkind.Kind) string {
	switch {
	case by.SuperUser:
		return ScopeUsers
	case kind == eventkind.SessionRevoked, kind == eventkind.UserSessionsRevoked:
		return ScopeSessions
	case strings.HasPrefix(string(kind), "key."):
		return ScopeKeys
	case strings.HasPrefix(string(kind), "github."):
		return ScopeGitHub
	}
	return ScopeUsers
}
