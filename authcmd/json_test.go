package authcmd_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/authcmd"
)

// documentedFields returns the fields of the objects of each command, as docs/command-line.md lists them.
func documentedFields(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile("../docs/command-line.md")
	require.NoError(t, err)
	_, table, found := strings.Cut(string(page), "| command | fields |\n|---|---|\n")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n\n")
	quoted, note := regexp.MustCompile("`([^`]+)`"), regexp.MustCompile(`\([^)]*\)`)
	fields := map[string][]string{}
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		for _, command := range quoted.FindAllStringSubmatch(cells[1], -1) {
			for _, field := range quoted.FindAllStringSubmatch(note.ReplaceAllString(cells[2], ""), -1) {
				more := []string{field[1]}
				if listed, ok := fields[field[1]]; ok {
					more = listed // "the fields of user list"
				}
				fields[command[1]] = append(fields[command[1]], more...)
			}
		}
	}
	return fields
}

func TestTheFieldsOfJSONAreThoseOfTheDocumentation(t *testing.T) {
	t.Parallel()
	store, db := openSQLite(t, "&_pragma=synchronous(FULL)")
	p := newPatient(t, store, db)
	p.change(func(cfg *auth.Config) {
		cfg.Credentials.AllowImported, cfg.Tokens.Scopes = true, []string{"reports:read"}
		cfg.Tokens.Audiences = []string{"https://reports.example.com"}
		cfg.Credentials.Peppers = append(cfg.Credentials.Peppers, auth.NoPepper())
	})
	documented := documentedFields(t)
	seen := map[string]map[string]bool{}
	run := func(input, command string, args ...string) []map[string]any {
		var out, problem strings.Builder
		code := authcmd.Run(t.Context(), p.host, append(strings.Fields(command), append(args, "-json")...),
			authcmd.Stdio{In: strings.NewReader(input), Out: &out, Err: &problem})
		require.Contains(t, []int{authcmd.ExitOK, authcmd.ExitFindings}, code, "%s: %s", command, &problem)
		objects := decodeLines(t, out.String())
		require.NotEmpty(t, objects, command)
		if seen[command] == nil {
			seen[command] = map[string]bool{}
		}
		for _, object := range objects {
			for field := range object {
				require.Contains(t, documented[command], field, command)
				seen[command][field] = true
			}
		}
		return objects
	}

	added := run("", "user add", "carol", "-email", "carol@example.com", "-label", "laptop",
		"-expires", "90d", "-scopes", "reports:read")[0]
	require.NoError(t, p.signIn(added))
	run("", "user add", "robot", "-service", "-audiences", "https://reports.example.com", "-secret-file",
		t.TempDir()+"/robot.env")
	key := run("", "key add", "carol", "-must-rotate")[0]["access_key"].(string)
	run("", "key list", "carol")
	run("", "key rotate", key, "-yes")
	run("", "key revoke", key, "-yes")
	run("", "user list")
	run("", "user show", "root")
	run("", "user show", "carol")
	for _, command := range []string{"user disable", "user enable", "user promote", "user demote"} {
		run("", command, "carol")
	}
	run("", "user reset", "alice", "-yes")
	require.NoError(t, p.signIn(run("", "recover", "carol", "-yes")[0]))
	session := run("", "session list", "carol")[0]["id"].(string)
	run("", "session revoke", session)
	run("", "session revoke-all", "carol")
	run("", "revoke-everybody", "-yes")
	run(added["access_secret"].(string), "key find-leaked")
	run("", "prune")
	run("{}\n", "doctor") // the audience of an ES256 key is no fault, but the unneeded NoPepper is
	line := `{"username":"bob","keys":[{"access_key":"old-bob","sha256":"` + importedHash + `"}]}`
	run(line, "import", "-vouch-for-sha256", "-")
	run("", "user delete", "carol", "-yes")
	// seenOfAny is enough, because commands share their objects.
	seenOfAny := func(field string) bool {
		for _, fields := range seen {
			if fields[field] {
				return true
			}
		}
		return false
	}
	// This test makes no such objects.
	optional := []string{"admitted_at", "created_by", "user_agent", "ip", "audience"}
	for command := range seen {
		for _, field := range documented[command] {
			if !slices.Contains(optional, field) {
				require.True(t, seenOfAny(field), "%s has no field %s", command, field)
			}
		}
	}
	for _, command := range allCommands { // events.md and export.md have the fields of two
		if command == "events" || command == "user export" {
			continue
		}
		require.NotEmpty(t, documented[command], command)
	}
}
