package authcmd_test

import (
	"encoding/json"
	"fmt"
	"os/user"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// Each command that changes something has one event, and a command that only reads has none.
func TestEachChangeIsOneEventWithTheHostAndTheOperator(t *testing.T) {
	t.Parallel()
	operator, err := user.Current()
	require.NoError(t, err)
	onStores(t, func(t *testing.T, store auth.AccountStore) {
		f := newFixture(t, store, func(cfg *auth.Config) { cfg.Credentials.AllowImported = true })
		known := map[string]bool{} // the IDs of events
		newest := func() (events []map[string]any) {
			for _, event := range decodeLines(t, f.ok("events", "-json", "-n", "500")) {
				if id := event["id"].(string); !known[id] {
					known[id] = true
					events = append(events, event)
				}
			}
			return events
		}
		run := func(kind, host, input, line string) map[string]any {
			t.Helper()
			out, _ := f.run(0, input, append(strings.Fields(line), "-json")...)
			events := newest()
			if kind == "" {
				require.Empty(t, events, line)
			} else {
				require.Len(t, events, 1, line)
				require.Equal(t, kind, events[0]["kind"], line)
				require.Equal(t, host, events[0]["host"], line)
				require.Equal(t, "authcmd, run by "+operator.Username, events[0]["user_agent"], line)
				require.Nil(t, events[0]["actor_id"], line)
			}
			return decodeOne(out)
		}
		const command = "authcmd"
		run("super_user.bootstrapped", "auth.Bootstrap", "", "init root")
		made := run("user.created", command, "", "user add alice")
		for _, change := range []string{"disable", "enable", "promote", "demote"} {
			run("user.changed", command, "", "user "+change+" alice")
		}
		require.NoError(t, f.signIn(made))
		newest()
		session := run("", "", "", "session list alice")["id"].(string)
		run("session.revoked", command, "", "session revoke "+session)
		run("user.sessions_revoked", command, "", "session revoke-all alice")
		run("everybody.sessions_revoked", command, "", "revoke-everybody -yes")
		key := run("key.issued", command, "", "key add alice")["access_key"].(string)
		secret := run("key.rotated", command, "", "key rotate -yes "+key)["access_secret"].(string)
		run("", "", secret, "key find-leaked")
		run("key.leaked", "auth.RevokeLeaked", secret, "key find-leaked -revoke")
		run("key.revoked", command, "", "key revoke -yes "+made["access_key"].(string))
		run("user.reset", command, "", "user reset alice -yes")
		run("super_user.recovered", "auth.RecoverSuperUser", "", "recover alice -yes")
		for _, line := range []string{"user list", "user show alice", "key list alice", "user export alice",
			"session list alice", "prune"} {
			run("", "", "", line)
		}
		line := fmt.Sprintf(`{"username":"bob","keys":[{"access_key":"old-bob","sha256":"%s"}]}`, importedHash)
		run("user.imported", command, line, "import -vouch-for-sha256 -")
		run("user.deleted", command, "", "user delete alice -yes")
	})
}

// decodeOne returns the object in the first line, or nil if it has none.
func decodeOne(out string) map[string]any {
	line, _, _ := strings.Cut(out, "\n")
	var object map[string]any
	if json.Unmarshal([]byte(line), &object) != nil {
		return nil
	}
	return object
}
