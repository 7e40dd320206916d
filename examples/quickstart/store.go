package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/sqlstore"
	_ "modernc.org/sqlite"
)

const inMemory = ":memory:"

// open opens the database and its keys, and returns the service. If the database is new, open also
// prints the access key and secret of the first super user.
func open(
	ctx context.Context, path string, github auth.GitHubConfig, log *slog.Logger, stdout io.Writer,
) (svc *auth.Service, closeStore func() error, err error) {
	keys, save, err := openKeys(path)
	if err != nil {
		return nil, nil, err
	}
	db, err := openDatabase(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	store, err := sqlstore.Open(ctx, db, sqlstore.Config{Dialect: sqlstore.SQLite})
	if err != nil {
		return nil, nil, err
	}
	cfg, err := keys.config()
	if err != nil {
		return nil, nil, err
	}
	cfg.Logger = log
	cfg.Tokens.Scopes = []string{scopeRead, scopeWrite}
	cfg.GitHub = &github
	cfg.BrowserSessions = &auth.BrowserSessions{LandingPath: "/"}
	svc, err = auth.New(store, cfg)
	if err != nil {
		return nil, nil, err
	}
	if err := bootstrap(ctx, svc, keys, save, stdout); err != nil {
		return nil, nil, err
	}
	return svc, db.Close, nil
}

// openKeys reads the keys of the database, or creates them if the database is new. The returned
// function save writes the current content of the returned keys to the file.
func openKeys(path string) (keys *keyFile, save func() error, err error) {
	if path == inMemory {
		return newKeys(), func() error { return nil }, nil
	}
	if path == "" {
		return nil, nil, errors.New("-db must be " + inMemory + " or name a file")
	}
	file := path + ".keys"
	// Read the key file before checking whether the database exists. Another instance may start at
	// the same time. The other instance creates the key file first and the database second. After
	// that, it prints the access key of the first user and sets Printed in the key file. So if
	// Printed is true and there is no database, the database was removed.
	keys, found, err := loadKeys(file)
	if err != nil {
		return nil, nil, err
	}
	isNew, err := isNewDatabase(path)
	if err == nil && !found && !isNew {
		// Another instance may have created the keys and the database since the keys were read.
		keys, found, err = loadKeys(file)
	}
	save = func() error { return keys.save(file) }
	switch {
	case err != nil:
		return nil, nil, err
	case found && isNew && keys.Printed: // the database was removed
		keys.newFirst()
		return keys, save, save()
	case found:
		return keys, save, nil
	case !isNew: // with new keys, no user of the database could sign in
		return nil, nil, fmt.Errorf("%s is missing: restore it, or remove %s to start over", file, path)
	}
	// The keys must be on disk before the database exists, because without them no user of the
	// database can sign in.
	keys = newKeys()
	if err := keys.create(file); errors.Is(err, fs.ErrExist) {
		// Another instance is starting at the same time and has created the keys. Both instances
		// use those keys.
		return openKeys(path)
	} else if err != nil {
		return nil, nil, err
	}
	return keys, save, nil
}

func isNewDatabase(path string) (bool, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err != nil:
		return false, err
	case !info.Mode().IsRegular():
		return false, fmt.Errorf("-db %s is not a file", path)
	}
	return info.Size() == 0, nil
}

func openDatabase(path string) (*sql.DB, error) {
	if path == inMemory {
		db, err := sql.Open("sqlite", inMemory)
		if err == nil {
			db.SetMaxOpenConns(1) // because each connection would have its own database
		}
		return db, err
	}
	// Create the database file with permission for its owner only. If SQLite created the file, all
	// users of the machine could read it. SQLite gives its companion files the same permissions.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	file.Close()
	dsn := url.URL{Scheme: "file", Opaque: url.PathEscape(path),
		RawQuery: "_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)"}
	return sql.Open("sqlite", dsn.String())
}

// bootstrap creates the first super user of a new database, and prints the user's access key and
// secret. An interruption does no harm: the key and the secret are on disk before the user is
// created, and stay there until they are printed.
func bootstrap(
	ctx context.Context, svc *auth.Service, keys *keyFile, save func() error, stdout io.Writer,
) error {
	if keys.Printed {
		return nil
	}
	pair := auth.KeyPair{AccessKey: keys.FirstKey, AccessSecret: auth.NewSecret(keys.FirstSecret)}
	if _, err := svc.Bootstrap(ctx, auth.UserParams{Username: "admin", Email: "admin@example.com"},
		pair); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(stdout, "access_key=%s\naccess_secret=%s\n", pair.AccessKey,
		pair.AccessSecret.Reveal()); err != nil {
		return fmt.Errorf("cannot print the first access secret; the next start will print it: %w", err)
	}
	keys.FirstKey, keys.FirstSecret, keys.Printed = "", "", true
	return save()
}
