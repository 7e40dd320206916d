// Package docs tests the Markdown of the repository:
//
//   - A code block compiles, is quoted from tested code, or names the test that covers it.
//   - A relative link leads to a file or a heading.
//   - The README is short.
//
// Package docs also tests the English of Markdown and comments.
package docs

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

const root = "../.."

func TestMarkdownFollowsTheRules(t *testing.T) {
	tree := load(t, os.DirFS(root))
	for _, problem := range tree.problems() {
		t.Error(problem)
	}
}

func TestProgramsInMarkdownCompile(t *testing.T) {
	tree := load(t, os.DirFS(root))
	for dir, blocks := range tree.programs() {
		if out, err := compile(t, dir, blocks); err != nil {
			t.Errorf("the go blocks that begin with package: %v\n%s", err, out)
		}
	}
}

// tree has the contents of the repository that the rules need.
type tree struct {
	fsys    fs.FS
	pages   []*page
	tests   map[string]bool // the names of all test functions
	quoted  []string        // sources from which a fragment may be quoted, as quotable returns them
	runners []string        // sources of the tests that may run a block with a run marker
}

// page is one Markdown file.
type page struct {
	name   string
	prose  []string // the lines of the page; those of code blocks are empty
	blocks []block
}

// block is one fenced code block.
type block struct {
	page     string
	line     int // number of the first line of code; the first line of the page is 1
	language string
	code     string
	above    string // the line before the opening fence
	open     bool   // whether the closing fence is missing
}

var testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example)\w*)\(`)

func load(t *testing.T, fsys fs.FS) *tree {
	t.Helper()
	tr := &tree{fsys: fsys, tests: map[string]bool{}}
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if entry.Name() == ".git" || entry.Name() == "node_modules" {
				return fs.SkipDir
			}
			return nil
		}
		isTest := strings.HasSuffix(name, "_test.go")
		isExample := strings.HasSuffix(name, ".go") &&
			(strings.HasPrefix(name, "examples/") || strings.HasPrefix(name, "recipes/"))
		if !isTest && !isExample && path.Ext(name) != ".md" {
			return nil
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		text := string(data)
		if path.Ext(name) == ".md" {
			tr.pages = append(tr.pages, parsePage(name, text))
			return nil
		}
		if isTest {
			for _, match := range testFunc.FindAllStringSubmatch(text, -1) {
				tr.tests[match[1]] = true
			}
		}
		if !strings.HasPrefix(name, "internal/docs/") { // these tests quote bad examples
			tr.quoted = append(tr.quoted, quotable(text))
			tr.runners = append(tr.runners, text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

var fence = regexp.MustCompile("^[ \t>]*(`{3,}|~{3,})[ \t]*([^ \t`]*)")

func parsePage(name, text string) *page {
	p := &page{name: name}
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		match := fence.FindStringSubmatch(lines[i])
		if match == nil {
			p.prose = append(p.prose, lines[i])
			continue
		}
		b := block{page: name, line: i + 2, language: match[2], open: true}
		if i > 0 {
			b.above = strings.TrimSpace(lines[i-1])
		}
		p.prose = append(p.prose, "")
		for i++; i < len(lines); i++ {
			p.prose = append(p.prose, "")
			rest, closes := strings.CutPrefix(strings.TrimLeft(lines[i], " \t>"), match[1])
			if closes && strings.Trim(rest, match[1][:1]+" \t\r") == "" {
				b.open = false
				break
			}
			b.code += lines[i] + "\n"
		}
		p.blocks = append(p.blocks, b)
	}
	return p
}

func (tr *tree) problems() []string {
	var found []string
	for _, p := range tr.pages {
		for _, b := range p.blocks {
			if problem := tr.checkBlock(b); problem != "" {
				found = append(found, fmt.Sprintf("%s:%d: %s", b.page, b.line, problem))
			}
		}
		found = append(found, tr.checkLinks(p)...)
		if lines := len(p.prose) - 1; p.name == "README.md" && lines >= 150 {
			found = append(found, fmt.Sprintf("README.md: it has %d lines and must have fewer than 150; "+
				"move details to the package comment", lines))
		}
	}
	return found
}

var marker = regexp.MustCompile(`^<!-- (run|checked by): (\S+) -->$`)

// checkBlock returns the problem of the block, or "" if it has none. It does not compile programs:
// the function compile does that.
func (tr *tree) checkBlock(b block) string {
	switch {
	case b.open:
		return "the code block is not closed"
	case b.language == "text":
		return ""
	case b.language == "":
		return "name the code block's language after the fence: text, if it is not to be run"
	case b.language == "go":
		if clause(b.code) != nil {
			return ""
		}
		fragment := quotable(b.code)
		for _, source := range tr.quoted {
			if strings.Contains(source, fragment) {
				return ""
			}
		}
		return "no *_test.go file, example or recipe has these lines of Go: quote them from there, or " +
			"make them a program that begins with package"
	}
	match := marker.FindStringSubmatch(b.above)
	if match == nil {
		return "nothing checks this " + b.language +
			" block: write <!-- checked by: TestName --> or <!-- run: name --> on the line above it, or " +
			"call it text"
	}
	if name := match[2]; match[1] == "checked by" && !tr.tests[name] {
		return "there is no test function " + name + " to check this block"
	} else if match[1] == "run" && !slices.ContainsFunc(tr.runners, func(source string) bool {
		return strings.Contains(source, "run: "+name)
	}) {
		return "no test has the text \"run: " + name + "\", so none runs this block"
	}
	return ""
}

// quotable returns Go source without its indentation. It puts a newline at both ends, so that a
// search for whole lines works at both ends, too.
func quotable(source string) string {
	lines := strings.Split(strings.TrimSpace(source), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return "\n" + strings.Join(lines, "\n") + "\n"
}

// clause parses the package clause and the imports of a program. It returns nil if code is a
// fragment.
func clause(code string) *ast.File {
	if _, err := parser.ParseFile(token.NewFileSet(), "", code, parser.PackageClauseOnly); err != nil {
		return nil
	}
	// The compiler reports an import that cannot be parsed.
	file, _ := parser.ParseFile(token.NewFileSet(), "", code, parser.ImportsOnly)
	return file
}

// programs returns the blocks that are programs. The map's key is the directory of their module.
func (tr *tree) programs() map[string][]block {
	programs := map[string][]block{}
	for _, p := range tr.pages {
		dir := path.Dir(p.name)
		for ; dir != "."; dir = path.Dir(dir) {
			if _, err := fs.Stat(tr.fsys, path.Join(dir, "go.mod")); err == nil {
				break
			}
		}
		for _, b := range p.blocks {
			if b.language == "go" && clause(b.code) != nil {
				programs[dir] = append(programs[dir], b)
			}
		}
	}
	return programs
}

// compile builds and vets the blocks as a host would: each block is a package of a new module. The
// new module requires the module in dir, from this checkout. The new module has the same
// dependencies, so the go command downloads nothing.
func compile(t *testing.T, dir string, blocks []block) (string, error) {
	t.Helper()
	checkout, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	temp := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(temp, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) (string, error) {
		cmd := exec.Command("go", args...)
		cmd.Dir = temp
		cmd.Env = append(os.Environ(), "GOWORK=off")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	edit := []string{"mod", "edit", "-module=docs.invalid"}
	for _, module := range slices.Compact([]string{".", dir}) {
		for _, name := range []string{"go.mod", "go.sum"} {
			data, err := os.ReadFile(filepath.Join(checkout, module, name))
			if name == "go.sum" && errors.Is(err, fs.ErrNotExist) {
				continue // a module without dependencies has no go.sum
			}
			if err != nil {
				t.Fatal(err)
			}
			write(name, string(data)) // dir comes last, so its file stays
			if name == "go.mod" {
				modulePath := regexp.MustCompile(`(?m)^module (\S+)`).FindSubmatch(data)[1]
				edit = append(edit, fmt.Sprintf("-require=%s@v0.0.0", modulePath),
					fmt.Sprintf("-replace=%s=%s", modulePath, filepath.Join(checkout, module)))
			}
		}
	}
	for i, b := range blocks {
		file := clause(b.code)
		name := "block.go"
		if strings.HasSuffix(file.Name.Name, "_test") ||
			slices.ContainsFunc(file.Imports, func(spec *ast.ImportSpec) bool {
				return spec.Path.Value == `"testing"`
			}) {
			name = "block_test.go"
		}
		// Because of this directive, the compiler reports line numbers of the Markdown page.
		position := fmt.Sprintf("//line %s:%d\n", filepath.Join(checkout, b.page), b.line)
		write(filepath.Join(fmt.Sprint("block", i+1), name), position+b.code)
	}
	for _, args := range [][]string{edit, {"build", "-o", os.DevNull, "./..."}, {"vet", "./..."}} {
		if out, err := run(args...); err != nil {
			return out, fmt.Errorf("go %s: %w", args[0], err)
		}
	}
	return "", nil
}

var (
	codeSpan   = regexp.MustCompile("`[^`]*`")
	inlineLink = regexp.MustCompile(`\]\(<?([^()\s>]+)>?(?:\s+"[^"]*")?\)`)
	definition = regexp.MustCompile(`^ {0,3}\[[^\]]+\]:\s*<?([^\s>]+)`)
	heading    = regexp.MustCompile(`^#{1,6}\s+(.*?)(?:\s+#+)?\s*$`)
	anchor     = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)
	linkText   = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
)

// checkLinks returns the problems of the page's relative links.
func (tr *tree) checkLinks(p *page) []string {
	var found []string
	for i, line := range p.prose {
		line = codeSpan.ReplaceAllString(line, "")
		for _, match := range slices.Concat(inlineLink.FindAllStringSubmatch(line, -1),
			definition.FindAllStringSubmatch(line, -1)) {
			link, err := url.Parse(match[1])
			if err == nil && (link.Scheme != "" || link.Host != "") {
				continue
			}
			if err != nil || !tr.leadsSomewhere(p, link) {
				found = append(found, fmt.Sprintf("%s:%d: the link to %s leads to no file or heading",
					p.name, i+1, match[1]))
			}
		}
	}
	return found
}

func (tr *tree) leadsSomewhere(from *page, link *url.URL) bool {
	target := from.name
	if strings.HasPrefix(link.Path, "/") { // on GitHub, / is the repository's root
		target = path.Join(".", link.Path[1:])
	} else if link.Path != "" {
		target = path.Join(path.Dir(from.name), link.Path)
	}
	if _, err := fs.Stat(tr.fsys, target); err != nil {
		return false
	}
	if link.Fragment == "" || path.Ext(target) != ".md" {
		return true
	}
	return slices.ContainsFunc(tr.pages, func(p *page) bool {
		return p.name == target && slices.Contains(p.anchors(), link.Fragment)
	})
}

// anchors returns the names to which a link can lead on the page. GitHub gives a name to each
// heading, and the page can set further names.
func (p *page) anchors() []string {
	var names []string
	seen := map[string]int{}
	for _, line := range p.prose {
		for _, match := range anchor.FindAllStringSubmatch(line, -1) {
			names = append(names, match[1])
		}
		match := heading.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r):
				return unicode.ToLower(r)
			}
			return -1
		}, linkText.ReplaceAllString(match[1], "$1"))
		seen[slug]++
		if n := seen[slug]; n > 1 {
			slug = fmt.Sprintf("%s-%d", slug, n-1)
		}
		names = append(names, slug)
	}
	return names
}
