// Package authcmd is the command with which operators administer a service of package auth: they make
// the first super user, recover a lost one, look after users, access keys and sessions, and check the
// configuration and the database. A host adds the command to its own program in a few lines, with its
// own store and configuration:
//
//	func main() {
//		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
//		defer stop()
//		signal.Ignore(syscall.SIGPIPE) // Run says if a new secret could not be written
//		host := authcmd.Host{Open: open} // open returns the store, the configuration and the service
//		stdio := authcmd.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
//		os.Exit(authcmd.Run(ctx, host, os.Args[1:], stdio))
//	}
//
// The command runs beside the instances, also while they serve requests. It serves no requests itself,
// needs no token, and checks no authority: everyone who can run it and reach the database is a super user.
// The program cmd/sallyport is such a command for SQLite, PostgreSQL, MariaDB and MySQL.
//
// # Commands
//
// The command "help" lists the commands, and "help COMMAND" describes one. docs/command-line.md has the
// tasks of an operator, such as recovering a lost super user.
//
// The argument USER is a user's ID, username or e-mail address. If the text matches several users, such as
// the ID of one and the username of another, the command changes nothing and lists them. The forms id:ID,
// name:NAME and email:ADDRESS match in one way only.
//
// # Secrets
//
// A secret is never an argument, because other users of the machine can read the arguments of a process.
// Run refuses arguments that contain an access secret. It reads a leaked secret from the standard input,
// and writes a new secret to the standard output, or with -secret-file to a new file that only its owner
// can read. It writes secrets nowhere else.
//
// # Events
//
// Each change is an event in the audit trail, with the Host "authcmd". A few changes have the Host of the
// method of package auth that makes them, such as "auth.RecoverSuperUser". The UserAgent of the event's
// client names the operating system's user who ran the command. It is a label that proves nothing.
//
// # Exit codes
//
// Run returns ExitOK, ExitFailed, ExitUsage, ExitFindings or ExitUnconfirmed.
package authcmd
