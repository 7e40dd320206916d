package surface

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-go/auth/internal/testenv"
)

// The maximum cost for a host that imports the root package and sqlstore, as the program in the directory
// host does. modules.txt lists the modules that the host compiles on Linux with x86-64, the system with the
// most modules.
const (
	modules       = "modules.txt"
	maxSumEntries = 65 // lines of the host's go.sum
)

func TestHostCompilesOnlyTheListedModules(t *testing.T) {
	t.Setenv("GOOS", "linux")
	t.Setenv("GOARCH", "amd64")
	lines := goList(t, "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", module+"/internal/surface/host")
	slices.Sort(lines)
	lines = slices.DeleteFunc(slices.Compact(lines), func(path string) bool {
		return path == "" || path == module
	})
	requireListed(t, "The modules that a host compiles", modules, strings.Join(lines, "\n")+"\n")
}

func TestHostGoSumStaysShort(t *testing.T) {
	dir := t.TempDir()
	home, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	goVersion := strings.TrimSpace(strings.Join(goList(t, "-m", "-f", "{{.GoVersion}}"), ""))
	for name, text := range map[string]string{
		"go.mod":  fmt.Sprintf("module host\n\ngo %s\n\nrequire %s v0.0.0\n\nreplace %[2]s => %q\n", goVersion, module, home),
		"main.go": fmt.Sprintf("package main\n\nimport (\n\t_ %q\n\t_ %q\n)\n\nfunc main() {}\n", module, module+"/sqlstore"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tidy := exec.Command("go", "mod", "tidy")
	tidy.Dir = dir
	if output, err := tidy.CombinedOutput(); err != nil {
		testenv.Skip(t, fmt.Sprintf("go mod tidy of a host: %v: %s", err,
			strings.ReplaceAll(string(output), "\n", "; ")))
	}
	sum, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	count := strings.Count(string(sum), "\n")
	t.Logf("a host's go.sum has %d lines", count)
	if count > maxSumEntries {
		t.Errorf("a host's go.sum has %d lines, more than %d", count, maxSumEntries)
	}
}
