package authcmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/sallyport-go/auth"
)

// output is the standard output of a command.
type output struct {
	w      io.Writer
	unread bool // whether the reader of the output has ended; a broken connection has the same error
}

// Write writes the text.
func (o *output) Write(text []byte) (int, error) {
	n, err := o.w.Write(text)
	o.unread = o.unread || errors.Is(err, syscall.EPIPE)
	return n, err
}

// result writes what a command has done: the value as JSON with -json, and else the text.
func (c *call) result(value any, format string, args ...any) error {
	if c.options.json {
		return writeJSON(c.stdio.Out, value)
	}
	_, err := fmt.Fprintln(c.stdio.Out, printable(fmt.Sprintf(format, args...)))
	return err
}

// errChanged means that a command has made its change and then failed.
var errChanged = errors.New("the change was made")

// changed is result for a command that has made a change. Its error says so.
func (c *call) changed(value any, format string, args ...any) error {
	if err := c.result(value, format, args...); err != nil {
		return fmt.Errorf("%w, but this could not be written: %w", errChanged, err)
	}
	return nil
}

// writeJSON writes the value as one line.
func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(&jsonWriter{w: w})
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// jsonWriter escapes the characters of JSON text that could control a terminal. Package encoding/json leaves
// some of them as they are, such as U+009B and those that change the direction of text.
type jsonWriter struct {
	w       io.Writer
	partial []byte // the beginning of a character, whose end is in the next Write
}

// Write writes the JSON text.
func (j *jsonWriter) Write(text []byte) (int, error) {
	rest := append(j.partial, text...)
	var escaped []byte
	for len(rest) > 0 && utf8.FullRune(rest) {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r < ' ' || unicode.IsPrint(r): // JSON has raw control characters only between values
			escaped = append(escaped, rest[:size]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			escaped = fmt.Appendf(escaped, `\u%04x\u%04x`, high, low)
		default:
			escaped = fmt.Appendf(escaped, `\u%04x`, r)
		}
		rest = rest[size:]
	}
	j.partial = bytes.Clone(rest)
	if _, err := j.w.Write(escaped); err != nil {
		return 0, err
	}
	return len(text), nil
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

// printableLines is printable for a text of several lines, in which tabs indent.
func printableLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		rest := strings.TrimLeft(line, "\t")
		lines[i] = line[:len(line)-len(rest)] + printable(rest)
	}
	return strings.Join(lines, "\n")
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
	lost := fmt.Sprintf("but its secret could not be written: run '%s %s'", s.call.Name, again)
	if s.file != nil {
		_, err := io.WriteString(s.file, lines)
		if err = errors.Join(err, s.file.Sync(), s.file.Close()); err != nil {
			s.discard() // it can have a part of the secret
			return fmt.Errorf("%w, %s: %w", errChanged, lost, err)
		}
		out.AccessSecret, out.SecretFile = "", s.file.Name()
		lines = fmt.Sprintf("access_key=%s\nThe secret is in %s.\n", pair.AccessKey, printable(s.file.Name()))
		lost = fmt.Sprintf("and the secret is in %s, but this could not be written", s.file.Name())
	}
	var err error
	if s.call.options.json {
		err = writeJSON(s.call.stdio.Out, out)
	} else {
		_, err = io.WriteString(s.call.stdio.Out, lines)
	}
	if err != nil {
		return fmt.Errorf("%w, %s: %w", errChanged, lost, err)
	}
	return nil
}

// givePair makes a change that returns a new pair, and delivers the pair. The again argument is that of
// deliver. If its last word is USER, this word stands for the user.
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
	if verb, ok := strings.CutSuffix(again, " USER"); ok {
		again = verb + " id:" + user.ID // a name can have spaces, and can look like a flag or an ID
	}
	return sink.deliver(user, pair, again)
}
