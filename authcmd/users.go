package authcmd

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"

	"github.com/sallyport-go/auth"
)

func runInit(ctx context.Context, c *call) error {
	params := auth.UserParams{Username: c.args[0], Email: c.options.email, IsSuperUser: true}
	err := c.givePair(ctx, "recover USER", func(ctx context.Context) (*auth.User, auth.KeyPair, error) {
		pair := c.Service.Credentials().GeneratePair()
		user, err := c.Service.Bootstrap(ctx, params, pair)
		return &user, pair, err
	})
	if errors.Is(err, auth.ErrBootstrapped) {
		return fmt.Errorf("the first super user was made already: 'user list -super' shows the super "+
			"users, and 'recover' gives one a new key: %w", err)
	}
	return err
}

func runRecover(ctx context.Context, c *call) error {
	if _, err := c.users(); err != nil {
		return err
	}
	user, err := c.findUser(ctx, c.args[0])
	if err != nil {
		return err
	}
	if err := c.requirePeppers(ctx); err != nil {
		return err
	}
	if err := c.confirm(ctx, "Recover removes all keys, sessions and GitHub accounts of %s, and makes it an "+
		"active super user.", described(user)); err != nil {
		return err
	}
	return c.givePair(ctx, "recover USER", func(ctx context.Context) (*auth.User, auth.KeyPair, error) {
		pair, err := c.Service.RecoverSuperUser(ctx, user.ID)
		if errors.Is(err, auth.ErrServiceUser) {
			err = fmt.Errorf("%s is a service user: choose a person: %w", described(user), err)
		}
		user.IsActive, user.IsSuperUser = true, true
		return &user, pair, err
	})
}

// requirePeppers returns an error if access keys of the service have a pepper that the configuration lacks.
// The configuration is then probably that of another service, and a new key would not work. Some commands
// would also have removed the keys that do. With NoPepper(), the operator says that the pepper is lost.
func (c *call) requirePeppers(ctx context.Context) error {
	ring := pepperIDs(c.Config)
	if slices.Contains(ring, noPepperID) {
		return nil
	}
	counts, err := c.Service.Credentials().CountByPepper(ctx)
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(counts.ByPepper)) {
		if id != noPepperID && counts.ByPepper[id] > 0 && !slices.Contains(ring, id) {
			return fmt.Errorf("the service has the pepper %q, without which the new key would not work: add "+
				"the peppers of the service to the configuration, or NoPepper() if they are lost: nothing "+
				"was changed", id)
		}
	}
	return nil
}

// noPepperID is the ID of [auth.NoPepper].
const noPepperID = ""

// pepperIDs returns the IDs of the configured peppers.
func pepperIDs(cfg auth.Config) (ids []string) {
	for _, pepper := range cfg.Credentials.Peppers {
		ids = append(ids, pepper.Info().ID)
	}
	return ids
}

func userCommands() []command {
	return []command{
		{
			name: "user list", short: "list the users", json: true, run: runUserList,
			flags: func(f *flag.FlagSet, o *options) {
				f.BoolVar(&o.super, "super", false, "list only super users")
				f.StringVar(&o.kind, "kind", "", "list only users of this `kind`: person or service")
				f.StringVar(&o.state, "state", "", "list only users in this `state`: active or inactive")
				f.StringVar(&o.search, "search", "",
					"list only users whose username or e-mail begins with this `text`")
			},
			long: `User list lists the users in the order of their IDs. With -search, the users whose username matches come
first, in the order of their usernames. The letters A to Z match in both cases.`,
		},
		{
			name: "user show", args: "USER", short: "show a user", json: true, run: runUserShow,
			long: `User show shows the record of a user, and how many keys, sessions and GitHub accounts the user has.`,
		},
		{
			name: "user add", args: "USERNAME", short: "add a " +
				"user", json: true, secret: true, run: runUserAdd,
			flags: func(f *flag.FlagSet, o *options) {
				emailFlag(f, o)
				keyFlags(f, o)
				f.BoolVar(&o.super, "super", false, "make a super user")
				f.BoolVar(&o.service, "service", false, "make a service user, which is a program")
				f.StringVar(&o.audiences, "audiences", "",
					"the `audiences` for which a service user may get delegated tokens, separated by commas")
			},
			long: `User add adds a user with one access key, and shows the access key and secret. The secret cannot be
shown again. The flags -label, -expires, -scopes and -must-rotate are about this key.`,
		},
		changeCommand("user disable", "disable a user",
			`User disable disables the user and revokes all sessions of the user. The keys do not work until the user is
enabled again. The last active super user cannot be disabled.`,
			func(no, _ *bool) auth.UserChange { return auth.UserChange{IsActive: no} }),
		changeCommand("user enable", "enable a disabled user",
			`User enable enables the user. The keys that the user had work again. If another person may have one of
them, use 'PROGRAM user reset' first.`,
			func(_, yes *bool) auth.UserChange { return auth.UserChange{IsActive: yes} }),
		changeCommand("user promote", "make a user a super user", `User promote makes the user a super user.`,
			func(_, yes *bool) auth.UserChange { return auth.UserChange{IsSuperUser: yes} }),
		changeCommand("user demote", "make a super user an ordinary user",
			`User demote makes the user an ordinary user. The last active super user cannot be demoted.`,
			func(no, _ *bool) auth.UserChange { return auth.UserChange{IsSuperUser: no} }),
		{
			name: "user reset", args: "USER", short: "replace everything with which a user can sign in",
			json: true, secret: true, confirms: true, flags: keyFlags, run: runUserReset,
			long: `User reset removes all keys, sessions and GitHub accounts of the user, and shows a new access key and
secret. Use it if another person may have a key of the user, or if the user has lost the only key. First
make sure that the person who asks is the user. A disabled user stays disabled.`,
		},
		{
			name: "user delete", args: "USER", short: "delete a " +
				"user", json: true, confirms: true, run: runUserDelete,
			long: `User delete removes the user with all keys, sessions and GitHub accounts. The events of the user stay in
the audit trail. The last active super user cannot be deleted.`,
		},
		{
			name: "user export", args: "USER", short: "write everything that the store keeps about a user",
			json: true, run: runUserExport,
			long: `User export writes everything that the store keeps about the user as one JSON object, without secrets.
The object has several lines, also with -json. docs/export.md describes it. Use it to answer a person who
asks for the data about them.`,
		},
	}
}

// changeCommand returns a command that makes one change of a user.
func changeCommand(name, short, long string, change func(no, yes *bool) auth.UserChange) command {
	return command{name: name, args: "USER", short: short, long: long, json: true,
		run: func(ctx context.Context, c *call) error {
			user, err := c.findUser(ctx, c.args[0])
			if err != nil {
				return err
			}
			no, yes := false, true
			user, err = c.Service.UpdateUser(ctx, authority, user.ID, change(&no, &yes))
			if err != nil {
				return err
			}
			return c.changed(user, "%s is now: %s, %s", described(user), status(user), role(user))
		}}
}

func runUserList(ctx context.Context, c *call) error {
	table := c.table("ID", "USERNAME", "E-MAIL", "ROLE", "STATUS", "LAST LOGIN")
	query := auth.UserQuery{Kind: auth.UserKind(c.options.kind), State: auth.UserState(c.options.state),
		Search: c.options.search}
	if c.options.super && query.Kind == "" {
		query.Kind = auth.UserKindSuperUser
	}
	err := c.eachUser(ctx, query, func(u auth.User) error {
		if !c.options.super || u.IsSuperUser {
			table.add(u, u.ID, u.Username, u.Email, role(u), status(u), date(u.LastLogin))
		}
		return table.err
	})
	if invalid, ok := errors.AsType[*auth.InvalidError](err); ok {
		rule := map[string]string{"kind": "must be person or service", "state": "must be active or inactive"}
		broken := cmp.Or(rule[invalid.Field], invalid.Reason)
		return usageError{c.command.name, "-" + invalid.Field + " " + broken}
	}
	if err != nil {
		return err
	}
	return table.end()
}

// shownUser is the JSON of user show.
type shownUser struct {
	auth.User
	Keys     int                  `json:"keys"`
	Sessions int                  `json:"sessions"`
	GitHub   []auth.GitHubAccount `json:"github,omitempty"`
}

func runUserShow(ctx context.Context, c *call) error {
	user, err := c.findUser(ctx, c.args[0])
	if err != nil {
		return err
	}
	keys, err1 := c.Service.Credentials().List(ctx, user.ID)
	sessions, err2 := c.Store.ListSessions(ctx, user.ID, c.now())
	accounts, err3 := c.Store.ListGitHubAccounts(ctx, user.ID)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	if c.options.json {
		return writeJSON(c.stdio.Out, shownUser{user, len(keys), len(sessions), accounts})
	}
	table := c.table("FIELD", "VALUE")
	for _, row := range [][2]string{
		{"ID", user.ID}, {"username", user.Username}, {"e-mail", user.Email}, {"role", role(user)},
		{"status", status(user)}, {"created", date(user.CreatedAt)}, {"last login", date(user.LastLogin)},
		{"created by", user.CreatedBy}, {"audiences", user.Audiences}, {"keys", fmt.Sprint(len(keys))},
		{"sessions", fmt.Sprint(len(sessions))}, {"GitHub accounts", fmt.Sprint(len(accounts))},
	} {
		table.add(nil, row[0], row[1])
	}
	return table.end()
}

func runUserAdd(ctx context.Context, c *call) error {
	key, err := c.keyOptions()
	if err != nil {
		return err
	}
	params := auth.UserParams{Username: c.args[0], Email: c.options.email, IsSuperUser: c.options.super,
		IsService: c.options.service, Audiences: list(c.options.audiences), Key: key}
	if err := c.requirePeppers(ctx); err != nil {
		return err
	}
	return c.givePair(ctx, "user reset USER", func(ctx context.Context) (*auth.User, auth.KeyPair, error) {
		made, err := c.Service.Register(ctx, authority, params)
		return &made.User, made.Pair, nameTaken(err)
	})
}

// nameTaken returns err, or an error for an operator if a name is taken.
func nameTaken(err error) error {
	if !errors.Is(err, auth.ErrExists) {
		return err
	}
	return fmt.Errorf("the username or the e-mail address is taken: choose another. Letter case does not "+
		"count, and a name that a user has given up can stay taken: %w", err)
}

func runUserReset(ctx context.Context, c *call) error {
	key, err := c.keyOptions()
	if err != nil {
		return err
	}
	user, err := c.findUser(ctx, c.args[0])
	if err != nil {
		return err
	}
	if err := c.requirePeppers(ctx); err != nil {
		return err
	}
	if err := c.confirm(ctx, "User reset removes all keys, sessions and GitHub accounts of %s.",
		described(user)); err != nil {
		return err
	}
	return c.givePair(ctx, "user reset USER", func(ctx context.Context) (*auth.User, auth.KeyPair, error) {
		pair, err := c.Service.RegenerateCredentials(ctx, authority, user.ID, key)
		return &user, pair, err
	})
}

func runUserDelete(ctx context.Context, c *call) error {
	user, err := c.findUser(ctx, c.args[0])
	if err != nil {
		return err
	}
	if err := c.confirm(ctx, "User delete removes %s with all keys, sessions and GitHub accounts.",
		described(user)); err != nil {
		return err
	}
	if err := c.Service.DeleteUser(ctx, authority, user.ID); err != nil {
		return err
	}
	return c.changed(map[string]string{"deleted_user_id": user.ID}, "deleted %s", described(user))
}

func runUserExport(ctx context.Context, c *call) error {
	user, err := c.findUser(ctx, c.args[0])
	if err != nil {
		return err
	}
	return c.Service.ExportUser(ctx, &jsonWriter{w: c.stdio.Out}, user.ID)
}
