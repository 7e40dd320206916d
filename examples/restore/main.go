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
// so the program prints them for a person to decide. It also prints the changes that it cannot
// repeat, and then ends with an error. It serves no requests, so nobody can sign in meanwhile. After
// an interruption, run the program again.
package main

import (
	"cmp"
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
	deleted    map[string]bool // users whose later events delete them
	created    map[string]bool // users whose later events add them
	reimported map[string]bool // users who got an imported key after the backup
	discarded  map[string]bool // access keys of this program, whose secrets nobody knows
	unnamed    []auth.Event    // revocations of imported keys whose IDs are not known
	imports    []auth.Event    // imports of keys and users after the backup
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
		out: out, github: from.github, asked: map[string]bool{}, deleted: map[string]bool{},
		created: map[string]bool{}, reimported: map[string]bool{}, discarded: map[string]bool{},
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
		case auth.EventUserDeleted:
			r.deleted[event.UserID] = true
		case auth.EventUserCreated, auth.EventBootstrapped:
			r.created[event.UserID] = true
		case auth.EventKeyImported:
			r.reimported[event.UserID] = true
		}
	}
	for _, event := range events {
		if err := r.repeat(ctx, event); err != nil {
			return fmt.Errorf("repeating %s of the user %s: %w", event.Kind, event.UserID, err)
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

// repeat makes the change of the event again. If the user or the key does not exist, repeat does
// nothing: the program has already repeated the change, or the backup is older than the record.
func (r *restoration) repeat(ctx context.Context, event auth.Event) error {
	svc := r.restored.svc
	var err error
	switch event.Kind {
	case auth.EventKeyRevoked, auth.EventKeyLeaked:
		err = r.revoke(ctx, event)
	case auth.EventKeyRotated: // the secret from before the rotation works again, the later one does not
		fmt.Fprintf(r.out, "revoked the key %s of %s: issue a new key\n", event.AccessKey, r.name(ctx, event))
		err = r.revoke(ctx, event)
	case auth.EventUserReset, auth.EventSuperUserRecovered:
		err = r.reset(ctx, event)
	case auth.EventUserChanged:
		err = r.change(ctx, event)
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
		r.printMissed(ctx, event, err.Error())
		return nil
	}
	return err
}

// printMissed prints a change that a person must make before an instance starts.
func (r *restoration) printMissed(ctx context.Context, event auth.Event, reason string) {
	r.missed++
	fmt.Fprintf(r.out, "NOT repeated: %s of %s: %s\n", event.Kind, r.name(ctx, event), reason)
}

// imported stands for the ID of every imported key in an event, because the ID may be a secret that a
// person has entered in the wrong field.
const imported = "imported"

// revoke revokes the key of the event. If the key was imported, revoke compares the user's keys in the
// two databases, because the event does not name the key.
func (r *restoration) revoke(ctx context.Context, event auth.Event) error {
	keys := r.restored.svc.Credentials()
	switch {
	case event.AccessKey != imported:
		return keys.Revoke(ctx, operator, event.AccessKey)
	case r.old == nil, event.UserID == "":
		r.unnamed = append(r.unnamed, event)
		return nil
	}
	old, err := r.old.store.ListKeys(ctx, event.UserID)
	if err != nil {
		return err
	}
	restored, err := r.restored.store.ListKeys(ctx, event.UserID)
	if err != nil {
		return err
	}
	for _, key := range restored {
		// A key of the same ID with another hash may have been imported again after the revocation.
		stays := func(k auth.AccessKey) bool {
			return k.ID == key.ID && (k.Hash == key.Hash || !r.reimported[event.UserID])
		}
		if slices.ContainsFunc(old, stays) {
			continue
		}
		if err := keys.Revoke(ctx, operator, key.ID); err != nil && !errors.Is(err, auth.ErrNotFound) {
			return err
		}
		fmt.Fprintf(r.out, "revoked the key labeled %q of %s, which -old lacks\n", key.Label,
			r.name(ctx, event))
	}
	return nil
}

// reset removes everything with which the user can sign in. It throws the new pair away, because a
// person must make sure that it is the user who asks for it. So a disabled user stays disabled.
func (r *restoration) reset(ctx context.Context, event auth.Event) error {
	pair, err := r.restored.svc.RegenerateCredentials(ctx, operator, event.UserID)
	if err != nil {
		return err
	}
	r.discarded[pair.AccessKey] = true
	next := "regenerate the credentials for the user"
	switch {
	case event.Kind == auth.EventSuperUserRecovered:
		next = "to make the user an active super user, call Service.RecoverSuperUser"
	case event.Reason == "reinstated":
		next = "reinstate the user"
	}
	fmt.Fprintf(r.out, "reset %s: %s\n", r.name(ctx, event), next)
	return nil
}

// change disables or demotes the user of an EventUserChanged. It prints the rest of the change, because
// an attacker may have caused it, or may have written the event.
func (r *restoration) change(ctx context.Context, event auth.Event) error {
	var change auth.UserChange
	var repeated, undecided []string
	for _, part := range strings.Fields(event.Reason) {
		switch part {
		case "is_active=false":
			change.IsActive = new(false)
		case "is_super_user=false":
			change.IsSuperUser = new(false)
		default: // "is_active=true", or "is_super_user=true by GitHubConfig.SuperUsers"
			undecided = append(undecided, part)
			continue
		}
		repeated = append(repeated, part)
	}
	if len(undecided) > 0 {
		r.undecided++
		fmt.Fprintf(r.out, "to decide: %s of %s, changed by %s\n", strings.Join(undecided, " "),
			r.name(ctx, event), cmp.Or(event.ActorID, event.Host, "an unknown caller"))
	}
	if len(repeated) == 0 {
		return nil
	}
	_, err := r.restored.svc.UpdateUser(ctx, operator, event.UserID, change)
	if err == nil {
		fmt.Fprintf(r.out, "repeated: %s of %s\n", strings.Join(repeated, " "), r.name(ctx, event))
	}
	return err
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

// name returns the ID of the event's user and, if a database has the user, the name.
func (r *restoration) name(ctx context.Context, event auth.Event) string {
	for _, from := range []*database{&r.restored, r.old} {
		if from == nil {
			continue
		}
		if user, err := from.store.FindUser(ctx, event.UserID); err == nil {
			return fmt.Sprintf("the user %s (%s)", event.UserID, user.Username)
		}
	}
	return "the user " + event.UserID
}
