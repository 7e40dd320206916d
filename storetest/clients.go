package storetest

import (
	"context"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// clientPromises need one store each, because they prune the clients of all users.
var clientPromises = []promise[auth.AccountStore]{
	{"every client of a user but the first is new once", clientsNewOnce},
	{"a new client makes an event, and no other client does", clientEvents},
	{"the client that was not seen for the longest time makes room for another", clientsCapped},
	{"clients are pruned by the time of the last sign-in", clientsPruned},
	{"invalid clients are refused", invalidClients},
	{"of many concurrent sign-ins from a new client, one is new", racingClients},
	{"remembering a client needs the authority over the user", clientNeedsAuthority},
}

var clientPromisesOfUsers = []promise[auth.Store]{
	{"a deleted user has no clients", clientsOfDeleted},
	{"only a user who exists has clients", clientOfNobody},
}

// remember remembers the client at the given time, and fails the test unless the store says whether the
// client is new.
func remember(t *testing.T, store auth.AccountStore, user auth.User, hash string, at time.Time, want bool) {
	t.Helper()
	isNew, err := store.RememberClient(t.Context(), byHost(at), clientOf(user, hash))
	require.NoError(t, err)
	require.Equal(t, want, isNew, "%s at %v", hash, at)
}

func clientOf(user auth.User, hash string) auth.SignInClient {
	return auth.SignInClient{UserID: user.ID, Hash: hash}
}

func clientsNewOnce(t *testing.T, store auth.AccountStore) {
	a, other := newAccount(t, store), newAccount(t, store)
	longest := strings.Repeat("~", auth.MaxIDLength)
	for i, hash := range []string{"first", "second", "Second", "second ", "'", longest} {
		remember(t, store, a.user, hash, now, i > 0)
	}
	for range 2 {
		for _, hash := range []string{"first", "second", "Second", "second ", "'", longest} {
			remember(t, store, a.user, hash, now, false)
		}
	}
	remember(t, store, other.user, "second", now, false) // the first of this user
	remember(t, store, other.user, "first", now, true)
	a.requireUnchanged(t, store)
	require.Empty(t, entriesOf(t, store, a.user))
}

func clientEvents(t *testing.T, store auth.AccountStore) {
	trail, ok := store.(auth.EventStore)
	if !ok {
		t.Skip("the store has no audit trail")
	}
	a := newAccount(t, store)
	for i, hash := range []string{"first", "first", "second", "second", "first", "third"} {
		write := withEvent(byHost(now))
		client := auth.SignInClient{UserID: a.user.ID, Hash: hash}
		isNew, err := store.RememberClient(t.Context(), write, client)
		require.NoError(t, err)
		events := eventsOf(t, trail, write)
		require.Equal(t, i == 2 || i == 5, isNew)
		if !isNew {
			require.Empty(t, events)
			continue
		}
		require.Len(t, events, 1)
		require.Equal(t, a.user.ID, events[0].UserID)
	}
}

func clientsCapped(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	hash := strconv.Itoa
	for i := range storekit.MaxClients {
		remember(t, store, user, hash(i), now.Add(time.Duration(i)*time.Second), i > 0)
	}
	remember(t, store, user, hash(0), now.Add(time.Hour), false)  // now the one seen last
	remember(t, store, user, hash(1), now.Add(-time.Hour), false) // a clock that is behind changes nothing
	remember(t, store, user, hash(2), now.Add(2*time.Hour), false)
	remember(t, store, user, hash(100), now.Add(3*time.Hour), true) // replaces 1
	for _, known := range []int{0, 2, 3, 99, 100} {
		remember(t, store, user, hash(known), now.Add(4*time.Hour), false)
	}
	remember(t, store, user, hash(1), now.Add(4*time.Hour), true) // replaces 4
	remember(t, store, user, hash(4), now.Add(4*time.Hour), true)
	remember(t, store, user, hash(0), now.Add(4*time.Hour), false)
	n, err := store.PruneClients(t.Context(), now.Add(5*time.Hour), math.MaxInt32)
	require.NoError(t, err)
	require.Equal(t, storekit.MaxClients, n)
}

func clientsPruned(t *testing.T, store auth.AccountStore) {
	prune := func(seen time.Time, limit, want int) {
		t.Helper()
		n, err := store.PruneClients(t.Context(), seen, limit)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	a, b := newAccount(t, store), newAccount(t, store)
	remember(t, store, a.user, "old", now, false)
	remember(t, store, a.user, "seen again", now, true)
	remember(t, store, a.user, "seen again", now.Add(time.Hour), false)
	remember(t, store, a.user, "seen again", now, false) // does not go back
	remember(t, store, b.user, "old", now, false)
	remember(t, store, b.user, "later", now.Add(time.Microsecond), true)

	prune(now.Add(-time.Microsecond), math.MaxInt32, 0)
	prune(now, 0, 0)
	prune(now, -1, 0)
	prune(now, 1, 1)
	prune(now, math.MaxInt32, 1)
	prune(now, math.MaxInt32, 0)
	remember(t, store, a.user, "seen again", now, false)
	remember(t, store, a.user, "old", now, true) // known no more
	remember(t, store, b.user, "later", now, false)
	prune(now.Add(time.Hour), math.MaxInt32, 3)
	remember(t, store, b.user, "later", now, false) // the first client again
	a.requireUnchanged(t, store)
}

func invalidClients(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for _, bad := range []string{
		"", "\x00", "a\x00b", "\xff", "line\nbreak", strings.Repeat("x", auth.MaxIDLength+1),
	} {
		_, err := store.RememberClient(t.Context(), byHost(now), clientOf(a.user, bad))
		requireInvalidField(t, err, "client")
		_, err = store.RememberClient(t.Context(), byHost(now), clientOf(auth.User{ID: bad}, "hash"))
		requireInvalidField(t, err, "user_id")
	}
	_, err := store.RememberClient(t.Context(), auth.Write{}, clientOf(a.user, "hash"))
	requireInvalid(t, err)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = store.RememberClient(canceled, byHost(now), clientOf(a.user, "hash"))
	require.ErrorIs(t, err, context.Canceled)
	_, err = store.PruneClients(canceled, now, 1)
	require.ErrorIs(t, err, context.Canceled)
	n, err := store.PruneClients(t.Context(), now, 10)
	require.NoError(t, err)
	require.Zero(t, n)
}

func racingClients(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	remember(t, store, user, "first", now, false)
	for range rounds(t) {
		client := auth.SignInClient{UserID: user.ID, Hash: unique("client")}
		write, found := withEvent(byHost(now)), make([]bool, contenders)
		errs := race(contenders, func(i int) (err error) {
			found[i], err = store.RememberClient(t.Context(), write, client)
			return err
		})
		isNew := 0
		for i, err := range errs {
			require.NoError(t, err)
			if found[i] {
				isNew++
			}
		}
		require.Equal(t, 1, isNew)
		if trail, ok := store.(auth.EventStore); ok {
			require.Len(t, eventsOf(t, trail, write), 1)
		}
	}
}

// clientNeedsAuthority remembers clients with sessions. Package auth does it as the host, but a store must
// check every write.
func clientNeedsAuthority(t *testing.T, store auth.AccountStore) {
	a, other := newAccount(t, store), newAccount(t, store)
	revoked := openSession(t, store, newSession(a.key))
	require.NoError(t, store.RevokeSession(t.Context(), byHost(now), revoked.ID))
	remember(t, store, a.user, "first", now, false)
	client := auth.SignInClient{UserID: a.user.ID, Hash: "second"}
	_, err := store.RememberClient(t.Context(), bySession(other.session, now), client)
	require.ErrorIs(t, err, auth.ErrNotFound)
	_, err = store.RememberClient(t.Context(), bySession(revoked, now), client)
	require.ErrorIs(t, err, auth.ErrTokenRejected)
	isNew, err := store.RememberClient(t.Context(), bySession(a.session, now), client)
	require.NoError(t, err)
	require.True(t, isNew)
}

func clientsOfDeleted(t *testing.T, store auth.Store) {
	a, other := newAccount(t, store), newAccount(t, store)
	for i, hash := range []string{"first", "second"} {
		remember(t, store, a.user, hash, now, i > 0)
		remember(t, store, other.user, hash, now, i > 0)
	}
	deleteUser(t, store, a.user.ID)
	n, err := store.PruneClients(t.Context(), now, math.MaxInt32)
	require.NoError(t, err)
	require.Equal(t, 2, n, "the clients of the other user")
	_, err = store.RememberClient(t.Context(), byHost(now), clientOf(a.user, "first"))
	require.ErrorIs(t, err, auth.ErrNotFound)
}

func clientOfNobody(t *testing.T, store auth.Store) {
	client := auth.SignInClient{UserID: unique("none"), Hash: "hash"}
	_, err := store.RememberClient(t.Context(), byHost(now), client)
	require.ErrorIs(t, err, auth.ErrNotFound)
}
