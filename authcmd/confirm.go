package authcmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// errUnconfirmed means that an operator did not confirm a change.
var errUnconfirmed = errors.New("nothing was changed")

// confirm asks the operator whether to make the change, which cannot be undone. The text is a sentence
// about the change. confirm returns errUnconfirmed if the operator does not agree or cannot be asked.
func (c *call) confirm(ctx context.Context, format string, args ...any) error {
	if c.options.yes {
		return nil
	}
	if !isTerminal(c.stdio.In) {
		return fmt.Errorf("%s cannot be undone and needs a confirmation, and the standard input is no "+
			"terminal: run the command again with -yes: %w", c.command.name, errUnconfirmed)
	}
	fmt.Fprintf(c.stdio.Err, "%s This cannot be undone.\nType yes to continue: ",
		printable(fmt.Sprintf(format, args...)))
	answer, err := bufio.NewReader(c.input(ctx)).ReadString('\n')
	if ctx.Err() != nil {
		fmt.Fprintln(c.stdio.Err) // the cursor is behind the question
		return fmt.Errorf("interrupted: %w", errUnconfirmed)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch strings.TrimSpace(answer) {
	case "yes":
		return nil
	case "":
		return fmt.Errorf("%s needs the answer yes, and got none: run the command again with -yes, or in a "+
			"terminal: %w", c.command.name, errUnconfirmed)
	default:
		return fmt.Errorf("the answer was not yes: %w", errUnconfirmed)
	}
}

// input returns the standard input. If it is a file, which can be a terminal, a read ends when ctx ends.
func (c *call) input(ctx context.Context) io.Reader {
	if file, ok := c.stdio.In.(*os.File); ok {
		return interruptible{ctx, file}
	}
	return c.stdio.In
}

// interruptible is a reader whose reads end when ctx ends.
type interruptible struct {
	ctx context.Context
	in  io.Reader
}

// Read reads into p, or returns the error of the context.
func (r interruptible) Read(p []byte) (int, error) {
	data, err := await(r.ctx, func() ([]byte, error) {
		buffer := make([]byte, len(p)) // not p, which the caller may use after the end of ctx
		n, err := r.in.Read(buffer)
		return buffer[:n], err
	})
	return copy(p, data), err
}

// await returns the results of f, or the error of ctx if ctx ends first. A read of a terminal cannot be
// ended, nor can the opening of a named pipe. So f has a goroutine, which await then leaves behind.
func await[R any](ctx context.Context, f func() (R, error)) (R, error) {
	type results struct {
		value R
		err   error
	}
	done := make(chan results, 1)
	go func() {
		value, err := f()
		done <- results{value, err}
	}()
	select {
	case got := <-done:
		return got.value, got.err
	case <-ctx.Done():
		return *new(R), ctx.Err()
	}
}

// isTerminal reports whether the stream is a terminal, or another device of characters, such as
// /dev/null. From such a device, no answer can be read, which is the same as no confirmation.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
