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
	program := exec.Command(path, "-addr", "127.0.0.1:0", "-db", ":memory:")
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
