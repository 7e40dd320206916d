package storetest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// pruneNamePromises need a store each, because they prune all retired usernames.
var pruneNamePromises = []promise[auth.Store]{
	{"pruned usernames are free, and all others stay taken", pruneNames},
	{"no more usernames are pruned than the limit, the oldest first", pruneNamesToLimit},
	{"a username that its user has taken again is not pruned", takenAgainNotPruned},
	{"the retired usernames of a user are listed until they are pruned", retiredListed},
	{"usernames that several calls prune at once are counted once", racingNamePrunes},
}

func pruneNamesAt(t *testing.T, store auth.Store, at time.Time, limit int) int {
	t.Helper()
	n, err := store.PruneRetiredUsernames(t.Context(), at, limit)
	require.NoError(t, err)
	return n
}

func pruneNames(t *testing.T, store auth.Store) {
	require.Zero(t, pruneNamesAt(t, store, now, 10))
	a, gone, later := newAccount(t, store), newUser(), newAccount(t, store)
	register(t, store, gone)
	renameAt(t, store, a.user.ID, unique("Next"), now)
	deleteUser(t, store, gone.ID)
	renameAt(t, store, later.user.ID, unique("Next"), now.Add(time.Microsecond))

	require.Zero(t, pruneNamesAt(t, store, now.Add(-time.Microsecond), 10))
	requireNameTaken(t, store, a.user.Username)
	requireNameTaken(t, store, gone.Username)
	require.Equal(t, 2, pruneNamesAt(t, store, now, 10))
	require.Zero(t, pruneNamesAt(t, store, now, 10))
	requireNameTaken(t, store, later.user.Username)

	heir := requireNameFree(t, store, strings.ToUpper(a.user.Username))
	requireNameFree(t, store, gone.Username)
	// The user who gave the username up has no claim to it any longer.
	_, err := store.UpdateUser(t.Context(), byHost(now), a.user.ID, toUsername(a.user.Username))
	require.ErrorIs(t, err, auth.ErrExists)
	require.Equal(t, 1, pruneNamesAt(t, store, now.Add(time.Hour), 10))
	requireUser(t, store, heir)
	requireNameTaken(t, store, heir.Username)
}

func pruneNamesToLimit(t *testing.T, store auth.Store) {
	var names []string
	for i := range 5 {
		a := newAccount(t, store)
		names = append(names, a.user.Username)
		renameAt(t, store, a.user.ID, unique("Next"), now.Add(time.Duration(5-i)*time.Second))
	}
	pruned := 0
	requireOldestPruned(t, func(at time.Time, limit int) int {
		n := pruneNamesAt(t, store, at, limit)
		for _, name := range names[:5-pruned-n] { // the newest come first
			requireNameTaken(t, store, name)
		}
		pruned += n
		return n
	})
	for _, name := range names {
		requireNameFree(t, store, name)
	}
}

func takenAgainNotPruned(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	renameAt(t, store, a.user.ID, unique("Next"), now)
	renameAt(t, store, a.user.ID, a.user.Username, now.Add(time.Hour))
	require.Zero(t, pruneNamesAt(t, store, now.Add(time.Minute), 10))
	require.Equal(t, 1, pruneNamesAt(t, store, now.Add(time.Hour), 10))
	a.requireUnchanged(t, store)
	requireNameTaken(t, store, a.user.Username)

	renameAt(t, store, a.user.ID, strings.ToUpper(a.user.Username), now)
	require.Zero(t, pruneNamesAt(t, store, now.Add(time.Hour), 10))
	requireNameTaken(t, store, a.user.Username)
}

func racingNamePrunes(t *testing.T, store auth.Store) {
	for range 20 {
		a := newAccount(t, store)
		renameAt(t, store, a.user.ID, unique("Next"), now)
	}
	counts := make([]int, contenders)
	for _, err := range race(contenders, func(i int) (err error) {
		for n := 1; n > 0 && err == nil; {
			n, err = store.PruneRetiredUsernames(context.WithoutCancel(t.Context()), now, 3)
			counts[i] += n
		}
		return err
	}) {
		require.NoError(t, err)
	}
	total := pruneNamesAt(t, store, now, 100) // those that concurrent calls had locked
	for _, n := range counts {
		total += n
	}
	require.Equal(t, 20, total)
}

func requireRetired(t *testing.T, store auth.Store, userID string, names ...string) {
	t.Helper()
	var want []string
	for _, name := range names {
		want = append(want, auth.FoldASCII(name))
	}
	slices.Sort(want)
	got, err := store.ListRetiredUsernames(t.Context(), userID)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func retiredListed(t *testing.T, store auth.Store) {
	a, other := newAccount(t, store), newAccount(t, store)
	for _, id := range []string{a.user.ID, unique("nobody"), "", "\x00", fill("", "x", 10_000)} {
		requireRetired(t, store, id)
	}
	second, third := unique("Second"), unique("Third")
	renameAt(t, store, a.user.ID, second, now)
	requireRetired(t, store, a.user.ID, a.user.Username)
	renameAt(t, store, a.user.ID, third, now.Add(time.Hour))
	requireRetired(t, store, a.user.ID, a.user.Username, second)
	renameAt(t, store, a.user.ID, second, now.Add(time.Hour))
	requireRetired(t, store, a.user.ID, a.user.Username, third)
	requireRetired(t, store, other.user.ID)
	require.Equal(t, 1, pruneNamesAt(t, store, now, 10))
	requireRetired(t, store, a.user.ID, third)
	deleteUser(t, store, a.user.ID)
	requireRetired(t, store, a.user.ID, second, third)
	require.Equal(t, 2, pruneNamesAt(t, store, now.Add(time.Hour), 10))
	requireRetired(t, store, a.user.ID)
}
