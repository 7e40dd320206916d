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

// Authority names the host or the session that makes a lasting change, and the conditions that must
// hold when the change commits. A store checks it inside the transaction of the change. The zero
// value is refused.
//
// [ByHost] returns the authority of the host. [Identity.Authority] returns the authority of a
// caller's session.
type Authority struct {
	// Host names the part of the host, or the operator, that makes the change without a session,
	// such as "billing". If Host is set, the other fields must be zero. Host is at most 64 bytes
	// long. Names that begin with "auth." are reserved for this package.
	Host string

	// SessionID is the session that makes the change, and UserID its user. The session must be
	// live, and the user must be active.
	SessionID string
	UserID    string

	// SuperUser requires that the user is a super user. Without SuperUser, the session can change
	// only records of its own user.
	//
	// A store that keeps no users cannot check this. The methods of this package therefore ask
	// the [UserSource] before the change, outside its transaction. A user who loses the role in
	// the host's table can make no further change once [Service.RevokeUser] has returned.
	SuperUser bool

	// MaxAge, if positive, is the maximum age of the session. Zero means any age.
	MaxAge time.Duration
}

// ByHost returns the authority of a part of the host that acts without a session, such as
// ByHost("billing"). A store checks nothing for it, because the host vouches for the change.
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
	}
	return cmp.Or(checkID("session_id", a.SessionID, MaxIDLength), checkID("user_id", a.UserID, MaxIDLength))
}

// reservedHostPrefix begins the Host of authorities that only this package may use.
const reservedHostPrefix = "auth."

// checkHost returns an [InvalidError] if a host must not pass this authority to this package.
func (a Authority) checkHost() error {
	if strings.HasPrefix(a.Host, reservedHostPrefix) {
		return invalidf("authority", "must not begin with %q", reservedHostPrefix)
	}
	return a.Validate()
}

// Check returns an error unless the authority holds at the time now. If Host is set, Check returns
// nil. A store calls Check inside the transaction of the change, after it has locked the user's
// record. If Check returns an error, the store must change nothing.
//
// The arguments are records of the store:
//
//   - session is the record of SessionID, or zero if there is none.
//   - user is the record of UserID, or zero if there is none. A store that keeps no users passes
//     User{ID: UserID}.
//   - revokedBelow is the greatest Generation of those entries in the revocation feed that revoke
//     all sessions of this user or of everybody, or zero if there is no such entry. The store reads
//     revokedBelow in a statement after the lock.
//
// Check returns ErrTokenRejected if the session is not live or the user is not active,
// ErrSuperUserRequired if the user must be a super user and is not, and ErrSessionTooOld if the
// session is older than MaxAge.
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
	if keptByHost := user == (User{ID: a.UserID}); !keptByHost {
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

// CheckOwner returns ErrNotFound unless the authority may change a record of the user with this ID.
// A session without SuperUser may change only records of its own user. A store calls CheckOwner
// with the UserID of the record.
func (a Authority) CheckOwner(userID string) error {
	if a.Host == "" && !a.SuperUser && userID != a.UserID {
		return fmt.Errorf("auth: record of the caller: %w", ErrNotFound)
	}
	return nil
}

// Write accompanies every lasting change of a store: the authority, the event and the clock.
// [AccountStore] describes what a store must do with it.
type Write struct {
	// By is the authority of the change.
	By Authority

	// Event is the event of the change for the audit trail. If the event's Kind is not empty, a
	// store that is an [EventStore] adds the event in the transaction of the change and sets the
	// event's ID and At. If UserID is empty and the change is about one user, the store sets UserID
	// to that user. If GitHub is empty and the change is about one account, the store sets GitHub
	// to that account.
	Event Event

	// Deliver asks the store to keep the event for [EventStore.ClaimEvent].
	Deliver bool

	// Now is the clock. A store calls it after it has locked the records that decide the
	// change.
	Now func() time.Time

	// MaxTokenLifetime is the longest time for which a token that is issued now can be valid. An
	// entry of the revocation feed that revokes all sessions of a user must stay in the feed for
	// this time, even if the store has no session of the user.
	MaxTokenLifetime time.Duration
}

// Validate returns an [InvalidError] if the authority or the event is not valid, if Now is nil, or
// if MaxTokenLifetime is negative. A store must not make such a change.
func (w Write) Validate() error {
	switch {
	case w.Now == nil:
		return invalidf("now", "must be a clock")
	case w.MaxTokenLifetime < 0:
		return invalidf("max_token_lifetime", "must not be negative")
	}
	return cmp.Or(w.By.Validate(), w.Event.validate())
}

// validate returns an [InvalidError] for the first field that is too long or is not text.
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

// EventKind is the kind of an [Event].
type EventKind string

// The kinds of events. docs/events.md says when each kind occurs and which fields it sets.
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

// Event describes a sign-in, a refusal or a lasting change. It never contains a secret. A field
// that is unknown or does not apply is zero.
type Event struct {
	// ID identifies an event of the audit trail; it is at most [MaxIDLength] bytes long. It is
	// empty for an event that is not in the trail. OnEvent may receive an event of the trail
	// more than once, each time with the same ID.
	ID string

	Kind EventKind
	At   time.Time

	UserID string // the user that the event is about

	// ActorID is the user who caused the event. It equals UserID if users act on themselves. If the
	// host acts in a request that a middleware has authenticated, ActorID is the caller of that
	// request. In every other case, ActorID is empty.
	ActorID string

	// Host is the part of the host that acts, as in [Authority].
	Host string

	// SessionID is the session that the event is about. If the event is about no session, SessionID
	// is the session that caused the event.
	SessionID string

	// AccessKey is the access key that the event is about. If a client sent the key and the store
	// has not confirmed it, AccessKey is set only if the text has the form of a generated key. Any
	// other text may be a secret.
	AccessKey string

	Method SignInMethod
	GitHub GitHubAccount

	// Reason says why a request was refused or what a change did. It is text for people.
	Reason string

	Client ClientInfo // the client that sent the request
}

// EventFilter selects events of the audit trail. The zero value selects all of them.
type EventFilter struct {
	UserID string    // selects events about this user; empty means any user
	Kind   EventKind // selects events of this kind; empty means any kind

	// Before is the ID of an event and selects the events that are older than it. Empty means
	// all events, beginning with the newest.
	Before string
}

// LogValue returns the nonzero fields of the event as a group, for log/slog.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("kind", string(e.Kind))}
	for _, field := range []struct{ name, value string }{
		{"event_id", e.ID}, {"user_id", e.UserID}, {"actor_id", e.ActorID}, {"by_host", e.Host},
		{"session_id", e.SessionID}, {"access_key", e.AccessKey},
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

// setSubject sets the user and the session of the event to those of err, if err is a rejection.
func (e *Event) setSubject(err error) {
	if subject, ok := errors.AsType[*rejection](err); ok {
		e.UserID, e.SessionID = subject.userID, subject.sessionID
	}
}

// Hooks are functions of the host that measure sign-ins and verifications. A nil hook costs
// nothing. Module otelauth makes Hooks for OpenTelemetry.
//
// Hooks are called within requests and concurrently, so they must return quickly. A panic in a hook
// is logged, and the request continues. [ErrorStatus] distinguishes errors that reject a request
// from failures.
type Hooks struct {
	// SignIn is called after each attempt to sign in. The err is nil if the attempt was
	// accepted. Took is the duration of the attempt; for a sign-in with GitHub, it is the
	// duration of the callback alone.
	SignIn func(ctx context.Context, method SignInMethod, err error, took time.Duration)

	// Verify is called after each verification of a bearer token. The err is nil if the token
	// was accepted. Cached reports whether the token was in the cache.
	Verify func(ctx context.Context, err error, cached bool, took time.Duration)
}

// eventClass is a class of events with a limit of its own in the queue. Anyone can cause any number
// of refusals, and any user can sign in any number of times. Because of the separate limits, such
// events cannot push out the events of other classes.
type eventClass int

const (
	classChange eventClass = iota
	classSignIn
	classRejectedSignIn
	classRejectedToken
	classOtherRefusal
	eventClasses // the number of classes
)

// maxWaiting holds how many events of each class may wait for OnEvent. A full queue takes one to
// two megabytes.
var maxWaiting = [eventClasses]int32{
	classChange:         1024,
	classSignIn:         1024,
	classRejectedSignIn: 1024,
	classRejectedToken:  512,
	classOtherRefusal:   512,
}

func (e Event) class() eventClass {
	switch {
	case e.Kind == EventSignedIn, e.Kind == EventSessionRevoked: // any user can cause any number of these
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
