package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
)

var authorityRacePromises = []promise[auth.AccountStore]{
	{"no change by a session appears after its revocation, even with many concurrent calls", nothingAfterTheEnd},
}

var authorityRacePromisesOfUsers = []promise[auth.Store]{
	{"if two super users disable each other at once, only one succeeds", disableEachOther},
}

// crowd returns the number of calls to make at the same time. The number is smaller for a slow
// store, because each call may need a connection to a database.
func crowd(t *testing.T, store auth.AccountStore) int {
	t.Helper()
	if graceOf(t, store) <= 2*time.Millisecond {
		return 256
	}
	return 32
}

// nothingAfterTheEnd makes many changes with one session, and revokes the session at the same time.
func nothingAfterTheEnd(t *testing.T, store auth.AccountStore) {
	n := crowd(t, store)
	for _, e := range endingsOf(store) {
		t.Run(e.name, func(t *testing.T) { raceChanges(t, store, e, e.newActor(t, store), n) })
	}
}

// seenChange changes a record of another user. The function call makes the change, and the function
// seen looks for the changed record.
type seenChange struct {
	call func() error
	seen func() error // returns nil if the change is visible, and ErrNotFound if not
}

func raceChanges(t *testing.T, store auth.AccountStore, e ending, a account, n int) {
	t.Helper()
	target := make([]auth.User, 4)
	for i := range target {
		target[i], _ = register(t, store, newUser())
	}
	changes := make([]seenChange, n)
	for i := range changes {
		write, users := bySuperUser(a.session, now), usersOf(store)
		if e.demotes || users == nil || i%4 != 0 {
			key := newKey(target[i%len(target)])
			changes[i] = seenChange{
				func() error { return store.AddKey(t.Context(), write, key) },
				func() error { _, _, err := store.FindKey(t.Context(), key.ID); return err },
			}
			continue
		}
		user := newUser()
		changes[i] = seenChange{
			func() error { return users.Register(t.Context(), write, user, newKey(user)) },
			func() error { _, err := users.FindUser(t.Context(), user.ID); return err },
		}
	}
	seen := make([]error, n)
	errs := race(n, func(i int) error {
		if i != n/2 { // the middle call revokes the session, so that some changes come first
			return changes[i].call()
		}
		err := e.end(t.Context(), store, byHost(now), a)
		for i, c := range changes {
			seen[i] = c.seen()
		}
		return err
	})
	require.NoError(t, errs[n/2], "the ending")
	for i, c := range changes {
		if i == n/2 {
			continue
		}
		if errs[i] != nil {
			requireOneOf(t, errs[i], auth.ErrTokenRejected, auth.ErrSuperUserRequired)
		}
		require.Equal(t, errs[i] == nil, wasFound(t, seen[i]),
			"exactly the acknowledged changes must be visible")
		require.Equal(t, wasFound(t, seen[i]), wasFound(t, c.seen()),
			"a change appeared after the session was revoked")
	}
}

func disableEachOther(t *testing.T, store auth.Store) {
	register(t, store, newSuperUser()) // so that neither user of a pair is the last super user
	for range testenv.Rounds(t, testenv.Counts{Small: 20, Moderate: 20, Full: 10_000}) {
		pair := [2]account{newAccountOf(t, store, newSuperUser()),
			newAccountOf(t, store, newSuperUser())}
		errs := race(2, func(i int) error {
			_, err := store.UpdateUser(t.Context(), bySuperUser(pair[i].session, now),
				pair[1-i].user.ID, disable)
			return err
		})
		winner := requireOneWinner(t, errs, auth.ErrTokenRejected)
		requireUser(t, store, pair[winner].user)
		requireUser(t, store, changed(pair[1-winner].user, disable))
	}
}
