package storetest

import (
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/stretchr/testify/require"
)

// eventsBetween lists the events of a user between all pairs of times around the events. Two events are one
// microsecond apart, and two users have an event at the same time.
func eventsBetween(t *testing.T, store trailStore) {
	user, _ := register(t, store, newUser())
	other, _ := register(t, store, newUser())
	kinds := []eventkind.Kind{eventkind.Kind(unique("odd")), eventkind.Kind(unique("even"))}
	var all []auth.Event // the newest first
	times := []time.Time{{}, now.Add(-time.Hour)}
	for i, after := range []time.Duration{0, time.Microsecond, time.Second, time.Minute, time.Hour} {
		write := byHost(now.Add(after))
		write.Event = auth.Event{Kind: kinds[i%2], ActorID: user.ID}
		all = append([]auth.Event{addEvent(t, store, user, write)}, all...)
		write.Event = auth.Event{Kind: eventkind.Kind(unique("other")), ActorID: user.ID}
		addEvent(t, store, other, write)
		at := now.Add(after)
		// Times between two microseconds are exact bounds, too. The last zone is not UTC.
		times = append(times, at.Add(-time.Nanosecond), at.In(time.FixedZone("east", 3600)),
			at.Add(time.Nanosecond))
	}
	times = append(times, time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC))
	for _, from := range times {
		for _, to := range times {
			if !from.IsZero() && !to.IsZero() && !to.After(from) {
				continue
			}
			within := func(e auth.Event) bool {
				return !e.At.Before(from) && (to.IsZero() || e.At.Before(to))
			}
			for _, filter := range []auth.EventFilter{
				{UserID: user.ID}, {UserID: user.ID, Kind: kinds[0]}, {UserID: user.ID, ActorID: user.ID},
				{Kind: kinds[1]},
			} {
				var want []auth.Event
				for _, e := range all {
					if within(e) && (filter.Kind == "" || filter.Kind == e.Kind) {
						want = append(want, e)
					}
				}
				filter.From, filter.To = from, to
				require.Equal(t, want, listEvents(t, store, filter, 100), "from %v to %v", from, to)
				for _, before := range all { // it can be in the interval, before it or after it
					var older []auth.Event
					for _, e := range want {
						if e.At.Before(before.At) {
							older = append(older, e)
						}
					}
					filter.Before = before.ID
					require.Equal(t, older, listEvents(t, store, filter, 100), "from %v to %v", from, to)
				}
			}
			requireIntervalOfAll(t, store, auth.EventFilter{From: from, To: to}, all[0])
		}
	}
}

// requireIntervalOfAll requires that the filter, which selects events of all users, selects the event if and
// only if the event is between its times.
func requireIntervalOfAll(t *testing.T, store trailStore, filter auth.EventFilter, event auth.Event) {
	t.Helper()
	want := !event.At.Before(filter.From) && (filter.To.IsZero() || event.At.Before(filter.To))
	has := false
	for _, e := range listEvents(t, store, filter, 1000) {
		has = has || e.ID == event.ID
		require.False(t, e.At.Before(filter.From))
		require.True(t, filter.To.IsZero() || e.At.Before(filter.To))
	}
	require.Equal(t, want, has)
}

func invalidIntervals(t *testing.T, store trailStore) {
	for field, filters := range map[string][]auth.EventFilter{
		"from": {{From: time.Unix(-1, 0)}, {From: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"to": {
			{To: time.Unix(0, 0)}, {To: time.Date(100_000, 1, 1, 0, 0, 0, 0, time.UTC)},
			{From: now, To: now}, {From: now, To: now.Add(-time.Nanosecond)}, {From: now, To: now.In(time.FixedZone("", 3600))},
		},
	} {
		for _, filter := range filters {
			_, err := store.ListEvents(t.Context(), filter, 1)
			requireInvalidField(t, err, field)
		}
	}
}
