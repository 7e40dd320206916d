package surface

import (
	"bytes"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// These tests check the direction of dependencies: the packages that a host compiles with each
// imported package, without test code.

func TestRootPackageImportsNoStoreDatabaseOrTestCode(t *testing.T) {
	modules := []string{ // the only modules that it may import from
		module, "github.com/golang-jwt/jwt/v5",
		"golang.org/x/crypto", "golang.org/x/oauth2", "golang.org/x/sys",
		"golang.org/x/time", "github.com/hashicorp/golang-lru/v2", // counting of failures
	}
	for _, line := range goList(t, "-deps", "-f",
		"{{.ImportPath}}\t{{with .Module}}{{.Path}}{{end}}", module) {
		path, from, _ := strings.Cut(line, "\t")
		if from != "" && !slices.Contains(modules, from) {
			t.Errorf("the root package imports %s, of a module that is not one of %q", path, modules)
		}
		if within(path, "database/sql", "testing", module+"/memstore", module+"/sqlstore",
			module+"/storetest") {
			t.Errorf("the root package imports %s", path)
		}
	}
}

func TestSQLStoreImportsNoDriverOrTestCode(t *testing.T) {
	for _, path := range goList(t, "-deps", module+"/sqlstore") {
		if within(path, "testing", "github.com/stretchr/testify", "modernc.org",
			"github.com/jackc", "github.com/lib/pq", "github.com/go-sql-driver", "github.com/mattn") {
			t.Errorf("sqlstore imports %s", path)
		}
	}
}

func TestMemStoreImportsOnlyTheRootPackageAndTheStandardLibrary(t *testing.T) {
	standard := goList(t, "std")
	for _, path := range goList(t, "-f", `{{join .Imports "\n"}}`, module+"/memstore") {
		if path != module && !slices.Contains(standard, path) {
			t.Errorf("memstore imports %s", path)
		}
	}
}

// within reports whether the path is one of the trees or inside one.
func within(path string, trees ...string) bool {
	return slices.ContainsFunc(trees, func(tree string) bool {
		return path == tree || strings.HasPrefix(path, tree+"/")
	})
}

// goList returns the output lines of go list for the module.
func goList(t *testing.T, args ...string) []string {
	t.Helper()
	// go test uses the cached result of a test until a file or directory that the test opened
	// changes. It does not notice the files that go list opens, so the test opens every directory
	// of the module here.
	if err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == ".git" {
			return fs.SkipDir
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}

	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = root
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v\n%s", strings.Join(args, " "), err, problems.Bytes())
	}
	return strings.Split(strings.TrimRight(string(out), "\n"), "\n")
}
