package storetest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// If two subtests have the same name, package testing appends "#01" to the second name. A command
// that runs the first subtest by its name would then not run the second.
func TestNoTwoGroupsOrPromisesShareAName(t *testing.T) {
	t.Parallel()
	requireUniqueNames(t, slices.Concat(together, alone,
		[]group[auth.Store]{bootstrapRaces, {name: "GitHub"}}))
	requireUniqueNames(t, slices.Concat(githubTogether, githubAlone))
	requireUniqueNames(t, slices.Concat(accountsTogether, accountsAlone))
	requireUniqueNames(t, slices.Concat(githubAccountsTogether, githubAccountsAlone))
}

func requireUniqueNames[S auth.AccountStore](t *testing.T, groups []group[S]) {
	t.Helper()
	names := map[string]bool{}
	for _, group := range groups {
		require.False(t, names[group.name], "two groups are called %q", group.name)
		names[group.name] = true
		promises := map[string]bool{}
		for _, promise := range group.promises {
			require.False(t, promises[promise.name],
				"two promises of %q are called %q", group.name, promise.name)
			promises[promise.name] = true
		}
	}
}
