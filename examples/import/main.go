// Import adds users with their access keys to a database. Import reads the users from a file of
// JSON lines. docs/import.md describes the lines. DATABASE_URL names the database: an SQLite file
// (file:app.db) or PostgreSQL (postgres://app@db.example.com/app).
//
//	DATABASE_URL=file:app.db go run . users.jsonl
//
// Import migrates the tables to the version of the library that Import was built with. So build
// Import with the same version as the service.
//
// Import shows its progress, and prints each rejected line with the reason. If Import is
// interrupted, run the same command again. The second run adds only the users that are missing.
package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/schollz/progressbar/v3"
	_ "modernc.org/sqlite"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/sqlstore"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// After the first Ctrl-C, the default behavior is restored. A second Ctrl-C then ends the
	// program at once, even if a read does not return.
	context.AfterFunc(ctx, stop)
	if err := run(ctx, os.Args[1:], os.Getenv("DATABASE_URL"), os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, database string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("import", flag.ContinueOnError)
	flags.SetOutput(stderr)
	vouch := flags.Bool("vouch-for-sha256", false,
		"vouch that secrets behind a bare SHA-256 were generated")
	batch := flags.Int("batch", 0, "lines to a transaction; 0 is the default")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("name one file of JSON lines")
	}
	svc, closeDatabase, err := open(ctx, database)
	if err != nil {
		return err
	}
	defer closeDatabase()
	file, err := os.Open(flags.Arg(0))
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	bar := progressbar.NewOptions64(info.Size(), progressbar.OptionSetWriter(stderr),
		progressbar.OptionShowBytes(true),
		progressbar.OptionSetPredictTime(true), progressbar.OptionSetWidth(30))
	progress, err := svc.ImportUsers(ctx, auth.ByHost("import"), file, auth.ImportOptions{
		VouchForSHA256: *vouch,
		BatchSize:      *batch,
		OnRejected: func(line int, err error) {
			fmt.Fprintf(stdout, "%s:%d: %s\n", flags.Arg(0), line,
				strings.TrimPrefix(err.Error(), "auth: "))
		},
		OnProgress: func(progress auth.ImportProgress) {
			bar.Describe(fmt.Sprintf("%d users added", progress.Added))
			bar.Set64(progress.Bytes) // the import continues even if the terminal fails
		},
	})
	fmt.Fprintf(stderr, "\n%d users added, %d were there, %d lines refused\n", progress.Added,
		progress.Present, progress.Rejected)
	switch {
	case err != nil:
		return fmt.Errorf("import incomplete; run the same command again to continue: %w", err)
	case progress.Rejected > 0:
		return errors.New("some lines were refused; correct them in the file and run the same command again")
	}
	return nil
}

// open returns a service that uses the database. The prefixes and peppers must be the same as those
// of the service for which the users are imported.
func open(
	ctx context.Context, database string,
) (svc *auth.Service, closeDatabase func() error, err error) {
	driver, dialect := "sqlite", sqlstore.SQLite
	switch {
	case strings.HasPrefix(database, "file:"):
		mark := "?"
		if strings.Contains(database, mark) {
			mark = "&"
		}
		// SQLite reads the negative cache_size in KiB, so this is 256 MiB.
		database += mark + "_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_pragma=cache_size(-262144)"
	case strings.HasPrefix(database, "postgres://"), strings.HasPrefix(database, "postgresql://"):
		driver, dialect = "pgx", sqlstore.Postgres
	default:
		return nil, nil, errors.New("set DATABASE_URL to file:NAME for SQLite, or to postgres://…")
	}
	db, err := sql.Open(driver, database)
	if err != nil {
		return nil, nil, err
	}
	store, err := sqlstore.Open(ctx, db, sqlstore.Config{Dialect: dialect})
	if err == nil {
		svc, err = newService(store)
	}
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return svc, db.Close, nil
}

func newService(store *sqlstore.Store) (*auth.Service, error) {
	key, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text())) // required but unused
	if err != nil {
		return nil, err
	}
	return auth.New(store, auth.Config{
		Issuer:      "https://api.example.com",
		SigningKeys: []auth.SigningKey{key},
		Credentials: auth.CredentialConfig{AllowImported: true},
		Proxies:     auth.NoProxies(),              // no user signs in here
		Logger:      slog.New(slog.DiscardHandler), // the progress bar uses the terminal
	})
}
