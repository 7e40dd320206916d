package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/stretchr/testify/require"
)

// readme is what a reader of README.md copies.
type readme struct {
	program string
	setUp   string   // shell commands that create the module, inside a sentence
	run     string   // shell block that builds and starts the program
	calls   []string // shell blocks for a second terminal
	answers []string // output of each block of calls
}

func readReadme(t *testing.T) readme {
	t.Helper()
	file, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	text := string(file)
	first := func(pattern string) string {
		match := regexp.MustCompile(pattern).FindStringSubmatch(text)
		require.NotNil(t, match, pattern)
		return match[1]
	}
	r := readme{
		program: first("(?s)\n```go\n(package main\n.*?)```"),
		setUp:   first("`(mkdir [^`]* && go mod init [^`]*)`"),
		run:     first("(?s)<!-- run: readme -->\n```sh\n(go mod tidy\n.*?)```"),
	}
	block := regexp.MustCompile("(?s)<!-- run: readme -->\n```sh\n([^`]*)```\n\n```text\n(.*?)```")
	for _, match := range block.FindAllStringSubmatch(text, -1) {
		r.calls, r.answers = append(r.calls, match[1]), append(r.answers, match[2])
	}
	require.Equal(t, 1+len(r.calls), strings.Count(text, "<!-- run: readme -->"), "a block is not tested")
	require.Contains(t, text, "`go run ./examples/quickstart`", "process_test.go tests this program")
	return r
}

// newModule creates the module of the README in an empty directory and returns the directory. The
// module needs the library from this checkout, and the dependencies that go mod tidy would add. The
// test cannot run go mod tidy, because the library may not be released and the machine may be
// offline.
func (r readme) newModule(t *testing.T) (dir string) {
	t.Helper()
	empty := t.TempDir()
	setUp := exec.Command("bash", "-c", r.setUp+" >&2 && pwd")
	setUp.Dir = empty
	out, err := setUp.Output()
	require.NoError(t, err)
	dir = strings.TrimSpace(string(out))
	module, err := exec.Command("go", "-C", dir, "list", "-m").Output()
	require.NoError(t, err)

	checkout, err := filepath.Abs("../..")
	require.NoError(t, err)
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(checkout, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o666))
	}
	const library = "github.com/sallyport-go/auth"
	edit := exec.Command("go", "-C", dir, "mod", "edit", "-module="+strings.TrimSpace(string(module)),
		"-require="+library+"@v0.0.0", "-replace="+library+"="+checkout)
	out, err = edit.CombinedOutput()
	require.NoError(t, err, "%s", out)
	// Other tests may use port 8080 at the same time.
	program := strings.ReplaceAll(r.program, "127.0.0.1:8080", "127.0.0.1:0")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o666))
	return dir
}

// start runs the commands of the README that start the program. It returns the URL of the program,
// and the lines that the program prints for the first user.
func (r readme) start(t *testing.T, dir string) (url, pair string) {
	t.Helper()
	shell := exec.Command("bash", "-c", strings.Replace(r.run, "go mod tidy", "set -e", 1))
	shell.Dir = dir
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // go run starts a child process
	output, err := shell.StdoutPipe()
	require.NoError(t, err)
	shell.Stderr = shell.Stdout // the log
	require.NoError(t, shell.Start())
	t.Cleanup(func() { syscall.Kill(-shell.Process.Pid, syscall.SIGKILL); shell.Wait() })
	var printed string
	for lines := bufio.NewScanner(output); lines.Scan(); {
		printed += lines.Text() + "\n"
		if _, address, ok := strings.Cut(lines.Text(), "listening on "); ok {
			return address, pair
		}
		if strings.HasPrefix(lines.Text(), "access_") {
			pair += lines.Text() + "\n"
		}
	}
	require.Fail(t, "the program has ended", printed)
	return "", ""
}

// TestTheReadmeWorksAsPrinted does what README.md says, with another port.
func TestTheReadmeWorksAsPrinted(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"bash", "curl", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			testenv.Skip(t, program+" is not installed")
		}
	}
	r := readReadme(t)
	require.Len(t, r.calls, 1)
	dir := r.newModule(t)
	url, pair := r.start(t, dir)
	require.Regexp(t, `^access_key=ak_live_\w+\naccess_secret=as_live_\w+\n$`, pair)

	// All calls run in one shell, because they share its variables.
	const separator = "==\n"
	script := "set -e\n" + pair
	for _, call := range r.calls {
		script += strings.ReplaceAll(call, "http://127.0.0.1:8080", url) + "printf '" +
			strings.ReplaceAll(separator, "\n", `\n`) + "'\n"
	}
	out, err := exec.Command("bash", "-c", script).Output()
	require.NoError(t, err)
	got := strings.Split(string(out), separator)
	for i, want := range r.answers {
		pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(want)), "…", `[^"]+`)
		require.Regexp(t, "^"+pattern+"\n?$", got[i])
	}

	// A later start has the same user and prints no key.
	_, pair = r.start(t, dir)
	require.Empty(t, pair)
}

func TestTheReadmesProgramNamesTheCommandForAMissingSecret(t *testing.T) {
	t.Parallel()
	r := readReadme(t)
	dir := r.newModule(t)
	program := exec.Command("go", "run", ".")
	program.Dir = dir
	program.Env = append(os.Environ(), "SIGNING_SECRET=")
	var stderr bytes.Buffer
	program.Stderr = &stderr
	require.Error(t, program.Run())
	require.Contains(t, stderr.String(), "SIGNING_SECRET: ")
	require.Contains(t, stderr.String(), `"openssl rand -base64 32"`)
}

// The code for sign-in and one protected route must not have more than 30 lines.
func TestTheHostCodeIsShort(t *testing.T) {
	t.Parallel()
	_, code, ok := strings.Cut(readReadme(t).program, "\nfunc run(")
	require.True(t, ok)
	code, _, ok = strings.Cut(code, "\n}\n")
	require.True(t, ok)
	require.LessOrEqual(t, strings.Count(code, "\n")+2, 30)
}
