package authcmd

import (
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// writeOverview writes the list of commands.
func writeOverview(w io.Writer, program string) {
	fmt.Fprintf(w, `%s administers the users, access keys and sessions of a service.

Usage:

	%[1]s <command> [flags] [arguments]

The commands are:

`, program)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range commands() {
		fmt.Fprintf(table, "\t%s\t%s\n", c.name, c.short)
	}
	table.Flush()
	fmt.Fprintf(w, `
Use "%s help <command>" for more information about a command, and
"%[1]s help <topic>" for a topic. The topics are:

`, program)
	table = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, t := range topics {
		fmt.Fprintf(table, "\t%s\t%s\n", t.name, t.short)
	}
	table.Flush()
}

// help writes the help about a command, a group of commands or a topic.
func help(program string, words []string, w io.Writer) error {
	name := strings.Join(words, " ")
	if name == "" {
		writeOverview(w, program)
		return nil
	}
	for _, c := range commands() {
		if c.name == name {
			writeCommand(w, program, c)
			return nil
		}
	}
	for _, t := range topics {
		if t.name == name {
			fmt.Fprint(w, wrapped(strings.ReplaceAll(t.text, "PROGRAM", program), helpWidth, ""))
			return nil
		}
	}
	if !isGroup(name) {
		return usageError{problem: fmt.Sprintf("there is no help about %q", name)}
	}
	for _, c := range commands() {
		if strings.HasPrefix(c.name, name+" ") {
			fmt.Fprintf(w, "%s %s\n\t%s\n", program, c.usage(), c.short)
		}
	}
	fmt.Fprintf(w, "\nUse \"%s help %s <command>\" for more information about a command.\n", program, name)
	return nil
}

// helpWidth is the width of the help, for a terminal with 80 columns.
const helpWidth = 79

// wrapped returns the text with each paragraph broken anew at the width, and the indent before each line. It
// keeps paragraphs that begin with a tab.
func wrapped(text string, width int, indent string) string {
	var out strings.Builder
	for i, paragraph := range strings.Split(strings.Trim(text, "\n"), "\n\n") {
		if i > 0 {
			out.WriteString("\n")
		}
		if strings.HasPrefix(paragraph, "\t") {
			out.WriteString(paragraph + "\n")
			continue
		}
		column := 0
		for _, word := range strings.Fields(paragraph) {
			length := utf8.RuneCountInString(word)
			switch {
			case column == 0:
				out.WriteString(indent)
			case column+1+length > width:
				out.WriteString("\n" + indent)
				column = 0
			default:
				out.WriteString(" ")
				column++
			}
			out.WriteString(word)
			column += length
		}
		out.WriteString("\n")
	}
	return out.String()
}

// writeCommand writes the help about one command, in the form of the help of the go command.
func writeCommand(w io.Writer, program string, c command) {
	long := strings.ReplaceAll(c.long, "PROGRAM", program)
	fmt.Fprintf(w, "usage: %s %s\n\n%s", program, c.usage(), wrapped(long, helpWidth, ""))
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	c.register(flags, &options{})
	if c.flags == nil && !c.json && !c.confirms {
		return
	}
	const tabs = 16 // columns of two tabs
	fmt.Fprintf(w, "\nThe flags are:\n\n")
	flags.VisitAll(func(f *flag.Flag) {
		value, text := flag.UnquoteUsage(f)
		fmt.Fprintf(w, "\t%s\n%s", strings.TrimSpace("-"+f.Name+" "+value),
			wrapped(text, helpWidth-tabs, "\t\t"))
	})
}

// topics are the helps that are not about one command.
var topics = []struct{ name, short, text string }{
	{"users", "how to name a user", `USER is the ID, the username or the e-mail address of a user. Usernames and e-mail addresses are
compared without regard to ASCII case.

If the text matches several users, the command changes nothing and lists them. This can happen, because
a user can have a username that is the ID or the e-mail address of another user. These forms match in
one way only:

	id:ID
	name:USERNAME
	email:ADDRESS
`},
	{"exit-codes", "the exit codes", `	0  the command did what it was asked to do
	1  the command failed; unless the error says so, nothing was changed
	2  the arguments are not valid; nothing was changed
	3  doctor found a problem
	4  the change needs a confirmation and got none; nothing was changed
`},
	{"json", "the output for programs", `With -json, a command writes JSON to its standard output, one object in each line. Only the object of
'user export' has several lines. Field names are those of the HTTP calls, and docs/command-line.md lists the
fields of each command. Fields without a value are absent. A later version can add fields. Errors are text
on the standard error, and the exit code says what happened.
`},
	{"secrets", "where secrets go", `A secret is never an argument, because other users of the machine can read the arguments of a process.
New secrets go to the standard output:

	access_key=…
	access_secret=…

With -secret-file FILE, they go to a new file that only its owner can read. The command creates the file
before it changes anything. It does not overwrite a file.
`},
	{"confirmation", "how to confirm a change that cannot be undone", `Before a change that cannot be undone, the command says what it will do, and waits for the answer "yes".
With -yes, it does not ask. If the standard input is no terminal and there is no -yes, the command
changes nothing and ends with the exit code 4.

These commands ask:

	recover
	user reset
	user delete
	key rotate (without -overlap)
	key revoke
	revoke-everybody

A user whose session was revoked can sign in again, and a disabled user can be enabled again. So the
commands for that do not ask.
`},
}
