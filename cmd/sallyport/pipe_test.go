package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// intoClosedPipe runs the program with an output that nobody reads, and returns its errors.
func intoClosedPipe(t *testing.T, env []string, args ...string) string {
	t.Helper()
	read, write, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, read.Close())
	defer write.Close()
	cmd := exec.Command(binary, args...)
	cmd.Env = append(cleanEnv(), env...)
	var problem strings.Builder
	cmd.Stdout, cmd.Stderr = write, &problem
	require.Equal(t, 1, exitCode(t, cmd.Run()), problem.String())
	return problem.String()
}

// The signal SIGPIPE would end the program before it can say that a secret was lost.
func TestTheOperatorLearnsThatNobodyReadTheSecret(t *testing.T) {
	t.Parallel()
	onDatabases(t, func(t *testing.T, env []string) {
		execute(t, 0, env, "", "init", "root")
		for _, line := range []string{
			"recover root -yes", "user add alice", "key add alice", "user reset alice -yes",
		} {
			problem := intoClosedPipe(t, env, strings.Fields(line)...)
			require.Contains(t, problem, "the change was made, but its secret could not be written")
			require.NotContains(t, problem, "as_live_")
		}
		problem := intoClosedPipe(t, env, "user", "disable", "alice")
		require.Contains(t, problem, "sallyport: the change was made, but this could not be written")
		for _, line := range []string{"user list", "user list -json", "events", "user export alice"} {
			require.Empty(t, intoClosedPipe(t, env, strings.Fields(line)...), line)
		}
	})
}

// Without room for the file, for example on a full disk, the file would have a part of the secret.
func TestNoFileStaysIfTheSecretDoesNotFit(t *testing.T) {
	t.Parallel()
	onDatabases(t, func(t *testing.T, env []string) {
		execute(t, 0, env, "", "init", "root")
		if strings.HasPrefix(env[0], "SALLYPORT_DSN=file:") {
			return // the limit would also be that of the database
		}
		file := filepath.Join(t.TempDir(), "alice.env")
		cmd := exec.Command("sh", "-c", `ulimit -f 0; exec "$@"`, "sh", binary, "user", "add", "alice",
			"-secret-file", file)
		cmd.Env = append(cleanEnv(), env...)
		text, err := cmd.CombinedOutput()
		require.Equal(t, 1, exitCode(t, err), "%s", text)
		require.Contains(t, string(text), "the change was made, but its secret could not be written: run "+
			"'sallyport user reset id:")
		require.NoFileExists(t, file)
	})
}
