package storetest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// RunAccounts tests that a store satisfies the contract of [auth.AccountStore] and keeps no users.
// A host that has its own users table needs such a store: see [auth.NewWithUsers]. RunAccounts also
// tests the rules that hold only for a store without users.
//
// RunAccounts calls the given function about 130 times, from parallel tests. Each call must
// return an empty store.
func RunAccounts(t *testing.T, open func(t *testing.T) auth.AccountStore) {
	runAll(t, open, accountsTogether, accountsAlone)
	t.Run("GitHub", func(t *testing.T) {
		t.Parallel()
		runAll(t, open, githubAccountsTogether, githubAccountsAlone)
	})
}

// accountsTogether and accountsAlone contain the groups of promises that RunAccounts tests. All
// promises of a group in accountsTogether share one store. Each promise of a group in accountsAlone
// gets its own store.
var (
	accountsTogether = []group[auth.AccountStore]{
		{"users", slices.Concat(storePromises, accountPromises)},
		{"names and ids", namePromises},
		{"access keys", keyPromises},
		{"the life of access keys", keyLifePromises},
		{"listing the keys of all users", listKeysPromises},
		{"scopes of access keys", scopePromises},
		{"keys that must be rotated", mustRotatePromises},
		{"scopes of sessions", sessionScopePromises},
		{"audiences of sessions", audiencePromises},
		{"sessions", sessionPromises},
		{"sessions listed and limited", sessionCapPromises},
		{"revoking all sessions of a user", endAllPromises},
		{"the revocation feed", feedPromises},
		{"revocations from claims", claimPromises},
		{"values", valuePromises},
		{"times", timePromises},
		{"cancellation", cancelPromises},
		{"races", racePromises},
	}
	accountsAlone = []group[auth.AccountStore]{
		{"listing all keys", listKeysPromisesAlone},
		{"clients of sign-ins", clientPromises},
		{"devices", devicePromises},
		{"notices of expiring keys", expiryNoticePromises},
		{"pruning", prunePromises},
		{"pruning GitHub accounts", pruneAccountPromises},
		{"extending sessions and revoking the others", extendPromises},
		{"the whole revocation feed", wholeFeedPromises},
		{"the sessions of all users", everybodyPromises},
		{"authority", authorityPromises},
		{"the audit trail", trailPromises},
		{"delivery of the audit trail", deliveryPromises},
		{"signing in during revocations", signInBarrierPromises},
		{"rules of authority", authorityRulePromises},
		{"authority races", authorityRacePromises},
		{"changes by limited sessions", grantPromises},
		{"changes by sessions for another audience", audienceAuthorityPromises},
	}
)

var accountPromises = []promise[auth.AccountStore]{
	{"a store of accounts does not implement UserStore", notUserStore},
	{"every ID is a user, of whom the store knows only the ID", anybodyIsUser},
	{"look-alike user IDs are different users", lookalikeOwners},
	{"times come back in UTC, truncated to the microsecond", accountTimesKept},
	{"a user without sessions has none to revoke", endAllOfAnybody},
}

func notUserStore(t *testing.T, store auth.AccountStore) {
	_, ok := store.(auth.UserStore)
	require.False(t, ok, "%T implements auth.UserStore: test it with Run", store)
}

func anybodyIsUser(t *testing.T, store auth.AccountStore) {
	id := unique("user")
	want := auth.User{ID: id}
	key := newKey(want)
	require.NoError(t, store.AddKey(t.Context(), byHost(now), key))
	for range 2 {
		requireKeyOf(t, store, key, want)

		session := newSession(key)
		created, user, err := store.CreateSession(t.Context(), session, 0)
		require.NoError(t, err)
		requireSameSession(t, session, created)
		require.Equal(t, want, user)
		requireSession(t, store, session)
		key = usedAt(key, session.CreatedAt)
	}

	other := auth.User{ID: unique("user")} // the store has no record of this user
	session := newHostSession(other)
	_, user, err := store.CreateSession(t.Context(), session, 0)
	require.NoError(t, err)
	require.Equal(t, other, user)
	requireSession(t, store, session)
}

func lookalikeOwners(t *testing.T, store auth.AccountStore) {
	apart(t, slices.Concat(foldedTwins, lookalikes), func(t *testing.T, one, other string) {
		first, second := newUser(), newUser()
		first.ID, second.ID = one, other
		a, b := newAccountOf(t, store, first), newAccountOf(t, store, second)
		require.Equal(t, 1, endAll(t, store, b.user, now))
		requireNoSession(t, store, b.session.ID)
		a.requireUnchanged(t, store)

		session := newSession(a.key)
		session.UserID = other
		_, _, err := store.CreateSession(t.Context(), session, 0)
		require.ErrorIs(t, err, auth.ErrNotFound)
	})
}

func accountTimesKept(t *testing.T, store auth.AccountStore) {
	for name, test := range keptTimes {
		t.Run(name, func(t *testing.T) {
			user := newUser()
			key := newKey(user)
			key.CreatedAt, key.ExpiresAt = test.in, test.in
			require.NoError(t, store.AddKey(t.Context(), byHost(now), key))
			key.CreatedAt, key.ExpiresAt = test.want, test.want
			requireKey(t, store, key)

			session := newHostSession(user)
			session.CreatedAt, session.ExpiresAt = test.in, test.in
			created := openSession(t, store, session)
			session.CreatedAt, session.ExpiresAt = test.want, test.want
			requireSameSession(t, session, created)
			requireSession(t, store, session)

			first := firstSignIn(user)
			first.Link.CreatedAt, first.Link.SeenAt, first.Token.UpdatedAt = test.in, test.in, test.in
			a := signUp(t, store, first)
			a.link.CreatedAt, a.link.SeenAt, a.token.UpdatedAt = test.want, test.want, test.want
			requireConnection(t, store, a.connection())
		})
	}
}

func endAllOfAnybody(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	require.Zero(t, endAll(t, store, newUser(), now))
	for _, want := range []int{1, 0, 0} {
		require.Equal(t, want, endAll(t, store, a.user, now))
	}
	requireKey(t, store, a.key)
}
