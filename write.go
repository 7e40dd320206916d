package auth

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/sallyport-go/auth/eventkind"
)

// Write is an argument of every store method that makes a change for an [Authority]. It contains
// the authority, the event and the clock of the change. [AccountStore] says what a store must do
// with them.
type Write struct {
	// By is the authority of the change.
	By Authority

	// Event describes the change for the audit trail. An empty Kind means that there is no event.
	// An [EventStore] sets the event's ID and At, and stores the event in the transaction of the
	// change. If the event's UserID is empty and the change is about one user, the store sets
	// UserID to the ID of that user. If the event's GitHub field is zero and the change is about
	// one GitHub account, the store sets the field to that account.
	Event Event

	// Deliver makes the event wait for delivery by [EventStore.ClaimEvent].
	Deliver bool

	// Now returns the current time. A store calls it after it has locked the records on which the
	// change depends.
	Now func() time.Time

	// MaxTokenLifetime is the longest time for which a token that is issued now can be valid. If a
	// change adds an entry that revokes all sessions of a user, the entry must stay in the
	// revocation feed for at least this long, even if the store has no session of the user.
	MaxTokenLifetime time.Duration
}

// Validate returns an [InvalidError] if the authority or the event is not valid, if Now is nil, or
// if MaxTokenLifetime is negative. If Validate returns an error, the store must not make the
// change.
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
		checkText("access_key", e.AccessKey, maxAccessKeyLength),
		checkText("method", string(e.Method), MaxIDLength),
		checkText("host", e.GitHub.Host, maxGitHubHostLength),
		checkText("reason", e.Reason, maxReasonLength),
		checkText("user_agent", e.Client.UserAgent, maxUserAgentLength),
		checkText("request_id", e.Client.RequestID, maxUserAgentLength),
	)
}

// Event describes a sign-in, a refusal or a lasting change. It never contains a secret. A field is
// zero if its value is unknown or does not apply.
type Event struct {
	// ID identifies an event of the audit trail. It is at most [MaxIDLength] bytes long. It is
	// empty for an event that is not in the trail. The host can receive an event of the trail
	// several times, each time with the same ID.
	ID string

	Kind eventkind.Kind
	At   time.Time

	UserID string // the user that the event is about

	// ActorID is the ID of the user who caused the event. If users change their own records,
	// ActorID is equal to UserID. If the host makes a change while it handles an authenticated
	// request, ActorID is the ID of the request's caller. ActorID is empty if no user is known to
	// have caused the event.
	ActorID string

	// Host is the name of the part of the host program that caused the event, as in [Authority].
	Host string

	// SessionID is the ID of the session that the event is about. If the event is about no session,
	// SessionID is the ID of the session that caused the event.
	SessionID string

	// AccessKey is the ID of the access key that the event is about, or "imported" if the key was
	// imported. For a rejected sign-in, AccessKey is set only if the text from the client has the
	// form of a generated key. Any other text could be a secret.
	AccessKey string

	Method SignInMethod
	GitHub GitHubAccount

	// Reason says why a request was refused or what a change did. It is meant for people to read.
	// Do not use it as a label of a metric, because it can contain a key ID that the sender of a token
	// has chosen.
	Reason string

	Client ClientInfo // the client that sent the request
}

// EventFilter selects events of the audit trail. The zero value selects all of them.
type EventFilter struct {
	UserID  string         // selects events about this user; empty means any user
	ActorID string         // selects events that this user caused; empty means any user or none
	Kind    eventkind.Kind // selects events of this kind; empty means any kind

	// From and To select events by their At: those at From or later, and before To. Zero means no bound.
	From time.Time
	To   time.Time

	// If Before is not empty, it is the ID of an event, and the filter selects only older events.
	Before string
}

// Validate returns an [InvalidError] if From or To is not between the years 1970 and 9999, or if To is not
// after From. A store calls Validate before it reads events.
func (f EventFilter) Validate() error {
	if !f.From.IsZero() && !f.To.IsZero() && !f.To.After(f.From) {
		return invalidf("to", "must be after from")
	}
	return cmp.Or(checkOptionalTime("from", f.From), checkOptionalTime("to", f.To))
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
		e.Kind == eventkind.AccessRefused
}

// setSubject copies the user ID and the session ID from err into the event if err is a rejection.
func (e *Event) setSubject(err error) {
	if subject, ok := errors.AsType[*rejection](err); ok {
		e.UserID, e.SessionID = subject.userID, subject.sessionID
	}
}

// rejection is an error that rejects a token or an access key of a known user. Its IDs go into the
// event of the rejection. They come from the store or from a token whose signature was verified,
// never from an unverified claim of a client.
type rejection struct {
	error
	userID, sessionID string
}

func (r *rejection) Unwrap() error { return r.error }

// rejectionOf wraps err in a rejection with these IDs if err rejects a token, an access key or an
// assertion. It returns any other error as it is.
func rejectionOf(userID, sessionID string, err error) error {
	if !errors.Is(err, ErrTokenRejected) && !errors.Is(err, ErrInvalidCredentials) &&
		!errors.Is(err, ErrAssertionRejected) {
		return err
	}
	return &rejection{err, userID, sessionID}
}

// rejectionReason returns the Reason of the event about a request that err rejected. If err wraps
// ErrInvalidCredentials, ErrTokenRejected, ErrGitHubNotAllowed or ErrAssertionRejected and adds a text to
// it, the reason is the added text. In all other cases, the reason is the detail of [ErrorStatus]. The reason
// contains nothing from the request, with one exception. If the kid of a token names an unknown key and
// has the form of a key ID, the reason contains the kid.
func rejectionReason(err error) string {
	_, reason := ErrorStatus(err)
	for _, known := range []error{ErrInvalidCredentials, ErrTokenRejected, ErrGitHubNotAllowed,
		ErrAssertionRejected} {
		if errors.Is(err, known) {
			added := strings.TrimPrefix(strings.TrimPrefix(err.Error(), known.Error()), ": ")
			return cmp.Or(strings.TrimPrefix(added, "auth: "), reason)
		}
	}
	return reason
}

// Hooks contains functions of the host that measure sign-ins and verifications of tokens. A nil
// function is not called. Module otelauth provides Hooks for OpenTelemetry.
//
// The functions are called during requests, from several goroutines at the same time, so they must
// return quickly. If a function panics, the panic is logged and the request continues. To find out
// whether an error is a rejection or a failure, call [ErrorStatus].
type Hooks struct {
	// SignIn is called after each attempt to sign in. The parameter err is nil if the attempt
	// succeeded. The parameter took is the duration of the attempt. For a sign-in with GitHub, it
	// is only the duration of the request in which the user returns from GitHub.
	SignIn func(ctx context.Context, method SignInMethod, err error, took time.Duration)

	// Verify is called after each verification of a bearer token. The parameter err is nil if the
	// token was accepted. The parameter cached reports whether the token was in the cache.
	Verify func(ctx context.Context, err error, cached bool, took time.Duration)
}

// eventClass is a class of events. Each class has its own limit in the queue of events that wait
// for OnEvent. Anyone can cause any number of refusals, and any user can sign in any number of
// times. Because of the limits, such events cannot push out events of other classes.
type eventClass int

const (
	classChange eventClass = iota
	classSignIn
	classRejectedSignIn
	classRejectedToken
	classOtherRefusal
	eventClasses // the number of classes
)

// maxWaiting is the maximum number of events of each class that can wait for OnEvent. The events in
// a full queue take up one to two megabytes of memory.
var maxWaiting = [eventClasses]int32{
	classChange:         1024,
	classSignIn:         1024,
	classRejectedSignIn: 1024,
	classRejectedToken:  512,
	classOtherRefusal:   512,
}

func (e Event) class() eventClass {
	switch {
	case e.Kind == eventkind.SignedIn, e.Kind == eventkind.NewClient, e.Kind == eventkind.SessionRevoked,
		e.Kind == eventkind.TokenDelegated:
		// Any user can cause any number of these.
		return classSignIn
	case e.Kind == eventkind.SignInRejected:
		return classRejectedSignIn
	case e.Kind == eventkind.TokenRejected:
		return classRejectedToken
	case e.isRejection():
		return classOtherRefusal
	}
	return classChange
}

// EventStore has the methods of a store that keeps an audit trail. It is not part of [Store]: a
// [Service] has an audit trail if its store also has these methods. See [AccountStore] for the
// rules that all methods follow.
//
// The store adds the Event of each [Write] in the transaction of the change, with a random ID.
// After the store has taken the locks, it calls the Write's Now and sets At to the result. The
// events of a user must stay in order. So if the user's newest event has the same or a later At,
// the store sets the new At to one microsecond after the At of that event. Events stay when their
// user is deleted, so they have no foreign keys.
type EventStore interface {
	// ListEvents returns at most limit events that match the filter, sorted by At and then by ID,
	// the newest first. It returns ErrNotFound if the filter's Before is not the ID of an event, and
	// ErrInvalid if the filter is not valid: see [EventFilter.Validate]. If limit is below one,
	// ListEvents returns no events.
	ListEvents(ctx context.Context, filter EventFilter, limit int) ([]Event, error)

	// ClaimEvent claims the oldest event that waits for delivery and is not blocked by a claim. The
	// parameter now is the current time, and the parameter until is the end of the new claim. Until
	// then, the claim blocks this event and all later events of the same user. ClaimEvent returns
	// the event and the number of its claims so far, which is 1 for the first claim. It returns
	// ErrNotFound if no event can be claimed. It can also return ErrNotFound because concurrent
	// calls have locked the events.
	//
	// The new claim lasts for until.Sub(now). ClaimEvent ignores an earlier claim that ends more
	// than this duration after the new claim ends. Only a caller whose clock was ahead makes such
	// a claim. Without this rule, the user's events would wait until the earlier claim ends.
	ClaimEvent(ctx context.Context, now, until time.Time) (event Event, attempt int, err error)

	// FinishEvent records that the event no longer waits for delivery. The event stays in the
	// trail. FinishEvent returns ErrNotFound if there is no such event.
	FinishEvent(ctx context.Context, id string) error

	// PruneEvents removes at most limit events whose At is before the given time, even if they wait
	// for delivery. It returns the number of removed events, as PruneKeys does.
	PruneEvents(ctx context.Context, before time.Time, limit int) (int, error)
}

// EventLogConfig configures an [EventLog]. The zero value writes events to slog.Default().
type EventLogConfig struct {
	// OnEvent receives the events. [EventLog.Run] calls OnEvent with one event at a time. nil means
	// that events go to Logger. Before Run is called, events go to Logger and also wait for OnEvent,
	// and Logger receives one warning.
	//
	// Anyone can cause refusals. So Logger receives at most 10 refusals of a kind with a UserID and
	// 10 without one in a minute, and the number of the others. It receives every other event.
	//
	// OnEvent can be slow, because no request waits for it. A panic in OnEvent is logged. The queue
	// for OnEvent has room for 1024 changes, 1024 accepted sign-ins, 1024 rejected sign-ins, 512
	// rejected tokens and 512 other refusals. If the queue has no room left for one of these
	// classes, it drops further events of that class. The log says how many.
	OnEvent func(Event)

	// DeliverElsewhere is for a program without OnEvent that runs beside instances with OnEvent, such
	// as a batch job. Events of its changes then wait in Trail until an instance delivers them. Without
	// DeliverElsewhere, such events are in Trail and the program's log, and no instance delivers them.
	DeliverElsewhere bool

	// Hooks measure sign-ins and verifications.
	Hooks Hooks

	// Trail is the store of the audit trail, which has the events of lasting changes. It must be
	// the same store that the components use. nil means no audit trail.
	//
	// Each event is stored in the transaction of its change. Run delivers the stored events of all
	// instances to OnEvent. It delivers the events of one user in order, and each event at least
	// once. An event waits in the trail until an instance calls Run. If OnEvent panics, or if the
	// process ends while OnEvent runs, Run delivers the event again, up to five times in total.
	Trail EventStore

	// Now is the clock. nil means time.Now.
	Now func() time.Time

	// Logger receives the events if OnEvent is nil, and the failures of the EventLog itself.
	// nil means slog.Default().
	Logger *slog.Logger
}
