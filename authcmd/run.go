package authcmd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sallyport-go/auth"
)

// The results of [Run], for [os.Exit].
const (
	ExitOK          = 0 // the command did what it was asked to do
	ExitFailed      = 1 // the command failed; unless the error says so, nothing was changed
	ExitUsage       = 2 // the arguments are not valid; nothing was changed
	ExitFindings    = 3 // the command doctor found a problem
	ExitUnconfirmed = 4 // the change needs a confirmation and got none; nothing was changed
)

// Host is the service that the command administers.
type Host struct {
	// Name is the name of the program in help texts. Default: the name of the running program.
	Name string

	// Service is the service. Make it with [auth.New] or [auth.NewWithUsers] and the configuration of the
	// instances, above all the same peppers and prefixes: otherwise, new keys do not work. If the instances
	// have an OnEvent, set DeliverElsewhere in the configuration, so that they deliver the events of the
	// command. Run does not call its method Run.
	Service *auth.Service

	// Store is the store of the Service. If it is no [auth.UserStore], the users are in a table of the
	// host. The commands that read or change users then fail, and USER is the ID of a user. If the store
	// also implements [Database], doctor checks the database, too.
	Store auth.AccountStore

	// Config is the configuration from which the Service was made. Only doctor and the commands for leaked
	// keys use it.
	Config auth.Config

	// KeyCreatedAt, if not nil, returns the time at which a key of the Config was made, or the zero time if
	// that is not known. keyfile.Keys.CreatedAt is such a function. With it, doctor reports a signing key or
	// a sealing key that is in use for more than a year.
	KeyCreatedAt func(auth.KeyInfo) time.Time

	// Open, if not nil, returns the other fields but Name, for a host that opens its database only if a
	// command needs it. Run calls Open after it has checked the arguments, with the name of the
	// command, such as "user list". So help works without a database, and only "init" needs to create
	// tables. If Open returns an error, doctor reports the error, and every other command fails with it.
	// The host closes what Open has opened after Run has returned.
	Open func(ctx context.Context, command string) (Host, error)
}

// Stdio has the standard streams of the command. If In or Err is a terminal, it must be an *[os.File]:
// the command then asks for confirmations, and shows the progress of an import.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// Database is implemented by stores that can tell doctor about their database. The stores of package
// sqlstore implement it. The methods change no data that a service uses, and are safe for concurrent use.
type Database interface {
	// CheckTables returns an error unless the tables are those that the store needs.
	CheckTables(ctx context.Context) error

	// CheckRights returns an error if the store lacks a right.
	CheckRights(ctx context.Context) error

	// CheckWritable returns an error if the database cannot commit a change.
	CheckWritable(ctx context.Context) error

	// DatabaseTime returns the time of the clock of the database.
	DatabaseTime(ctx context.Context) (time.Time, error)

	// Settings returns the values of settings by their names in the database.
	Settings(ctx context.Context) (map[string]string, error)
}

// authority is the [auth.Authority] of all changes.
var authority = auth.ByHost("authcmd")

// Run runs the command that the arguments name, and returns the exit code for [os.Exit]. The arguments
// are those after the name of the program. Errors, questions and progress go to stdio.Err, and results go
// to stdio.Out.
//
// If ctx ends, the running call of the store ends, and Run returns [ExitFailed], or [ExitUnconfirmed] if it
// waits for a confirmation. If Run is reading stdio.In then, and this is an *[os.File], or if Run is reading
// the file of an import, a goroutine stays behind until its read ends. Run waits for a read of any other
// stdio.In. Run does not use the command-line flags of package flag. Several calls can run at the same time.
//
// A program that is killed when nobody reads its output cannot say that a new secret was lost. So ignore
// the signal SIGPIPE in the program, as package os/signal describes.
func Run(ctx context.Context, host Host, args []string, stdio Stdio) int {
	if host.Name == "" {
		host.Name = filepath.Base(os.Args[0])
	}
	ctx = auth.WithClientInfo(ctx, auth.ClientInfo{UserAgent: "authcmd, run by " + operator()})
	out := &output{w: stdio.Out}
	stdio.Out = out
	err := run(ctx, host, args, stdio)
	var usage usageError
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, errFindings):
		return ExitFindings
	case out.unread && errors.Is(err, syscall.EPIPE) && !errors.Is(err, errChanged):
		return ExitFailed // the reader of the output, such as head, has read all that it wants
	}
	interrupted := ""
	if ended := ctx.Err(); ended != nil && errors.Is(err, ended) {
		interrupted = "interrupted: "
	}
	fmt.Fprintf(stdio.Err, "%s: %s%s\n", host.Name, interrupted, printableLines(message(err)))
	switch {
	case errors.As(err, &usage):
		fmt.Fprintf(stdio.Err, "Run '%s' for usage.\n", strings.TrimSpace(host.Name+" help "+usage.command))
		return ExitUsage
	case errors.Is(err, errUnconfirmed):
		return ExitUnconfirmed
	}
	return ExitFailed
}

// operator returns the name of the operating system's user.
func operator() string {
	current, err := user.Current()
	if err != nil {
		return fmt.Sprintf("the user %d", os.Getuid())
	}
	return current.Username
}

// usageError says what is wrong with the arguments of a command.
type usageError struct{ command, problem string }

// Error returns the problem.
func (e usageError) Error() string { return e.problem }

var errFindings = errors.New("doctor found problems")

// message returns the text of the error for an operator, who does not know package auth.
func message(err error) string {
	if errors.Is(err, auth.ErrLastSuperUser) {
		return "this is the last active super user: make another user a super user first"
	}
	return strings.ReplaceAll(err.Error(), "auth: ", "")
}

// call is one run of a command.
type call struct {
	Host
	stdio   Stdio
	command command
	args    []string // the arguments that are no flags

	openError error // the error of Host.Open, for doctor

	options options
}

// options has the values of the flags of all commands. A command has only the flags that it registers.
type options struct {
	json, yes                                 bool
	secretFile                                string
	email, kind, user, actor, label           string
	search, state, from, to                   string
	expires, scopes, audiences                string
	super, service, mustRotate, revoke, vouch bool
	number, batch                             int
	overlap                                   time.Duration
}

func run(ctx context.Context, host Host, args []string, stdio Stdio) error {
	if err := refuseSecrets(host, args); err != nil {
		return err
	}
	if len(args) == 0 {
		writeOverview(stdio.Err, host.Name)
		return usageError{problem: "name a command"}
	}
	switch {
	case args[0] == "help" || isHelpFlag(args[0]):
		return help(host.Name, args[1:], stdio.Out)
	case isGroup(args[0]) && len(args) > 1 && (args[1] == "help" || isHelpFlag(args[1])):
		return help(host.Name, args[:1], stdio.Out)
	}
	all := args
	command, args, err := findCommand(args)
	if err != nil {
		return err
	}
	c := &call{Host: host, stdio: stdio, command: command}
	if err := c.parse(args); errors.Is(err, flag.ErrHelp) {
		return help(host.Name, strings.Fields(command.name), stdio.Out)
	} else if err != nil {
		return err
	}
	if host.Open != nil {
		opened, err := host.Open(ctx, command.name)
		if err != nil && command.name != "doctor" {
			return err
		}
		opened.Name, opened.Open = c.Name, c.Open
		c.Host, c.openError = opened, err
		if err := refuseSecrets(c.Host, all); err != nil {
			return err // the secret has a prefix that only the configuration knows
		}
	}
	if c.openError == nil && (c.Service == nil || c.Store == nil) {
		return errors.New("the program is not complete: set Service and Store of authcmd.Host")
	}
	err = command.run(ctx, c)
	if invalid, ok := errors.AsType[*auth.InvalidError](err); ok && !errors.Is(err, errChanged) {
		return usageError{command.name, invalid.Field + " " + invalid.Reason}
	}
	return err
}

// passwordInDSN matches a data source name with a password.
var passwordInDSN = regexp.MustCompile(`://[^/@\s]*:[^@\s]+@|:[^@\s]+@(tcp|unix)\(`)

// refuseSecrets returns an error if an argument contains an access secret, or a part of one, or the password
// of a database.
func refuseSecrets(host Host, args []string) error {
	prefixes := []string{"as_live", host.Config.Credentials.AccessSecretPrefix}
	for i, arg := range args {
		if passwordInDSN.MatchString(arg) {
			return usageError{problem: fmt.Sprintf("argument %d contains a password, and other users of the "+
				"machine can read arguments: change the password", i+1)}
		}
		for _, prefix := range prefixes {
			secret := regexp.QuoteMeta(prefix) + `_[0-9A-Za-z]{30}`
			if prefix != "" && regexp.MustCompile(secret).MatchString(arg) {
				return usageError{problem: fmt.Sprintf("argument %d contains an access secret, and "+
					"other users of the machine can read arguments: treat the secret as leaked, and "+
					"pass it to the standard input of 'key find-leaked -revoke'", i+1)}
			}
		}
	}
	return nil
}

// parse reads the flags, which may be before and after the other arguments, and checks the number of the
// other arguments.
func (c *call) parse(args []string) error {
	flags := flag.NewFlagSet(c.command.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	c.command.register(flags, &c.options)
	for len(args) > 0 {
		if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
			return err
		} else if err != nil {
			return usageError{c.command.name, err.Error()}
		}
		read := args[:len(args)-flags.NArg()]
		args = flags.Args()
		if len(read) > 0 && read[len(read)-1] == "--" {
			c.args = append(c.args, args...)
			break
		}
		if len(args) > 0 {
			c.args = append(c.args, args[0])
			args = args[1:]
		}
	}
	if wanted := strings.Fields(c.command.args); len(c.args) != len(wanted) {
		return usageError{c.command.name, fmt.Sprintf("%s needs %s, and got %d: %s %s",
			c.command.name, counted(len(wanted), "argument"), len(c.args), c.Name, c.command.usage())}
	}
	return c.refuseEmptyFlags(flags)
}

// refuseEmptyFlags returns an error if a flag has an empty text or list. It comes from a variable of a script
// that is not set. Without -expires or -scopes, for example, a key would have no limit.
func (c *call) refuseEmptyFlags(flags *flag.FlagSet) (err error) {
	flags.Visit(func(f *flag.Flag) {
		if strings.Trim(f.Value.String(), " ,") == "" {
			err = usageError{c.command.name, fmt.Sprintf("the value of -%s must not be empty", f.Name)}
		}
	})
	return err
}

// findCommand returns the command that the first arguments name, and the other arguments.
func findCommand(args []string) (command, []string, error) {
	for words := min(2, len(args)); words > 0; words-- {
		name := strings.Join(args[:words], " ")
		i := slices.IndexFunc(commands(), func(c command) bool { return c.name == name })
		if i >= 0 {
			return commands()[i], args[words:], nil
		}
	}
	if isGroup(args[0]) {
		return command{}, nil, usageError{args[0], fmt.Sprintf("name a command of %q", args[0])}
	}
	return command{}, nil, usageError{problem: fmt.Sprintf("unknown command %q", args[0])}
}

func isHelpFlag(arg string) bool { return arg == "-h" || arg == "-help" || arg == "--help" }

// isGroup reports whether the word is the first of several commands, such as "user".
func isGroup(word string) bool {
	return slices.ContainsFunc(commands(), func(c command) bool {
		return strings.HasPrefix(c.name,
			word+" ")
	})
}
