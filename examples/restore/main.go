// Command restore finishes the restore of a backup before any instance starts. It revokes all
// sessions of the restored database. Then it reads, from the audit trail of the old database, the
// changes that were made after the backup, and makes them again.
//
//	restore -old old/app.db -restored app.db -since 2026-01-02T03:00:00Z
//
// A PostgreSQL or MariaDB database is named by its data source name, such as
// postgres://app@db.example.com/app_restored or app@tcp(db.example.com)/app_restored.
//
// The program repeats revocations, resets, deletions and changes of users. It prints the changes that
// it cannot repeat, and then ends with an error. It serves no requests, so nobody can sign in
// meanwhile. After an interruption, run the program again.
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
	"slices"
	"strings"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/sqlstore"
	_ "modernc.org/sqlite"
)

func main() {
	old := flag.String("old", "", "data source name of the old database, or its SQLite file")
	restored := flag.String("restored", "", "data source name of the restored database, or its SQLite file")
	since := flag.String("since", "", "time at which the backup began, such as 2026-01-02T03:00:00Z")
	flag.Parse()
	backup, err := time.Parse(time.RFC3339, *since)
	if err != nil {
		log.Fatal("restore: -since: ", err)
	}
	if err := run(context.Background(), *old, *restored, backup, os.Stdout); err != nil {
		log.Fatal("restore: ", err)
	}
}

// A restoration repeats the changes of the old database in the restored database.
type restoration struct {
	old, restored database
	out           io.Writer
	asked         map[string]bool // users who must connect GitHub again
	deleted       map[string]bool // users whose later events delete them
	missed        int             // changes that could not be repeated
}

func run(ctx context.Context, old, restored string, backup time.Time, out io.Writer) error {
	if old == restored {
		return errors.New("-old and -restored are the same database")
	}
	r := restoration{out: out, asked: map[string]bool{}, deleted: map[string]bool{}}
	var err error
	if r.old, err = open(ctx, old); err != nil {
		return fmt.Errorf("-old: %w", err)
	}
	defer r.old.db.Close()
	if r.restored, err = open(ctx, restored); err != nil {
		return fmt.Errorf("-restored: %w", err)
	}
	defer r.restored.db.Close()
	if err := r.restored.svc.RevokeEverybody(ctx, operator); err != nil {
		return err
	}
	fmt.Fprintln(out, "revoked all sessions")
	events, err := eventsSince(ctx, r.old.svc, backup)
	if err != nil {
		return err
	}
	if len(events) == 0 {
		return fmt.Errorf("the audit trail of -old has no event since %s: compare -since and -old with "+
			"the backup; if both are right, nothing is to be repeated", backup.Format(time.RFC3339))
	}
	for _, event := range events {
		if event.Kind == auth.EventUserDeleted {
			r.deleted[event.UserID] = true
		}
	}
	for _, event := range events {
		if err := r.repeat(ctx, event); err != nil {
			return fmt.Errorf("repeating %s of the user %s: %w", event.Kind, event.UserID, err)
		}
	}
	fmt.Fprintf(out, "processed %d events of the audit trail; %d changes were not repeated\n",
		len(events), r.missed)
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
	svc, err := newService(store, nil, nil)
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

// operator is the authority of the changes. The events of the changes have Host "restore".
var operator = auth.ByHost("restore")

// eventsSince returns the events of the trail since one minute before the backup, the oldest first.
// The extra minute is for clocks of instances that differ.
func eventsSince(ctx context.Context, svc *auth.Service, backup time.Time) ([]auth.Event, error) {
	var events []auth.Event
	for before := ""; ; before = events[len(events)-1].ID {
		page, err := svc.Events(ctx, auth.EventFilter{Before: before}, 200)
		if err != nil {
			return nil, err
		}
		for _, event := range page {
			if event.At.Before(backup.Add(-time.Minute)) {
				slices.Reverse(events)
				return events, nil
			}
			events = append(events, event)
		}
		if len(page) < 200 {
			slices.Reverse(events)
			return events, nil
		}
	}
}

// repeat makes the change of the event again. If the user or the key does not exist, repeat does
// nothing: the program has already repeated the change, or the backup is older than the record.
func (r *restoration) repeat(ctx context.Context, event auth.Event) error {
	svc := r.restored.svc
	var err error
	switch event.Kind {
	case auth.EventKeyRevoked, auth.EventKeyLeaked:
		err = svc.Credentials().Revoke(ctx, operator, event.AccessKey)
	case auth.EventKeyRotated: // the secret from before the rotation works again, the later one does not
		fmt.Fprintf(r.out, "revoked the key %s of %s: issue a new key\n", event.AccessKey, r.name(ctx, event))
		err = svc.Credentials().Revoke(ctx, operator, event.AccessKey)
	case auth.EventUserReset, auth.EventSuperUserRecovered:
		err = r.reset(ctx, event)
	case auth.EventUserChanged:
		_, err = svc.UpdateUser(ctx, operator, event.UserID, changeOf(event))
	case auth.EventUserDeleted:
		err = svc.DeleteUser(ctx, operator, event.UserID)
	case auth.EventGitHubUnlinked:
		err = r.unlink(ctx, event)
	case auth.EventGitHubRefreshed:
		if name := r.name(ctx, event); !r.asked[name] { // tokens are refreshed every few hours
			r.asked[name] = true
			fmt.Fprintf(r.out, "ask %s to connect GitHub again\n", name)
		}
	default:
		err = r.printLost(ctx, event)
	}
	switch {
	case errors.Is(err, auth.ErrNotFound):
		return nil
	case errors.Is(err, auth.ErrLastSuperUser), errors.Is(err, auth.ErrLastWayIn):
		r.missed++
		fmt.Fprintf(r.out, "NOT repeated: %s of %s: %v\n", event.Kind, r.name(ctx, event), err)
		return nil
	}
	return err
}

// reset removes everything with which the user can sign in. It throws the new pair away, because a
// person must make sure that it is the user who asks for it.
func (r *restoration) reset(ctx context.Context, event auth.Event) error {
	_, err := r.restored.svc.RegenerateCredentials(ctx, operator, event.UserID)
	if err == nil && (event.Kind == auth.EventSuperUserRecovered || event.Reason == "reinstated") {
		_, err = r.restored.svc.UpdateUser(ctx, operator, event.UserID, auth.UserChange{IsActive: new(true)})
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(r.out, "reset %s: regenerate the credentials for the user", r.name(ctx, event))
	if user, err := r.restored.store.FindUser(ctx, event.UserID); err == nil && user.IsSuperUser {
		fmt.Fprint(r.out, " (if no other super user can sign in, with Service.RecoverSuperUser)")
	}
	fmt.Fprintln(r.out)
	return nil
}

// changeOf returns the change that an EventUserChanged is about.
func changeOf(event auth.Event) (change auth.UserChange) {
	for _, part := range strings.Fields(event.Reason) {
		switch name, value, _ := strings.Cut(part, "="); name {
		case "is_active":
			change.IsActive = new(value == "true")
		case "is_super_user":
			change.IsSuperUser = new(value == "true")
		}
	}
	return change
}

// unlink needs no key of the host either. The log would say that GitHub tokens are not revoked at
// GitHub. They were revoked when the account was unlinked from the user of the old database.
func (r *restoration) unlink(ctx context.Context, event auth.Event) error {
	svc, err := newService(r.restored.store, &auth.GitHubConfig{
		ClientID: "restore", ClientSecret: auth.NewSecret("restore"), Host: event.GitHub.Host,
		CallbackURL: "https://restore.invalid/callback",
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return svc.GitHub().Unlink(ctx, operator, event.UserID)
}

// printLost prints a user, a key or a link that the restored database lacks.
func (r *restoration) printLost(ctx context.Context, event auth.Event) error {
	var err error
	switch event.Kind {
	case auth.EventUserCreated, auth.EventBootstrapped:
		_, err = r.restored.store.FindUser(ctx, event.UserID)
	case auth.EventKeyIssued:
		_, _, err = r.restored.store.FindKey(ctx, event.AccessKey)
	case auth.EventGitHubConnected:
		_, _, err = r.restored.store.FindGitHubConnection(ctx, event.UserID, event.GitHub.Host)
	case auth.EventUsersImported, auth.EventKeyImported:
		err = auth.ErrNotFound // the event names neither the users nor the key
	}
	if errors.Is(err, auth.ErrNotFound) && !r.deleted[event.UserID] {
		fmt.Fprintf(r.out, "lost: %s of %s %s\n", event.Kind, r.name(ctx, event), event.AccessKey)
		return nil
	}
	return err
}

// name returns the ID of the event's user and, if a database has the user, the name.
func (r *restoration) name(ctx context.Context, event auth.Event) string {
	for _, from := range []database{r.restored, r.old} {
		if user, err := from.store.FindUser(ctx, event.UserID); err == nil {
			return fmt.Sprintf("the user %s (%s)", event.UserID, user.Username)
		}
	}
	return "the user " + event.UserID
}
