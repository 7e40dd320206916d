package authcmd

import (
	"context"
	"errors"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
)

// checkDatabase checks what a [Database] tells about itself. It reports whether the store can read the
// tables.
func (d *doctor) checkDatabase(ctx context.Context, database Database) bool {
	if err := database.CheckTables(ctx); err != nil {
		d.add("tables", "Run the program with the version of the library that the instances have. If a "+
			"table was changed by hand, restore it from a backup.", "The tables are not those of this "+
			"version: %s.", message(err))
		return false
	}
	if err := database.CheckRights(ctx); err != nil {
		d.add("rights", "Grant SELECT, INSERT, UPDATE and DELETE on all tables of the store to the user "+
			"of the instances.", "The database user lacks a right: %s.", message(err))
	} else if err := database.CheckWritable(ctx); err != nil {
		d.add("writable", "Free disk space, or connect to the primary server.",
			"The database cannot commit a change: %s.", message(err))
	}
	d.checkClock(ctx, database)
	settings, err := database.Settings(ctx)
	if !d.failed("settings", err) {
		d.checkSettings(settings)
	}
	return true
}

// maxSkew is the difference of two clocks from which on doctor reports them.
const maxSkew = 2 * time.Second

func (d *doctor) checkClock(ctx context.Context, database Database) {
	before := d.now()
	at, err := database.DatabaseTime(ctx)
	after := d.now()
	if d.failed("clock", err) {
		return
	}
	skew := max(before.Sub(at), at.Sub(after))
	if skew > maxSkew {
		d.add("clock", "Synchronize the clocks of this machine, of the database and of all instances, "+
			"for example with NTP.", "The clock of the database shows %s, and the clock of this program "+
			"shows %s: they differ by %s.",
			date(at), date(after), skew.Round(time.Second))
	}
}

// checkInstanceClocks finds an instance whose clock is ahead by the newest event, because each event has
// the time of the instance that made the change.
func (d *doctor) checkInstanceClocks(ctx context.Context) {
	trail, ok := d.Store.(auth.EventStore)
	if !ok || d.Config.DisableAuditTrail {
		return
	}
	newest, err := trail.ListEvents(ctx, auth.EventFilter{}, 1)
	if d.failed("clock", err) || len(newest) == 0 {
		return
	}
	if ahead := newest[0].At.Sub(d.now()); ahead > maxSkew {
		d.add("clock", "Find the instance whose clock is wrong, and synchronize the clocks of all "+
			"instances, for example with NTP.", "The newest event, %s, has the time %s, which is %s "+
			"ahead of the clock of this program.",
			newest[0].Kind, date(newest[0].At), ahead.Round(time.Second))
	}
}

// settingRule says which value of a setting is a problem.
type settingRule struct {
	check, name string
	bad         func(value string, settings map[string]string) bool
	advice      string
}

const losesCommits = " A failure of the server or of its power can lose the latest commits: a session " +
	"or key that was revoked just before is then valid again."

func is(values ...string) func(string, map[string]string) bool {
	return func(value string, _ map[string]string) bool {
		for _, v := range values {
			if strings.EqualFold(value, v) {
				return true
			}
		}
		return false
	}
}

func isNot(good string) func(string, map[string]string) bool {
	return func(value string, _ map[string]string) bool { return !strings.EqualFold(value, good) }
}

var settingRules = []settingRule{
	{"durability", "synchronous", is("0", "1", "off", "normal"), // SQLite
		"Set synchronous to FULL in the data source name: _pragma=synchronous(FULL)." + losesCommits},
	{"durability", "file", is(""),
		"Use a database file. A database in memory ends with its program."},
	{"journal-mode", "journal_mode", func(value string, settings map[string]string) bool {
		return settings["file"] != "" && !strings.EqualFold(value, "wal")
	}, "Set journal_mode to WAL in the data source name: _pragma=journal_mode(WAL). Otherwise, readers " +
		"and writers wait for each other."},
	{"isolation", "read_uncommitted", is("1"),
		"Remove read_uncommitted and cache=shared from the data source name. With them, a read can see " +
			"changes that are rolled back later."},
	{"durability", "fsync", is("off"), // PostgreSQL
		"Set fsync to on." + losesCommits},
	{"durability", "full_page_writes", is("off"),
		"Set full_page_writes to on. A failure of the server can damage the tables."},
	{"durability", "synchronous_commit", is("off"),
		"Set synchronous_commit to on for the user of the store." + losesCommits},
	{"durability", "innodb_flush_log_at_trx_commit", isNot("1"), // MariaDB and MySQL
		"Set innodb_flush_log_at_trx_commit to 1." + losesCommits},
	{"durability", "innodb_doublewrite", is("off", "0"),
		"Set innodb_doublewrite to ON. A failure of the server can damage the tables."},
	{"durability", "sync_binlog", func(value string, settings map[string]string) bool {
		return strings.EqualFold(settings["log_bin"], "on") && value != "1"
	}, "Set sync_binlog to 1." + losesCommits},
	{"isolation", "tx_isolation", is("READ-UNCOMMITTED"), readUncommitted},
	{"isolation", "transaction_isolation", is("READ-UNCOMMITTED"), readUncommitted},
}

const readUncommitted = "Set the isolation level to READ-COMMITTED or REPEATABLE-READ, on the server or " +
	"in the data source name. With READ-UNCOMMITTED, a read can see changes that are rolled back later."

func (d *doctor) checkSettings(settings map[string]string) {
	for _, rule := range settingRules {
		value, ok := settings[rule.name]
		if ok && rule.bad(value, settings) {
			d.add(rule.check, rule.advice, "The setting %s of the database is %q.", rule.name, value)
		}
	}
}

// maxFeedRead is the duration of a read of the revocation feed from which on doctor reports it. Requests
// wait for such a read for at most a second.
const maxFeedRead = time.Second

func (d *doctor) checkFeed(ctx context.Context) {
	began := d.now()
	head, err := d.Store.RevocationHead(ctx)
	var entries []auth.Revocation
	if err == nil && head > 0 {
		// The newest entries are never pruned. So this read finds the entry, even if others were added since.
		entries, err = d.Store.ListRevocations(ctx, head, 1)
	}
	if d.failed("feed", err) {
		return
	}
	if head > 0 && (len(entries) == 0 || entries[0].Position != head) {
		d.add("feed", "Run revoke-everybody, because revoked sessions may be valid again. Then find out "+
			"which program or restore has removed the entry.",
			"The newest entry of the revocation feed, at the position %d, is missing.", head)
	}
	if took := d.now().Sub(began); took > maxFeedRead {
		d.add("feed-lag", "Find out why the database is slow. If a read takes longer than MaxStaleness, "+
			"instances accept no token.", "Reading the head of the revocation feed took "+
			"%s.", took.Round(time.Millisecond))
	}
	if age, accepts := d.Service.FeedAge(); age != math.MaxInt64 && !accepts {
		d.add("feed-lag", "Check that this program calls Service.Run, and that the store answers.",
			"This program last read the revocation feed %s ago, and accepts no "+
				"token.", age.Round(time.Second))
	}
}

// leadTime is how long before the expiry of a key doctor reports the key, as [auth.Service.Prune] does.
const leadTime = 14 * day

// pruneAfter is when an expired key must have been removed. [auth.Service.Prune] removes it after 30 days.
const pruneAfter = 32 * day

// maxNamed is how many keys doctor names.
const maxNamed = 5

func (d *doctor) checkAccessKeys(ctx context.Context) {
	now := d.now()
	expiring, old := 0, 0
	prefixes := map[string]int{} // of the generated keys
	for after := ""; ; {
		page, err := d.Store.ListAllKeys(ctx, after, pageSize)
		if d.failed("expiring-keys", err) {
			return
		}
		for _, key := range page {
			if parts := generatedKey.FindStringSubmatch(key.ID); parts != nil &&
				generatedHash.MatchString(key.Hash) {
				prefixes[parts[1]]++
			}
			switch {
			case key.ExpiresAt.IsZero():
			case now.Sub(key.ExpiresAt) > pruneAfter:
				old++
			case key.ExpiresAt.After(now) && key.ExpiresAt.Sub(now) <= leadTime &&
				key.CreatedAt.Before(key.ExpiresAt.Add(-leadTime)):
				if expiring++; expiring <= maxNamed {
					d.addExpiring(ctx, key)
				}
			}
		}
		if len(page) < pageSize {
			break
		}
		after = page[len(page)-1].ID
	}
	d.checkPrefixes(prefixes)
	if expiring > maxNamed {
		d.add("expiring-keys", "List the keys of the users with 'key list'.", "%d more access keys "+
			"expire within 14 days.",
			expiring-maxNamed)
	}
	if old > 0 {
		d.add("prune", "Call Service.Run on every instance, or run prune every day.",
			"%s more than 30 days ago, and no instance removes expired records.",
			quantity(old, "access key has expired", "access keys have expired"))
	}
}

// These match the ID and the hash of a key that a service generated.
var (
	generatedKey  = regexp.MustCompile(`^(.+)_[0-9A-Za-z]{26}$`)
	generatedHash = regexp.MustCompile(`^\$(hmac-)?sha256\$`)
)

// checkPrefixes finds a configuration whose prefix is not that of the service, which would reject the keys
// that this command makes. The counts are those of the generated keys by their prefixes.
func (d *doctor) checkPrefixes(counts map[string]int) {
	configured := keyPrefix(d.Config.Credentials)
	if len(counts) == 0 || counts[configured] > 0 {
		return
	}
	for _, prefix := range slices.Sorted(maps.Keys(counts)) {
		d.add("prefixes", "Set Credentials.AccessKeyPrefix and AccessSecretPrefix to those of the service. "+
			"If the service has new prefixes, give the users new keys.",
			"%s with %s, and none with %s, which is Credentials.AccessKeyPrefix. A service accepts only "+
				"generated keys with its own prefix.",
			quantity(counts[prefix], "access key begins", "access keys begin"), prefix, configured)
	}
}

func (d *doctor) addExpiring(ctx context.Context, key auth.AccessKey) {
	owner, err := d.owner(ctx, key.UserID)
	if err != nil {
		owner = auth.User{ID: key.UserID, Username: key.UserID}
	}
	d.add("expiring-keys", "Ask the owner to replace the key, or add a new one with 'key add'.",
		"The access key %s of %s expires at %s.", key.ID, described(owner), date(key.ExpiresAt))
}

func (d *doctor) checkSuperUsers(ctx context.Context) {
	if _, err := d.users(); err != nil {
		return // the host has its own users
	}
	active, able := 0, 0
	err := d.eachUser(ctx, auth.UserQuery{Kind: auth.UserKindPerson}, func(user auth.User) error {
		if !user.IsSuperUser || !user.IsActive || able > 0 {
			return nil
		}
		active++
		can, err := d.canSignIn(ctx, user.ID)
		if can {
			able++
		}
		return err
	})
	switch {
	case d.failed("super-users", err):
	case active == 0:
		d.add("super-users", "For a new store, run init. Otherwise, run recover for a user who is to be "+
			"a super user.",
			"There is no active super user.")
	case able == 0:
		d.add("super-users", "Run recover for one of them: 'user list -super' lists them.",
			"No active super user has an access key that works or a GitHub account.")
	}
}

// canSignIn reports whether the user has an unexpired access key or a GitHub account.
func (d *doctor) canSignIn(ctx context.Context, userID string) (bool, error) {
	keys, err1 := d.Store.ListKeys(ctx, userID)
	for _, key := range keys {
		if key.ExpiresAt.IsZero() || key.ExpiresAt.After(d.now()) {
			return true, nil
		}
	}
	if d.Config.GitHub == nil {
		return false, err1
	}
	accounts, err2 := d.Store.ListGitHubAccounts(ctx, userID)
	return len(accounts) > 0, errors.Join(err1, err2)
}
