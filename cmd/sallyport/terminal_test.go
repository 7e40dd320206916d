package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/testenv"
)

// startInTerminal starts the program in a terminal.
func startInTerminal(t *testing.T, env, args []string) (*exec.Cmd, *os.File) {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = append(cleanEnv(), env...)
	terminal, err := pty.Start(cmd)
	if err != nil {
		testenv.Skip(t, "this machine has no terminals: "+err.Error())
	}
	t.Cleanup(func() { _ = terminal.Close() })
	return cmd, terminal
}

// inTerminal runs the program in a terminal, types the text, and requires the exit code. It returns what
// the terminal shows.
func inTerminal(t *testing.T, code int, env []string, typed string, args ...string) string {
	t.Helper()
	cmd, terminal := startInTerminal(t, env, args)
	_, err := io.WriteString(terminal, typed)
	require.NoError(t, err)
	shown, _ := io.ReadAll(terminal) // Linux ends a terminal with an error
	require.Equal(t, code, exitCode(t, cmd.Wait()), "%s", shown)
	return string(shown)
}

func TestATerminalIsAskedBeforeAChangeThatCannotBeUndone(t *testing.T) {
	t.Parallel()
	onDatabases(t, func(t *testing.T, env []string) {
		execute(t, 0, env, "", "init", "root")
		before, _ := execute(t, 0, env, "", "key", "list", "root", "-json")
		for _, answer := range []string{"no\n", "\n", "y\n", "\x04"} {
			shown := inTerminal(t, 4, env, answer, "recover", "root")
			require.Contains(t, shown, "Recover removes all keys, sessions and GitHub accounts of the "+
				"user root")
			require.Contains(t, shown, "nothing was changed")
		}
		after, _ := execute(t, 0, env, "", "key", "list", "root", "-json")
		require.Equal(t, before, after)
		require.Contains(t, inTerminal(t, 0, env, "yes\n", "recover", "root"), "access_secret=as_live_")
	})
}

// interrupt starts the program in a terminal, presses Ctrl-C when the terminal shows the text, and requires
// the exit code. It returns what the terminal shows.
func interrupt(t *testing.T, code int, env []string, at string, args ...string) string {
	t.Helper()
	cmd, terminal := startInTerminal(t, env, args)
	var shown strings.Builder
	buffer, pressed := make([]byte, 1<<12), false
	for {
		n, err := terminal.Read(buffer)
		shown.Write(buffer[:n])
		if !pressed && strings.Contains(shown.String(), at) {
			pressed = true
			_, err := io.WriteString(terminal, "\x03")
			require.NoError(t, err)
		}
		if err != nil {
			break // Linux ends a terminal with an error
		}
	}
	require.True(t, pressed, shown.String())
	require.Equal(t, code, exitCode(t, cmd.Wait()), "%s", &shown)
	return shown.String()
}

func TestOneInterruptEndsAQuestion(t *testing.T) {
	t.Parallel()
	env := newSQLite(t)
	execute(t, 0, env, "", "init", "root")
	before, _ := execute(t, 0, env, "", "key", "list", "root", "-json")
	shown := interrupt(t, 4, env, "Type yes to continue: ", "recover", "root")
	require.Contains(t, shown, "sallyport: interrupted: nothing was changed")
	shown = interrupt(t, 1, env, "Paste the secret", "key", "find-leaked", "-revoke")
	require.Contains(t, shown, "sallyport: interrupted: ")
	after, _ := execute(t, 0, env, "", "key", "list", "root", "-json")
	require.Equal(t, before, after)
}

// newImporting makes a directory with a service on SQLite that imports users, and returns the environment for
// it.
func newImporting(t *testing.T) (dir string, env []string) {
	t.Helper()
	dir = t.TempDir()
	config := filepath.Join(dir, "sallyport.json")
	require.NoError(t, os.WriteFile(config,
		[]byte(`{"dsn":"file:`+filepath.Join(dir, "app.db")+`","allow_imported":true}`), 0o600))
	env = []string{"SALLYPORT_CONFIG=" + config}
	execute(t, 0, env, "", "init", "root")
	return dir, env
}

func TestAnInterruptedImportContinues(t *testing.T) {
	t.Parallel()
	dir, env := newImporting(t)
	const lines = 3000
	var text strings.Builder
	for i := range lines {
		fmt.Fprintf(&text, `{"username":"u%d","keys":[{"access_key":"k%[1]d","sha256":"%064[1]x"}]}`, i)
		text.WriteString("\n")
	}
	file := filepath.Join(dir, "users.jsonl")
	require.NoError(t, os.WriteFile(file, []byte(text.String()), 0o600))
	shown := interrupt(t, 1, env, " %, ", "import", "-batch", "10", "-vouch-for-sha256", file)
	require.Contains(t, shown, "sallyport: interrupted: the import is not complete: run the same command")
	added := regexp.MustCompile(`added (\d+) users?; `).FindStringSubmatch(shown)[1]
	out, _ := execute(t, 0, env, "", "import", "-vouch-for-sha256", file)
	require.Contains(t, out, "; "+added+" were present; 0 lines were rejected")
	users, _ := execute(t, 0, env, "", "user", "list", "-json")
	require.Equal(t, lines+1, strings.Count(users, "\n"))

	shown = interrupt(t, 1, env, "press Ctrl-D:", "import", "-")
	require.Contains(t, shown, "sallyport: interrupted: ")
}

func TestAnImportShowsItsProgressInATerminalOnly(t *testing.T) {
	t.Parallel()
	dir, env := newImporting(t)
	const hash = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	file := filepath.Join(dir, "users.jsonl")
	require.NoError(t, os.WriteFile(file,
		[]byte(`{"username":"bob","keys":[{"access_key":"old-bob","sha256":"`+hash+`"}]}`+"\n"), 0o600))
	shown := inTerminal(t, 0, env, "", "import", "-vouch-for-sha256", file)
	require.Contains(t, shown, "[##########] 100 %, 1 user added")
	require.Contains(t, shown, "added 1 user; 0 were present")
	out, problem := execute(t, 0, env, "", "import", "-vouch-for-sha256", file)
	require.Equal(t, "added 0 users; 1 were present; 0 lines were rejected\n", out)
	require.Empty(t, problem)
}

func TestASecretIsPastedIntoATerminal(t *testing.T) {
	t.Parallel()
	env := newSQLite(t)
	out, _ := execute(t, 0, env, "", "init", "root")
	_, secret, _ := strings.Cut(strings.TrimSpace(out), "access_secret=")
	shown := inTerminal(t, 0, env, secret+"\n\x04", "key", "find-leaked")
	require.Contains(t, shown, "Paste the secret")
	require.Contains(t, shown, "of the user root")
}
