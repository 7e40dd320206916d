package wiretest

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// frozenText matches a row of the table of error texts in docs/compatibility.md.
var frozenText = regexp.MustCompile("(?m)^\\| (\\d{3}) \\| `([^`]+)` \\|$")

// Clients of other teams compare these texts, so neither the page nor an answer may change.
func TestFrozenErrorTexts(t *testing.T) {
	t.Parallel()
	f, g := newFixture(t), newGitHub(t)
	frozen := map[string]response{
		"401 Invalid access key or secret":         f.login(f.svc.Credentials().GeneratePair()),
		"403 Super user access required":           f.sendAs(f.signIn(f.user), http.MethodGet, "/auth/users", ""),
		"404 No GitHub credentials found for user": g.status(g.signIn(g.user)),
		"503 GitHub sign-in is not configured":     f.send(http.MethodGet, "/api/v1/auth/github/login-user", ""),
	}
	page, err := os.ReadFile("../../docs/compatibility.md")
	require.NoError(t, err)
	rows := frozenText.FindAllStringSubmatch(string(page), -1)
	require.Len(t, rows, len(frozen))
	for _, row := range rows {
		answer, listed := frozen[row[1]+" "+row[2]]
		require.True(t, listed, row[0])
		require.Equal(t, row[1], fmt.Sprint(answer.status))
		require.JSONEq(t, fmt.Sprintf(`{"detail": %q}`, row[2]), answer.body)
	}
}
