package auth

import (
	"cmp"
	"context"
	"time"
)

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
