// Package storetest tests that a store keeps the contracts of [auth.Store] and
// [auth.AccountStore]. The stores of this module run it, and so should every other:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) auth.Store { return mystore.New() })
//	}
//
// [Run] tests a store that keeps users. [RunAccounts] tests a store for a host that has a
// users table of its own. The guide to writing a store is docs/stores.md; examples/kvstore is
// a complete store.
//
// The environment variable AUTH_TEST_ROUNDS says how many times the suite tries each race:
// small (3, the default), moderate (20) or full (1000). Run it with full rounds, and with the
// race detector, before you trust a store with accounts.
//
// The suite holds a call at the clock of its [auth.Write], which a store asks after it has locked
// what it decides by, while another call ends the session that acts. A store that is an
// [auth.EventStore] is tested as one.
package storetest

import (
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
)

// promise is one promise of the contract, about stores of type S. Its name says what must
// hold, and its function fails the test if that does not hold for the store.
type promise[S auth.AccountStore] struct {
	name string
	test func(t *testing.T, store S)
}

// group is the promises about one subject.
type group[S auth.AccountStore] struct {
	name     string
	promises []promise[S]
}

// The groups whose promises are tested on one store at the same time, because a busy store is
// the better test, and opening a store may be slow. Every promise has records of its own,
// under random names.
var together = []group[auth.Store]{
	{"users", ofUsers(storePromises, userPromises)},
	{"registering many users at once", registerUsersPromises},
	{"listing users", listPromises},
	{"deleting a user", deletePromises},
	{"resetting a user", resetPromises},
	{"names and ids", ofUsers(namePromises, namePromisesOfUsers)},
	{"access keys", ofUsers(keyPromises, keyPromisesOfUsers)},
	{"the life of access keys", ofUsers(keyLifePromises, keyLifePromisesOfUsers)},
	{"sessions", ofUsers(sessionPromises, sessionPromisesOfUsers)},
	{"sessions listed and limited", ofUsers(sessionCapPromises, sessionCapPromisesOfUsers)},
	{"ending all sessions of a user", ofUsers(endAllPromises, endAllPromisesOfUsers)},
	{"the feed of revocations", ofUsers(feedPromises, feedPromisesOfUsers)},
	{"revocations from claims", ofUsers(claimPromises, claimPromisesOfUsers)},
	{"values", ofUsers(valuePromises, valuePromisesOfUsers)},
	{"times", ofUsers(timePromises, timePromisesOfUsers)},
	{"cancellation", ofUsers(cancelPromises, nil)},
	{"races", ofUsers(racePromises, racePromisesOfUsers)},
}

// The groups whose promises need a store each, because they are about all the records that a
// store has.
var alone = []group[auth.Store]{
	{"the first super user", bootstrapPromises},
	{"the last super user", lastSuperUserPromises},
	{"listing all users", listAllPromises},
	{"pruning", ofUsers(prunePromises, prunePromisesOfUsers)},
	{"the whole feed of revocations", ofUsers(wholeFeedPromises, wholeFeedPromisesOfUsers)},
	{"everybody's sessions", ofUsers(everybodyPromises, nil)},
	{"authority", ofUsers(authorityPromises, authorityPromisesOfUsers)},
	{"the audit trail", ofUsers(trailPromises, trailPromisesOfUsers)},
	{"delivery of the audit trail", ofUsers(deliveryPromises, nil)},
	{"signing in while sessions end", signInBarrierPromises},
	{"who has authority", ofUsers(authorityRulePromises, authorityRulePromisesOfUsers)},
	{"authority raced for", ofUsers(authorityRacePromises, authorityRacePromisesOfUsers)},
}

// Run tests that the stores which open returns keep the contract of [auth.Store].
//
// Run calls open about 140 times, and up to twenty times more if there are many rounds, from
// parallel tests. Each call must return an empty store, without users and not
// bootstrapped. To close a store afterwards, open calls t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) auth.Store) {
	runAll(t, open, together, alone)
	t.Run(bootstrapRaces.name, func(t *testing.T) {
		t.Parallel()
		for range min(rounds(t), 10) { // because opening a store may be slow
			bootstrapRaces.run(t, open)
		}
	})
	t.Run("GitHub", func(t *testing.T) {
		t.Parallel()
		runAll(t, open, githubTogether, githubAlone)
	})
}

// runAll tests the groups together and alone.
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

// ofUsers returns promises of every store of accounts, followed by promises that only a store
// with users makes.
func ofUsers(accounts []promise[auth.AccountStore], users []promise[auth.Store]) []promise[auth.Store] {
	var all []promise[auth.Store]
	for _, p := range accounts {
		all = append(all, promise[auth.Store]{p.name, func(t *testing.T, store auth.Store) { p.test(t, store) }})
	}
	return append(all, users...)
}

// usersOf returns the users of a store that keeps users, and nil for every other store.
func usersOf(store auth.AccountStore) auth.UserStore {
	users, _ := store.(auth.UserStore)
	return users
}

// rounds returns how many times to try a race.
func rounds(t *testing.T) int {
	t.Helper()
	return testenv.Rounds(t, testenv.Counts{Small: 3, Moderate: 6, Full: 1000})
}
