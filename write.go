package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	case a.SessionID == "" || session.ID != a.SessionID || session.UserID != a.UserID ||
		session.Generation < revokedBelow:
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

// EventKind says what has happened.
type EventKind string

// The kinds of event. docs/events.md says when each happens and which fields it sets.
const (
	EventSignedIn            EventKind = "sign_in.accepted"
	EventSignInRejected      EventKind = "sign_in.rejected"
	EventSignInThrottled     EventKind = "sign_in.throttled"
	EventTokenRejected       EventKind = "token.rejected"
	EventAccessRefused       EventKind = "access.refused"
	EventSessionRevoked      EventKind = "session.revoked"
	EventUserSessionsRevoked EventKind = "user.sessions_revoked"
	EventKeyIssued           EventKind = "key.issued"
	EventKeyImported         EventKind = "key.imported"
	EventKeyRotated          EventKind = "key.rotated"
	EventKeyRevoked          EventKind = "key.revoked"
	EventKeyLeaked           EventKind = "key.leaked"
	EventUserCreated         EventKind = "user.created"
	EventUsersImported       EventKind = "user.imported"
	EventUserChanged         EventKind = "user.changed"
	EventUserReset           EventKind = "user.reset"
	EventUserDeleted         EventKind = "user.deleted"
	EventBootstrapped        EventKind = "super_user.bootstrapped"
	EventSuperUserRecovered  EventKind = "super_user.recovered"
	EventGitHubConnected     EventKind = "github.connected"
	EventGitHubRejected      EventKind = "github.rejected"
	EventGitHubDisconnected  EventKind = "github.disconnected"
	EventGitHubUnlinked      EventKind = "github.unlinked"
	EventGitHubRefreshed     EventKind = "github.refreshed"
	EventGitHubLost          EventKind = "github.lost"
	EventGitHubForgotten     EventKind = "github.forgotten"
	EventEverybodyRevoked    EventKind = "everybody.sessions_revoked"
	EventCommitsLost         EventKind = "store.commits_lost"
)

// Event is something that has happened. It never contains a secret. A field that is unknown,
// or that the event is not about, is zero.
type Event struct {
	// ID identifies an event of the audit trail; at most [MaxIDLength] bytes. It is empty for
	// an event that is in no trail. OnEvent may be called more than once with an event of the
	// trail: the ID tells.
	ID string

	Kind EventKind
	At   time.Time

	// UserID is the user the event is about, and ActorID the user who caused it: the same user
	// for what users do themselves, the caller for what the host does in a request that a
	// middleware has authenticated, and else empty. Host is the part of the host that acts, as
	// in [Authority].
	UserID  string
	ActorID string
	Host    string

	// SessionID is the session the event is about, or else the session that caused it.
	SessionID string
	AccessKey string // never a text that a client only claims, unless it has the form of a key
	Method    SignInMethod
	GitHub    GitHubAccount

	// Reason is why something was rejected, or how it was changed. It is for people to read.
	Reason string

	Client ClientInfo // the client that sent the request
}

// EventFilter says which events of the audit trail are listed. The zero value lists all of them.
type EventFilter struct {
	UserID string    // only events about this user, if not empty
	Kind   EventKind // only events of this kind, if not empty

	// Before is the ID of an event: only events that come after it in the list, that is, older
	// ones. Empty begins with the newest.
	Before string
}

// LogValue returns the fields of the event that are set, for log/slog.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("kind", string(e.Kind))}
	for _, field := range []struct{ name, value string }{
		{"event_id", e.ID}, {"user_id", e.UserID}, {"actor_id", e.ActorID}, {"by_host", e.Host}, {"session_id", e.SessionID}, {"access_key", e.AccessKey},
		{"method", string(e.Method)}, {"github_host", e.GitHub.Host}, {"reason", e.Reason},
		{"address", e.Client.address()}, {"user_agent", e.Client.UserAgent}, {"request_id", e.Client.RequestID},
	} {
		if field.value != "" {
			attrs = append(attrs, slog.String(field.name, field.value))
		}
	}
	if e.GitHub.ID != 0 {
		attrs = append(attrs, slog.Int64("github_id", e.GitHub.ID))
	}
	return slog.GroupValue(attrs...)
}

func (e Event) isRejection() bool {
	return strings.HasSuffix(string(e.Kind), ".rejected") ||
		strings.HasSuffix(string(e.Kind), ".throttled") ||
		e.Kind == EventAccessRefused
}

// setSubject sets the user and the session that a rejection is about, if err knows them.
func (e *Event) setSubject(err error) {
	if subject, ok := errors.AsType[*rejection](err); ok {
		e.UserID, e.SessionID = subject.userID, subject.sessionID
	}
}

// Hooks are functions of the host that measure. A nil hook costs nothing. Hooks are called
// within requests and concurrently, so they must return at once. A panic in a hook is logged and
// does not harm the request. [ErrorStatus] tells errors that reject a request from failures.
// Module otelauth makes Hooks for OpenTelemetry.
type Hooks struct {
	// SignIn is called after each attempt to sign in, with its error, which is nil if the
	// attempt was accepted, and how long it took. The time of a sign-in with GitHub is that
	// of the callback.
	SignIn func(ctx context.Context, method SignInMethod, err error, took time.Duration)

	// Verify is called after each verification of a bearer token, with its error, which is
	// nil if the token was accepted. Cached reports whether the token was in the cache.
	Verify func(ctx context.Context, err error, cached bool, took time.Duration)
}

// eventClass is a class of events that has a share of the queue of its own, so that no class pushes
// out another: anybody can cause refusals, and any user can sign in again and again.
type eventClass int

const (
	classChange eventClass = iota
	classSignIn
	classRejectedSignIn
	classRejectedToken
	classOtherRefusal
	eventClasses
)

// eventShares are how many events of each class may wait for OnEvent. All that may wait take a
// megabyte or two.
var eventShares = [eventClasses]int32{
	classChange:         1024,
	classSignIn:         1024,
	classRejectedSignIn: 1024,
	classRejectedToken:  512,
	classOtherRefusal:   512,
}

func (e Event) class() eventClass {
	switch {
	case e.Kind == EventSignedIn, e.Kind == EventSessionRevoked: // any user can sign in and out for ever
		return classSignIn
	case e.Kind == EventSignInRejected:
		return classRejectedSignIn
	case e.Kind == EventTokenRejected:
		return classRejectedToken
	case e.isRejection():
		return classOtherRefusal
	}
	return classChange
}
