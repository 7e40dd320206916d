package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/keyfile"
)

// Sallyport does not know the service's AuditRetention unless the configuration has it. The default of the
// library would make prune remove events that the service keeps.
func TestPruneKeepsTheEventsOfAServiceWhoseRetentionIsNotKnown(t *testing.T) {
	t.Parallel()
	onDatabases(t, func(t *testing.T, env []string) {
		execute(t, 0, env, "", "init", "root")
		dsn := strings.TrimPrefix(env[0], "SALLYPORT_DSN=")
		age(t, dsn, 2*365*24*time.Hour)
		execute(t, 0, env, "", "prune")
		events, _ := execute(t, 0, env, "", "events", "-json")
		require.Equal(t, 1, strings.Count(events, "\n"))

		path := filepath.Join(t.TempDir(), "sallyport.json")
		text := fmt.Appendf(nil, `{"dsn":%q,"audit_retention":"365d"}`, dsn)
		require.NoError(t, os.WriteFile(path, text, 0o600))
		out, _ := execute(t, 0, []string{"SALLYPORT_CONFIG=" + path}, "", "prune")
		require.Equal(t, "removed 1 record\n", out)
	})
}

// age makes all events of the database older.
func age(t *testing.T, dsn string, by time.Duration) {
	t.Helper()
	execSQL(t, dsn, fmt.Sprintf(`UPDATE auth_events SET at = at - %d`, by.Microseconds()))
}

func TestDurationsOfTheConfiguration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"90d": 90 * 24 * time.Hour, "12h": 12 * time.Hour, "1h30m": 90 * time.Minute,
		"": 0, "0d": 0, "-3h": 0, "0": 0, "d": 0, "1.5d": 0, "99999d": 0, "90": 0,
		"65535d": maxLifetime, "1572840h": maxLifetime, "65536d": 0, "1572841h": 0,
	} {
		var got lifetime
		err := got.UnmarshalText([]byte(text))
		require.Equal(t, lifetime(want), got, text)
		require.Equal(t, want == 0, err != nil, text)
		if err != nil {
			require.EqualError(t, err, "a duration must be positive and at most 65535d, such as 90d or 12h")
		}
	}
}

// A service whose tokens are valid for 30 days still needs a key that was retired 10 days ago.
func TestDoctorDoesNotRemoveARetiredKeyBecauseALifetimeIsNotKnown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys := []map[string]any{}
	for _, name := range []string{"present", "retired"} {
		path := filepath.Join(dir, name)
		_, err := keyfile.ReadOrCreate(path, nil)
		require.NoError(t, err)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		var ring map[string]any
		require.NoError(t, json.Unmarshal(text, &ring))
		keys = append(keys, ring)
	}
	retired := keys[1]["signing_keys"].([]any)[0].(map[string]any)
	retired["sallyport_retired_at"] = time.Now().AddDate(0, 0, -10).Unix()
	keys[0]["signing_keys"] = append(keys[0]["signing_keys"].([]any), retired)
	write := func(name string, value any) string {
		text, err := json.Marshal(value)
		require.NoError(t, err)
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, text, 0o600))
		return path
	}
	cfg := map[string]any{"dsn": "file:" + filepath.Join(dir, "app.db"), "keys_file": write("keys", keys[0])}
	env := func() []string { return []string{"SALLYPORT_CONFIG=" + write("sallyport.json", cfg)} }
	execute(t, 0, env(), "", "init", "root")
	execute(t, 0, env(), "", "doctor")
	cfg["max_token_lifetime"] = "30d"
	execute(t, 0, env(), "", "doctor")
	cfg["max_token_lifetime"] = "24h"
	found, _ := execute(t, 3, env(), "", "doctor")
	require.Contains(t, found, "its last token has expired")
	delete(cfg, "max_token_lifetime")
	cfg["name_retention"] = "9d" // so the tokens of the service are valid for at most as long
	found, _ = execute(t, 3, env(), "", "doctor")
	require.Contains(t, found, "its last token has expired")
}
