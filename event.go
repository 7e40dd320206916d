package auth

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"
)

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
	return strings.HasSuffix(string(e.Kind), ".rejected") || strings.HasSuffix(string(e.Kind), ".throttled") ||
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
