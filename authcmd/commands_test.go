package authcmd_test

import (
	"encoding/json"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/authcmd"
	"github.com/sallyport-go/auth/memstore"
)

func TestTheCommandsWorkOnEachStore(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, store auth.AccountStore) {
		f := newFixture(t, store)
		root := f.object("init", "root", "-email", "root@example.com")
		require.NoError(t, f.signIn(root))
		f.run(authcmd.ExitFailed, "", "init", "second")

		made := f.object("user", "add", "alice", "-email=alice@example.com", "-label", "laptop",
			"-expires", "90d")
		require.NoError(t, f.signIn(made))
		alice := made["user"].(map[string]any)["user_id"].(string)
		for _, name := range []string{"alice", "ALICE", "alice@Example.com", alice, "id:" + alice,
			"name:alice",
			"email:alice@example.com"} {
			shown := f.object("user", "show", name)
			require.Equal(t, alice, shown["user_id"], name)
			require.EqualValues(t, 1, shown["sessions"])
		}
		require.Len(t, decodeLines(t, f.ok("user", "list", "-json")), 2)
		require.Len(t, decodeLines(t, f.ok("user", "list", "-super", "-json")), 1)

		require.Equal(t, false, f.object("user", "disable", "alice")["is_active"])
		require.ErrorIs(t, f.signIn(made), auth.ErrInvalidCredentials)
		require.Equal(t, true, f.object("user", "enable", "alice")["is_active"])
		require.NoError(t, f.signIn(made))
		require.Equal(t, true, f.object("user", "promote", "alice")["is_super_user"])
		require.Equal(t, false, f.object("user", "demote", "alice")["is_super_user"])
		_, problem := f.run(authcmd.ExitFailed, "", "user", "demote", "root")
		require.Contains(t, problem, "make another user a super user first")

		second := f.object("key", "add", "alice", "-label", "ci")
		key := second["access_key"].(string)
		require.Len(t, decodeLines(t, f.ok("key", "list", "alice", "-json")), 2)
		rotated := f.object("key", "rotate", key, "-yes")
		require.ErrorIs(t, f.signIn(second), auth.ErrInvalidCredentials)
		require.NoError(t, f.signIn(rotated))
		require.Equal(t, "revoked", f.object("key", "revoke", key, "-yes")["status"])
		require.ErrorIs(t, f.signIn(rotated), auth.ErrInvalidCredentials)

		sessions := decodeLines(t, f.ok("session", "list", "alice", "-json"))
		require.Len(t, sessions, 1)
		f.ok("session", "revoke", sessions[0]["id"].(string))
		f.run(authcmd.ExitFailed, "", "session", "revoke", sessions[0]["id"].(string))
		require.NoError(t, f.signIn(made))
		require.EqualValues(t, 1, f.object("session", "revoke-all", "alice")["revoked_count"])
		require.NoError(t, f.signIn(made))
		f.ok("revoke-everybody", "-yes")
		require.Empty(t, f.ok("session", "list", "alice", "-json"))

		exported := map[string]any{}
		require.NoError(t, json.Unmarshal([]byte(f.ok("user", "export", "alice")), &exported))
		f.object("prune")

		reset := f.object("user", "reset", "alice", "-yes")
		require.ErrorIs(t, f.signIn(made), auth.ErrInvalidCredentials)
		require.NoError(t, f.signIn(reset))
		f.ok("user", "delete", "alice", "-yes")
		f.run(authcmd.ExitFailed, "", "user", "show", "alice")

		// Every change is in the audit trail, with the operating system's user as a label.
		operator, err := user.Current()
		require.NoError(t, err)
		events := decodeLines(t, f.ok("events", "-user", alice, "-json", "-n", "300"))
		require.Greater(t, len(events), 10)
		for _, event := range events {
			if event["host"] == nil {
				continue // a sign-in
			}
			require.Equal(t, "authcmd", event["host"], event)
			require.Contains(t, f.ok("events", "-user", alice, "-n", "300"), "authcmd, run by "+
				""+operator.Username)
		}
		require.Len(t, decodeLines(t, f.ok("events", "-kind", "user.deleted", "-json")), 1)
	})
}

func TestUsersAreListedByNameAndState(t *testing.T) {
	t.Parallel()
	f := newFixture(t, memstore.New())
	f.ok("init", "root")
	for _, line := range []string{
		"zoe -email quinn@example.com", "Quinn", "quinn-ci -service", "quinn% -super",
	} {
		f.ok(append([]string{"user", "add"}, strings.Fields(line)...)...)
	}
	f.ok("user", "disable", "Quinn")
	for flags, want := range map[string][]string{
		"-search quinn":                             {"Quinn", "quinn%", "quinn-ci", "zoe"},
		"-search QUINN -state active":               {"quinn%", "quinn-ci", "zoe"},
		"-search quinn -kind person -state active":  {"quinn%", "zoe"},
		"-search quinn -super":                      {"quinn%"},
		"-search quinn -super -kind service":        nil,
		"-search quinn%":                            {"quinn%"},
		"-state inactive":                           {"Quinn"},
		"-state inactive -super":                    nil,
		"-search quinn@example.com -state inactive": nil,
	} {
		var names []string
		list := append([]string{"user", "list", "-json"}, strings.Fields(flags)...)
		for _, user := range decodeLines(t, f.ok(list...)) {
			names = append(names, user["username"].(string))
		}
		require.Equal(t, want, names, flags)
	}
}

func TestEventsAreListedByTime(t *testing.T) {
	t.Parallel()
	f := newFixture(t, memstore.New())
	f.ok("init", "root")
	at := decodeLines(t, f.ok("events", "-json"))[0]["at"].(string)
	for flags, want := range map[string]int{
		"-from " + at: 1, "-to " + at: 0, "-from 1970-01-02": 1, "-from 9999-01-01": 0,
		"-from 1970-01-02T00:00:00+02:00 -to 9999-12-31": 1, "-to 1970-01-02": 0, "-user root -from " + at: 1,
	} {
		events := f.ok(append([]string{"events", "-json"}, strings.Fields(flags)...)...)
		require.Equal(t, want, strings.Count(events, "\n"), flags)
	}
}

func TestALostSuperUserIsRecoveredByName(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, store auth.AccountStore) {
		f := newFixture(t, store)
		lost := f.object("init", "root")
		found := f.object("recover", "root", "-yes")
		require.ErrorIs(t, f.signIn(lost), auth.ErrInvalidCredentials)
		require.NoError(t, f.signIn(found))
		events := decodeLines(t, f.ok("events", "-kind", "super_user.recovered", "-json"))
		require.Len(t, events, 1)
	})
}

// Without the peppers, or with those of another service, the command would remove the keys that work and make
// one that does not.
func TestNoUserLosesAllKeysBecauseThePeppersAreMissing(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, store auth.AccountStore) {
		f := newFixture(t, store, func(cfg *auth.Config) {
			cfg.Credentials.Peppers = []auth.SymmetricKey{newSymmetric("pepper-1")}
		})
		made, service := f.object("init", "root"), f.host
		key := made["access_key"].(string)
		for _, line := range []string{
			"recover root", "user reset root", "key rotate " + key, "key add root", "user add alice",
		} {
			for _, peppers := range [][]auth.SymmetricKey{nil, {newSymmetric("pepper-2")}} {
				f.change(func(cfg *auth.Config) { cfg.Credentials.Peppers = peppers })
				args := strings.Fields(line)
				if args[1] != "add" {
					args = append(args, "-yes")
				}
				_, problem := f.run(authcmd.ExitFailed, "", args...)
				require.Contains(t, problem, `the pepper "pepper-1"`)
				require.Contains(t, problem, "nothing was changed")
				f.host = service
				require.NoError(t, f.signIn(made), "the present key still works")
			}
		}
		require.Len(t, decodeLines(t, f.ok("user", "list", "-json")), 1)
		// The operator says that the peppers are lost.
		f.change(func(cfg *auth.Config) { cfg.Credentials.Peppers = []auth.SymmetricKey{auth.NoPepper()} })
		require.NoError(t, f.signIn(f.object("recover", "root", "-yes")))
	})
}

func TestAServiceUserIsNotRecovered(t *testing.T) {
	t.Parallel()
	f := newFixture(t, memstore.New())
	f.ok("user", "add", "robot", "-service")
	_, problem := f.run(authcmd.ExitFailed, "", "recover", "robot", "-yes")
	require.Contains(t, problem, "choose a person")
}

func TestAUsernameThatIsAnotherUsersIDOrEmailChangesNeitherUser(t *testing.T) {
	t.Parallel()
	f := newFixture(t, memstore.New())
	alice := f.object("user", "add", "alice", "-email", "alice@example.com")["user"].(map[string]any)
	id := alice["user_id"].(string)
	f.ok("user", "add", id)                  // an attacker's name is the ID of alice
	f.ok("user", "add", "alice@example.com") // and here, her e-mail address
	for _, ambiguous := range []string{id, "alice@example.com"} {
		for _, command := range []string{"user disable", "user promote", "session revoke-all", "key add",
			"user delete -yes", "recover -yes", "user reset -yes"} {
			_, problem := f.run(authcmd.ExitFailed, "", append(strings.Fields(command), ambiguous)...)
			require.Contains(t, problem, "matches several users")
			require.Contains(t, problem, "id:"+id)
		}
	}
	require.Equal(t, id, f.object("user", "show", "id:"+id)["user_id"])
	require.Equal(t, id, f.object("user", "show", "email:alice@example.com")["user_id"])
	require.NotEqual(t, id, f.object("user", "show", "name:alice@example.com")["user_id"])
	odd := f.object("user", "add", "email:x")["user"].(map[string]any)["user_id"]
	require.Equal(t, odd, f.object("user", "show", "name:email:x")["user_id"])
	for _, nobody := range []string{
		"", "name:", "email:", "id:", "a\x00", strings.Repeat("a", 300), "alic", "name:alic", "email:alice@",
	} {
		_, problem := f.run(authcmd.ExitFailed, "", "user", "show", nobody)
		require.Contains(t, problem, "no user", nobody)
	}
}

func TestFindLeakedNamesTheOwnerAndRevokesOnlyAWorkingSecret(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, store auth.AccountStore) {
		f := newFixture(t, store)
		made := f.object("user", "add", "alice")
		secret, key := made["access_secret"].(string), made["access_key"].(string)
		leaked := "2026 export SECRET=" + secret + "\n and again " + secret + "\n"

		out, _ := f.run(authcmd.ExitOK, leaked, "key", "find-leaked", "-json")
		found := decodeLines(t, out)
		require.Len(t, found, 1)
		require.Equal(t, "alice", found[0]["username"])
		require.Equal(t, key, found[0]["access_key"])
		require.Equal(t, "active", found[0]["status"])
		require.NoError(t, f.signIn(made), "without -revoke, nothing changes")

		rotated := f.object("key", "rotate", key, "-yes")
		out, _ = f.run(authcmd.ExitOK, leaked, "key", "find-leaked", "-revoke", "-json")
		require.Equal(t, "does not work", decodeLines(t, out)[0]["status"])
		require.NoError(t, f.signIn(rotated), "a secret that no longer works revokes nothing")

		out, _ = f.run(authcmd.ExitOK, rotated["access_secret"].(string), "key", "find-leaked",
			"-revoke", "-json")
		require.Equal(t, "revoked", decodeLines(t, out)[0]["status"])
		require.ErrorIs(t, f.signIn(rotated), auth.ErrInvalidCredentials)

		f.ok("user", "add", "bob") // whose key comes after the one that this secret names
		out, _ = f.run(authcmd.ExitOK, "as_live_"+strings.Repeat("0", 69), "key", "find-leaked", "-json")
		require.Equal(t, "unknown", decodeLines(t, out)[0]["status"])
		require.NotContains(t, out, "bob")

		_, problem := f.run(authcmd.ExitFailed, "nothing here", "key", "find-leaked")
		require.Contains(t, problem, "no access secret")
	})
}

func TestAChangeThatCannotBeUndoneNeedsAConfirmation(t *testing.T) {
	t.Parallel()
	f := newFixture(t, memstore.New())
	f.ok("init", "root")
	made := f.object("user", "add", "alice")
	for _, command := range []string{"recover alice", "user reset alice", "user delete " +
		"alice", "revoke-everybody",
		"key revoke " + made["access_key"].(string), "key rotate " + made["access_key"].(string)} {
		out, problem := f.run(authcmd.ExitUnconfirmed, "yes\n", strings.Fields(command)...)
		require.Empty(t, out)
		require.Contains(t, problem, "run the command again with -yes")
		require.NoError(t, f.signIn(made), command)
	}
	f.ok("key", "rotate", made["access_key"].(string), "-overlap", "24h") // the old secret works: no question
	require.NoError(t, f.signIn(made))
}

func TestASecretFileIsNewAndOnlyItsOwnerReadsIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t, memstore.New())
	path := filepath.Join(t.TempDir(), "alice.env")
	made := f.object("user", "add", "alice", "-secret-file", path)
	require.NotContains(t, made, "access_secret")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	secret := secretLine.FindStringSubmatch(string(text))[1]
	require.NoError(t, f.signIn(map[string]any{"access_key": made["access_key"], "access_secret": secret}))

	f.run(authcmd.ExitFailed, "", "user", "reset", "alice", "-yes", "-secret-file", path)
	unchanged, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, text, unchanged)
	require.NoError(t, f.signIn(map[string]any{"access_key": made["access_key"], "access_secret": secret}))

	missing := filepath.Join(t.TempDir(), "b.env")
	f.run(authcmd.ExitFailed, "", "user", "add", "alice", "-secret-file", missing) // the name is taken
	require.NoFileExists(t, missing)
}

func TestAnImportShowsRejectedLinesAndCanBeRepeated(t *testing.T) {
	t.Parallel()
	f := newFixture(t, memstore.New(), func(cfg *auth.Config) { cfg.Credentials.AllowImported = true })
	const hash = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	line := `{"username":"bob","keys":[{"access_key":"old-bob","sha256":"` + hash + `"}]}` + "\n"
	_, problem := f.run(authcmd.ExitFailed, line+"{}\n", "import", "-vouch-for-sha256", "-")
	require.Contains(t, problem, "line 2: ")
	require.NotContains(t, problem, "\r", "a pipe gets no progress bar")
	require.NotContains(t, problem, hash)
	path := filepath.Join(t.TempDir(), "users.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(line), 0o600))
	require.Equal(t, map[string]any{"added": 0.0, "present": 1.0, "rejected": 0.0}, f.object("import",
		"-vouch-for-sha256", path))
}
