package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// fipsBlocks returns the code blocks of docs/fips.md in the language.
func fipsBlocks(t *testing.T, language string) (code []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "fips.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range parsePage("docs/fips.md", string(text)).blocks {
		if b.language == language {
			code = append(code, b.code)
		}
	}
	return code
}

// TestTheProgramOfTheFIPSPageTellsItsMode builds the program of the page and starts it with the commands
// of the page.
func TestTheProgramOfTheFIPSPageTellsItsMode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module app\n\ngo 1.26.0\n", "main.go": fipsBlocks(t, "go")[0],
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	run := func(script string, env ...string) string {
		cmd := exec.Command("sh", "-ec", script)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), append(env, "GOWORK=off")...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
		return string(out)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "fips.md"))
	if err != nil {
		t.Fatal(err)
	}
	if out := run(fipsBlocks(t, "sh")[0]); !strings.Contains(string(page), "`"+strings.TrimSpace(out)+"`") {
		t.Errorf("the page does not have the output %q", out)
	}
	const unenforced = "enabled: true, enforced: false\n"
	if out := run("./app", "GODEBUG="); !strings.HasSuffix(out, unenforced) {
		t.Errorf("without GODEBUG, the output is %q", out)
	}
}

// TestTheFIPSPageHasACommandOfCI tests that .ci/run runs what the command of the page runs. The tests
// take too long to run them here again.
func TestTheFIPSPageHasACommandOfCI(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile(filepath.Join(root, ".ci", "run"))
	if err != nil {
		t.Fatal(err)
	}
	command, pattern, ok := strings.Cut(strings.TrimSpace(fipsBlocks(t, "sh")[1]), " -run ")
	line := regexp.MustCompile(`env ` + regexp.QuoteMeta(command) + ` \\\n\s+-run '([^']+)'`)
	run := line.FindSubmatch(script)
	if !ok || run == nil || !slices.Contains(strings.Split(string(run[1]), "|"), pattern) {
		t.Errorf(".ci/run does not run %q with -run %q", command, pattern)
	}
}
