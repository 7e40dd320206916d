package surface

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The tests in this file check the release checklist in CONTRIBUTING.md.

// released are the nested modules that get a tag together with the root module.
var released = []string{"oauth/workload", "otelauth", "redislimit"}

// nestedModules returns the directories of the nested modules, relative to the root directory.
func nestedModules(t *testing.T) []string {
	t.Helper()
	var dirs []string
	for _, pattern := range []string{"*/go.mod", "*/*/go.mod"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			dir, err := filepath.Rel(root, filepath.Dir(file))
			if err != nil {
				t.Fatal(err)
			}
			dirs = append(dirs, filepath.ToSlash(dir))
		}
	}
	return dirs
}

// goMod is the part of the output of go mod edit -json that the tests read.
type goMod struct {
	Require []struct{ Path, Version string }
	Replace []struct{ Old, New struct{ Path string } }
}

func readGoMod(t *testing.T, file string) (mod goMod) {
	t.Helper()
	out, err := exec.Command("go", "mod", "edit", "-json", file).Output()
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	return mod
}

// checklist returns the section of CONTRIBUTING.md about releases.
func checklist(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(root + "/CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## Release\n")
	if !found {
		t.Fatal("CONTRIBUTING.md has no section Release")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	return section
}

func TestTheReleaseChecklistNamesEveryModule(t *testing.T) {
	section := checklist(t)
	for _, dir := range nestedModules(t) {
		pattern := "(?m)^\\|[^|]*`" + dir + "`[^|]*\\| (yes|no)\\b.*$"
		row := regexp.MustCompile(pattern).FindStringSubmatch(section)
		if row == nil {
			t.Errorf("no row of the table names `%s`", dir)
			continue
		}
		isReleased := slices.Contains(released, dir) || dir == "cmd/sallyport"
		if isReleased != (row[1] == "yes") {
			t.Errorf("the row of %s says %q", dir, row[1])
		}
		for _, required := range readGoMod(t, filepath.Join(root, dir, "go.mod")).Require {
			other := strings.TrimPrefix(required.Path, module+"/")
			if within(required.Path, module) && other != module && !strings.Contains(row[0], "`"+other+"`") {
				t.Errorf("the row of %s does not say that it requires %s", dir, other)
			}
		}
	}
}

// TestNestedModulesUseThisCommit tests that the tests of a nested module use no released version of another
// module of this repository.
func TestNestedModulesUseThisCommit(t *testing.T) {
	for _, dir := range nestedModules(t) {
		mod := readGoMod(t, filepath.Join(root, dir, "go.mod"))
		replaced := map[string]string{}
		for _, r := range mod.Replace {
			replaced[r.Old.Path] = filepath.Join(root, dir, r.New.Path)
		}
		for _, required := range mod.Require {
			if !within(required.Path, module) {
				continue
			}
			want := filepath.Join(root, strings.TrimPrefix(required.Path, module))
			if replaced[required.Path] != want {
				t.Errorf("%s: %s is replaced by %q; want %q",
					dir, required.Path, replaced[required.Path], want)
			}
		}
	}
}

// withoutGit returns the environment without the variables that choose a repository for git. In a hook, and
// in a command of git rebase, git sets them. With them, a test that makes commits and tags would make them in
// the repository of the person who runs the test.
func withoutGit(environment []string) []string {
	return slices.DeleteFunc(slices.Clone(environment), func(variable string) bool {
		return strings.HasPrefix(variable, "GIT_")
	})
}

func TestGitOfATestUsesNoRepositoryOfItsCaller(t *testing.T) {
	t.Parallel()
	calling, dir := t.TempDir(), t.TempDir()
	cmd := exec.Command("git", "init", "-q")
	cmd.Dir, cmd.Env = dir, withoutGit(append(os.Environ(), "GIT_DIR="+filepath.Join(calling, ".git")))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, ".git")); err != nil {
		t.Errorf("git has not made a repository in its directory: %v", err)
	}
}

// TestTheReleaseChecklistSetsVersionsAndTags runs the commands of the checklist that need no network.
func TestTheReleaseChecklistSetsVersionsAndTags(t *testing.T) {
	t.Parallel()
	origin, dir := t.TempDir(), t.TempDir()
	git := func(in string, args ...string) string {
		cmd := exec.Command("git", args...)
		cmd.Dir, cmd.Env = in, withoutGit(os.Environ())
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git(origin, "init", "-q", "--bare", "-b", "main")
	git(dir, "init", "-q", "-b", "main")
	git(dir, "remote", "add", "origin", origin)
	git(dir, "config", "user.name", "test")
	git(dir, "config", "user.email", "test@example.com")
	modules := nestedModules(t)
	for _, name := range append([]string{"."}, modules...) {
		text, err := os.ReadFile(filepath.Join(root, name, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "go.mod"), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	git(dir, "add", ".")
	git(dir, "commit", "-q", "-m", "Begin")

	marked := regexp.MustCompile("(?s)<!-- run: release -->\n *```sh\n(.*?)```")
	blocks := marked.FindAllStringSubmatch(checklist(t), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d blocks; want 2", len(blocks))
	}
	const version = "v0.2.0" // another one than in the checklist
	script := strings.Replace(blocks[0][1]+blocks[1][1], "version=v0.1.0", "version="+version, 1)
	cmd := exec.Command("bash", "-eu", "-c", script)
	cmd.Dir, cmd.Env = dir, withoutGit(os.Environ())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	want := []string{version}
	for _, name := range released {
		want = append(want, name+"/"+version)
	}
	tags := strings.Fields(git(origin, "tag", "--list"))
	slices.Sort(tags)
	slices.Sort(want)
	if !slices.Equal(tags, want) {
		t.Errorf("the tags are %q; want %q", tags, want)
	}
	for _, name := range modules {
		before := readGoMod(t, filepath.Join(root, name, "go.mod"))
		after := readGoMod(t, filepath.Join(dir, name, "go.mod"))
		for i, required := range after.Require {
			wanted := before.Require[i]
			if within(wanted.Path, module) {
				wanted.Version = version
			}
			if required != wanted {
				t.Errorf("%s requires %v; want %v", name, required, wanted)
			}
		}
		if !slices.Equal(before.Replace, after.Replace) {
			t.Errorf("%s: the replace directives have changed", name)
		}
	}
}
