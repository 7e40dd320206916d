package authcmd_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/authcmd"
	"github.com/sallyport-go/auth/memstore"
)

// runWithoutStore runs a command of a host whose store could not be opened.
func runWithoutStore(t *testing.T, code int, line string) (out, problem string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	host := authcmd.Host{Name: "sp", Open: func(context.Context, string) (authcmd.Host, error) {
		return authcmd.Host{}, auth.ErrNotFound
	}}
	got := authcmd.Run(t.Context(), host, strings.Fields(line),
		authcmd.Stdio{In: strings.NewReader(""), Out: &stdout, Err: &stderr})
	require.Equal(t, code, got, "%s: %s%s", line, &stdout, &stderr)
	return stdout.String(), stderr.String()
}

var allCommands = []string{"init", "recover", "user list", "user show", "user add", "user " +
	"disable", "user enable",
	"user promote", "user demote", "user reset", "user delete", "user export", "key list", "key " +
		"add", "key rotate",
	"key revoke", "key find-leaked", "session list", "session revoke", "session " +
		"revoke-all", "revoke-everybody",
	"import", "events", "prune", "doctor"}

func TestEveryCommandHasHelpEvenWithoutAStore(t *testing.T) {
	t.Parallel()
	overview, _ := runWithoutStore(t, authcmd.ExitOK, "help")
	for _, name := range allCommands {
		require.Contains(t, overview, "  "+name+"  ")
		text, _ := runWithoutStore(t, authcmd.ExitOK, "help "+name)
		require.True(t, strings.HasPrefix(text, "usage: sp "+name), text)
		require.NotContains(t, text, "PROGRAM")
		requireNarrow(t, text)
		for _, flag := range []string{"-h", "-help", "--help"} {
			same, _ := runWithoutStore(t, authcmd.ExitOK, name+" "+flag)
			require.Equal(t, text, same)
		}
	}
	requireNarrow(t, overview)
	group, _ := runWithoutStore(t, authcmd.ExitOK, "help user")
	require.Contains(t, group, `Use "sp help user <command>" for more`)
	for _, line := range []string{"user -h", "user --help", "user help"} {
		same, _ := runWithoutStore(t, authcmd.ExitOK, line)
		require.Equal(t, group, same)
	}
	for _, topic := range []string{"users", "exit-codes", "json", "secrets", "confirmation", "user", "key"} {
		text, _ := runWithoutStore(t, authcmd.ExitOK, "help "+topic)
		requireNarrow(t, text)
	}
}

// requireNarrow requires that the help fits into a terminal with 80 columns.
func requireNarrow(t *testing.T, text string) {
	t.Helper()
	require.NotEmpty(t, text)
	for line := range strings.Lines(text) {
		line = strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\t", "        ")
		require.Less(t, utf8.RuneCountInString(line), 80, line)
	}
}

func TestWrongArgumentsAreAUsageError(t *testing.T) {
	t.Parallel()
	for line, problem := range map[string]string{
		"":                        "name a command",
		"usre list":               `unknown command "usre"`,
		"user":                    `name a command of "user"`,
		"user lsit":               `name a command of "user"`,
		"help usre":               `no help about "usre"`,
		"user show":               "needs 1 argument, and got 0",
		"user show a b":           "needs 1 argument, and got 2",
		"user list x":             "needs 0 arguments, and got 1",
		"user list -nonsense":     "not defined: -nonsense",
		"key rotate k -overlap":   "needs an argument: -overlap",
		"user show -yes alice":    "not defined: -yes",
		"user disable -- -a b":    "needs 1 argument, and got 2",
		"key rotate k -overlap=x": "invalid value",
	} {
		out, text := runWithoutStore(t, authcmd.ExitUsage, line)
		require.Empty(t, out, line)
		require.Contains(t, text, problem, line)
		require.Contains(t, text, "Run 'sp help", line)
	}
}

func TestWrongValuesOfFlagsAreAUsageError(t *testing.T) {
	t.Parallel()
	f := newFixture(t, memstore.New())
	f.ok("init", "root")
	for _, line := range []string{
		"user list -kind robots", "user list -state disabled", "user list -search a\x00",
		"events -from yesterday", "events -to 1", "events -to 1969-01-01", "events -from 2026-01-02 -to 2026-01-02",
		"events -n 0", "user add a -expires yesterday",
		"user add a -expires 2020-01-01", "user add a -expires 0d", "user add a -expires -3h", "key add " +
			"root -expires 1x",
	} {
		_, problem := f.run(authcmd.ExitUsage, "", strings.Fields(line)...)
		require.Contains(t, problem, "Run 'sp help")
	}
	require.Len(t, strings.Split(f.ok("user", "list"), "\n"), 3, "no user was added")
}

func TestFlagsCanFollowTheArguments(t *testing.T) {
	t.Parallel()
	f := newFixture(t, memstore.New())
	f.ok("init", "root")
	f.ok("user", "add", "alice", "-email", "alice@example.com")
	for _, line := range []string{"user show alice -json", "user show -json alice", "user show -json -- " +
		"alice"} {
		require.Equal(t, "alice", decodeLines(t, f.ok(strings.Fields(line)...))[0]["username"])
	}
}

func TestOnlyHelpAndDoctorWorkIfTheStoreCannotBeOpened(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"user list", "prune", "revoke-everybody -yes", "init root"} {
		_, problem := runWithoutStore(t, authcmd.ExitFailed, line)
		require.Equal(t, "sp: not found\n", problem)
	}
	out, _ := runWithoutStore(t, authcmd.ExitFindings, "doctor")
	require.Contains(t, out, "open: The store could not be opened: not found.")
}

func TestAHostWithItsOwnUsersNamesThemByID(t *testing.T) {
	t.Parallel()
	f := newFixture(t, memstore.New())
	f.host.Store = memstore.NewAccounts()
	var err error
	f.host.Service, err = auth.NewWithUsers(f.host.Store, hostUsers{}, f.host.Config)
	require.NoError(t, err)
	require.NoError(t, f.signIn(f.object("key", "add", "u1")))
	require.Len(t, decodeLines(t, f.ok("session", "list", "u1", "-json")), 1)
	f.ok("session", "revoke-all", "id:u1")
	f.ok("doctor")
	for _, line := range []string{"user list", "user disable u1", "recover u1 -yes", "user delete u1 " +
		"-yes", "init root"} {
		f.run(authcmd.ExitFailed, "", strings.Fields(line)...)
	}
}

// hostUsers is the users table of a host, in which every ID exists.
type hostUsers struct{}

func (hostUsers) FindUser(_ context.Context, id string) (auth.User, error) {
	return auth.User{ID: id, Username: id, IsActive: true}, nil
}

func (hostUsers) ResolveGitHub(context.Context, auth.GitHubProfile, string) (string, error) {
	return "", auth.ErrNotFound
}
