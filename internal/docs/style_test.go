package docs

import (
	"cmp"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"
)

// This file tests the English of Markdown and comments. The rules are in CONTRIBUTING.md. A pattern
// finds only the most frequent violations.

// styledDirs are the directories whose comments must follow the rules. The subdirectories of a
// directory are not included.
var styledDirs = []string{
	".",
	"authcmd",
	"benchmarks",
	"benchmarks/httpload",
	"benchmarks/plot",
	"browsertest",
	"cmd/sallyport",
	"examples/development",
	"examples/import",
	"examples/kvstore",
	"examples/notes",
	"examples/notes/cmd/notes",
	"examples/notes/cmd/notesd",
	"examples/quickstart",
	"examples/restore",
	"githubtest",
	"internal/accesskey",
	"internal/answers",
	"internal/authtest",
	"internal/browser",
	"internal/callback",
	"internal/canonical",
	"internal/clientaddr",
	"internal/clock",
	"internal/defaults",
	"internal/docs",
	"internal/githubapi",
	"internal/limits",
	"internal/oauthstate",
	"internal/outage",
	"internal/revocation",
	"internal/revocationmodel",
	"internal/seal",
	"internal/secrethash",
	"internal/signing",
	"internal/sqltest",
	"internal/strictjson",
	"internal/surface",
	"internal/surface/host",
	"internal/testenv",
	"internal/text",
	"internal/throttle",
	"internal/token",
	"internal/weburl",
	"internal/wire",
	"internal/wiretest",
	"internal/writable",
	"keyfile",
	"limit",
	"memstore",
	"oauth/workload",
	"oauth/workload/workloadtest",
	"openapitest",
	"otelauth",
	"recipes",
	"recipes/chi",
	"recipes/echo",
	"recipes/fiber",
	"recipes/gin",
	"recipes/grpc",
	"recipes/kubernetes",
	"redislimit",
	"sqlstore",
	"storetest",
}

// maxColumns is the maximum length of a line of prose. A tab counts as tabColumns.
const (
	maxColumns = 110
	tabColumns = 4
)

// styleRule is a rule that forbids the texts that match its pattern.
type styleRule struct {
	name    string
	pattern string // (?i) if letter case does not matter; a space also matches a line break
	why     string
	better  string
	found   []string // texts that break the rule
	passed  []string // similar texts that do not break the rule
}

const (
	unclear   = "the subject is not named"
	foreign   = "the idiom is not one of the field"
	ambiguous = "readers take the words for something else first"
)

var styleRules = []styleRule{
	{
		name: "whoever", pattern: `(?i)\b(?:whoever|whomever|whosever)\b`,
		why: unclear, better: `"a user who …", "the caller"`,
		found:  []string{"Whoever has a key can sign in.", "It is free to whoever comes first."},
		passed: []string{"A user who has a key can sign in.", "However many there are."},
	},
	{
		name: "pronoun as subject", pattern: `(?m:^|[.:;?!|] |^[-*] |^#+ |^\d+\. )["(*\[]*(?:Who|What|That which) `,
		why: unclear, better: "name the user, the caller or the thing",
		found: []string{
			"Who asks again waits.", "It is read once. What is more is lost.", "| a | What it is |", "- What is left stays.",
			"# What a request costs", "That which expired goes.", "**What clients see.**", "- [What it costs](cost.md)",
		},
		passed: []string{"The user who asks again waits.", "It says what is lost.", "Whatsoever.", "See TestWhoAmI and WhatIs."},
	},
	{
		name: "is no more", pattern: `(?i)\b(?:is|are|was|were) no more(?:[.,:;!?)]|$)`,
		why: foreign, better: `"no longer exists", "was revoked"`,
		found:  []string{"The key is no more.", "Its sessions are no more, and", "the session is no more"},
		passed: []string{"There is no more than one.", "The key no longer exists.", "It is no more\nthan a test."},
	},
	{
		name: "go by", pattern: `(?i)\b(?:gone by|goes? by|nothing (?:else )?to go by)\b`,
		why: ambiguous, better: `"trusted", "decided by", "checked against"`,
		found:  []string{"It is not to be gone by.", "There is nothing\nto go by.", "What is known is nothing else to go by.", "A call goes by it."},
		passed: []string{"The feed must not be trusted.", "the by-laws of Go"},
	},
	{
		name: "nobody's", pattern: `(?i)\b(?:no|any|some|every)body's\b`,
		why: unclear, better: `"of no user", "another user's"`,
		found:  []string{"It is nobody's.", "Somebody's session ends."},
		passed: []string{"It belongs to no user.", "Nobody signs in."},
	},
	{
		name: "read on", pattern: `(?i)\b(?:reads? on|reading on|read on)\b(?: in| from|[.,;:)]|$)`,
		why: foreign, better: `"polls", "reads new entries"`,
		found:  []string{"Each instance reads on in the feed.", "Where to read on", "It is to be read on."},
		passed: []string{"It polls the feed.", "The feed is read on every instance.", "a store that is read on each request"},
	},
	{
		name: "there where", pattern: `(?i)\bthere where\b`,
		why: foreign, better: `"if", "where"`,
		found:  []string{"It is there where it is needed."},
		passed: []string{"It is where it is needed.", "It is there."},
	},
	{
		name: "unless set", pattern: `(?i)\bunless (?:set|configured)\b`,
		why: "a default is said as a default", better: `"Default 5 seconds.", "Zero means 12 hours."`,
		found:  []string{"12 hours unless configured", "20 in a minute unless set"},
		passed: []string{"Unless Audiences is set, it is the issuer.", "Zero means 12 hours."},
	},
	{
		name: "of before", pattern: `(?i)\bof (?:before|until now)\b`,
		why: foreign, better: `"the earlier", "the previous"`,
		found:  []string{"the tables of before", "the secret of until now"},
		passed: []string{"the earlier tables", "the end of it, before"},
	},
	{
		name: "in vain", pattern: `(?i)\bin vain\b`,
		why: foreign, better: `"without effect", "for nothing"`,
		found:  []string{"It was counted in vain."},
		passed: []string{"It was counted without effect.", "in vanishing numbers"},
	},
	{
		name: "that which", pattern: `(?i)\bthat which\b`,
		why: unclear, better: "name the thing",
		found:  []string{"Only that which was signed counts."},
		passed: []string{"The tokens that were signed count.", "that, which"},
	},
	{
		name: "British spelling",
		pattern: `(?i)\b(?:(?:mis)?behaviour|colour|favour|honour|neighbour|rumour|flavour|labour)(?:s|ed|ing|ite|able|al)?\b` +
			`|\b(?:un)?(?:author|organ|recogn|normal|initial|serial|synchron|optim|minim|maxim|summar|general|special|random|canonical)is(?:e[ds]?|ing|ations?)\b` +
			`|\b(?:cancell|labell|modell|signall|travell|marshall)(?:ed|ing)\b` +
			`|\b(?:analys(?:e[ds]?|ing)|licence|defence|offence|centre|catalogue|whilst|amongst|learnt|artefacts?|fulfils?)\b`,
		why: "the project uses American spelling", better: "behavior, authorize, organization, canceled, …",
		found: []string{
			"the behaviour", "It is authorised.", "an organisation", "Cancelled calls", "in honour of", "normalised", "modelling", "a licence", "the\ncentre",
		},
		passed: []string{
			"the behavior", "It is authorized.", "an organization", "Canceled calls, and a cancellation", "normalized", "modeling", "a license",
			"precise, otherwise, promises, revised", "the analysis", "a special issue",
		},
	},
}

// compiled returns the compiled pattern. A space in the pattern also matches the end of a line.
func (r styleRule) compiled() *regexp.Regexp {
	return regexp.MustCompile(strings.ReplaceAll(r.pattern, " ", `[ \n]`))
}

func TestMarkdownAndCommentsAreWrittenInStyle(t *testing.T) {
	for _, problem := range styleProblems(t, os.DirFS(root), styledDirs) {
		t.Error(problem)
	}
}

// styleProblems returns the violations in all Markdown files and in the comments of the
// directories.
func styleProblems(t *testing.T, fsys fs.FS, dirs []string) []string {
	t.Helper()
	var found []string
	for _, p := range load(t, fsys).pages {
		found = append(found, checkStyle(p.name, p.plain(), p.longLines())...)
	}
	for _, dir := range dirs {
		names, err := fs.Glob(fsys, path.Join(dir, "*.go"))
		if err != nil || len(names) == 0 {
			t.Fatalf("the directory %s has no Go files (%v): correct styledDirs", dir, err)
		}
		for _, name := range names {
			source, err := fs.ReadFile(fsys, name)
			if err != nil {
				t.Fatal(err)
			}
			prose, long := comments(t, name, string(source))
			found = append(found, checkStyle(name, prose, long)...)
		}
	}
	return found
}

// checkStyle returns the violations in the prose, in the order of the lines. The argument long has
// the numbers of the lines that are too long.
func checkStyle(name string, prose []string, long []int) []string {
	type problem struct {
		line int
		text string
	}
	var problems []problem
	for _, line := range long {
		problems = append(problems,
			problem{line, fmt.Sprintf("the line is longer than %d columns: break it", maxColumns)})
	}
	text := strings.Join(prose, "\n")
	for _, rule := range styleRules {
		for _, at := range rule.compiled().FindAllStringIndex(text, -1) {
			// A match may begin with the end of the previous sentence, which can be on the previous
			// line.
			match := strings.TrimLeft(text[at[0]:at[1]], " \n.:;?!|-*#(\"[")
			line := 1 + strings.Count(text[:at[1]-len(match)], "\n")
			words := strings.Join(strings.Fields(match), " ")
			problems = append(problems,
				problem{line, fmt.Sprintf("%q: %s; better: %s", words, rule.why, rule.better)})
		}
	}
	slices.SortStableFunc(problems, func(a, b problem) int { return cmp.Compare(a.line, b.line) })
	var found []string
	for _, p := range problems {
		found = append(found, fmt.Sprintf("%s:%d: %s", name, p.line, p.text))
	}
	return found
}

var htmlComment = regexp.MustCompile(`<!--.*?-->`)

// plain returns the prose of the page without code spans and HTML comments.
func (p *page) plain() []string {
	var plain []string
	for _, line := range p.prose {
		line = codeSpan.ReplaceAllString(htmlComment.ReplaceAllString(line, ""), "`")
		plain = append(plain, strings.TrimSpace(line))
	}
	return plain
}

// longLines returns the numbers of the lines of prose that are too long. A row of a table cannot be
// broken, and neither can a single word.
func (p *page) longLines() []int {
	var long []int
	for i, line := range p.prose {
		if !strings.HasPrefix(strings.TrimSpace(line), "|") && isLong(line) && len(strings.Fields(line)) > 1 {
			long = append(long, i+1)
		}
	}
	return long
}

func isLong(line string) bool {
	return utf8.RuneCountInString(line)+(tabColumns-1)*strings.Count(line, "\t") > maxColumns
}

// directive matches comments for tools, such as //go:embed. output matches the expected output of
// an example. The program determines the text of that output.
var (
	directive = regexp.MustCompile(`^//(?:[a-z]+:|line )`)
	output    = regexp.MustCompile(`(?i)^//\s*(?:unordered )?output:`)
)

// comments returns the comments of a Go file. The element i of prose is the comment on line i+1 of
// the file. The result long has the numbers of the lines that end in a comment and are too long.
func comments(t *testing.T, name, source string) (prose []string, long []int) {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(source, "\n")
	prose = make([]string, len(lines))
	for _, group := range file.Comments {
		if output.MatchString(group.List[0].Text) {
			continue
		}
		for _, comment := range group.List {
			if directive.MatchString(comment.Text) {
				continue
			}
			first := fset.PositionFor(comment.Pos(), false).Line
			for i, text := range strings.Split(comment.Text, "\n") {
				prose[first-1+i] = strings.Trim(text, "/* \t")
				if isLong(lines[first-1+i]) && strings.Contains(prose[first-1+i], " ") {
					long = append(long, first+i)
				}
			}
		}
	}
	return prose, long
}

func TestEveryRuleOfStyleFindsWhatBreaksIt(t *testing.T) {
	for _, rule := range styleRules {
		if len(rule.found) == 0 || len(rule.passed) == 0 {
			t.Errorf("%s: the rule has no texts to test it with", rule.name)
		}
		for _, text := range rule.found {
			if !rule.compiled().MatchString(text) {
				t.Errorf("%s: %q passes", rule.name, text)
			}
		}
		for _, text := range rule.passed {
			if match := rule.compiled().FindString(text); match != "" {
				t.Errorf("%s: finds %q in %q", rule.name, match, text)
			}
		}
	}
}

func TestProblemsOfStyleNameTheLine(t *testing.T) {
	long := strings.Repeat("word ", 22) + "x" // 111 columns
	for name, c := range map[string]struct{ text, want string }{
		"Markdown":                    {"# Title\n\nThe key\nis no more.\n", "a.md:4: \"is no more.\""},
		"sentence at a line's start":  {"One.\nWhat is more.\n", "a.md:2: \"What\""},
		"words on two lines":          {"There is nothing\nto go by.\n", "a.md:1: \"nothing to go by\""},
		"row of a table":              {"| a |\n|---|\n| Who asks |\n", "a.md:3: \"Who\""},
		"long line of Markdown":       {"short\n" + long + "\n", "a.md:2: the line is longer than 110 columns"},
		"doc comment":                 {"package a\n\n// A is\n// whoever.\nvar A int\n", "a/a.go:4: \"whoever\""},
		"comment at the end of code":  {"package a\n\nvar a int // nobody's\n", "a/a.go:3: \"nobody's\""},
		"comment with slash and star": {"package a\n\n/*\nWhat is more.\n*/\n", "a/a.go:4: \"What\""},
		"long comment":                {"package a\n\n// " + long[3:] + "\n", "a/a.go:3: the line is longer than 110 columns"},
		"tabs of a long comment":      {"package a\n\nfunc f() {\n\t// " + long[6:] + "\n}\n", "a/a.go:4: the line is longer than 110"},
	} {
		files := fstest.MapFS{"a/a.go": {Data: []byte("package a\n")}}
		if strings.HasPrefix(c.text, "package ") {
			files["a/a.go"] = &fstest.MapFile{Data: []byte(c.text)}
		} else {
			files["a.md"] = markdown(c.text)
		}
		found := styleProblems(t, files, []string{"a"})
		if len(found) != 1 || !strings.HasPrefix(found[0], c.want) {
			t.Errorf("%s: %q; want %q", name, found, c.want)
		}
	}
}

func TestInnocentTextPasses(t *testing.T) {
	long := strings.Repeat("word ", 22) + "x"
	found := styleProblems(t, fstest.MapFS{
		"a.md": markdown("# A title\n\nThe caller knows what it needs, and `whoever` is `Cancelled`.\n" +
			"<!-- What a page needs -->\n'''text\nWho asks? Nobody's behaviour. " + long + "\n'''\n" +
			"| " + long + " |\n" + strings.Repeat("x", 111) + "\n" + long[:110] + "\n"),
		"a/a.go": {Data: []byte("//go:build whoever\n\n// Package a says what it does.\npackage a\n\n" +
			"const text = \"whoever: " + long + "\"\n\n// " + long[:107] + "\n\n" +
			"// https://example.com/" + strings.Repeat("x", 100) + "\n\n" +
			"func ExampleA() {\n\t// Output:\n\t// What it prints: " + long + "\n}\n")},
		"a/sub/b.go": {Data: []byte("package b // whoever\n")}, // not in the list
	}, []string{"a"})
	if found != nil {
		t.Errorf("%q", found)
	}
}

// TestCommentsOfALineDirectiveKeepTheirLine tests that a line directive does not change line
// numbers.
func TestCommentsOfALineDirectiveKeepTheirLine(t *testing.T) {
	prose, _ := comments(t, "a.go", "package a\n\n//line b.go:100\n// here\nvar A int\n")
	if prose[3] != "here" {
		t.Errorf("%q", prose)
	}
}
