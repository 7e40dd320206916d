// Command restore finishes the restore of a backup before any instance starts. It revokes all
// sessions of the restored database. Then it reads, from the audit trail of the old database, the
// changes that were made after the backup, and makes them again.
//
//	restore -old /srv/app/old.XXXXXX/app.db -restored /srv/app/app.db -since 2026-01-02T03:00:00Z
//
// A PostgreSQL or MariaDB database is named by its data source name, such as
// postgres://app@db.example.com/app_restored or app@tcp(db.example.com)/app_restored.
//
// If the old database cannot be read, or if an attacker could write to it, pass -events instead of
// -old. It is a file with the events that OnEvent has sent to another system, as JSON.
//
// The program repeats only changes that take power away: revocations, resets, deletions, and the
// disabling and demotion of users. An attacker may have caused the other changes, such as promotions,
// so the program prints them for a person to decide. It also prints the changes that it has repeated,
// with the users who caused them, and those that it cannot repeat. In the second case, it ends with an
// error. It serves no requests, so nobody can sign in meanwhile. After an interruption, run the program
// again.
package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"strings"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/sqlstore"
	_ "modernc.org/sqlite"
)

func main() {
	old := flag.String("old", "", "data source name of the old database, or its SQLite file")
	restored := flag.String("restored", "", "data source name of the restored database, or its SQLite file")
	file := flag.String("events", "", "file with events as JSON, in place of -old")
	since := flag.String("since", "", "time at which the backup began, such as 2026-01-02T03:00:00Z")
	github := flag.String("github", "github.com", "the GitHubConfig.Host of the service")
	flag.Parse()
	backup, err := time.Parse(time.RFC3339, *since)
	if err != nil {
		log.Fatal("restore: -since: ", err)
	}
	from := source{old: *old, events: *file, since: backup, github: *github}
	if err := run(context.Background(), from, *restored, os.Stdout); err != nil {
		log.Fatal("restore: ", err)
	}
}

// A restoration repeats the changes after the backup in the restored database.
type restoration struct {
	old        *database // nil with -events
	restored   database
	out        io.Writer
	github     string          // the host of the GitHub accounts
	asked      map[string]bool // users who must connect GitHub again
	created    map[string]bool // users who were added after the backup
	reimported map[string]bool // users who got an imported key after the backup
	unnamed    []auth.Event    // revocations of imported keys whose IDs are not known
	imports    []change        // imports of keys and users after the backup
	missed     int             // changes that could not be repeated
	undecided  int             // changes that give power, which are for a person to decide
}

func run(ctx context.Context, from source, restored string, out io.Writer) error {
	switch {
	case (from.old == "") == (from.events == ""):
		return errors.New("exactly one of -old and -events is needed")
	case from.old == restored:
		return errors.New("-old and -restored are the same database")
	}
	r := restoration{
		out: out, github: from.github, asked: map[string]bool{}, created: map[string]bool{},
		reimported: map[string]bool{},
	}
	if from.old != "" {
		old, err := open(ctx, from.old)
		if err != nil {
			return fmt.Errorf("-old: %w", err)
		}
		defer old.db.Close()
		r.old = &old
	}
	var err error
	if r.restored, err = open(ctx, restored); err != nil {
		return fmt.Errorf("-restored: %w", err)
	}
	defer r.restored.db.Close()
	if err := r.restored.svc.RevokeEverybody(ctx, operator); err != nil {
		return err
	}
	fmt.Fprintln(out, "revoked all sessions")
	// The extra minute is for clocks of instances that differ.
	events, err := r.eventsSince(ctx, from.events, from.since.Add(-time.Minute))
	if err != nil {
		return err
	}
	if len(events) == 0 {
		return fmt.Errorf("there is no event since %s: compare -since, and -old or -events, with the "+
			"backup; if they are right, nothing is to be repeated", from.since.Format(time.RFC3339))
	}
	for _, event := range events {
		switch event.Kind {
		case eventkind.UserCreated, eventkind.Bootstrapped:
			r.created[event.UserID] = true
		case eventkind.KeyImported:
			r.reimported[event.UserID] = true
		}
	}
	for _, c := range changesOf(events) {
		if err := r.repeat(ctx, c); err != nil {
			return fmt.Errorf("repeating %s of the user %s: %w", c.Kind, c.UserID, err)
		}
	}
	if err := r.report(ctx, events); err != nil {
		return err
	}
	fmt.Fprintf(out, "processed %d events; %d changes are for you to decide; %d changes were not repeated\n",
		len(events), r.undecided, r.missed)
	if r.missed > 0 {
		return fmt.Errorf("%d changes were not repeated: make them before you start an instance", r.missed)
	}
	return nil
}

// database is one of the two databases.
type database struct {
	svc   *auth.Service
	store *sqlstore.Store
	db    *sql.DB
}

// open opens a database. The service needs no key of the host, because it verifies neither a token
// nor a secret. A host whose tables have another prefix changes sqlstore.Config, and a host with an
// OnEvent sets Config.DeliverElsewhere, so that its instances deliver the events of this program.
func open(ctx context.Context, source string) (database, error) {
	driver, dialect := "sqlite", sqlstore.SQLite
	switch {
	case strings.HasPrefix(source, "postgres://"), strings.HasPrefix(source, "postgresql://"):
		driver, dialect = "pgx", sqlstore.Postgres
	case strings.Contains(source, "@tcp("), strings.Contains(source, "@unix("):
		driver, dialect = "mysql", sqlstore.MySQL
	default:
		if _, err := os.Stat(source); err != nil {
			return database{}, err // SQLite would create the file
		}
		source = "file:" + source + "?_pragma=busy_timeout(5000)"
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		return database{}, err
	}
	store, err := sqlstore.Open(ctx, db, sqlstore.Config{Dialect: dialect})
	if err != nil {
		return database{}, err
	}
	// The events of this program are at the level INFO.
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	svc, err := newService(store, nil, logger)
	return database{svc, store, db}, err
}

// newService returns a service with new keys.
func newService(store auth.Store, github *auth.GitHubConfig, logger *slog.Logger) (*auth.Service, error) {
	signing, err1 := auth.NewHS256Key("", newSecret())
	sealing, err2 := auth.NewSymmetricKey("", newSecret())
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	return auth.New(store, auth.Config{
		Issuer: "https://restore.invalid", SigningKeys: []auth.SigningKey{signing},
		SealingKeys: []auth.SymmetricKey{sealing}, GitHub: github, Proxies: auth.NoProxies(), Logger: logger,
	})
}

func newSecret() []byte {
	secret := make([]byte, 32)
	rand.Read(secret)
	return secret
}
