package main

import (
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/stretchr/testify/require"
)

// TestTheCommandsForIncidentsWorkAsPrinted runs the blocks of docs/incidents.md that are marked with
// "run: incidents" in order, about a user who has two sessions and a key.
func TestTheCommandsForIncidentsWorkAsPrinted(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		testenv.Skip(t, "curl is not installed")
	}
	p := start(t, "-db", newDatabase(t))
	admin := p.login(t, p.key, p.secret)
	status, user := p.mustCall(t, http.MethodPost, "/api/v1/user/register", admin,
		map[string]any{"username": "alice", "is_super_user": true, "email": "alice@example.com"})
	require.Equal(t, http.StatusOK, status)
	status, accomplice := p.mustCall(t, http.MethodPost, "/api/v1/user/register", admin,
		map[string]any{"username": "mallory", "is_super_user": true, "email": "mallory@example.com"})
	require.Equal(t, http.StatusOK, status)
	key, secret := user["access_key"].(string), user["access_secret"].(string)
	stolen, other := p.login(t, key, secret), p.login(t, key, secret)
	p.login(t, key, secret)

	page, err := os.ReadFile("../../docs/incidents.md")
	require.NoError(t, err)
	block := regexp.MustCompile("(?s)<!-- run: incidents -->\n *```sh\n(.*?)```(?:\n\n```text\n(.*?)\n```)?")
	matches := block.FindAllStringSubmatch(string(page), -1)
	require.Len(t, matches, 11)
	for i, match := range matches {
		shell := exec.CommandContext(t.Context(), "bash", "-ec", match[1])
		shell.Env = append(os.Environ(), "url="+p.url, "token="+admin, "stolen="+stolen, "key="+key,
			"user="+user["user_id"].(string), "suspect="+accomplice["user_id"].(string), "access_key="+p.key)
		shell.Stdin = strings.NewReader(p.secret + "\n")
		out, err := shell.Output()
		require.NoError(t, err, match[1])
		pattern := strings.ReplaceAll(regexp.QuoteMeta(match[2]), "…", `[^"]+`)
		require.Regexp(t, "^"+pattern, string(out))
		if strings.Contains(match[1], "$suspect") {
			require.Contains(t, string(out), `"is_super_user":false,"is_active":false`)
		}
		if i == 0 {
			require.Contains(t, string(out), `"token":"`)
		}
		want := map[int]int{1: http.StatusOK, 2: http.StatusOK, 3: http.StatusUnauthorized}
		if expected, checked := want[i]; checked {
			status, _ := p.mustCall(t, http.MethodGet, "/auth/user", other, nil)
			require.Equal(t, expected, status, "the other session after command %d", i)
		}
	}
	status, body := p.mustCall(t, http.MethodPost, "/auth/users/login", "",
		map[string]any{"access_key": key, "access_secret": secret})
	require.Equal(t, http.StatusUnauthorized, status, body)
}
