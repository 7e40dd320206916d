package authcmd_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/authcmd"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/sqlstore"
)

// setStore is a store whose database has other settings than the real one.
type setStore struct {
	*sqlstore.Store
	settings map[string]string
}

func (s setStore) Settings(context.Context) (map[string]string, error) { return s.settings, nil }

// TestDoctorKnowsWhichValuesOfSettingsAreSafe covers the values that the tests cannot give a server.
func TestDoctorKnowsWhichValuesOfSettingsAreSafe(t *testing.T) {
	t.Parallel()
	store, db := openSQLite(t, "&_pragma=synchronous(FULL)")
	p := newPatient(t, store, db)
	for _, c := range []struct {
		safe map[string]string
		bad  map[string]map[string]string // the checks that report a value, by setting and value
	}{
		{
			map[string]string{"journal_mode": "wal", "synchronous": "2", "read_uncommitted": "0", "file": "/app.db"},
			map[string]map[string]string{
				"synchronous":      {"0": "durability", "1": "durability"},
				"journal_mode":     {"delete": "journal-mode", "memory": "journal-mode"},
				"read_uncommitted": {"1": "isolation"},
				"file":             {"": "durability"},
			},
		},
		{
			map[string]string{"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on",
				"transaction_read_only": "off", "server_version": "17.1"},
			map[string]map[string]string{
				"fsync":              {"off": "durability"},
				"full_page_writes":   {"off": "durability"},
				"synchronous_commit": {"off": "durability"},
			},
		},
		{
			map[string]string{"innodb_flush_log_at_trx_commit": "1", "innodb_doublewrite": "ON", "log_bin": "ON",
				"sync_binlog": "1", "tx_isolation": "REPEATABLE-READ", "read_only": "OFF", "version": "11"},
			map[string]map[string]string{
				"innodb_flush_log_at_trx_commit": {"0": "durability", "2": "durability"},
				"innodb_doublewrite":             {"OFF": "durability"},
				"sync_binlog":                    {"0": "durability", "100": "durability"},
				"tx_isolation":                   {"READ-UNCOMMITTED": "isolation"},
				"transaction_isolation":          {"READ-UNCOMMITTED": "isolation"},
			},
		},
	} {
		p.host.Store = setStore{store, c.safe}
		require.Empty(t, p.findings())
		for name, values := range c.bad {
			for value, check := range values {
				settings := maps.Clone(c.safe)
				settings[name] = value
				p.host.Store = setStore{store, settings}
				found := p.findings()
				require.Len(t, found, 1, "%s=%s", name, value)
				require.Equal(t, check, found[0]["check"])
				require.Contains(t, found[0]["problem"], name+" of the database is \""+value+"\"")
			}
		}
	}
	// Without a binary log, sync_binlog does not matter.
	p.host.Store = setStore{store, map[string]string{"log_bin": "OFF", "sync_binlog": "0"}}
	require.Empty(t, p.findings())
}

func TestDoctorWritesNothingAboutAHealthyStore(t *testing.T) {
	t.Parallel()
	store, db := openSQLite(t, "&_pragma=synchronous(FULL)")
	p := newPatient(t, store, db)
	require.Empty(t, p.ok("doctor"))
	require.Empty(t, p.ok("doctor", "-json"))
}

// A key that only decrypts or verifies may be old, and a pepper cannot be replaced before all its users have
// signed in. If nobody knows when a key was made, doctor does not guess.
func TestDoctorIsSilentAboutKeysThatMayBeOld(t *testing.T) {
	t.Parallel()
	store, db := openSQLite(t, "&_pragma=synchronous(FULL)")
	p := newPatient(t, store, db)
	p.change(func(cfg *auth.Config) {
		cfg.SigningKeys = append(cfg.SigningKeys, newHS256(authtest.Random(32)))
		cfg.SealingKeys = append(cfg.SealingKeys, newSymmetric("sealing-0"))
	})
	inUse := []string{p.host.Config.SigningKeys[0].ID(), p.host.Config.SealingKeys[0].Info().ID}
	year := 365 * 24 * time.Hour
	for name, createdAt := range map[string]func(auth.KeyInfo) time.Time{
		"nothing is known": nil,
		"no time is known": func(auth.KeyInfo) time.Time { return time.Time{} },
		"the keys in use are not older than a year": func(key auth.KeyInfo) time.Time {
			if slices.Contains(inUse, key.ID) {
				return time.Now().Add(time.Minute - year)
			}
			return time.Now().Add(-10 * year)
		},
	} {
		p.host.KeyCreatedAt = createdAt
		require.Empty(t, p.findings(), name)
	}
}

func TestDoctorIsSilentAboutImportedKeysThatWork(t *testing.T) {
	t.Parallel()
	store, db := openSQLite(t, "&_pragma=synchronous(FULL)")
	p := newPatient(t, store, db)
	p.change(func(cfg *auth.Config) {
		cfg.Credentials.AllowImported = true
		cfg.Credentials.Peppers = append(cfg.Credentials.Peppers, auth.NoPepper())
	})
	line := `{"username":"bob","keys":[{"access_key":"old-bob","sha256":"` + importedHash + `"}]}`
	p.run(authcmd.ExitOK, line, "import", "-vouch-for-sha256", "-")
	require.Empty(t, p.findings())
}
