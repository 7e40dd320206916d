package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// quotedMessage matches the first column of a table: an optional status or level, and the message.
var quotedMessage = regexp.MustCompile("(?m)^\\| ((?:[0-9]{3}|[A-Z]+) )?`([^`]+)` \\|")

// quotedMessages returns the messages that a page quotes, with "…" for any text.
func quotedMessages(t *testing.T, name string) (messages []string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range quotedMessage.FindAllStringSubmatch(string(page), -1) {
		messages = append(messages, match[1]+match[2])
	}
	return messages
}

// isQuoted reports whether one of the quoted messages is the message of the library.
func isQuoted(message string, quoted []string) bool {
	return slices.ContainsFunc(quoted, func(pattern string) bool {
		pattern = strings.ReplaceAll(regexp.QuoteMeta(pattern), "…", `.+`)
		return regexp.MustCompile("(?s)^" + pattern + "$").MatchString(message)
	})
}

// TestTheMessagesOfTroubleshootingAreThoseOfTheLibrary requires that the library produces each message on the
// page, and that the page has each message that this test makes the library produce.
func TestTheMessagesOfTroubleshootingAreThoseOfTheLibrary(t *testing.T) {
	var real []string
	for _, produce := range []func(t *testing.T) []string{startErrors, refusals, notices, reasons, logLines} {
		real = append(real, produce(t)...)
	}
	quoted := quotedMessages(t, "troubleshooting.md")
	if len(quoted) < 40 {
		t.Fatalf("the page has only %d messages", len(quoted))
	}
	for _, message := range quoted {
		if !slices.ContainsFunc(real, func(r string) bool { return isQuoted(r, []string{message}) }) {
			t.Errorf("the library has not produced %q", message)
		}
	}
	elsewhere := quotedMessages(t, "running.md")
	for _, message := range real {
		if !isQuoted(message, quoted) && !isQuoted(message, elsewhere) {
			t.Errorf("the page does not have %q", message)
		}
	}
	for _, message := range quoted {
		if slices.Contains(elsewhere, message) {
			t.Errorf("docs/running.md has %q, too", message)
		}
	}
}

func TestAMessageThatDiffersIsNoticed(t *testing.T) {
	for message, want := range map[string]bool{
		"WARN auth: a is 3 bytes": true, "WARN auth: a is  bytes": false, "WARN auth: a is bytes": false,
		"ERROR auth: a is 3 bytes": false, "WARN auth: a is 3 bytes long": false,
	} {
		if got := isQuoted(message, []string{"WARN auth: a is … bytes"}); got != want {
			t.Errorf("%s: %v", message, got)
		}
	}
}
