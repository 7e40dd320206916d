package browsertest

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// buildQuickstart builds the quickstart and returns the path of the program.
var buildQuickstart = sync.OnceValues(func() (string, error) {
	path := filepath.Join(tempDir, "quickstart")
	build := exec.Command("go", "build", "-o", path, "./examples/quickstart")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the quickstart: %w\n%s", err, out)
	}
	return path, nil
})

// quickstart is a running quickstart program with its own database.
type quickstart struct {
	url         string
	key, secret string // of the first user
}

func startQuickstart(t *testing.T) *quickstart {
	t.Helper()
	path, err := buildQuickstart()
	require.NoError(t, err)
	var stderr bytes.Buffer
	program := exec.Command(path, "-addr", "127.0.0.1:0", "-db", filepath.Join(t.TempDir(), "quickstart.db"))
	// Without an OAuth app, the quickstart uses the fake GitHub.
	program.Env = append(os.Environ(), "GITHUB_CLIENT_ID=", "GITHUB_CLIENT_SECRET=")
	program.Stderr = &stderr
	stdout, err := program.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, program.Start())
	t.Cleanup(func() {
		program.Process.Kill()
		program.Wait()
		require.NotContains(t, stderr.String(), "level=ERROR", "the program has complained")
	})
	q := &quickstart{}
	for lines := bufio.NewScanner(stdout); q.url == "" && lines.Scan(); {
		for prefix, field := range map[string]*string{
			"access_key=":    &q.key,
			"access_secret=": &q.secret,
			"listening on ":  &q.url,
		} {
			if value, ok := strings.CutPrefix(lines.Text(), prefix); ok {
				*field = value
			}
		}
	}
	require.NotEmpty(t, q.url, "it has ended: %s", &stderr)
	return q
}

// The quickstart has the console at "/", with a fake GitHub.
func TestTheQuickstartIsTheConsole(t *testing.T) {
	needChromium(t)
	q := startQuickstart(t)
	b := newBrowser(t)
	h := &host{url: q.url, pair: auth.KeyPair{AccessKey: q.key, AccessSecret: auth.NewSecret(q.secret)}}
	b.signIn(h, h.pair, "/keys")
	b.shows("h1", "Access keys")
	require.Equal(t, 1, b.rows())
	b.openPage(h, "/")
	b.click("#connect")
	b.answerGitHub(octocat, authorize)
	b.shows("#status", "GitHub is connected.")
	b.shows("#github-login", "octocat")
	b.click("#sign-out")
	b.shows("h1", "Sign in")
	b.click("#github")
	b.answerGitHub(octocat, cancel)
	b.shows("#alert", "You did not allow it at GitHub. Nothing has changed.")
	b.do(chromedp.Reload())
	b.shows("h1", "Sign in")
	require.Empty(t, b.text("#alert"), "a reload must not show the message again")
}
