package auth

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/defaults"
	"github.com/sallyport-go/auth/internal/outage"
	"github.com/sallyport-go/auth/internal/text"
)

// EventLog delivers the events of the components that share it, and calls the Hooks. Make an
// EventLog with [NewEventLog]; the zero value logs to slog.Default(). A [Service] makes its own
// EventLog. A host that makes the components itself passes one EventLog to all of them, in their
// configurations. An EventLog is safe for concurrent use.
type EventLog struct {
	onEvent func(Event) // nil if events go to log
	hooks   Hooks
	now     func() time.Time
	log     *slog.Logger
	trail   EventStore    // nil if there is no audit trail
	wake    chan struct{} // one-slot signal: an event was just added to the trail

	queue   chan Event                 // has room for maxWaiting of every class
	waiting [eventClasses]atomic.Int32 // queued events of each class; can be too high for a moment
	dropped atomic.Int64               // events dropped since the log last reported a number
	lost    atomic.Int64               // events that OnEvent never gets

	delivering chan struct{}            // one-slot semaphore; only its holder calls OnEvent
	current    atomic.Pointer[delivery] // the Run that empties the queue; nil if no Run does
	everRan    atomic.Bool              // Run has been called
	warned     atomic.Bool              // warnWithoutRun has logged
	failures   *outage.Tracker          // of deliveries from the trail

	signInPanics, verifyPanics *outage.Tracker // of the hooks

	lines     outage.Budget[loggedRefusals] // limits the lines that emit writes about refusals
	elsewhere bool                          // EventLogConfig.DeliverElsewhere
}

// loggedRefusals are refusals that share a number of log lines. Anyone can cause a refusal that has
// no user, so such refusals must not use up the lines of the others.
type loggedRefusals struct {
	kind    eventkind.Kind
	hasUser bool
}

// delivery is one call of Run. Its channel is closed when the goroutine that calls OnEvent has ended.
type delivery struct{ done chan struct{} }

const (
	deliverTimeout = 5 * time.Second // how long Run waits for OnEvent after its context is done

	trailPoll        = 5 * time.Second  // interval between two reads of the trail, for events of others
	trailClaim       = time.Minute      // how long an instance has to deliver a claimed event
	trailBatch       = 64               // stored events delivered before the queue is read again
	trailAttempts    = 5                // deliveries of one event before it is skipped
	trailCallTimeout = 10 * time.Second // time limit of one call of the store
)

// NewEventLog returns an EventLog. It starts no goroutine. If OnEvent is set, the host must call
// [EventLog.Run] to have events delivered.
func NewEventLog(cfg EventLogConfig) *EventLog {
	l := &EventLog{onEvent: cfg.OnEvent, hooks: cfg.Hooks, now: defaults.Now(cfg.Now),
		log: defaults.Logger(cfg.Logger), trail: guardEvents(cfg.Trail), elsewhere: cfg.DeliverElsewhere}
	l.failures = outage.New(l.now)
	l.signInPanics, l.verifyPanics = outage.New(l.now), outage.New(l.now)
	if l.onEvent != nil {
		l.wake = make(chan struct{}, 1)
		l.wake <- struct{}{} // the first Run looks at once for events that have waited
		capacity := 0
		for _, limit := range maxWaiting {
			capacity += int(limit)
		}
		l.queue, l.delivering = make(chan Event, capacity), make(chan struct{}, 1)
	}
	return l
}

// Run calls OnEvent with one event at a time until ctx is done. Then it delivers the events that
// are already in the queue and returns ctx's error. If OnEvent is nil, Run only waits for ctx.
//
// If these last deliveries take more than 5 seconds, Run writes the remaining events to the log and
// returns, although OnEvent may still be running. Events that occur after ctx is done also go to
// the log, because the host might never call Run again.
//
// Only one call of Run delivers at a time. A second call waits until the last OnEvent of the first returns.
func (l *EventLog) Run(ctx context.Context) error {
	if l.onEvent == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	select {
	case l.delivering <- struct{}{}: // tried first, to deliver queued events even if ctx is done
	default:
		select {
		case l.delivering <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	d := &delivery{done: make(chan struct{})}
	l.current.Store(d)
	l.everRan.Store(true)
	go l.deliver(ctx, d)
	<-ctx.Done()
	l.stopQueueing(d) // deliver calls it too, but cannot while OnEvent hangs
	select {
	case <-d.done:
	case <-time.After(deliverTimeout):
		l.drain(func(e Event) { l.writeToLog(ctx, e) })
	}
	return ctx.Err()
}

// deliver calls OnEvent with each event. It returns after ctx is done and the queue is delivered.
func (l *EventLog) deliver(ctx context.Context, d *delivery) {
	defer close(d.done)
	defer func() { <-l.delivering }()
	defer l.stopQueueing(d) // for an OnEvent that ends this goroutine with runtime.Goexit
	poll := time.NewTicker(trailPoll)
	defer poll.Stop()
	for ctx.Err() == nil {
		select {
		case e := <-l.queue:
			l.waiting[e.class()].Add(-1)
			l.deliverQueued(e)
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
	// From now on, emit also logs each event. So an event that drain no longer finds is not lost.
	l.stopQueueing(d)
	l.drain(l.deliverQueued)
	if l.trail != nil {
		l.deliverStored(context.WithoutCancel(ctx)) // one batch; another Run delivers the rest
	}
}

// stopQueueing sets l.current to nil if l.current is still d.
func (l *EventLog) stopQueueing(d *delivery) { l.current.CompareAndSwap(d, nil) }

// drain passes each event that is in the queue at the start to the function take. It leaves further
// events in the queue, so it ends even if take causes further events.
func (l *EventLog) drain(take func(Event)) {
	for range len(l.queue) {
		select {
		case e := <-l.queue:
			l.waiting[e.class()].Add(-1)
			take(e)
		default: // another goroutine has taken the rest
			return
		}
	}
}

// deliverQueued calls OnEvent with an event from the queue. If OnEvent fails, the event is lost.
func (l *EventLog) deliverQueued(e Event) {
	if !l.callOnEvent(e) {
		l.lost.Add(1)
	}
}

// callOnEvent calls OnEvent and reports whether OnEvent returned.
func (l *EventLog) callOnEvent(e Event) (returned bool) {
	defer func() {
		if p := recover(); p != nil {
			if l.mayLog(context.Background(), e) {
				l.log.Error("auth: OnEvent panicked", "event", e, "panic", p, "stack", string(debug.Stack()))
			}
		} else if !returned {
			l.log.Error("auth: OnEvent called runtime.Goexit: events go to the log until Run is called "+
				"again", "event", e)
		}
	}()
	if lost := l.dropped.Swap(0); lost > 0 {
		l.log.Error("auth: events were dropped because OnEvent did not keep up", "events", lost)
	}
	l.onEvent(e)
	return true
}

// logger returns the logger for failures. It accepts a nil EventLog and the zero EventLog.
func (l *EventLog) logger() *slog.Logger {
	if l == nil {
		return slog.Default()
	}
	return defaults.Logger(l.log)
}

// clock returns the current time. It accepts the zero EventLog.
func (l *EventLog) clock() time.Time { return defaults.Now(l.now)() }

// deliverStored calls OnEvent with up to trailBatch undelivered events of the trail, from all
// instances. It reports whether there may be more undelivered events.
func (l *EventLog) deliverStored(ctx context.Context) (more bool) {
	for range trailBatch {
		if ctx.Err() != nil {
			return false
		}
		event, attempt, err := l.claimStored(ctx)
		if ctx.Err() == nil {
			logDelivery(l.log, l.failures, "claim", err)
		}
		if err != nil { // ErrNotFound if no event waits
			return false
		}
		// If attempt exceeds trailAttempts, OnEvent has ended the process or the goroutine in the
		// last attempt. OnEvent is not called again, because it could end this process, too.
		delivered := attempt <= trailAttempts && l.callOnEvent(event)
		switch {
		case delivered:
		case attempt < trailAttempts:
			continue // the event can be claimed again once this claim has expired
		default:
			l.lost.Add(1)
			l.log.ErrorContext(ctx, "auth: OnEvent failed too often: the event stays in the audit trail "+
				"and is not delivered again",
				"event", event, "attempts", attempt)
		}
		err = l.finishStored(ctx, event.ID)
		logDelivery(l.log, l.failures, "finish", err)
		if err != nil { // the event will be delivered again
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

// finishStored marks an event of the trail as delivered, even if ctx is done.
func (l *EventLog) finishStored(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), trailCallTimeout)
	defer cancel()
	// ErrNotFound means that the event has been pruned.
	if err := l.trail.FinishEvent(ctx, id); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

// emit sets the Client and ActorID of the event from ctx, and queues or logs the event. It never
// waits. If OnEvent does not keep up, emit drops and counts the event. A nil EventLog does nothing.
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
	// The event is queued before l.current is read. So either the last Run finds the event in the
	// queue, or l.current shows that no Run delivers events, and the event is logged.
	if l.onEvent == nil || l.current.Load() == nil {
		l.warnWithoutRun(ctx)
		if l.mayLog(ctx, e) {
			l.writeToLog(ctx, e)
		}
	}
}

// mayLog reports whether to write a log line about the event. Refusals have a limited number of lines,
// or clients could fill the disk. mayLog also logs how many refusals of earlier intervals had no line.
func (l *EventLog) mayLog(ctx context.Context, e Event) bool {
	log := defaults.Logger(l.log)
	for omitted, n := range l.lines.Omitted(l.clock) {
		log.WarnContext(ctx, "auth: further refusals had no line of their own", "kind", omitted.kind,
			"has_user", omitted.hasUser, "events", n)
	}
	if !e.isRejection() {
		return true
	}
	ok, last := l.lines.Spend(l.clock, loggedRefusals{e.Kind, e.UserID != ""})
	if last {
		log.WarnContext(ctx, "auth: further refusals of this kind are only counted for up to a minute",
			"kind", e.Kind, "has_user", e.UserID != "")
	}
	return ok
}

// warnWithoutRun logs one warning if the host has set OnEvent and has not called Run yet. Without
// the warning, the log would not say that Run is missing until the queue is full.
func (l *EventLog) warnWithoutRun(ctx context.Context) {
	if l.onEvent != nil && !l.everRan.Load() && l.warned.CompareAndSwap(false, true) {
		l.log.WarnContext(ctx, "auth: OnEvent is set and Run has not been called: until Run is called, "+
			"events go to the log and wait for OnEvent")
	}
}

// LogEvent writes the event to EventLogConfig.Logger, for an OnEvent that logs events: see
// [Service.LogEvent].
func (l *EventLog) LogEvent(e Event) {
	if l.mayLog(context.Background(), e) {
		l.writeToLog(context.Background(), e)
	}
}

// writeToLog writes the event to the log.
func (l *EventLog) writeToLog(ctx context.Context, e Event) {
	level := slog.LevelInfo
	if e.isRejection() {
		level = slog.LevelWarn
	}
	defaults.Logger(l.log).LogAttrs(ctx, level, "auth: "+string(e.Kind), slog.Any("event", e))
}

// enqueue puts the event into the queue, or counts it as dropped if maxWaiting events of its class
// are waiting.
func (l *EventLog) enqueue(ctx context.Context, e Event) {
	class := e.class()
	if l.waiting[class].Add(1) <= maxWaiting[class] {
		// This send never blocks: the queue has room for maxWaiting events of every class, and
		// l.waiting counts an event until the event has left the queue.
		l.queue <- e
		return
	}
	l.waiting[class].Add(-1)
	l.lost.Add(1)
	if l.dropped.Add(1) == 1 {
		l.log.ErrorContext(ctx, "auth: events are dropped: OnEvent does not keep up, or Run does not run",
			"kind", e.Kind)
	}
}

// recordSignIn records an attempt to sign in, and calls the SignIn hook. The began argument is the
// start of the attempt. If err is nil, the sign-in was accepted, and e names the user and session. If e has
// a Reason, it says who tries to sign in. The reason of a rejection then comes before it.
func (l *EventLog) recordSignIn(ctx context.Context, began time.Time, e Event, err error) {
	if l == nil {
		return
	}
	if l.hooks.SignIn != nil {
		l.callHook("SignIn", l.signInPanics, func() { l.hooks.SignIn(ctx, e.Method, err, time.Since(began)) })
	}
	var throttled *ThrottledError
	switch {
	case err == nil:
		e.Kind, e.ActorID = eventkind.SignedIn, e.UserID
	case errors.As(err, &throttled):
		e.Kind = eventkind.SignInThrottled
	default:
		by := e.Reason
		e.Kind, e.Reason = eventkind.SignInRejected, rejectionReason(err)
		if by != "" {
			e.Reason = text.Readable(e.Reason+"; "+by, maxReasonLength)
		}
		e.setSubject(err)
	}
	l.emit(ctx, e)
}

// recordTokenRejection records the rejection of a token if err is an ErrTokenRejected.
func (l *EventLog) recordTokenRejection(ctx context.Context, err error) {
	if errors.Is(err, ErrTokenRejected) {
		e := Event{Kind: eventkind.TokenRejected, Reason: rejectionReason(err)}
		e.setSubject(err)
		l.emit(ctx, e)
	}
}

// verifyHook returns a function that calls the Verify hook, or nil if there is no Verify hook.
func (l *EventLog) verifyHook() func(ctx context.Context, err error, cached bool, took time.Duration) {
	if l == nil || l.hooks.Verify == nil {
		return nil
	}
	return func(ctx context.Context, err error, cached bool, took time.Duration) {
		l.callHook("Verify", l.verifyPanics, func() { l.hooks.Verify(ctx, err, cached, took) })
	}
}

// callHook calls the hook with the given name. If the hook panics, callHook counts the panic and
// returns, so that the request continues.
func (l *EventLog) callHook(name string, panics *outage.Tracker, hook func()) {
	defer func() {
		if p := recover(); p != nil {
			logPanic(l.log, panics, "Hooks."+name, p)
		}
	}()
	hook()
}

// logDelivery records the result of a call with which [EventLog.Run] delivers the audit trail: "claim"
// or "finish". If a log line is due, logDelivery writes it.
func logDelivery(log *slog.Logger, failures *outage.Tracker, operation string, err error) {
	if err != nil && !errors.Is(err, ErrNotFound) {
		if r, due := failures.Fail(operation, 1); due {
			log.Error("auth: events of the audit trail cannot be delivered now; they will be delivered later",
				"failures", r.Failures, "since", r.Since, "error", err)
		}
	} else if r, due := failures.Succeed(operation); due {
		log.Info("auth: events of the audit trail are delivered again", "failures", r.Failures,
			"lasted", r.Lasted)
	}
}
