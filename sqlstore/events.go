package sqlstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"net/netip"
	"time"

	"github.com/sallyport-go/auth"
)

// about contains the user ID and the GitHub account that a change affects. The user ID is empty if
// the change affects no user, or several users. Likewise, the account is zero if the change affects
// no account, or several accounts.
type about struct {
	userID string
	github auth.GitHubAccount
}

const (
	insertEvent = `
INSERT INTO auth_events
	(at, id, kind, user_id, actor_id, by_host, session_id, access_key, method, github_host, github_id,
	reason, address, user_agent, request_id, pending, claimed_until, attempts)
`
	eventOfNobody = insertEvent + `
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)`

	// Each event of a user gets a later time than the events before it. The user is locked, so no
	// concurrent transaction computes the same time.
	eventOfUser = insertEvent + `
SELECT CASE WHEN MAX(e.at) >= ? THEN MAX(e.at) + 1 ELSE ? END,
	?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0
FROM auth_events e WHERE e.user_id = ?`
)

// addEvent adds the event of the change to the audit trail, unless the change has no event. Call
// addEvent before locking the head of the revocation feed. The head is then locked for a shorter
// time, and other transactions wait less.
func (a acting) addEvent(ctx context.Context, of about) error {
	e := a.w.Event
	if e.Kind == "" {
		return nil
	}
	if e.UserID == "" {
		e.UserID = of.userID
	}
	if e.GitHub == (auth.GitHubAccount{}) {
		e.GitHub = of.github
	}
	if _, exists := a.users[e.ActorID]; a.store.keepsUsers() && e.ActorID != "" && !exists {
		e.Client = auth.ClientInfo{} // the actor has been deleted
	}
	address := ""
	if e.Client.Address.IsValid() {
		address = e.Client.Address.String()
	}
	at := toMicros(a.now)
	record := []any{
		rand.Text(), string(e.Kind), e.UserID, e.ActorID, e.Host, e.SessionID, e.AccessKey, string(e.Method),
		e.GitHub.Host, e.GitHub.ID, e.Reason, address, e.Client.UserAgent, e.Client.RequestID, flag(a.w.Deliver),
	}
	if e.UserID == "" {
		return a.change(ctx, eventOfNobody, append([]any{at}, record...)...)
	}
	return a.change(ctx, eventOfUser, append(append([]any{at, at}, record...), e.UserID)...)
}

const blankClient = `UPDATE auth_events SET address = '', user_agent = '', request_id = '' WHERE actor_id = ?`

const eventColumns = `e.id, e.kind, e.at, e.user_id, e.actor_id, e.by_host, e.session_id, e.access_key, e.method,
	e.github_host, e.github_id, e.reason, e.address, e.user_agent, e.request_id`

func eventFields(e *auth.Event) []any {
	return []any{&e.ID, &e.Kind, micros{&e.At}, &e.UserID, &e.ActorID, &e.Host, &e.SessionID,
		&e.AccessKey, &e.Method,
		&e.GitHub.Host, &e.GitHub.ID, &e.Reason, address{&e.Client.Address}, &e.Client.UserAgent, &e.Client.RequestID}
}

// address scans a column that contains an IP address. An empty column becomes the zero netip.Addr.
type address struct{ into *netip.Addr }

// Scan implements [sql.Scanner].
func (a address) Scan(value any) (err error) {
	var text string
	if err := (orZero[string]{&text}).Scan(value); err != nil || text == "" {
		*a.into = netip.Addr{}
		return err
	}
	*a.into, err = netip.ParseAddr(text)
	return err
}

const selectEventTime = `SELECT e.at FROM auth_events e WHERE e.id = ?`

// ListEvents implements [auth.EventStore].
func (s *core) ListEvents(
	ctx context.Context, filter auth.EventFilter, limit int,
) ([]auth.Event, error) {
	if err := cmp.Or(ctx.Err(), filter.Validate()); err != nil {
		return nil, err
	}
	return read(ctx, s, "list events", func(ctx context.Context, q querier) ([]auth.Event, error) {
		if filter.Before != "" && !storable(filter.Before, auth.MaxIDLength) {
			return nil, auth.ErrNotFound
		}
		if !mayFilter(filter.UserID) || !mayFilter(filter.ActorID) || !mayFilter(string(filter.Kind)) {
			return nil, ctx.Err()
		}
		var before int64
		if filter.Before != "" {
			if err := scan(q.row(ctx, selectEventTime, filter.Before), &before); err != nil {
				return nil, err
			}
		}
		if limit < 1 {
			return nil, ctx.Err()
		}
		events := listing(filter, before, limit)
		return collect(ctx, q, eventFields, events.text, events.arguments...)
	})
}

// mayFilter reports whether events can match a filter with this value. An empty value matches all
// events.
func mayFilter(value string) bool { return value == "" || storable(value, auth.MaxIDLength) }

// listing returns the query for the events that match the filter. The parameter before is the time
// of the event with the ID filter.Before. It is not used if filter.Before is empty.
func listing(filter auth.EventFilter, before int64, limit int) (q query) {
	q.text = `SELECT ` + eventColumns + ` FROM auth_events e WHERE 1 = 1`
	add := func(condition string, arguments ...any) {
		q.text += condition
		q.arguments = append(q.arguments, arguments...)
	}
	if filter.UserID != "" {
		add(` AND e.user_id = ?`, filter.UserID)
	}
	if filter.ActorID != "" {
		add(` AND e.actor_id = ?`, filter.ActorID)
	}
	if filter.Kind != "" {
		add(` AND e.kind = ?`, string(filter.Kind))
	}
	if !filter.From.IsZero() {
		add(` AND e.at >= ?`, toLaterMicros(filter.From))
	}
	if !filter.To.IsZero() {
		add(` AND e.at < ?`, toLaterMicros(filter.To))
	}
	// This condition means (at, id) < (?, ?), but in that form MySQL would use no index.
	if filter.Before != "" {
		add(` AND e.at <= ? AND (e.at < ? OR e.id < ?)`, before, before, filter.Before)
	}
	add(` ORDER BY e.at DESC, e.id DESC LIMIT ?`, limit)
	return q
}

const (
	// lockNextEvent locks the oldest event that can be delivered. While an earlier event of the
	// same user is pending, an event cannot be delivered. This is also true if another transaction
	// has locked the earlier event.
	lockNextEvent = `
SELECT ` + eventColumns + `, e.attempts FROM auth_events e
WHERE e.pending = 1 AND (e.claimed_until <= ? OR e.claimed_until > ?) AND (e.user_id = '' OR NOT EXISTS (
	SELECT 1 FROM auth_events p
	WHERE p.pending = 1 AND p.user_id = e.user_id AND p.at <= e.at AND (p.at < e.at OR p.id < e.id)))
ORDER BY e.at, e.id LIMIT 1 FOR UPDATE SKIP LOCKED`
	earlierEvent = `
SELECT COUNT(*) FROM auth_events p
WHERE p.pending = 1 AND p.user_id = ? AND p.at <= ? AND (p.at < ? OR p.id < ?)`
	claimEvent = `UPDATE auth_events SET claimed_until = ?, attempts = ? WHERE id = ?`
)

// ClaimEvent implements [auth.EventStore].
func (s *core) ClaimEvent(ctx context.Context, now, until time.Time) (auth.Event, int, error) {
	if err := ctx.Err(); err != nil {
		return auth.Event{}, 0, err
	}
	attempts := 0
	event, err := writeFor(ctx, s, "claim event",
		func(ctx context.Context, t tx) (event auth.Event, err error) {
			fields := append(eventFields(&event), &attempts)
			next := t.row(ctx, lockNextEvent, toMicros(now), latestEnd(now, until))
			if err := scan(next, fields...); err != nil {
				return event, err
			}
			if err := keepOrder(ctx, t, event); err != nil {
				return event, err
			}
			attempts++
			return event, t.change(ctx, claimEvent, toMicros(until), attempts, event.ID)
		})
	if err != nil {
		return auth.Event{}, 0, err
	}
	return event, attempts, nil
}

// keepOrder returns [auth.ErrNotFound] if an earlier event of the same user is pending. This can
// happen on MySQL if two events of a user are added while lockNextEvent runs. The query can then
// return the later event: see dialect.locksUnread. The next call of ClaimEvent sees both events and
// returns the earlier event.
func keepOrder(ctx context.Context, t tx, event auth.Event) error {
	if !t.store.dialect.locksUnread || event.UserID == "" {
		return nil
	}
	at, earlier := toMicros(event.At), 0
	err := t.row(ctx, earlierEvent, event.UserID, at, at, event.ID).Scan(&earlier)
	if err == nil && earlier > 0 {
		err = auth.ErrNotFound
	}
	return err
}

const (
	lockEvent   = `SELECT e.id FROM auth_events e WHERE e.id = ? FOR UPDATE`
	finishEvent = `UPDATE auth_events SET pending = 0 WHERE id = ?`
)

// FinishEvent implements [auth.EventStore]. FinishEvent selects the event before it updates the
// event. The row count of the update would not show whether the event exists, because MySQL does
// not count a row whose values stay the same.
func (s *core) FinishEvent(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !storable(id, auth.MaxIDLength) {
		return auth.ErrNotFound
	}
	return s.write(ctx, "finish event", func(ctx context.Context, t tx) error {
		if err := scan(t.row(ctx, lockEvent, id), &id); err != nil {
			return err
		}
		return t.change(ctx, finishEvent, id)
	})
}

const (
	oldEvents = `
SELECT e.id FROM auth_events e WHERE e.at < ? ORDER BY e.at, e.id LIMIT ? FOR UPDATE SKIP LOCKED`
	deleteEvents = `DELETE FROM auth_events WHERE id `
)

// PruneEvents implements [auth.EventStore].
func (s *core) PruneEvents(ctx context.Context, before time.Time, limit int) (int, error) {
	return prune[string](ctx, s, "prune events", limit, dueBy(oldEvents, before), deleteEvents)
}
