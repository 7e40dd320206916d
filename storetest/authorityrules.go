package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var authorityRulePromises = []promise[auth.AccountStore]{
	{"the host makes every change without a session", hostActs},
	{"a write without an authority or a clock is invalid", invalidWrites},
	{"a session changes nothing if the write names another user", borrowedSessionRefused},
	{"a session without super user rights finds no records of others", othersNotFound},
	{"a session that is too old changes nothing", oldSessionRefused},
	{"a delegated token changes nothing", delegatedRefused},
	{"an error about the authority takes precedence over other errors", authorityComesFirst},
}

var authorityRulePromisesOfUsers = []promise[auth.Store]{
	{"a change that needs a super user is refused to other users", superUserRequired},
	{"a bootstrap by a revoked session creates no user", bootstrapChecksAuthority},
	{"only super users register many users, even if the list has no others", listsNeedSuperUser},
}

func hostActs(t *testing.T, store auth.AccountStore) {
	for _, v := range verbsOf(store) {
		t.Run(v.name, func(t *testing.T) {
			a := newActor(t, store)
			try := v.prepare(t, store, a)
			require.NoError(t, store.RevokeToken(t.Context(), claimsOf(a.session)))
			require.NoError(t, try.call(t.Context(), byHost(now)))
		})
	}
}

// delegatedRefused calls each verb with the authority of a delegated token, whose session is live.
func delegatedRefused(t *testing.T, store auth.AccountStore) {
	for _, v := range verbsOf(store) {
		t.Run(v.name, func(t *testing.T) {
			a := newActor(t, store)
			try := v.prepare(t, store, a)
			before := takeSnapshot(t, store, a, try)
			write := withEvent(v.write(a.session, now))
			write.By.Actor = unique("agent")
			require.ErrorIs(t, try.call(t.Context(), write), auth.ErrDelegated)
			require.Equal(t, before, takeSnapshot(t, store, a, try))
			if trail, ok := store.(auth.EventStore); ok {
				require.Empty(t, eventsOf(t, trail, write))
			}
			write.By.Actor = ""
			require.NoError(t, try.call(t.Context(), write))
		})
	}
}

// invalidWrites calls each verb with invalid writes. Each function in the map edits turns a valid
// write into an invalid write.
func invalidWrites(t *testing.T, store auth.AccountStore) {
	edits := map[string]func(w *auth.Write){
		"no authority":        func(w *auth.Write) { w.By = auth.Authority{} },
		"no clock":            func(w *auth.Write) { w.Now = nil },
		"no user":             func(w *auth.Write) { w.By.UserID = "" },
		"no session":          func(w *auth.Write) { w.By.SessionID = "" },
		"host and session":    func(w *auth.Write) { w.By.Host = "storetest" },
		"impossible scope":    func(w *auth.Write) { w.By.Scope = "a b" },
		"host and scope":      func(w *auth.Write) { w.By = auth.Authority{Host: "storetest", Scope: "a"} },
		"host and actor":      func(w *auth.Write) { w.By = auth.Authority{Host: "storetest", Actor: "a"} },
		"impossible actor":    func(w *auth.Write) { w.By.Actor = "\x00" },
		"negative age":        func(w *auth.Write) { w.By.MaxAge = -1 },
		"negative lifetime":   func(w *auth.Write) { w.MaxTokenLifetime = -1 },
		"impossible session":  func(w *auth.Write) { w.By.SessionID += "\x00" },
		"impossible user":     func(w *auth.Write) { w.By.UserID += "\x00" },
		"impossible event":    func(w *auth.Write) { w.Event = auth.Event{Kind: "k", Reason: "line\nbreak"} },
		"impossible kind":     func(w *auth.Write) { w.Event = auth.Event{Kind: "line\nbreak"} },
		"too long a host":     func(w *auth.Write) { w.By = auth.ByHost(fill("host", "x", auth.MaxIDLength+1)) },
		"super user, no user": func(w *auth.Write) { w.By = auth.Authority{SuperUser: true} },
	}
	for _, v := range verbsOf(store) {
		t.Run(v.name, func(t *testing.T) {
			a := newActor(t, store)
			try := v.prepare(t, store, a)
			before := takeSnapshot(t, store, a, try)
			for name, edit := range edits {
				write := v.write(a.session, now)
				edit(&write)
				require.ErrorIs(t, try.call(t.Context(), write), auth.ErrInvalid, name)
			}
			require.Equal(t, before, takeSnapshot(t, store, a, try))
		})
	}
}

func borrowedSessionRefused(t *testing.T, store auth.AccountStore) {
	for _, v := range verbsOf(store) {
		t.Run(v.name, func(t *testing.T) {
			a, other := newActor(t, store), newActor(t, store)
			try := v.prepare(t, store, a)
			before := takeSnapshot(t, store, a, try)
			borrowed := auth.Session{ID: other.session.ID, UserID: a.user.ID}
			require.ErrorIs(t, try.call(t.Context(), v.write(borrowed, now)), auth.ErrTokenRejected)
			require.Equal(t, before, takeSnapshot(t, store, a, try))
		})
	}
}

// othersNotFound calls each verb with a session that can change only records of the session's user.
// Each call would change records that do not belong to that user. The store must return
// ErrNotFound.
func othersNotFound(t *testing.T, store auth.AccountStore) {
	for _, v := range verbsOf(store) {
		t.Run(v.name, func(t *testing.T) {
			a, owner := newActor(t, store), newActor(t, store)
			try := v.prepare(t, store, owner)
			before := takeSnapshot(t, store, a, try)
			require.ErrorIs(t, try.call(t.Context(), bySession(a.session, now)), auth.ErrNotFound)
			require.Equal(t, before, takeSnapshot(t, store, a, try))
		})
	}
}

func oldSessionRefused(t *testing.T, store auth.AccountStore) {
	const age = 10 * time.Minute
	for _, v := range verbsOf(store) {
		t.Run(v.name, func(t *testing.T) {
			a := newActor(t, store)
			try := v.prepare(t, store, a)
			before := takeSnapshot(t, store, a, try)
			old := v.write(a.session, a.session.CreatedAt.Add(age))
			old.By.MaxAge = age
			require.ErrorIs(t, try.call(t.Context(), old), auth.ErrSessionTooOld)
			require.Equal(t, before, takeSnapshot(t, store, a, try))

			recent := v.write(a.session, a.session.CreatedAt.Add(age-time.Microsecond))
			recent.By.MaxAge = age
			require.NoError(t, try.call(t.Context(), recent))
		})
	}
}

// authorityComesFirst makes calls with a revoked session. The store would refuse these calls even
// if the session were valid, but it must return the error about the session.
func authorityComesFirst(t *testing.T, store auth.AccountStore) {
	a := newActor(t, store)
	require.NoError(t, store.RevokeToken(t.Context(), claimsOf(a.session)))
	taken := newKey(a.user)
	taken.ID = a.key.ID
	require.ErrorIs(t, store.AddKey(t.Context(), bySession(a.session, now), taken),
		auth.ErrTokenRejected)
	connect := newConnect(a.session, newLinked(t, store).link.Account)
	require.ErrorIs(t, connect.call(t.Context(), store), auth.ErrTokenRejected)
	users := usersOf(store)
	if users == nil {
		return
	}
	admin := bySuperUser(a.session, now)
	require.ErrorIs(t, users.Register(t.Context(), admin, a.user, newKey(a.user)),
		auth.ErrTokenRejected)
	_, err := users.RegisterUsers(t.Context(), admin,
		[]auth.UserWithKeys{{User: a.user, Keys: []auth.AccessKey{newKey(a.user)}}})
	require.ErrorIs(t, err, auth.ErrTokenRejected)
	_, _, err = users.ResetUser(t.Context(), admin, a.user.ID, enable, taken)
	require.ErrorIs(t, err, auth.ErrTokenRejected)
}

func superUserRequired(t *testing.T, store auth.Store) {
	register(t, store, newSuperUser())
	for _, v := range verbsOf(store) {
		if !v.admin {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			a := newAccount(t, store)
			try := v.prepare(t, store, a)
			before := takeSnapshot(t, store, a, try)
			require.ErrorIs(t, try.call(t.Context(), v.write(a.session, now)),
				auth.ErrSuperUserRequired)
			require.Equal(t, before, takeSnapshot(t, store, a, try))

			update(t, store, a.user.ID, promote)
			require.NoError(t, try.call(t.Context(), v.write(a.session, now)))
		})
	}
}

// bootstrapChecksAuthority calls Bootstrap with the authority of a session. A host never does this,
// but a store must check the authority of every write.
func bootstrapChecksAuthority(t *testing.T, store auth.Store) {
	a := newActor(t, store)
	require.NoError(t, store.RevokeToken(t.Context(), claimsOf(a.session)))
	user := newSuperUser()
	err := store.Bootstrap(t.Context(), bySuperUser(a.session, now), user, newKey(user))
	require.ErrorIs(t, err, auth.ErrTokenRejected)
	requireNoUser(t, store, user.ID)
	bootstrap(t, store)
}

// listsNeedSuperUser registers nobody, and then the user who acts. A change about several users or
// about none belongs to no user, so it needs SuperUser.
func listsNeedSuperUser(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	own := auth.UserWithKeys{User: a.user, Keys: []auth.AccessKey{newKey(a.user)}}
	for _, list := range [][]auth.UserWithKeys{nil, {own}} {
		_, err := store.RegisterUsers(t.Context(), bySession(a.session, now), list)
		require.ErrorIs(t, err, auth.ErrNotFound, "%d users", len(list))
	}
}
