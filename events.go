package auth

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"
)

// EventKind says what has happened.
type EventKind string

// The kinds of event. docs/events.md says when each happens, and what is in it.
const (
	EventSignedIn            EventKind = "sign_in.accepted"
	EventSignInRejected      EventKind = "sign_in.rejected"
	EventSignInThrottled     EventKind = "sign_in.throttled"
	EventTokenRejected       EventKind = "token.rejected"
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
)

// Event is something that has happened, for whoever asks later. There is never a
// secret in it. What is not known, or is not about the event, is zero.
type Event struct {
	Kind EventKind
	At   time.Time

	// UserID is whom it is about, and ActorID who did it: the same for what users do
	// themselves, and empty for what the host has done.
	UserID  string
	ActorID string

	SessionID string
	AccessKey string // never what a client has only claimed, unless it has the form of one
	Method    SignInMethod
	GitHub    GitHubAccount

	// Reason is why something was refused, or how it was changed. It is for people
	// to read.
	Reason string

	Client ClientInfo // who sent the request
}

// LogValue returns what there is of the event, for log/slog.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("kind", string(e.Kind))}
	for _, field := range []struct{ name, value string }{
		{"user_id", e.UserID}, {"actor_id", e.ActorID}, {"session_id", e.SessionID}, {"access_key", e.AccessKey},
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

// queuedEvents is how many events wait for the host's function, which takes a
// megabyte or two.
const queuedEvents = 4096

// deliverTimeout is how long Run waits at its end for the host's function.
const deliverTimeout = 5 * time.Second

// eventLog takes events to where the host wants them. A nil one takes them nowhere.
type eventLog struct {
	now     func() time.Time
	log     *slog.Logger
	tell    func(Event) // nil for the log
	queue   chan Event
	dropped atomic.Int64 // since that was last logged
	ended   atomic.Bool  // whether nobody delivers any longer

	onSignIn func(ctx context.Context, method SignInMethod, outcome Outcome, took time.Duration) // may be nil
}

func newEventLog(now func() time.Time, log *slog.Logger, tell func(Event)) *eventLog {
	l := &eventLog{now: now, log: log, tell: tell}
	if tell != nil {
		l.queue = make(chan Event, queuedEvents)
	}
	return l
}

// emit notes what has just happened in a request, and whose request it is. It never
// waits: where the host's function does not keep up, what is more is counted.
func (l *eventLog) emit(ctx context.Context, e Event) {
	if l == nil {
		return
	}
	e.At, e.Client = l.now().UTC(), clientOf(ctx)
	if caller, ok := ctx.Value(callerKey{}).(*callerContext); ok && e.ActorID == "" {
		e.ActorID = caller.identity.UserID
	}
	if l.tell == nil || l.ended.Load() {
		level := slog.LevelInfo
		if e.isRefusal() {
			level = slog.LevelWarn
		}
		l.log.LogAttrs(ctx, level, "auth: "+string(e.Kind), slog.Any("event", e))
	}
	if l.tell == nil {
		return
	}
	queue := l.queue
	if e.isRefusal() && len(queue) > queuedEvents/2 {
		queue = nil // anybody can have things refused, and must not push out what was done
	}
	select {
	case queue <- e:
	default:
		if l.dropped.Add(1) == 1 {
			l.log.ErrorContext(ctx, "auth: Config.OnEvent does not keep up, or Service.Run does not run: events are lost")
		}
	}
}

func (e Event) isRefusal() bool {
	return strings.HasSuffix(string(e.Kind), ".rejected") || strings.HasSuffix(string(e.Kind), ".throttled")
}

// signIn is emit for an attempt to sign in that began then, with what came of it.
func (l *eventLog) signIn(ctx context.Context, began time.Time, e Event, token Token, err error) {
	if l == nil {
		return
	}
	if l.onSignIn != nil {
		l.onSignIn(ctx, e.Method, outcomeOf(err), time.Since(began))
	}
	var throttled *ThrottledError
	switch {
	case err == nil:
		e.Kind, e.UserID, e.SessionID = EventSignedIn, token.User.ID, token.Session.ID
		e.ActorID = e.UserID
	case errors.As(err, &throttled):
		e.Kind = EventSignInThrottled
	default:
		e.Kind, e.Reason = EventSignInRejected, reasonOf(err)
		e.about(err)
	}
	l.emit(ctx, e)
}

// refusalOf is a refusal of which is known whom it is about, from a signature or from the
// store and not by what somebody claims: for the events.
type refusalOf struct {
	error
	userID, sessionID string
}

func (r *refusalOf) Unwrap() error { return r.error }

// refusedTo returns err as a refusal to the user, if it is one.
func refusedTo(userID, sessionID string, err error) error {
	if !errors.Is(err, ErrTokenRejected) && !errors.Is(err, ErrInvalidCredentials) {
		return err
	}
	return &refusalOf{err, userID, sessionID}
}

// about notes in the event whom the refusal is about, where that is known.
func (e *Event) about(err error) {
	if refusal, ok := errors.AsType[*refusalOf](err); ok {
		e.UserID, e.SessionID = refusal.userID, refusal.sessionID
	}
}

// runDelivery delivers until ctx is done, in a goroutine, and returns a function that
// waits for its end.
func (l *eventLog) runDelivery(ctx context.Context) (wait func()) {
	if l.tell == nil {
		return func() {}
	}
	done := make(chan struct{})
	l.ended.Store(false)
	go func() {
		defer close(done)
		l.deliver(ctx)
	}()
	return func() {
		select {
		case <-done:
		case <-time.After(deliverTimeout):
		}
	}
}

// deliver gives the host's function one event after the other until ctx is done, and
// then what is left.
func (l *eventLog) deliver(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case e := <-l.queue:
			l.give(e)
		case <-ctx.Done():
		}
	}
	l.ended.Store(true) // what comes now waits for another Run, if there is one
	for {
		select {
		case e := <-l.queue:
			l.give(e)
		default:
			return
		}
	}
}

func (l *eventLog) give(e Event) {
	defer func() {
		if p := recover(); p != nil {
			l.log.Error("auth: Config.OnEvent panicked", "kind", e.Kind, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	if lost := l.dropped.Swap(0); lost > 0 {
		l.log.Error("auth: events were lost, for Config.OnEvent did not keep up", "events", lost)
	}
	l.tell(e)
}

// reasonOf is what an error of this package says beyond what it is: never anything
// that came with a request.
func reasonOf(err error) string {
	for _, known := range []error{ErrInvalidCredentials, ErrTokenRejected, ErrGitHubNotAllowed} {
		if errors.Is(err, known) {
			return strings.TrimPrefix(strings.TrimPrefix(err.Error(), known.Error()), ": ")
		}
	}
	_, detail := ErrorStatus(err)
	return detail
}
