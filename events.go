package auth

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/sallyport-go/auth/internal/defaults"
)

// EventLogConfig says where an [EventLog] delivers events. The zero value writes them to
// slog.Default().
type EventLogConfig struct {
	// OnEvent is called with each event, one after the other, by [EventLog.Run]: no request
	// waits for it, and it may take its time or panic. Up to 4096 events wait for it: 1024
	// changes, as many accepted and as many rejected sign-ins, 512 rejected tokens and 512
	// other refusals. Further events of a class are dropped; the log says how many.
	// If OnEvent is nil, events go to Logger.
	OnEvent func(Event)

	Hooks Hooks

	// Trail keeps the events of lasting changes, if it is not nil: the store that the components
	// share. Each is stored in the transaction of its change. Run delivers them from there, those
	// of all instances, at least once each: an event waits for as long as no Run runs, and OnEvent
	// gets it up to five times if it panics or the process ends with it. Events of one user are
	// delivered in order.
	Trail EventStore

	// Now is the clock. nil means time.Now.
	Now func() time.Time

	// Logger is where events go if OnEvent is nil, and where the EventLog reports its own
	// failures. nil means slog.Default().
	Logger *slog.Logger
}

// EventLog delivers the events of the components that share it, and calls their Hooks. A
// [Service] makes its own from its Config; components that a host composes by hand get one in
// each configuration. Make one with [NewEventLog]; the zero value logs to slog.Default(). It is
// safe for concurrent use.
type EventLog struct {
	onEvent func(Event) // nil if events go to log
	hooks   Hooks
	now     func() time.Time
	log     *slog.Logger
	trail   EventStore    // nil if there is no audit trail
	wake    chan struct{} // holds one if an event was just added to the trail

	queue   chan Event                 // has room for all that may wait
	waiting [eventClasses]atomic.Int32 // how many events of each class are in the queue, or a few more
	dropped atomic.Int64               // since that was last logged

	turn    chan struct{}            // holds one while OnEvent may be called
	current atomic.Pointer[delivery] // nil while nothing is delivered
	ran     atomic.Bool              // there has been a Run
}

// delivery is what one Run does.
type delivery struct{ done chan struct{} }

const (
	deliverTimeout = 5 * time.Second // that Run waits at its end for OnEvent

	trailPoll        = time.Second      // between two looks for events of other instances
	trailClaim       = time.Minute      // that an event is held by the instance that delivers it
	trailBatch       = 64               // events delivered before the queue has its turn
	trailAttempts    = 5                // after which an event is skipped
	trailCallTimeout = 10 * time.Second // of one call of the store
)

// NewEventLog returns an EventLog. It starts nothing: with OnEvent set, events are delivered
// while [EventLog.Run] runs.
func NewEventLog(cfg EventLogConfig) *EventLog {
	l := &EventLog{onEvent: cfg.OnEvent, hooks: cfg.Hooks, now: defaults.Now(cfg.Now),
		log: defaults.Logger(cfg.Logger), trail: guardEvents(cfg.Trail)}
	if l.onEvent != nil {
		l.wake = make(chan struct{}, 1)
		room := 0
		for _, share := range eventShares {
			room += int(share)
		}
		l.queue, l.turn = make(chan Event, room), make(chan struct{}, 1)
	}
	return l
}

// Run calls OnEvent with one event after the other until ctx is done, then with the events that
// waited at that moment, and returns ctx's error. If all that takes more than 5 seconds, Run writes
// what still waits to the log and returns without OnEvent. Events that come after ctx is done go to
// the log as well, because they may wait in vain for another Run. While another Run runs, or its
// OnEvent has not returned, Run waits. If OnEvent is nil, Run only waits for ctx.
func (l *EventLog) Run(ctx context.Context) error {
	if l.onEvent == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	select {
	case l.turn <- struct{}{}: // also if ctx is done: events may wait
	default:
		select {
		case l.turn <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	d := &delivery{done: make(chan struct{})}
	l.current.Store(d)
	l.ran.Store(true)
	go l.deliver(ctx, d)
	<-ctx.Done()
	l.end(d) // also if OnEvent hangs
	select {
	case <-d.done:
	case <-time.After(deliverTimeout):
		l.drain(func(e Event) { l.write(ctx, e) })
	}
	return ctx.Err()
}

// deliver calls OnEvent until ctx is done, and then for the events that wait.
func (l *EventLog) deliver(ctx context.Context, d *delivery) {
	defer close(d.done)
	defer func() { <-l.turn }()
	defer l.end(d) // also if OnEvent ends the goroutine
	poll := time.NewTicker(trailPoll)
	defer poll.Stop()
	for ctx.Err() == nil {
		select {
		case e := <-l.queue:
			l.waiting[e.class()].Add(-1)
			l.call(e)
			continue
		case <-l.wake:
		case <-poll.C:
		case <-ctx.Done():
		}
		if l.trail != nil && l.deliverStored(ctx) {
			select {
			case l.wake <- struct{}{}:
			default:
			}
		}
	}
	l.end(d) // before the queue is read for the last time: see emit
	l.drain(func(e Event) { l.call(e) })
	if l.trail != nil {
		l.deliverStored(context.WithoutCancel(ctx)) // the first of them; the others wait for another Run
	}
}

// end notes that the events are not delivered any more, unless another Run delivers them.
func (l *EventLog) end(d *delivery) { l.current.CompareAndSwap(d, nil) }

// drain takes the events that wait out of the queue. There is an end to them, also if each causes
// another one.
func (l *EventLog) drain(take func(Event)) {
	for range len(l.queue) {
		select {
		case e := <-l.queue:
			l.waiting[e.class()].Add(-1)
			take(e)
		default: // another goroutine drains too
			return
		}
	}
}

// call calls OnEvent and reports whether it returned.
func (l *EventLog) call(e Event) (returned bool) {
	defer func() {
		if p := recover(); p != nil {
			l.log.Error("auth: OnEvent panicked", "kind", e.Kind, "panic", p, "stack", string(debug.Stack()))
		} else if !returned {
			l.log.Error("auth: OnEvent called runtime.Goexit: events go to the log until Run is called "+
				"again", "kind", e.Kind)
		}
	}()
	if lost := l.dropped.Swap(0); lost > 0 {
		l.log.Error("auth: events were dropped because OnEvent did not keep up", "events", lost)
	}
	l.onEvent(e)
	return true
}

// logger returns where failures are reported.
func (l *EventLog) logger() *slog.Logger {
	if l == nil {
		return slog.Default()
	}
	return defaults.Logger(l.log)
}

// clock returns the time.
func (l *EventLog) clock() time.Time { return defaults.Now(l.now)() }

// deliverStored calls OnEvent with the events of the trail that wait, of all instances, and
// returns whether there may be more.
func (l *EventLog) deliverStored(ctx context.Context) (more bool) {
	for range trailBatch {
		if ctx.Err() != nil {
			return false
		}
		event, attempt, err := l.claimStored(ctx)
		switch {
		case errors.Is(err, ErrNotFound):
			return false
		case err != nil:
			if ctx.Err() == nil {
				l.log.ErrorContext(ctx, "auth: an event of the audit trail cannot be delivered now",
					"error", err)
			}
			return false
		}
		// After the last attempt, the event is not finished only if the process or the goroutine
		// ended with it. Another attempt could end the next one.
		delivered := attempt <= trailAttempts && l.call(event)
		switch {
		case delivered:
		case attempt < trailAttempts:
			continue // the next attempt is when the claim has ended
		default:
			l.log.ErrorContext(ctx, "auth: OnEvent failed too often: the event stays in the audit trail "+
				"and is not delivered again",
				"event", event, "attempts", attempt)
		}
		if err := l.finishStored(ctx, event.ID); err != nil {
			l.log.ErrorContext(ctx, "auth: an event of the audit trail will be delivered again",
				"event_id", event.ID, "error", err)
			return false
		}
	}
	return true
}

func (l *EventLog) claimStored(ctx context.Context) (Event, int, error) {
	ctx, cancel := context.WithTimeout(ctx, trailCallTimeout)
	defer cancel()
	now := l.clock()
	return l.trail.ClaimEvent(ctx, now, now.Add(trailClaim))
}

// finishStored notes that an event has been delivered, also while the log shuts down.
func (l *EventLog) finishStored(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), trailCallTimeout)
	defer cancel()
	// it may have been pruned
	if err := l.trail.FinishEvent(ctx, id); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

// emit records an event of a request, with its client and its caller. It never waits: if
// OnEvent does not keep up, the event is dropped and counted. A nil EventLog records nothing.
func (l *EventLog) emit(ctx context.Context, e Event) {
	if l == nil {
		return
	}
	e.At, e.Client = defaults.Now(l.now)().UTC(), clientOf(ctx)
	if caller := callerOf(ctx); caller != nil && e.ActorID == "" {
		e.ActorID = caller.identity.UserID
	}
	if l.onEvent != nil {
		l.enqueue(ctx, e)
	}
	// What waited before a Run ended is delivered, and what did not is seen to be late here, because
	// it is queued first.
	if l.onEvent == nil || l.ran.Load() && l.current.Load() == nil {
		l.write(ctx, e)
	}
}

// write writes the event to the log.
func (l *EventLog) write(ctx context.Context, e Event) {
	level := slog.LevelInfo
	if e.isRejection() {
		level = slog.LevelWarn
	}
	defaults.Logger(l.log).LogAttrs(ctx, level, "auth: "+string(e.Kind), slog.Any("event", e))
}

// enqueue puts the event into the queue, or counts it as dropped if the share of its class is used
// up.
func (l *EventLog) enqueue(ctx context.Context, e Event) {
	class := e.class()
	if l.waiting[class].Add(1) <= eventShares[class] {
		l.queue <- e // does not wait: an event is counted before it is in the queue, until it has left
		return
	}
	l.waiting[class].Add(-1)
	if l.dropped.Add(1) == 1 {
		l.log.ErrorContext(ctx, "auth: events are dropped: OnEvent does not keep up, or Run does not run",
			"kind", e.Kind)
	}
}

// signIn records an attempt to sign in that began at the given time: accepted for the user and
// the session if err is nil.
func (l *EventLog) signIn(ctx context.Context, began time.Time, e Event, err error) {
	if l == nil {
		return
	}
	if l.hooks.SignIn != nil {
		l.callHook(func() { l.hooks.SignIn(ctx, e.Method, err, time.Since(began)) })
	}
	var throttled *ThrottledError
	switch {
	case err == nil:
		e.Kind, e.ActorID = EventSignedIn, e.UserID
	case errors.As(err, &throttled):
		e.Kind = EventSignInThrottled
	default:
		e.Kind, e.Reason = EventSignInRejected, rejectionReason(err)
		e.setSubject(err)
	}
	l.emit(ctx, e)
}

// tokenRejected records that a token was rejected, if err says so.
func (l *EventLog) tokenRejected(ctx context.Context, err error) {
	if errors.Is(err, ErrTokenRejected) {
		e := Event{Kind: EventTokenRejected, Reason: rejectionReason(err)}
		e.setSubject(err)
		l.emit(ctx, e)
	}
}

// verifyHook returns the hook that measures verifications, or nil.
func (l *EventLog) verifyHook() func(ctx context.Context, err error, cached bool, took time.Duration) {
	if l == nil || l.hooks.Verify == nil {
		return nil
	}
	return func(ctx context.Context, err error, cached bool, took time.Duration) {
		l.callHook(func() { l.hooks.Verify(ctx, err, cached, took) })
	}
}

// callHook calls a hook of the host, whose panic must not harm the request.
func (l *EventLog) callHook(hook func()) {
	defer func() {
		if p := recover(); p != nil {
			l.log.Error("auth: a function of Hooks panicked", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	hook()
}

// change is a lasting change that a component is about to make.
type change struct {
	write Write
	event Event // for the queue or the log, unless it is delivered from the trail
	log   *EventLog
}

// newChange prepares a change on behalf of the authority, with its event. With a nil EventLog,
// there is no event.
func (l *EventLog) newChange(
	ctx context.Context, by Authority, e Event, now func() time.Time, maxTokenLifetime time.Duration,
) change {
	c := change{write: Write{By: by, Now: now, MaxTokenLifetime: maxTokenLifetime}, log: l}
	if l == nil {
		return c
	}
	e.ActorID, e.Host, e.Client = cmp.Or(by.UserID, e.ActorID), by.Host, clientOf(ctx)
	if caller := callerOf(ctx); caller != nil && e.ActorID == "" {
		e.ActorID = caller.identity.UserID
	}
	if e.SessionID == "" {
		e.SessionID = by.SessionID
	}
	// A store answers ErrNotFound for an ID that no record can have, but ErrInvalid for an event
	// that contains it.
	for _, id := range []*string{&e.UserID, &e.SessionID} {
		if checkText("id", *id, MaxIDLength) != nil {
			*id = ""
		}
	}
	c.event = e
	if l.trail != nil {
		c.write.Event, c.write.Deliver = e, l.onEvent != nil
	}
	return c
}

// done records that the change has been made.
func (c change) done(ctx context.Context) {
	switch {
	case c.log == nil || c.event.Kind == "":
	case c.log.trail == nil:
		c.log.emit(ctx, c.event)
	case c.log.onEvent == nil:
		c.event.At = c.log.clock().UTC()
		c.log.write(ctx, c.event)
	default:
		select {
		case c.log.wake <- struct{}{}:
		default: // it is awake
		}
	}
}
