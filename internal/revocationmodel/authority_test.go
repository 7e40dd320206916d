package revocationmodel

import (
	"testing"

	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/stretchr/testify/require"
)

// skipUnderRace skips the test if the race detector is on. It is for tests that only explore a
// model. An exploration starts no goroutines, so the race detector would find nothing and make the
// test slow.
func skipUnderRace(t *testing.T) {
	if testenv.Race {
		t.SkipNow()
	}
}

// requireHolds explores all states of the model, and fails the test if a promise is broken. It logs
// the number of states.
func requireHolds[S comparable](t *testing.T, model Model[S]) Report {
	t.Helper()
	skipUnderRace(t)
	report := Explore(model, Options[S]{})
	require.Empty(t, report.Problem, "%s", Print(model, report.Trace))
	require.True(t, report.Complete)
	t.Log(report)
	return report
}

// requireBroken fails the test unless the explorer reports this problem. It logs the shortest
// trace.
func requireBroken[S comparable](t *testing.T, problem string, model Model[S]) {
	t.Helper()
	skipUnderRace(t)
	report := Explore(model, Options[S]{})
	require.Equal(t, problem, report.Problem, "%s", report)
	t.Logf("%s after these steps:\n%s", report.Problem, Print(model, report.Trace))
}

func TestNoLastingChangeAfterAnAcknowledgedRevocation(t *testing.T) {
	t.Parallel()
	atOnce := testenv.Rounds(t, testenv.Counts{Small: 3, Moderate: 3, Full: 4})
	for name, hostUsers := range map[string]bool{"a store that keeps users": false,
		"a host's own users": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report := requireHolds(t, NewAuthority(AuthorityDesign{}, atOnce, hostUsers))
			for _, verb := range []string{"arrives", "checks", "commits", "is refused",
				"is rolled back", "locks everybody", "locks the head"} {
				require.NotZero(t, report.Taken[verb], verb)
			}
		})
	}
}

// Each test case has a wrong design, the promise that the design breaks, and the names of the
// operations to explore.
func TestExplorerCatchesEveryWrongAuthorityDesign(t *testing.T) {
	t.Parallel()
	const addKey, logout = "add a key by session 0", "log out session 0"
	door, early := AuthorityDesign{AtTheDoor: true}, AuthorityDesign{BeforeLocking: true}
	rows := AuthorityDesign{RowsOnly: true}
	for name, c := range map[string]struct {
		design     AuthorityDesign
		hostUsers  bool
		broken     uint8
		operations []string
	}{
		"at the door, then a logout":               {door, false, wroteDead, []string{addKey, logout}},
		"at the door, then a reset":                {door, false, wroteDead, []string{addKey, "reset user 0"}},
		"at the door, then a demotion":             {door, false, wroteWithoutPower, []string{"promote user 0 by session 1", "demote user 1"}},
		"at the door, then another session":        {door, false, wroteDead, []string{addKey, "create session 2 at the cap"}},
		"at the door, then the key is revoked":     {door, false, wroteDead, []string{addKey, "revoke the key"}},
		"at the door, with a host's users":         {door, true, wroteDead, []string{addKey, "revoke sessions of user 0"}},
		"before it locks, then a logout":           {early, false, wroteDead, []string{addKey, logout}},
		"before it locks, then a demotion":         {early, false, wroteWithoutPower, []string{"promote user 0 by session 1", "demote user 1"}},
		"before it locks, with a host's users":     {early, true, wroteDead, []string{addKey, "fold user 0"}},
		"by rows, everybody's sessions revoked":    {rows, false, wroteDead, []string{addKey, "revoke everybody"}},
		"by rows, a fold that passes a locked row": {rows, false, wroteDead, []string{addKey, "fold user 0", "prune session 0"}},
		"by rows, a session made meanwhile": {
			rows, true, wroteDead, []string{"create session 2", "revoke sessions of user 0",
				"add a key by session 2"},
		},
		"everybody is revoked under a shared lock": {
			AuthorityDesign{SharedEverybody: true}, false, wroteDead, []string{addKey,
				"revoke everybody"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireBroken(t, authorityPromises[c.broken],
				NewAuthority(c.design, 3, c.hostUsers, c.operations...))
			requireHolds(t, NewAuthority(AuthorityDesign{}, 3, c.hostUsers, c.operations...))
		})
	}
}

func TestLocksOutOfOrderAreADeadlock(t *testing.T) {
	t.Parallel()
	requireBroken(t, "deadlock: no step is possible",
		NewAuthority(AuthorityDesign{OwnerBeforeOther: true}, 2, false,
			"revoke sessions of user 1 by session 0", "revoke sessions of user 0 by session 1"))
}

// Two super users disable each other. One of the two requests must fail, so that an active super
// user is left.
func TestSuperUsersDisablingEachOtherLeaveOne(t *testing.T) {
	t.Parallel()
	report := requireHolds(t, NewAuthority(AuthorityDesign{}, 2, false,
		"disable user 1 by session 0", "disable user 0 by session 1"))
	require.NotZero(t, report.Taken["is refused"])
}
