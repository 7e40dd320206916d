package main

import (
	"bufio"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/stretchr/testify/require"
)

// readmeBlocks returns the shell blocks that are marked with "run: readme" in README.md. For each,
// it also returns the output block that follows, or "" if there is none.
func readmeBlocks(t *testing.T) (commands, answers []string) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	block := regexp.MustCompile("(?s)<!-- run: readme -->\n```sh\n(.*?)```(?:\n\n```text\n(.*?)\n```)?")
	for _, match := range block.FindAllStringSubmatch(string(text), -1) {
		commands = append(commands, match[1])
		answers = append(answers, match[2])
	}
	return commands, answers
}

// TestTheReadmeWorksAsPrinted runs the commands of the README. Only the address and the location of
// the database differ from what the README says.
func TestTheReadmeWorksAsPrinted(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		testenv.Skip(t, "curl is not installed")
	}
	commands, answers := readmeBlocks(t)
	require.Len(t, commands, 6)
	require.Equal(t, "go run ./examples/quickstart\n", commands[0])

	quickstart := exec.Command("bash", "-c",
		"exec "+strings.TrimSpace(commands[0])+" -addr 127.0.0.1:0 -db "+newDatabase(t))
	quickstart.Dir = "../.."
	quickstart.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // go run starts a child process
	stdout, err := quickstart.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, quickstart.Start())
	t.Cleanup(func() { syscall.Kill(-quickstart.Process.Pid, syscall.SIGKILL); quickstart.Wait() })
	var pasted, url string
	for lines := bufio.NewScanner(stdout); url == "" && lines.Scan(); {
		if listening, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			url = listening
		} else if strings.HasPrefix(lines.Text(), "access_") {
			pasted += lines.Text() + "\n"
		}
	}
	require.NotEmpty(t, url)

	// All commands run in one shell, so that they share its variables. A marker line separates
	// their outputs.
	script := "set -e\n" + pasted
	for _, command := range commands[1:5] {
		script += strings.ReplaceAll(command, "http://127.0.0.1:8080", url) + "\nprintf '\\n--\\n'\n"
	}
	shell := exec.Command("bash", "-c", script)
	out, err := shell.Output()
	require.NoError(t, err)
	got := strings.Split(string(out), "\n--\n")
	for i, want := range answers[1:5] {
		pattern := strings.ReplaceAll(regexp.QuoteMeta(want), "…", `[^"]+`)
		require.Regexp(t, "^"+pattern+"\n?$", got[i])
	}
}

func TestCIRunsTheReadmesTestCommand(t *testing.T) {
	t.Parallel()
	commands, _ := readmeBlocks(t)
	ci, err := os.ReadFile("../../.ci/run")
	require.NoError(t, err)
	require.Contains(t, string(ci), "step tests "+commands[5])
}

// The code for sign-in and one protected route must not have more than 30 lines.
func TestTheHostCodeIsShort(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, code, ok := strings.Cut(string(text), "\nfunc run(")
	require.True(t, ok)
	code, _, ok = strings.Cut(code, "\n}\n")
	require.True(t, ok)
	require.LessOrEqual(t, strings.Count(code, "\n")+2, 30)
}
