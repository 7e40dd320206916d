package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/testenv"
)

// startLocal runs the program with -local in the directory. It returns the URL of the service, and a function
// that stops the service.
func startLocal(t *testing.T, dir string) (url string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"-local", "-addr", "127.0.0.1:0", "-db", filepath.Join(dir, "app.db")},
			os.Getenv, writer)
		writer.Close()
		done <- err
	}()
	lines := bufio.NewScanner(reader)
	for url == "" && lines.Scan() {
		_, url, _ = strings.Cut(lines.Text(), "listening on ")
	}
	if url == "" {
		require.NoError(t, <-done)
	}
	return url, func() {
		cancel()
		require.NoError(t, <-done)
	}
}

// TestTheCommandsForLocalDevelopmentWorkAsPrinted runs the blocks of docs/local-development.md that are
// marked with "run: local-development" in order, in the directory of the database.
func TestTheCommandsForLocalDevelopmentWorkAsPrinted(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		testenv.Skip(t, "curl is not installed")
	}
	page, err := os.ReadFile("../../docs/local-development.md")
	require.NoError(t, err)
	block := regexp.MustCompile(
		"(?s)<!-- run: local-development -->\n```sh\n(.*?)```(?:\n\n```text\n(.*?)\n```)?")
	matches := block.FindAllStringSubmatch(string(page), -1)
	require.Len(t, matches, 3)
	require.Equal(t, "go run ./examples/development -local\n", matches[0][1])

	dir := t.TempDir()
	url, stop := startLocal(t, dir)
	shell := func(i int) string {
		command := exec.CommandContext(t.Context(), "bash", "-ec",
			strings.ReplaceAll(matches[i][1], "http://127.0.0.1:8080", url))
		command.Dir = dir
		out, err := command.Output()
		require.NoError(t, err, matches[i][1])
		return string(out)
	}
	answer := regexp.QuoteMeta(matches[1][2])
	require.Regexp(t, "^"+strings.ReplaceAll(answer, "…", ".+")+"\n?$", shell(1))
	stop()
	shell(2)
	require.NoFileExists(t, filepath.Join(dir, "app.db"))

	url, stop = startLocal(t, dir)
	defer stop()
	require.Contains(t, shell(1), `"username":"admin"`, "the key works with the new database")
}

func TestTheFakeGitHubIsOnlyForThisMachine(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "app.db")
	err := run(t.Context(), []string{"-local", "-addr", "0.0.0.0:0", "-db", db}, os.Getenv, io.Discard)
	require.ErrorContains(t, err, "only for a loopback address")
}

func TestProductionNeedsItsSecrets(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "app.db")
	err := run(t.Context(), []string{"-addr", "127.0.0.1:0", "-db", db},
		func(string) string { return "" }, io.Discard)
	require.ErrorContains(t, err, "SIGNING_SECRET: ")
}
