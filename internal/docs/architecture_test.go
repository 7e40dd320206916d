package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// walkStep matches a step in the walks through the code, which names a function and its file:
// `Name` (file.go).
var walkStep = regexp.MustCompile("`(\\w+)`\\s+\\(([\\w/]+\\.go)\\)")

func TestTheWalksOfTheArchitectureNameFunctionsThatExist(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	steps := walkStep.FindAllStringSubmatch(string(page), -1)
	if len(steps) < 20 {
		t.Fatalf("only %d steps were found", len(steps))
	}
	for _, step := range steps {
		text, err := os.ReadFile(filepath.Join(root, step[2]))
		if err != nil {
			t.Error(err)
			continue
		}
		if !regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + step[1] + `\(`).Match(text) {
			t.Errorf("%s has no function %s", step[2], step[1])
		}
	}
}
