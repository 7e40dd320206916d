package auth

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Authority says on whose behalf a lasting change is made, and what must hold when the change
// commits. A store checks it inside the transaction of the change. The zero value is refused.
//
// [ByHost] makes the authority of the host. [Identity.Authority] makes that of a caller's session.
type Authority struct {
	// Host names the part of the host, or the operator, that makes the change, if no session
	// does: at most 64 bytes, such as "billing". The other fields are empty then. Names that
	// begin with "auth." are reserved for this package.
	Host string

	// SessionID and UserID are the session that makes the change, and its user. The session
	// must be live, and the user must be active.
	SessionID string
	UserID    string

	// SuperUser means that the user must be a super user. A session without it changes only
	// records of its own user. A store that keeps no users cannot check it: the methods of this
	// package ask the [UserSource] before the change, and what it says counts from the return of
	// RevokeUser.
	SuperUser bool

	// MaxAge, if positive, is the maximum age of the session.
	MaxAge time.Duration
}

// ByHost returns the authority of a part of the host where no session acts, such as
// ByHost("billing"). Nothing is checked for it: the host vouches for the change.
func ByHost(name string) Authority { return Authority{Host: name} }

// Authority returns the authority of the identity's session, for changes that its user may make.
// Set its SuperUser for a change that only super users may make.
func (i Identity) Authority() Authority {
	return Authority{SessionID: i.SessionID, UserID: i.UserID}
}

// Validate returns an [InvalidError] unless the authority names either a part of the host or a
// session with its user.
func (a Authority) Validate() error {
	switch {
	case a.Host != "" && a != ByHost(a.Host):
		return invalidf("authority", "must be of the host or of a session, not of both")
	case a.Host != "":
		return checkID("authority", a.Host, MaxIDLength)
	case a.MaxAge < 0:
		return invalidf("authority", "must not have a negative MaxAge")
	}
	return cmp.Or(checkID("session_id", a.SessionID, MaxIDLength), checkID("user_id", a.UserID, MaxIDLength))
}

// reservedHosts begins the names of authorities that only this package uses.
const reservedHosts = "auth."

// checkHost returns an error if a host gives an authority that it must not give.
func (a Authority) checkHost() error {
	if strings.HasPrefix(a.Host, reservedHosts) {
		return invalidf("authority", "must not begin with %q", reservedHosts)
	}
	return a.Validate()
}

// Check returns an error unless the authority holds at the time now. A store calls it inside the
// transaction of the change, after it has locked the user's record, and changes nothing if it
// returns an error.
//
// The session and the user are the records that the store has of SessionID and UserID, or zero if
// there is none. A store that keeps no users passes User{ID: UserID}. Of the entries in the
// revocation feed that revoke all sessions of this user or of everybody, revokedBelow is the
// greatest Generation, read in a statement after the lock; zero if there is none.
//
// It returns ErrTokenRejected if the session is not live or the user is not active,
// ErrSuperUserRequired if the user must be a super user and is not, and ErrSessionTooOld if the
// session is older than MaxAge. If Host is set, it returns nil.
func (a Authority) Check(now time.Time, session Session, user User, revokedBelow int64) error {
	if a.Host != "" {
		return nil
	}
	switch {
	case a.SessionID == "" || session.ID != a.SessionID || session.UserID != a.UserID || session.Generation < revokedBelow:
		return errRevoked
	case !session.ExpiresAt.After(now):
		return errSessionExpired
	}
	if ofHost := user == (User{ID: a.UserID}); !ofHost {
		switch {
		case user.ID != a.UserID || !user.IsActive:
			return errCallerDisabled
		case a.SuperUser && !user.IsSuperUser:
			return ErrSuperUserRequired
		}
	}
	if a.MaxAge > 0 && !now.Before(session.CreatedAt.Add(a.MaxAge)) {
		return ErrSessionTooOld
	}
	return nil
}

// CheckOwner returns ErrNotFound if the authority is that of a session which is to change a
// record of another user without being a super user's. A store calls it with the record's UserID.
func (a Authority) CheckOwner(userID string) error {
	if a.Host == "" && !a.SuperUser && userID != a.UserID {
		return fmt.Errorf("auth: record of the caller: %w", ErrNotFound)
	}
	return nil
}

// Write goes into every method of a store that leaves something lasting. [AccountStore] says what
// a store does with it.
type Write struct {
	// By is who makes the change.
	By Authority

	// Event is the record of the change for the audit trail. A store that is an [EventStore]
	// adds it in the transaction of the change, unless its Kind is empty, and sets its ID and
	// At. If its UserID is empty and the change is about one user, the store sets it to that
	// user, and likewise GitHub to the account.
	Event Event

	// Deliver means that the event waits for [EventStore.ClaimEvent].
	Deliver bool

	// Now is the clock. A store calls it after it has locked what it decides by.
	Now func() time.Time

	// MaxTokenLifetime is how long a token can be valid that is issued now. An entry of the
	// feed that revokes all sessions of a user lives that long, also if the store has no
	// session of the user.
	MaxTokenLifetime time.Duration
}

// Validate returns an [InvalidError] if a store cannot make the change: the authority or the
// event is not valid, or there is no clock.
func (w Write) Validate() error {
	switch {
	case w.Now == nil:
		return invalidf("now", "must be a clock")
	case w.MaxTokenLifetime < 0:
		return invalidf("max_token_lifetime", "must not be negative")
	}
	return cmp.Or(w.By.Validate(), w.Event.validate())
}

// validate returns an [InvalidError] for the first field that no store may keep.
func (e Event) validate() error {
	if e.Kind == "" {
		return nil
	}
	return cmp.Or(
		checkText("kind", string(e.Kind), MaxIDLength),
		checkText("user_id", e.UserID, MaxIDLength),
		checkText("actor_id", e.ActorID, MaxIDLength),
		checkText("host", e.Host, MaxIDLength),
		checkText("session_id", e.SessionID, MaxIDLength),
		checkText("access_key", e.AccessKey, MaxAccessKeyLength),
		checkText("method", string(e.Method), MaxIDLength),
		checkText("host", e.GitHub.Host, MaxGitHubHostLength),
		checkText("reason", e.Reason, maxReasonLength),
		checkText("user_agent", e.Client.UserAgent, maxUserAgentLength),
		checkText("request_id", e.Client.RequestID, maxUserAgentLength),
	)
}
