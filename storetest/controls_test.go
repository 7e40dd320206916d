package storetest_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/storetest"
)

// control is a defective store, with the promises that it breaks. The suite must find the defect.
type control struct {
	open  func() auth.Store
	group string // the group of the suite that contains the promises

	// caught contains the promises of the group that the store must break. If only is true, the
	// store must keep all other promises of the group.
	caught []string
	only   bool
}

var controls = map[string]control{
	"ignores the authority": {open: ignoresAuthority, group: "authority", caught: append([]string{
		"a session changes nothing if it expires, even while the change waits",
		"a session changes nothing if the feed folds",
	}, everyEnding...)},
	"checks before it locks": {open: checksBeforeLocking, group: "authority", caught: everyEnding},
	"ignores the limit of a session": {open: ignoresAuthority, group: "changes by limited sessions",
		caught: []string{
			"a limited session grants only what it has",
			"a limited session changes only keys within its scopes",
			"a session without the scope of the authority changes nothing",
			"a limited session does not change a key that gets more scopes meanwhile",
		}},
	"checks rows only": {open: checksRowsOnly, group: "authority", only: true, caught: []string{
		"a session changes nothing if all sessions of everybody are revoked",
	}},
	"a feed by timestamps": {open: feedByTimestamp, group: "the whole revocation feed", caught: []string{
		"positions count from one without gaps",
		"no entry appears before a position that was already read",
	}},
	"a feed by a sequence": {open: feedBySequence, group: "the whole revocation feed", caught: []string{
		"no entry appears before a position that was already read",
	}},
	"an event after the commit": {open: eventAfterCommit, group: "the audit trail", caught: []string{
		"an event is visible as soon as its change is",
		"an interrupted change and its event both exist or neither does",
	}},
	"approvals of revoked sessions": {open: trustsApprovals, group: "devices", only: true, caught: []string{
		"a device approved by a session that is revoked gets no session",
		"a redemption waits for a revocation, and a revocation for a redemption",
		"an approval waits for a revocation, and a revocation for an approval",
	}},
	"a redemption in two steps": {open: redeemsInTwoSteps, group: "devices", caught: []string{
		"an approved device gets one session, which the store keeps",
		"of many concurrent redemptions, one succeeds",
	}},
	"approvals that stay": {open: func() auth.Store { return keepsApprovals{memstore.New()} },
		group: "devices", only: true, caught: []string{
			"revoking the other sessions withdraws what the session approved",
		}},
	"a denial after an approval": {open: func() auth.Store { return lastDecisionWins{memstore.New()} },
		group: "devices", caught: []string{
			"a decision is final",
			"of many concurrent decisions, one succeeds",
		}},
	"a search by case": {open: searchByCase, group: "searching users", caught: []string{
		"a search finds the names that begin with the text, without regard to ASCII case",
	}},
	"a search by pattern": {open: searchByPattern, group: "searching users", caught: []string{
		"no character of a search has a special meaning",
	}},
	"a search inside names": {open: searchInside, group: "searching users", caught: []string{
		"a search finds the names that begin with the text, without regard to ASCII case",
	}},
	"a search without an order": {open: searchWithoutOrder, group: "searching users", caught: []string{
		"a search lists usernames before e-mails, each user once, on pages of any size",
	}},
	"events between whole seconds": {open: func() auth.Store { return wholeSeconds{memstore.New()} },
		group: "the audit trail", caught: []string{"events are listed by time"}},
	"a delivery cursor over an auto-increment": {open: deliveryByCursor,
		group: "delivery of the audit trail", caught: []string{
			"no event is lost, whatever the order of commits",
		}},
}

// everyEnding contains the promises about sessions that another call revokes.
var everyEnding = []string{
	"a session changes nothing if the session is revoked",
	"a session changes nothing if the session's token is revoked",
	"a session changes nothing if all sessions of the user are revoked",
	"a session changes nothing if the key is revoked",
	"a session changes nothing if the key gets other scopes",
	"a session changes nothing if a newer session takes the session's place",
	"a session changes nothing if the GitHub account of the session is unlinked",
	"a session changes nothing if all sessions of everybody are revoked",
	"a session changes nothing if the user is disabled",
	"a session changes nothing if the user is disabled and enabled again",
	"a session changes nothing if the user is demoted",
	"a session changes nothing if the user is reset",
	"a session changes nothing if the user is deleted",
}

// defectVariable is the environment variable that names the control for TestDefectiveStore.
const defectVariable = "AUTH_STORETEST_DEFECT"

// TestDefectiveStore runs the suite for the control that the environment variable names. This must
// fail, so TestDefectsAreFound runs TestDefectiveStore in a separate process.
func TestDefectiveStore(t *testing.T) {
	defective, ok := controls[os.Getenv(defectVariable)]
	if !ok {
		return
	}
	storetest.Run(t, func(*testing.T) auth.Store { return defective.open() })
}

var failedPromise = regexp.MustCompile(`(?m)^ {8}--- FAIL: TestDefectiveStore/[^/\n]+/([^/\n]+) \(`)

func TestDefectsAreFound(t *testing.T) {
	underscores := strings.NewReplacer(" ", "_")
	for name, control := range controls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			group := "^" + regexp.QuoteMeta(underscores.Replace(control.group)) + "$"
			cmd := exec.CommandContext(t.Context(), os.Args[0],
				"-test.run=^TestDefectiveStore$/"+group, "-test.v", "-test.timeout=5m")
			cmd.Env = append(os.Environ(), defectVariable+"="+name)
			output, err := cmd.CombinedOutput()
			require.IsType(t, &exec.ExitError{}, err, "the suite does not find the defect")
			var failed []string
			for _, match := range failedPromise.FindAllStringSubmatch(string(output), -1) {
				failed = append(failed, strings.ReplaceAll(match[1], "_", " "))
			}
			if control.only {
				require.ElementsMatch(t, control.caught, failed)
			} else {
				require.Subset(t, failed, control.caught)
			}
		})
	}
}
