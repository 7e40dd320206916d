// Breaking checks that the changelog announces the incompatible changes of the Go API. CI runs it:
//
//	apidiff -m -incompatible OLD NEW | go run ./internal/breaking v0.1.0 CHANGELOG.md
//
// It reads the incompatible changes from its standard input. The first argument is the last release, and
// the second one is the changelog. A heading above that release must have the word "Breaking". The text
// below the heading must contain the name of each function, type, field and method that changed.
package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "breaking:", err)
		os.Exit(1)
	}
}

func run(args []string, changes io.Reader) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: breaking RELEASE CHANGELOG")
	}
	changelog, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	lines, err := io.ReadAll(changes)
	if err != nil {
		return err
	}
	missing := unannounced(string(lines), announcements(string(changelog), args[0]))
	if len(missing) > 0 {
		return fmt.Errorf("%s does not announce these changes since %s under a heading with the word "+
			"Breaking:\n%s", args[1], args[0], strings.Join(missing, "\n"))
	}
	return nil
}

// unannounced returns the incompatible changes whose names the text does not contain.
func unannounced(changes, text string) (missing []string) {
	for line := range strings.Lines(changes) {
		change, found := strings.CutPrefix(strings.TrimSpace(line), "- ")
		if !found {
			continue
		}
		name := nameOf(change)
		if !regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`).MatchString(text) {
			missing = append(missing, change)
		}
	}
	return missing
}

// nameOf returns the last name of what changed: NewMemory of the change "./limit.NewMemory: removed", and
// limit of the change "package ./limit: removed".
func nameOf(change string) string {
	subject, _, _ := strings.Cut(change, ": ")
	return subject[strings.LastIndexAny(subject, "./ )")+1:]
}

var heading = regexp.MustCompile(`^(#+) +(.*)`)

// announcements returns the text of the changelog that is above the release and below a heading with the
// word "Breaking".
func announcements(changelog, release string) string {
	var text strings.Builder
	below := 0 // the level of the heading; 0 if no heading applies
	for line := range strings.Lines(changelog) {
		match := heading.FindStringSubmatch(strings.TrimSpace(line))
		if match == nil {
			if below > 0 {
				text.WriteString(line)
			}
			continue
		}
		if isRelease(match[2], release) {
			break
		}
		level := len(match[1])
		if below == 0 || level <= below {
			below = 0
			if strings.Contains(strings.ToLower(match[2]), "breaking") {
				below = level
			}
		}
	}
	return text.String()
}

// isRelease reports whether the title of a section begins with the release, with or without its letter v
// and brackets, such as "[0.1.0] - 2026-12-01".
func isRelease(title, release string) bool {
	version, _, _ := strings.Cut(strings.TrimLeft(title, "[v"), " ")
	return strings.TrimRight(version, "]:,") == strings.TrimPrefix(release, "v")
}
