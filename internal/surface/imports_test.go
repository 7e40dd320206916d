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

// The tests in this file check which packages a host compiles when it imports a package of this
// module. Test code must not be among them.

func TestRootPackageImportsNoStoreDatabaseOrTestCode(t *testing.T) {
	modules := []string{ // the only modules whose packages it may import
		module, "github.com/golang-jwt/jwt/v5",
		"golang.org/x/crypto", "golang.org/x/oauth2", "golang.org/x/sys",
		"golang.org/x/text",                                       // for the normalization of names
		"golang.org/x/time", "github.com/hashicorp/golang-lru/v2", // for counting failures
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

func TestMemStoreImportsOnlyTheRootPackageStorekitAndTheStandardLibrary(t *testing.T) {
	standard := goList(t, "std")
	for _, path := range goList(t, "-f", `{{join .Imports "\n"}}`, module+"/memstore") {
		if path != module && path != module+"/storekit" && !slices.Contains(standard, path) {
			t.Errorf("memstore imports %s", path)
		}
	}
}

// within reports whether the path is one of the trees or is below one of them.
func within(path string, trees ...string) bool {
	return slices.ContainsFunc(trees, func(tree string) bool {
		return path == tree || strings.HasPrefix(path, tree+"/")
	})
}

// goList runs go list in the module and returns the lines of its output.
func goList(t *testing.T, args ...string) []string {
	t.Helper()
	// go test uses the cached result of a test until a file or directory that the test opened
	// changes. The files that go list opens do not count. Therefore this test opens every directory
	// of the module.
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
