package docs

import (
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

var (
	codeName   = regexp.MustCompile("`(?:[A-Za-z]+\\.)*([A-Z][A-Za-z]*[a-z][A-Za-z]*)(?:\\(\\))?`")
	identifier = regexp.MustCompile(`\b[A-Z]\w*\b`)
)

// foreignNames are names of other software that the pages use.
var foreignNames = []string{"AllowCredentials", "Iv", "PodLifecycleSleepAction", "Replacer"}

// TestTheNamesOnThePagesExist finds names that were renamed in the code only. It looks for the last part of a
// name, such as ReauthAfter of Config.ReauthAfter.
func TestTheNamesOnThePagesExist(t *testing.T) {
	tree := load(t, os.DirFS(root))
	for _, problem := range unknownNames(t, tree, foreignNames) {
		t.Error(problem)
	}
}

func unknownNames(t *testing.T, tree *tree, known []string) (problems []string) {
	t.Helper()
	names := map[string]bool{}
	for _, name := range known {
		names[name] = true
	}
	err := fs.WalkDir(tree.fsys, ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") || strings.HasPrefix(name, "internal/docs/") {
			return err
		}
		source, err := fs.ReadFile(tree.fsys, name)
		for _, word := range identifier.FindAll(source, -1) {
			names[string(word)] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range tree.pages {
		for i, line := range page.prose {
			for _, match := range codeName.FindAllStringSubmatch(line, -1) {
				if !names[match[1]] {
					problem := fmt.Sprintf("%s:%d: no code has the name %s", page.name, i+1, match[1])
					problems = append(problems, problem)
				}
			}
		}
	}
	return problems
}

func TestANameThatNoCodeHasIsFound(t *testing.T) {
	tree := load(t, fstest.MapFS{
		"a.go": {Data: []byte("package a\n\ntype Config struct{ ReauthAfter int }\n")},
		"a.md": markdown("Set `Config.ReauthAfter`, and call `Run()`.\n\nNot `RequireRecent`, `HTTP` or Foreign.\n"),
	})
	got := unknownNames(t, tree, []string{"Run"})
	if want := []string{"a.md:3: no code has the name RequireRecent"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
