// Package storetest tests that a store satisfies the contract of [auth.Store] or
// [auth.AccountStore]. The stores of this module use it, and every other store should use it:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) auth.Store { return mystore.New() })
//	}
//
// [Run] tests a store that keeps users. [RunAccounts] tests a store for a host that has its own users
// table. If the store is an [auth.EventStore] or an [auth.DeviceStore], both functions also test the
// contract of these. Package storekit has the rules that are the same in every store. docs/stores.md
// explains how to write a store, and examples/kvstore is a complete store.
//
// Some tests make several calls at the same time. The environment variable AUTH_TEST_ROUNDS sets
// how many rounds most of these tests make: small (3 rounds, the default), moderate (6) or full (1000).
// Before you trust a new store with real accounts, run the suite with AUTH_TEST_ROUNDS=full and
// with the race detector.
//
// Some tests pass an [auth.Write] whose Now function blocks. A store calls Now only after it has
// taken its locks, so the blocked call holds these locks. The test then makes a second call. For
// example, the second call revokes the session of the first call.
package storetest

import (
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
)

// promise is one rule of the contract for stores of type S. The name states the rule. The function
// test fails if the store breaks the rule.
type promise[S auth.AccountStore] struct {
	name string
	test func(t *testing.T, store S)
}

// group contains promises about one subject.
type group[S auth.AccountStore] struct {
	name     string
	promises []promise[S]
}

// together contains the groups whose promises share one store and are tested at the same time. A
// busy store is more likely to show a defect, and opening a store for each promise can be slow.
// Each promise has its own records, with random names.
var together = []group[auth.Store]{
	{"users", ofUsers(storePromises, userPromises)},
	{"registering many users at once", registerUsersPromises},
	{"listing users", listPromises},
	{"searching users", searchPromises},
	{"service users", append(servicePromises, ownKeyPromises...)},
	{"new names", renamePromises},
	{"deleting a user", deletePromises},
	{"resetting a user", resetPromises},
	{"names and ids", ofUsers(namePromises, namePromisesOfUsers)},
	{"access keys", ofUsers(keyPromises, keyPromisesOfUsers)},
	{"the life of access keys", ofUsers(keyLifePromises, keyLifePromisesOfUsers)},
	{"listing the keys of all users", ofUsers(listKeysPromises, nil)},
	{"scopes of access keys", ofUsers(scopePromises, scopePromisesOfUsers)},
	{"keys that must be rotated", ofUsers(mustRotatePromises, mustRotatePromisesOfUsers)},
	{"scopes of sessions", ofUsers(sessionScopePromises, nil)},
	{"audiences of sessions", ofUsers(audiencePromises, nil)},
	{"sessions", ofUsers(sessionPromises, sessionPromisesOfUsers)},
	{"sessions listed and limited", ofUsers(sessionCapPromises, sessionCapPromisesOfUsers)},
	{"revoking all sessions of a user", ofUsers(endAllPromises, endAllPromisesOfUsers)},
	{"the revocation feed", ofUsers(feedPromises, feedPromisesOfUsers)},
	{"revocations from claims", ofUsers(claimPromises, claimPromisesOfUsers)},
	{"values", ofUsers(valuePromises, valuePromisesOfUsers)},
	{"times", ofUsers(timePromises, timePromisesOfUsers)},
	{"cancellation", ofUsers(cancelPromises, nil)},
	{"races", ofUsers(racePromises, racePromisesOfUsers)},
}

// alone contains the groups in which each promise gets its own store. These promises are about all
// records of a store.
var alone = []group[auth.Store]{
	{"the first super user", bootstrapPromises},
	{"scopes of the first super user", bootstrapScopePromises},
	{"the last super user", append(lastSuperUserPromises, lastPersonPromises...)},
	{"listing all users", listAllPromises},
	{"listing all keys", ofUsers(listKeysPromisesAlone, nil)},
	{"clients of sign-ins", ofUsers(clientPromises, clientPromisesOfUsers)},
	{"devices", ofUsers(devicePromises, devicePromisesOfUsers)},
	{"notices of expiring keys", ofUsers(expiryNoticePromises, nil)},
	{"pruning retired usernames", pruneNamePromises},
	{"pruning", ofUsers(prunePromises, prunePromisesOfUsers)},
	{"extending sessions and revoking the others", ofUsers(extendPromises, nil)},
	{"the whole revocation feed", ofUsers(wholeFeedPromises, wholeFeedPromisesOfUsers)},
	{"the sessions of all users", ofUsers(everybodyPromises, nil)},
	{"authority", ofUsers(authorityPromises, authorityPromisesOfUsers)},
	{"the audit trail", ofUsers(trailPromises, trailPromisesOfUsers)},
	{"delivery of the audit trail", ofUsers(deliveryPromises, nil)},
	{"signing in during revocations", ofUsers(signInBarrierPromises, signInBarrierPromisesOfUsers)},
	{"rules of authority", ofUsers(authorityRulePromises, authorityRulePromisesOfUsers)},
	{"authority races", ofUsers(authorityRacePromises, authorityRacePromisesOfUsers)},
	{"changes by limited sessions", ofUsers(append(grantPromises, refusalPromises...), nil)},
	{"changes by sessions for another audience", ofUsers(audienceAuthorityPromises, nil)},
}

// Run tests that the stores returned by open satisfy the contract of [auth.Store].
//
// Run calls open about 200 times, and at most 20 more times if AUTH_TEST_ROUNDS is not small. The
// calls come from parallel tests. Each call must return an empty store, which has no users and has
// not been bootstrapped. To close a store after its test, call t.Cleanup in open.
func Run(t *testing.T, open func(t *testing.T) auth.Store) {
	runAll(t, open, together, alone)
	t.Run(bootstrapRaces.name, func(t *testing.T) {
		t.Parallel()
		for range min(rounds(t), 10) { // opening a store may be slow
			bootstrapRaces.run(t, open)
		}
	})
	t.Run("GitHub", func(t *testing.T) {
		t.Parallel()
		runAll(t, open, githubTogether, githubAlone)
	})
}

// runAll tests all given groups. For each group in the parameter together, the promises of the
// group share a store. For each group in the parameter alone, every promise gets its own store.
func runAll[S auth.AccountStore](t *testing.T, open func(t *testing.T) S, together, alone []group[S]) {
	for _, group := range together {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			group.run(t, func(*testing.T) S { return store })
		})
	}
	for _, group := range alone {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			group.run(t, open)
		})
	}
}

func (g group[S]) run(t *testing.T, open func(t *testing.T) S) {
	for _, promise := range g.promises {
		t.Run(promise.name, func(t *testing.T) {
			t.Parallel()
			promise.test(t, open(t))
		})
	}
}

// ofUsers returns all given promises, in one list. The promises in the parameter accounts hold
// for every store. The promises in the parameter users hold only for a store with users.
func ofUsers(accounts []promise[auth.AccountStore], users []promise[auth.Store]) []promise[auth.Store] {
	var all []promise[auth.Store]
	for _, p := range accounts {
		all = append(all, promise[auth.Store]{p.name, func(t *testing.T, store auth.Store) {
			p.test(t, store)
		}})
	}
	return append(all, users...)
}

// usersOf returns the store as a UserStore, or nil if the store does not keep users.
func usersOf(store auth.AccountStore) auth.UserStore {
	users, _ := store.(auth.UserStore)
	return users
}

// rounds returns how many rounds a test makes. In each round, it makes several calls at the same
// time.
func rounds(t *testing.T) int {
	t.Helper()
	return testenv.Rounds(t, testenv.Counts{Small: 3, Moderate: 6, Full: 1000})
}
