package authcmd_test

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/authcmd"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/sqlstore"
)

// fault is a fault of a service, and what doctor must say about it.
type fault struct {
	name    string
	check   string // the name of the check
	problem string // a part of the problem

	parameters string             // SQLite: parameters of the data source name
	config     func(*auth.Config) // changes the configuration that doctor sees
	plant      func(*patient)     // changes the host or the store after the configuration
	allStores  bool               // also on the servers
}

// patient is a service that doctor examines. It is healthy until a fault is planted.
type patient struct {
	*fixture
	db    *sql.DB
	store *sqlstore.Store
}

// exec runs a statement on the database.
func (p *patient) exec(statement string, args ...any) {
	p.t.Helper()
	_, err := p.db.ExecContext(context.Background(), statement, args...)
	require.NoError(p.t, err)
}

// change makes the configuration of the host anew, and with it the service.
func (f *fixture) change(edit func(*auth.Config)) {
	f.t.Helper()
	edit(&f.host.Config)
	var err error
	f.host.Service, err = auth.New(f.host.Store.(auth.Store), f.host.Config)
	require.NoError(f.t, err)
}

var (
	sharedSecret = authtest.Random(32)
	peppered     = newSymmetric("pepper-1")
	sealing      = newSymmetric("sealing-1")
)

func newSymmetric(id string) auth.SymmetricKey {
	key, err := auth.NewSymmetricKey(id, authtest.Random(32))
	if err != nil {
		panic(err)
	}
	return key
}

func healthyConfig(cfg *auth.Config) {
	cfg.PublicURL = authtest.Issuer
	cfg.SealingKeys = []auth.SymmetricKey{sealing}
	cfg.Credentials.Peppers = []auth.SymmetricKey{peppered}
	cfg.GitHub = &auth.GitHubConfig{ClientID: "id", ClientSecret: auth.NewSecret("client secret"),
		CallbackURL: authtest.Issuer + "/api/v1/auth/github/callback"}
}

// newPatient returns a healthy service with two users, keys, a session, revocations and a GitHub token.
func newPatient(t testing.TB, store *sqlstore.Store, db *sql.DB) *patient {
	t.Helper()
	p := &patient{newFixture(t, store, healthyConfig), db, store}
	p.ok("init", "root")
	made := p.object("user", "add", "alice", "-expires", "90d")
	require.NoError(t, p.signIn(made))
	p.ok("session", "revoke-all", "alice")
	p.ok("key", "add", "alice", "-expires", "1h") // its owner knows that it expires soon
	p.connectGitHub("root", "sealing-1")
	return p
}

// connectGitHub stores a token for GitHub that the sealing key with the ID has encrypted.
func (p *patient) connectGitHub(name, sealingKey string) {
	p.t.Helper()
	user := p.object("user", "show", name)["user_id"].(string)
	account := auth.GitHubAccount{Host: "github.com", ID: rand.Int64N(1<<40) + 1}
	sealed := append([]byte{2, byte(len(sealingKey))}, sealingKey...)
	require.NoError(p.t, p.store.ConnectGitHub(context.Background(), hostWrite(time.Now),
		auth.GitHubConnectWrite{
			Link: auth.GitHubLink{Account: account, UserID: user, Login: name, CreatedAt: time.Now(),
				SeenAt: time.Now()},
			Token: auth.GitHubToken{Account: account, UserID: user, Version: "1", Sealed: sealed,
				UpdatedAt: time.Now()},
		}))
}

func hostWrite(now func() time.Time) auth.Write {
	return auth.Write{By: auth.ByHost("test"), Now: now, MaxTokenLifetime: time.Hour}
}

// addKey adds a key to alice, with the hash and the times of an earlier program.
func (p *patient) addKey(id, hash string, created, expires time.Time) {
	p.t.Helper()
	user := p.object("user", "show", "alice")["user_id"].(string)
	key := auth.AccessKey{ID: id, UserID: user, Hash: hash, CreatedAt: created, ExpiresAt: expires}
	require.NoError(p.t, p.store.AddKey(context.Background(), hostWrite(time.Now), key))
}

// presentHash returns a hash that needs no pepper but the present one.
func (p *patient) presentHash() string {
	p.t.Helper()
	keys, err := p.store.ListAllKeys(context.Background(), "", 1)
	require.NoError(p.t, err)
	return keys[0].Hash
}

const importedHash = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

var faults = []fault{
	{name: "the database cannot be opened", check: "open", problem: "the dialect is wrong",
		plant: func(p *patient) {
			p.host.Open = func(context.Context, string) (authcmd.Host, error) {
				return authcmd.Host{}, errors.New("the dialect is wrong")
			}
		}},
	{name: "the store does not answer", check: "store", problem: "does not answer",
		plant: func(p *patient) { _ = p.db.Close() }},
	{name: "a column is missing", check: "tables", problem: "audiences", allStores: true,
		plant: func(p *patient) { p.exec(`ALTER TABLE auth_users DROP COLUMN audiences`) }},
	{name: "a later version migrated the tables", check: "tables", problem: "version 999", allStores: true,
		plant: func(p *patient) {
			yes := map[sqlstore.Dialect]string{sqlstore.Postgres: "true"}[dialectOf(p.db)]
			if yes == "" {
				yes = "1"
			}
			p.exec(`INSERT INTO auth_schema_version (version_id, is_applied) VALUES (999, ` + yes + `)`)
		}},
	{name: "the database cannot be written", check: "writable", problem: "cannot commit",
		plant: func(p *patient) {
			p.db.SetMaxOpenConns(1)
			p.exec(`PRAGMA query_only = 1`)
		}},
	{name: "the clock of the program is ahead", check: "clock", problem: "differ by", allStores: true,
		config: ahead(time.Minute)},
	{name: "the clock of the program is behind", check: "clock", problem: "differ by", allStores: true,
		plant: func(p *patient) {
			p.exec(`DELETE FROM auth_events`)
			p.change(ahead(-5 * time.Second))
		}},
	{name: "the clock of an instance is ahead", check: "clock", problem: "key.issued", allStores: true,
		plant: func(p *patient) {
			healthy := p.host
			p.change(ahead(time.Hour))
			p.ok("key", "add", "root")
			p.host = healthy
		}},
	{name: "commits of SQLite can be lost", check: "durability", problem: "synchronous",
		parameters: "&_pragma=synchronous(NORMAL)"},
	{name: "the journal of SQLite blocks readers", check: "journal-mode", problem: "journal_mode",
		plant: func(p *patient) { p.db.SetMaxOpenConns(1); p.exec(`PRAGMA journal_mode = DELETE`) }},
	{name: "SQLite reads uncommitted changes", check: "isolation", problem: "read_uncommitted",
		parameters: "&_pragma=read_uncommitted(1)"},
	{name: "the newest revocation is missing", check: "feed", problem: "is missing", allStores: true,
		plant: func(p *patient) { p.exec(`DELETE FROM auth_revocations`) }},
	{name: "reading the feed is slow", check: "feed-lag", problem: "took 3",
		plant: func(p *patient) {
			var late time.Duration
			p.host.Store = slowFeed{p.store, &late}
			p.change(func(cfg *auth.Config) {
				cfg.Now = func() time.Time { return time.Now().Add(late) }
			})
		}},
	{name: "this instance does not read the feed", check: "feed-lag", problem: "accepts no token",
		plant: func(p *patient) {
			var late time.Duration
			p.change(func(cfg *auth.Config) {
				cfg.Now = func() time.Time { return time.Now().Add(late) }
			})
			user := p.object("user", "show", "alice")["user_id"].(string)
			token, err := p.host.Service.SignIn(context.Background(), user, auth.LoginOptions{})
			require.NoError(p.t, err)
			_, err = p.host.Service.Tokens().Verify(context.Background(), token.Bearer.Reveal())
			require.NoError(p.t, err)
			late = 2 * time.Minute
			p.host.Config.Now = time.Now
		}},
	{name: "no instance removes expired records", check: "prune", problem: "30 days ago", allStores: true,
		plant: func(p *patient) {
			p.addKey("ak-old", p.presentHash(), time.Now().AddDate(-1, 0, 0), time.Now().AddDate(0, 0, -40))
		}},
	{name: "an old key expires soon", check: "expiring-keys", problem: "ak-soon", allStores: true,
		plant: func(p *patient) {
			p.addKey("ak-soon", p.presentHash(), time.Now().AddDate(-1, 0, 0), time.Now().AddDate(0, 0, 3))
		}},
	{name: "a pepper was removed too early", check: "peppers", problem: `"pepper-1"`, allStores: true,
		config: func(cfg *auth.Config) {
			cfg.Credentials.Peppers = []auth.SymmetricKey{newSymmetric("pepper-2")}
		}},
	{name: "a pepper is no longer needed", check: "peppers", problem: `"pepper-0"`,
		config: func(cfg *auth.Config) {
			cfg.Credentials.Peppers = []auth.SymmetricKey{peppered, newSymmetric("pepper-0")}
		}},
	{name: "NoPepper is no longer needed", check: "peppers", problem: `NoPepper()`,
		config: func(cfg *auth.Config) {
			cfg.Credentials.Peppers = []auth.SymmetricKey{peppered,
				auth.NoPepper()}
		}},
	{name: "imported keys are not accepted", check: "imported-keys", problem: "1 imported access key " +
		"does not",
		plant: func(p *patient) {
			healthy := p.host
			p.change(func(cfg *auth.Config) {
				cfg.Credentials.AllowImported = true
				cfg.Credentials.Peppers = []auth.SymmetricKey{peppered, auth.NoPepper()}
			})
			line := `{"username":"bob","keys":[{"access_key":"old-bob","sha256":"` + importedHash + `"}]}`
			p.run(authcmd.ExitOK, line, "import", "-vouch-for-sha256", "-")
			p.host = healthy
		}},
	{name: "the prefix is not that of the service", check: "prefixes",
		problem: "3 access keys begin with ak_live", allStores: true,
		config: func(cfg *auth.Config) {
			cfg.Credentials.AccessKeyPrefix, cfg.Credentials.AccessSecretPrefix = "shop_key", "shop_secret"
		}},
	{name: "a hash is unreadable", check: "key-hashes", problem: "1 access key has",
		plant: func(p *patient) { p.addKey("ak-odd", "md5:00", time.Now(), time.Time{}) }},
	{name: "other services need the secret of the signing key", check: "signing-keys", problem: "weak",
		config: func(cfg *auth.Config) {
			cfg.SigningKeys = []auth.SigningKey{newHS256(authtest.Random(32))}
			cfg.Tokens.Audiences = []string{"https://reports.example.com"}
		}},
	{name: "the signing key is too old", check: "signing-keys", problem: "made 366 days ago",
		plant: func(p *patient) {
			made := map[string]time.Time{p.host.Config.SigningKeys[0].ID(): time.Now().AddDate(0, 0, -366)}
			p.host.KeyCreatedAt = func(key auth.KeyInfo) time.Time { return made[key.ID] }
		}},
	{name: "the sealing key is too old", check: "sealing-keys", problem: "sealing key sealing-1 is in use",
		plant: func(p *patient) {
			made := map[string]time.Time{"sealing-1": time.Now().AddDate(-2, 0, 0)}
			opened := p.host
			opened.KeyCreatedAt = func(key auth.KeyInfo) time.Time { return made[key.ID] }
			p.host = authcmd.Host{Name: "sp", Open: func(context.Context, string) (authcmd.Host, error) {
				return opened, nil
			}}
		}},
	{name: "a retired signing key stays", check: "signing-keys", problem: "last token has expired",
		config: func(cfg *auth.Config) {
			old := newHS256(authtest.Random(32)).RetiredAt(time.Now().AddDate(0, 0, -1))
			cfg.SigningKeys = append(cfg.SigningKeys, old)
		}},
	{name: "a signing key is retired in the future", check: "signing-keys", problem: "in the future",
		config: func(cfg *auth.Config) {
			old := newHS256(authtest.Random(32)).RetiredAt(time.Now().AddDate(0, 0, 1))
			cfg.SigningKeys = append(cfg.SigningKeys, old)
		}},
	{name: "a sealing key was removed too early", check: "sealing-keys", problem: `"sealing-0"`,
		allStores: true,
		plant:     func(p *patient) { p.connectGitHub("alice", "sealing-0") }},
	{name: "the signing key is a pepper", check: "shared-keys",
		problem: "SigningKeys[0] and Credentials.Peppers[0]",
		config: func(cfg *auth.Config) {
			cfg.SigningKeys = []auth.SigningKey{newHS256(sharedSecret)}
			shared, err := auth.NewSymmetricKey("pepper-1", sharedSecret)
			if err != nil {
				panic(err)
			}
			cfg.Credentials.Peppers = []auth.SymmetricKey{shared}
		}},
	{name: "a sealing key is a pepper", check: "shared-keys",
		problem: "SealingKeys[0] and Credentials.Peppers[0]",
		config:  func(cfg *auth.Config) { cfg.SealingKeys = []auth.SymmetricKey{peppered} },
		plant:   func(p *patient) { p.exec(`DELETE FROM auth_github_tokens`) }},
	{name: "the proxies are not decided", check: "proxies", problem: "not set",
		config: func(cfg *auth.Config) { cfg.Proxies = auth.Proxies{} }},
	{name: "cookies are sent in the clear", check: "cookies", problem: "InsecureCookies",
		config: func(cfg *auth.Config) { cfg.GitHub.InsecureCookies = true }},
	{name: "the public URL is that of a laptop", check: "cookies", problem: "only browsers on the same " +
		"machine",
		config: func(cfg *auth.Config) {
			cfg.PublicURL, cfg.GitHub.CallbackURL = "http://127.0.0.1:8080", "http://127.0.0.1:8080/callback"
		}},
	{name: "tokens are sent in the clear", check: "issuer", problem: "read tokens",
		config: func(cfg *auth.Config) { cfg.Issuer = "http://api.example.com" }},
	{name: "a flow of GitHub is not bound to the " +
		"browser", check: "github-state", problem: "InsecureUnboundState",
		config: func(cfg *auth.Config) { cfg.GitHub.InsecureUnboundState = true }},
	{name: "sign-ins are not limited", check: "throttling", problem: "any number of secrets",
		config: func(cfg *auth.Config) { cfg.Throttling.Off = true }},
	{name: "there is no audit trail", check: "audit-trail", problem: "nobody can find out",
		config: func(cfg *auth.Config) { cfg.DisableAuditTrail = true }},
	{name: "the last super user was disabled by hand", check: "super-users", problem: "no active super user",
		allStores: true,
		plant:     func(p *patient) { p.exec(`DELETE FROM auth_users WHERE username = 'root'`) }},
	{name: "the keys of all super users are gone", check: "super-users", problem: "No active super user has",
		plant: func(p *patient) {
			p.exec(`DELETE FROM auth_access_keys WHERE user_id IN
				(SELECT id FROM auth_users WHERE username = 'root')`)
			p.exec(`DELETE FROM auth_github_accounts`)
		}},
}

// ahead sets the clock ahead by d.
func ahead(d time.Duration) func(*auth.Config) {
	return func(cfg *auth.Config) { cfg.Now = func() time.Time { return time.Now().Add(d) } }
}

func newHS256(secret []byte) auth.SigningKey {
	key, err := auth.NewHS256Key("", secret)
	if err != nil {
		panic(err)
	}
	return key
}

// slowFeed is a store whose feed takes three seconds to read, on the clock that late moves.
type slowFeed struct {
	*sqlstore.Store
	late *time.Duration
}

func (s slowFeed) RevocationHead(ctx context.Context) (int64, error) {
	*s.late += 3 * time.Second
	return s.Store.RevocationHead(ctx)
}

func dialectOf(db *sql.DB) sqlstore.Dialect {
	var version string
	if db.QueryRow(`SELECT sqlite_version()`).Scan(&version) == nil {
		return sqlstore.SQLite
	}
	if db.QueryRow(`SELECT version()`).Scan(&version); strings.Contains(version, "PostgreSQL") {
		return sqlstore.Postgres
	}
	return sqlstore.MySQL
}

// findings runs doctor, and returns the findings of all checks but those to ignore.
func (p *patient) findings(ignored ...string) []map[string]any {
	p.t.Helper()
	var out, problems strings.Builder
	code := authcmd.Run(context.Background(), p.host, []string{"doctor", "-json"},
		authcmd.Stdio{In: strings.NewReader(""), Out: &out, Err: &problems})
	found := decodeLines(p.t, out.String())
	require.Equal(p.t, len(found) > 0, code == authcmd.ExitFindings, "exit code %d: %s", code, &problems)
	return slices.DeleteFunc(found, func(f map[string]any) bool {
		return slices.Contains(ignored, f["check"].(string))
	})
}

// plantIn plants the fault, and requires that doctor finds nothing before and exactly this fault after.
func plantIn(p *patient, f fault, ignored ...string) {
	if f.parameters == "" {
		require.Empty(p.t, p.findings(ignored...), "healthy")
	}
	if f.config != nil {
		p.change(f.config)
	}
	if f.plant != nil {
		f.plant(p)
	}
	found := p.findings(ignored...)
	require.Len(p.t, found, 1, "%v", found)
	require.Equal(p.t, f.check, found[0]["check"])
	require.Contains(p.t, found[0]["problem"], f.problem)
	require.Greater(p.t, len(found[0]["advice"].(string)), 20)
}

func TestDoctorNamesEachFaultAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			store, db := openSQLite(t, "&_pragma=synchronous(FULL)"+f.parameters)
			plantIn(newPatient(t, store, db), f)
		})
	}
}

func TestDoctorNamesFaultsInTheSameOrderEachTime(t *testing.T) {
	t.Parallel()
	store, db := openSQLite(t, "&_pragma=synchronous(FULL)")
	p := newPatient(t, store, db)
	for _, prefix := range []string{"c", "e", "a", "d", "b"} {
		p.addKey(prefix+"_"+strings.Repeat("A", 26), p.presentHash(), time.Now(), time.Time{})
		p.object("user", "add", prefix)
		p.connectGitHub(prefix, "sealing-"+prefix)
	}
	p.change(func(cfg *auth.Config) { cfg.Credentials.AccessKeyPrefix = "shop_key" })
	found := p.findings()
	require.Greater(t, len(found), 5)
	for range 3 {
		require.Equal(t, found, p.findings())
	}
}

func TestDoctorNamesFaultsOnServers(t *testing.T) {
	t.Parallel()
	for _, dialect := range []sqlstore.Dialect{sqlstore.Postgres, sqlstore.MySQL} {
		for _, f := range faults {
			if !f.allStores {
				continue
			}
			t.Run(string(dialect)+"/"+f.name, func(t *testing.T) {
				t.Parallel()
				store, db := openServer(t, dialect, nil)
				// The servers of the tests do not flush to disk, which is a fault, too.
				plantIn(newPatient(t, store, db), f, "durability")
			})
		}
	}
}
