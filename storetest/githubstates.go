package storetest

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/limits"
)

var statePromises = []promise[auth.AccountStore]{
	{"a state is used once", stateUsedOnce},
	{"an expired state stays used until it is pruned", expiredStateUsed},
	{"of several concurrent uses of a state, one succeeds", racingStates},
	{"look-alike states are different", lookalikeStates},
	{"a state may be as long as an ID", longestState},
	{"a state that cannot be stored is invalid", invalidState},
}

var statePrunePromises = []promise[auth.AccountStore]{
	{"pruning removes expired records and nothing else", pruneStatesExactly},
	{"pruning removes no more than the limit", pruneStatesToLimit},
	{"a state used again keeps its expiry", pruneStateUsedAgain},
	{"pruning an empty store removes nothing", ofStates(pruneEmpty)},
	{"records that several calls prune at once are counted once", ofStates(racingPrunes)},
}

// stateKind is the [kind] for states. It has no function to find a state, because a store has no
// method that looks up a state without consuming it.
var stateKind = kind{
	name: "states",
	add: func(t *testing.T, store auth.AccountStore, _ auth.User, expires time.Time) string {
		t.Helper()
		return useState(t, store, expires)
	},
	prune: func(store auth.AccountStore, ctx context.Context, expired time.Time, limit int) (int, error) {
		return store.PruneStates(ctx, expired, limit)
	},
}

// ofStates turns a test for any kind of record into a test of states.
func ofStates(
	test func(t *testing.T, store auth.AccountStore, kind kind),
) func(t *testing.T, store auth.AccountStore) {
	return func(t *testing.T, store auth.AccountStore) { test(t, store, stateKind) }
}

// useState calls ConsumeState for a new state.
func useState(t *testing.T, store auth.AccountStore, expires time.Time) (id string) {
	t.Helper()
	id = unique("state")
	require.NoError(t, store.ConsumeState(t.Context(), id, expires))
	return id
}

func requireUsed(t *testing.T, store auth.AccountStore, id string) {
	t.Helper()
	require.ErrorIs(t, store.ConsumeState(t.Context(), id, latest), auth.ErrExists)
}

func stateUsedOnce(t *testing.T, store auth.AccountStore) {
	id := useState(t, store, now)
	for range 3 {
		requireUsed(t, store, id)
	}
	useState(t, store, now)
}

func expiredStateUsed(t *testing.T, store auth.AccountStore) {
	requireUsed(t, store, useState(t, store, earliest))
}

func racingStates(t *testing.T, store auth.AccountStore) {
	for range rounds(t) {
		id := unique("state")
		errs := race(contenders, func(int) error { return store.ConsumeState(t.Context(), id, now) })
		requireOneWinner(t, errs, auth.ErrExists)
	}
}

func lookalikeStates(t *testing.T, store auth.AccountStore) {
	apart(t, slices.Concat(foldedTwins, lookalikes), func(t *testing.T, one, other string) {
		for _, id := range []string{one, other} {
			require.NoError(t, store.ConsumeState(t.Context(), id, now))
		}
		requireUsed(t, store, one)
	})
}

func longestState(t *testing.T, store auth.AccountStore) {
	for _, what := range []string{"x", "漢", "🦆"} {
		id := fill(unique(""), what, limits.ID)
		require.NoError(t, store.ConsumeState(t.Context(), id, latest))
		requireUsed(t, store, id)
	}
}

func pruneStatesExactly(t *testing.T, store auth.AccountStore) {
	for _, at := range []time.Time{now, now.Add(999), now.In(time.FixedZone("east", 3600))} {
		var expired, unexpired []string
		for _, expires := range expiredNow {
			expired = append(expired, useState(t, store, expires))
		}
		for _, expires := range unexpiredNow {
			unexpired = append(unexpired, useState(t, store, expires))
		}
		stateKind.requirePruned(t, store, len(expired), at, math.MaxInt)
		for _, id := range expired { // a state can be used again after it was pruned
			require.NoError(t, store.ConsumeState(t.Context(), id, latest))
		}
		for _, id := range unexpired {
			requireUsed(t, store, id)
		}
	}
	stateKind.requirePruned(t, store, 0, now, math.MaxInt)
}

func pruneStatesToLimit(t *testing.T, store auth.AccountStore) {
	for range 5 {
		useState(t, store, now)
	}
	unexpired := useState(t, store, latest)
	for _, step := range []struct{ limit, pruned int }{
		{0, 0}, {-1, 0}, {math.MinInt, 0}, {1, 1}, {2, 2}, {3, 2}, {2, 0}, {0, 0},
	} {
		stateKind.requirePruned(t, store, step.pruned, now, step.limit)
	}
	requireUsed(t, store, unexpired)
}

func pruneStateUsedAgain(t *testing.T, store auth.AccountStore) {
	early, late := useState(t, store, now), useState(t, store, latest)
	require.ErrorIs(t, store.ConsumeState(t.Context(), early, latest), auth.ErrExists)
	require.ErrorIs(t, store.ConsumeState(t.Context(), late, now), auth.ErrExists)
	stateKind.requirePruned(t, store, 1, now, math.MaxInt)
	require.NoError(t, store.ConsumeState(t.Context(), early, now))
	requireUsed(t, store, late)
}

func invalidState(t *testing.T, store auth.AccountStore) {
	for name, id := range map[string]string{
		"empty": "", "NUL": "a\x00", "not UTF-8": "\xff", "over-long": strings.Repeat("x", limits.ID+1),
	} {
		require.ErrorIs(t, store.ConsumeState(t.Context(), id, latest), auth.ErrInvalid, name)
	}
	for _, expires := range []time.Time{{}, time.Unix(0, 0), latest.AddDate(1, 0, 0)} {
		id := unique("state")
		require.ErrorIs(t, store.ConsumeState(t.Context(), id, expires), auth.ErrInvalid)
		require.NoError(t, store.ConsumeState(t.Context(), id, latest), "it was not used")
	}
}
