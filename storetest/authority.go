package storetest

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// authorityPromises need one store each. On a shared store, a call that one test blocks could block
// the calls of the other tests. Some tests also revoke the sessions of all users.
var authorityPromises = append([]promise[auth.AccountStore]{
	{"a session changes nothing if it expires, even while the change waits", expiredPowerless},
	{"a session changes nothing if " + folded.name, foldedPowerless},
}, powerlessPromises(false)...)

var authorityPromisesOfUsers = ofUsers(powerlessPromises(true), nil)

// powerlessPromises returns one promise for each [ending] of one kind. If the parameter users is
// true, these are the endings that only a store with users has. If not, these are the others.
func powerlessPromises(users bool) []promise[auth.AccountStore] {
	var promises []promise[auth.AccountStore]
	for _, e := range endings {
		if e.users == users {
			promises = append(promises, promise[auth.AccountStore]{
				"a session changes nothing if " + e.name,
				func(t *testing.T, store auth.AccountStore) {
					requirePowerless(t, store, e, verbsOf(store))
				},
			})
		}
	}
	return promises
}

// requirePowerless tests that a session cannot make a change after the given [ending] has taken the
// necessary authority from the session. It tests each [verb] in three orders:
//
//   - The ending starts while the verb holds its locks.
//   - The verb starts after the ending has returned.
//   - The verb starts while the ending holds its locks.
func requirePowerless(t *testing.T, store auth.AccountStore, e ending, verbs []verb) {
	grace := graceOf(t, store)
	for _, v := range verbs {
		t.Run(v.name, func(t *testing.T) {
			requireLiveOrOvertaken(t, store, e, v, e.newActor(t, store), grace)
			requireEndedPowerless(t, store, e, v)
			if !e.noWrite {
				requireWaitsForEnding(t, store, e, v, grace)
			}
		})
	}
}

// requireRejected fails the test unless err is the error that the verb must return after the
// ending.
func requireRejected(t *testing.T, e ending, v verb, try attempt, err error) {
	t.Helper()
	switch {
	case e.demotes && v.admin:
		require.ErrorIs(t, err, auth.ErrSuperUserRequired)
	case e.demotes:
		require.NoError(t, err, "demotion takes only the authority of a super user")
	case try.exists != nil && !try.exists(t):
		requireOneOf(t, err, auth.ErrTokenRejected, auth.ErrNotFound)
	default:
		require.ErrorIs(t, err, auth.ErrTokenRejected)
	}
}

// requireLiveOrOvertaken calls the verb, and calls the ending while the verb is blocked and holds
// its locks. The verb must succeed, unless the ending returns before the verb commits.
func requireLiveOrOvertaken(
	t *testing.T, store auth.AccountStore, e ending, v verb, a account, grace time.Duration,
) {
	t.Helper()
	try := v.prepare(t, store, a)
	h := callBehind(t, t.Context(), grace, now,
		func(ctx context.Context, hold func(auth.Write) auth.Write) error {
			return try.call(ctx, hold(v.write(a.session, now)))
		},
		func(ctx context.Context) error { return e.end(ctx, store, byHost(now), a) })
	if h.overtook && h.secondErr == nil {
		requireRejected(t, e, v, try, h.firstErr)
		return
	}
	require.NoError(t, h.firstErr, "a valid session must have the authority")
	if h.secondErr != nil { // the verb may have removed the record that the ending needs
		require.ErrorIs(t, h.secondErr, auth.ErrNotFound)
	}
}

// requireEndedPowerless calls the ending, and then calls the verb with the session of the actor.
func requireEndedPowerless(t *testing.T, store auth.AccountStore, e ending, v verb) {
	t.Helper()
	a := e.newActor(t, store)
	try := v.prepare(t, store, a)
	require.NoError(t, e.end(t.Context(), store, byHost(now), a))
	requireRefusedAfter(t, store, e, v, a, try)
}

// requireRefusedAfter calls the verb with the session of the actor after the ending. The store must
// refuse the call and change nothing. After a demotion, however, the store must accept the call if
// the verb does not need a super user.
func requireRefusedAfter(
	t *testing.T, store auth.AccountStore, e ending, v verb, a account, try attempt,
) {
	t.Helper()
	before := takeSnapshot(t, store, a, try)
	requireRejected(t, e, v, try, try.call(t.Context(), v.write(a.session, now)))
	if !e.demotes || v.admin {
		require.Equal(t, before, takeSnapshot(t, store, a, try),
			"a refused call must not change anything")
	}
}

// requireWaitsForEnding calls the ending, and calls the verb while the ending is blocked and holds
// its locks. The verb must wait for the ending and then be rejected.
func requireWaitsForEnding(
	t *testing.T, store auth.AccountStore, e ending, v verb, grace time.Duration,
) {
	t.Helper()
	a := e.newActor(t, store)
	try := v.prepare(t, store, a)
	h := callBehind(t, t.Context(), grace, now,
		func(ctx context.Context, hold func(auth.Write) auth.Write) error {
			return e.end(ctx, store, hold(byHost(now)), a)
		},
		func(ctx context.Context) error { return try.call(ctx, v.write(a.session, now)) })
	require.NoError(t, h.firstErr, "the ending")
	requireRejected(t, e, v, try, h.secondErr)
}

// expiredPowerless calls each verb with a session that has just expired. It then calls the verb
// again with a session that expires while the verb waits for a lock.
func expiredPowerless(t *testing.T, store auth.AccountStore) {
	grace := graceOf(t, store)
	expired := ending{name: "the session expires"}
	for _, v := range verbsOf(store) {
		t.Run(v.name, func(t *testing.T) {
			a := newActor(t, store)
			last := a.session.ExpiresAt.Add(-time.Nanosecond)
			require.NoError(t, v.prepare(t, store, a).call(t.Context(), v.write(a.session, last)))

			a = newActor(t, store)
			try := v.prepare(t, store, a)
			before := takeSnapshot(t, store, a, try)
			requireRejected(t, expired, v, try,
				try.call(t.Context(), v.write(a.session, a.session.ExpiresAt)))
			require.Equal(t, before, takeSnapshot(t, store, a, try))

			var clock atomic.Pointer[time.Time]
			clock.Store(&last)
			write := v.write(a.session, now)
			write.Now = func() time.Time { return *clock.Load() }
			g := newGate(now)
			blocker := startHeld(t, g, "the call that holds the user", func() error {
				return store.AddKey(t.Context(), g.hold(byHost(now)), newKey(a.user))
			})
			waiting := start(func() error { return try.call(t.Context(), write) })
			waiting.returnsWithin(grace)
			clock.Store(&a.session.ExpiresAt)
			g.open()
			require.NoError(t, blocker.result(t, "the call that holds the user"))
			requireRejected(t, expired, v, try, waiting.result(t, "the verb"))
		})
	}
}

// foldedPowerless tests all verbs with the ending [folded]. The ending needs a thousand calls, so
// foldedPowerless makes the store fold the feed only once. One verb is blocked during the fold, and
// every verb is called after the fold. Finally, another session makes many changes and is revoked
// at the same time.
func foldedPowerless(t *testing.T, store auth.AccountStore) {
	a := newActor(t, store)
	verbs := verbsOf(store)
	tries := make([]attempt, len(verbs))
	for i, v := range verbs {
		tries[i] = v.prepare(t, store, a)
	}
	nearlyFolded(t, store, a)
	requireLiveOrOvertaken(t, store, folded, verbs[0], a, graceOf(t, store))
	require.Equal(t, 1, countFolds(entriesOf(t, store, a.user)))
	for i, v := range verbs {
		t.Run(v.name, func(t *testing.T) { requireRefusedAfter(t, store, folded, v, a, tries[i]) })
	}

	a.session = openSession(t, store, newHostSession(a.user))
	raceChanges(t, store, endings[0], a, crowd(t, store))
}

// snapshot is the state of some users and GitHub accounts in a store.
type snapshot struct {
	Users    []auth.User
	Keys     [][]auth.AccessKey
	Sessions [][]auth.Session
	Links    []connection
	Feed     []auth.Revocation
	Events   []auth.Event
}

// takeSnapshot reads the records of the actor, and all other records that the attempt can change.
func takeSnapshot(t *testing.T, store auth.AccountStore, actor account, try attempt) snapshot {
	t.Helper()
	var s snapshot
	ids := append([]string{actor.user.ID}, try.changes...)
	for _, id := range ids {
		if users := usersOf(store); users != nil {
			user, err := users.FindUser(t.Context(), id)
			wasFound(t, err)
			s.Users = append(s.Users, user)
		}
		keys, err := store.ListKeys(t.Context(), id)
		require.NoError(t, err)
		s.Keys = append(s.Keys, keys)
		sessions, err := store.ListSessions(t.Context(), id, time.UnixMicro(1))
		require.NoError(t, err)
		s.Sessions = append(s.Sessions, sessions)
		s.Events = append(s.Events, eventsAbout(t, store, id)...)
	}
	for _, account := range try.accounts {
		if link, err := store.FindGitHubLink(t.Context(), account); wasFound(t, err) {
			s.Links = append(s.Links, findConnection(t, store, link.UserID, account.Host))
		}
	}
	for _, e := range feedSince(t, store, actor.session.Generation) {
		if e.UserID == "" || slices.Contains(ids, e.UserID) {
			s.Feed = append(s.Feed, e)
		}
	}
	return s
}

// feedSince returns the entries of the feed whose Positions are greater than the given position.
func feedSince(t *testing.T, store auth.AccountStore, position int64) []auth.Revocation {
	t.Helper()
	var feed []auth.Revocation
	for from := position + 1; ; {
		page, err := store.ListRevocations(t.Context(), from, 1000)
		require.NoError(t, err)
		feed = append(feed, page...)
		if len(page) < 1000 {
			return feed
		}
		from = page[999].Position + 1
	}
}

// eventsAbout returns the events about the user, the newest first. If the store has no audit trail,
// eventsAbout returns nil.
func eventsAbout(t *testing.T, store auth.AccountStore, userID string) []auth.Event {
	t.Helper()
	trail, ok := store.(auth.EventStore)
	if !ok {
		return nil
	}
	events, err := trail.ListEvents(t.Context(), auth.EventFilter{UserID: userID}, 1000)
	require.NoError(t, err)
	return events
}
