package docs

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheIndexHasEveryPage(t *testing.T) {
	index, err := os.ReadFile(filepath.Join(root, "docs", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	pages := 0
	for _, p := range load(t, os.DirFS(root)).pages {
		if path.Dir(p.name) != "docs" || path.Base(p.name) == "README.md" {
			continue
		}
		pages++
		if !strings.Contains(string(index), "]("+path.Base(p.name)+")") {
			t.Errorf("docs/README.md has no link to %s: add a row for the task of its reader", p.name)
		}
	}
	if pages < 30 {
		t.Errorf("only %d pages were found", pages)
	}
}
