package surface

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// maxFileCycle is the maximum number of files of the root package in one dependency cycle. It is
// one, so that there are no cycles: files in a cycle cannot be read one after another. A file
// depends on every file that declares a name it uses.
const maxFileCycle = 1

func TestFilesOfTheRootPackageCanBeReadInOrder(t *testing.T) {
	graph := fileGraph(t)
	for _, cycle := range cycles(slices.Sorted(maps.Keys(graph)), graph) {
		t.Logf("a cycle of %d files: %s", len(cycle), strings.Join(cycle, ", "))
		if len(cycle) > maxFileCycle {
			t.Errorf("%d files of the root package form a dependency cycle; at most %d may",
				len(cycle), maxFileCycle)
			for _, file := range cycle {
				for _, other := range slices.Sorted(maps.Keys(graph[file])) {
					if slices.Contains(cycle, other) {
						t.Logf("%s uses from %s: %s", file, other,
							strings.Join(slices.Sorted(maps.Keys(graph[file][other])), ", "))
					}
				}
			}
		}
	}
}

// TestCyclesAreFound tests that the test above finds cycles.
func TestCyclesAreFound(t *testing.T) {
	uses := func(files ...string) map[string]map[string]bool {
		used := map[string]map[string]bool{}
		for _, file := range files {
			used[file] = nil
		}
		return used
	}
	graph := map[string]map[string]map[string]bool{
		"a": uses("b"), "b": uses("c", "d"), "c": uses("a"), "d": uses("e"), "e": uses("d"), "f": uses("a", "d"),
	}
	got := cycles(slices.Sorted(maps.Keys(graph)), graph)
	want := [][]string{{"d", "e"}, {"a", "b", "c"}}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("the cycles are %q, not %q", got, want)
	}
}

// fileGraph returns the dependencies between the files of the root package. For each file, it has
// the files on which the file depends, and the names that the file uses from each of them.
func fileGraph(t *testing.T) map[string]map[string]map[string]bool {
	t.Helper()
	exports := map[string]string{} // files of export data, by import path
	for _, line := range goList(t, "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}", ".") {
		path, file, _ := strings.Cut(line, "\t")
		exports[path] = file
	}
	set := token.NewFileSet()
	var files []*ast.File
	graph := map[string]map[string]map[string]bool{}
	for _, name := range goList(t, "-f", `{{join .GoFiles "\n"}}`, ".") {
		file, err := parser.ParseFile(set, filepath.Join(root, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
		graph[name] = map[string]map[string]bool{}
	}
	config := types.Config{Importer: importer.ForCompiler(set,
		"gc", func(path string) (io.ReadCloser, error) {
			return os.Open(exports[path])
		})}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	pkg, err := config.Check(module, set, files, info)
	if err != nil {
		t.Fatal(err)
	}
	fileOf := func(at token.Pos) string { return filepath.Base(set.Position(at).Filename) }
	for name, object := range info.Uses {
		if _, imported := object.(*types.PkgName); imported || object.Pkg() != pkg ||
			!object.Pos().IsValid() {
			continue
		}
		from, to := fileOf(name.Pos()), fileOf(object.Pos())
		if from == to {
			continue
		}
		if graph[from][to] == nil {
			graph[from][to] = map[string]bool{}
		}
		graph[from][to][object.Name()] = true
	}
	return graph
}

// cycles returns the groups of two or more nodes that can all reach each other. It finds these
// strongly connected components with Tarjan's algorithm.
func cycles(nodes []string, graph map[string]map[string]map[string]bool) (found [][]string) {
	number, lowest := map[string]int{}, map[string]int{}
	var path []string
	var visit func(node string)
	visit = func(node string) {
		number[node] = len(number) + 1
		lowest[node] = number[node]
		path = append(path, node)
		for _, next := range slices.Sorted(maps.Keys(graph[node])) {
			if number[next] == 0 {
				visit(next)
				lowest[node] = min(lowest[node], lowest[next])
			} else if slices.Contains(path, next) {
				lowest[node] = min(lowest[node], number[next])
			}
		}
		if lowest[node] < number[node] {
			return
		}
		start := slices.Index(path, node)
		group := slices.Clone(path[start:])
		path = path[:start]
		if len(group) > 1 {
			slices.Sort(group)
			found = append(found, group)
		}
	}
	for _, node := range nodes {
		if number[node] == 0 {
			visit(node)
		}
	}
	return found
}
