package authcmd_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/authcmd"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/sqlstore"
)

// A variable of a script that is not set makes an empty value. It must not make a key without a limit.
func TestAnEmptyValueOfAFlagIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, memstore.New(), func(cfg *auth.Config) {
		cfg.Tokens.Scopes = []string{"reports:read"}
	})
	f.ok("init", "root")
	for _, args := range [][]string{
		{"user", "add", "bob", "-scopes", ""}, {"user", "add", "bob", "-scopes", " , "},
		{"user", "add", "bob", "-expires="}, {"user", "add", "bob", "-secret-file", ""},
		{"user", "add", "bob", "-service", "-audiences", ","}, {"key", "add", "root", "-scopes="},
		{"user", "reset", "root", "-yes", "-expires", ""}, {"events", "-user", ""}, {"user", "list", "-search", ""},
		{"events", "-user", "id:"}, {"events", "-actor=id:"},
	} {
		_, problem := f.run(authcmd.ExitUsage, "", args...)
		require.Contains(t, problem, "must not be empty", args)
	}
	require.Len(t, decodeLines(t, f.ok("key", "list", "root", "-json")), 1)
	require.Len(t, decodeLines(t, f.ok("user", "list", "-json")), 1)
}

func TestAValueThatTheServiceRefusesIsAUsageError(t *testing.T) {
	t.Parallel()
	f := newFixture(t, memstore.New())
	key := f.object("init", "root")["access_key"].(string)
	for problem, args := range map[string][]string{
		"username must not have control":    {"user", "add", "a\x1bb"},
		"username is required":              {"user", "add", ""},
		"label must be at most":             {"key", "add", "root", "-label", strings.Repeat("x", 300)},
		"email must":                        {"user", "add", "bob", "-email", "nobody"},
		"scopes must be left out":           {"key", "add", "root", "-scopes", "reports:read"},
		"-overlap must be from 0 to 168h":   {"key", "rotate", key, "-overlap", "169h"},
		"-overlap must be from 0 to 168h: ": {"key", "rotate", key, "-overlap", "-1s"},
	} {
		_, got := f.run(authcmd.ExitUsage, "", args...)
		require.Contains(t, got, strings.TrimSuffix(problem, ": "))
	}
	require.Len(t, decodeLines(t, f.ok("key", "list", "root", "-json")), 1)
}

func TestAKeyWhoseEarlierSecretWorksIsNotRotatedAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t, memstore.New())
	key := f.object("init", "root")["access_key"].(string)
	f.ok("key", "rotate", key, "-overlap", "1h")
	_, problem := f.run(authcmd.ExitFailed, "", "key", "rotate", key, "-yes")
	require.Contains(t, problem, "the earlier secret of this key still works: rotate the key again when")
}

func TestATakenNameIsSaidInWords(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, store auth.AccountStore) {
		f := newFixture(t, store)
		f.ok("user", "add", "alice", "-email", "alice@example.com")
		for _, line := range []string{"user add ALICE", "user add bob -email alice@example.com"} {
			_, problem := f.run(authcmd.ExitFailed, "", strings.Fields(line)...)
			require.Contains(t, problem, "the username or the e-mail address is taken: choose another")
		}
	})
}

func TestAPasswordInTheArgumentsIsRefusedAndNotRepeated(t *testing.T) {
	t.Parallel()
	f := newFixture(t, memstore.New())
	for _, dsn := range []string{
		"postgres://app:hunter2@db.example.com/app", "app:hunter2@tcp(127.0.0.1:3306)/app",
	} {
		for _, args := range [][]string{
			{dsn, "user", "list"}, {"user", "list", dsn}, {"user", "list", "-" + dsn},
		} {
			_, problem := f.run(authcmd.ExitUsage, "", args...)
			require.NotContains(t, problem, "hunter2")
			require.Contains(t, problem, "change the password")
		}
	}
	f.ok("user", "add", "alice", "-label", "for https://alice@example.com:8443/a") // no password
}

func TestAnImportThatCannotBeginDoesNotAskToContinue(t *testing.T) {
	t.Parallel()
	f := newFixture(t, memstore.New())
	out, problem := f.run(authcmd.ExitFailed, "", "import", "-")
	require.Empty(t, out)
	require.Contains(t, problem, "needs Credentials.AllowImported in the configuration: nothing was changed")
}

// failingStore is a store in which removing expired keys and checking one secret fails.
type failingStore struct {
	*sqlstore.Store
	broken string // an access key that cannot be read
}

var errAway = errors.New("the database is away")

func (failingStore) PruneKeys(context.Context, time.Time, int) (int, error) { return 0, errAway }

func (s failingStore) FindKey(ctx context.Context, id string) (auth.AccessKey, auth.User, error) {
	if s.broken != "" && strings.HasPrefix(id, s.broken) {
		return auth.AccessKey{}, auth.User{}, errAway
	}
	return s.Store.FindKey(ctx, id)
}

func TestAPruneThatFailsSaysWhatItHasRemoved(t *testing.T) {
	t.Parallel()
	store, db := openSQLite(t, "")
	f := newFixture(t, failingStore{Store: store})
	require.NoError(t, f.signIn(f.object("init", "root")))
	_, err := db.ExecContext(t.Context(), `UPDATE auth_sessions SET expires_at = 1`)
	require.NoError(t, err)
	_, problem := f.run(authcmd.ExitFailed, "", "prune")
	require.Contains(t, problem, "removed 1 record before this error; run prune again")
}

// clockBehind is a store whose database has a clock that is behind that of the program.
type clockBehind struct{ *sqlstore.Store }

func (clockBehind) DatabaseTime(context.Context) (time.Time, error) {
	return time.Now().Add(-time.Hour), nil
}

func TestAPruneSaysThatTheClockIsAhead(t *testing.T) {
	t.Parallel()
	store, _ := openSQLite(t, "")
	_, problem := newFixture(t, clockBehind{store}).run(authcmd.ExitFailed, "", "prune")
	require.Contains(t, problem, "sp: pruning: the clock of this machine is 1h0m0s ahead of the clock of "+
		"the database, so records that have not expired would be removed")
}

func TestFindLeakedSaysThatItRevokedSomeKeysAlthoughItFailed(t *testing.T) {
	t.Parallel()
	store, _ := openSQLite(t, "")
	f := newFixture(t, store)
	first, second := f.object("user", "add", "alice"), f.object("user", "add", "bob")
	found := first["access_secret"].(string) + "\n" + second["access_secret"].(string)
	f.host.Store = failingStore{store, second["access_key"].(string)}
	f.change(func(*auth.Config) {})
	out, problem := f.run(authcmd.ExitFailed, found, "key", "find-leaked", "-revoke")
	require.Contains(t, out, "secret 1: revoked the key "+first["access_key"].(string))
	require.Contains(t, problem, "secret 2: ")
	require.Contains(t, problem, "the keys that the output names as revoked were revoked")
}
