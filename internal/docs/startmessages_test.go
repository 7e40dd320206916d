package docs

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/sqlstore"
)

// startErrors returns the errors of wrong configurations.
func startErrors(t *testing.T) (messages []string) {
	t.Helper()
	add := func(err error) {
		t.Helper()
		if err == nil {
			t.Fatal("a wrong configuration is accepted")
		}
		messages = append(messages, err.Error())
	}
	for _, secret := range []string{"short", "REPLACE THIS WITH YOUR JWT SECRET",
		strings.Repeat("change-me-", 4), randomText() + "\n"} {
		_, err := auth.NewHS256Key("", []byte(secret))
		add(err)
	}
	for _, mistake := range []func(cfg *auth.Config){
		func(cfg *auth.Config) { cfg.Issuer = "" },
		func(cfg *auth.Config) { cfg.Issuer += "/" },
		func(cfg *auth.Config) { cfg.SigningKeys = nil },
		func(cfg *auth.Config) { cfg.SealingKeys = nil },
		func(cfg *auth.Config) { cfg.SigningKeys = append(cfg.SigningKeys, cfg.SigningKeys...) },
		func(cfg *auth.Config) { cfg.GitHub.ClientSecret = auth.Secret{} },
		func(cfg *auth.Config) {
			cfg.GitHub.CallbackURL = "http://api.example.com/api/v1/auth/github/callback"
		},
		func(cfg *auth.Config) { cfg.PublicURL = "http://api.example.com" },
		func(cfg *auth.Config) { cfg.PublicURL = "https://www.example.com" },
		func(cfg *auth.Config) { cfg.GitHub, cfg.BrowserSessions = nil, &auth.BrowserSessions{} },
		func(cfg *auth.Config) { cfg.Credentials.AllowImported, cfg.Proxies = true, auth.Proxies{} },
		func(cfg *auth.Config) { cfg.Tokens.RevocationInterval = time.Minute },
	} {
		cfg := workingConfig(t)
		mistake(&cfg)
		_, err := auth.New(memstore.New(), cfg)
		add(err)
	}
	_, err := auth.ReadKeyFile(keyFile(t, 0o666), nil)
	add(err)
	messages = append(messages, conflictOfMount(t))
	return append(messages, storeErrors(t)...)
}

// keyFile returns the path of a key file with the mode.
func keyFile(t *testing.T, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "signing.key")
	if err := errors.Join(os.WriteFile(path, []byte(randomText()), 0o600), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
	return path
}

// conflictOfMount returns the text of the panic if a service is mounted twice.
func conflictOfMount(t *testing.T) (message string) {
	svc := must(auth.New(memstore.New(), workingConfig(t)))(t)
	mux := http.NewServeMux()
	svc.Mount(mux)
	defer func() { message = fmt.Sprint(recover()) }()
	svc.Mount(mux)
	return ""
}

// storeErrors returns the errors of sqlstore.Open for tables that do not suit the program.
func storeErrors(t *testing.T) (messages []string) {
	t.Helper()
	db := must(sqlstore.OpenFile("sqlite", filepath.Join(t.TempDir(), "app.db")))(t)
	defer db.Close()
	cfg := sqlstore.Config{Dialect: sqlstore.SQLite, SkipMigrations: true}
	open := func(open func() error) {
		t.Helper()
		err := open()
		if err == nil {
			t.Fatal("Open accepts tables that do not suit the program")
		}
		messages = append(messages, err.Error())
	}
	withUsers := func() error { _, err := sqlstore.Open(t.Context(), db, cfg); return err }
	open(withUsers)
	cfg.SkipMigrations = false
	if err := withUsers(); err != nil {
		t.Fatal(err)
	}
	open(func() error { _, err := sqlstore.OpenAccounts(t.Context(), db, cfg); return err })
	for _, version := range []int{9999, 19} { // of a later program, and from before the first release
		if _, err := db.ExecContext(t.Context(),
			"INSERT INTO auth_schema_version (version_id, is_applied) VALUES (?, 1)", version); err != nil {
			t.Fatal(err)
		}
		open(withUsers)
	}
	return messages
}
