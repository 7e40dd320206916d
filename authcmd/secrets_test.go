package authcmd_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/authcmd"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// TestNoSecretIsShownTwice runs every command, and looks for the secrets that commands have given out in
// everything else that commands, the log and the audit trail show.
func TestNoSecretIsShownTwice(t *testing.T) {
	t.Parallel()
	store, _ := openSQLite(t, "")
	f := newFixture(t, store, healthyConfig, func(cfg *auth.Config) {
		cfg.Credentials.AllowImported = true
		cfg.Credentials.Peppers = append(cfg.Credentials.Peppers, auth.NoPepper())
	})
	f.ok("init", "root")
	made := f.object("user", "add", "alice")
	key := f.object("key", "add", "alice")["access_key"].(string)
	f.ok("key", "rotate", key, "-yes")
	f.ok("user", "reset", "alice", "-yes")
	f.ok("recover", "alice", "-yes")
	require.ErrorIs(t, f.signIn(made), auth.ErrInvalidCredentials)
	require.Len(t, f.secret, 6)
	for _, secret := range f.secret {
		for _, flags := range []string{"", " -revoke", " -json", " -revoke -json"} {
			f.run(authcmd.ExitOK, secret, strings.Fields("key find-leaked"+flags)...)
		}
	}
	f.run(authcmd.ExitFailed, "{\"username\":\""+f.secret[0]+"\"}\n", "import", "-")
	for _, command := range []string{"user list", "user show alice", "user export alice", "key list alice",
		"session list alice", "events -n 300", "events -json", "prune", "user disable alice", "help",
		"revoke-everybody -yes", "user delete alice -yes"} {
		f.ok(strings.Fields(command)...)
	}
	f.run(authcmd.ExitFindings, "", "doctor")
	for i, secret := range f.secret {
		require.NotContains(t, f.shown.String(), secret, "secret %d", i)
		require.NotContains(t, f.log.String(), secret, "secret %d", i)
	}
}

func TestASecretInTheArgumentsIsRefusedAndNotRepeated(t *testing.T) {
	t.Parallel()
	store, _ := openSQLite(t, "")
	f := newFixture(t, store, func(cfg *auth.Config) {
		cfg.Credentials.AccessSecretPrefix, cfg.Credentials.AccessKeyPrefix = "shop_secret", "shop_key"
	})
	f.ok("init", "root")
	secret := f.secret[0]
	require.True(t, strings.HasPrefix(secret, "shop_secret_"))
	for _, line := range []string{"key find-leaked " + secret, "key revoke " + secret, "user show x" + secret,
		secret, "help " + secret, "user add bob -label=" + secret, "user list -" + secret} {
		out, problem := f.run(authcmd.ExitUsage, "", strings.Fields(line)...)
		require.NotContains(t, out+problem, secret)
		require.Contains(t, problem, "treat the secret as leaked")
	}
	complete := f.host
	f.host = authcmd.Host{Name: "sp", Open: func(context.Context, string) (authcmd.Host, error) {
		return complete, nil
	}}
	_, problem := f.run(authcmd.ExitUsage, "", "user", "show", secret)
	require.NotContains(t, problem, secret)
	// The default prefix is refused, too, even if there is no service.
	other := "as_live_" + strings.Repeat("a", 69)
	got := authcmd.Run(t.Context(), authcmd.Host{Name: "sp"}, []string{"key", "revoke", other},
		authcmd.Stdio{In: strings.NewReader(""), Out: f.shown, Err: f.shown})
	require.Equal(t, authcmd.ExitUsage, got)
	require.NotContains(t, f.shown.String(), other)
}

func TestANameThatControlsATerminalIsNotShownAsItIs(t *testing.T) {
	t.Parallel()
	const hostile = "eve\x1b[2J\r\n\u202eroot\u009b2J\x7f\U000e0041"
	f := newFixture(t, hostileStore{memstore.New(), hostile})
	for _, line := range []string{
		"user list", "user show id:u1", "session list id:u1", "events", "user show twin",
		"user list -json", "user show id:u1 -json", "session list id:u1 -json", "events -json",
		"user export id:u1", "user list -\x1b[2J", "user list -kind=\x1b[2J", "import \x1b[2J",
	} {
		var shown strings.Builder
		authcmd.Run(t.Context(), f.host, strings.Fields(line),
			authcmd.Stdio{In: strings.NewReader(""), Out: &shown, Err: &shown})
		for _, control := range []string{"\x1b", "\r", "\u202e", "eve\n", "\u009b", "\x7f", "\U000e0041"} {
			require.NotContains(t, shown.String(), control, line)
		}
		if strings.HasSuffix(line, " -json") {
			require.Contains(t, shown.String(), `eve\u001b[2J\r\n\u202eroot\u009b2J\u007f\udb40\udc41`, line)
			decodeLines(t, shown.String())
		}
	}
}

// hostileStore is a store of a host whose texts nobody has validated.
type hostileStore struct {
	*memstore.Store
	text string
}

func (s hostileStore) user(id string) auth.User {
	return auth.User{ID: id, Username: s.text, Email: "twin", IsActive: true}
}

func (s hostileStore) FindUser(_ context.Context, id string) (auth.User, error) {
	return s.user(id), nil
}

func (s hostileStore) ListUsers(context.Context, auth.UserQuery) ([]auth.User, error) {
	return []auth.User{s.user("u1"), s.user("u2")}, nil
}

func (s hostileStore) ListSessions(context.Context, string, time.Time) ([]auth.Session, error) {
	return []auth.Session{{ID: "s1", UserAgent: s.text, Address: s.text}}, nil
}

func (s hostileStore) ListEvents(context.Context, auth.EventFilter, int) ([]auth.Event, error) {
	return []auth.Event{{Kind: eventkind.UserChanged, UserID: s.text, Reason: s.text}}, nil
}

// brokenPipe is an output whose reader has gone.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestASecretThatCannotBeWrittenCanBeReplaced(t *testing.T) {
	t.Parallel()
	f := newFixture(t, memstore.New())
	again := regexp.MustCompile(`run 'sp ((?:recover|user reset) id:[A-Z2-7]{26})'`)
	for _, args := range [][]string{
		{"init", "root"}, {"user", "add", "alice"}, {"user", "add", "bob smith"}, {"user", "add", "id:bob"},
	} {
		problem := f.fails(brokenPipe{}, "", args...)
		require.Contains(t, problem, "the change was made")
		command := again.FindStringSubmatch(problem)
		require.NotNil(t, command, problem)
		made := f.object(append(strings.Fields(command[1]), "-yes")...)
		require.NoError(t, f.signIn(made))
		require.Equal(t, args[len(args)-1], made["user"].(map[string]any)["username"])
	}
}

// The operator must not replace a secret that is in the file.
func TestASecretInAFileIsNotLostIfTheOutputIsNotRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t, memstore.New())
	for _, flags := range [][]string{nil, {"-json"}} {
		file := filepath.Join(t.TempDir(), "alice.env")
		args := append([]string{"user", "add", fmt.Sprint("alice", len(flags)), "-secret-file", file},
			flags...)
		problem := f.fails(brokenPipe{}, "", args...)
		require.Contains(t, problem,
			"the change was made, and the secret is in "+file+", but this could not be written")
		require.NotContains(t, problem, "user reset")
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		pair := secretLine.FindStringSubmatch(string(text))
		key := regexp.MustCompile(`access_key=(\S+)`).FindStringSubmatch(string(text))
		require.NoError(t, f.signIn(map[string]any{"access_key": key[1], "access_secret": pair[1]}))
	}
}
