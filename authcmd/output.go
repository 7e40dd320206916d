package authcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/sallyport-go/auth"
)

// result writes what a command has done: the value as JSON with -json, and else the text.
func (c *call) result(value any, format string, args ...any) error {
	if c.options.json {
		return writeJSON(c.stdio.Out, value)
	}
	_, err := fmt.Fprintln(c.stdio.Out, printable(fmt.Sprintf(format, args...)))
	return err
}

// writeJSON writes the value as one line.
func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// table writes rows in columns, or with -json one object for each row.
type table struct {
	call *call
	text *tabwriter.Writer
	err  error
}

func (c *call) table(headings ...string) *table {
	t := &table{call: c, text: tabwriter.NewWriter(c.stdio.Out, 0, 0, 2, ' ', 0)}
	if !c.options.json {
		t.write(headings)
	}
	return t
}

// add adds a row. With -json, it writes the value instead.
func (t *table) add(value any, cells ...string) {
	if !t.call.options.json {
		t.write(cells)
		return
	}
	if t.err == nil {
		t.err = writeJSON(t.call.stdio.Out, value)
	}
}

func (t *table) write(cells []string) {
	for i, cell := range cells {
		if cells[i] = printable(cell); cell == "" {
			cells[i] = "-"
		}
	}
	if _, err := fmt.Fprintln(t.text, strings.Join(cells, "\t")); t.err == nil {
		t.err = err
	}
}

func (t *table) end() error { return errors.Join(t.err, t.text.Flush()) }

// printable returns the text without characters that could control a terminal, such as a line break. This
// package refuses such names, but the table of a host may have them.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}

// date returns the time for a person, or "" for the zero time.
func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// counted returns the number and the noun, in the plural if it must be.
func counted(n int, noun string) string { return quantity(n, noun, noun+"s") }

// quantity returns the number and one of the two texts.
func quantity(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// secretSink is where a new secret goes. It is opened before the change, so that a secret is not lost
// because a file cannot be made.
type secretSink struct {
	call *call
	file *os.File // nil without -secret-file
}

func (c *call) openSink() (*secretSink, error) {
	sink := &secretSink{call: c}
	if c.options.secretFile == "" {
		return sink, nil
	}
	var err error
	sink.file, err = os.OpenFile(c.options.secretFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	return sink, err
}

// discard removes the file, because there is no secret.
func (s *secretSink) discard() {
	if s.file != nil {
		_ = s.file.Close()
		_ = os.Remove(s.file.Name())
	}
}

// issued is the JSON of a new pair. The secret is absent if it went to a file.
type issued struct {
	User         *auth.User `json:"user,omitempty"`
	AccessKey    string     `json:"access_key"`
	AccessSecret string     `json:"access_secret,omitempty"`
	SecretFile   string     `json:"secret_file,omitempty"`
}

// deliver writes the pair to the file or to the standard output. The again argument is the command with
// which the operator gets another secret if this one is lost.
func (s *secretSink) deliver(user *auth.User, pair auth.KeyPair, again string) error {
	lines := fmt.Sprintf("access_key=%s\naccess_secret=%s\n", pair.AccessKey, pair.AccessSecret.Reveal())
	out := issued{User: user, AccessKey: pair.AccessKey, AccessSecret: pair.AccessSecret.Reveal()}
	var err error
	if s.file != nil {
		out.AccessSecret, out.SecretFile = "", s.file.Name()
		_, err = io.WriteString(s.file, lines)
		err = errors.Join(err, s.file.Sync(), s.file.Close())
		lines = fmt.Sprintf("access_key=%s\nThe secret is in %s.\n", pair.AccessKey, s.file.Name())
	}
	switch {
	case err != nil: // the secret is lost
	case s.call.options.json:
		err = writeJSON(s.call.stdio.Out, out)
	default:
		_, err = io.WriteString(s.call.stdio.Out, lines)
	}
	if err != nil {
		return fmt.Errorf("the change was made, but its secret could not be written: run '%s %s': %w",
			s.call.Name, again, err)
	}
	return nil
}

// givePair makes a change that returns a new pair, and delivers the pair.
func (c *call) givePair(
	ctx context.Context, again string, change func(context.Context) (*auth.User, auth.KeyPair, error),
) error {
	sink, err := c.openSink()
	if err != nil {
		return err
	}
	user, pair, err := change(ctx)
	if err != nil {
		sink.discard()
		return err
	}
	return sink.deliver(user, pair, again)
}
