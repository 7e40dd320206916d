package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func commandLinePage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/command-line.md")
	require.NoError(t, err)
	return string(page)
}

// TestTheCommandsOfThePageWorkAsPrinted runs the blocks of docs/command-line.md that are marked with
// "run: command-line" in one shell, in order. The test adds the user alice and the variable key, of which
// the page speaks. The text block after a block has the output, in which "…" stands for anything.
func TestTheCommandsOfThePageWorkAsPrinted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var script strings.Builder
	script.WriteString("set -eu\n")
	block := regexp.MustCompile("(?s)<!-- run: command-line -->\n *```sh\n(.*?)```" +
		"(?:\n\n *```text\n(.*?)\n *```)?")
	blocks := block.FindAllStringSubmatch(commandLinePage(t), -1)
	require.Greater(t, len(blocks), 12)
	for i, b := range blocks {
		if strings.Contains(b[1], "find-leaked <") {
			script.WriteString("sallyport user add alice > found.txt\n")
		}
		if strings.Contains(b[1], `"$key"`) {
			script.WriteString(`key=$(sallyport key list alice -json | tail -1 |
				sed 's/.*"access_key":"\([^"]*\)".*/\1/')` + "\n")
		}
		script.WriteString("echo '== " + string(rune('A'+i)) + "'\n" + b[1])
	}
	cmd := exec.Command("sh", "-c", script.String())
	cmd.Dir = dir
	cmd.Env = append(cleanEnv(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	require.NoError(t, err, "%s\n%s\n%s", &script, out, &problems)
	for i, b := range blocks {
		_, got, found := strings.Cut(string(out), "== "+string(rune('A'+i))+"\n")
		require.True(t, found)
		got, _, _ = strings.Cut(got, "== "+string(rune('A'+i+1))+"\n")
		pattern := ""
		for line := range strings.Lines(b[2]) {
			line = strings.TrimSpace(line)
			pattern += strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".+") + "\n"
		}
		require.Regexp(t, "^"+pattern+"$", got, b[1])
	}
}

func TestTheConfigurationOfThePageIsComplete(t *testing.T) {
	t.Parallel()
	block := regexp.MustCompile("(?s)```json\n(.*?)```").FindStringSubmatch(commandLinePage(t))
	var cfg config
	decoder := json.NewDecoder(strings.NewReader(block[1]))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&cfg))
	fields := reflect.ValueOf(cfg)
	for i := range fields.NumField() {
		name := fields.Type().Field(i).Name
		// The page describes these fields in words.
		if name != "DSN" && name != "AllowImported" && name != "KeysFile" {
			require.False(t, fields.Field(i).IsZero(), "the page lacks %s", name)
		}
	}
}
