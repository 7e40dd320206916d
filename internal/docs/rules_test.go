package docs

import (
	"strings"
	"testing"
	"testing/fstest"
)

// This file tests the rules of docs_test.go.

// markdown returns a file with the text. Three apostrophes in the text stand for a code fence.
func markdown(text string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(strings.ReplaceAll(text, "'''", "```"))}
}

func TestEveryRuleFindsWhatBreaksIt(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"block without a language":   {"'''\nls\n'''\n", "a.md:2: name the code block's language"},
		"block that is not closed":   {"'''text\nls\n", "a.md:2: the code block is not closed"},
		"shell without a marker":     {"text\n'''sh\nls\n'''\n", "a.md:3: nothing checks this sh block"},
		"console without a marker":   {"'''console\n$ ls\n'''\n", "a.md:2: nothing checks this console block"},
		"json without a marker":      {"'''json\n{}\n'''\n", "a.md:2: nothing checks this json block"},
		"marker not right above":     {"<!-- checked by: TestGood -->\n\n'''sh\nls\n'''\n", "a.md:4: nothing checks this sh block"},
		"marker names no test":       {"<!-- checked by: TestGone -->\n'''sh\nls\n'''\n", "a.md:3: there is no test function TestGone"},
		"marker that no test runs":   {"<!-- run: other -->\n'''sh\nls\n'''\n", `a.md:3: no test has the text "run: other"`},
		"fragment that is nowhere":   {"'''go\nx := 2\n'''\n", "a.md:2: no *_test.go file, example or recipe has these lines"},
		"fragment of half a line":    {"'''go\nx :=\n'''\n", "a.md:2: no *_test.go file, example or recipe has these lines"},
		"block in a list":            {"- item\n\n  '''sh\n  ls\n  '''\n", "a.md:4: nothing checks this sh block"},
		"link to a missing file":     {"see\n[it](gone.md)\n", "a.md:2: the link to gone.md leads to no file"},
		"link out of the repository": {"[it](../x.md)\n", "a.md:1: the link to ../x.md leads to no file"},
		"link to a missing heading":  {"[it](sub/b.md#gone)\n", "a.md:1: the link to sub/b.md#gone leads to no file or heading"},
		"link within the page":       {"# Here\n[it](#there)\n", "a.md:2: the link to #there leads to no file or heading"},
		"heading inside a block":     {"'''text\n# Here\n'''\n[it](#here)\n", "a.md:4: the link to #here leads to no file or heading"},
		"definition of a link":       {"[it]\n\n[it]: gone.md\n", "a.md:3: the link to gone.md leads to no file"},
	} {
		tr := load(t, fstest.MapFS{
			"a.md":             markdown(c.text),
			"sub/b.md":         markdown("# There\n"),
			"sub/good_test.go": {Data: []byte("func TestGood(t *testing.T) {\n\tx := 1 // run: readme\n}\n")},
		})
		found := tr.problems()
		if len(found) != 1 || !strings.HasPrefix(found[0], c.want) {
			t.Errorf("%s: %q; want %q", name, found, c.want)
		}
	}
}

func TestWhatFollowsTheRulesPasses(t *testing.T) {
	tr := load(t, fstest.MapFS{
		"README.md": markdown("# A `b_c`: d, e!\n## Twice\n## Twice\n" +
			"[1](#a-b_c-d-e) [2](#twice-1) [3](sub/b.md) [4](sub) [5](https://example.com/x) " +
			"`[6](gone.md)`\n<!-- checked by: TestGood -->\n'''sh\nls\n'''\n" +
			"<!-- run: readme -->\n'''json\n{}\n'''\n" +
			"'''go\nif x == 1 {\n    return\n}\n'''\n" +
			"'''go\nfmt.Println(1)\n'''\n" +
			"'''go\nrouter.Use(x)\n'''\n" +
			"'''go\n// A program.\npackage main\n'''\n" +
			"'''text\n[7](gone.md)\n'''\n"),
		"sub/b.md":              markdown("# There\n[up](../README.md#twice) [root](/README.md) [here](#there)\n"),
		"sub/good_test.go":      {Data: []byte("func TestGood(t *testing.T) {\n\t\tif x == 1 {\n\t\t\treturn\n\t\t}\n} // run: readme\n")},
		"examples/host/main.go": {Data: []byte("\tfmt.Println(1)\n")},
		"recipes/chi/chi.go":    {Data: []byte("\trouter.Use(x)\n")},
		".git/c.md":             markdown("'''\n'''\n"),
	})
	if found := tr.problems(); found != nil {
		t.Errorf("%q", found)
	}
}

func TestReadmeOf150LinesIsTooLong(t *testing.T) {
	for lines, want := range map[int]int{149: 0, 150: 1} {
		tr := load(t, fstest.MapFS{"README.md": markdown(strings.Repeat("x\n", lines))})
		if found := tr.problems(); len(found) != want {
			t.Errorf("%d lines: %q", lines, found)
		}
	}
}

func TestProgramsAreCompiledAsAHostWould(t *testing.T) {
	const imports = "\n\nimport \"github.com/sallyport-go/auth\"\n\n"
	for name, c := range map[string]struct{ code, want string }{
		"a program":              {"package main" + imports + "func main() { _ = auth.ErrExists }", ""},
		"a test":                 {"package host\n\nimport \"testing\"\n\nfunc TestHost(t *testing.T) {}", ""},
		"a name that is gone":    {"package main" + imports + "func main() { _ = auth.ErrGone }", "a.md:6"},
		"a test with an error":   {"package host\n\nimport \"testing\"\n\nfunc TestHost(t *testing.T) { x := 1 }", "a.md:6"},
		"what vet finds":         {"package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Printf(\"%d\", \"x\") }", "a.md:6"},
		"an internal package":    {"package main\n\nimport _ \"github.com/sallyport-go/auth/internal/docs\"\n\nfunc main() {}", "internal"},
		"an import not parsable": {"package main\n\nimport fmt\n\nfunc main() {}", "a.md:4"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := load(t, fstest.MapFS{"a.md": markdown("'''go\n" + c.code + "\n'''\n")})
			out, err := compile(t, ".", tr.programs()["."])
			if failed := err != nil; failed != (c.want != "") || !strings.Contains(out, c.want) {
				t.Errorf("error %v, output %q; want %q in it", err, out, c.want)
			}
		})
	}
}
