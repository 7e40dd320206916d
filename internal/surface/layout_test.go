package surface

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// The tests in this file check the layout of the module: the size of the root directory and of
// files, and which packages may import which.

// maxRootFiles and maxRootTests limit the number of Go files and of test files in the root
// directory. The test files include the examples, because pkg.go.dev shows examples only from this
// directory.
const (
	maxRootFiles = 53
	maxRootTests = 20
)

func TestRootHasFewFiles(t *testing.T) {
	files, tests := 0, 0
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		switch {
		case strings.HasSuffix(entry.Name(), "_test.go"):
			tests++
		case strings.HasSuffix(entry.Name(), ".go"):
			files++
		}
	}
	if files > maxRootFiles || tests > maxRootTests {
		t.Errorf("the root directory has %d Go files and %d test files; at most %d and %d are wanted",
			files, tests, maxRootFiles, maxRootTests)
	}
}

// testSupport are the internal packages that only tests import. They may import the root package.
var testSupport = []string{"authtest", "docs", "leastpower", "revocationmodel", "speed", "sqltest",
	"surface", "testenv", "upgrade", "wiretest"}

func TestInternalPackagesDoNotImportTheRootPackage(t *testing.T) {
	for _, line := range goList(t, "-f", `{{.ImportPath}} {{join .Deps " "}}`, "./internal/...") {
		path, deps, _ := strings.Cut(line, " ")
		name, _, _ := strings.Cut(strings.TrimPrefix(path, module+"/internal/"), "/")
		if !slices.Contains(testSupport, name) && slices.Contains(strings.Fields(deps), module) {
			t.Errorf("%s depends on the root package", path)
		}
	}
}

// TestRootPackageImportsNothingAboveIt checks that the root package imports, from this module, only
// internal packages and the packages limit and eventkind. Hosts import these two as well, to implement a
// limiter and to tell events apart.
func TestRootPackageImportsNothingAboveIt(t *testing.T) {
	for _, path := range goList(t, "-deps", module) {
		if within(path, module) && path != module &&
			!within(path, module+"/internal", module+"/limit", module+"/eventkind") {
			t.Errorf("the root package depends on %s", path)
		}
		for _, name := range testSupport {
			if within(path, module+"/internal/"+name) {
				t.Errorf("the root package depends on %s, which is for tests", path)
			}
		}
	}
}

// maxFileLines and maxLineColumns limit the size of Go files. Rows of tables and text in another
// language may be longer.
const (
	maxFileLines   = 420
	maxLineColumns = 110
)

func TestFilesAndLinesAreShort(t *testing.T) {
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == ".git":
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, ".go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, problem := range layoutProblems(text) {
			t.Errorf("%s%s", path, problem)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// layoutProblems returns a problem for each violation of these limits in the text of a Go file. A
// problem begins with a colon. If the problem is about one line, the line number and another colon
// follow.
func layoutProblems(text []byte) (problems []string) {
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	if len(lines) > maxFileLines {
		problems = append(problems,
			fmt.Sprintf(": %d lines; at most %d are wanted", len(lines), maxFileLines))
	}
	var exempt map[int]bool // made only if needed, because most files have no long line
	for i, line := range lines {
		columns := utf8.RuneCount(line) + (tabColumns-1)*bytes.Count(line, []byte("\t"))
		if columns <= maxLineColumns {
			continue
		}
		if exempt == nil {
			exempt = exemptLines(text)
		}
		if !exempt[i+1] {
			problems = append(problems,
				fmt.Sprintf(":%d: %d columns; at most %d are wanted", i+1, columns, maxLineColumns))
		}
	}
	return problems
}

const (
	tabColumns    = 4
	rawTextLength = 40 // minimum length, in bytes, of a raw string in another language
)

var sql = regexp.MustCompile(`^\W*(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|FROM|WHERE|ON)\b`)

// exemptLines returns the numbers of the lines that may be long:
//
//   - a row of a table, which is an element of a composite literal at the beginning of a line
//   - text in another language, such as SQL, JSON and HTML
func exemptLines(text []byte) map[int]bool {
	exempt := map[int]bool{}
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "", text, parser.ParseComments)
	if err != nil {
		return exempt
	}
	lineStart := func(at token.Pos) bool { // reports whether only white space is before it on its line
		position := set.Position(at)
		before := text[position.Offset-(position.Column-1) : position.Offset]
		return len(bytes.TrimSpace(before)) == 0
	}
	ast.Inspect(file, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.CompositeLit:
			for _, element := range n.Elts {
				from, to := set.Position(element.Pos()).Line, set.Position(element.End()).Line
				if from == to && lineStart(element.Pos()) {
					exempt[from] = true
				}
			}
		case *ast.BasicLit:
			from, to := set.Position(n.Pos()).Line, set.Position(n.End()).Line
			isText := n.Kind == token.STRING && n.Value[0] == '`' && len(n.Value) > rawTextLength
			for line := from; line <= to && (from < to || isText || sql.MatchString(n.Value)); line++ {
				exempt[line] = true
			}
		}
		return true
	})
	return exempt
}

// TestLongFilesAndLinesAreFound tests that the test above finds long files and lines.
func TestLongFilesAndLinesAreFound(t *testing.T) {
	long := strings.Repeat("x", maxLineColumns)
	for name, c := range map[string]struct {
		text     string
		problems int
	}{
		"a long file":          {strings.Repeat("\n", maxFileLines+1), 1},
		"a file at the limit":  {strings.Repeat("\n", maxFileLines), 0},
		"a long comment":       {"package p\n\n// " + long + "\n", 1},
		"a long call":          {"package p\n\nvar _ = f(" + long + ")\n", 1},
		"a tab is four wide":   {"package p\n\nfunc f() {\n\t\t\t\t" + long[:maxLineColumns-15] + "()\n}\n", 1},
		"a row of a table":     {"package p\n\nvar _ = []int{\n\t" + long + ",\n}\n", 0},
		"a literal in one row": {"package p\n\nvar _ = []int{" + long + "}\n", 1},
		"SQL":                  {"package p\n\nconst _ = `SELECT " + long + "`\n", 0},
		"a raw string":         {"package p\n\nconst _ = `\n" + long + "\n`\n", 0},
		"JSON":                 {"package p\n\nconst _ = `" + long + "`\n", 0},
		"a long string":        {"package p\n\nconst _ = \"" + long + "\"\n", 1},
	} {
		if found := layoutProblems([]byte(c.text)); len(found) != c.problems {
			t.Errorf("%s: %q", name, found)
		}
	}
}
