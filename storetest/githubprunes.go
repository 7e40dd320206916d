package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// pruneAccountPromises need a store each, because they prune all forgotten accounts.
var pruneAccountPromises = []promise[auth.AccountStore]{
	{"a forgotten account is pruned, and any user can use it", pruneForgotten},
	{"no more accounts are pruned than the limit, those forgotten first", pruneAccountsToLimit},
	{"an account that is linked or remembered is not pruned", rememberedNotPruned},
}

var pruneAccountPromisesOfUsers = []promise[auth.Store]{
	{"a spent grant stays spent when its account is pruned", spentAfterPrune},
	{"a grant that is not spent is not spent by pruning", unspentAfterPrune},
	{"no concurrent pruning gives an account a second grant", grantsRacingPrune},
}

func pruneAccountsAt(t *testing.T, store auth.AccountStore, at time.Time, limit int) int {
	t.Helper()
	n, err := store.PruneGitHubAccounts(t.Context(), at, limit)
	require.NoError(t, err)
	return n
}

func pruneForgotten(t *testing.T, store auth.AccountStore) {
	require.Zero(t, pruneAccountsAt(t, store, now, 10))
	a, _ := newUnlinked(t, store)
	forget(t, store, a.link.Account)
	require.Zero(t, pruneAccountsAt(t, store, now.Add(-time.Microsecond), 10))
	require.Equal(t, 1, pruneAccountsAt(t, store, now, 10))
	require.Zero(t, pruneAccountsAt(t, store, now, 10))
	require.ErrorIs(t, store.ForgetGitHubAccount(t.Context(), byHost(now), a.link.Account), auth.ErrNotFound)
	signUp(t, store, ofAccount(store, a.link.Account))
}

func pruneAccountsToLimit(t *testing.T, store auth.AccountStore) {
	for i := range 5 {
		a, _ := newUnlinked(t, store)
		at := byHost(now.Add(time.Duration(5-i) * time.Second))
		require.NoError(t, store.ForgetGitHubAccount(t.Context(), at, a.link.Account))
	}
	requireOldestPruned(t, func(at time.Time, limit int) int { return pruneAccountsAt(t, store, at, limit) })
}

// requireOldestPruned calls prune, which prunes a store with five records: one record for each of the five
// seconds after the variable now. The test fails unless prune keeps to the limit, and removes the oldest
// records first.
func requireOldestPruned(t *testing.T, prune func(at time.Time, limit int) int) {
	t.Helper()
	later := now.Add(time.Hour)
	for _, limit := range []int{0, -1} {
		require.Zero(t, prune(later, limit))
	}
	require.Equal(t, 2, prune(later, 2))
	require.Zero(t, prune(now.Add(2*time.Second), 10), "the oldest are pruned first")
	require.Equal(t, 1, prune(now.Add(3*time.Second), 10))
	require.Equal(t, 2, prune(later, 4))
	require.Zero(t, prune(later, 10))
}

func rememberedNotPruned(t *testing.T, store auth.AccountStore) {
	linked := newLinked(t, store)
	a, _ := newUnlinked(t, store)
	forget(t, store, a.link.Account)
	back := signUp(t, store, ofAccount(store, a.link.Account)) // remembered again
	require.Zero(t, pruneAccountsAt(t, store, now.Add(time.Hour), 10))
	linked.requireUnchanged(t, store)
	requireAccounts(t, store, back.user.ID, a.link.Account)

	key := addKey(t, store, back.user, time.Time{}) // so that the link is not the only way to sign in
	_, _, err := store.UnlinkGitHub(t.Context(), byHost(now), back.user.ID, githubHost)
	require.NoError(t, err)
	require.Zero(t, pruneAccountsAt(t, store, now.Add(time.Hour), 10))
	requireNotAllowed(t, store, back)
	requireKey(t, store, key)

	later := byHost(now.Add(time.Minute))
	require.NoError(t, store.ForgetGitHubAccount(t.Context(), later, a.link.Account))
	require.Zero(t, pruneAccountsAt(t, store, now, 10), "the time begins again")
	require.Equal(t, 1, pruneAccountsAt(t, store, now.Add(time.Minute), 10))
}

// signInGranted makes the first sign-in of a new user with the account, and asks for super user rights.
func signInGranted(t *testing.T, store auth.Store, account auth.GitHubAccount) auth.User {
	t.Helper()
	first := ofAccount(store, account)
	first.GrantSuperUser = true
	_, user, err := store.SignInGitHub(t.Context(), byHost(now), first)
	require.NoError(t, err)
	return user
}

func spentAfterPrune(t *testing.T, store auth.Store) {
	register(t, store, newSuperUser()) // so that no user below is the last super user
	granted, ordinary := newGitHubAccount(), newGitHubAccount()
	user := signInGranted(t, store, granted)
	require.True(t, user.IsSuperUser)
	other := signUp(t, store, ofAccount(store, ordinary)).user
	for range 3 {
		deleteUser(t, store, user.ID)
		deleteUser(t, store, other.ID) // the deletion spends the grant
		require.Equal(t, 2, pruneAccountsAt(t, store, now, 10))
		user, other = signInGranted(t, store, granted), signInGranted(t, store, ordinary)
		require.False(t, user.IsSuperUser)
		require.False(t, other.IsSuperUser)
	}
	again := signUp(t, store, ofAccount(store, newGitHubAccount())).nextSignIn()
	again.GrantSuperUser = true
	_, third, err := store.SignInGitHub(t.Context(), byHost(now), again)
	require.NoError(t, err)
	require.True(t, third.IsSuperUser, "another account has its own grant")
}

func unspentAfterPrune(t *testing.T, store auth.Store) {
	a, _ := newUnlinked(t, store)
	forget(t, store, a.link.Account)
	require.Equal(t, 1, pruneAccountsAt(t, store, now, 10))
	require.True(t, signInGranted(t, store, a.link.Account).IsSuperUser)
}

func grantsRacingPrune(t *testing.T, store auth.Store) {
	register(t, store, newSuperUser())
	for range rounds(t) {
		account := newGitHubAccount()
		deleteUser(t, store, signInGranted(t, store, account).ID)
		users := make([]auth.User, contenders)
		for i, err := range race(contenders, func(i int) (err error) {
			if i%2 == 0 {
				_, err = store.PruneGitHubAccounts(t.Context(), now, 10)
				return err
			}
			first := ofAccount(store, account)
			first.GrantSuperUser = true
			_, users[i], err = store.SignInGitHub(t.Context(), byHost(now), first)
			return err
		}) {
			if i%2 == 0 {
				require.NoError(t, err)
			} else if err != nil {
				require.ErrorIs(t, err, auth.ErrChanged)
			}
			require.False(t, users[i].IsSuperUser)
		}
	}
}
