package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
)

// generated is the beginning of the IDs of access keys that are not imported. A host with its own
// CredentialConfig.AccessKeyPrefix changes it.
const generated = "ak_live_"

func isImported(key auth.AccessKey) bool { return !strings.HasPrefix(key.ID, generated) }

// printLost prints a user, a key or a link that the restored database lacks, and what a person must do
// or decide about GitHub accounts.
func (r *restoration) printLost(ctx context.Context, c change) error {
	var err error
	switch c.Kind {
	case eventkind.UserCreated, eventkind.Bootstrapped:
		_, err = r.restored.store.FindUser(ctx, c.UserID)
	case eventkind.KeyIssued:
		_, _, err = r.restored.store.FindKey(ctx, c.AccessKey)
	case eventkind.GitHubConnected:
		_, _, err = r.restored.store.FindGitHubConnection(ctx, c.UserID, c.GitHub.Host)
	case eventkind.KeyImported, eventkind.UsersImported:
		r.imports = append(r.imports, c)
	case eventkind.GitHubForgotten:
		r.printUndecided(c, r.describe(ctx, c.Event))
	case eventkind.GitHubRefreshed:
		if !c.overtaken && !r.asked[c.UserID] { // tokens are refreshed every few hours
			r.asked[c.UserID] = true
			fmt.Fprintf(r.out, "ask %s to connect GitHub again\n", r.name(ctx, c.UserID))
		}
	}
	if errors.Is(err, auth.ErrNotFound) {
		if !c.overtaken {
			fmt.Fprintf(r.out, "lost: %s\n", r.describe(ctx, c.Event))
		}
		return nil
	}
	return err
}

// report prints what the restored database shows only after all events have been repeated.
func (r *restoration) report(ctx context.Context, events []auth.Event) error {
	if err := r.printImports(ctx); err != nil {
		return err
	}
	if err := r.printUnnamed(ctx); err != nil {
		return err
	}
	return r.printNoWayIn(ctx, events)
}

// printImports prints the imported keys and users that the restored database lacks. An event names
// neither an imported key nor the users of an import, so printImports compares the two databases.
func (r *restoration) printImports(ctx context.Context) error {
	usersImported, done := false, map[string]bool{}
	for _, event := range r.imports {
		at := event.At.UTC().Format(time.RFC3339)
		switch {
		case event.Kind == eventkind.UsersImported && r.old == nil:
			fmt.Fprintf(r.out, "perhaps lost: the users in %s of the import at %s\n", event.Reason, at)
		case event.Kind == eventkind.UsersImported:
			usersImported = true
		case event.overtaken:
		case r.old == nil:
			fmt.Fprintf(r.out, "perhaps lost: the key of %s that was imported at %s\n",
				r.name(ctx, event.UserID), at)
		case !done[event.UserID]:
			done[event.UserID] = true
			if err := r.printLostKeys(ctx, event.UserID); err != nil {
				return err
			}
		}
	}
	if !usersImported {
		return nil
	}
	return r.printLostUsers(ctx)
}

// printLostKeys prints the imported keys of the user that the restored database lacks.
func (r *restoration) printLostKeys(ctx context.Context, userID string) error {
	keys, err := r.old.store.ListKeys(ctx, userID)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if !isImported(key) {
			continue
		}
		switch _, _, err := r.restored.store.FindKey(ctx, key.ID); {
		case errors.Is(err, auth.ErrNotFound):
			fmt.Fprintf(r.out, "lost: the imported key labeled %q of %s\n", key.Label, r.name(ctx, userID))
		case err != nil:
			return err
		}
	}
	return nil
}

// printLostUsers prints the users who were imported after the backup. These are the users of the old
// database whom the restored database lacks and no event names.
func (r *restoration) printLostUsers(ctx context.Context) error {
	kept := map[string]bool{}
	for user, err := range users(ctx, r.restored.store) {
		if err != nil {
			return err
		}
		kept[user.ID] = true
	}
	for user, err := range users(ctx, r.old.store) {
		if err != nil {
			return err
		}
		if !kept[user.ID] && !r.created[user.ID] {
			fmt.Fprintf(r.out, "lost: the imported user %s (%s)\n", user.ID, user.Username)
		}
	}
	return nil
}

// printUnnamed prints the revocations of imported keys that the program could not repeat, unless the
// user no longer has an imported key.
func (r *restoration) printUnnamed(ctx context.Context) error {
	done := map[string]bool{}
	for _, event := range r.unnamed {
		if event.UserID != "" {
			found, err := r.hasKey(ctx, event.UserID, isImported)
			if err != nil {
				return err
			}
			if !found || done[event.UserID] {
				continue
			}
			done[event.UserID] = true
		}
		r.printMissed(ctx, event, "an imported key, which the event does not name: revoke all imported "+
			"keys of the user")
	}
	return nil
}

// printNoWayIn prints the active users of the events who can no longer sign in. It also says if no
// super user can.
func (r *restoration) printNoWayIn(ctx context.Context, events []auth.Event) error {
	done := map[string]bool{"": true}
	for _, event := range events {
		if done[event.UserID] {
			continue
		}
		done[event.UserID] = true
		user, err := r.restored.store.FindUser(ctx, event.UserID)
		if errors.Is(err, auth.ErrNotFound) || err == nil && !user.IsActive {
			continue
		}
		if err != nil {
			return err
		}
		in, err := r.canSignIn(ctx, user)
		if err != nil {
			return err
		}
		if !in {
			fmt.Fprintf(r.out, "no way in: %s\n", r.name(ctx, event.UserID))
		}
	}
	return r.printNoSuperUser(ctx)
}

func (r *restoration) printNoSuperUser(ctx context.Context) error {
	found := false
	for user, err := range users(ctx, r.restored.store) {
		if err != nil {
			return err
		}
		if !user.IsSuperUser {
			continue
		}
		found = true
		in, err := r.canSignIn(ctx, user)
		if err != nil || in {
			return err
		}
	}
	if found {
		fmt.Fprintln(r.out, "no way in: all super users; call Service.RecoverSuperUser")
	}
	return nil
}

// canSignIn reports whether the user is active and has a GitHub account or a key.
func (r *restoration) canSignIn(ctx context.Context, user auth.User) (bool, error) {
	if !user.IsActive {
		return false, nil
	}
	works, err := r.hasKey(ctx, user.ID, func(key auth.AccessKey) bool {
		return key.ExpiresAt.IsZero() || key.ExpiresAt.After(time.Now())
	})
	if works || err != nil {
		return works, err
	}
	_, _, err = r.restored.store.FindGitHubConnection(ctx, user.ID, r.github)
	if errors.Is(err, auth.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// hasKey reports whether the restored database has a key of the user for which is returns true.
func (r *restoration) hasKey(ctx context.Context, userID string, is func(auth.AccessKey) bool) (bool, error) {
	keys, err := r.restored.store.ListKeys(ctx, userID)
	return slices.ContainsFunc(keys, is), err
}

// users iterates over all users of a store.
func users(ctx context.Context, store auth.Store) iter.Seq2[auth.User, error] {
	return func(yield func(auth.User, error) bool) {
		for after := ""; ; {
			page, err := store.ListUsers(ctx, auth.UserQuery{After: after, Limit: 200})
			if err != nil {
				yield(auth.User{}, err)
				return
			}
			for _, user := range page {
				if !yield(user, nil) {
					return
				}
				after = user.ID
			}
			if len(page) < 200 {
				return
			}
		}
	}
}
