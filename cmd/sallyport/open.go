package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/authcmd"
	"github.com/sallyport-go/auth/sqlstore"
	_ "modernc.org/sqlite"
)

// open opens the database and returns the host. If create is true, it creates the database file of SQLite
// and the tables, if they do not exist. The caller closes the database, even after an error.
func open(ctx context.Context, c config, create bool) (authcmd.Host, *sql.DB, error) {
	driver, dialect, dsn := "sqlite", sqlstore.SQLite, c.DSN
	switch {
	case strings.HasPrefix(dsn, "postgres://"), strings.HasPrefix(dsn, "postgresql://"):
		driver, dialect, dsn = "pgx", sqlstore.Postgres, withTimeouts(dsn, patience)
	case strings.Contains(dsn, "@tcp("), strings.Contains(dsn, "@unix("):
		driver, dialect = "mysql", sqlstore.MySQL
	case strings.HasPrefix(dsn, "file:"):
		if err := checkFile(dsn, create); err != nil {
			return authcmd.Host{}, nil, err
		}
		dsn = withSettings(dsn)
	default:
		return authcmd.Host{}, nil, errors.New("the data source name must begin with file: for SQLite " +
			"or with " +
			"postgres://, or contain @tcp( or @unix( for MariaDB and MySQL")
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return authcmd.Host{}, nil, err
	}
	if err := connect(ctx, db, patience); err != nil {
		return authcmd.Host{}, db, err
	}
	store, err := sqlstore.Open(ctx, db, sqlstore.Config{Dialect: dialect, Prefix: c.Prefix,
		SkipMigrations: !create})
	if errors.Is(err, sqlstore.ErrNoTables) {
		return authcmd.Host{}, db, errors.New("the database has no tables of the service: correct the data " +
			"source name or the prefix. For a new service, 'sallyport init' makes the tables")
	}
	if err != nil {
		return authcmd.Host{}, db, advise(err)
	}
	cfg, keyCreatedAt, err := c.auth()
	if err != nil {
		return authcmd.Host{}, db, err
	}
	svc, err := auth.New(store, cfg)
	return authcmd.Host{Service: svc, Store: store, Config: cfg, KeyCreatedAt: keyCreatedAt}, db, err
}

// patience is how long the database server may take to answer.
const patience = 10 * time.Second

// withTimeouts returns a data source name of PostgreSQL with which a host that does not answer leaves enough
// of the patience for the next host. If the name has only one host, withTimeouts returns the name.
func withTimeouts(dsn string, patience time.Duration) string {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return dsn // pgx says so when it connects
	}
	hosts := map[string]bool{fmt.Sprint(cfg.Host, " ", cfg.Port): true}
	for _, next := range cfg.Fallbacks { // also the same host without TLS
		hosts[fmt.Sprint(next.Host, " ", next.Port)] = true
	}
	if len(hosts) == 1 {
		return dsn
	}
	share := patience / time.Duration(len(hosts)+1)
	cfg.ConnectTimeout = min(cmp.Or(cfg.ConnectTimeout, share), share)
	return stdlib.RegisterConnConfig(cfg)
}

// connect returns an error if the server does not answer in the given time. A server that accepts connections
// and is stuck would otherwise keep an operator waiting forever.
func connect(ctx context.Context, db *sql.DB, patience time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no answer in %s", patience))
	defer cancel()
	err := db.PingContext(ctx)
	if err != nil && context.Cause(ctx) != ctx.Err() {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	if err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	return nil
}

// advise adds to an error of sqlstore.Open what an operator can do.
func advise(err error) error {
	pg, isPg := errors.AsType[*pgconn.PgError](err)
	my, isMy := errors.AsType[*mysql.MySQLError](err)
	switch text := err.Error(); {
	case isPg && pg.Code == "42501", // insufficient_privilege
		isMy && (my.Number == 1142 || my.Number == 1143): // a right on a table or a column is missing
		return fmt.Errorf("%w: grant SELECT, INSERT, UPDATE and DELETE on all tables of the service to the "+
			"database user", err)
	case strings.Contains(text, "check the tables"), strings.Contains(text, "the tables have version"):
		// The operator must not migrate the tables of a running service.
		text = strings.TrimSuffix(text, ": apply the later files of Migrations")
		return fmt.Errorf("%s: use sallyport in the version of the library that the service has. If a table "+
			"was changed by hand, restore it from a backup", text)
	}
	return err
}

// withSettings adds the settings that sqlstore recommends to a data source name for SQLite without
// settings.
func withSettings(dsn string) string {
	if strings.Contains(dsn, "?") {
		return dsn
	}
	return dsn + "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)"
}

// checkFile returns an error if the file of the data source name does not exist, because SQLite would
// create it. If create is true, checkFile creates it, so that only its owner can read it.
func checkFile(dsn string, create bool) error {
	path, err := filePath(dsn)
	if err != nil {
		return err
	}
	_, err = os.Stat(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !create {
		if absolute, err := filepath.Abs(path); err == nil {
			path = absolute
		}
		return fmt.Errorf("there is no database file %s: correct the data source name. For a new service, "+
			"'sallyport init' makes the file", path)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return file.Close()
}

// filePath returns the path of the file that SQLite opens for a data source name:
// https://sqlite.org/uri.html.
func filePath(dsn string) (string, error) {
	path := strings.TrimPrefix(dsn, "file:")
	if end := strings.IndexAny(path, "?#"); end >= 0 {
		path = path[:end]
	}
	if rest, ok := strings.CutPrefix(path, "//"); ok {
		path = strings.TrimPrefix(rest, "localhost")
	}
	path, err := url.PathUnescape(path)
	if err != nil {
		return "", fmt.Errorf("the data source name is not valid: %w", err)
	}
	return path, nil
}
