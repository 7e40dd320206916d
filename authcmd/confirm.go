package authcmd

import (
	"bufio"
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
func (c *call) confirm(format string, args ...any) error {
	if c.options.yes {
		return nil
	}
	if !isTerminal(c.stdio.In) {
		return fmt.Errorf("%s cannot be undone and needs a confirmation, and the standard input is no "+
			"terminal: run the command again with -yes: %w", c.command.name, errUnconfirmed)
	}
	fmt.Fprintf(c.stdio.Err, "%s This cannot be undone.\nType yes to continue: ",
		printable(fmt.Sprintf(format, args...)))
	answer, err := bufio.NewReader(c.stdio.In).ReadString('\n')
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
