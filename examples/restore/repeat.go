package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
)

// operator is the authority of the changes. The events of the changes have Host "restore".
var operator = auth.ByHost("restore")

// repeat makes the change again. If the user or the key does not exist, repeat does nothing: the
// program has already repeated the change, or the backup is older than the record.
func (r *restoration) repeat(ctx context.Context, c change) error {
	said := r.describe(ctx, c.Event) // before the change, because it can delete the user
	var advice, decision string
	var err error
	switch c.Kind {
	case eventkind.KeyRevoked, eventkind.KeyLeaked:
		err = r.revoke(ctx, c.Event)
	case eventkind.KeyRotated: // the secret from before the rotation works again, the later one does not
		advice = "the key is revoked, so issue a new key"
		err = r.revoke(ctx, c.Event)
	case eventkind.KeyChanged: // the key has the scopes from before the change again
		advice = "the key is revoked, so issue a new key with the scopes that it must have"
		err = r.revokeChanged(ctx, c.Event)
	case eventkind.UserReset, eventkind.SuperUserRecovered:
		advice, decision = adviceForReset(c)
		err = r.reset(ctx, c.Event)
	case eventkind.UserDeleted:
		err = r.delete(ctx, c.UserID)
	case eventkind.GitHubUnlinked:
		err = r.unlink(ctx, c.Event)
	case eventkind.UserChanged:
		err = r.update(ctx, c)
	default:
		return r.printLost(ctx, c)
	}
	switch {
	case errors.Is(err, errNothing), errors.Is(err, auth.ErrNotFound):
		return nil
	case errors.Is(err, auth.ErrLastSuperUser), errors.Is(err, auth.ErrLastWayIn), errors.Is(err, errForged),
		errors.Is(err, errUnnamed):
		r.printMissed(ctx, c.Event, err.Error())
		return nil
	case err != nil:
		return err
	}
	if advice != "" && !c.overtaken {
		said += ": " + advice
	}
	fmt.Fprintf(r.out, "repeated: %s\n", said)
	if decision != "" {
		r.printUndecided(c, said+": "+decision)
	}
	return nil
}

// adviceForReset returns what a person must do, and what a person must decide.
func adviceForReset(c change) (advice, decision string) {
	switch {
	case c.Reason == "reinstated":
		return "", "if this was right, call ReinstateUser, and give the user the new pair"
	case c.Kind == eventkind.SuperUserRecovered && !c.demoted:
		return "", "if this was right, call RecoverSuperUser, and give the user the new pair"
	case c.Kind == eventkind.SuperUserRecovered:
		return "", "the user was demoted later; if the recovery was right, call ReinstateUser"
	}
	return "regenerate the credentials for the user", ""
}

// errForged is the error for a deletion that never was.
var errForged = errors.New("-old still has the user, so an attacker may have written the event")

// delete deletes the user, unless the old database proves that nobody has deleted the user.
func (r *restoration) delete(ctx context.Context, userID string) error {
	if r.old != nil {
		if _, err := r.old.store.FindUser(ctx, userID); err == nil {
			return errForged
		} else if !errors.Is(err, auth.ErrNotFound) {
			return err
		}
	}
	return r.restored.svc.DeleteUser(ctx, operator, userID)
}

// errNothing means that there is nothing to repeat.
var errNothing = errors.New("nothing to repeat")

// describe returns what happened, to whom, and who caused it.
func (r *restoration) describe(ctx context.Context, event auth.Event) string {
	words := []string{string(event.Kind), event.AccessKey, event.Reason}
	if event.GitHub.ID != 0 {
		words = append(words, fmt.Sprintf("%s account %d", event.GitHub.Host, event.GitHub.ID))
	}
	if event.UserID != "" {
		words = append(words, "of "+r.name(ctx, event.UserID))
	}
	by := cmp.Or(event.Host, "an unknown caller")
	if event.ActorID != "" {
		by = r.name(ctx, event.ActorID)
	}
	words = slices.DeleteFunc(words, func(word string) bool { return word == "" })
	return strings.Join(words, " ") + ", by " + by
}

// printUndecided prints a change that gives power, unless a later event has taken the power away.
func (r *restoration) printUndecided(c change, said string) {
	if !c.overtaken {
		r.undecided++
		fmt.Fprintf(r.out, "to decide: %s\n", said)
	}
}

// printMissed prints a change that a person must make before an instance starts.
func (r *restoration) printMissed(ctx context.Context, event auth.Event, reason string) {
	r.missed++
	fmt.Fprintf(r.out, "NOT repeated: %s: %s\n", r.describe(ctx, event), reason)
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
		return errNothing
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
		fmt.Fprintf(r.out, "repeated: %s: revoked the key labeled %q, which -old lacks\n",
			r.describe(ctx, event), key.Label)
	}
	return errNothing
}

// errUnnamed is the error for a change of the scopes of an imported key.
var errUnnamed = errors.New("the event does not name the imported key: set the scopes of the user's " +
	"imported keys again")

// revokeChanged revokes the key whose scopes were changed. The program does not set the scopes again, because
// wider scopes would give power, and because it does not know which scopes the service has.
func (r *restoration) revokeChanged(ctx context.Context, event auth.Event) error {
	if event.AccessKey == imported {
		return errUnnamed
	}
	return r.restored.svc.Credentials().Revoke(ctx, operator, event.AccessKey)
}

// reset removes everything with which the user can sign in, also the new pair, because a person must make
// sure that it is the user who asks for a pair. A disabled user stays disabled.
func (r *restoration) reset(ctx context.Context, event auth.Event) error {
	pair, err := r.restored.svc.RegenerateCredentials(ctx, operator, event.UserID, auth.KeyOptions{})
	if err != nil {
		return err
	}
	// The program has no pepper, so the service would need NoPepper for the hash of this key.
	return r.restored.svc.Credentials().Revoke(ctx, operator, pair.AccessKey)
}

// update disables or demotes the user of an eventkind.UserChanged. It prints the rest of the change, because
// an attacker may have caused it, or may have written the event.
func (r *restoration) update(ctx context.Context, c change) error {
	var again auth.UserChange
	var repeated, undecided []string
	for _, part := range strings.Fields(c.Reason) {
		switch part {
		case "is_active=false":
			again.IsActive = new(false)
		case "is_super_user=false":
			again.IsSuperUser = new(false)
		default: // "is_active=true", or "is_super_user=true by GitHubConfig.SuperUsers"
			if !slices.Contains(c.undone, part) {
				undecided = append(undecided, part)
			}
			continue
		}
		repeated = append(repeated, part)
	}
	event := c.Event
	if len(undecided) > 0 {
		event.Reason = strings.Join(undecided, " ")
		r.printUndecided(c, r.describe(ctx, event))
	}
	if len(repeated) == 0 {
		return errNothing
	}
	_, err := r.restored.svc.UpdateUser(ctx, operator, c.UserID, again)
	if err == nil {
		event.Reason = strings.Join(repeated, " ")
		fmt.Fprintf(r.out, "repeated: %s\n", r.describe(ctx, event))
		err = errNothing // the caller would print the whole reason
	}
	return err
}

func (r *restoration) unlink(ctx context.Context, event auth.Event) error {
	svc, err := withGitHub(r.restored.store, event.GitHub.Host)
	if err != nil {
		return err
	}
	return svc.GitHub().Unlink(ctx, operator, event.UserID)
}

// withGitHub returns a service for the GitHub accounts of the host. It needs no key of the host either.
// The log would say that GitHub tokens are not revoked at GitHub. They were revoked when the account was
// unlinked from the user of the old database.
func withGitHub(store auth.Store, host string) (*auth.Service, error) {
	return newService(store, &auth.GitHubConfig{
		ClientID: "restore", ClientSecret: auth.NewSecret("restore"), Host: host,
		CallbackURL: "https://restore.invalid/callback",
	}, slog.New(slog.DiscardHandler))
}

// name returns the ID of the user and, if a database has the user, the name.
func (r *restoration) name(ctx context.Context, userID string) string {
	for _, from := range []*database{&r.restored, r.old} {
		if from == nil {
			continue
		}
		if user, err := from.store.FindUser(ctx, userID); err == nil {
			return fmt.Sprintf("the user %s (%s)", userID, user.Username)
		}
	}
	return "the user " + userID
}
