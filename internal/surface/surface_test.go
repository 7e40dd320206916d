// Package surface checks what hosts see of this module:
//
//   - the exported names, which exported.txt lists
//   - the imports of the packages
//   - the modules that a host compiles, which modules.txt lists
package surface

import (
	"errors"
	"flag"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	module  = "github.com/sallyport-go/auth"
	root    = "../.."
	listing = "exported.txt"

	// maxRootNames and maxRootMethods are the maximum numbers of names and methods that the root
	// package exports. Readers could not remember more. The methods of the interfaces of which Store consists
	// do not count, because only authors of stores read them.
	maxRootNames   = 170
	maxRootMethods = 170
)

var update = flag.Bool("update", false, "write the listings as the packages are now")

func TestExportedNamesMatchTheListing(t *testing.T) {
	var got []string
	for _, pkg := range publicPackages(t) {
		got = append(got, exported(pkg)...)
	}
	requireListed(t, "The exported names", listing, strings.Join(got, "\n")+"\n")
}

// requireListed fails the test if the listing in a file differs from the current state. With the
// flag -update, it writes the file first.
func requireListed(t *testing.T, what, file, now string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if string(old) != now {
		t.Errorf("%s differ from internal/surface/%s (- listed, + current):\n%s"+
			"If the change is intended, accept it with: go test ./internal/surface -update",
			what, file, diff(slices.Collect(strings.Lines(string(old))),
				slices.Collect(strings.Lines(now))))
	}
}

func TestRootPackageStaysSmall(t *testing.T) {
	for _, pkg := range publicPackages(t) {
		if pkg.Path() != module {
			continue
		}
		names, methods := countExported(pkg)
		t.Logf("the root package exports %d names and %d methods", names, methods)
		if names > maxRootNames || methods > maxRootMethods {
			t.Errorf("The root package exports %d names and %d methods, but at most %d and %d are allowed: "+
				"unexport some, or move them to a separate package.",
				names, methods, maxRootNames, maxRootMethods)
		}
	}
}

// countExported returns the number of exported top-level names of a package, and the number of
// exported methods of its types. It does not count the methods of an interface that another interface of
// the package embeds.
func countExported(pkg *types.Package) (names, methods int) {
	embedded := map[types.Type]bool{}
	for _, name := range pkg.Scope().Names() {
		if u, ok := pkg.Scope().Lookup(name).Type().Underlying().(*types.Interface); ok {
			for t := range u.EmbeddedTypes() {
				embedded[t] = true
			}
		}
	}
	for _, name := range pkg.Scope().Names() {
		object := pkg.Scope().Lookup(name)
		if !object.Exported() {
			continue
		}
		names++
		typeName, ok := object.(*types.TypeName)
		if !ok {
			continue
		}
		if u, ok := typeName.Type().Underlying().(*types.Interface); ok {
			if !embedded[typeName.Type()] {
				methods += u.NumExplicitMethods()
			}
			continue
		}
		for method := range types.NewMethodSet(types.NewPointer(typeName.Type())).Methods() {
			if method.Obj().Exported() {
				methods++
			}
		}
	}
	return names, methods
}

// publicPackages returns the packages that a host can import, sorted by path. It reads them from
// the export data of the compiler, so that their types are resolved.
func publicPackages(t *testing.T) []*types.Package {
	t.Helper()
	files := map[string]string{} // files of export data, by import path
	var paths []string
	for _, line := range goList(t, "-export", "-deps", "-f",
		"{{.ImportPath}}\t{{.Export}}\t{{.Name}}\t{{.DepOnly}}\t{{len .GoFiles}}", "./...") {
		f := strings.Split(line, "\t")
		path, export, name, dependency, goFiles := f[0], f[1], f[2], f[3] == "true", f[4]
		files[path] = export
		if !dependency && name != "main" && goFiles != "0" &&
			!strings.Contains(path+"/", "/internal/") {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	imports := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(files[path])
	})
	var pkgs []*types.Package
	for _, path := range paths {
		pkg, err := imports.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, pkg)
	}
	return pkgs
}

// exported returns a sorted list with one line for every exported name of the package.
func exported(pkg *types.Package) []string {
	var lines []string
	add := func(format string, args ...any) {
		path := strings.TrimPrefix(pkg.Path(), filepath.Dir(module)+"/")
		lines = append(lines, path+": "+fmt.Sprintf(format, args...))
	}
	show := func(t types.Type) string {
		return types.TypeString(t, func(other *types.Package) string {
			if other == pkg {
				return ""
			}
			return other.Name()
		})
	}
	signature := func(f *types.Func) string {
		return f.Name() + strings.TrimPrefix(show(f.Type()), "func")
	}

	for _, name := range pkg.Scope().Names() {
		object := pkg.Scope().Lookup(name)
		if !object.Exported() {
			continue
		}
		switch o := object.(type) {
		case *types.Const:
			add("const %s %s = %s", name, show(o.Type()), o.Val().ExactString())
		case *types.Var:
			add("var %s %s", name, show(o.Type()))
		case *types.Func:
			add("func %s", signature(o))
		case *types.TypeName:
			if o.IsAlias() {
				add("type %s = %s", name, show(types.Unalias(o.Type())))
				continue
			}
			receiver := show(o.Type()) // with its type parameters
			switch u := o.Type().Underlying().(type) {
			case *types.Struct:
				add("type %s struct", receiver)
				for i := range u.NumFields() {
					if field := u.Field(i); field.Exported() {
						add("field %s.%s %s %s", name, field.Name(), show(field.Type()), u.Tag(i))
					}
				}
			case *types.Interface:
				add("type %s interface", receiver)
			default:
				add("type %s %s", receiver, show(u))
			}
			own := types.NewMethodSet(o.Type())
			all := own
			if !types.IsInterface(o.Type()) {
				all = types.NewMethodSet(types.NewPointer(o.Type()))
			}
			for method := range all.Methods() {
				if !method.Obj().Exported() {
					continue
				}
				pointer := ""
				if own.Lookup(pkg, method.Obj().Name()) == nil {
					pointer = "*"
				}
				add("method (%s%s) %s", pointer, name, signature(method.Obj().(*types.Func)))
			}
		}
	}
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	slices.Sort(lines)
	return lines
}

// diff returns the lines that are in only one of the two lists.
func diff(old, now []string) string {
	var out strings.Builder
	all := slices.Concat(old, now)
	slices.Sort(all)
	for _, line := range slices.Compact(all) {
		switch {
		case !slices.Contains(now, line):
			out.WriteString("- " + line)
		case !slices.Contains(old, line):
			out.WriteString("+ " + line)
		}
	}
	return out.String()
}
