package authcmd

import (
	"context"
	"flag"
	"strings"
	"time"
)

// command is one command.
type command struct {
	name  string // one or two words, such as "user list"
	args  string // the names of the arguments, such as "USER"
	short string // one line without a period
	long  string // the help text; PROGRAM stands for the name of the program

	flags    func(*flag.FlagSet, *options) // registers the flags besides those below
	json     bool                          // has the flag -json
	confirms bool                          // has the flag -yes
	secret   bool                          // has the flag -secret-file

	run func(context.Context, *call) error
}

func (c command) usage() string { return strings.TrimSpace(c.name + " [flags] " + c.args) }

// register registers all flags of the command.
func (c command) register(flags *flag.FlagSet, o *options) {
	if c.flags != nil {
		c.flags(flags, o)
	}
	if c.json {
		flags.BoolVar(&o.json, "json", false, "write JSON: see 'help json'")
	}
	if c.confirms {
		flags.BoolVar(&o.yes, "yes", false, "do not ask for a confirmation")
	}
	if c.secret {
		flags.StringVar(&o.secretFile, "secret-file", "",
			"write the access key and its secret to this new `file`, and not to the standard output")
	}
}

// commands returns all commands, in the order of the help.
func commands() []command {
	var all []command
	for _, group := range [][]command{
		firstCommands, userCommands(), keyCommands(), sessionCommands, storeCommands,
	} {
		all = append(all, group...)
	}
	return all
}

var firstCommands = []command{
	{
		name: "init", args: "USERNAME", short: "make the first super user", json: true, secret: true,
		flags: func(f *flag.FlagSet, o *options) { emailFlag(f, o) },
		run:   runInit,
		long: `Init makes the first super user of a new service, and shows the access key and secret with which this
user signs in. The secret cannot be shown again. Only one init in the life of a store succeeds. If you
have lost the secret, use 'PROGRAM recover'.`,
	},
	{
		name: "recover", args: "USER", short: "give a lost super user a new key",
		json: true, secret: true, confirms: true, run: runRecover,
		long: `Recover makes the user an active super user, and shows a new access key and secret. It removes all
earlier keys, sessions and GitHub accounts of the user, so that only the new key signs in as this user.
Use it if no super user has a working key, or if another person may have the keys of a super user. The
running instances need no restart.

'PROGRAM user list -super' lists the super users. See 'PROGRAM help users' for the ways to name a user.`,
	},
}

var sessionCommands = []command{
	{
		name: "session list", args: "USER", short: "list the sessions of a " +
			"user", json: true, run: runSessionList,
		long: `Session list lists the sessions of the user that are neither revoked nor expired, the newest first.
User agent and address are those that the client has sent.`,
	},
	{
		name: "session revoke", args: "SESSION", short: "revoke a session", json: true, run: runSessionRevoke,
		long: `Session revoke revokes the session with this ID. The instances reject its token within 5 seconds.
To revoke all sessions of a user, use 'PROGRAM session revoke-all'. The user can sign in again.`,
	},
	{
		name: "session revoke-all", args: "USER", short: "revoke all sessions of a user", json: true,
		run: runSessionRevokeAll,
		long: `Session revoke-all revokes all sessions of the user. The instances reject their tokens within 5
seconds. The user can sign in again. To prevent that, use 'PROGRAM user disable' or 'PROGRAM user reset'.`,
	},
	{
		name: "revoke-everybody", short: "revoke all sessions of all users", json: true, confirms: true,
		run: runRevokeEverybody,
		long: `Revoke-everybody revokes all sessions of all users, so that every user must sign in again. Use it
after a leaked signing key has been replaced, or after a backup has been restored. Access keys and
GitHub accounts stay.`,
	},
}

var storeCommands = []command{
	{
		name: "import", args: "FILE", short: "add users from another system", json: true, run: runImport,
		flags: func(f *flag.FlagSet, o *options) {
			f.BoolVar(&o.vouch, "vouch-for-sha256", false,
				"vouch that all secrets with a bare SHA-256 were generated")
			f.IntVar(&o.batch, "batch", 0, "add `n` users in a transaction; 0 is a good choice")
		},
		long: `Import adds users with their access keys from a file of JSON lines. FILE can be -, the standard input.
docs/import.md describes the lines. It shows each rejected line with the reason, and changes no user
who exists. If an import was interrupted, or after you have corrected rejected lines, run it again.

Import needs Credentials.AllowImported in the configuration.`,
	},
	{
		name: "events", short: "list the audit trail", json: true, run: runEvents,
		flags: func(f *flag.FlagSet, o *options) {
			f.IntVar(&o.number, "n", 50, "list at most `n` events. Default 50")
			f.StringVar(&o.user, "user", "", "list only events about this `USER`")
			f.StringVar(&o.actor, "actor", "", "list only events that this `USER` caused")
			f.StringVar(&o.kind, "kind", "", "list only events of this `kind`, such as key.revoked")
			f.StringVar(&o.from, "from", "", "list only events at this `time` or later")
			f.StringVar(&o.to, "to", "", "list only events before this `time`")
		},
		long: `Events lists the audit trail, the newest event first. docs/events.md describes the kinds of events. The
flags -user and -actor also accept the ID of a user who was deleted. A time is 2027-01-31T12:00:00Z, or a
date such as 2027-01-31, which is the beginning of that day in UTC.`,
	},
	{
		name: "prune", short: "remove expired records", json: true, run: runPrune,
		long: `Prune removes expired sessions, keys, names and events, as the instances do. It is for a service whose
instances do not call Service.Run. If the clock of this machine is more than 30 seconds ahead of the
clock of the database, it removes nothing.`,
	},
	{
		name: "doctor", short: "check the configuration and the database", json: true, run: runDoctor,
		long: `Doctor checks the configuration, the keys and the database of the service, and shows for each problem
what to do. If there is no problem, it writes nothing and ends with the exit code 0. With problems, the
exit code is 3. If a check cannot be made, that is a problem, too.

Doctor changes no record of the service. It can run while the instances serve requests.`,
	},
}

func emailFlag(f *flag.FlagSet, o *options) {
	f.StringVar(&o.email, "email", "", "the e-mail `address` of the user")
}

// keyFlags registers the options of a new access key.
func keyFlags(f *flag.FlagSet, o *options) {
	f.StringVar(&o.label, "label", "", "the `label` of the key")
	f.StringVar(&o.expires, "expires", "",
		"when the key expires: a `time` such as 2027-01-31T12:00:00Z, a date such as 2027-01-31, "+
			"or a duration such as 90d or 12h. Default never")
	f.StringVar(&o.scopes, "scopes", "",
		"limit the key to these `scopes`, separated by commas. Default no limit")
	f.BoolVar(&o.mustRotate, "must-rotate", false,
		"the owner must rotate the key before it works, because you see the secret")
}

func overlapFlag(f *flag.FlagSet, o *options) {
	f.DurationVar(&o.overlap, "overlap", 0,
		"the previous secret keeps working for this `duration`, at most 168h. Default 0")
}

const day = 24 * time.Hour
