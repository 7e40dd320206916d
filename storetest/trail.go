package storetest

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/limits"
	"github.com/stretchr/testify/require"
)

var trailPromises = []promise[auth.AccountStore]{
	{"every change has one event", ofTrail(oneEventEach)},
	{"a change that is refused has no event", ofTrail(refusedHasNoEvent)},
	{"a write without an event adds none", ofTrail(noEventWanted)},
	{"an event is about the user and the account of the change", ofTrail(eventSubjects)},
	{"a sign-in with GitHub has an event if the link is new", ofTrail(signInEvents)},
	{"an event comes back unchanged, except for its ID and time", ofTrail(eventValues)},
	{"events of one user are in order, whatever the clock says", ofTrail(eventsInOrder)},
	{"concurrent events of a user have different times", ofTrail(racingEvents)},
	{"an event is visible as soon as its change is", ofTrail(eventWithChange)},
	{"an interrupted change and its event both exist or neither does", ofTrail(interruptedEvents)},
	{"events are listed by user, by kind and by page", ofTrail(eventsListed)},
	{"events are listed by time", ofTrail(eventsBetween)},
	{"listing before an unknown event fails", ofTrail(unknownEventListsNothing)},
	{"an interval of events that is not valid is refused", ofTrail(invalidIntervals)},
}

var trailPromisesOfUsers = []promise[auth.Store]{
	{"RegisterUsers adds one event, unless it adds no user", ofWholeTrail(registerUsersEvent)},
	{"a sign-in that grants super user rights has an event", ofWholeTrail(grantEvents)},
	{"deleting a user blanks the client of the user's events and removes no event", ofWholeTrail(deletionBlanks)},
}

// trailStore is a store with an audit trail.
type trailStore interface {
	auth.AccountStore
	auth.EventStore
}

// ofTrail turns a test that needs a store with an audit trail into a test of every store. If a
// store has no audit trail, the returned test does nothing.
func ofTrail(test func(t *testing.T, store trailStore)) func(t *testing.T, store auth.AccountStore) {
	return func(t *testing.T, store auth.AccountStore) {
		if trail, ok := store.(trailStore); ok {
			test(t, trail)
		}
	}
}

// ofWholeTrail does the same as ofTrail, but for a test that needs a store with users.
func ofWholeTrail(
	test func(t *testing.T, store auth.Store, trail trailStore),
) func(t *testing.T, store auth.Store) {
	return func(t *testing.T, store auth.Store) {
		if trail, ok := store.(trailStore); ok {
			test(t, store, trail)
		}
	}
}

// withEvent returns the write with an event of a unique kind.
func withEvent(w auth.Write) auth.Write {
	w.Event = auth.Event{Kind: eventkind.Kind(unique("kind")), Host: w.By.Host, ActorID: w.By.UserID}
	return w
}

// eventsOf returns the stored events that have the kind of the write's event, the newest first.
func eventsOf(t *testing.T, store auth.EventStore, w auth.Write) []auth.Event {
	t.Helper()
	return listEvents(t, store, auth.EventFilter{Kind: w.Event.Kind}, 1000)
}

func listEvents(t *testing.T, store auth.EventStore, filter auth.EventFilter, limit int) []auth.Event {
	t.Helper()
	events, err := store.ListEvents(t.Context(), filter, limit)
	require.NoError(t, err)
	return events
}

// addEvent stores the event of the write w, and returns the stored event. For this, addEvent
// revokes a new key of the user with the write.
func addEvent(t *testing.T, store trailStore, user auth.User, w auth.Write) auth.Event {
	t.Helper()
	require.NoError(t, store.RevokeKey(t.Context(), w, addKey(t, store, user, time.Time{}).ID))
	events := eventsOf(t, store, w)
	require.NotEmpty(t, events)
	return events[0]
}

func oneEventEach(t *testing.T, store trailStore) {
	for _, v := range verbsOf(store) {
		t.Run(v.name, func(t *testing.T) {
			a := newActor(t, store)
			try := v.prepare(t, store, a)
			write := withEvent(v.write(a.session, now))
			require.NoError(t, try.call(t.Context(), write))
			events := eventsOf(t, store, write)
			require.Len(t, events, 1)
			require.NotEmpty(t, events[0].ID)
			require.Equal(t, a.user.ID, events[0].ActorID)
			require.False(t, events[0].At.Before(now))
		})
	}
}

func refusedHasNoEvent(t *testing.T, store trailStore) {
	for _, v := range verbsOf(store) {
		t.Run(v.name, func(t *testing.T) {
			a := newActor(t, store)
			try := v.prepare(t, store, a)
			revokeToken(t, store, claimsOf(a.session))
			write := withEvent(v.write(a.session, now))
			require.ErrorIs(t, try.call(t.Context(), write), auth.ErrTokenRejected)
			require.Empty(t, eventsOf(t, store, write))
		})
	}
	a, write := newAccount(t, store), withEvent(byHost(now))
	taken := newKey(a.user)
	taken.ID = a.key.ID
	require.ErrorIs(t, store.AddKey(t.Context(), write, taken), auth.ErrExists)
	require.ErrorIs(t, store.RevokeKey(t.Context(), write, unique("none")), auth.ErrNotFound)
	require.ErrorIs(t, store.RevokeSession(t.Context(), write, unique("none")), auth.ErrNotFound)
	require.ErrorIs(t, store.ForgetGitHubAccount(t.Context(), write, newGitHubAccount()),
		auth.ErrNotFound)
	require.NoError(t, store.RevokeToken(t.Context(), claimsOf(a.session)))
	endEverybody(t, store, 0)
	require.ErrorIs(t, store.RevokeEverybody(t.Context(), write, 1), auth.ErrChanged)
	require.Empty(t, eventsOf(t, store, write))
}

func noEventWanted(t *testing.T, store trailStore) {
	for _, v := range verbsOf(store) {
		a := newActor(t, store)
		try := v.prepare(t, store, a)
		require.NoError(t, try.call(t.Context(), v.write(a.session, now)))
		for _, id := range append(try.changes, a.user.ID) {
			require.Empty(t, listEvents(t, store, auth.EventFilter{UserID: id}, 10), v.name)
		}
	}
}

// eventSubjects tests that the event of each change names the right user and GitHub account.
func eventSubjects(t *testing.T, store trailStore) {
	for _, v := range verbsOf(store) {
		t.Run(v.name, func(t *testing.T) {
			a := newActor(t, store)
			for _, given := range []auth.Event{{},
				{UserID: unique("user"), GitHub: newGitHubAccount()}} {
				try, write := v.prepare(t, store, a), withEvent(byHost(now))
				write.Event.UserID, write.Event.GitHub = given.UserID, given.GitHub
				require.NoError(t, try.call(t.Context(), write))
				got := eventsOf(t, store, write)[0]
				switch {
				case given.UserID != "":
					require.Equal(t, given.UserID, got.UserID)
				case v.name != "RevokeEverybody" && v.name != "RegisterUsers" &&
					v.name != "ForgetGitHubAccount":
					require.Equal(t, try.changes[0], got.UserID)
				}
				switch {
				case given.UserID != "":
					require.Equal(t, given.GitHub, got.GitHub)
				case len(try.accounts) > 0 && v.name != "ResetUser" && v.name != "DeleteUser":
					require.Equal(t, try.accounts[0], got.GitHub)
				}
			}
		})
	}
}

func signInEvents(t *testing.T, store trailStore) {
	first := asKept(store, firstSignIn(newUser()))
	write := withEvent(byHost(now))
	_, user, err := store.SignInGitHub(t.Context(), write, first)
	require.NoError(t, err)
	events := eventsOf(t, store, write)
	require.Len(t, events, 1)
	require.Equal(t, user.ID, events[0].UserID)
	require.Equal(t, first.Link.Account, events[0].GitHub)

	a := linked{user: user, link: first.Link, token: *first.Token}
	write = withEvent(byHost(now))
	_, _, err = store.SignInGitHub(t.Context(), write, a.nextSignIn())
	require.NoError(t, err)
	require.Empty(t, eventsOf(t, store, write), "a later sign-in changes nothing that lasts")
}

// eventFields contains the text fields of an event.
var eventFields = []field[auth.Event]{
	{"kind", limits.ID, true, func(e *auth.Event) *string { return (*string)(&e.Kind) }},
	{"user_id", limits.ID, false, func(e *auth.Event) *string { return &e.UserID }},
	{"actor_id", limits.ID, false, func(e *auth.Event) *string { return &e.ActorID }},
	{"host", limits.ID, false, func(e *auth.Event) *string { return &e.Host }},
	{"session_id", limits.ID, false, func(e *auth.Event) *string { return &e.SessionID }},
	{"access_key", limits.AccessKey, false, func(e *auth.Event) *string { return &e.AccessKey }},
	{"method", limits.ID, false, func(e *auth.Event) *string { return (*string)(&e.Method) }},
	{"host", limits.GitHubHost, false, func(e *auth.Event) *string { return &e.GitHub.Host }},
	{"reason", limits.Reason, false, func(e *auth.Event) *string { return &e.Reason }},
	{"user_agent", limits.UserAgent, false, func(e *auth.Event) *string { return &e.Client.UserAgent }},
	{"request_id", limits.UserAgent, false, func(e *auth.Event) *string { return &e.Client.RequestID }},
}

func eventValues(t *testing.T, store trailStore) {
	user, _ := register(t, store, newUser())
	requireKept := func(fill func(limit int) string, client netip.Addr, githubID int64) {
		t.Helper()
		write := byHost(now.Add(999).In(time.FixedZone("east", 3600)))
		for _, field := range eventFields {
			*field.of(&write.Event) = fill(field.limit)
		}
		write.Event.Client.Address, write.Event.GitHub.ID = client, githubID
		// The actor must exist, because a store may clear the client of an unknown actor.
		actor := newUser()
		actor.ID = write.Event.ActorID
		register(t, store, actor)
		want := write.Event
		got := addEvent(t, store, user, write)
		want.ID, want.At = got.ID, now
		require.Equal(t, want, got)
	}
	for i, address := range []string{"192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "fe80::1"} {
		requireKept(func(limit int) string { return fill(unique(""), "漢", limit) },
			netip.MustParseAddr(address), int64(i+1))
	}
	for _, strange := range strangeTexts {
		requireKept(func(int) string { return unique("") + strange }, netip.Addr{}, 1<<53+1)
	}
	for _, field := range eventFields {
		for _, bad := range field.badValues() {
			if bad == "" {
				continue // an empty kind means no event
			}
			write := withEvent(byHost(now))
			*field.of(&write.Event) = bad
			key := newKey(user)
			requireInvalidField(t, store.AddKey(t.Context(), write, key), field.name)
			requireNoKey(t, store, key.ID)
		}
	}
}

func eventsInOrder(t *testing.T, store trailStore) {
	user, _ := register(t, store, newUser())
	other, _ := register(t, store, newUser())
	want := []time.Time{now, now.Add(time.Microsecond), now.Add(2 * time.Microsecond),
		now.Add(time.Hour), now.Add(time.Hour + time.Microsecond)}
	for i, at := range []time.Time{now, now, now.Add(-time.Hour), now.Add(time.Hour), now} {
		require.Equal(t, want[i], addEvent(t, store, user, withEvent(byHost(at))).At)
	}
	require.Equal(t, now, addEvent(t, store, other, withEvent(byHost(now))).At,
		"events of another user have a separate order")
	events := listEvents(t, store, auth.EventFilter{UserID: user.ID}, 10)
	require.Len(t, events, len(want))
	for i, e := range events {
		require.Equal(t, want[len(want)-1-i], e.At)
	}
}

func racingEvents(t *testing.T, store trailStore) {
	for range rounds(t) {
		user, _ := register(t, store, newUser())
		require.NoError(t, errors.Join(race(contenders, func(int) error {
			return store.AddKey(t.Context(), withEvent(byHost(now)), newKey(user))
		})...))
		var times []time.Time
		for _, e := range listEvents(t, store, auth.EventFilter{UserID: user.ID}, 100) {
			times = append(times, e.At)
		}
		require.Len(t, times, contenders)
		require.Len(t, slices.CompactFunc(times, time.Time.Equal), contenders)
	}
}

// eventWithChange reads the event as soon as the change can be seen. The event must then exist.
func eventWithChange(t *testing.T, store trailStore) {
	for range 10 * rounds(t) {
		user, _ := register(t, store, newUser())
		key, write := newKey(user), withEvent(byHost(now))
		added := start(func() error { return store.AddKey(t.Context(), write, key) })
		for over := false; !over && !hasKey(t, store, key.ID); {
			over = added.returnsWithin(0)
		}
		require.True(t, hasKey(t, store, key.ID))
		require.Len(t, eventsOf(t, store, write), 1, "the change exists without its event")
		require.NoError(t, added.result(t, "AddKey"))
	}
}

func interruptedEvents(t *testing.T, store trailStore) {
	user, _ := register(t, store, newUser())
	type records struct {
		key   auth.AccessKey
		write auth.Write
	}
	for range rounds(t) {
		interrupt(t,
			func() records { return records{newKey(user), withEvent(byHost(now))} },
			func(ctx context.Context, r records) error { return store.AddKey(ctx, r.write, r.key) },
			func(r records) []bool {
				return []bool{hasKey(t, store, r.key.ID), len(eventsOf(t, store, r.write)) == 1}
			})
		keys, err := store.ListKeys(t.Context(), user.ID)
		require.NoError(t, err)
		for _, key := range keys {
			require.NoError(t, store.RevokeKey(t.Context(), byHost(now), key.ID))
		}
	}
}

func eventsListed(t *testing.T, store trailStore) {
	user, _ := register(t, store, newUser())
	other, _ := register(t, store, newUser())
	kinds := []eventkind.Kind{eventkind.Kind(unique("kind")), eventkind.Kind(unique("kind"))}
	var all []auth.Event // newest first
	for i := range 10 {
		write := byHost(now.Add(time.Duration(i) * time.Minute))
		write.Event = auth.Event{Kind: kinds[i%2], ActorID: []string{user.ID, "", other.ID}[i%3]}
		all = append([]auth.Event{addEvent(t, store, []auth.User{user, other}[i/5], write)}, all...)
	}
	matching := func(match func(e auth.Event) bool) (events []auth.Event) {
		for _, e := range all {
			if match(e) {
				events = append(events, e)
			}
		}
		return events
	}
	for _, test := range []struct {
		filter auth.EventFilter
		want   []auth.Event
	}{
		{auth.EventFilter{UserID: user.ID}, matching(func(e auth.Event) bool {
			return e.UserID == user.ID
		})},
		{auth.EventFilter{Kind: kinds[1]}, matching(func(e auth.Event) bool {
			return e.Kind == kinds[1]
		})},
		{auth.EventFilter{UserID: other.ID, Kind: kinds[0]}, matching(func(e auth.Event) bool {
			return e.UserID == other.ID && e.Kind == kinds[0]
		})},
		{auth.EventFilter{ActorID: user.ID}, matching(func(e auth.Event) bool { return e.ActorID == user.ID })},
		{auth.EventFilter{ActorID: user.ID, UserID: other.ID}, matching(func(e auth.Event) bool {
			return e.ActorID == user.ID && e.UserID == other.ID
		})},
		{auth.EventFilter{ActorID: user.ID, Kind: kinds[0]}, matching(func(e auth.Event) bool {
			return e.ActorID == user.ID && e.Kind == kinds[0]
		})},
		{auth.EventFilter{ActorID: unique("nobody")}, nil},
		{auth.EventFilter{ActorID: user.ID + "\x00"}, nil},
		{auth.EventFilter{UserID: unique("nobody")}, nil},
		{auth.EventFilter{UserID: user.ID + "\x00"}, nil},
		{auth.EventFilter{UserID: user.ID, Kind: "none"}, nil},
	} {
		for _, size := range []int{1, 2, 3, 100} {
			var got []auth.Event
			for filter := test.filter; ; {
				page := listEvents(t, store, filter, size)
				got = append(got, page...)
				if len(page) < size {
					break
				}
				filter.Before = page[size-1].ID
			}
			require.Equal(t, test.want, got)
		}
		require.Empty(t, listEvents(t, store, test.filter, 0))
		require.Empty(t, listEvents(t, store, test.filter, -1))
	}
	// The event that Before names need not match the filter.
	behind := listEvents(t, store, auth.EventFilter{UserID: user.ID, Before: all[0].ID}, 100)
	require.Equal(t, matching(func(e auth.Event) bool { return e.UserID == user.ID }), behind)
}

func unknownEventListsNothing(t *testing.T, store trailStore) {
	user, _ := register(t, store, newUser())
	addEvent(t, store, user, withEvent(byHost(now)))
	for _, id := range []string{unique("none"), user.ID, "none\x00", fill("", "x", 10_000)} {
		_, err := store.ListEvents(t.Context(), auth.EventFilter{Before: id}, 1)
		require.ErrorIs(t, err, auth.ErrNotFound)
		require.ErrorIs(t, store.FinishEvent(t.Context(), id), auth.ErrNotFound)
	}
	require.ErrorIs(t, store.FinishEvent(t.Context(), ""), auth.ErrNotFound)
}
