package kvstore

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"time"

	"github.com/sallyport-go/auth"
)

// delivery is the state of an event that waits for delivery.
type delivery struct {
	UserID       string
	ClaimedUntil time.Time
	Attempts     int
}

// addEvent adds the event of the change. The parameter userID is the ID of the user whom the change
// is about. It is empty if the change is not about one user.
func (c *change) addEvent(userID string) error {
	e := c.write.Event
	if e.Kind == "" {
		return nil
	}
	if e.UserID == "" {
		e.UserID = userID
	}
	if e.GitHub == (auth.GitHubAccount{}) {
		e.GitHub = c.github
	}
	e.ID, e.At = rand.Text(), c.now
	for newest := range c.backwards(eventsAbout, userPrefix(e.UserID), "") {
		e.At = latest(c.now, timeOf(newest).Add(time.Microsecond))
		break
	}
	for _, indexed := range eventEntries(e) {
		if err := c.bucket(indexed.bucket).Put([]byte(indexed.key), nil); err != nil {
			return err
		}
	}
	if err := c.put(events, e.ID, e); err != nil || !c.write.Deliver {
		return err
	}
	return c.put(waiting, expiryKey(e.At, e.ID), delivery{UserID: e.UserID})
}

// eventEntries returns the index entries that must exist for the event.
func eventEntries(e auth.Event) []entry {
	key := expiryKey(e.At, e.ID)
	indexed := []entry{{eventTimes, key}}
	if e.UserID != "" {
		indexed = append(indexed, entry{eventsAbout, userPrefix(e.UserID) + key})
	}
	if e.ActorID != "" {
		indexed = append(indexed, entry{eventsBy, userPrefix(e.ActorID) + key})
	}
	return indexed
}

// event returns the event with this ID, or [auth.ErrNotFound].
func (t tx) event(id string) (e auth.Event, err error) {
	text := t.bucket(events).Get([]byte(id))
	if text == nil {
		return e, auth.ErrNotFound
	}
	err = json.Unmarshal(text, &e)
	return e, err
}

// ListEvents implements [auth.EventStore].
func (s *Store) ListEvents(
	ctx context.Context, filter auth.EventFilter, limit int,
) (page []auth.Event, err error) {
	if err := check(ctx, filter); err != nil {
		return nil, err
	}
	err = s.view(ctx, func(t tx) error {
		index, prefix, before := eventTimes, "", ""
		switch {
		case filter.UserID != "":
			index, prefix = eventsAbout, userPrefix(filter.UserID)
		case filter.ActorID != "":
			index, prefix = eventsBy, userPrefix(filter.ActorID)
		}
		if !filter.To.IsZero() { // rounded up to the microsecond, because events are at whole microseconds
			before = timeKey(filter.To.Add(time.Microsecond - 1))
		}
		if filter.Before != "" {
			e, err := t.event(filter.Before)
			if err != nil {
				return err
			}
			if key := expiryKey(e.At, e.ID); before == "" || key < before {
				before = key
			}
		}
		for key := range t.backwards(index, prefix, before) {
			if len(page) >= limit || timeOf(key).Before(filter.From) {
				break
			}
			e, err := t.event(key[timeLength:])
			if err != nil {
				return err
			}
			if (filter.Kind == "" || e.Kind == filter.Kind) &&
				(filter.ActorID == "" || e.ActorID == filter.ActorID) {
				page = append(page, e)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return page, nil
}

// ClaimEvent implements [auth.EventStore]. It skips events that are claimed, and all later events
// of the same users.
func (s *Store) ClaimEvent(
	ctx context.Context, now, until time.Time,
) (e auth.Event, attempt int, err error) {
	err = s.update(ctx, func(t tx) error {
		held := map[string]bool{} // users for whom the loop has met a claimed event
		cursor := t.bucket(waiting).Cursor()
		for key, text := cursor.First(); key != nil; key, text = cursor.Next() {
			var d delivery
			if err := json.Unmarshal(text, &d); err != nil {
				return err
			}
			if held[d.UserID] || excludes(d.ClaimedUntil, now, until) {
				held[d.UserID] = d.UserID != ""
				continue
			}
			d.ClaimedUntil, d.Attempts = kept(until), d.Attempts+1
			attempt = d.Attempts
			if e, err = t.event(string(key[timeLength:])); err != nil {
				return err
			}
			return t.put(waiting, string(key), d)
		}
		return auth.ErrNotFound
	})
	if err != nil {
		return auth.Event{}, 0, err
	}
	return e, attempt, nil
}

// FinishEvent implements [auth.EventStore].
func (s *Store) FinishEvent(ctx context.Context, id string) error {
	return s.update(ctx, func(t tx) error {
		e, err := t.event(id)
		if err != nil {
			return err
		}
		return t.bucket(waiting).Delete([]byte(expiryKey(e.At, id)))
	})
}

// PruneEvents implements [auth.EventStore].
func (s *Store) PruneEvents(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.prune(ctx, eventTimes, kept(before).Add(-time.Microsecond), limit, tx.removeEvent)
}

func (t tx) removeEvent(id string) error {
	e, err := t.event(id)
	if err != nil {
		return err
	}
	for _, indexed := range append(eventEntries(e), entry{waiting, expiryKey(e.At, id)},
		entry{events, id}) {
		if err := t.bucket(indexed.bucket).Delete([]byte(indexed.key)); err != nil {
			return err
		}
	}
	return nil
}

// blankClients empties the field Client of every event whose ActorID is the given ID.
func (t tx) blankClients(actorID string) error {
	prefix := userPrefix(actorID)
	for _, key := range t.keysUnder(eventsBy, prefix) {
		e, err := t.event(key[len(prefix)+timeLength:])
		if err != nil {
			return err
		}
		e.Client = auth.ClientInfo{}
		if err := t.put(events, e.ID, e); err != nil {
			return err
		}
	}
	return nil
}
