// Command restore finishes the restore of a backup before any instance starts. It revokes all
// sessions of the restored database. Then it reads, from the audit trail of the old database, the
// changes that were made after the backup, and makes them again.
//
//	restore -old app.db.old -restored app.db -since 2026-01-02T03:00:00Z
//
// The program makes the changes that take something away, and those that enable or promote a user.
// It prints what cannot be repeated. It serves no requests, so nobody can sign in meanwhile. It can
// run again after an interruption.
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
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/sqlstore"
	_ "modernc.org/sqlite"
)

func main() {
	old := flag.String("old", "", "file of the old database")
	restored := flag.String("restored", "", "file of the restored database")
	since := flag.String("since", "", "time of the backup, such as 2026-01-02T03:00:00Z")
	flag.Parse()
	backup, err := time.Parse(time.RFC3339, *since)
	if err != nil {
		log.Fatal("restore: -since: ", err)
	}
	if err := run(context.Background(), *old, *restored, backup, os.Stdout); err != nil {
		log.Fatal("restore: ", err)
	}
}

func run(ctx context.Context, old, restored string, backup time.Time, out io.Writer) error {
	source, err := open(ctx, old)
	if err != nil {
		return err
	}
	svc, err := open(ctx, restored)
	if err != nil {
		return err
	}
	if err := svc.RevokeEverybody(ctx, operator); err != nil {
		return err
	}
	events, err := eventsSince(ctx, source, backup)
	if err != nil {
		return err
	}
	for _, event := range events {
		if err := repeat(ctx, svc, event, out); err != nil {
			return fmt.Errorf("repeating %s of the user %s: %w", event.Kind, event.UserID, err)
		}
	}
	return nil
}

// open returns a service for a database. It needs no key of the host, because it verifies neither a
// token nor a secret. A host on another database replaces the first two calls, and a host with
// GitHub adds Config.GitHub and Config.SealingKeys, so that Unlink works.
func open(ctx context.Context, file string) (*auth.Service, error) {
	if _, err := os.Stat(file); err != nil {
		return nil, err // SQLite would create the file
	}
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, err
	}
	store, err := sqlstore.Open(ctx, db, sqlstore.Config{Dialect: sqlstore.SQLite})
	if err != nil {
		return nil, err
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	key, err := auth.NewHS256Key("", secret)
	if err != nil {
		return nil, err
	}
	return auth.New(store, auth.Config{Issuer: "https://restore.invalid", SigningKeys: []auth.SigningKey{key},
		Proxies: auth.NoProxies()})
}

// operator is the authority of the changes. Their events in the trail name it.
var operator = auth.ByHost("restore")

// eventsSince returns the events of the trail since the time of the backup, the oldest first. It
// takes a minute more, because the clocks of the instances differ.
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

// repeat makes the change of the event again. If the change is already made, or if the backup has no
// such user or key, there is nothing to do.
func repeat(ctx context.Context, svc *auth.Service, event auth.Event, out io.Writer) error {
	var err error
	switch event.Kind {
	case auth.EventKeyRevoked, auth.EventKeyLeaked:
		err = svc.Credentials().Revoke(ctx, operator, event.AccessKey)
	case auth.EventKeyRotated: // the secret from before the rotation works again, the later one does not
		fmt.Fprintf(out, "revoked the key %s of user %s: it needs a new key\n", event.AccessKey, event.UserID)
		err = svc.Credentials().Revoke(ctx, operator, event.AccessKey)
	case auth.EventUserReset, auth.EventSuperUserRecovered:
		// The new pair is thrown away: a super user can give the user another one.
		fmt.Fprintf(out, "reset user %s: regenerate the credentials for the user\n", event.UserID)
		_, err = svc.RegenerateCredentials(ctx, operator, event.UserID)
		if err == nil && (event.Kind == auth.EventSuperUserRecovered || event.Reason == "reinstated") {
			_, err = svc.UpdateUser(ctx, operator, event.UserID, auth.UserChange{IsActive: new(true)})
		}
	case auth.EventUserChanged:
		var change auth.UserChange
		for _, part := range strings.Fields(event.Reason) {
			switch name, value, _ := strings.Cut(part, "="); name {
			case "is_active":
				change.IsActive = new(value == "true")
			case "is_super_user":
				change.IsSuperUser = new(value == "true")
			}
		}
		_, err = svc.UpdateUser(ctx, operator, event.UserID, change)
	case auth.EventUserDeleted:
		err = svc.DeleteUser(ctx, operator, event.UserID)
	case auth.EventGitHubUnlinked:
		if svc.GitHub() == nil {
			fmt.Fprintf(out, "NOT unlinked: a GitHub account of user %s\n", event.UserID)
			return nil
		}
		err = svc.GitHub().Unlink(ctx, operator, event.UserID)
	case auth.EventUserCreated, auth.EventUsersImported, auth.EventBootstrapped, auth.EventKeyIssued,
		auth.EventKeyImported, auth.EventGitHubConnected:
		fmt.Fprintf(out, "lost: %s of user %s\n", event.Kind, event.UserID)
	}
	switch {
	case errors.Is(err, auth.ErrNotFound):
		return nil
	case errors.Is(err, auth.ErrLastSuperUser), errors.Is(err, auth.ErrLastWayIn):
		fmt.Fprintf(out, "NOT repeated: %s of user %s: %v\n", event.Kind, event.UserID, err)
		return nil
	}
	return err
}
