package storetest

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/stretchr/testify/require"
)

// Each of the deliveryPromises needs its own store, because it is about all events of a store.
var deliveryPromises = []promise[auth.AccountStore]{
	{"the whole trail is listed page by page", ofTrail(wholeTrailListed)},
	{"events to deliver are handed out in order, once each", ofTrail(deliveredInOrder)},
	{"an event that is not finished is handed out again, and counted", ofTrail(deliveredAgain)},
	{"a clock that is ahead does not hold an event for long", ofTrail(claimedAhead)},
	{"a later event of a user waits for the earlier one", ofTrail(userOrderKept)},
	{"events without a user do not wait for each other", ofTrail(nobodysEvents)},
	{"concurrent calls are handed different events", ofTrail(racingClaims)},
	{"no event is lost, whatever the order of commits", ofTrail(lateCommitDelivered)},
	{"every event is delivered once while many callers change and deliver", ofTrail(noneLost)},
	{"pruning removes old events, whether or not they wait", ofTrail(eventsPruned)},
}

// toDeliver returns a write whose event waits for delivery.
func toDeliver(at time.Time) auth.Write {
	write := withEvent(byHost(at))
	write.Deliver = true
	return write
}

func claim(t *testing.T, store trailStore, at time.Time, wantAttempt int) auth.Event {
	t.Helper()
	event, attempt, err := store.ClaimEvent(t.Context(), at, at.Add(time.Minute))
	require.NoError(t, err)
	require.Equal(t, wantAttempt, attempt)
	return event
}

func requireNoClaim(t *testing.T, store trailStore, at time.Time) {
	t.Helper()
	event, attempt, err := store.ClaimEvent(t.Context(), at, at.Add(time.Minute))
	require.ErrorIs(t, err, auth.ErrNotFound)
	require.Zero(t, event)
	require.Zero(t, attempt)
}

func finish(t *testing.T, store trailStore, event auth.Event) {
	t.Helper()
	require.NoError(t, store.FinishEvent(t.Context(), event.ID))
}

// byOrder compares two events in the order of the trail: by time, and then by ID.
func byOrder(a, b auth.Event) int {
	if order := a.At.Compare(b.At); order != 0 {
		return order
	}
	return strings.Compare(a.ID, b.ID)
}

// addEvents adds n events of several users at a few different times, and returns them in order.
func addEvents(t *testing.T, store trailStore, n int) []auth.Event {
	t.Helper()
	var events []auth.Event
	for i := range n {
		user, _ := register(t, store, newUser())
		events = append(events, addEvent(t, store, user,
			toDeliver(now.Add(time.Duration(i%3)*time.Minute))))
	}
	slices.SortFunc(events, byOrder)
	return events
}

func wholeTrailListed(t *testing.T, store trailStore) {
	require.Empty(t, listEvents(t, store, auth.EventFilter{}, 10))
	want := addEvents(t, store, 10)
	slices.Reverse(want)
	for _, size := range []int{1, 3, 100} {
		var got []auth.Event
		for filter := (auth.EventFilter{}); ; filter.Before = got[len(got)-1].ID {
			page := listEvents(t, store, filter, size)
			got = append(got, page...)
			if len(page) < size {
				break
			}
		}
		require.Equal(t, want, got)
	}
}

func deliveredInOrder(t *testing.T, store trailStore) {
	requireNoClaim(t, store, now)
	user, _ := register(t, store, newUser())
	silent := addEvent(t, store, user, withEvent(byHost(now)))
	later := now.Add(time.Hour)
	for _, want := range addEvents(t, store, 7) {
		got := claim(t, store, later, 1)
		require.Equal(t, want, got)
		finish(t, store, got)
		finish(t, store, got) // an event may be finished twice
	}
	requireNoClaim(t, store, later)
	requireNoClaim(t, store, later.Add(1000*time.Hour))
	finish(t, store, silent) // the event silent does not wait for delivery
	require.Len(t, listEvents(t, store, auth.EventFilter{}, 100), 8,
		"finished events must stay in the trail")
}

func deliveredAgain(t *testing.T, store trailStore) {
	want := addEvents(t, store, 1)[0]
	at := now.Add(time.Hour)
	for attempt := 1; attempt < 5; attempt++ {
		require.Equal(t, want, claim(t, store, at, attempt))
		requireNoClaim(t, store, at)
		requireNoClaim(t, store, at.Add(time.Minute-time.Microsecond))
		at = at.Add(time.Minute)
	}
	finish(t, store, want)
	requireNoClaim(t, store, at.Add(time.Hour))
}

// claimedAhead claims an event with a clock that is ahead. This claim ends later than any claim by
// a correct clock. Therefore, another call may claim the event at once.
func claimedAhead(t *testing.T, store trailStore) {
	user, _ := register(t, store, newUser())
	first := addEvent(t, store, user, toDeliver(now))
	second := addEvent(t, store, user, toDeliver(now.Add(time.Second)))
	// this claim ends two minutes after now
	require.Equal(t, first, claim(t, store, now.Add(time.Minute), 1))
	requireNoClaim(t, store, now)
	require.Equal(t, first, claim(t, store, now.Add(-time.Microsecond), 2),
		"the claim was made by a clock that is ahead")
	require.Equal(t, first, claim(t, store, now.Add(time.Hour), 3))
	at := now.Add(time.Minute)
	require.Equal(t, first, claim(t, store, at, 4))
	requireNoClaim(t, store, at)
	finish(t, store, first)
	require.Equal(t, second, claim(t, store, at, 1))
}

func userOrderKept(t *testing.T, store trailStore) {
	user, _ := register(t, store, newUser())
	other, _ := register(t, store, newUser())
	first := addEvent(t, store, user, toDeliver(now))
	second := addEvent(t, store, user, toDeliver(now.Add(time.Second)))
	elsewhere := addEvent(t, store, other, toDeliver(now.Add(time.Minute)))
	at := now.Add(time.Hour)
	require.Equal(t, first, claim(t, store, at, 1))
	require.Equal(t, elsewhere, claim(t, store, at, 1), "another user's event must not wait")
	requireNoClaim(t, store, at)
	require.Equal(t, first, claim(t, store, at.Add(time.Minute), 2))
	finish(t, store, first)
	require.Equal(t, second, claim(t, store, at.Add(time.Minute), 1))
}

func nobodysEvents(t *testing.T, store trailStore) {
	for i := range 3 {
		require.NoError(t, store.RevokeEverybody(t.Context(),
			toDeliver(now.Add(time.Duration(i)*time.Second)), 0))
	}
	ids := map[string]bool{}
	for range 3 {
		event := claim(t, store, now.Add(time.Hour), 1)
		require.Empty(t, event.UserID)
		ids[event.ID] = true
	}
	require.Len(t, ids, 3)
}

func racingClaims(t *testing.T, store trailStore) {
	addEvents(t, store, contenders/2)
	events := make([]auth.Event, contenders)
	errs := race(contenders, func(i int) (err error) {
		events[i], _, err = store.ClaimEvent(t.Context(), now.Add(time.Hour), now.Add(2*time.Hour))
		return err
	})
	handed := map[string]bool{}
	for i, err := range errs {
		if err != nil {
			require.ErrorIs(t, err, auth.ErrNotFound)
			continue
		}
		require.False(t, handed[events[i].ID], "an event was handed out twice")
		handed[events[i].ID] = true
	}
	// A call may find no event because another call has locked the next one. A later call must
	// return that event.
	for {
		event, _, err := store.ClaimEvent(t.Context(), now.Add(time.Hour), now.Add(2*time.Hour))
		if errors.Is(err, auth.ErrNotFound) {
			break
		}
		require.NoError(t, err)
		require.False(t, handed[event.ID])
		handed[event.ID] = true
	}
	require.Len(t, handed, contenders/2)
}

// deliverAll claims and finishes events until it finds none.
func deliverAll(ctx context.Context, store trailStore, delivered func(auth.Event)) error {
	for {
		event, _, err := store.ClaimEvent(ctx, now.Add(time.Hour), now.Add(2*time.Hour))
		if errors.Is(err, auth.ErrNotFound) {
			return nil
		}
		if err == nil {
			delivered(event)
			err = store.FinishEvent(ctx, event.ID)
		}
		if err != nil {
			return err
		}
	}
}

// lateCommitDelivered blocks one change. Meanwhile, if the store allows it, a later change commits
// and its event is delivered. The first change then commits, and its event must be delivered, too.
//
// Some stores number each change before the change commits, and deliver events in the order of the
// numbers. After such a store has delivered the later event, it never delivers the first event,
// because the first event has a smaller number.
func lateCommitDelivered(t *testing.T, store trailStore) {
	user, _ := register(t, store, newUser())
	other, _ := register(t, store, newUser())
	late, early := toDeliver(now), toDeliver(now.Add(time.Minute))
	var kinds []eventkind.Kind
	deliver := func(ctx context.Context) error {
		return deliverAll(ctx, store, func(e auth.Event) { kinds = append(kinds, e.Kind) })
	}
	h := callBehind(t, t.Context(), 20*graceOf(t, store), now,
		func(ctx context.Context, hold func(auth.Write) auth.Write) error {
			return store.AddKey(ctx, hold(late), newKey(user))
		},
		func(ctx context.Context) error {
			if err := store.AddKey(ctx, early, newKey(other)); err != nil {
				return err
			}
			return deliver(ctx)
		})
	require.NoError(t, h.firstErr)
	require.NoError(t, h.secondErr)
	require.NoError(t, deliver(t.Context()))
	require.ElementsMatch(t, []eventkind.Kind{late.Event.Kind, early.Event.Kind}, kinds)
}

func noneLost(t *testing.T, store trailStore) {
	const each, deliverers = 5, 3
	for range rounds(t) {
		users := make([]auth.User, contenders)
		for i := range users {
			users[i], _ = register(t, store, newUser())
		}
		var mu sync.Mutex
		delivered := map[string]int{}
		deliver := func() error {
			return deliverAll(t.Context(), store, func(e auth.Event) {
				mu.Lock()
				defer mu.Unlock()
				delivered[e.ID]++
			})
		}
		require.NoError(t, errors.Join(race(contenders+deliverers, func(i int) error {
			for n := range each {
				var err error
				if i < contenders {
					err = store.AddKey(t.Context(),
						toDeliver(now.Add(time.Duration(n)*time.Second)), newKey(users[i]))
				} else {
					err = deliver()
				}
				if err != nil {
					return err
				}
			}
			return nil
		})...))
		require.NoError(t, deliver())
		require.Len(t, delivered, contenders*each)
		for id, times := range delivered {
			require.Equal(t, 1, times, id)
		}
	}
}

func eventsPruned(t *testing.T, store trailStore) {
	events := addEvents(t, store, 9) // three events at each of three times
	finish(t, store, events[0])
	for _, test := range []struct {
		before       time.Time
		limit, prune int
	}{
		{now, 10, 0},
		{now.Add(time.Microsecond), 0, 0},
		{now.Add(time.Microsecond), -1, 0},
		{now.Add(time.Microsecond), 2, 2},
		{now.Add(time.Microsecond), 2, 1},
		{now.Add(time.Minute), math.MaxInt, 0},
		{now.Add(time.Minute + time.Microsecond).In(time.FixedZone("east", 3600)), math.MaxInt, 3},
	} {
		n, err := store.PruneEvents(t.Context(), test.before, test.limit)
		require.NoError(t, err)
		require.Equal(t, test.prune, n)
	}
	left := slices.Clone(events[6:])
	slices.Reverse(left)
	require.Equal(t, left, listEvents(t, store, auth.EventFilter{}, 100))
	require.ErrorIs(t, store.FinishEvent(t.Context(), events[1].ID), auth.ErrNotFound)
	_, err := store.ListEvents(t.Context(), auth.EventFilter{Before: events[1].ID}, 1)
	require.ErrorIs(t, err, auth.ErrNotFound)
	require.Equal(t, events[6], claim(t, store, now.Add(time.Hour), 1),
		"a pruned event must not wait for delivery")
}
