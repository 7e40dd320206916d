// Package storetest is the contract of [auth.Store] as a test suite. The stores
// of this module run it, and so should any other:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) auth.Store { return mystore.New() })
//	}
//
// [RunWithoutUsers] is the same for a store that keeps no users. The guide to
// writing a store is docs/stores.md; examples/kvstore is one.
//
// The environment variable AUTH_TEST_ROUNDS says how many times each race is
// tried: small (3, the default), moderate (20) or full (1000). Run them often, and
// with the race detector, before trusting a store with anybody's account.
package storetest

import (
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
)

// promise is one promise of the contract. Its name says what holds, and its
// function fails the test where that does not hold for the store.
type promise struct {
	name string
	test func(t *testing.T, store auth.Store)
}

// group is the promises about one subject.
type group struct {
	name     string
	promises []promise
}

// The groups whose promises are tested on one store at the same time: a busy
// one is the better test, and opening one may be slow. Every promise has records
// of its own, under random names.
var together = []group{
	{"users", userPromises},
	{"registering many users at once", registerUsersPromises},
	{"listing users", listPromises},
	{"deleting a user", deletePromises},
	{"resetting a user", resetPromises},
	{"names and ids", namePromises},
	{"access keys", keyPromises},
	{"the life of access keys", keyLifePromises},
	{"sessions", sessionPromises},
	{"sessions listed and limited", sessionCapPromises},
	{"ending all sessions of a user", endAllPromises},
	{"the feed of revocations", append(feedPromises[:len(feedPromises):len(feedPromises)], feedPromisesOfUsers...)},
	{"values", valuePromises},
	{"times", timePromises},
	{"cancellation", cancelPromises},
	{"races", racePromises},
}

// The groups whose promises need a store each, because they are about all the
// records that a store has.
var alone = []group{
	{"the first super user", bootstrapPromises},
	{"the last super user", lastSuperUserPromises},
	{"listing all users", listAllPromises},
	{"pruning", prunePromises},
	{"the whole feed of revocations",
		append(wholeFeedPromises[:len(wholeFeedPromises):len(wholeFeedPromises)], wholeFeedPromisesOfUsers...)},
}

// Run tests that the stores which open returns keep the contract of
// [auth.Store].
//
// Run calls open some seventy times, and up to twenty times more for many rounds,
// from parallel tests. Each time open must return an empty store: no user in it,
// and not bootstrapped. What must be closed, open closes with t.Cleanup.
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
func runAll(t *testing.T, open func(t *testing.T) auth.Store, together, alone []group) {
	for _, group := range together {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			group.run(t, func(*testing.T) auth.Store { return store })
		})
	}
	for _, group := range alone {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			group.run(t, open)
		})
	}
}

func (g group) run(t *testing.T, open func(t *testing.T) auth.Store) {
	for _, promise := range g.promises {
		t.Run(promise.name, func(t *testing.T) {
			t.Parallel()
			promise.test(t, open(t))
		})
	}
}

// rounds returns how many times to try a race.
func rounds(t *testing.T) int {
	t.Helper()
	return testenv.Rounds(t, testenv.Counts{Small: 3, Moderate: 20, Full: 1000})
}
