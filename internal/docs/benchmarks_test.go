package docs

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A figure is worth little if its command measures nothing: go test passes if no benchmark matches.
func TestTheBenchmarksOfDocumentedCommandsExist(t *testing.T) {
	command := regexp.MustCompile(`-(?:test\.)?bench '?([^\s']+)'?(.*)`)
	found := 0
	for _, p := range load(t, os.DirFS(root)).pages {
		text, err := os.ReadFile(filepath.Join(root, p.name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			m := command.FindStringSubmatch(line)
			if m == nil || m[1] == "." { // all benchmarks of a package
				continue
			}
			dir := "."
			if path.Dir(p.name) == "benchmarks" || strings.Contains(line, "./bench.test") {
				dir = "benchmarks"
			}
			for _, word := range strings.Fields(m[2]) {
				if word = strings.Trim(word, "`"); strings.HasPrefix(word, "./") {
					dir = word
				}
			}
			sources := sourcesOfTests(t, dir)
			first, _, _ := strings.Cut(m[1], "/") // the rest selects parts of the benchmark
			for _, name := range strings.Split(first, "|") {
				found++
				declared := `(?m)^func Benchmark\w*` + strings.TrimPrefix(name, "Benchmark")
				if whole, cut := strings.CutSuffix(declared, "$"); cut {
					declared = whole + `\(`
				}
				if !regexp.MustCompile(declared).MatchString(sources) {
					t.Errorf("%s: %s has no benchmark that matches %s", p.name, dir, name)
				}
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d names of benchmarks were found", found)
	}
}

func sourcesOfTests(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}
