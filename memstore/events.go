package memstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
)

// trail is the audit trail. Every [eventList] in it begins with the oldest event.
type trail struct {
	events  eventList
	byID    map[string]*event
	byUser  map[string]eventList // events that are about this user
	byActor map[string]eventList // events that this user caused
	waiting eventList            // events that have not been delivered
}

// event is a record of the trail and the state of its delivery.
type event struct {
	record       auth.Event
	attempts     int
	claimedUntil time.Time
}

func newTrail() trail {
	return trail{
		byID:    make(map[string]*event),
		byUser:  make(map[string]eventList),
		byActor: make(map[string]eventList),
	}
}

// ListEvents implements [auth.EventStore]. If the filter names no user and no actor, ListEvents scans
// the events of all users between From and To, the newest first, until limit events match the filter.
func (s *accounts) ListEvents(
	ctx context.Context, filter auth.EventFilter, limit int,
) ([]auth.Event, error) {
	if err := check(ctx, filter); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	events := s.trail.events
	switch {
	case filter.UserID != "":
		events = s.trail.byUser[filter.UserID]
	case filter.ActorID != "":
		events = s.trail.byActor[filter.ActorID]
	}
	if filter.Before != "" {
		before, err := s.event(filter.Before)
		if err != nil {
			return nil, err
		}
		end, _ := events.place(before)
		events = events[:end]
	}
	if !filter.To.IsZero() {
		events = events[:events.since(filter.To)]
	}
	events = events[events.since(filter.From):]
	var page []auth.Event
	for _, found := range slices.Backward(events) {
		if len(page) >= limit {
			break
		}
		if (filter.Kind == "" || filter.Kind == found.record.Kind) &&
			(filter.ActorID == "" || filter.ActorID == found.record.ActorID) {
			page = append(page, found.record)
		}
	}
	return page, nil
}

// ClaimEvent implements [auth.EventStore]. It scans the waiting events from the oldest to the
// newest and stops at the first event that it can return. It skips events that are claimed, and all
// later events of the same users.
func (s *accounts) ClaimEvent(ctx context.Context, now, until time.Time) (auth.Event, int, error) {
	if err := check(ctx); err != nil {
		return auth.Event{}, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	blocked := make(set[string]) // users for whom the loop has met a claimed event
	for _, next := range s.trail.waiting {
		user := next.record.UserID
		switch {
		case blocked.has(user):
			continue
		case excludes(next.claimedUntil, now, until):
			if user != "" {
				blocked.add(user)
			}
			continue
		}
		next.claimedUntil = storedTime(until)
		next.attempts++
		return next.record, next.attempts, nil
	}
	return auth.Event{}, 0, fmt.Errorf("memstore: event to deliver: %w", auth.ErrNotFound)
}

// FinishEvent implements [auth.EventStore].
func (s *accounts) FinishEvent(ctx context.Context, id string) error {
	if err := check(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delivered, err := s.event(id)
	if err != nil {
		return err
	}
	s.trail.waiting.remove(delivered)
	return nil
}

// PruneEvents implements [auth.EventStore]. It holds the lock while it removes up to limit events.
func (s *accounts) PruneEvents(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := check(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.trail
	pruned := 0
	for pruned < limit && len(t.events) > 0 && t.events[0].record.At.Before(storedTime(before)) {
		old := t.events[0]
		delete(t.byID, old.record.ID)
		t.events.remove(old)
		t.waiting.remove(old)
		removeFrom(t.byUser, old.record.UserID, old)
		removeFrom(t.byActor, old.record.ActorID, old)
		pruned++
	}
	return pruned, nil
}

// event returns the event with this ID, or ErrNotFound. The caller holds the lock.
func (s *accounts) event(id string) (*event, error) {
	found := s.trail.byID[id]
	if found == nil {
		return nil, fmt.Errorf("memstore: event: %w", auth.ErrNotFound)
	}
	return found, nil
}

// subject is the user and the GitHub account that a change is about. userID is empty if the change
// is about no user or about several. account is zero if the change is about no account.
type subject struct {
	userID  string
	account auth.GitHubAccount
}

// addEvent adds w.Event to the trail. The parameter now is the time of the change, and the
// parameter about is the subject of the change. The caller holds the lock.
func (s *accounts) addEvent(w auth.Write, now time.Time, about subject) {
	record := w.Event
	if record.Kind == "" {
		return
	}
	if record.UserID == "" {
		record.UserID = about.userID
	}
	if record.GitHub == (auth.GitHubAccount{}) {
		record.GitHub = about.account
	}
	t := &s.trail
	record.ID, record.At = rand.Text(), now
	if earlier := t.byUser[record.UserID]; len(earlier) > 0 {
		record.At = latest(now, earlier[len(earlier)-1].record.At.Add(time.Microsecond))
	}
	added := &event{record: record}
	t.byID[record.ID] = added
	t.events.add(added)
	addTo(t.byUser, record.UserID, added)
	addTo(t.byActor, record.ActorID, added)
	if w.Deliver {
		t.waiting.add(added)
	}
}

// blankClients clears the field Client in every event whose actor is the given user. The caller
// holds the lock.
func (t *trail) blankClients(actorID string) {
	for _, caused := range t.byActor[actorID] {
		caused.record.Client = auth.ClientInfo{}
	}
}

// eventList contains events in ascending order of At. Events with the same At are sorted by ID.
type eventList []*event

func (l eventList) place(e *event) (int, bool) {
	return slices.BinarySearchFunc(l, e, func(a, b *event) int {
		if order := a.record.At.Compare(b.record.At); order != 0 {
			return order
		}
		return strings.Compare(a.record.ID, b.record.ID)
	})
}

// since returns the index of the first event whose At is the given time or later.
func (l eventList) since(at time.Time) int {
	i, _ := slices.BinarySearchFunc(l, at, func(e *event, at time.Time) int {
		return e.record.At.Compare(at)
	})
	return i
}

func (l *eventList) add(e *event) {
	i, _ := l.place(e)
	*l = slices.Insert(*l, i, e)
}

// remove removes the event if the list contains it. Removing the first event moves no other event,
// so pruning the oldest events is cheap.
func (l *eventList) remove(e *event) {
	switch i, found := l.place(e); {
	case !found:
	case i == 0:
		(*l)[0] = nil // otherwise the backing array would keep the event alive
		*l = (*l)[1:]
	default:
		*l = slices.Delete(*l, i, i+1)
	}
}

// addTo adds the event to the list of the user. If userID is empty, there is no user, and addTo
// does nothing.
func addTo(lists map[string]eventList, userID string, e *event) {
	if userID == "" {
		return
	}
	list := lists[userID]
	list.add(e)
	lists[userID] = list
}

func removeFrom(lists map[string]eventList, userID string, e *event) {
	list := lists[userID]
	list.remove(e)
	if len(list) == 0 {
		delete(lists, userID)
	} else {
		lists[userID] = list
	}
}
